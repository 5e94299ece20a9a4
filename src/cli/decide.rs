//! `approve` and `deny`: the answer of a person to a question of the provider.

use super::failure::Done;
use super::order::OrderArgs;
use super::{OK, say};
use relay_runner_protocol::CommandType;
use serde_json::{Map, json};
use std::time::Duration;

/// Longer than an adapter may take to pass a decision on.
const LIMIT: Duration = Duration::from_mins(1);

const AFTER_HELP: &str = "\
Examples:
  relay-runner status            what waits for a decision
  relay-runner approve x7        this time
  relay-runner approve x7 --session
  relay-runner deny x7 a1 --reason \"not in this folder\"

The first answer counts: whoever decides after that is told so. A decision on a request whose
turn or process is over fails, and reaches no later request.";

/// Allow what a provider asks for
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Approve {
    /// Allow it for the rest of the provider's session, where the provider can: a hook allows this once
    #[arg(long)]
    session: bool,
    #[command(flatten)]
    about: About,
}

/// Refuse what a provider asks for
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Deny {
    /// Have it stop its turn as well
    #[arg(long)]
    abort: bool,
    #[command(flatten)]
    about: About,
}

#[derive(Debug, clap::Args)]
struct About {
    /// The request, as `status` names it
    #[arg(value_name = "REQUEST")]
    request: String,
    /// Why, for the provider to read
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    order: OrderArgs,
}

pub(crate) async fn approve(args: &Approve) -> Done {
    decide(&args.about, if args.session { "approve-session" } else { "approve" }, "approved").await
}

pub(crate) async fn deny(args: &Deny) -> Done {
    decide(&args.about, if args.abort { "abort" } else { "deny" }, "denied").await
}

async fn decide(about: &About, decision: &str, done: &str) -> Done {
    let mut params = Map::new();
    params.insert("approvalId".to_owned(), json!(about.request));
    params.insert("decision".to_owned(), json!(decision));
    if let Some(reason) = &about.reason {
        params.insert("reason".to_owned(), json!(reason));
    }
    let obeyed = about.order.give(CommandType::PermissionDecision, params, LIMIT).await?;
    if about.order.json {
        say::json(&json!({"request": about.request, "decision": decision, "agent": obeyed.agent}))?;
    } else {
        say::line(format_args!("{} is {done} for {}", say::plain(&about.request), obeyed.agent))?;
    }
    Ok(OK)
}
