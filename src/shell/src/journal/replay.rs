//! Running a journal on disk again, line by line, in constant memory: the `replay` verb.

use super::damage::{Asked, JournalError};
use super::rerun::Rerun;
use super::runs::{RecordedRun, Runs};
use super::seek::{self, MarkAt};
use super::segments::Segment;
use relay_runner_core::journal::{Changes, Departure, Difference, Replay, Until, WhatIf};
use relay_runner_core::{Core, Stamp};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is run again, and how.
#[derive(Debug, Clone, Default)]
pub struct ReplayPlan {
    /// One run of the program, counted from 1; without it all of them, or the one that the rest is about: the last, or
    /// that of the time.
    pub run: Option<u64>,
    /// Begin at the last mark that stands behind no later record than this one.
    pub from: Option<u64>,
    pub until: Option<Until>,
    /// Go on where today's core differs. Without it the first difference is an error.
    pub relaxed: bool,
    /// Run the events with these changes as well; relaxed.
    pub what_if: Option<Changes>,
    /// This many differences and departures are kept; all are counted.
    pub keep: usize,
}

/// What was run again.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Inputs of the core.
    pub events: u64,
    /// Starts of the program.
    pub runs: u64,
    /// Files.
    pub segments: u64,
    /// Files whose last line was torn, and left out.
    pub torn: Vec<PathBuf>,
    /// Files beside them that could not be written to their end, and were not run.
    pub broken: Vec<PathBuf>,
    /// Number of the run that the end belongs to.
    pub run: u64,
    /// The record whose mark it began behind; none: at the beginning.
    pub from: Option<u64>,
    /// The last record, and its time.
    pub last: Option<(u64, Stamp)>,
    /// It stopped there, and more is recorded.
    pub stopped: bool,
    /// How often today's core differs.
    pub differences: u64,
    /// The first of them.
    pub found: Vec<Found<Difference>>,
    /// As it stands at the end.
    pub core: Option<Core>,
    pub what_if: Option<Otherwise>,
    pub elapsed: Duration,
}

/// What the changes led to.
#[derive(Debug)]
pub struct Otherwise {
    pub departures: u64,
    /// The first of them.
    pub found: Vec<Found<Departure>>,
    /// Deadlines of the changed run, at times when the recorded one had none.
    pub woken: u64,
    /// The changed run at the end.
    pub core: Option<Core>,
}

/// Something, and where it stands on disk; its own line is that of the file.
#[derive(Debug)]
pub struct Found<T> {
    pub file: PathBuf,
    pub what: T,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub events: u64,
    pub bytes: u64,
    pub of_bytes: u64,
}

/// Runs a journal again: `path` is one of its files, its folder, or an agent's state folder. `progress` is told now and
/// then how far it is.
pub fn replay(path: &Path, plan: ReplayPlan, progress: &mut dyn FnMut(Progress)) -> Result<Replayed, JournalError> {
    let began = crate::clock::Clock::start();
    let runs = Runs::of(path)?;
    let (places, from) = places(&runs, &plan)?;
    let of_bytes =
        places.iter().map(|place| place.segment.bytes.saturating_sub(place.skip.map_or(0, |mark| mark.at))).sum();
    let mut replay = Replay::new();
    if plan.relaxed || plan.what_if.is_some() {
        replay = replay.relaxed(plan.keep);
    }
    let what_if = plan.what_if.map(|changes| WhatIf::new(changes, plan.keep));
    let mut rerun = Rerun::new(replay, what_if, plan.until, of_bytes);
    let mut replayed = Replayed { from, torn: runs.unbegun, broken: runs.broken, ..Replayed::default() };
    for place in &places {
        if rerun.has_stopped() {
            break;
        }
        if place.run != replayed.run {
            replayed.runs += 1;
        }
        replayed.run = place.run;
        replayed.segments += 1;
        rerun.file(place, progress)?;
    }
    rerun.end()?;
    rerun.tell(&mut replayed)?;
    replayed.elapsed = began.elapsed();
    Ok(replayed)
}

/// Runs all of a journal again, strictly: the first difference is an error that names file and line and shows both
/// sides.
pub fn replay_path(path: &Path) -> Result<Replayed, JournalError> {
    replay(path, ReplayPlan::default(), &mut |_| {})
}

/// A file to be run, or what lies behind a mark in it.
#[derive(Debug)]
pub(super) struct Place {
    run: u64,
    pub(super) segment: Segment,
    pub(super) skip: Option<MarkAt>,
}

/// What is to be run, and the record behind which it begins if that is not the beginning.
fn places(runs: &Runs, plan: &ReplayPlan) -> Result<(Vec<Place>, Option<u64>), JournalError> {
    let whole = |run: &RecordedRun| {
        let number = run.number;
        run.segments.iter().cloned().map(move |segment| Place { run: number, segment, skip: None }).collect::<Vec<_>>()
    };
    let one = plan.run.is_some() || plan.from.is_some() || plan.until.is_some() || plan.what_if.is_some();
    if !one {
        let places: Vec<_> = runs.all.iter().flat_map(whole).collect();
        if places.is_empty() {
            runs.choose(None, None)?;
        }
        return Ok((places, None));
    }
    let run = runs.choose(plan.run, plan.until)?;
    let records = run.records()?;
    if let Some(Until::Record(number)) = plan.until {
        runs.holds(run, number, records)?;
    }
    let wanted = match (plan.from, &plan.what_if) {
        (Some(from), _) => {
            if let Some(Until::Record(last)) = plan.until
                && last < from
            {
                let why = format!("the last record that is wanted, {last}, comes before the first, {from}");
                return Err(runs.no_such(Asked::Record, why));
            }
            runs.holds(run, from, records)?;
            Some(from)
        }
        // All that came before the first change is as it was.
        (None, Some(changes)) => Some(changes.begin().clamp(records.0, records.1)),
        (None, None) => None,
    };
    let mut places = whole(run);
    let from = match wanted {
        Some(number) => begin_at(&mut places, number)?,
        None => None,
    };
    if let Some(changes) = &plan.what_if {
        let last = match plan.until {
            Some(Until::Record(last)) => last,
            Some(Until::Mono(_) | Until::Wall(_)) | None => records.1,
        };
        changes.lie_within(from.unwrap_or(records.0), last).map_err(JournalError::Change)?;
    }
    Ok((places, from))
}

/// Leaves out what comes before the last mark that stands behind no later record than this one. Returns its record.
fn begin_at(places: &mut Vec<Place>, number: u64) -> Result<Option<u64>, JournalError> {
    for n in (0..places.len()).rev() {
        let place = &mut places[n];
        if seek::before_first(&place.segment)?.is_none_or(|first| first > number) {
            continue;
        }
        let Some(mark) = seek::mark_before(&place.segment, number)? else { continue };
        place.skip = Some(mark);
        places.drain(..n);
        return Ok(Some(mark.number));
    }
    Ok(None)
}
