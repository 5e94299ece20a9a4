//! `label`: the name that the agent can be reached by.

use super::agent::AgentArgs;
use super::failure::Done;
use super::{OK, say};
use serde_json::json;

const AFTER_HELP: &str = "\
Examples:
  relay-runner label               what it is
  relay-runner label builder       others reach this agent as label:builder
  relay-runner label --clear       none any more";

/// Show, set or take away this agent's label
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The label from now on
    #[arg(value_name = "LABEL", conflicts_with = "clear")]
    label: Option<String>,
    /// Take the label away
    #[arg(long)]
    clear: bool,
    #[command(flatten)]
    agent: AgentArgs,
}

pub(crate) async fn run(args: &Args) -> Done {
    let answer = if args.label.is_some() || args.clear {
        args.agent.ask("label", json!({"label": args.label})).await?
    } else {
        let known = args.agent.ask("whoami", json!({})).await?;
        json!({"label": known["label"]})
    };
    if args.agent.json {
        say::json(&answer)?;
    } else {
        say::line(
            answer["label"].as_str().map_or_else(|| "no label".to_owned(), |l| format!("label {}", say::plain(l))),
        )?;
    }
    Ok(OK)
}
