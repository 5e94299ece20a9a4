//! `message`: the agent writes to another one, or to several.

use super::agent::{AgentArgs, WordsArgs, absolutes};
use super::failure::{Done, Failure};
use super::text::text;
use super::{OK, say};
use serde_json::{Value, json};

const AFTER_HELP: &str = "\
Examples:
  relay-runner message bob \"the build is broken since 10:00\"
  relay-runner message bob \"may I merge?\" --reply-expected
  relay-runner message tag:rust --subject review --attach fix.patch \"please look at the patch\"
  relay-runner message broadcast --file news.txt

TARGET is an agent id, broadcast, label:X, tag:X, cap:X or policy:X. Work that one agent is to do and
to report on goes with `relay-runner send-claimable`.";

/// Send a message as this agent
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Whom it is for
    #[arg(value_name = "TARGET")]
    target: String,
    /// What it says; - or nothing reads standard input
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    #[command(flatten)]
    words: WordsArgs,
    /// What it is about, in a line
    #[arg(long, value_name = "LINE")]
    subject: Option<String>,
    /// What kind of message it is
    #[arg(long, value_name = "WORD", default_value = "chat")]
    kind: String,
    /// Let one of several receivers claim it
    #[arg(long)]
    claimable: bool,
    /// Ask for a reply
    #[arg(long)]
    reply_expected: bool,
    /// Let it go before all messages that are not urgent
    #[arg(long)]
    urgent: bool,
    /// More for programs to read, as JSON
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
    #[command(flatten)]
    agent: AgentArgs,
}

pub(crate) async fn run(args: &Args) -> Done {
    let payload: Value = args
        .payload
        .as_deref()
        .map(serde_json::from_str)
        .transpose()
        .map_err(|e| Failure::usage("configuration", format!("--payload on the command line: it is not JSON: {e}")))?
        .unwrap_or_default();
    let body = json!({
        "to": args.target,
        "body": text(args.text.as_deref(), args.words.file.as_deref())?,
        "attachments": absolutes(&args.words.attach)?,
        "subject": args.subject.as_deref().filter(|subject| !subject.trim().is_empty()),
        "kind": args.kind,
        "claimable": args.claimable,
        "replyExpected": args.reply_expected,
        "urgent": args.urgent,
        "payload": payload,
    });
    let answer = args.agent.ask("message", body).await?;
    if args.agent.json {
        say::json(&answer)?;
    } else {
        say::line(format_args!("message {} to {}", answer["messageId"], say::plain(&args.target)))?;
    }
    Ok(OK)
}
