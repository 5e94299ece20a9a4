//! `status`: what an agent does, from its runner when that runs here, else from the relay. Which of the two it was, and
//! how old that is, is said.

use super::ago::{ago, lasting, now};
use super::books::RelayArgs;
use super::failure::{Done, Failure};
use super::given::Environment;
use super::local::{self, Found, Here};
use super::state_shown::StateShown;
use super::{JSON, OK, memory, order, say};
use clap::builder::FalseyValueParser;
use relay_runner_protocol::Agent;
use relay_runner_shell::client::ClientError;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Examples:
  relay-runner status              the runner on this machine, while there is one
  relay-runner status a1           of several, or of one that runs elsewhere: what the relay knows
  relay-runner status a1 --json    everything that the runner knows";

/// Show what an agent is doing
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The agent; not needed while one runner runs here
    #[arg(value_name = "AGENT")]
    agent: Option<String>,
    /// The state folder, where the runner was given one
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    relay: RelayArgs,
    /// Print all of it as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

pub(crate) async fn run(args: &Args) -> Done {
    let env = Environment::ours();
    match local::runner(env, args.agent.as_deref(), args.state_dir.as_deref())? {
        Here::Runs(found, client) => {
            let state = match client.state().await {
                Err(ClientError::NotRunning { .. }) => return Err(found.dead()),
                answered => answered?,
            };
            // A runner of another version may have none.
            let why = client.get("/why").await.unwrap_or_default();
            if args.json {
                say::pretty_json(&with_what_is_known_here(state, &found, &why))?;
            } else {
                of_runner(&found, &state, &why, args.state_dir.as_deref())?;
            }
            return Ok(OK);
        }
        Here::Dead(found) => return Err(found.dead()),
        Here::None => {}
    }
    let Some(agent) = args.agent.as_deref() else { return Err(order::nobody()) };
    let books = args.relay.books(env)?;
    let Some(known) = books.agent(agent).await? else { return Err(order::unknown(agent, &books)) };
    if args.json {
        say::pretty_json(&known)?;
    } else {
        of_relay(&known, books.base())?;
    }
    Ok(OK)
}

/// The state, with what the system knows of its processes, and since when it is so.
fn with_what_is_known_here(mut state: Value, found: &Found, why: &Value) -> Value {
    let provider = state["process"]["process"]["pid"].as_u64();
    state["runner"] = json!({
        "pid": found.pid, "startedAt": found.started_at, "folder": found.dir, "stateDir": found.state_dir,
        "memoryBytes": memory::resident(found.pid.into()),
        "providerMemoryBytes": provider.and_then(memory::resident),
    });
    let since = |part: &str| why[part]["since"].clone();
    state["since"] = json!({"status": since("status"), "ready": since("ready"), "lifecycle": since("lifecycle")});
    state
}

fn of_runner(found: &Found, state: &Value, why: &Value, state_dir: Option<&Path>) -> Result<(), Failure> {
    let now = now();
    let held = |pid: u64| memory::resident(pid).map(memory::shown);
    let memory = held(found.pid.into()).map(|held| format!(", {held}")).unwrap_or_default();
    let up = lasting(now.saturating_sub(found.started_at));
    // The newest of what its first line says.
    let parts = ["status", "ready", "lifecycleAction"].map(|part| &why[part]["since"]);
    let [first, ..] = parts;
    let began = parts.into_iter().min_by_key(|began| began["agoMs"].as_u64().unwrap_or(u64::MAX)).unwrap_or(first);
    let folder = state_dir.map(|dir| format!(" --state-dir {}", say::word(&dir.to_string_lossy())));
    StateShown {
        agent: &found.agent_id,
        from: &format!("process {}, up {up}{memory}, folder {}", found.pid, found.dir.display()),
        now,
        since: began["agoMs"].as_u64().map(|ago| {
            let what = began["what"].as_str().map(say::plain).unwrap_or_default();
            format!("{}, since event {}: {what}", lasting(ago), began["event"])
        }),
        provider_memory: state["process"]["process"]["pid"].as_u64().and_then(held),
        decide: Some(format!("{}{}", say::word(&found.agent_id), folder.unwrap_or_default())),
    }
    .print(state)
}

fn of_relay(agent: &Agent, base: &str) -> Result<(), Failure> {
    let meta = |key: &str| agent.meta.get(key).and_then(Value::as_str).map(say::plain);
    let action = meta("lifecycleAction").map(|a| format!(", {a}")).unwrap_or_default();
    let ready = if agent.ready { "ready" } else { "not ready" };
    say::line(format_args!("{}: {}, {ready}{action}", say::plain(&agent.id), agent.status.as_str()))?;
    say::line(format_args!("  relay     {base}, seen {}", ago(agent.last_seen, now())))?;
    if let Some(provider) = meta("provider") {
        say::line(format_args!("  provider  {provider} on {}", say::plain(&agent.machine)))?;
    }
    let capability = &agent.meta.get("providerCapabilities").cloned().unwrap_or_default();
    if let Some(model) = capability["model"]["id"].as_str() {
        say::line(format_args!("  model     {}", say::plain(model)))?;
    }
    let utilization = agent.meta.get("context").and_then(|context| context["utilization"].as_f64());
    if let Some(used) = utilization {
        say::line(format_args!("  context   {:.0} %", used * 100.0))?;
    }
    let reasons = agent.meta.get("busyReasons").map(words).unwrap_or_default();
    if !reasons.is_empty() {
        say::line(format_args!("  busy      {reasons}"))?;
    }
    Ok(())
}

pub(super) fn words(list: &Value) -> String {
    let words: Vec<String> = list.as_array().into_iter().flatten().filter_map(Value::as_str).map(say::plain).collect();
    words.join(", ")
}
