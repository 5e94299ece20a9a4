//! `send-claimable`: the agent gives work to others. One of them claims it, works on it, and reports its end.

use super::agent::{AgentArgs, WordsArgs, absolutes};
use super::failure::Done;
use super::text::text;
use super::{OK, say};
use serde_json::json;

const AFTER_HELP: &str = "\
Examples:
  relay-runner send-claimable tag:rust \"find out why test x fails\"
  relay-runner send-claimable bob --title \"review\" --attach fix.patch \"please review the patch\"
  relay-runner send-claimable cap:review - < request.md

TARGET is an agent id, label:X, tag:X, cap:X or policy:X; of several agents the first one to claim it
has it. The relay keeps it as a task until it is done or failed.";

/// Send a task as this agent: one of the receivers claims it
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Whom it is for
    #[arg(value_name = "TARGET")]
    target: String,
    /// What is to be done; - or nothing reads standard input
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    #[command(flatten)]
    words: WordsArgs,
    /// Its title [default: the beginning of the text]
    #[arg(long, value_name = "LINE")]
    title: Option<String>,
    /// Let it go before all messages that are not urgent
    #[arg(long)]
    urgent: bool,
    #[command(flatten)]
    agent: AgentArgs,
}

pub(crate) async fn run(args: &Args) -> Done {
    let body = json!({
        "to": args.target,
        "body": text(args.text.as_deref(), args.words.file.as_deref())?,
        "attachments": absolutes(&args.words.attach)?,
        "title": args.title,
        "urgent": args.urgent,
    });
    let answer = args.agent.ask("send-claimable", body).await?;
    if args.agent.json {
        say::json(&answer)?;
    } else {
        let (message, task) = (&answer["messageId"], &answer["taskId"]);
        say::line(format_args!("message {message} to {}, task {task}", say::plain(&args.target)))?;
    }
    Ok(OK)
}
