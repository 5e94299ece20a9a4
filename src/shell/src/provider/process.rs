//! Processes of providers: started in a group of their own, which goes as a whole.

use process_wrap::tokio::{ChildWrapper, CommandWrap, ProcessGroup};
use relay_runner_core::Text;
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
}

impl Group {
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
    Ok(Process { child, group: Group { leader } })
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

/// Names a process so that a stranger with the same number is never mistaken for it.
pub(crate) fn reference(pid: u32) -> ProcessRef {
    ProcessRef { pid, started: started(pid).unwrap_or(0), boot: boot_id() }
}

/// Kills what an earlier run left behind: the process, if it is still the same one, with its group; or the rest of its
/// group, known by the runner folder in its environment. True when there was something.
///
/// This is the place where an adoptable provider will be taken up again instead.
pub(crate) fn kill_leftover(process: &ProcessRef, runner_dir: &Path) -> bool {
    // Without a start time (not Linux) nothing proves that it is the same one.
    if process.started == 0 || process.boot.is_empty() || process.boot != boot_id() {
        return false;
    }
    let left = match started(process.pid) {
        Some(started) => started == process.started,
        None => is_ours(process.pid, runner_dir),
    };
    let Some(leader) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return false };
    if left {
        Group { leader: Some(leader) }.kill();
    }
    left
}

/// Whether a group without its leader still has a process that was started by a runner with this folder. The system
/// gives a group's number to nobody else as long as one of the group lives.
#[cfg(target_os = "linux")]
fn is_ours(group: u32, runner_dir: &Path) -> bool {
    let mut ours = OsString::from("AGENT_RELAY_RUNNER_DIR=");
    ours.push(runner_dir);
    let member = |pid: u32| stat_field(pid, 2) == Some(u64::from(group));
    let has_it = |pid: u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == ours.as_encoded_bytes())
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.any(|pid| member(pid) && has_it(pid))
}

#[cfg(not(target_os = "linux"))]
fn is_ours(_group: u32, _runner_dir: &Path) -> bool {
    false
}

/// The start, in clock ticks since boot.
#[cfg(target_os = "linux")]
fn started(pid: u32) -> Option<u64> {
    stat_field(pid, 19)
}

/// A number of `/proc/<pid>/stat`, counted from the field behind the name, which may hold anything.
#[cfg(target_os = "linux")]
fn stat_field(pid: u32, nth: usize) -> Option<u64> {
    let stat = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat"))).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(nth)?.parse().ok()
}

#[cfg(target_os = "linux")]
fn boot_id() -> Text {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().into()
}

#[cfg(not(target_os = "linux"))]
fn started(_pid: u32) -> Option<u64> {
    None
}

#[cfg(not(target_os = "linux"))]
fn boot_id() -> Text {
    "".into()
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

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_is_known_by_its_start_and_boot() {
        let ours = reference(std::process::id());
        assert!(ours.started > 0 && ours.boot.len() == 36);
        let stranger = ProcessRef { started: ours.started + 1, ..ours.clone() };
        assert!(!kill_leftover(&stranger, Path::new("/")), "another process under the same number is left alone");
        assert!(!kill_leftover(&ProcessRef { boot: "another".into(), ..ours }, Path::new("/")), "or of another boot");
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn what_a_killed_runner_left_behind_is_killed() {
        let argv = ["sh", "-c", "sleep 1000 & wait"].map(OsString::from);
        let env = BTreeMap::from([("PATH".into(), std::env::var_os("PATH").unwrap())]);
        let [stdin, stdout, stderr] = [Stdio::null(), Stdio::null(), Stdio::null()];
        let launch = Launch { argv: &argv, env: &env, cwd: Path::new("/"), stdin, stdout, stderr };
        let Process { mut child, mut group } = start(launch).unwrap();
        let left = reference(child.id().unwrap());
        // As if this process had been killed: nobody holds the group any more.
        group.release();
        assert!(kill_leftover(&left, Path::new("/")));
        let status = child.wait().await.unwrap();
        assert_eq!(exit_class(status).0, ExitClass::Signal);
        assert!(!kill_leftover(&left, Path::new("/")), "it is gone");
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn so_is_the_rest_of_a_group_whose_leader_has_gone() {
        let argv = ["sh", "-c", "sleep 1000 & echo $!"].map(OsString::from);
        let path = ("PATH".into(), std::env::var_os("PATH").unwrap());
        let env = BTreeMap::from([path, ("AGENT_RELAY_RUNNER_DIR".into(), "/run/ours".into())]);
        let [stdin, stdout, stderr] = [Stdio::null(), Stdio::piped(), Stdio::null()];
        let launch = Launch { argv: &argv, env: &env, cwd: Path::new("/"), stdin, stdout, stderr };
        let Process { mut child, mut group } = start(launch).unwrap();
        let left = reference(child.id().unwrap());
        let mut said = crate::provider::lines::Lines::new(child.stdout().take().unwrap(), 100);
        let Some(crate::provider::lines::Line::Text(pid)) = said.next().await.unwrap() else { panic!("a number") };
        let pid: u32 = pid.parse().unwrap();
        // Not through its group: that would wait for all of it.
        while stat_state(left.pid) != Some('Z') {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        child.inner_mut().wait().await.unwrap();
        group.release();
        assert!(!kill_leftover(&left, Path::new("/run/theirs")), "a stranger's group is left alone");
        assert!(kill_leftover(&left, Path::new("/run/ours")));
        while !matches!(stat_state(pid), None | Some('Z')) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    #[cfg(target_os = "linux")]
    fn stat_state(pid: u32) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    }
}
