//! `status`: what an agent does, from its runner when that runs here, else from the relay.

use super::JSON;
use super::ago::{ago, now};
use super::books::RelayArgs;
use super::failure::{Done, Failure};
use super::given::Environment;
use super::local::{self, Found, Here};
use super::{OK, order, say};
use clap::builder::FalseyValueParser;
use relay_runner_protocol::Agent;
use relay_runner_shell::client::ClientError;
use serde_json::Value;
use std::path::PathBuf;

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
            if args.json {
                say::pretty_json(&state)?;
            } else {
                of_runner(&found, &state)?;
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

fn of_runner(found: &Found, state: &Value) -> Result<(), Failure> {
    let runner = format!("process {}, folder {}", found.pid, found.dir.display());
    of_core(&found.agent_id, &runner, state, now())
}

/// What a core knows, in words; `runner` says where it is from, `now` is the time of whoever reads it.
pub(crate) fn of_core(agent: &str, runner: &str, state: &Value, now: u64) -> Result<(), Failure> {
    let word = |value: &Value| value.as_str().map(say::plain);
    let status = word(&state["status"]).unwrap_or_default();
    let action = word(&state["lifecycleAction"]).map(|a| format!(", {a}")).unwrap_or_default();
    let ready = if state["ready"] == true { "ready" } else { "not ready" };
    say::line(format_args!("{agent}: {status}, {ready}{action}"))?;
    say::line(format_args!("  runner    {runner}"))?;
    let process = &state["process"];
    let pid = process["process"]["pid"].as_u64().map(|pid| format!(", process {pid}")).unwrap_or_default();
    let parked = word(&process["parked"]).map(|why| format!(": {why}")).unwrap_or_default();
    say::line(format_args!(
        "  provider  {}: {}{pid}, generation {}{parked}",
        word(&state["provider"]).unwrap_or_default(),
        word(&process["state"]).unwrap_or_default(),
        process["generation"]
    ))?;
    say::line(format_args!("  relay     {}", word(&state["link"]["state"]).unwrap_or_default()))?;
    let reasons = words(&state["busyReasons"]);
    if !reasons.is_empty() {
        say::line(format_args!("  busy      {reasons}"))?;
    }
    for message in state["messages"].as_array().into_iter().flatten() {
        let task = message["task"].as_u64().map(|id| format!(", task {id}")).unwrap_or_default();
        let reached = word(&message["stage"]).unwrap_or_default();
        say::line(format_args!("  message   {}: {reached}, attempt {}{task}", message["id"], message["attempt"]))?;
    }
    for message in state["setAside"].as_array().into_iter().flatten() {
        let why = word(&message["why"]).unwrap_or_default();
        say::line(format_args!("  set aside {}: {why}", message["id"]))?;
    }
    for approval in state["approvals"].as_array().into_iter().flatten() {
        let id = word(&approval["id"]).unwrap_or_default();
        let tool = word(&approval["tool"]).map(|tool| format!(" ({tool})")).unwrap_or_default();
        let since = ago(approval["since"].as_u64().unwrap_or_default(), now);
        let decided = if approval["state"] == "deciding" { ", decided, and not confirmed yet" } else { "" };
        say::line(format_args!("  approval  {id}{tool}: asked {since}{decided}"))?;
    }
    if let Some(why) = word(&state["journalBroken"]) {
        say::line(format_args!("  journal   broken: {why}"))?;
    }
    Ok(())
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
    let reasons = agent.meta.get("busyReasons").map(words).unwrap_or_default();
    if !reasons.is_empty() {
        say::line(format_args!("  busy      {reasons}"))?;
    }
    Ok(())
}

fn words(list: &Value) -> String {
    let words: Vec<String> = list.as_array().into_iter().flatten().filter_map(Value::as_str).map(say::plain).collect();
    words.join(", ")
}
