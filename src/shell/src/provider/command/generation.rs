//! One process of the command provider, from its start to its exit.
//!
//! This task alone owns the process: it hands on what is said, carries out the steps of stopping, and reports the exit
//! once, as the last of its reports. The group is killed after any exit of its leader, and whenever this task ends in
//! another way.

use super::socket;
use super::talk::{Account, Speaker, listen, overhear};
use super::{CommandSpec, Halt, Say, words};
use crate::input::caught;
use crate::monitor::Monitor;
use crate::provider::leftover::{self, Noted};
use crate::provider::process::{self, Group, Launch, Process};
use crate::provider::reporter::Reporter;
use crate::provider::{Adopt, Start};
use process_wrap::tokio::ChildWrapper;
use relay_runner_core::event::{ExitClass, FailureKind, ProcessRef};
use relay_runner_core::{OpId, OpResult, ProviderReport, StopStep};
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::File;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};

/// How long the rest of the output may take after the exit: something outside the group may hold the pipe open.
const REST_WITHIN: Duration = Duration::from_secs(1);
/// Where a listening program finds the path of its socket.
const SOCKET_VARIABLE: &str = "AGENT_RELAY_COMMAND_SOCKET";

#[derive(Debug)]
pub(super) enum Begin {
    Start(Start),
    Adopt(Adopt),
}

impl Begin {
    pub(super) fn reporter(&self) -> &Reporter {
        match self {
            Self::Start(start) => &start.reporter,
            Self::Adopt(adopt) => &adopt.reporter,
        }
    }
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) monitor: Monitor,
    pub(super) spec: CommandSpec,
    pub(super) runner_dir: PathBuf,
    pub(super) socket: Option<PathBuf>,
    pub(super) state_dir: PathBuf,
    pub(super) begin: Begin,
    pub(super) said: mpsc::Receiver<Say>,
    pub(super) stops: mpsc::UnboundedReceiver<Halt>,
}

impl Running {
    pub(super) async fn run(self) {
        let reporter = self.begin.reporter().clone();
        let (monitor, generation) = (self.monitor.clone(), reporter.generation());
        // A panic drops the process group, and with it kills it.
        if let Err(what) = caught(self.live()).await {
            reporter.inputs().fault(format!("the task of the provider panicked: {what}")).await;
            monitor.over(generation).await;
            reporter.exit(ExitClass::Crash, "it was killed after a fault of the runner").await;
        }
    }

    async fn live(self) {
        let Self { spec, runner_dir, state_dir, socket, begin, said, mut stops, monitor } = self;
        let reporter = begin.reporter().clone();
        let log = state_dir.join("provider.log");
        let begun = match begin {
            Begin::Start(start) => started(&spec, start, socket.as_deref(), &log),
            Begin::Adopt(adopt) => taken_up(adopt, &runner_dir, &log),
        };
        let Held { op, process, pipes, mut exit, mut group, log, resume } = match begun {
            Ok(held) => held,
            Err((op, kind, why)) => return reporter.fail(op, kind, &why).await,
        };
        let noted = Noted { process, runner_dir };
        if let Err(error) = noted.write(&state_dir) {
            tracing::warn!("a start without the journal will not know of the provider's process: {error}");
        }
        reporter.answer(op, OpResult::Spawned(noted.process)).await;

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
            // Whatever the leader left behind in its group goes with it, and lets go of the pipes.
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

/// A process that lives.
struct Held {
    op: OpId,
    process: ProcessRef,
    pipes: Pipes,
    /// None: it is not our child, and its code is not known.
    exit: Pin<Box<dyn Future<Output = std::io::Result<Option<ExitStatus>>> + Send>>,
    group: Group,
    log: Option<File>,
    /// What it is asked before it is up.
    resume: Option<String>,
}

type NotHeld = (OpId, FailureKind, String);

fn started(spec: &CommandSpec, start: Start, socket: Option<&Path>, log: &Path) -> Result<Held, NotHeld> {
    let Start { op, mut env, cwd, .. } = start;
    if let Some(path) = socket {
        env.insert(OsString::from(SOCKET_VARIABLE), path.into());
    }
    let (Process { mut child, group }, log) =
        launch(spec, &env, &cwd, socket, log).map_err(|why| (op, FailureKind::Io, why))?;
    let process = leftover::reference(child.id().unwrap_or(0));
    let pipes = Pipes::take(&mut *child);
    let exit = Box::pin(async move { child.wait().await.map(Some) });
    Ok(Held { op, process, pipes, exit, group, log, resume: None })
}

fn taken_up(adopt: Adopt, runner_dir: &Path, log: &Path) -> Result<Held, NotHeld> {
    let Adopt { op, process, offers, .. } = adopt;
    let Some(end) = leftover::end_of(&process) else {
        let rest = if leftover::kill_leftover(&process, runner_dir) { ", and what it left was killed" } else { "" };
        let why = format!("the provider of the last run (process {}) has ended{rest}", process.pid);
        return Err((op, FailureKind::NotFound, why));
    };
    let group = Group::of(process.clone(), runner_dir.to_owned());
    let exit = Box::pin(async move {
        end.await;
        Ok(None)
    });
    // Without it, what the program prints is not bounded; it goes on printing there all the same.
    let log =
        socket::open_log(log).map_err(|error| tracing::warn!("the provider's log cannot be bounded: {error}")).ok();
    let pipes = Pipes { stdin: None, stdout: None, stderr: None };
    Ok(Held { op, process, pipes, exit, group, log, resume: Some(words::resume(&offers)) })
}

struct Pipes {
    stdin: Option<tokio::process::ChildStdin>,
    stdout: Option<tokio::process::ChildStdout>,
    stderr: Option<tokio::process::ChildStderr>,
}

impl Pipes {
    fn take(child: &mut dyn ChildWrapper) -> Self {
        Self { stdin: child.stdin().take(), stdout: child.stdout().take(), stderr: child.stderr().take() }
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
            never = async { match log { Some(file) => socket::bound_log(file).await, None => pending().await } } => never,
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
                    overhear(stderr, &reporter, last_words).await;
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

fn launch(
    spec: &CommandSpec,
    env: &std::collections::BTreeMap<OsString, OsString>,
    cwd: &Path,
    socket: Option<&Path>,
    log: &Path,
) -> Result<(Process, Option<File>), String> {
    let argv = &spec.argv;
    let Some(socket) = socket else {
        let [stdin, stdout, stderr] = [Stdio::piped(), Stdio::piped(), Stdio::piped()];
        return Ok((process::start(Launch { argv, env, cwd, stdin, stdout, stderr })?, None));
    };
    if let Err(error) = std::fs::remove_file(socket)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(format!("cannot remove the old socket {}: {error}", socket.display()));
    }
    let files = socket::open_log(log).and_then(|file| Ok((file.try_clone()?, file.try_clone()?, file)));
    let (stdout, stderr, file) =
        files.map_err(|e| format!("cannot write the provider's log {}: {e}", log.display()))?;
    let launch = Launch { argv, env, cwd, stdin: Stdio::null(), stdout: stdout.into(), stderr: stderr.into() };
    Ok((process::start(launch)?, Some(file)))
}
