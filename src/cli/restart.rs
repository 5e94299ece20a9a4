//! `restart`: the next generation of a provider; also what revives a parked agent.

use super::failure::Done;
use super::order::OrderArgs;
use super::{OK, say};
use relay_runner_protocol::CommandType;
use serde_json::{Map, json};
use std::time::Duration;

/// Longer than any provider is given to end and to come up.
const LIMIT: Duration = Duration::from_mins(3);

const AFTER_HELP: &str = "\
Examples:
  relay-runner restart           the provider of the runner on this machine, while there is one
  relay-runner restart a1        of several, or of one that runs elsewhere: through the relay

The provider is asked to end, and started again; what it had not finished is delivered again, marked so.
A parked agent is revived by it.";

/// Restart the provider of a runner
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    order: OrderArgs,
}

pub(crate) async fn run(args: &Args) -> Done {
    let mut params = Map::new();
    params.insert("reason".to_owned(), json!("relay-runner restart"));
    let obeyed = args.order.give(CommandType::Restart, params, LIMIT).await?;
    if args.order.json {
        say::json(&json!({"restarted": obeyed.agent, "answer": obeyed.answer}))?;
    } else {
        say::line(format_args!("the provider of {} is restarted", obeyed.agent))?;
    }
    Ok(OK)
}
