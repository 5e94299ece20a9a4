//! `logs`: what an agent's runner did, from its journal; and what it does, as it writes it. A runner that is dead is
//! read as well as one that lives.

use super::ago::now;
use super::failure::{Done, Failure};
use super::given::Environment;
use super::local;
use super::logs_shown::Shown;
use super::places;
use super::{JSON, OK, moment, say};
use clap::builder::FalseyValueParser;
use relay_runner_shell::journal::{self, Begin, Followed, Tail};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::interval;

/// Between two looks at a journal that is followed.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Lines that are shown unless asked for otherwise.
const LINES: usize = 100;
/// Of a journal that may be large, so much is read for the last lines.
const READ: u64 = 8 * 1024 * 1024;

const AFTER_HELP: &str = "\
Examples:
  relay-runner logs                       the last 100 lines of the agent here
  relay-runner logs a1 -f                 and then what happens, also across restarts of its runner
  relay-runner logs a1 --since 10m -v     ten minutes, with every event and all details
  relay-runner logs a1 --since 2026-11-22T10:00:00Z --json | jq -r .text

A line has its time (UTC), the number of the event in the journal that led to it, how much it
matters, and what the runner made of it. `relay-runner replay FOLDER --until NUMBER --state` shows
what the runner knew at that event. Words of messages are never among them.";

/// Show what an agent's runner did, and does
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The agent; not needed while there is only one here
    #[arg(value_name = "AGENT")]
    agent: Option<String>,
    /// The state folder, where the runner was given one
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// Go on with what happens, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Begin there: a span before now, or a time
    #[arg(long, value_name = "SPAN|TIME")]
    since: Option<String>,
    /// At most so many of the last lines [default: 100, or all since the time that is asked for]
    #[arg(short = 'n', long, value_name = "COUNT")]
    lines: Option<usize>,
    /// Every event, and details that are usually left out
    #[arg(short, long)]
    verbose: bool,
    /// Print each line as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

pub(crate) async fn run(args: &Args) -> Done {
    let since = match &args.since {
        Some(text) => Some(moment::since(text, now()).map_err(|why| {
            Failure::usage("configuration", format!("--since on the command line: `{text}` cannot be taken: {why}"))
        })?),
        None => None,
    };
    let place = place(Environment::ours(), args.agent.as_deref(), args.state_dir.as_deref())?;
    let mut tail = Tail::open(&place, since.map_or(Begin::Last(READ), Begin::Since))?;
    let shown = Shown { json: args.json, verbose: args.verbose };
    let most = args.lines.or_else(|| since.is_none().then_some(LINES));
    what_is_there(&mut tail, shown, since.unwrap_or_default(), most)?;
    if args.follow {
        let mut looks = interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            while let Some(followed) = tail.follow()? {
                for line in shown.lines(&followed)? {
                    say::line(line)?;
                }
            }
        }
    }
    if tail.differences() > 0 {
        say::aside(
            "this program decides otherwise than the one that wrote the journal (`relay-runner replay` shows where); the \
             lines are as this program has them",
        );
    }
    Ok(OK)
}

/// What is recorded already, since a time, or the last lines of it.
fn what_is_there(tail: &mut Tail, shown: Shown, since: u64, most: Option<usize>) -> Result<(), Failure> {
    let mut last = VecDeque::new();
    let ended = loop {
        let followed = match tail.follow() {
            Ok(Some(followed)) => followed,
            Ok(None) => break Ok(()),
            // What could be read before it is shown all the same.
            Err(damage) => break Err(damage.into()),
        };
        if at(&followed) < since {
            continue;
        }
        for line in shown.lines(&followed)? {
            match most {
                None => say::line(line)?,
                Some(most) => {
                    if last.len() >= most {
                        last.pop_front();
                    }
                    if most > 0 {
                        last.push_back(line);
                    }
                }
            }
        }
    };
    last.into_iter().try_for_each(say::line)?;
    ended
}

const fn at(followed: &Followed) -> u64 {
    match followed {
        Followed::Run { at, .. } | Followed::Event { at, .. } | Followed::Panic { at, .. } => at.wall,
    }
}

/// Where the journal of an agent lies: its runner says so while there is a sign of it, else its usual folder is meant.
fn place(env: Environment<'_>, agent: Option<&str>, state_dir: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(folder) = state_dir {
        return Ok(folder.to_owned());
    }
    let mut found = local::everywhere(env);
    found.retain(|found| agent.is_none_or(|agent| found.agent_id == agent));
    if found.iter().any(local::Found::is_alive) {
        found.retain(local::Found::is_alive);
    }
    if let [only] = &*found {
        return only.state_dir.clone().map_or_else(|| places::state_dir(env, &only.agent_id), Ok);
    }
    if let Some(agent) = agent {
        let usual = places::state_dir(env, agent)?;
        return if has_journal(&usual) { Ok(usual) } else { Err(nothing_of(agent, &usual)) };
    }
    if !found.is_empty() {
        let agents: Vec<String> = found.into_iter().map(|found| found.agent_id).collect();
        return Err(which(&agents));
    }
    let home = places::state_home(env)?;
    let entries = std::fs::read_dir(&home).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|folder| has_journal(folder)).collect();
    folders.sort();
    match folders.len() {
        1 => Ok(folders.remove(0)),
        0 => Err(Failure::failed(
            "journal_missing",
            format!("no agent has a journal in {}; name one's folder with --state-dir", home.display()),
        )),
        _ => {
            let name = |folder: &PathBuf| folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let agents: Vec<String> = folders.iter().map(name).collect();
            Err(which(&agents))
        }
    }
}

fn has_journal(state_dir: &Path) -> bool {
    journal::folder(state_dir).is_dir()
}

fn nothing_of(agent: &str, usual: &Path) -> Failure {
    Failure::failed(
        "journal_missing",
        format!(
            "no runner of {agent} runs here, and there is no journal in {}; name its folder with --state-dir",
            usual.display()
        ),
    )
}

fn which(agents: &[String]) -> Failure {
    let agents: Vec<String> = agents.iter().map(|agent| say::plain(agent)).collect();
    Failure::usage("which_agent", format!("several agents are here: {}; say which one", agents.join(", ")))
}
