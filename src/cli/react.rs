//! `react`: the agent answers a message with an emoji, where words are not needed.

use super::agent::AgentArgs;
use super::failure::Done;
use super::{OK, say};
use serde_json::json;

const AFTER_HELP: &str = "\
Examples:
  relay-runner react 12 👍
  relay-runner react 12 :eyes:

A reaction settles no reply that is owed: that takes `relay-runner reply`.";

/// React to a message with an emoji
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The message's id, as its heading shows it
    #[arg(value_name = "ID")]
    id: u64,
    /// The emoji, or a short word
    #[arg(value_name = "EMOJI")]
    emoji: String,
    #[command(flatten)]
    agent: AgentArgs,
}

pub(crate) async fn run(args: &Args) -> Done {
    let answer = args.agent.ask("react", json!({"messageId": args.id, "emoji": args.emoji})).await?;
    if args.agent.json {
        say::json(&answer)?;
    } else {
        say::line(format_args!("reacted to message {} with {}", args.id, say::plain(&args.emoji)))?;
    }
    Ok(OK)
}
