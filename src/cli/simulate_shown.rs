//! What `simulate` says of its runs, for people and for programs.

use super::failure::Failure;
use super::say;
use super::simulate_kept::quoted;
use relay_runner_sim::batch::{Batched, Failed};
use relay_runner_sim::coverage::{Part, Summary};
use relay_runner_sim::saved::Saved;
use relay_runner_sim::story::{story, time};
use relay_runner_sim::{Broken, Coverage, LEGEND, Plan, invariant};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// To whom it is said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) json: bool,
}

/// What was run.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The first; none: it was a plan.
    pub(super) seed: Option<u64>,
    pub(super) jobs: usize,
    pub(super) batched: Batched,
    /// By the clock on the wall.
    pub(super) elapsed: Duration,
}

/// All there is to say of a failure.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) failed: Failed,
    /// What is left of its plan, and how that fails.
    pub(super) plan: Plan,
    pub(super) broken: Broken,
    /// Runs that this took; none: it is short already.
    pub(super) shrinking: Option<u64>,
    /// The end of its log.
    pub(super) last: Vec<String>,
    /// The command that draws it again.
    pub(super) by_seed: Option<String>,
    /// Where it can be read.
    pub(super) file: Option<PathBuf>,
}

impl Shown {
    /// Said first, so that it is known whatever becomes of the batch.
    pub(super) fn begins(self, seed: u64) -> Result<(), Failure> {
        if self.json { say::json(&json!({"seed": seed})) } else { say::line(format_args!("seed {seed}")) }
    }

    pub(super) fn log(self, told: &[String]) -> Result<(), Failure> {
        if self.json {
            return told.iter().try_for_each(|line| say::json(&json!({"line": line})));
        }
        say::line(format_args!("{LEGEND}\n"))?;
        told.iter().try_for_each(say::line)
    }

    pub(super) fn report(self, report: &Report) -> Result<(), Failure> {
        if self.json {
            // It is a part of the summary.
            return Ok(());
        }
        let Failed { seed, broken, plan } = &report.failed;
        say::line(format_args!("seed {seed} breaks invariant {}, {}", broken.invariant, place(broken)))?;
        say::line(format_args!("  {}", broken.words))?;
        say::line(format_args!("  it demands: {}", invariant::demands(broken.invariant)))?;
        if let Some(runs) = report.shrinking {
            let (before, after) = (plan.steps.len(), report.plan.steps.len());
            say::line(format_args!("\nshrunk in {runs} runs, from {before} steps to {after}:"))?;
        } else {
            say::line("\nwhat happens:")?;
        }
        for line in story(&report.plan) {
            say::line(format_args!("  {line}"))?;
        }
        if report.broken != *broken {
            say::line(format_args!("  then it breaks {}: {}", place(&report.broken), report.broken.words))?;
        }
        say::line(format_args!("\nthe end of its log:\n{LEGEND}\n"))?;
        report.last.iter().try_for_each(say::line)?;
        say::line("\nto see it again:")?;
        if let Some(file) = &report.file {
            say::line(format_args!("  relay-runner simulate --plan {}", quoted(file)))?;
        }
        if let Some(by_seed) = &report.by_seed {
            say::line(format_args!("  {by_seed}"))?;
        }
        say::line("")
    }

