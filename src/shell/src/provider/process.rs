//! Processes of providers: started in a group of their own, which goes as a whole.

use super::leftover::is_ours;
use process_wrap::tokio::{ChildWrapper, CommandWrap, ProcessGroup};
use relay_runner_core::event::{ExitClass, ProcessRef};
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

/// A program to be started.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) argv: &'a [OsString],
    pub(crate) env: &'a BTreeMap<OsString, OsString>,
    pub(crate) cwd: &'a Path,
    pub(crate) stdin: Stdio,
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
}

/// A living process and its group.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) child: Box<dyn ChildWrapper>,
    pub(crate) group: Group,
}

/// A process group, killed when this is dropped: whatever becomes of the task that holds it, no process stays.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Option<Pid>,
    /// Of a process that is not our child, and of which the system may give the number to a stranger: what it is known
    /// by, and the runner folder.
    taken_up: Option<(ProcessRef, PathBuf)>,
}

impl Group {
    /// That of a process that was started by an earlier run. It is not touched unless it is still the same one.
    pub(crate) fn of(process: ProcessRef, runner_dir: PathBuf) -> Self {
        let leader = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
        Self { leader, taken_up: Some((process, runner_dir)) }
    }

    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// The process outlives us.
    pub(crate) fn release(&mut self) {
        self.leader = None;
    }

    fn signal(&self, signal: Signal) {
        let Some(leader) = self.leader else { return };
        if self.taken_up.as_ref().is_some_and(|(process, runner_dir)| !is_ours(process, runner_dir)) {
            return;
        }
        match kill_process_group(leader, signal) {
            // No such group: all of it is gone already.
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => tracing::warn!("cannot signal the process group {}: {error}", leader.as_raw_nonzero()),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts it, as the leader of a new group. The error is for people.
pub(crate) fn start(launch: Launch<'_>) -> Result<Process, String> {
    let Some((program, arguments)) = launch.argv.split_first() else {
        return Err("there is no command to start; give one behind --".to_owned());
    };
    if !launch.cwd.is_dir() {
        return Err(format!(
            "cannot start `{}`: its working directory {} does not exist; make it, or give another with --cwd",
            program.display(),
            launch.cwd.display()
        ));
    }
    let mut command = CommandWrap::with_new(program, |command| {
        command
            .args(arguments)
            .env_clear()
            .envs(launch.env)
            .current_dir(launch.cwd)
            .stdin(launch.stdin)
            .stdout(launch.stdout)
            .stderr(launch.stderr);
    });
    command.wrap(ProcessGroup::leader());
    let child = command.spawn().map_err(|error| cannot_start(program.to_string_lossy().as_ref(), &error))?;
    let leader = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    Ok(Process { child, group: Group { leader, taken_up: None } })
}

fn cannot_start(program: &str, error: &io::Error) -> String {
    let what = match error.kind() {
        io::ErrorKind::NotFound => "No such file or directory",
        io::ErrorKind::PermissionDenied => "it is not executable (Permission denied)",
        _ => return format!("cannot start `{program}`: {error}"),
    };
    format!("cannot start `{program}`: {what}; check the command after --")
}

/// Why a process is over, for the core and for people.
pub(crate) fn exit_class(status: ExitStatus) -> (ExitClass, String) {
    match (status.code(), status.signal()) {
        (Some(0), _) => (ExitClass::Clean, "exit code 0".to_owned()),
        (Some(code), _) => (ExitClass::Crash, format!("exit code {code}")),
        (None, Some(signal)) => {
            let name = signal_name(signal).map(|name| format!(" ({name})")).unwrap_or_default();
            (ExitClass::Signal, format!("signal {signal}{name}"))
        }
        (None, None) => (ExitClass::Crash, status.to_string()),
    }
}

/// Those that end a program; the numbers differ between systems.
fn signal_name(number: i32) -> Option<&'static str> {
    const NAMES: [(Signal, &str); 13] = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
    ];
    NAMES.iter().find(|(signal, _)| signal.as_raw() == number).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_classed_by_code_and_signal() {
        assert_eq!(exit_class(ExitStatus::from_raw(0)), (ExitClass::Clean, "exit code 0".to_owned()));
        assert_eq!(exit_class(ExitStatus::from_raw(3 << 8)), (ExitClass::Crash, "exit code 3".to_owned()));
        assert_eq!(exit_class(ExitStatus::from_raw(9)), (ExitClass::Signal, "signal 9 (SIGKILL)".to_owned()));
        assert_eq!(exit_class(ExitStatus::from_raw(15)), (ExitClass::Signal, "signal 15 (SIGTERM)".to_owned()));
    }
}
