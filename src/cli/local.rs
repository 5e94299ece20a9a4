//! Runners on this machine, found by their info files: in the runner folder of the environment, in the runtime folder,
//! in state folders, and in the temporary folder.

use super::failure::Failure;
use super::given::Environment;
use super::places;
use relay_runner_protocol::Agent;
use relay_runner_shell::ExitCode;
use relay_runner_shell::client::{Answers, Client, ClientError, answers};
use relay_runner_shell::runner_dir::{self, CONTROL_SOCKET, INFO_FILE, Places};
use rustix::process::{Pid, test_kill_process};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What an info file says of a runner.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Found {
    pub(crate) agent_id: String,
    #[serde(default)]
    pub(crate) provider: String,
    pub(crate) pid: u32,
    #[serde(default)]
    pub(crate) started_at: u64,
    /// The agent's own folder.
    #[serde(default)]
    pub(crate) state_dir: Option<PathBuf>,
    /// The folder in which it was found.
    #[serde(skip)]
    pub(crate) dir: PathBuf,
}

/// What there is of a runner here.
#[derive(Debug)]
pub(crate) enum Here {
    Runs(Found, Client),
    /// It was killed, and could not clean up.
    Dead(Found),
    /// None of that agent; the words say where was looked.
    None,
}

impl Found {
    pub(crate) fn is_alive(&self) -> bool {
        is_alive(self.pid)
    }

    /// Whether this very run is the one that a relay knows the agent by.
    pub(crate) fn is_known_as(&self, agent: &Agent) -> bool {
        agent.meta.get("startedAt").and_then(serde_json::Value::as_u64) == Some(self.started_at)
    }

    /// For whoever wanted something of a runner that is dead.
    pub(crate) fn dead(&self) -> Failure {
        Failure::failed(
            "runner_dead",
            format!(
                "the runner of {} (process {}) is dead: it was killed and could not clean up. Start it again as before \
                 (relay-runner run ...): it takes up where it was. Its folder is {}",
                self.agent_id,
                self.pid,
                self.dir.display()
            ),
        )
    }
}

pub(crate) fn is_alive(pid: u32) -> bool {
    // One that is over, and that its parent has not asked about yet (Linux; elsewhere there is no such file).
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')) {
        return false;
    }
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // Somebody else's process (EPERM) lives as well.
    pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
}

/// The runner of an agent, or the only one there is.
pub(crate) fn runner(env: Environment<'_>, agent: Option<&str>, state_dir: Option<&Path>) -> Result<Here, Failure> {
    let named = agent.is_some() || state_dir.is_some();
    // Inside a provider the runner is the one that started it.
    if !named && let Some(found) = env.raw("AGENT_RELAY_RUNNER_DIR").and_then(|dir| info(Path::new(&dir))) {
        return here(found);
    }
    let mut all = all(env, agent, state_dir);
    all.retain(|found| agent.is_none_or(|agent| found.agent_id == agent));
    if all.iter().any(Found::is_alive) {
        all.retain(Found::is_alive);
    }
    match all.len() {
        0 => Ok(Here::None),
        1 => here(all.remove(0)),
        _ => {
            let each: Vec<String> = all.iter().map(|f| format!("{} (process {})", f.agent_id, f.pid)).collect();
            Err(Failure::usage(
                "which_agent",
                format!(
                    "several runners are here: {}; say which one: name the agent, or its --state-dir",
                    each.join(", ")
                ),
            ))
        }
    }
}

/// The runner folder of the provider that this process is inside of, if it is inside of one.
pub(crate) fn inside(env: Environment<'_>) -> Option<PathBuf> {
    env.raw("AGENT_RELAY_RUNNER_DIR").map(PathBuf::from)
}

/// The runner that speaks for an agent. Inside a provider it is the one that started it, and no other that may be here
/// takes its place: it would speak in another agent's name.
pub(crate) fn speaking_for(
    env: Environment<'_>,
    agent: Option<&str>,
    state_dir: Option<&Path>,
) -> Result<Here, Failure> {
    match inside(env) {
        Some(dir) if agent.is_none() && state_dir.is_none() => info(&dir).map_or(Ok(Here::None), here),
        Some(_) | None => runner(env, agent, state_dir),
    }
}

