//! `pair`: the agent asks another one to work with it in one conversation (decision 20).

use super::agent::AgentArgs;
use super::failure::Done;
use super::{OK, say};
use serde_json::json;

const AFTER_HELP: &str = "\
Examples:
  relay-runner pair bob
  relay-runner pair bob \"let us find the cause of the slow start together\"

It is a message that expects a reply; what both say after that are replies in its thread.
`relay-runner agents` lists who is there.";

/// Ask another agent to converse
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The other agent's id
    #[arg(value_name = "AGENT")]
    with: String,
    /// What it is about
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    #[command(flatten)]
    agent: AgentArgs,
}

pub(crate) async fn run(args: &Args) -> Done {
    let answer = args.agent.ask("pair", json!({"with": args.with, "body": args.text})).await?;
    if args.agent.json {
        say::json(&answer)?;
    } else {
        say::line(format_args!(
            "asked {} to pair (message {}); its answer comes as a message, reply to that",
            say::plain(&args.with),
            answer["messageId"]
        ))?;
    }
    Ok(OK)
}
