//! The program itself: from its start to its registration, its memory at rest, and how soon it is ready again after it
//! was killed.

use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc as threads;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc};

use crate::latency::AGENT;
use crate::relay::{Bus, relay};

/// How long the slowest machine may take for a start.
const PATIENCE: Duration = Duration::from_secs(20);

struct Stage<'a> {
    relay: SocketAddr,
    registered: threads::Receiver<()>,
    ready: threads::Receiver<()>,
    folder: &'a Path,
}

impl Stage<'_> {
    fn start(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_relay-runner"))
            .args(["run", "command", "--agent-id", "figures", "--relay"])
            .arg(format!("http://{}", self.relay))
            .arg("--state-dir")
            .arg(self.folder.join("process"))
            .arg("--")
            .arg(std::env::current_exe().expect("this program"))
            .arg(AGENT)
            .arg(self.folder.join("process.sock"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program can be started")
    }
}

/// Without an order to the runner: as a crash of the machine's memory would.
fn kill(mut runner: Child) {
    let _ = runner.kill();
    let _ = runner.wait();
}

fn milliseconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

/// Kibibytes of resident memory, anonymous and in all, where the system tells.
fn memory_of(pid: u32) -> Option<(u64, u64)> {
    let mut status = String::new();
    std::fs::File::open(format!("/proc/{pid}/status")).ok()?.read_to_string(&mut status).ok()?;
    let kibibytes = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse().ok())
    };
    Some((kibibytes("RssAnon:")?, kibibytes("VmRSS:")?))
}

pub(crate) fn print(quick: bool) {
    let rounds = if quick { 2 } else { 25 };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_say, say) = mpsc::unbounded_channel();
    let (settled, _settled) = threads::channel();
    let (registered_tx, registered) = threads::channel();
    let (ready_tx, ready) = threads::channel();
    let relay = relay(Bus { say: Mutex::new(say), settled, registered: registered_tx, ready: ready_tx });
    // Agents come and go; what they note is not wanted here.
    let listener = UnixListener::bind(folder.path().join("process.sock")).expect("a socket");
    std::thread::spawn(move || listener.incoming().flatten().collect::<Vec<_>>());
    let stage = Stage { relay, registered, ready, folder: folder.path() };

    let (mut to_registered, mut to_ready, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    let mut killed_at = None;
    for _ in 0..rounds {
        let begun = Instant::now();
        let runner = stage.start();
        stage.registered.recv_timeout(PATIENCE).expect("it registers");
        to_registered.push(milliseconds(begun));
        stage.ready.recv_timeout(PATIENCE).expect("it becomes ready");
        to_ready.extend(killed_at.map(milliseconds));
        memory.extend(memory_of(runner.id()));
        killed_at = Some(Instant::now());
        kill(runner);
        while stage.ready.try_recv().is_ok() || stage.registered.try_recv().is_ok() {}
    }
    println!("the program with a command agent, {rounds} starts and kills (SIGKILL), median and worst:");
    for (name, mut took) in [("start to registered", to_registered), ("killed to ready again", to_ready)] {
        took.sort_by(f64::total_cmp);
        let worst = took.last().copied().unwrap_or(f64::NAN);
        println!("  {name:<24} {:>5.1} ms   {worst:>5.1} ms", took.get(took.len() / 2).copied().unwrap_or(f64::NAN));
    }
    let most = |of: fn(&(u64, u64)) -> u64| memory.iter().map(of).max().unwrap_or(0) as f64 / 1024.0;
    if !memory.is_empty() {
        println!("  memory when ready: {:.1} MB anonymous, {:.1} MB resident", most(|m| m.0), most(|m| m.1));
    }
}
