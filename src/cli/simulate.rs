//! `simulate`: the core in a made-up world, run by run, until something is wrong with it.

use super::failure::{Done, Failure};
use super::progress::Beat;
use super::simulate_kept::{as_test, can_be_written, report, shrunk};
use super::simulate_shown::{Outcome, Shown, counted, so_far};
use super::{JSON, OK, books, span};
use clap::builder::FalseyValueParser;
use relay_runner_sim::batch::{Batch, Batched, Failed, batch};
use relay_runner_sim::coverage::{ONE_IN, STATED};
use relay_runner_sim::saved::File;
use relay_runner_sim::swarm::{Group, Profile, plan_with};
use relay_runner_sim::{Coverage, Plan, Ran, Wanted};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

const RUNS: u64 = 1_000;

// Paragraphs are one line each: the terminal's width is known later.
const ABOUT: &str = "\
A run is a world in virtual time: runners with today's core, a relay, providers, a network, clocks and disks, all made up, \
and a plan of what is wanted of them and what goes wrong. Then everything is mended, and must come to rest. Whatever the \
cores do is watched from outside and held against 13 invariants; the first thing that is wrong ends the batch with 1. So does a batch of 8000 runs or more that has not met every hazard.

A plan comes from a seed, and run k of a batch has the seed N+k. The first minute of every 128th seed is run again and again, with the first runner killed behind each of its effects in turn (up to the 249th). The same program makes the same run of the same seed, on any \
machine. A failure is made as short as it can be, told step by step, and saved, so that --plan runs it again when the program \
has changed.

A profile says in JSON what is not to be drawn: which groups of faults there are, and how likely they are against each \
other (one that is not named does not come), how long things go wrong, and how much is wanted and goes wrong, at least and at \
most. All of it can be left out:
  {\"weights\": {\"kills-and-disks\": 3, \"breaks\": 1}, \"hours\": 2, \"work\": [10, 60], \"faults\": [20, 60]}";

const EXAMPLES: &str = "\
Examples:
  relay-runner simulate                                          1000 runs of seeds that nobody has seen yet
  relay-runner simulate --seed $(git rev-parse HEAD) --time 10m --jobs 4
  relay-runner simulate --seed 7 --runs 1 --log                  one run, line by line
  relay-runner simulate --profile kills.json --hours 24          long runs of one kind of trouble
  relay-runner simulate --plan simulate-7.json                   does that failure repeat?
  relay-runner simulate --plan simulate-7.json --to-test tests/scenarios/found_by_seed_7.rs
  relay-runner simulate --json | tail -n 1 | jq .coverage        what the runs have met";

fn after_help() -> String {
    let groups = Group::ALL.map(|group| format!("  {:<20} {}", group.name(), group.about()));
    let groups = groups.join("\n");
    format!("{ABOUT}\n\nGroups of faults:\n{groups}\n\n{EXAMPLES}")
}

/// Run the core through made-up worlds in which everything goes wrong, and look for what it does wrong
#[derive(Debug, clap::Args)]
#[command(after_help = after_help())]
pub(crate) struct Args {
    /// The first seed: a number, or a commit (its first 16 hex digits) [default: drawn, and printed]
    #[arg(long, value_name = "N|COMMIT", value_parser = seed)]
    seed: Option<u64>,
    /// So many runs [default: 1000]
    #[arg(long, value_name = "N", conflicts_with = "time", value_parser = clap::value_parser!(u64).range(1..))]
    runs: Option<u64>,
    /// As many runs as there is time for: 30s, 10m, 8h
    #[arg(long, value_name = "SPAN", value_parser = time)]
    time: Option<Duration>,
    /// Virtual hours that things go wrong for in each run, 0.5 for example [default: drawn by the seed, up to 2]
    #[arg(long, value_name = "H", allow_negative_numbers = true)]
    pub(super) hours: Option<f64>,
    /// Runs at a time, a thread each; what is reported does not depend on it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// What goes wrong, and how often, as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) profile: Option<PathBuf>,
    /// Run this plan, or this saved failure, instead of seeds
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "runs", "time", "hours", "jobs", "profile"])]
    pub(super) plan: Option<PathBuf>,
    /// Print every change in the one run, in a line each: with --runs 1, or --plan
    #[arg(long)]
    log: bool,
    /// The folder for a failure's file, simulate-<seed>.json
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(super) save: PathBuf,
    /// Write the failure, or the plan of --plan, as a test in Rust
    #[arg(long, value_name = "FILE")]
    pub(super) to_test: Option<PathBuf>,
    /// Print JSON, a value per line; the last is the summary
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

/// A number, or the beginning of a hash.
fn seed(text: &str) -> Result<u64, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        return text.parse().map_err(|_| format!("as a number, at most {}", u64::MAX));
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("a number, or the hex digits of a commit".to_owned());
    }
    u64::from_str_radix(&text[..text.len().min(16)], 16).map_err(|error| error.to_string())
}

fn time(text: &str) -> Result<Duration, String> {
    match span::any(text)? {
        Duration::ZERO => Err("more than nothing".to_owned()),
        span => Ok(span),
    }
}

