//! `demo`: the main job on a machine that has nothing, with the same code as `run`: a task travels from a relay through
//! the runner into a real process, which is killed on the way, and what was recorded is run again.

use super::books::Books;
use super::demo_books::{Check, Sent, in_the_books, read_notes};
use super::demo_story::{Story, tell};
use super::failure::{Done, Failure};
use super::given::Environment;
use super::run_args::{Args as RunArgs, Options as RunOptions};
use super::run_options::{Asked, demo_agent};
use super::{JSON, OK, local, relay, say, send};
use clap::builder::FalseyValueParser;
use relay_runner_protocol::Priority;
use relay_runner_relay::{Config, Relay};
use relay_runner_shell::journal::replay_path;
use relay_runner_shell::runner_dir::{self, Places};
use relay_runner_shell::{CommandSpec, ExitCode, Handle, Options, ProviderSpec, RelayUrl, RunError, Runner};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The whole story takes some seconds; a slow machine gets more than that, and not for ever.
const STORY_WITHIN: Duration = Duration::from_secs(12);
/// How long the end may take.
const END_WITHIN: Duration = Duration::from_secs(10);
const AGENT: &str = "demo";
const YOU: &str = "you";

const AFTER_HELP: &str = "\
Examples:
  relay-runner demo           see it work; exit 0 says that all of it happened
  relay-runner demo --stay    and keep relay, runner and agent, to try the other verbs on";

/// Show all of it at work on this machine, in some seconds
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Keep it running after the story, until Ctrl-C
    #[arg(long)]
    stay: bool,
    /// Print each line as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

pub(crate) async fn run(args: &Args) -> Done {
    let folder = tempfile::Builder::new().prefix("relay-runner-demo-").tempdir().map_err(|e| {
        Failure::failed(
            "demo_folder",
            format!("cannot make a temporary folder: {e}; set TMPDIR to one that is writable"),
        )
    })?;
    let staying = Cell::new(false);
    let told = tokio::select! {
        told = play(args, &folder, &staying) => told,
        () = interrupted(&staying) => Err(Failure::failed("interrupted", "interrupted; everything was stopped")),
    };
    let failed = match told {
        Ok(checks) => {
            let failed: Vec<String> = checks.iter().filter(|(_, holds)| !holds).map(|(what, _)| what.clone()).collect();
            report(&checks, args.json)?;
            if failed.is_empty() {
                return Ok(OK);
            }
            Failure::failed("demo_failed", format!("this did not happen: {}", failed.join("; ")))
        }
        Err(failure) => failure,
    };
    if failed.code != "interrupted" {
        say::aside(format_args!("what was recorded is kept in {}", folder.keep().display()));
    }
    Err(failed)
}

fn report(checks: &[Check], json: bool) -> Result<(), Failure> {
    if json {
        let checks: Vec<Value> = checks.iter().map(|(what, holds)| json!({"what": what, "holds": holds})).collect();
        return say::json(&json!({"checks": checks}));
    }
    say::line("\nWhat must hold, from the relay's books, the agent's own notes and the journal:")?;
    for (what, holds) in checks {
        say::line(format_args!("  {}  {what}", if *holds { "yes" } else { "NO " }))?;
    }
    Ok(())
}

