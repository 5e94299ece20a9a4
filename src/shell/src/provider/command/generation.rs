//! One process of the command provider, from its start to its exit.
//!
//! This task alone owns the process: it hands on what is said, carries out the steps of stopping, and reports the exit
//! once, as the last of its reports. The group is killed after any exit of its leader, and whenever this task ends in
//! another way.

use super::socket;
use super::talk::{Account, Speaker, listen};
use super::{CommandSpec, Say, words};
use crate::monitor::Monitor;
use crate::provider::held::{self, Held, NotHeld, Pipes, Program};
use crate::provider::living::{self, Halt, Told};
use crate::provider::overheard::overhear;
use crate::provider::reporter::Reporter;
use crate::provider::{Adopt, Begin, Start, log, process};
use relay_runner_core::event::ExitClass;
use relay_runner_core::{OpId, ProviderReport, StopStep};
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::File;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// How long the rest of the output may take after the exit: something outside the group may hold the pipe open.
const REST_WITHIN: Duration = Duration::from_secs(1);
/// Where a listening program finds the path of its socket.
const SOCKET_VARIABLE: &str = "AGENT_RELAY_COMMAND_SOCKET";

#[derive(Debug)]
pub(super) struct Running {
    pub(super) monitor: Monitor,
    pub(super) spec: CommandSpec,
    pub(super) runner_dir: PathBuf,
    pub(super) socket: Option<PathBuf>,
    pub(super) state_dir: PathBuf,
    pub(super) begin: Begin,
    pub(super) told: Told<Say>,
}

impl Running {
    pub(super) async fn run(self) {
        let reporter = self.begin.reporter().clone();
        let monitor = self.monitor.clone();
        let over = monitor.over(reporter.generation());
        living::guarded(reporter.clone(), Box::pin(self.live()), over).await;
    }

    async fn live(self) {
        let Self { spec, runner_dir, state_dir, socket, begin, told: Told { said, mut stops }, monitor } = self;
        let reporter = begin.reporter().clone();
        let log = state_dir.join(log::NAME);
        let (op, begun) = begun(begin, &spec, socket.as_deref(), &runner_dir, &log);
        let (Held { process, pipes, mut exit, mut group, log, .. }, resume) = match begun {
            Ok(held) => held,
            Err((kind, why)) => return reporter.fail(op, kind, &why).await,
        };
        living::spawned(&reporter, op, process, [&runner_dir, &state_dir]).await;

        let ask = Notify::new();
        let (quiet, mut quieted) = watch::channel(false);
        let mut speaker =
            Speaker { said, under_way: None, handed_over: false, ask: &ask, quiet, reporter: reporter.clone() };
        let mut last_words = String::new();
        let status = {
            let way = Way { pipes, socket: socket.as_deref(), log, resume };
            let mut talk = Box::pin(talk(way, &mut speaker, &mut last_words));
            let status = loop {
                tokio::select! {
                    status = &mut exit => break status,
                    Some(halt) = stops.recv() => match halt {
                        Halt::Step(StopStep::Ask) => ask.notify_one(),
                        Halt::Step(StopStep::Terminate) => group.terminate(),
                        Halt::Step(StopStep::Kill) => group.kill(),
                        Halt::Leave => return group.release(),
                    },
                    never = &mut talk => match never {},
                }
            };
            // Whatever the leader left behind in its group goes with it, and lets go of the pipes. What has left the group is
            // meant to survive.
            group.kill();
            group.release();
            let rest = async {
                tokio::select! {
                    never = &mut talk => match never {},
                    // The sender lives as long as the talk.
                    _ = quieted.wait_for(|quiet| *quiet) => {}
                }
            };
            if tokio::time::timeout(REST_WITHIN, rest).await.is_err() {
                tracing::debug!("the provider's output is still held open by a process outside its group");
            }
            status
        };
        speaker.hush().await;
        monitor.over(reporter.generation()).await;
        let (class, mut detail) = match status {
            Ok(Some(status)) => process::exit_class(status),
            Ok(None) => (
                ExitClass::Crash,
                "it ended; with which code is not known, as it was started by an earlier run".to_owned(),
            ),
            Err(error) => (ExitClass::Crash, format!("its exit could not be seen: {error}")),
        };
        if class != ExitClass::Clean && !last_words.is_empty() {
            detail = format!("{detail}: {last_words}");
        }
        reporter.exit(class, &detail).await;
    }
}

/// The process, and what it is asked before it is up.
fn begun(
    begin: Begin,
    spec: &CommandSpec,
    socket: Option<&Path>,
    runner_dir: &Path,
    log: &Path,
) -> (OpId, Result<(Held, Option<String>), NotHeld>) {
    match begin {
        Begin::Start(Start { op, mut env, cwd, .. }) => {
            let started = match socket {
                Some(path) => {
                    env.insert(OsString::from(SOCKET_VARIABLE), path.into());
                    held::listening(Program { argv: &spec.argv, env: &env, cwd: &cwd }, path, log)
                }
                None => held::piped(Program { argv: &spec.argv, env: &env, cwd: &cwd }),
            };
            (op, started.map(|held| (held, None)))
        }
        Begin::Adopt(Adopt { op, process, offers, .. }) => {
            let held = held::taken_up(process, runner_dir, log);
            (op, held.map(|held| (held, Some(words::resume(&offers)))))
        }
    }
}

/// How the program is reached.
struct Way<'a> {
    pipes: Pipes,
    socket: Option<&'a Path>,
    log: Option<File>,
    resume: Option<String>,
}

/// The whole conversation; never over by itself, since there may always be something to refuse.
async fn talk(way: Way<'_>, speaker: &mut Speaker<'_>, last_words: &mut String) -> Infallible {
    let Way { pipes, socket, log, resume } = way;
    let reporter: Reporter = speaker.reporter.clone();
    if let Some(path) = socket {
        return tokio::select! {
            never = socket::converse(path, resume, speaker) => never,
            never = log::bound(log) => never,
        };
    }
    // A program on pipes takes lines from the first moment on: what it does not read yet waits in the pipe.
    reporter.report(ProviderReport::Ready).await;
    let quiet = speaker.quiet.clone();
    let out = async {
        tokio::join!(
            async {
                if let Some(stdout) = pipes.stdout {
                    listen(stdout, &reporter, &Account::default()).await;
                }
            },
            async {
                if let Some(stderr) = pipes.stderr {
                    overhear(stderr, &reporter, |line| *last_words = line).await;
                }
            }
        );
        quiet.send_replace(true);
        pending().await
    };
    let into = async {
        if let Some(stdin) = pipes.stdin {
            speaker.speak(stdin, None).await;
        }
        speaker.refuse_all("the provider takes nothing any more").await
    };
    tokio::select! {
        never = out => never,
        never = into => never,
    }
}