pub(crate) fn run(args: &Args) -> Done {
    if args.log && args.plan.is_none() && args.runs != Some(1) {
        return Err(Failure::usage("log", "--log is the log of one run: ask for --runs 1 as well, or for a --plan"));
    }
    can_be_written(args)?;
    let shown = Shown { json: args.json };
    let (outcome, saved) = match &args.plan {
        Some(file) => {
            let file = read(file)?;
            let (outcome, ran) = one(args, shown, file.plan().clone(), None)?;
            let saved = match file {
                File::Saved(saved) => Some((saved.differs(&ran), saved)),
                File::Plan(_) => None,
            };
            (outcome, saved)
        }
        None => (seeds(args, shown)?, None),
    };
    let report = match (&outcome.batched.failed, &saved) {
        (None, _) => None,
        // It was made short before it was saved.
        (Some(failed), Some(_)) => Some(report(args, failed, None)),
        (Some(failed), None) => Some(report(args, failed, shrunk(failed))),
    };
    if let Some(report) = &report {
        shown.report(report)?;
    }
    if let Some((differences, saved)) = &saved {
        shown.repeats(saved, differences)?;
    }
    let test = as_test(args, report.as_ref())?;
    shown.summary(&outcome, report.as_ref(), saved.as_ref().map(|(differences, _)| differences.as_slice()), test)?;
    let swarm = args.plan.is_none() && args.profile.is_none() && args.hours.is_none();
    match &outcome.batched.failed {
        None => match never_met(&outcome.batched).filter(|_| swarm) {
            None => Ok(OK),
            Some(hazards) => Err(Failure::failed(
                "hazard_not_met",
                format!(
                    "{} met no {}: what holds there is not known; --json tells what was met how often",
                    counted(outcome.batched.runs, "run"),
                    hazards.join(", no ")
                ),
            )),
        },
        Some(Failed { seed, broken, .. }) => Err(Failure::failed(
            "invariant_broken",
            format!("seed {seed} breaks invariant {}: {}", broken.invariant, broken.words),
        )),
    }
}

pub(super) fn read(file: &Path) -> Result<File, Failure> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage("plan", format!("--plan: cannot read {name}: {error}")))?;
    File::parse(&text).map_err(|error| Failure::usage("plan", format!("--plan {name}: {error}")))
}

/// What a batch of the stated size should have met and has not; nothing of a smaller one.
fn never_met(batched: &Batched) -> Option<Vec<String>> {
    let missing = batched.coverage.summary().hazards.missing;
    (batched.runs >= STATED * ONE_IN && !missing.is_empty()).then_some(missing)
}

fn profile(args: &Args) -> Result<Profile, Failure> {
    let mut profile = match &args.profile {
        None => Profile::default(),
        Some(file) => {
            let name = file.display();
            let text = std::fs::read_to_string(file)
                .map_err(|error| Failure::usage("profile", format!("--profile: cannot read {name}: {error}")))?;
            Profile::parse(&text).map_err(|error| Failure::usage("profile", format!("--profile {name}: {error}")))?
        }
    };
    if args.hours.is_some() {
        profile.hours = args.hours;
        profile.check().map_err(|error| Failure::usage("hours", format!("--hours: {error}")))?;
    }
    Ok(profile)
}

fn seeds(args: &Args, shown: Shown) -> Result<Outcome, Failure> {
    let profile = profile(args)?;
    let seed = match args.seed {
        Some(seed) => seed,
        // Short enough to be typed, and to be exact as a number of JavaScript.
        None => u64::try_from(books::random()? >> 80).unwrap_or(0),
    };
    let runs = args.runs.unwrap_or(if args.time.is_some() { u64::MAX } else { RUNS });
    shown.begins(seed)?;
    if args.log {
        return one(args, shown, plan_with(seed, &profile), Some(seed)).map(|(outcome, _)| outcome);
    }
    let begun = Instant::now();
    let goes_on = || args.time.is_none_or(|time| begun.elapsed() < time);
    let plan = |seed| plan_with(seed, &profile);
    let mut beat = Beat::begin(args.json);
    let jobs = args.jobs.into();
    let batched = batch(&Batch { seed, runs, jobs, plan: &plan, goes_on: &goes_on }, &mut |batched| {
        beat.at(|| so_far(batched, begun.elapsed()));
    });
    Ok(Outcome { seed: Some(seed), jobs, batched, elapsed: begun.elapsed() })
}

/// One run, with its log where that is wanted.
fn one(args: &Args, shown: Shown, plan: Plan, seed: Option<u64>) -> Result<(Outcome, Ran), Failure> {
    let mut coverage = Coverage::default();
    let begun = Instant::now();
    let ran =
        relay_runner_sim::run(&plan, Wanted { told: args.log, coverage: Some(&mut coverage), ..Wanted::default() });
    let elapsed = begun.elapsed();
    if args.log {
        shown.log(&ran.told)?;
    }
    let failed = ran.broken.clone().map(|broken| Failed { seed: plan.seed, plan, broken });
    let batched = Batched { runs: 1, events: ran.events, millis: ran.millis, coverage, failed, ..Batched::default() };
    Ok((Outcome { seed, jobs: 1, batched, elapsed }, ran))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_is_large_enough_meets_every_hazard() {
        let batch = |runs| Batched { runs, ..Batched::default() };
        assert_eq!(never_met(&batch(STATED * ONE_IN - 1)), None);
        let missing = never_met(&batch(STATED * ONE_IN)).expect("it has met none");
        assert_eq!(missing.len(), Coverage::default().summary().hazards.total);
    }

    #[test]
    fn seeds_are_numbers_or_commits() {
        assert_eq!(seed("0"), Ok(0));
        assert_eq!(seed("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(seed("1a36fc0"), Ok(0x01a3_6fc0));
        assert_eq!(seed("9435c97f00000000ffffffffffffffffffffffff"), Ok(0x9435_c97f_0000_0000));
        for wrong in ["", "-1", "1.5", "main", "0x12", "18446744073709551616", "\u{661}"] {
            assert!(seed(wrong).is_err(), "{wrong}");
        }
    }
}
