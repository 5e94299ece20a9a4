//! What an earlier run left: whether a process is still the one that it started, when it ends, and how it is ended.
//!
//! A number alone says nothing, as the system gives it to others: a process is known by its number, its start and the
//! boot of the machine; the rest of a group by the runner folder in its environment. What cannot be shown to be ours is
//! never touched.

use super::process::Group;
use relay_runner_core::Text;
use relay_runner_core::event::ProcessRef;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// In the environment of whatever a provider starts.
const SESSION: &str = "AGENT_RELAY_PROVIDER_SESSION_ID=";

/// Names a process so that a stranger with the same number is never mistaken for it.
pub(crate) fn reference(pid: u32) -> ProcessRef {
    ProcessRef { pid, started: started(pid).unwrap_or(0), boot: boot_id() }
}

/// Whether there is still something of it: the process itself, if it is the same one; or the rest of its group, known by
/// the runner folder in its environment.
pub(super) fn is_ours(process: &ProcessRef, runner_dir: &Path) -> bool {
    // Without a start time (not Linux) nothing proves that it is the same one.
    if process.started == 0 || process.boot.is_empty() || process.boot != boot_id() {
        return false;
    }
    match started(process.pid) {
        Some(started) => started == process.started,
        None => group_is_ours(process.pid, runner_dir),
    }
}

/// Kills what an earlier run left behind of a process and its group. True when there was something.
pub(crate) fn kill_leftover(process: &ProcessRef, runner_dir: &Path) -> bool {
    let left = is_ours(process, runner_dir);
    if left {
        Group::of(process.clone(), runner_dir.to_owned()).kill();
    }
    left
}

/// Kills the process that an earlier run was starting when it ended, and of which it did not hear any more: the leader
/// of a group with this provider session in its environment; of several the one that was started first, as the others
/// are its children. Returns its number when there was one.
pub(crate) fn kill_unknown(session: &str, runner_dir: &Path) -> Option<u32> {
    let process = of_session(session, runner_dir)?;
    kill_leftover(&process, runner_dir).then_some(process.pid)
}

#[cfg(target_os = "linux")]
fn of_session(session: &str, runner_dir: &Path) -> Option<ProcessRef> {
    let wanted = [mark(session), variable_of(runner_dir)];
    let leads = |pid: &u32| stat_field(*pid, 2) == Some(u64::from(*pid));
    // This runner may have been started by an agent itself, and have it in its environment as well.
    let ours = std::process::id();
    let candidates = pids().filter(|pid| *pid != ours && leads(pid) && wanted.iter().all(|one| has(*pid, one)));
    candidates.map(reference).filter(|process| process.started > 0).min_by_key(|process| process.started)
}

#[cfg(not(target_os = "linux"))]
fn of_session(_session: &str, _runner_dir: &Path) -> Option<ProcessRef> {
    None
}

/// The provider session that a process was started in.
pub(crate) fn session_of(pid: u32) -> Option<String> {
    let environment = environment(pid);
    let session = variables(&environment).find_map(|one| one.strip_prefix(SESSION.as_bytes()))?;
    String::from_utf8(session.to_vec()).ok()
}

