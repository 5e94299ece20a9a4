//! `whoami`: the agent as the relay knows it, and its runner.

use super::agent::AgentArgs;
use super::failure::Done;
use super::{OK, say};
use serde_json::{Value, json};

const AFTER_HELP: &str = "\
Examples:
  relay-runner whoami
  relay-runner whoami --json | jq -r .agentId";

/// Show who this agent is on the relay
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    agent: AgentArgs,
}

pub(crate) async fn run(args: &Args) -> Done {
    let known = args.agent.ask("whoami", json!({})).await?;
    if args.agent.json {
        say::json(&known)?;
        return Ok(OK);
    }
    let text = |key: &str| known[key].as_str().map_or_else(|| "-".to_owned(), say::plain);
    let words = |key: &str| {
        let all: Vec<String> =
            known[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(say::plain).collect();
        if all.is_empty() { "-".to_owned() } else { all.join(", ") }
    };
    say::line(format_args!("agent         {}", text("agentId")))?;
    say::line(format_args!("label         {}", text("label")))?;
    say::line(format_args!("tags          {}", words("tags")))?;
    say::line(format_args!("capabilities  {}", words("capabilities")))?;
    let ready = if known["ready"] == true { "ready" } else { "not ready" };
    say::line(format_args!("status        {}, {ready}", text("status")))?;
    say::line(format_args!("relay         {}", text("relay")))?;
    say::line(format_args!("provider      {}", text("provider")))?;
    say::line(format_args!("runner        {} (process {})", text("runnerId"), known["runnerPid"]))?;
    Ok(OK)
}
