//! A process that lives, started or taken up, and what is needed to see its end.

use super::foreground::{Background, Foreground};
use super::leftover;
use super::log;
use super::process::{self, Group, Launch, Process};
use relay_runner_core::event::{FailureKind, ProcessRef};
use rustix::process::Pid;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

/// In the environment of whatever a provider starts.
pub(crate) const SESSION: &str = "AGENT_RELAY_PROVIDER_SESSION_ID";

/// None: it is not our child, and its code is not known.
pub(crate) type Exit = Pin<Box<dyn Future<Output = io::Result<Option<ExitStatus>>> + Send>>;

pub(crate) struct Held {
    pub(crate) process: ProcessRef,
    pub(crate) pipes: Pipes,
    pub(crate) exit: Exit,
    pub(crate) group: Group,
    /// Where its own output goes, when it has no pipes.
    pub(crate) log: Option<File>,
    /// How long that was before it started.
    pub(crate) printed: u64,
    /// The provider session that it and all that it starts is in.
    pub(crate) session: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Pipes {
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
}

pub(crate) type NotHeld = (FailureKind, String);

/// What is started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program<'a> {
    pub(crate) argv: &'a [OsString],
    pub(crate) env: &'a BTreeMap<OsString, OsString>,
    pub(crate) cwd: &'a Path,
}

/// On pipes: it goes with the runner.
pub(crate) fn piped(Program { argv, env, cwd }: Program<'_>) -> Result<Held, NotHeld> {
    let [stdin, stdout, stderr] = [Stdio::piped(), Stdio::piped(), Stdio::piped()];
    let process = process::start(Launch { argv, env, cwd, stdin, stdout, stderr });
    process.map(|process| held(process, None, env)).map_err(|why| (FailureKind::Io, why))
}

/// In the terminal that the runner was started in, and in front there: it goes with the runner.
pub(crate) fn in_front(Program { argv, env, cwd }: Program<'_>) -> Result<(Held, Foreground), NotHeld> {
    let io = |why: String| (FailureKind::Io, why);
    let terminal = Background::new().map_err(|e| io(format!("the terminal cannot be handed over: {e}")))?;
    let [stdin, stdout, stderr] = [Stdio::inherit(), Stdio::inherit(), Stdio::inherit()];
    let process = process::start(Launch { argv, env, cwd, stdin, stdout, stderr }).map_err(io)?;
    let held = held(process, None, env);
    let leader = i32::try_from(held.process.pid).ok().and_then(Pid::from_raw);
    let leader = leader.ok_or_else(|| io("the provider ended at once".to_owned()))?;
    Ok((held, terminal.to(leader)))
}

/// It listens on this socket, and can outlive the runner.
pub(crate) fn listening(
    Program { argv, env, cwd }: Program<'_>,
    socket: &Path,
    log_path: &Path,
) -> Result<Held, NotHeld> {
    let io = |why: String| (FailureKind::Io, why);
    if let Err(error) = std::fs::remove_file(socket)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(io(format!("cannot remove the old socket {}: {error}", socket.display())));
    }
    let files = log::open(log_path).and_then(|file| Ok((file.try_clone()?, file.try_clone()?, file)));
    let (stdout, stderr, file) =
        files.map_err(|e| io(format!("cannot write the provider's log {}: {e}", log_path.display())))?;
    let printed = file.metadata().map_or(0, |is| is.len());
    let launch = Launch { argv, env, cwd, stdin: Stdio::null(), stdout: stdout.into(), stderr: stderr.into() };
    Ok(Held { printed, ..held(process::start(launch).map_err(io)?, Some(file), env) })
}

fn held(Process { mut child, group }: Process, log: Option<File>, env: &BTreeMap<OsString, OsString>) -> Held {
    let process = leftover::reference(child.id().unwrap_or(0));
    let pipes = Pipes { stdin: child.stdin().take(), stdout: child.stdout().take(), stderr: child.stderr().take() };
    let exit = Box::pin(async move { child.wait().await.map(Some) });
    let session = env.get(OsStr::new(SESSION)).map(|session| session.to_string_lossy().into_owned());
    Held { process, pipes, exit, group, log, printed: 0, session }
}

/// One that an earlier run started.
pub(crate) fn taken_up(process: ProcessRef, runner_dir: &Path, log_path: &Path) -> Result<Held, NotHeld> {
    let Some(end) = leftover::end_of(&process) else {
        let rest = if leftover::kill_leftover(&process, runner_dir) { ", and what it left was killed" } else { "" };
        let why = format!("the provider of the last run (process {}) has ended{rest}", process.pid);
        return Err((FailureKind::NotFound, why));
    };
    let session = leftover::session_of(process.pid);
    let group = Group::of(process.clone(), runner_dir.to_owned());
    let exit = Box::pin(async move {
        end.await;
        Ok(None)
    });
    // Without it, what the program prints is not bounded; it goes on printing there all the same.
    let log = log::open(log_path).map_err(|error| tracing::warn!("the provider's log cannot be bounded: {error}")).ok();
    let printed = log.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |is| is.len());
    Ok(Held { process, pipes: Pipes::default(), exit, group, log, printed, session })
}
