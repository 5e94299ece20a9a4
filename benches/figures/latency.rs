//! How long a plain message takes from the bus to the agent's standard input, with the gate open; beside a bare
//! websocket-to-pipe echo between the same processes in the same run.
//!
//! Three parties: a relay made for this (one thread), the runner as a program would hold it (one thread), and the
//! agent (a process: this program again). The clock starts before the frame is written to the socket, and stops when
//! the agent has read its line. The next message goes out once the one before is settled: worked, marked as read, and
//! the runner at rest.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc as threads;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use relay_runner_core::config::{Adapter, Config, Identity};
use relay_runner_core::journal::KeptBodies;
use relay_runner_shell::{CommandSpec, Options, Program, ProviderSpec, RelayUrl, Runner};
use serde_json::json;
use tokio::sync::{Mutex, mpsc};

use crate::relay::{Bus, relay};

/// This program as the agent: `--agent SOCKET`.
pub(crate) const AGENT: &str = "--agent";

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos())
}

/// The agent: says when it read each line, and works no longer than it takes to say so.
pub(crate) fn agent(socket: &Path) {
    let mut notes = UnixStream::connect(socket).expect("the figures listen");
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let at = now();
        let Some(id) = line.split("\"id\":").nth(1).and_then(|rest| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u64>().ok()
        }) else {
            continue;
        };
        let said = writeln!(
            out,
            "{{\"type\":\"taken\",\"ids\":[{id}]}}\n{{\"type\":\"busy\",\"turn\":\"t{id}\"}}\n{{\"type\":\"idle\",\"turn\":\"t{id}\"}}"
        )
        .and_then(|()| out.flush())
        .and_then(|()| writeln!(notes, "{id} {at}"));
        if said.is_err() {
            return;
        }
    }
}

/// Where the agent says when it read what.
fn notes(folder: &Path, name: &str) -> (PathBuf, UnixListener) {
    let path = folder.join(name);
    let listener = UnixListener::bind(&path).expect("a socket");
    (path, listener)
}

fn frame(id: u64) -> String {
    json!({"type": "event", "id": format!("e{id}"), "payload": {"seq": id, "event": "message.new", "data": {
        "id": id, "from": "alice", "to": "a1", "kind": "chat", "body": "Is the build green?", "createdAt": 1}}})
    .to_string()
}

/// The milliseconds of each message, in order of size.
fn measure(
    messages: u64,
    say: &mpsc::UnboundedSender<String>,
    notes: UnixStream,
    at_rest: &threads::Receiver<()>,
) -> Vec<f64> {
    let mut notes = BufReader::new(notes).lines();
    let mut took = Vec::new();
    for id in 1..=messages {
        let sent = now();
        say.send(frame(id)).expect("the relay lives");
        let line = notes.next().expect("the agent lives").expect("it speaks text");
        let at: u128 = line.split(' ').nth(1).and_then(|at| at.parse().ok()).expect("a time");
        took.push(u32::try_from(at.saturating_sub(sent)).map_or(f64::MAX, f64::from) / 1e6);
        at_rest.recv().expect("the message is settled");
    }
    // The first ones warm the caches.
    let mut took = took.split_off(took.len() / 10);
    took.sort_by(f64::total_cmp);
    took
}

fn through_the_runner(messages: u64, folder: &Path) -> Vec<f64> {
    let (say, say_rx) = mpsc::unbounded_channel();
    let (settled, is_settled) = threads::channel();
    let (registered, is_registered) = threads::channel();
    let (ready, _ready) = threads::channel();
    let addr = relay(Bus { say: Mutex::new(say_rx), settled, registered, ready });
    let (socket, listener) = notes(folder, "runner.sock");
    let options = options(addr, &socket, folder);
    let (stop, handle) = threads::channel();
    let runner = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (runner, handle) = Runner::prepare(options).expect("a fresh folder");
        stop.send(handle).expect("somebody waits");
        runtime.block_on(runner.run()).expect("the run ends in order");
    });
    let handle = handle.recv().expect("the runner starts");
    is_registered.recv().expect("the runner registers");
    let (notes, _) = listener.accept().expect("the agent connects");
    let took = measure(messages, &say, notes, &is_settled);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(handle.command("agent.kill", serde_json::Map::new()));
    runner.join().expect("the runner ends");
    took
}