    /// Whether a saved failure is what it was.
    pub(super) fn repeats(self, saved: &Saved, differences: &[String]) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        if differences.is_empty() {
            return say::line("repeats exactly");
        }
        let commit = saved.commit.as_ref().map(|commit| format!(", commit {commit}")).unwrap_or_default();
        let by = format!("{}{commit}", saved.version);
        say::line(format_args!("does not repeat what was saved by version {}:", say::plain(&by)))?;
        differences.iter().try_for_each(|line| say::line(format_args!("  {}", say::plain(line))))
    }

    pub(super) fn summary(
        self,
        outcome: &Outcome,
        report: Option<&Report>,
        differences: Option<&[String]>,
        test: Option<&Path>,
    ) -> Result<(), Failure> {
        let Outcome { seed, jobs, batched, elapsed } = outcome;
        let hours = hours(batched);
        let per_second = rate(batched.events, *elapsed);
        let ratio = hours * 3_600.0 / elapsed.as_secs_f64().max(1e-6);
        if self.json {
            let mut said = json!({
                "seed": seed,
                "jobs": jobs,
                "runs": batched.runs,
                "crash_points": batched.crashes,
                "events": batched.events,
                "seconds": elapsed.as_secs_f64(),
                "events_per_second": per_second.round(),
                "simulated_hours": hours,
                "simulated_years": hours / YEAR,
                "times_real_time": ratio.round(),
                "failures": u64::from(batched.failed.is_some()),
                "coverage": coverage_json(&batched.coverage),
            });
            if *jobs > 1 {
                said["events_per_second_per_job"] = json!((per_second / many(*jobs)).round());
            }
            if let Some(report) = report {
                said["failure"] = failure(report);
            }
            if let Some(differences) = differences {
                said["repeats_exactly"] = json!(differences.is_empty());
                said["differences"] = json!(differences);
            }
            if let Some(test) = test {
                said["test"] = json!(test);
            }
            return say::json(&said);
        }
        if let Some(test) = test {
            say::line(format_args!("a test of it was written: {}", test.display()))?;
        }
        say::line(format_args!(
            "{}{}, {} events, {}; {} failed",
            counted(batched.runs, "run"),
            if batched.crashes > 0 {
                format!(" (and {} with a kill in each place of a short one)", batched.crashes)
            } else {
                String::new()
            },
            batched.events,
            simulated(hours),
            if batched.failed.is_some() { "one" } else { "none" },
        ))?;
        say::line(format_args!("met: {}", coverage_words(&batched.coverage)))?;
        let per_job = if *jobs > 1 {
            format!(" ({} in each of {jobs} jobs)", large(per_second / many(*jobs)))
        } else {
            String::new()
        };
        say::line(format_args!(
            "took {:.2} s: {} events/s{per_job}, {} times as fast as real time",
            elapsed.as_secs_f64(),
            large(per_second),
            large(ratio),
        ))
    }
}

/// How far a batch is, in a line.
pub(super) fn so_far(batched: &Batched, elapsed: Duration) -> String {
    format!(
        "{}, {}, {} events/s; met: {}",
        counted(batched.runs, "run"),
        simulated(hours(batched)),
        large(rate(batched.events, elapsed)),
        coverage_words(&batched.coverage)
    )
}

/// What was met, and of how much. With [`coverage_json`] the one place that says so.
fn coverage_words(coverage: &Coverage) -> String {
    let Summary { kinds, exits, hazards, pairs, .. } = coverage.summary();
    format!(
        "{} of {} kinds of faults, {} of {} classes of exits, {} of {} hazards, {} of {} pairs of the machines' tables",
        kinds.met, kinds.total, exits.met, exits.total, hazards.met, hazards.total, pairs.met, pairs.total
    )
}

fn coverage_json(coverage: &Coverage) -> Value {
    let part = |part: Part| json!({"met": part.met, "of": part.total, "never": part.missing});
    let Summary { kinds, exits, hazards, pairs, surprises } = coverage.summary();
    let times: BTreeMap<_, _> = coverage.pairs.iter().map(|(pair, times)| (pair.name(), times)).collect();
    json!({
        "kinds": part(kinds),
        "exits": part(exits),
        "hazards": part(hazards),
        "pairs": part(pairs),
        "surprises": surprises,
        "times": {"kinds": coverage.kinds, "exits": coverage.exits, "hazards": coverage.hazards, "pairs": times},
    })
}

fn failure(report: &Report) -> Value {
    let Failed { seed, broken, plan } = &report.failed;
    json!({
        "seed": seed,
        "invariant": broken.invariant,
        "demands": invariant::demands(broken.invariant),
        "words": broken.words,
        "broken": broken,
        "plan": plan,
        "shrunk": {
            "runs": report.shrinking,
            "plan": report.plan,
            "broken": report.broken,
            "story": story(&report.plan),
        },
        "last": report.last,
        "file": report.file,
        "command": report.file.as_ref().map(|file| format!("relay-runner simulate --plan {}", quoted(file))),
        "command_by_seed": report.by_seed,
    })
}

fn place(broken: &Broken) -> String {
    format!("at {}, in step {}, at runner {}", time(broken.at), broken.step, broken.who)
}

/// Hours in a year.
const YEAR: f64 = 8_766.0;

fn simulated(hours: f64) -> String {
    let years = hours / YEAR;
    if years < 0.1 { format!("{hours:.2} simulated hours") } else { format!("{years:.2} simulated years") }
}

fn large(number: f64) -> String {
    match number {
        1e6.. => format!("{:.2} million", number / 1e6),
        1e4.. => format!("{:.0} thousand", number / 1e3),
        _ => format!("{number:.0}"),
    }
}

pub(super) fn counted(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn hours(batched: &Batched) -> f64 {
    batched.millis as f64 / 3_600_000.0
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn rate(events: u64, elapsed: Duration) -> f64 {
    events as f64 / elapsed.as_secs_f64().max(1e-6)
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
const fn many(jobs: usize) -> f64 {
    jobs as f64
}
