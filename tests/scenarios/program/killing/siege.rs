//! The world under siege: a relay, a runner, its agent, and who kills them.

use super::super::calling::Call;
use super::super::world::{PROGRAM, Process, World, eventually, eventually_within, signal};
use super::chance::Chance;
use super::load::{self, Sent};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

const KILLS: u32 = 25;
/// The median from a start to ready again, on a machine that does much else besides, and in a build for tests.
const BACK_WITHIN: Duration = Duration::from_secs(1);
/// What a state folder may hold after a start and its share of the load.
const STATE_MOST_EACH: u64 = 256 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agent {
    Listening,
    OnPipes,
}

#[derive(Debug)]
pub(super) struct Siege {
    pub(super) kills: u32,
    pub(super) chance: Chance,
    pub(super) world: World,
    pub(super) sent: Vec<Sent>,
    agent: Agent,
    runner: Option<Process>,
    started: Instant,
    starts: u32,
    pub(super) relay_died: bool,
    /// From start to ready, where nothing came between.
    back: Vec<Duration>,
}

impl Siege {
    pub(super) fn begin(agent: Agent) -> Self {
        let kills = std::env::var("KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
        let (chance, world) = (Chance::new(), World::new());
        let (started, sent, back) = (Instant::now(), Vec::new(), Vec::new());
        let mut siege =
            Self { kills, chance, world, sent, agent, runner: None, started, starts: 0, relay_died: false, back };
        siege.start_runner();
        siege.world.is_ready();
        siege
    }

    pub(super) fn sends(&mut self) {
        self.sent.extend(load::send(&self.world, &mut self.chance));
    }

    #[expect(clippy::disallowed_methods, reason = "the moment of a kill is to have nothing to do with what goes on")]
    pub(super) fn moment(&mut self) {
        std::thread::sleep(self.chance.moment());
    }

    pub(super) fn start_runner(&mut self) {
        let mut arguments = vec!["run", "command", "--agent-id", "a1", "--shutdown-timeout", "4s"];
        if self.agent == Agent::Listening {
            arguments.push("--listen");
        }
        arguments.extend_from_slice(&["--", PROGRAM, "demo-agent", "--log", "notes", "--step", "5ms"]);
        self.started = Instant::now();
        self.starts += 1;
        self.runner = Some(self.world.start(&arguments, &[]));
    }

    pub(super) fn kill_runner(&mut self) {
        let runner = self.runner.take().unwrap();
        assert!(runner.killed(), "it has ended by itself: {}", self.world.log());
    }

    /// The time is noted.
    pub(super) fn is_ready_again(&mut self) {
        self.is_ready();
        self.back.push(self.started.elapsed());
    }

    /// As its control server says.
    #[expect(clippy::disallowed_methods, reason = "to the millisecond; other processes can only be looked at")]
    fn is_ready(&self) {
        let socket = self.folder().join("control.sock");
        while !is_ready(&socket) {
            let waited = self.started.elapsed();
            assert!(waited < Duration::from_mins(1), "it is not ready again: {}", self.world.log());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whichever process noted something last; it may have gone already.
    pub(super) fn kill_agent(&self) {
        if let Some(pid) = self.notes().last().and_then(|note| note["pid"].as_u64()) {
            signal(u32::try_from(pid).unwrap(), "KILL");
        }
    }

    pub(super) fn kill_relay(&mut self) {
        self.relay_died = true;
        self.world.relay_is_killed();
    }

    pub(super) fn start_relay(&mut self) {
        self.world.relay_comes_back();
    }

    /// At once: its own pause doubles with every loss.
    pub(super) fn runner_looks_for_it(&self) {
        let reconnect = Call::post("/command", r#"{"type":"reconnect"}"#);
        let (status, answer) = reconnect.to_socket(&self.folder().join("control.sock"));
        assert_eq!(status, 200, "{answer}");
    }

    /// What the agents have noted, oldest first.
    pub(super) fn notes(&self) -> Vec<Value> {
        self.world.noted("notes").iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Nobody is killed any more, and all that was sent comes to its end.
    pub(super) fn settles(&mut self) {
        self.is_ready();
        let limit = Instant::now() + Duration::from_mins(1) + Duration::from_millis(500) * self.starts;
        for sent in &self.sent {
            let rest = limit.saturating_duration_since(Instant::now());
            eventually_within(rest, &format!("{sent:?} is settled"), || self.is_settled(*sent).then_some(()));
        }
    }

    /// Read and done, which is told until the relay accepts it. The stage is told four times, and each time the relay may
    /// have been dead.
    fn is_settled(&self, Sent { message, task }: Sent) -> bool {
        let read = || self.world.get(&format!("/messages/{message}"))["readBy"] == json!(["a1"]);
        let done = || task.is_none_or(|task| self.world.get(&format!("/tasks/{task}"))["status"] == "done");
        let told = || self.world.stages(message).iter().any(|(stage, _)| stage == "settled");
        read() && done() && (self.relay_died || told())
    }

    /// The last run ends in order, and leaves nothing.
    pub(super) fn ends(mut self) {
        let runner = self.runner.take().unwrap();
        eventually("everything that has ended was waited for", || zombies(runner.pid()).is_empty().then_some(()));
        let stopped = self.world.ask(&["stop", "a1"]);
        assert_eq!(stopped.code, Some(0), "{stopped:?} {}", self.world.log());
        assert_eq!(runner.ends(), Some(0), "{}", self.world.log());
        let folder = self.folder();
        let left = || with_in_environment(&folder);
        eventually("no process of the agent is left", || left().is_empty().then_some(()));
        self.replays();
        let (holds, most) = (size(&self.world.state()), STATE_MOST_EACH * u64::from(self.kills + 1));
        assert!(holds <= most, "the state folder holds {holds} bytes");
        self.is_back_soon(holds);
    }

    fn replays(&self) {
        let said = self.world.ask(&["replay", self.world.state().to_str().unwrap(), "--json"]);
        assert_eq!(said.code, Some(0), "{said:?}");
        let replayed = said.json();
        assert_eq!(replayed["replaysExactly"], true, "{replayed}");
        // One that was killed before it had a journal left none.
        assert!(replayed["runs"].as_u64().unwrap() <= u64::from(self.starts), "{replayed}");
    }

    fn is_back_soon(&mut self, holds: u64) {
        self.back.sort_unstable();
        let median = self.back.get(self.back.len() / 2).copied().unwrap_or_default();
        let worst = self.back.last().copied().unwrap_or_default();
        eprintln!(
            "{:?}: {} starts, {} messages, {holds} bytes of state; {} times seen to be ready again, after {} ms at the median, {} at most",
            self.agent,
            self.starts,
            self.sent.len(),
            self.back.len(),
            median.as_millis(),
            worst.as_millis(),
        );
        assert!(median <= BACK_WITHIN, "half of the starts took longer than {median:?} until ready");
    }

    /// The runner folder.
    fn folder(&self) -> PathBuf {
        self.world.state().join("run")
    }
}

impl Drop for Siege {
    /// The journals of a failure say what happened; they outlive it.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kept = self.world.path("").with_extension("kept");
            eprintln!("{} starts; the folder is kept: {}", self.starts, kept.display());
            if let Err(error) = fs::rename(self.world.path(""), &kept) {
                eprintln!("it could not be: {error}");
            }
        }
    }
}

/// What its control server says; none that answers is not ready.
fn is_ready(socket: &Path) -> bool {
    let ask = |mut stream: UnixStream| {
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    UnixStream::connect(socket).and_then(ask).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The runner's own, and all that it or one before it has started.
fn with_in_environment(folder: &Path) -> Vec<u32> {
    let variable = [b"AGENT_RELAY_RUNNER_DIR=", folder.as_os_str().as_bytes()].concat();
    let has = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|one| one == variable)
    };
    processes().filter(has).collect()
}

/// Children of this process that have ended and were not waited for.
fn zombies(parent: u32) -> Vec<u32> {
    let is = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(&format!("Z {parent} ")))
    };
    processes().filter(is).collect()
}

fn size(path: &Path) -> u64 {
    let entries = fs::read_dir(path).unwrap().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(is) if is.is_dir() => size(&entry.path()),
            Ok(is) => is.len(),
            Err(_) => 0,
        })
        .sum()
}