/// The runner of an agent, inside a provider its own, or the only one there is; it must live, and on this machine.
pub(crate) fn living(
    env: Environment<'_>,
    agent: Option<&str>,
    state_dir: Option<&Path>,
) -> Result<(Found, Client), Failure> {
    match speaking_for(env, agent, state_dir)? {
        Here::Runs(found, client) => Ok((found, client)),
        Here::Dead(found) => Err(found.dead()),
        Here::None => Err(nobody(agent)),
    }
}

fn nobody(agent: Option<&str>) -> Failure {
    let who = agent.map(|agent| format!(" of {agent}")).unwrap_or_default();
    Failure::failed(
        "not_running",
        format!(
            "no runner{who} runs here; `relay-runner ps` lists those that do, and `relay-runner run --help` says how one is \
             started"
        ),
    )
}

/// Every runner of which there is a sign on this machine, by agent.
pub(crate) fn everywhere(env: Environment<'_>) -> Vec<Found> {
    let mut all = all(env, None, None);
    if let Some(found) = env.raw("AGENT_RELAY_RUNNER_DIR").and_then(|dir| info(Path::new(&dir)))
        && !all.iter().any(|known| known.pid == found.pid && known.agent_id == found.agent_id)
    {
        all.push(found);
    }
    all.sort_by(|a, b| (&a.agent_id, a.pid).cmp(&(&b.agent_id, b.pid)));
    all
}

fn here(found: Found) -> Result<Here, Failure> {
    if !found.is_alive() {
        // In a sandbox with processes of its own the runner's is not seen, and its socket is.
        match answers(&found.dir) {
            Answers::Yes => {}
            Answers::No => return Ok(Here::Dead(found)),
            Answers::Forbidden => {
                return Err(ClientError::Forbidden { socket: found.dir.join(CONTROL_SOCKET) }.into());
            }
        }
    }
    let client = Client::new(&found.dir)?;
    Ok(Here::Runs(found, client))
}

/// By process: one runner may be found in several ways.
fn all(env: Environment<'_>, agent: Option<&str>, state_dir: Option<&Path>) -> Vec<Found> {
    let runtime = env.raw("XDG_RUNTIME_DIR").map(PathBuf::from);
    let temporary = std::env::temp_dir();
    let mut dirs = Vec::new();
    let own_state = agent.and_then(|agent| places::state_dir(env, agent).ok());
    if let (Some(agent_id), Some(state_dir)) = (agent, state_dir.map(Path::to_owned).or(own_state)) {
        let state_dir = std::path::absolute(&state_dir).unwrap_or(state_dir);
        let places = Places { agent_id, state_dir: &state_dir, runtime: runtime.as_deref(), temporary: &temporary };
        dirs.extend(runner_dir::candidates(&places));
    }
    if let Some(state_dir) = state_dir {
        dirs.push(state_dir.join("run"));
    } else {
        dirs.extend(runtime.iter().flat_map(|dir| folders(&dir.join("relay-runner"))));
        let states = places::state_home(env).into_iter().flat_map(|home| folders(&home));
        dirs.extend(states.map(|state| state.join("run")));
        let ours = rustix::process::geteuid().as_raw();
        dirs.extend(folders(&temporary.join(format!("relay-runner-{ours}"))));
    }
    let mut found = BTreeMap::new();
    for dir in dirs {
        if let Some(info) = info(&dir) {
            found.entry((info.agent_id.clone(), info.pid)).or_insert(info);
        }
    }
    found.into_values().collect()
}

fn info(dir: &Path) -> Option<Found> {
    let text = std::fs::read_to_string(dir.join(INFO_FILE)).ok()?;
    let mut found: Found = serde_json::from_str(&text).ok()?;
    dir.clone_into(&mut found.dir);
    Some(found)
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::NotRunning { .. } => "not_running".to_owned(),
            ClientError::Unreachable { .. } => "runner_unreachable".to_owned(),
            ClientError::Forbidden { .. } => "sandboxed".to_owned(),
            ClientError::Refused { code, .. } => code.clone(),
        };
        let exit = if code == "relay_unreachable" { ExitCode::RelayUnreachable } else { ExitCode::Failed };
        Self::new(exit, code, error.to_string())
    }
}
