//! Running a journal again.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::difference::{Compared, Difference, Length, sides};
use super::line::{Damage, Line, Reader, Start};
use crate::Core;
use crate::effect::Effects;
use crate::event::Event;
use crate::time::Stamp;

/// Runs the core over recorded events. Memory is constant. Strictly, unless it was made [relaxed](Replay::relaxed): it
/// stops at the first difference between today's decisions and the recorded ones.
#[derive(Debug, Default)]
pub struct Replay {
    relaxed: Option<Relaxed>,
    reader: Reader,
    core: Option<Box<Core>>,
    fx: Effects,
    /// Today's effects of the last step, as canonical text.
    effects: String,
    /// Those effects were held against the record already: a mark seals them, and the next record does so again.
    compared: bool,
    /// The last record that was stepped, and its line.
    last: Option<(u64, Stamp, Event)>,
    last_line: u64,
    lines: u64,
    events: u64,
}

#[derive(Debug)]
struct Relaxed {
    /// This many differences are kept; all are counted.
    keep: usize,
    differences: u64,
    found: Vec<Difference>,
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
            Self::Differs(difference) => difference.fmt(f),
        }
    }
}

impl core::error::Error for ReplayError {}

impl Replay {
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts differences, keeps the first of them, and goes on: with today's core, which is fed the recorded events,
    /// the recorded answers among them. A mark is compared and not believed: from a recorded core on, what follows from
    /// the first difference would be hidden. Only a further run begins with the facts that are recorded for it. Damage is
    /// an error all the same.
    #[must_use]
    pub fn relaxed(self, keep: usize) -> Self {
        Self { relaxed: Some(Relaxed { keep, differences: 0, found: Vec::new() }), ..self }
    }

    /// How often a relaxed replay departed from what was recorded.
    pub fn differences(&self) -> u64 {
        self.relaxed.as_ref().map_or(0, |relaxed| relaxed.differences)
    }

    /// The first of them, as many as are kept.
    pub fn found(&self) -> &[Difference] {
        self.relaxed.as_ref().map_or(&[], |relaxed| &relaxed.found)
    }

    /// Begins in the middle of a segment that was written under this schema, at the mark behind a line with this chain
    /// hash.
    pub fn behind(chain: u64, schema: u32) -> Self {
        Self { reader: Reader::behind(chain, schema), ..Self::default() }
    }

    /// Goes on in the middle of the segment whose header was read last, at the mark behind a line with this chain hash.
    /// What was known is forgotten: the mark is believed.
    pub fn skip_behind(&mut self, chain: u64) {
        self.reader.skip_behind(chain);
        self.core = None;
        self.last = None;
    }

    /// Takes the next line of the journal, without its line end.
    pub fn line(&mut self, text: &str) -> Result<(), ReplayError> {
        let line = self.read(text)?;
        self.take(line)
    }

    /// Reads the next line, to be [taken](Self::take) then.
    pub fn read(&mut self, text: &str) -> Result<Line, ReplayError> {
        self.lines += 1;
        self.reader.read(text).map_err(|damage| ReplayError::Damaged(self.lines, damage))
    }

    /// Takes the next line, read before.
    pub fn take(&mut self, line: Line) -> Result<(), ReplayError> {
        match line {
            Line::Header(header) => {
                if let Start::Facts(facts) = header.start {
                    self.core = Some(Box::new(Core::new(header.config, *facts, header.at)));
                    self.fx.clear();
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
                self.compared = false;
                self.last = Some((number, at, event));
                self.last_line = self.lines;
                self.events += 1;
                Ok(())
            }
            Line::Mark { effects, core, .. } => {
                if self.core.is_none() {
                    self.effects = effects;
                    self.core = Some(core);
                    return Ok(());
                }
                self.compare(&effects)?;
                self.compare_with(&core)
            }
        }
    }

    /// Holds the effects of the last event against those that this line seals, without taking the line: for a replay
    /// that ends before it.
    pub fn seal(&mut self, line: &Line) -> Result<(), ReplayError> {
        match line {
            Line::Header(_) => Ok(()),
            Line::Record { effects, .. } | Line::Mark { effects, .. } => self.compare(effects),
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

    /// The same, as canonical text.
    pub fn effects_text(&self) -> &str {
        &self.effects
    }

    /// The last event, with its number and time.
    pub fn last(&self) -> Option<&(u64, Stamp, Event)> {
        self.last.as_ref()
    }

    /// Lines read so far.
    pub const fn lines(&self) -> u64 {
        self.lines
    }

    /// Events run so far.
    pub const fn events(&self) -> u64 {
        self.events
    }

    fn compare(&mut self, recorded: &str) -> Result<(), ReplayError> {
        if self.effects == recorded || (self.compared && self.relaxed.is_some()) {
            return Ok(());
        }
        self.compared = true;
        let today = core::mem::take(&mut self.effects);
        let differs = self.differs(Compared::Effects, || (recorded.to_string(), today.clone()));
        self.effects = today;
        differs
    }

    fn compare_with(&mut self, recorded: &Core) -> Result<(), ReplayError> {
        self.compared = true;
        let Some(today) = self.core.take() else { return Ok(()) };
        let differs = if *today == *recorded {
            Ok(())
        } else {
            self.differs(Compared::Core, || (recorded.to_mark(), today.to_mark()))
        };
        self.core = Some(today);
        differs
    }

    fn differs(&mut self, what: Compared, both: impl FnOnce() -> (String, String)) -> Result<(), ReplayError> {
        if let Some(relaxed) = &mut self.relaxed {
            relaxed.differences += 1;
            if relaxed.found.len() >= relaxed.keep {
                return Ok(());
            }
        }
        let (recorded, today) = both();
        let length = if self.relaxed.is_some() { Length::Brief } else { Length::Full };
        let (recorded, today) = sides(&recorded, &today, length);
        let (number, at, event) = match &self.last {
            Some((number, at, event)) => (*number, *at, Some(Box::new(event.clone()))),
            None => (0, Stamp::default(), None),
        };
        let difference = Difference { line: self.last_line, number, at, event, what, recorded, today };
        match &mut self.relaxed {
            Some(relaxed) => {
                relaxed.found.push(difference);
                Ok(())
            }
            None => Err(ReplayError::Differs(Box::new(difference))),
        }
    }
}
