//! `disconnect`: the agent leaves the relay, and its runner ends (decision 20).

use super::agent::AgentArgs;
use super::failure::Done;
use super::{OK, say};
use serde_json::json;

const AFTER_HELP: &str = "\
Examples:
  relay-runner disconnect
  relay-runner disconnect --reason \"the work is done\"

The runner stops the provider as `relay-runner stop` does, gives back what is not finished, and takes
the agent off the relay. This answers as soon as that has begun.";

/// Have this agent's runner leave the relay and end
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Why, for whoever looks
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    agent: AgentArgs,
}

pub(crate) async fn run(args: &Args) -> Done {
    let answer = match args.agent.ask("disconnect", json!({"reason": args.reason})).await {
        // It is ending already.
        Err(failure) if failure.code == "ending" => json!({"accepted": true}),
        answer => answer?,
    };
    if args.agent.json {
        say::json(&answer)?;
    } else {
        say::line("disconnecting: the runner ends this agent and leaves the relay")?;
    }
    Ok(OK)
}
