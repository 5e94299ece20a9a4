//! `reply`: the agent answers a message. What was owed for it is settled.

use super::agent::{AgentArgs, WordsArgs, absolutes};
use super::failure::Done;
use super::text::text;
use super::{OK, say};
use serde_json::json;

const AFTER_HELP: &str = "\
Examples:
  relay-runner reply 12 \"done: the tests pass\"
  relay-runner reply 12 --attach report.md \"the report is attached\"
  git log -3 | relay-runner reply 12
  relay-runner reply 12 \"which branch?\" --reply-expected

The reply goes to whoever sent message 12, in its thread. When no words are needed, react instead.";

/// Answer a message that this agent was sent
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The message's id, as its heading shows it
    #[arg(value_name = "ID")]
    id: u64,
    /// What to say; - or nothing reads standard input
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    #[command(flatten)]
    words: WordsArgs,
    /// Ask for an answer to this
    #[arg(long)]
    reply_expected: bool,
    #[command(flatten)]
    agent: AgentArgs,
}

pub(crate) async fn run(args: &Args) -> Done {
    let body = json!({
        "messageId": args.id,
        "body": text(args.text.as_deref(), args.words.file.as_deref())?,
        "attachments": absolutes(&args.words.attach)?,
        "replyExpected": args.reply_expected,
    });
    let answer = args.agent.ask("reply", body).await?;
    if args.agent.json {
        say::json(&answer)?;
    } else {
        say::line(format_args!("replied to message {} (message {})", args.id, answer["messageId"]))?;
    }
    Ok(OK)
}
