//! `read`: a whole message. Agents are shown 4,000 characters of a body, and this command for the rest.

use super::agent::AgentArgs;
use super::ago::{ago, now};
use super::books::RelayArgs;
use super::failure::{Done, Failure};
use super::given::Environment;
use super::{OK, local, say};
use relay_runner_protocol::{Message, Priority, http};
use relay_runner_shell::kept_at;
use serde_json::{Value, json};
use std::path::Path;

const AFTER_HELP: &str = "\
Examples:
  relay-runner read 12
  relay-runner read 12 --thread
  relay-runner read 12 --json | jq -r .body

Inside a provider the agent's runner asks the relay, with its own credential; elsewhere, or with
--relay or --token-file, this program does.";

/// Print a whole message
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The message's id, as its heading shows it
    #[arg(value_name = "ID")]
    id: u64,
    /// All messages of its thread
    #[arg(long)]
    thread: bool,
    #[command(flatten)]
    relay: RelayArgs,
    #[command(flatten)]
    agent: AgentArgs,
}

impl Args {
    fn is_by_runner(&self) -> bool {
        self.agent.is_named() || (local::inside(Environment::ours()).is_some() && !self.relay.is_named())
    }
}

pub(crate) async fn run(args: &Args) -> Done {
    let messages = messages(args).await?;
    if args.agent.json {
        match &messages[..] {
            [message] if !args.thread => say::pretty_json(message)?,
            messages => say::pretty_json(&messages)?,
        }
        return Ok(OK);
    }
    // Its files lie in its state folder.
    let state_dir = if args.is_by_runner() {
        args.agent.runner(Environment::ours()).ok().and_then(|(found, _)| found.state_dir)
    } else {
        None
    };
    for (n, message) in messages.iter().enumerate() {
        if n > 0 {
            say::line("")?;
        }
        print(message, state_dir.as_deref())?;
    }
    Ok(OK)
}

/// The one, or its thread.
async fn messages(args: &Args) -> Result<Vec<Message>, Failure> {
    let env = Environment::ours();
    if args.is_by_runner() {
        let mut answer = args.agent.ask("read", json!({"messageId": args.id, "thread": args.thread})).await?;
        return if args.thread { parsed(answer["thread"].take()) } else { Ok(vec![parsed(answer["message"].take())?]) };
    }
    let books = args.relay.books(env)?;
    if args.thread {
        return books.get(&http::message_part(args.id, "thread")).await;
    }
    Ok(vec![books.get(&http::message(args.id)).await?])
}

fn parsed<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value)
        .map_err(|e| Failure::failed("runner_answer", format!("the runner's answer cannot be read: {e}")))
}

fn print(message: &Message, state_dir: Option<&Path>) -> Result<(), Failure> {
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
        let at = state_dir.and_then(|dir| kept_at(dir, file));
        let at = at.map(|path| format!(", at {}", say::plain(&path.to_string_lossy()))).unwrap_or_default();
        let (name, id) = (say::plain(&file.name), say::plain(&file.id));
        say::line(format_args!("attachment {name}: {} bytes, artifact {id}{at}", file.size))?;
    }
    if message.reply_expected {
        say::line(format_args!("a reply is expected: relay-runner reply {} \"...\"", message.id))?;
    }
    Ok(())
}
