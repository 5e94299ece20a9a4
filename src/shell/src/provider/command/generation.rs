//! One process of the command provider, from its start to its exit.
//!
//! This task alone owns the process: it hands on what is said, carries out the steps of stopping, and reports the exit
//! once, as the last of its reports. The group is killed after any exit of its leader, and whenever this task ends in
//! another way.

use super::socket;
use super::talk::{Speaker, listen, overhear};
use super::{CommandSpec, Halt, Say};
use crate::input::caught;
use crate::provider::Start;
use crate::provider::process::{self, Launch, Process};
use crate::provider::reporter::Reporter;
use process_wrap::tokio::ChildWrapper;
use relay_runner_core::event::{ExitClass, FailureKind};
use relay_runner_core::{OpResult, ProviderReport, StopStep};
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::File;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};

/// How long the rest of the output may take after the exit: something outside the group may hold the pipe open.
const REST_WITHIN: Duration = Duration::from_secs(1);
/// Where a listening program finds the path of its socket.
const SOCKET_VARIABLE: &str = "AGENT_RELAY_COMMAND_SOCKET";

#[derive(Debug)]
pub(super) struct Running {
    pub(super) spec: CommandSpec,
    pub(super) socket: Option<PathBuf>,
    pub(super) log: PathBuf,
    pub(super) start: Start,
    pub(super) said: mpsc::Receiver<Say>,
    pub(super) stops: mpsc::UnboundedReceiver<Halt>,
}

impl Running {
    pub(super) async fn run(self) {
        let reporter = self.start.reporter.clone();
        // A panic drops the process group, and with it kills it.
        if let Err(what) = caught(self.live()).await {
            reporter.inputs().fault(format!("the task of the provider panicked: {what}")).await;
            reporter.exit(ExitClass::Crash, "it was killed after a fault of the runner").await;
        }
    }

    async fn live(self) {
        let Self { spec, socket, log, start: Start { op, mut env, cwd, reporter, .. }, said, mut stops } = self;
        if let Some(path) = &socket {
            env.insert(OsString::from(SOCKET_VARIABLE), path.into());
        }
        let launched = launch(&spec, &env, &cwd, socket.as_deref(), &log);
        let (Process { mut child, mut group }, log) = match launched {
            Ok(launched) => launched,
            Err(why) => return reporter.fail(op, FailureKind::Io, &why).await,
        };
        reporter.answer(op, OpResult::Spawned(process::reference(child.id().unwrap_or(0)))).await;

        let ask = Notify::new();
        let (quiet, mut quieted) = watch::channel(false);
        let mut speaker =
            Speaker { said, under_way: None, handed_over: false, ask: &ask, quiet, reporter: reporter.clone() };
        let mut last_words = String::new();
        let status = {
            let pipes = Pipes::take(&mut *child);
            let mut talk = Box::pin(talk(pipes, socket.as_deref(), log, &mut speaker, &mut last_words));
            let mut exit = child.wait();
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
        let (class, mut detail) = match status {
            Ok(status) => process::exit_class(status),
            Err(error) => (ExitClass::Crash, format!("its exit could not be seen: {error}")),
        };
        if class != ExitClass::Clean && !last_words.is_empty() {
            detail = format!("{detail}: {last_words}");
        }
        reporter.exit(class, &detail).await;
    }
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

/// The whole conversation; never over by itself, since there may always be something to refuse.
async fn talk(
    pipes: Pipes,
    socket: Option<&Path>,
    log: Option<File>,
    speaker: &mut Speaker<'_>,
    last_words: &mut String,
) -> Infallible {
    let reporter: Reporter = speaker.reporter.clone();
    if let Some(path) = socket {
        return tokio::select! {
            never = socket::converse(path, speaker) => never,
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
                    listen(stdout, &reporter).await;
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
            speaker.speak(stdin).await;
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
