//! `hook`: what a provider's own hooks call (behaviour 19). One post to the control socket of the runner that started the
//! provider; whatever comes of it, the provider goes on: always 0, and nothing on standard output but what the hook's own
//! protocol wants.

use super::given::Environment;
use super::local::{self, Here};
use super::{OK, say};
use crate::cli::failure::Done;
use relay_runner_core::hooks;
use serde_json::{Map, Value, json};
use std::io::{IsTerminal, Read};
use std::time::Duration;

/// A hook holds the provider up, so that it takes no longer than this.
const WITHIN: Duration = Duration::from_secs(3);
/// A permission request waits for a person, as long as the runner lets it; the provider's own time-out for the hook ends
/// it in any case.
const PERMISSION_WITHIN: Duration = Duration::from_hours(24);
/// The largest payload that is read, in bytes.
const PAYLOAD_MOST: u64 = 64 * 1024 * 1024;
/// What a person is shown of what a tool is called with, in bytes; the control server takes 64 KiB in all.
const INPUT_MOST: usize = 16 * 1024;
/// Ancestors that are looked at.
const ANCESTORS: usize = 8;

const AFTER_HELP: &str = "\
Called by a provider's hooks, with the hook's JSON on standard input:
  relay-runner hook Stop < payload.json

The runner is found by AGENT_RELAY_RUNNER_DIR; without one, nothing happens. It always ends with 0, so that a
provider is never kept from its work; RELAY_RUNNER_LOG=debug says on standard error what went wrong.";

/// Report a provider's hook to its runner
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The hook's name, as the provider gives it: SessionStart, UserPromptSubmit, PermissionRequest, Stop, ...
    #[arg(value_name = "EVENT")]
    event: String,
    /// The provider's process [default: the nearest ancestor that is no shell, or a shell below it]
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

pub(crate) async fn run(args: &Args) -> Done {
    match post(args).await {
        Ok(Some(output)) => say::line(output)?,
        Ok(None) => {}
        Err(why) => tracing::debug!("hook {}: {why}", args.event),
    }
    Ok(OK)
}

/// What is to be printed; the error is for the log.
async fn post(args: &Args) -> Result<Option<String>, String> {
    let env = Environment::ours();
    let Some(session) = env.raw("AGENT_RELAY_PROVIDER_SESSION_ID") else { return Ok(None) };
    if env.raw("AGENT_RELAY_RUNNER_DIR").is_none() {
        return Ok(None);
    }
    let mut payload = hooks::slim(&payload()?, INPUT_MOST);
    payload.insert("providerSessionId".to_owned(), json!(session.to_string_lossy()));
    match args.pid {
        Some(pid) => payload.insert("pid".to_owned(), json!(pid)),
        None => payload.insert("pids".to_owned(), json!(ancestors(std::process::id()))),
    };
    let client = match local::runner(env, None, None).map_err(|failure| format!("{failure:?}"))? {
        Here::Runs(_, client) => client,
        Here::Dead(_) | Here::None => return Ok(None),
    };
    let within = if args.event == "PermissionRequest" { PERMISSION_WITHIN } else { WITHIN };
    let path = format!("/hook/{}", relay_runner_protocol::http::segment(&args.event));
    let answer = tokio::time::timeout(within, client.post(&path, &Value::Object(payload)))
        .await
        .map_err(|_| format!("no answer within {} s", within.as_secs()))?
        .map_err(|error| error.to_string())?;
    let output = answer["output"].as_str().map(ToOwned::to_owned);
    if args.event == "SessionStart" {
        // Read by the model at the start of each session, also of one that was cleared.
        let told = env.raw("AGENT_RELAY_INSTRUCTIONS_FILE").and_then(|file| std::fs::read_to_string(file).ok());
        return Ok(told.into_iter().chain(output).reduce(|told, owed| format!("{told}\n{owed}")));
    }
    Ok(output)
}

fn payload() -> Result<Map<String, Value>, String> {
    let input = std::io::stdin();
    if input.is_terminal() {
        return Ok(Map::new());
    }
    let mut text = String::new();
    let mut limited = input.lock().take(PAYLOAD_MOST);
    limited.read_to_string(&mut text).map_err(|e| format!("its standard input cannot be read: {e}"))?;
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(&text).map_err(|e| format!("what is on its standard input is no JSON object: {e}"))
}

/// The processes that this hook may be of: up to the first that is no shell, as hooks are started by one.
fn ancestors(of: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut at = of;
    while found.len() < ANCESTORS {
        let Some(parent) = parent(at) else { break };
        if at != of {
            found.push(at);
            if !is_shell(at) {
                break;
            }
        }
        at = parent;
    }
    if found.is_empty() {
        // No process table to look into: the parent is all that is known.
        found.extend(rustix::process::getppid().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok()));
    }
    found
}

/// The parent of a process (Linux).
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// By the program that runs, since a script has its own name.
fn is_shell(pid: u32) -> bool {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    matches!(&*name, "sh" | "bash" | "dash" | "zsh" | "fish" | "ksh" | "busybox" | "env" | "timeout")
}