/// Kills what is left of a provider session outside of its group: commands of an agent have sessions of their own, and what
/// they had begun must not go on beside the next generation. Another runner, which an agent may have started, ends in its own way.
#[cfg(target_os = "linux")]
pub(crate) fn kill_rest(session: &str, runner_dir: &Path) {
    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    /// What is killed may have been starting more.
    const ROUNDS: usize = 8;
    let ours = std::process::id();
    let marks = [mark(session), variable_of(runner_dir)];
    let is_left = |pid: u32| pid != ours && marks.iter().all(|mark| has(pid, mark)) && !is_a_runner(pid);
    for _ in 0..ROUNDS {
        let mut killed = 0;
        for pid in pids().filter(|pid| is_left(*pid)) {
            let handle =
                i32::try_from(pid).ok().and_then(Pid::from_raw).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
            // Looked at again after it was opened: from now on the handle is about this process, whoever gets its number.
            if let Some(Ok(handle)) = handle
                && is_left(pid)
                && pidfd_send_signal(handle, Signal::KILL).is_ok()
            {
                killed += 1;
            }
        }
        if killed == 0 {
            return;
        }
        tracing::debug!("{killed} processes of the provider were left, in sessions of their own; they were killed");
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn kill_rest(_session: &str, _runner_dir: &Path) {}

/// Whether it is this very program, as a runner.
#[cfg(target_os = "linux")]
fn is_a_runner(pid: u32) -> bool {
    // One that an upgrade has replaced is still that program.
    let exe = |of: &str| {
        let path = std::fs::read_link(format!("/proc/{of}/exe")).ok()?.into_os_string().into_string().ok()?;
        Some(path.trim_end_matches(" (deleted)").to_owned())
    };
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = variables(&line);
    let by_name = words.next().is_some_and(|name| name.ends_with(b"-relay"));
    exe(&pid.to_string()) == exe("self") && (by_name || words.next() == Some(b"run"))
}

/// Kills a process of an earlier run that nobody knows of any more: started by a runner with this folder, and told to
/// listen at this address. One in the group of `spared` is ours of today. Returns its number when there was one.
#[cfg(target_os = "linux")]
pub(crate) fn kill_listener(url: &OsStr, runner_dir: &Path, spared: u32) -> Option<u32> {
    let ours = variable_of(runner_dir);
    let listens = |pid: u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        variables(&line).any(|word| word == url.as_encoded_bytes())
    };
    let ghost = pids().find(|pid| {
        let group = stat_field(*pid, 2);
        group == Some(u64::from(*pid)) && group != Some(u64::from(spared)) && listens(*pid) && has(*pid, &ours)
    })?;
    kill_leftover(&reference(ghost), runner_dir).then_some(ghost)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn kill_listener(_url: &OsStr, _runner_dir: &Path, _spared: u32) -> Option<u32> {
    None
}

/// Waits for the end of a process that is not our child; none when it is not the same one any more.
#[cfg(target_os = "linux")]
pub(crate) fn end_of(process: &ProcessRef) -> Option<impl Future<Output = ()> + Send + use<>> {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use tokio::net::unix::pipe::Receiver;
    const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(200);
    let pid = Pid::from_raw(i32::try_from(process.pid).ok()?)?;
    let handle = pidfd_open(pid, PidfdFlags::empty());
    // Looked at after it was opened: from now on the handle is about this process, whoever gets its number.
    if !lives(process) {
        return None;
    }
    // Not a pipe; of all that can be waited for, it only has to become readable.
    let handle = handle.map_err(std::io::Error::from).and_then(Receiver::from_owned_fd_unchecked);
    let process = process.clone();
    Some(async move {
        let seen = match handle {
            // Readable once it has ended.
            Ok(handle) => handle.readable().await.is_ok(),
            Err(error) => {
                tracing::debug!("process {} is looked at now and then, as it cannot be watched: {error}", process.pid);
                false
            }
        };
        if !seen {
            let mut looks = tokio::time::interval(LOOK_EVERY);
            while lives(&process) {
                looks.tick().await;
            }
        }
    })
}

/// It is the same one, and has not ended: one that only waits to be asked about by its parent has.
#[cfg(target_os = "linux")]
fn lives(process: &ProcessRef) -> bool {
    let known = process.started != 0 && process.boot == boot_id() && started(process.pid) == Some(process.started);
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap_or_default();
    known && !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

/// The token that a process was started with, which may be another one than that in force now.
pub(crate) fn token_of(process: &ProcessRef) -> Option<SecretString> {
    let environment = environment(process.pid);
    let token = variables(&environment).find_map(|one| one.strip_prefix(b"AGENT_RELAY_TOKEN="))?;
    String::from_utf8(token.to_vec()).ok().map(SecretString::from)
}

/// What a process was started with; nothing where that cannot be seen.
fn environment(pid: u32) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
}

fn variables(environment: &[u8]) -> impl Iterator<Item = &[u8]> {
    environment.split(|byte| *byte == 0)
}

/// What is written down of a process beside the journal, so that a start without a journal does not leave it running.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Noted {
    pub(crate) process: ProcessRef,
    pub(crate) runner_dir: PathBuf,
}

impl Noted {
    /// None when there is none that can be read: then there was no process, or it was started by an earlier version.
    pub(crate) fn read(state_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(state_dir.join(NOTED)).ok()?).ok()
    }

    pub(crate) fn write(&self, state_dir: &Path) -> std::io::Result<()> {
        let (path, new) = (state_dir.join(NOTED), state_dir.join(format!("{NOTED}.new")));
        std::fs::write(&new, serde_json::to_vec(self)?)?;
        std::fs::rename(new, path)
    }
}

const NOTED: &str = "provider.json";

#[cfg(not(target_os = "linux"))]
pub(crate) fn end_of(_process: &ProcessRef) -> Option<std::future::Pending<()>> {
    None
}

