//! `send`: a message or a task, and, with `--wait`, what becomes of it.

use super::JSON;
use super::books::{Books, RelayArgs};
use super::failure::{Done, Failure};
use super::given::{Environment, Key, key};
use super::order::patient;
use super::text::text;
use super::{OK, say, span, wait};
use clap::builder::FalseyValueParser;
use relay_runner_protocol::http::{MESSAGES, TASKS};
use relay_runner_protocol::message::{Attachment, NewMessage};
use relay_runner_protocol::task::{NewTask, titled};
use relay_runner_protocol::{Message, Priority, Target, Task};
use relay_runner_shell::{FileError, Outgoing};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// Longer than one file may take.
const UPLOAD_LIMIT: Duration = Duration::from_mins(2);

const FROM: Key = key("--from", "AGENT_RELAY_ID");
const TIMEOUT: Key = key("--timeout", "AGENT_RELAY_TIMEOUT");

const AFTER_HELP: &str = "\
Examples:
  relay-runner send a1 \"are you there?\"                a plain message to the agent a1
  relay-runner send a1 \"hello\" --task --wait           a task; prints each stage until it is done
  relay-runner send tag:rust \"look at #12\" --task      to whoever claims it first
  git diff | relay-runner send a1 - --subject review   the text from standard input
  relay-runner send a1 \"look at this\" --attach x.png   with a file

TARGET is an agent id, broadcast, label:X, tag:X, cap:X or policy:X.
Stages: held, claimed (tasks), offered, taken, worked, settled; or set aside, with the reason.
Exit codes: 0 sent, and with --wait settled or done; 1 failed, set aside, or not done in time;
  69 relay unreachable.";

/// Send a message or a task to an agent
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Whom it is for
    #[arg(value_name = "TARGET")]
    target: String,
    /// What it says; - reads standard input
    #[arg(value_name = "TEXT")]
    text: String,
    /// Make it a task: one agent claims it, works on it, and reports its end
    #[arg(long)]
    task: bool,
    /// Let it go before all messages that are not urgent
    #[arg(long)]
    urgent: bool,
    /// Print each stage that the relay learns of, until the end
    #[arg(long)]
    wait: bool,
    /// Give up waiting after this long, for example 90s or 5m [env: AGENT_RELAY_TIMEOUT] [default: none]
    #[arg(long, value_name = "SPAN", requires = "wait")]
    timeout: Option<String>,
    /// Who sends it [env: AGENT_RELAY_ID] [default: operator]
    #[arg(long, value_name = "AGENT")]
    from: Option<String>,
    /// What it is about, in a line; a task takes the beginning of its text
    #[arg(long, value_name = "LINE")]
    subject: Option<String>,
    /// Send a file with it, at most 64 MiB; may be repeated
    #[arg(long, value_name = "FILE")]
    attach: Vec<PathBuf>,
    #[command(flatten)]
    relay: RelayArgs,
    /// Print one line of JSON for each thing that happens
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

/// What was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) message: u64,
    pub(crate) task: Option<u64>,
    /// By the relay's clock, in milliseconds since the epoch.
    pub(crate) at: u64,
}

pub(crate) async fn run(args: &Args) -> Done {
    let env = Environment::ours();
    let from = env.text(args.from.as_deref(), FROM)?.map_or_else(|| "operator".to_owned(), |(from, _)| from);
    let limit = if args.wait { env.parsed(args.timeout.as_deref(), TIMEOUT, span::parse)? } else { None };
    let text = text(Some(&args.text), None)?;
    let files = looked_at(&args.attach).await?;
    let books = args.relay.books(env)?;
    let attachments = upload(&books, &files).await?;
    let priority = if args.urgent { Priority::Urgent } else { Priority::Normal };
    let subject = args.subject.clone().filter(|subject| !subject.trim().is_empty());
    let sent = if args.task {
        task(&books, from, &args.target, text, subject, priority, attachments).await?
    } else {
        message(&books, from, &args.target, text, subject, priority, attachments).await?
    };
    match (args.json, sent.task) {
        (true, _) => say::json(&json!({"event": "sent", "messageId": sent.message, "taskId": sent.task}))?,
        (false, Some(task)) => say::line(format_args!("message {} to {}, task {task}", sent.message, args.target))?,
        (false, None) => say::line(format_args!("message {} to {}", sent.message, args.target))?,
    }
    hint(&books, &args.target).await;
    if args.wait { wait::wait(&books, sent, limit, args.json).await } else { Ok(OK) }
}

/// All of them before the first one goes.
async fn looked_at(paths: &[PathBuf]) -> Result<Vec<Outgoing>, Failure> {
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let wrong = |e: FileError| {
            let code = if matches!(e, FileError::TooLarge { .. }) { "file_too_large" } else { "bad_file" };
            Failure::usage(code, format!("--attach on the command line: {e}"))
        };
        files.push(Outgoing::look(path).await.map_err(wrong)?);
    }
    Ok(files)
}

async fn upload(books: &Books, files: &[Outgoing]) -> Result<Vec<Attachment>, Failure> {
    let mut attachments = Vec::with_capacity(files.len());
    for file in files {
        let what = format!("{} ({} bytes) on its way to {}", file.name, file.size, books.base());
        attachments.push(patient(books.upload(file), &what, UPLOAD_LIMIT).await??);
    }
    Ok(attachments)
}

/// A message to an agent that is not there waits for it: that may be wanted, or a slip of the pen.
async fn hint(books: &Books, target: &str) {
    // Who cannot be asked for is no reason to fail: the message is sent.
    if let Target::Agent(id) = Target::parse(target)
        && matches!(books.agent(id).await, Ok(None))
    {
        say::aside(format_args!(
            "no agent {} is on the relay now; the message waits for it (`relay-runner agents` lists who is there)",
            say::plain(id)
        ));
    }
}

pub(crate) async fn message(
    books: &Books,
    from: String,
    to: &str,
    body: String,
    subject: Option<String>,
    priority: Priority,
    attachments: Vec<Attachment>,
) -> Result<Sent, Failure> {
    let new = NewMessage {
        from,
        to: to.to_owned(),
        kind: "chat".to_owned(),
        subject,
        body,
        payload: Value::Null,
        claimable: false,
        priority,
        reply_expected: false,
        reply_to: None,
        attachments,
        idempotency_key: None,
    };
    let message: Message = books.post(MESSAGES, &new).await?;
    Ok(Sent { message: message.id, task: None, at: message.created_at })
}

pub(crate) async fn task(
    books: &Books,
    from: String,
    target: &str,
    body: String,
    title: Option<String>,
    priority: Priority,
    attachments: Vec<Attachment>,
) -> Result<Sent, Failure> {
    let (title, body) = match title {
        Some(title) => (title, body),
        None => titled(body),
    };
    let new = NewTask {
        title,
        body,
        target: target.to_owned(),
        from: Some(from),
        priority,
        attachments,
        dedup_key: None,
        callback_url: None,
    };
    let task: Task = books.post(TASKS, &new).await?;
    Ok(Sent { message: task.message_id, task: Some(task.id), at: task.created_at })
}
