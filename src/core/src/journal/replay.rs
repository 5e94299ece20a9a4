//! Running a journal again.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::fmt;

use super::line::{Damage, Line, Reader, Start};
use crate::Core;
use crate::effect::Effects;
use crate::event::Event;
use crate::time::Stamp;

/// Runs the core over recorded events. Memory is constant. Strictly, unless it was made [lenient](Replay::lenient): it
/// stops at the first difference between today's decisions and the recorded ones.
#[derive(Debug, Default)]
pub struct Replay {
    lenient: bool,
    differences: u64,
    reader: Reader,
    core: Option<Box<Core>>,
    fx: Effects,
    /// Today's effects of the last step, as canonical text.
    effects: String,
    /// The last record that was stepped.
    last: Option<(u64, Stamp, Event)>,
    lines: u64,
    events: u64,
}

/// Where today's core departs from the recorded one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Line of the journal, counted from 1, of the event whose effects differ.
    pub line: u64,
    /// Number of that event; 0 when a mark differs from the start.
    pub number: u64,
    pub at: Stamp,
    pub event: Option<Box<Event>>,
    pub recorded: String,
    pub today: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayError {
    /// Line, counted from 1.
    Damaged(u64, Damage),
    Differs(Box<Difference>),
    /// The journal ends before its first event, or has no line at all.
    Empty,
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(line, damage) => write!(f, "line {line}: {damage}"),
            Self::Empty => f.write_str("the journal is empty"),
            Self::Differs(d) => {
                writeln!(
                    f,
                    "line {}: event {} at {} ms is followed by other effects today",
                    d.line, d.number, d.at.mono
                )?;
                if let Some(event) = &d.event {
                    writeln!(f, "  event:    {event:?}")?;
                }
                writeln!(f, "  recorded: {}", if d.recorded.is_empty() { "(nothing)" } else { &d.recorded })?;
                write!(f, "  today:    {}", if d.today.is_empty() { "(nothing)" } else { &d.today })
            }
        }
    }
}

impl core::error::Error for ReplayError {}

impl Replay {
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts differences and goes on: for a journal of which only the outcome is wanted, and which another version of
    /// the program may have written. A mark is believed. Damage is an error all the same.
    #[must_use]
    pub fn lenient(self) -> Self {
        Self { lenient: true, ..self }
    }

    /// How often a lenient replay departed from what was recorded.
    pub const fn differences(&self) -> u64 {
        self.differences
    }

    /// Begins in the middle of a journal, at the mark behind a line with this chain hash.
    pub fn behind(chain: u64) -> Self {
        Self { reader: Reader::behind(chain), ..Self::default() }
    }

    /// Takes the next line of the journal, without its line end.
    pub fn line(&mut self, text: &str) -> Result<(), ReplayError> {
        self.lines += 1;
        let line = self.reader.read(text).map_err(|damage| ReplayError::Damaged(self.lines, damage))?;
        self.take(line)
    }

    /// Takes the next line, read before: for measuring the core without the parser.
    pub fn take(&mut self, line: Line) -> Result<(), ReplayError> {
        match line {
            Line::Header(header) => {
                if let Start::Facts(facts) = header.start {
                    self.core = Some(Box::new(Core::new(header.config, *facts, header.at)));
                    self.effects.clear();
                    self.last = None;
                }
                Ok(())
            }
            Line::Record { number, at, event, effects } => {
                self.compare(&effects)?;
                let Some(core) = &mut self.core else {
                    let why = "a continued segment begins with a mark".to_string();
                    return Err(ReplayError::Damaged(self.lines, Damage::OutOfOrder { why }));
                };
                self.fx.clear();
                core.step(at, event.clone(), &mut self.fx);
                self.effects.clear();
                self.fx.canonical(&mut self.effects);
                self.last = Some((number, at, event));
                self.events += 1;
                Ok(())
            }
            Line::Mark { effects, core, .. } => {
                if let Some(today) = &self.core {
                    let same = **today == *core;
                    self.compare(&effects)?;
                    if !same {
                        self.differs(|replay| {
                            let today = replay.core.as_ref().map(|today| today.to_mark()).unwrap_or_default();
                            replay.difference(core.to_mark(), today)
                        })?;
                    }
                } else {
                    self.effects = effects;
                }
                self.core = Some(core);
                Ok(())
            }
        }
    }

    /// The core after the last event.
    pub fn core(&self) -> Option<&Core> {
        self.core.as_deref()
    }

    pub fn into_core(self) -> Option<Core> {
        self.core.map(|core| *core)
    }

    /// What the last step asks for today.
    pub fn effects(&self) -> &Effects {
        &self.fx
    }

    /// The last event, with its number and time.
    pub fn last(&self) -> Option<&(u64, Stamp, Event)> {
        self.last.as_ref()
    }

    /// Events run so far.
    pub const fn events(&self) -> u64 {
        self.events
    }

    fn compare(&mut self, recorded: &str) -> Result<(), ReplayError> {
        if self.effects == recorded {
            return Ok(());
        }
        self.differs(|replay| replay.difference(recorded.to_string(), replay.effects.clone()))
    }

    fn differs(&mut self, error: impl FnOnce(&Self) -> ReplayError) -> Result<(), ReplayError> {
        if !self.lenient {
            return Err(error(self));
        }
        self.differences += 1;
        Ok(())
    }

    fn difference(&self, recorded: String, today: String) -> ReplayError {
        let (number, at, event) = match &self.last {
            Some((number, at, event)) => (*number, *at, Some(Box::new(event.clone()))),
            None => (0, Stamp::default(), None),
        };
        ReplayError::Differs(Box::new(Difference {
            line: self.lines.saturating_sub(1),
            number,
            at,
            event,
            recorded,
            today,
        }))
    }
}
