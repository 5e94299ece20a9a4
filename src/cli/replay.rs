//! `replay`: a recorded run, run again.

use super::JSON;
use super::failure::{Done, Failure};
use super::progress::Progress;
use super::{OK, moment, replay_shown};
use clap::builder::FalseyValueParser;
use relay_runner_core::journal::{Changes, Until};
use relay_runner_shell::journal::{JournalError, ReplayPlan, replay};
use std::path::{Path, PathBuf};

// Paragraphs are one line each: the terminal's width is known later.
const AFTER_HELP: &str = "\
The core is run over the recorded events; what it asks for must be what is recorded, byte for byte. A last line that was \
torn by a crash is left out, and that is said.

Places: a journal holds one or more runs, which are starts of the program, counted from 1, the oldest that is still \
recorded. Within a run, records are counted from 1; N is such a number (\"n\" in a line), of the last run unless --run \
says otherwise. A TIME with a date is one of the run that had begun by then. A span (90s, 10m, 3h) is counted from the \
start of the run. A mark holds the whole core; there is one at least every 4096 records, and --from begins at one.

Differences: --strict stops at the first one and shows both sides. --relaxed goes on with today's core, which is fed the \
recorded events, and believes no mark on the way: so it shows what this program would have made of that run. Recorded \
answers go to what was asked for then, so later differences may follow from the first. Each run begins with the facts \
that are recorded for it.

Changes: --what-if reads JSON lines. Events are written as in the journal's lines, behind \"ev\":
  {\"drop\":120}                           leave record 120 out
  {\"change\":120,\"event\":\"Wake\"}          another event in its place, at its time
  {\"after\":120,\"ms\":50,\"event\":\"Wake\"}   one more, 50 ms after record 120

From the first change on, the run is run twice with today's core: as it is recorded, and with the changes. Shown is \
after which events they part, and what is different at the end. Where the changed run waits for something and the \
record has no event in time, it is woken.

Examples, in ~/.local/state/relay-runner, where a1 is an agent:
  relay-runner replay a1                                          all that is recorded of it
  relay-runner replay a1/journal/000003.jsonl                     one file
  relay-runner replay a1 --relaxed                                every difference
  relay-runner replay a1 --until 2026-11-22T10:00:00Z --state     what it was doing at ten
  relay-runner replay a1 --run 2 --until 10m --state              ten minutes into the second run
  relay-runner replay a1 --from 990000 --until 990000 --state     at once, however long the run
  echo '{\"drop\":120}' > lost.jsonl
  relay-runner replay a1 --what-if lost.jsonl                     had event 120 never come";

/// Run a journal again: does the same happen, what was going on, what if something else had happened
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// A file of a journal, a journal's folder, or an agent's state folder
    #[arg(value_name = "JOURNAL")]
    journal: PathBuf,
    /// Stop at the first difference between what is recorded and what this program does [default]
    #[arg(long, conflicts_with_all = ["relaxed", "what_if"])]
    strict: bool,
    /// Go on at differences, and list them
    #[arg(long)]
    relaxed: bool,
    /// Only this start of the program, counted from 1
    #[arg(long, value_name = "K")]
    run: Option<u64>,
    /// Begin at the last mark before or at record N, without running what comes before
    #[arg(long, value_name = "N", value_parser = moment::record)]
    from: Option<u64>,
    /// Stop after record N, or before the first event after TIME: 2026-11-22T10:00:00Z, or 10m from the run's start
    #[arg(long, value_name = "N|TIME", value_parser = moment::until)]
    until: Option<Until>,
    /// Show what the runner knew at the end of what is run
    #[arg(long)]
    state: bool,
    /// Run it with the changes of this file as well, and show where that leads elsewhere
    #[arg(long, value_name = "FILE")]
    what_if: Option<PathBuf>,
    /// How many differences are listed at most
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    show: u16,
    /// Print the result as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    let plan = ReplayPlan {
        run: args.run,
        from: args.from,
        until: args.until,
        relaxed: args.relaxed,
        what_if: args.what_if.as_deref().map(changes).transpose()?,
        keep: args.show.into(),
    };
    let mut progress = Progress::begin();
    let replayed = replay(&args.journal, plan, &mut |at| {
        progress.at(at.bytes, at.of_bytes, format_args!("{} events", at.events));
    });
    drop(progress);
    let replayed = replayed.map_err(|error| in_words(args, error))?;
    let asked = replay_shown::Asked {
        relaxed: args.relaxed || args.what_if.is_some(),
        place: args.run.is_some() || args.from.is_some() || args.until.is_some() || args.state,
        state: args.state,
    };
    if args.json {
        replay_shown::json(&replayed, asked)?;
    } else {
        replay_shown::words(&replayed, asked)?;
    }
    Ok(OK)
}

fn changes(file: &Path) -> Result<Changes, Failure> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|e| Failure::usage("what_if", format!("--what-if: cannot read the changes from {name}: {e}")))?;
    Changes::parse(&text).map_err(|e| Failure::usage("what_if", format!("--what-if {name}, {e}")))
}

/// Errors about a place, in the words of whoever asked for it.
fn in_words(args: &Args, error: JournalError) -> Failure {
    match (error, &args.what_if) {
        (JournalError::TooEarly { path, run, begins }, _) => Failure::usage(
            "no_such_time",
            format!(
                "{}: the time of --until comes before run {run}, which begins at {}; ask for a later one, or for another --run",
                path.display(),
                moment::shown(begins)
            ),
        ),
        (JournalError::Change(error), Some(file)) => {
            Failure::usage("what_if", format!("--what-if {}, {error}", file.display()))
        }
        (error, _) => error.into(),
    }
}