fn options(addr: SocketAddr, socket: &Path, folder: &Path) -> Options {
    let me = std::env::current_exe().expect("this program");
    let argv = vec![me.into_os_string(), AGENT.into(), socket.into()];
    let identity =
        Identity { agent_id: "a1".into(), runner_id: "a1".into(), provider: "command".into(), ..Identity::default() };
    Options {
        config: Config::new(identity, Adapter::default(), 1),
        relay: RelayUrl::parse(&format!("http://{addr}")).expect("a URL"),
        token: None,
        token_file: None,
        state_dir: folder.join("state"),
        runner_dir: Some(folder.join("run")),
        provider: ProviderSpec::Command(CommandSpec::new(argv, false)),
        environment: relay_runner_shell::EnvironmentPolicy::default(),
        cwd: folder.to_owned(),
        first_prompt: None,
        info_file: None,
        program: Program { version: String::from("figures"), commit: None },
        profile: None,
        settings: None,
        bodies: KeptBodies::Hash,
        fresh: true,
        signals: false,
    }
}

/// The least that any runner could take: a frame comes in, and is written to the agent's pipe.
fn bare(messages: u64, folder: &Path) -> Vec<f64> {
    let (say, say_rx) = mpsc::unbounded_channel();
    let (settled, _settled) = threads::channel();
    let (registered, _registered) = threads::channel();
    let (ready, _ready) = threads::channel();
    let addr = relay(Bus { say: Mutex::new(say_rx), settled, registered, ready });
    let (socket, listener) = notes(folder, "bare.sock");
    let mut agent = spawn(&socket);
    let mut stdin = agent.stdin.take().expect("its standard input");
    let (worked_tx, worked) = threads::channel();
    let out = BufReader::new(agent.stdout.take().expect("its standard output"));
    std::thread::spawn(move || {
        out.lines().map_while(Result::ok).filter(|line| line.contains("idle")).for_each(|_| {
            let _ = worked_tx.send(());
        });
    });
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let stream = tokio::net::TcpStream::connect(addr).await.expect("the relay listens");
            stream.set_nodelay(true).expect("a socket option");
            let (mut ws, _) =
                tokio_tungstenite::client_async(format!("ws://{addr}/api/bus"), stream).await.expect("a websocket");
            while let Some(Ok(frame)) = ws.next().await {
                if let Ok(text) = frame.to_text() {
                    // The frame as it is: one line of JSON.
                    let data = text.split("\"data\":").nth(1).unwrap_or_default();
                    if writeln!(stdin, "{data}").and_then(|()| stdin.flush()).is_err() {
                        return;
                    }
                }
            }
        });
    });
    let (notes, _) = listener.accept().expect("the agent connects");
    let took = measure(messages, &say, notes, &worked);
    let _ = agent.kill();
    let _ = agent.wait();
    took
}

fn spawn(socket: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .arg(AGENT)
        .arg(socket)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program can be started again")
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or(f64::NAN)
}

pub(crate) fn print(quick: bool) {
    let messages = if quick { 20 } else { 3_000 };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runner = through_the_runner(messages, folder.path());
    let bare = bare(messages, folder.path());
    println!("bus to the agent's stdin, {messages} plain messages, gate open:");
    for (name, took) in [("through the runner", &runner), ("bare websocket to pipe", &bare)] {
        println!("  {name:<24} p50 {:.3} ms   p99 {:.3} ms", percentile(took, 50), percentile(took, 99));
    }
    println!(
        "  ratio                    p50 {:.1}      p99 {:.1}",
        percentile(&runner, 50) / percentile(&bare, 50),
        percentile(&runner, 99) / percentile(&bare, 99)
    );
}