/// A runner that is stopped with this value, whatever happens.
struct Running {
    handle: Handle,
    task: JoinHandle<Result<ExitCode, RunError>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Until a signal to end; while the demonstration stays, that is its own to hear.
async fn interrupted(staying: &Cell<bool>) {
    loop {
        wait_for_a_signal().await;
        if !staying.get() {
            return;
        }
    }
}

async fn wait_for_a_signal() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    let Ok(mut interrupt) = signal(SignalKind::interrupt()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

async fn play(args: &Args, folder: &TempDir, staying: &Cell<bool>) -> Result<Vec<Check>, Failure> {
    let began = Instant::now();
    if !args.json {
        say::line(
            "A relay, a runner and an agent, all on this machine; the agent is killed in the middle of its work.\n",
        )?;
    }
    let config = Config {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        db: Some(folder.path().join("relay.db")),
        ..Config::default()
    };
    let relay = relay::start(config).await?;
    tell(began, args.json, "relay", &format!("listens at {}", relay.url()))?;
    let url = RelayUrl::parse(&relay.url())?;
    let books = Books::new(&url, None)?;
    let state_dir = folder.path().join("state");
    let notes = folder.path().join("agent.log");
    let (runner, handle) = Runner::prepare(options(folder.path(), &state_dir, &notes, url)?)?;
    let mut running = Running { handle, task: tokio::spawn(runner.run()) };

    let mut checks = Vec::new();
    let pids = {
        let handle = running.handle.clone();
        let mut story = Story::begin(&books, &handle, began, STORY_WITHIN, args.json);
        let sent = killed_in_mid_task(&mut story, &notes).await?;
        checks.extend(in_the_books(&books, &sent, &story, &notes).await?);
        if args.stay {
            staying.set(true);
            stay(&relay, &state_dir, args.json).await?;
        }
        story.tell(YOU, "stop the runner")?;
        story.pids
    };
    checks.extend(ended(&mut running, &books, &pids).await?);
    tell(began, args.json, "runner", "has stopped the agent, taken leave of the relay, and ended")?;
    relay.stop().await;

    let replayed = replay_path(&state_dir);
    let what = match &replayed {
        Ok(replayed) => format!("the journal replays exactly: {} events, the same decisions", replayed.events),
        Err(error) => format!("the journal replays exactly ({error})"),
    };
    tell(began, args.json, "replay", if replayed.is_ok() { &what } else { "differs" })?;
    checks.push((what, replayed.is_ok()));
    Ok(checks)
}

/// As `run` would have it, for the built-in agent, in a folder of its own.
fn options(folder: &Path, state_dir: &Path, notes: &Path, url: RelayUrl) -> Result<Options, Failure> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let asked = RunArgs {
        provider: AGENT.to_owned(),
        options: RunOptions {
            agent_id: Some(AGENT.to_owned()),
            state_dir: Some(text(state_dir)),
            cwd: Some(text(folder)),
            ..RunOptions::default()
        },
        ..RunArgs::default()
    };
    // Nothing of the user's own settings: it is to be the same everywhere.
    let mut options = Asked::read(&asked, Environment::none())?.options(url);
    let argv = demo_agent(&["--log".into(), notes.into()])?;
    options.provider = ProviderSpec::Command(CommandSpec::new(argv, false));
    // Several demonstrations may run at a time, all with the same agent id.
    let places = Places { agent_id: AGENT, state_dir, runtime: None, temporary: &std::env::temp_dir() };
    options.runner_dir = Some(runner_dir::prepare(&places)?);
    options.signals = false;
    Ok(options)
}

/// The story itself.
async fn killed_in_mid_task(story: &mut Story<'_>, notes: &Path) -> Result<Sent, Failure> {
    story.until("the agent is up and ready", |story| story.state["ready"] == true).await?;
    story.tell("runner", "has registered the agent on the relay")?;

    let mut messages = Vec::new();
    for text in ["good morning", "what is new?", "here comes some work"] {
        messages.push(
            send::message(story.books, YOU.to_owned(), AGENT, text.to_owned(), None, Priority::Normal, Vec::new())
                .await?,
        );
    }
    let title = Some("count to twenty, slowly".to_owned());
    let task =
        send::task(story.books, YOU.to_owned(), AGENT, String::new(), title, Priority::Normal, Vec::new()).await?;
    let task_id = task.task.unwrap_or_default();
    let ids: Vec<String> = messages.iter().map(|sent| sent.message.to_string()).collect();
    story.tell(YOU, &format!("send messages {}, and task {task_id} (two seconds of work)", ids.join(", ")))?;
    messages.iter().chain([&task]).for_each(|sent| story.follow(*sent));

    let half = |notes: &[Value]| notes.iter().any(|n| n["message"] == task.message && n["what"] == "half done");
    story
        .until("the agent is in the middle of the task", |story| {
            story.working_on(task.message).is_some() && read_notes(notes).is_ok_and(|notes| half(&notes))
        })
        .await?;
    let pid = story.working_on(task.message).unwrap_or_default();
    kill(pid)?;
    story.tell(YOU, &format!("kill process {pid} (SIGKILL), in the middle of the task"))?;
    story.until("everything is settled, and the task done", Story::is_over).await?;
    Ok(Sent { messages, task, task_id })
}

fn kill(pid: u64) -> Result<(), Failure> {
    let failed = |why: String| Failure::failed("demo_kill", format!("cannot kill the agent's process {pid}: {why}"));
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| failed("no such number".to_owned()))?;
    kill_process(process, Signal::KILL).map_err(|e| failed(e.to_string()))
}

/// Stops the runner as `relay-runner stop` does, and looks at what is left.
async fn ended(running: &mut Running, books: &Books, pids: &[u64]) -> Result<Vec<Check>, Failure> {
    let stopped = async {
        running.handle.command("agent.shutdown", Map::new()).await;
        (&mut running.task).await
    };
    let code = match tokio::time::timeout(END_WITHIN, stopped).await {
        Ok(Ok(code)) => code?,
        Ok(Err(error)) => {
            return Err(Failure::failed("demo_runner_ended", format!("the runner's task broke: {error}")));
        }
        Err(_) => return Err(Failure::failed("demo_stuck", "the runner did not end when it was told to")),
    };
    let left = pids.iter().any(|pid| u32::try_from(*pid).is_ok_and(local::is_alive));
    Ok(vec![
        ("the runner ended in order".to_owned(), code == ExitCode::Ok),
        ("the agent has left the relay".to_owned(), books.agent(AGENT).await?.is_none()),
        ("no process is left".to_owned(), !left),
    ])
}

async fn stay(relay: &Relay, state_dir: &Path, json: bool) -> Result<(), Failure> {
    let (url, state) = (relay.url(), state_dir.display());
    if json {
        say::json(&json!({"event": "staying", "relay": url, "agentId": AGENT, "stateDir": state_dir}))?;
    } else {
        say::line(format_args!(
            "\nIt stays. The relay is at {url}; in another terminal, try:\n\
             \n  relay-runner agents --relay {url}\
             \n  relay-runner send {AGENT} \"hello\" --task --wait --relay {url}\
             \n  relay-runner status --state-dir {state}\
             \n  relay-runner restart --state-dir {state}\
             \n\nCtrl-C ends it."
        ))?;
    }
    wait_for_a_signal().await;
    if json { Ok(()) } else { say::line("") }
}
