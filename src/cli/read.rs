//! `read`: a whole message. Agents are shown 4,000 characters of a body, and this command for the rest.

use super::JSON;
use super::ago::{ago, now};
use super::books::RelayArgs;
use super::failure::Done;
use super::given::Environment;
use super::{OK, say};
use clap::builder::FalseyValueParser;
use relay_runner_protocol::{Message, Priority, http};

const AFTER_HELP: &str = "\
Examples:
  relay-runner read 12
  relay-runner read 12 --json | jq -r .body";

/// Print a whole message
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The message's id, as its heading shows it
    #[arg(value_name = "ID")]
    id: u64,
    #[command(flatten)]
    relay: RelayArgs,
    /// Print the message as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

pub(crate) async fn run(args: &Args) -> Done {
    let message: Message = args.relay.books(Environment::ours())?.get(&http::message(args.id)).await?;
    if args.json {
        say::pretty_json(&message)?;
        return Ok(OK);
    }
    let subject = message.subject.as_deref().map(|s| format!(": {}", say::plain(s))).unwrap_or_default();
    let task = message.task_id().map(|id| format!(", task {id}")).unwrap_or_default();
    let urgent = if message.priority == Priority::Urgent { ", urgent" } else { "" };
    say::line(format_args!(
        "message {} from {} to {}, {}{task}{urgent}{subject} ({})",
        message.id,
        say::plain(&message.from),
        say::plain(&message.to),
        say::plain(&message.kind),
        ago(message.created_at, now())
    ))?;
    say::line("")?;
    say::line(say::plain_lines(&message.body).trim_end_matches('\n'))?;
    for file in &message.attachments {
        say::line(format_args!("attachment {}: {} bytes, artifact {}", say::plain(&file.name), file.size, file.id))?;
    }
    Ok(OK)
}