/// Whether a group without its leader still has a process that was started by a runner with this folder. The system
/// gives a group's number to nobody else as long as one of the group lives.
#[cfg(target_os = "linux")]
fn group_is_ours(group: u32, runner_dir: &Path) -> bool {
    let ours = variable_of(runner_dir);
    pids().any(|pid| stat_field(pid, 2) == Some(u64::from(group)) && has(pid, &ours))
}

#[cfg(not(target_os = "linux"))]
fn group_is_ours(_group: u32, _runner_dir: &Path) -> bool {
    false
}

#[cfg(target_os = "linux")]
fn mark(session: &str) -> OsString {
    OsString::from(format!("{SESSION}{session}"))
}

#[cfg(target_os = "linux")]
fn variable_of(runner_dir: &Path) -> OsString {
    let mut variable = OsString::from("AGENT_RELAY_RUNNER_DIR=");
    variable.push(runner_dir);
    variable
}

#[cfg(target_os = "linux")]
fn pids() -> impl Iterator<Item = u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether a process was started with this in its environment.
#[cfg(target_os = "linux")]
fn has(pid: u32, variable: &OsString) -> bool {
    variables(&environment(pid)).any(|one| one == variable.as_encoded_bytes())
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
    use crate::provider::process::{Launch, Process, exit_class, start};
    use relay_runner_core::event::ExitClass;
    use std::collections::BTreeMap;
    use std::process::Stdio;

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
    async fn what_left_the_group_is_known_by_its_session() {
        let argv = ["sh", "-c", "setsid sh -c 'echo $$; exec sleep 1000' & wait"].map(OsString::from);
        let env = BTreeMap::from([
            ("PATH".into(), std::env::var_os("PATH").unwrap()),
            ("AGENT_RELAY_RUNNER_DIR".into(), "/run/ours".into()),
            ("AGENT_RELAY_PROVIDER_SESSION_ID".into(), "s-1".into()),
        ]);
        let [stdin, stdout, stderr] = [Stdio::null(), Stdio::piped(), Stdio::null()];
        let launch = Launch { argv: &argv, env: &env, cwd: Path::new("/"), stdin, stdout, stderr };
        let Process { mut child, mut group } = start(launch).unwrap();
        let mut said = crate::provider::lines::Lines::new(child.stdout().take().unwrap(), 100);
        let Some(crate::provider::lines::Line::Text(pid)) = said.next().await.unwrap() else { panic!("a number") };
        let pid: u32 = pid.parse().unwrap();
        // It has none for the moment in which it becomes another program.
        while session_of(pid).as_deref() != Some("s-1") {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        group.kill();
        group.release();
        child.inner_mut().wait().await.unwrap();
        assert!(!matches!(stat_state(pid), None | Some('Z')), "it has a session of its own");
        kill_rest("s-2", Path::new("/run/ours"));
        kill_rest("s-1", Path::new("/run/theirs"));
        assert!(!matches!(stat_state(pid), None | Some('Z')), "others are left alone");
        kill_rest("s-1", Path::new("/run/ours"));
        while !matches!(stat_state(pid), None | Some('Z')) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn a_ghost_is_known_by_its_folder_and_address() {
        let argv = ["sh", "-c", "read nothing", "unix:///run/ours/x.sock"].map(OsString::from);
        let path = ("PATH".into(), std::env::var_os("PATH").unwrap());
        let env = BTreeMap::from([path, ("AGENT_RELAY_RUNNER_DIR".into(), "/run/ours".into())]);
        let [stdin, stdout, stderr] = [Stdio::piped(), Stdio::null(), Stdio::null()];
        let launch = Launch { argv: &argv, env: &env, cwd: Path::new("/"), stdin, stdout, stderr };
        let Process { mut child, mut group } = start(launch).unwrap();
        let ghost = child.id().unwrap();
        group.release();
        let (url, ours) = (OsStr::new("unix:///run/ours/x.sock"), Path::new("/run/ours"));
        assert_eq!(kill_listener(url, ours, ghost), None, "it is the one of today");
        assert_eq!(kill_listener(url, Path::new("/run/theirs"), 0), None);
        assert_eq!(kill_listener(OsStr::new("unix:///run/ours/y.sock"), ours, 0), None);
        assert_eq!(kill_listener(url, ours, 0), Some(ghost));
        assert_eq!(exit_class(child.wait().await.unwrap()).0, ExitClass::Signal);
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
