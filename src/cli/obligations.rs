//! `obligations`: the replies that an agent owes.

use super::JSON;
use super::ago::{ago, now};
use super::failure::Done;
use super::given::Environment;
use super::local;
use super::{OK, say};
use clap::builder::FalseyValueParser;
use relay_runner_shell::client::ClientError;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  relay-runner obligations            inside an agent: its own; else of the runner on this machine
  relay-runner obligations a1
  relay-runner obligations --json

A reply is owed from the moment at which the agent takes a message that expects one, over restarts, until
`relay-runner reply` has sent it, or the relay waits for it no longer.";

/// List the replies that an agent owes
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The agent; not needed inside one, or while one runner runs here
    #[arg(value_name = "AGENT")]
    agent: Option<String>,
    /// The state folder, where the runner was given one
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// Print the list as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

pub(crate) async fn run(args: &Args) -> Done {
    let (found, client) = local::living(Environment::ours(), args.agent.as_deref(), args.state_dir.as_deref())?;
    let answer = match client.get("/obligations").await {
        Err(ClientError::NotRunning { .. }) => return Err(found.dead()),
        answered => answered?,
    };
    if args.json {
        say::pretty_json(&answer["obligations"])?;
        return Ok(OK);
    }
    let owed = answer["obligations"].as_array().map(Vec::as_slice).unwrap_or_default();
    if owed.is_empty() {
        say::line(format_args!("{} owes no reply", found.agent_id))?;
    }
    for owed in owed {
        let id = owed["messageId"].as_u64().unwrap_or_default();
        let from = owed["from"].as_str().map(say::plain).unwrap_or_default();
        let since = ago(owed["since"].as_u64().unwrap_or_default(), now());
        say::line(format_args!("message {id} from {from}, taken {since}: relay-runner reply {id} \"...\""))?;
    }
    Ok(OK)
}
