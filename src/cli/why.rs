//! `why`: what an agent is, why, since which event, and what comes next by itself, in words.

use super::ago::lasting;
use super::failure::{Done, Failure};
use super::given::Environment;
use super::{JSON, OK, local, say};
use clap::builder::FalseyValueParser;
use relay_runner_shell::client::ClientError;
use serde_json::Value;
use std::path::PathBuf;

/// Of the deadlines, unless all are asked for.
const NEXT: usize = 5;

const AFTER_HELP: &str = "\
Examples:
  relay-runner why               the runner on this machine, while there is one
  relay-runner why a1 --all      with everything that will happen by itself
  relay-runner why a1 --json

Numbers of events are those of the journal: `relay-runner replay FOLDER --until N --state` shows what
the runner knew there, and `relay-runner logs -v` what happened around it.";

/// Say why an agent is as it is, and what comes next
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The agent; not needed while one runner runs here
    #[arg(value_name = "AGENT")]
    agent: Option<String>,
    /// The state folder, where the runner was given one
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// All that will happen by itself, not only what is next
    #[arg(long)]
    all: bool,
    /// Print it as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

pub(crate) async fn run(args: &Args) -> Done {
    let (found, client) = local::living(Environment::ours(), args.agent.as_deref(), args.state_dir.as_deref())?;
    let why = match client.get("/why").await {
        Err(ClientError::NotRunning { .. }) => return Err(found.dead()),
        answered => answered?,
    };
    if args.json {
        say::pretty_json(&why)?;
    } else {
        words(&why, if args.all { usize::MAX } else { NEXT })?;
    }
    Ok(OK)
}

fn words(why: &Value, next: usize) -> Result<(), Failure> {
    let agent = text(&why["agentId"]);
    let ready = if why["ready"]["is"] == true { "ready" } else { "not ready" };
    part(&format!("{agent} is {}", text(&why["status"]["is"])), &why["status"])?;
    part(&format!("{agent} is {ready}"), &why["ready"])?;
    part(&format!("the provider is {}", text(&why["lifecycle"]["is"])), &why["lifecycle"])?;
    part(&format!("the relay is {}", text(&why["link"]["is"])), &why["link"])?;
    if let Some(action) = why["lifecycleAction"]["is"].as_str() {
        part(&format!("{agent} is {action}"), &why["lifecycleAction"])?;
    }
    for approval in why["approvals"].as_array().into_iter().flatten() {
        say::line(format_args!("a person has to decide: {}", text(approval)))?;
    }
    let deadlines = why["deadlines"].as_array().map(Vec::as_slice).unwrap_or_default();
    say::line(if deadlines.is_empty() { "nothing happens by itself" } else { "next, unless something else comes:" })?;
    for deadline in deadlines.iter().take(next) {
        let within = lasting(deadline["inMs"].as_u64().unwrap_or_default());
        say::line(format_args!("  in {within:<7} {}", text(&deadline["means"])))?;
    }
    if let Some(more) = deadlines.len().checked_sub(next).filter(|more| *more > 0) {
        say::line(format_args!("  and {more} more (--all)"))?;
    }
    say::line(format_args!("newest event {}", event(&why["newest"])))?;
    let journal = &why["journal"];
    match journal["broken"].as_str() {
        Some(broken) => say::line(format_args!("journal broken: {}", say::plain(broken))),
        None => say::line(format_args!("journal {}", text(&journal["file"]))),
    }
}

/// What it is, since when, and why.
fn part(is: &str, part: &Value) -> Result<(), Failure> {
    say::line(format_args!("{is}, since event {}", event(&part["since"])))?;
    for because in part["because"].as_array().into_iter().flatten() {
        say::line(format_args!("  {}", text(because)))?;
    }
    Ok(())
}

/// `12, 3.0 s ago: the provider is up`.
fn event(began: &Value) -> String {
    let ago = lasting(began["agoMs"].as_u64().unwrap_or_default());
    format!("{}, {ago} ago: {}", began["event"], text(&began["what"]))
}

fn text(value: &Value) -> String {
    value.as_str().map(say::plain).unwrap_or_default()
}
