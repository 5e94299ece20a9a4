//! `stop`: ends a runner and its provider in order.

use super::failure::{Done, Failure};
use super::order::{self, OrderArgs};
use super::{OK, say, span};
use relay_runner_protocol::CommandType;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// What reports and leave-taking may take beside the stop itself.
const BESIDES: Duration = Duration::from_secs(20);

const AFTER_HELP: &str = "\
Examples:
  relay-runner stop                     the runner on this machine, while there is one
  relay-runner stop a1                  of several, or one that runs elsewhere: through the relay
  relay-runner stop a1 --timeout 60s    give the provider more time to end
  relay-runner stop a1 --now            kill the provider, without asking

Claims are released, the agent leaves the relay, and the runner ends with 0.";

/// Stop a runner and its provider
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    order: OrderArgs,
    /// Kill the provider at once
    #[arg(long)]
    now: bool,
    /// How long the provider may take to end, at most 60s [default: 10s]
    #[arg(long, value_name = "SPAN", value_parser = span::parse)]
    timeout: Option<Duration>,
}

pub(crate) async fn run(args: &Args) -> Done {
    let timeout = args.timeout.unwrap_or(Duration::from_secs(10));
    if timeout > Duration::from_mins(1) {
        return Err(Failure::usage("configuration", "--timeout on the command line: at most 60s"));
    }
    let mut params = Map::new();
    params.insert("timeoutMs".to_owned(), json!(span::millis(timeout)));
    params.insert("reason".to_owned(), json!("relay-runner stop"));
    let what = if args.now { CommandType::Kill } else { CommandType::Shutdown };
    let obeyed = args.order.give(what, params, timeout + BESIDES).await?;
    if let Some(found) = &obeyed.found {
        order::gone(found).await?;
    }
    if args.order.json {
        say::json(&json!({"stopped": obeyed.agent, "pid": obeyed.found.map(|f| f.pid), "answer": obeyed.answer}))?;
    } else {
        match obeyed.found {
            Some(found) => say::line(format_args!("{} is stopped (process {} has ended)", obeyed.agent, found.pid))?,
            None => say::line(format_args!("{} is stopped{}", obeyed.agent, escalated(&obeyed.answer)))?,
        }
    }
    Ok(OK)
}

fn escalated(answer: &Value) -> &'static str {
    if answer["providerResult"]["escalated"] == json!(true) { " (its provider had to be killed)" } else { "" }
}
