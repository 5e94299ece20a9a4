//! A recorded run with something changed in it, beside the run as it was.
//!
//! From the first change on there are two cores: one is fed what is recorded, the other what is recorded with the
//! changes. Both are today's, so whatever they differ in comes from the changes.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::changes::{Change, ChangeError, Changes};
use super::difference::{Length, sides};
use super::line::{Line, Start};
use super::replay::{Replay, ReplayError};
use crate::Core;
use crate::effect::Effects;
use crate::event::Event;
use crate::time::{Millis, Stamp};

/// A core is woken where it wants to be and the record has nothing for so long: the recorded one had no such deadline.
/// Anything shorter is the lateness of a real clock, and the recorded event fires the deadline.
const LATE: Millis = 100;

#[derive(Debug)]
pub struct WhatIf {
    changes: Changes,
    /// From the first change on.
    core: Option<Box<Core>>,
    fx: Effects,
    effects: String,
    /// The record before, and its time.
    before: (u64, Stamp),
    woken: u64,
    keep: usize,
    departures: u64,
    found: Vec<Departure>,
}

/// An event after which the changed run asks for something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// Line, counted as a [`Difference`](super::Difference)'s: of the record, or of the one before what was put in.
    pub line: u64,
    /// Number of that record.
    pub number: u64,
    pub at: Stamp,
    pub how: How,
    pub event: Option<Box<Event>>,
    /// What followed from the record as it was.
    pub recorded: String,
    /// What follows now.
    pub instead: String,
}

/// What the event of a departure is to the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Recorded,
    Changed,
    Dropped,
    Inserted,
    /// A deadline of the changed run, at a time when the recorded one had none.
    Woken,
}

impl How {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Changed => "changed",
            Self::Dropped => "dropped",
            Self::Inserted => "inserted",
            Self::Woken => "woken",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhatIfError {
    Replay(ReplayError),
    Change(ChangeError),
}

impl fmt::Display for WhatIfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replay(error) => error.fmt(f),
            Self::Change(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for WhatIfError {}

impl From<ReplayError> for WhatIfError {
    fn from(error: ReplayError) -> Self {
        Self::Replay(error)
    }
}

impl From<ChangeError> for WhatIfError {
    fn from(error: ChangeError) -> Self {
        Self::Change(error)
    }
}

impl WhatIf {
    /// Changes to one run. The first `keep` departures are kept; all are counted.
    pub fn new(changes: Changes, keep: usize) -> Self {
        Self {
            changes,
            core: None,
            fx: Effects::new(),
            effects: String::new(),
            before: (0, Stamp::default()),
            woken: 0,
            keep,
            departures: 0,
            found: Vec::new(),
        }
    }

    /// Has the replay take its next line, and does with the changed run what is to be done.
    pub fn take(&mut self, replay: &mut Replay, line: Line) -> Result<(), WhatIfError> {
        let (number, at, event) = match &line {
            Line::Header(header) => {
                if matches!(header.start, Start::Facts(_)) {
                    self.before = (0, header.at);
                }
                return Ok(replay.take(line)?);
            }
            Line::Mark { number, .. } => {
                let number = *number;
                replay.take(line)?;
                if self.before.0 != number {
                    self.before = (number, replay.core().map(Core::now).unwrap_or_default());
                }
                return Ok(());
            }
            Line::Record { number, at, event, .. } => (*number, *at, event),
        };
        self.insert(replay, Some(at))?;
        self.before = (number, at);
        let change = self.changes.instead(number);
        if change.is_none() && self.core.is_none() {
            return Ok(replay.take(line)?);
        }
        self.part(replay);
        self.wake(replay.lines().saturating_sub(1), number, at);
        let (how, event) = match change {
            None => (How::Recorded, Some(event.clone())),
            Some(Change::Event(event)) => (How::Changed, Some(*event)),
            Some(Change::Drop) => (How::Dropped, None),
        };
        replay.take(line)?;
        self.effects.clear();
        if let Some(event) = &event {
            self.step(at, event.clone());
        }
        self.compare(replay.effects_text(), Departing { line: replay.lines(), number, at, how, event });
        Ok(())
    }

    /// The recorded run is over: what was to follow its last record happens now.
    pub fn end(&mut self, replay: &Replay) -> Result<(), ChangeError> {
        self.insert(replay, None)
    }

    /// The core of the changed run; none before the first change.
    pub fn core(&self) -> Option<&Core> {
        self.core.as_deref()
    }

    pub const fn departures(&self) -> u64 {
        self.departures
    }

    /// The first of them, as many as are kept.
    pub fn found(&self) -> &[Departure] {
        &self.found
    }

    /// How often the changed run was woken when the recorded one was not.
    pub const fn woken(&self) -> u64 {
        self.woken
    }

    /// What was put in behind the record before, up to the time of the next.
    fn insert(&mut self, replay: &Replay, next: Option<Stamp>) -> Result<(), ChangeError> {
        let (number, at) = self.before;
        let line = replay.lines().saturating_sub(u64::from(next.is_some()));
        for inserted in self.changes.behind(number) {
            if let Some(next) = next
                && at.mono.saturating_add(inserted.ms) > next.mono
            {
                let gap = next.mono.saturating_sub(at.mono);
                let why = format!(
                    "{} ms after record {number} is later than the next one, which came {gap} ms after it; put it after a later record",
                    inserted.ms
                );
                return Err(ChangeError { line: inserted.line, why });
            }
            let at = Stamp::new(at.mono.saturating_add(inserted.ms), at.wall.saturating_add(inserted.ms));
            self.part(replay);
            self.wake(line, number, at);
            self.effects.clear();
            self.step(at, inserted.event.clone());
            self.compare("", Departing { line, number, at, how: How::Inserted, event: Some(inserted.event) });
        }
        Ok(())
    }

    /// From here on there are two.
    fn part(&mut self, replay: &Replay) {
        if self.core.is_none() {
            self.core = replay.core().cloned().map(Box::new);
        }
    }

    /// Wakes the changed run where it wants to be woken well before this time.
    fn wake(&mut self, line: u64, number: u64, next: Stamp) {
        loop {
            let Some(core) = &self.core else { return };
            let now = core.now();
            let Some((due, _)) = core.next_deadline() else { return };
            if due <= now.mono || due.saturating_add(LATE) >= next.mono {
                return;
            }
            let at = Stamp::new(due, now.wall.saturating_add(due - now.mono));
            self.woken += 1;
            self.effects.clear();
            self.step(at, Event::Wake);
            self.compare("", Departing { line, number, at, how: How::Woken, event: Some(Event::Wake) });
        }
    }

    fn step(&mut self, at: Stamp, event: Event) {
        if let Some(core) = &mut self.core {
            self.fx.clear();
            core.step(at, event, &mut self.fx);
            self.fx.canonical(&mut self.effects);
        }
    }

    fn compare(&mut self, recorded: &str, departing: Departing) {
        if self.effects == recorded {
            return;
        }
        self.departures += 1;
        if self.found.len() >= self.keep {
            return;
        }
        let (recorded, instead) = sides(recorded, &self.effects, Length::Brief);
        let Departing { line, number, at, how, event } = departing;
        self.found.push(Departure { line, number, at, how, event: event.map(Box::new), recorded, instead });
    }
}

struct Departing {
    line: u64,
    number: u64,
    at: Stamp,
    how: How,
    event: Option<Event>,
}
