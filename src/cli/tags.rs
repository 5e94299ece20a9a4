//! `tags`: what the agent is found by.

use super::agent::AgentArgs;
use super::failure::Done;
use super::given::list;
use super::{OK, say};
use serde_json::{Value, json};

const AFTER_HELP: &str = "\
Examples:
  relay-runner tags                       what they are
  relay-runner tags rust,linux            these from now on, and no others
  relay-runner tags --add reviewer        others reach this agent as tag:reviewer, too
  relay-runner tags --remove linux,arm
  relay-runner tags --clear";

/// Show or change this agent's tags
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The tags from now on; several as several words or with commas
    #[arg(value_name = "TAG", conflicts_with_all = ["add", "remove", "clear"])]
    tags: Vec<String>,
    /// One more, or several with commas; may be repeated
    #[arg(long, value_name = "TAG")]
    add: Vec<String>,
    /// One less, likewise
    #[arg(long, value_name = "TAG")]
    remove: Vec<String>,
    /// None any more
    #[arg(long, conflicts_with_all = ["add", "remove"])]
    clear: bool,
    #[command(flatten)]
    agent: AgentArgs,
}

pub(crate) async fn run(args: &Args) -> Done {
    let (add, remove) = (list(&args.add), list(&args.remove));
    let answer = if args.clear || !args.tags.is_empty() {
        args.agent.ask("tags", json!({"tags": list(&args.tags)})).await?
    } else if add.is_empty() && remove.is_empty() {
        let known = args.agent.ask("whoami", json!({})).await?;
        json!({"tags": known["tags"]})
    } else {
        args.agent.ask("tags", json!({"add": add, "remove": remove})).await?
    };
    if args.agent.json {
        say::json(&answer)?;
    } else {
        say::line(in_words(&answer["tags"]))?;
    }
    Ok(OK)
}

fn in_words(tags: &Value) -> String {
    let tags: Vec<String> = tags.as_array().into_iter().flatten().filter_map(Value::as_str).map(say::plain).collect();
    if tags.is_empty() { "no tags".to_owned() } else { format!("tags {}", tags.join(", ")) }
}
