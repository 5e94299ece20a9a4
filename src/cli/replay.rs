//! `replay`: a recorded run, run again.

use super::JSON;
use super::failure::Done;
use super::{OK, say};
use clap::builder::FalseyValueParser;
use relay_runner_shell::journal::replay_path;
use serde_json::json;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  relay-runner replay ~/.local/state/relay-runner/a1                          all that is recorded of an agent
  relay-runner replay ~/.local/state/relay-runner/a1/journal/000003.jsonl     one file

The core is run over the recorded events; what it asks for must be what is recorded, byte for byte. It stops at the
first difference and shows both sides. A last line that was torn by a crash is left out, and that is said.";

/// Run a journal again, and say whether the same things happen
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// A file of a journal, a journal's folder, or an agent's state folder
    #[arg(value_name = "JOURNAL")]
    journal: PathBuf,
    /// Print the result as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    let replayed = replay_path(&args.journal)?;
    let seconds = replayed.elapsed.as_secs_f64();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a figure for people"
    )]
    let speed = (replayed.events as f64 / seconds.max(1e-6)) as u64;
    if args.json {
        say::json(&json!({
            "replaysExactly": true,
            "events": replayed.events,
            "runs": replayed.runs,
            "files": replayed.segments,
            "torn": replayed.torn,
            "seconds": seconds,
            "eventsPerSecond": speed,
        }))?;
        return Ok(OK);
    }
    for file in &replayed.torn {
        say::line(format_args!(
            "{}: its last line was torn (everything ended while it was written) and is left out",
            file.display()
        ))?;
    }
    say::line(format_args!(
        "replays exactly: {} in {}, {} ({speed} events/s)",
        counted(replayed.events, "event"),
        counted(replayed.runs, "run"),
        counted(replayed.segments, "file"),
    ))?;
    Ok(OK)
}

fn counted(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
