//! What a batch of runs has met: kinds of faults, classes of exits, hazards, and pairs of the machines' tables.
//!
//! Looking at a core closely costs time, so that only some of the runs are looked at closely: which, their seeds say.
//! Whoever looks changes nothing.

mod books;
pub mod hazards;
pub mod kinds;
mod look;
pub mod out_of_reach;
mod pairs;
mod step;
mod summary;

use std::collections::{BTreeMap, BTreeSet};

use relay_runner_core::event::ExitClass;
use relay_runner_core::machines::Pair;
use relay_runner_core::{Core, Effects, Event, Note, Stamp};

use crate::plan::What;
use crate::process::Process;
use books::{Books, Changes};
use look::Look;
use step::Step;
pub use summary::{Part, Summary};

/// One run in so many is looked at closely.
pub const ONE_IN: u64 = 8;
/// So many runs of a swarm, of which one in [`CLOSE_IN_STATED`] is looked at closely, meet every hazard, every kind of
/// fault and every class of exit.
pub const STATED: u64 = 1_000;
pub const CLOSE_IN_STATED: u64 = 1;

/// How often each thing was met.
#[derive(Debug)]
pub struct Coverage {
    pub kinds: BTreeMap<String, u64>,
    pub exits: BTreeMap<&'static str, u64>,
    /// Runs in which each occurred.
    pub hazards: BTreeMap<&'static str, u64>,
    pub pairs: BTreeMap<Pair, u64>,
    /// What a core did otherwise than its table: how often, and the first seed.
    pub odd: BTreeMap<String, (u64, u64)>,
    pub runs: u64,
    /// Those that were looked at closely.
    pub close_runs: u64,
    one_in: u64,
    close: bool,
    seed: u64,
    books: BTreeMap<usize, Books>,
    in_this_run: BTreeSet<&'static str>,
}

/// What was so before a step.
#[derive(Debug)]
pub(crate) struct Seen {
    who: usize,
    at: Stamp,
    event: Event,
    /// The process really lives.
    lives: bool,
    /// Of a core that has not heard anything.
    first: Option<Box<Look>>,
}

impl Seen {
    pub(crate) fn of(who: usize, at: Stamp, core: &Core, event: &Event, process: Option<&Process>) -> Self {
        let first = (*event == Event::Boot).then(|| Box::new(Look::at(core)));
        Self { who, at, event: event.clone(), lives: process.is_some_and(|process| process.alive), first }
    }
}

impl Default for Coverage {
    fn default() -> Self {
        Self::close(ONE_IN)
    }
}

impl Coverage {
    /// Looks closely at one run in so many.
    pub fn close(one_in: u64) -> Self {
        Self {
            kinds: BTreeMap::new(),
            exits: BTreeMap::new(),
            hazards: BTreeMap::new(),
            pairs: BTreeMap::new(),
            odd: BTreeMap::new(),
            runs: 0,
            close_runs: 0,
            one_in: one_in.max(1),
            close: false,
            seed: 0,
            books: BTreeMap::new(),
            in_this_run: BTreeSet::new(),
        }
    }

    /// Another run begins.
    pub(crate) fn begins(&mut self, seed: u64) {
        self.seed = seed;
        self.close = seed.is_multiple_of(self.one_in);
        self.runs += 1;
        self.close_runs += u64::from(self.close);
        self.books.clear();
        self.in_this_run.clear();
    }

    pub(crate) const fn looks_close(&self) -> bool {
        self.close
    }

    /// What the next process of this runner begins with is not what the last one knew.
    pub(crate) fn is_torn(&mut self, who: usize) {
        if let Some(books) = self.books.get_mut(&who) {
            books.torn = true;
        }
    }

    pub(crate) fn happened(&mut self, what: &What) {
        *self.kinds.entry(what.kind()).or_default() += 1;
    }

    /// The ends of processes that a core takes note of.
    pub(crate) fn hears(&mut self, fx: &Effects) {
        for note in &fx.notes {
            if let Note::Exited { class, .. } = note {
                *self.exits.entry(name_of(*class)).or_default() += 1;
            }
        }
    }

    pub(crate) fn sees(&mut self, seen: &Seen, core: &Core, fx: &Effects) {
        let mut books = self.books.remove(&seen.who).unwrap_or_default();
        let mut old = None;
        if let Some(first) = &seen.first {
            let next = books.begins(core);
            old = Some(std::mem::replace(&mut books, next));
            books.look = Some((**first).clone());
        }
        let Some(before) = books.look.take() else { return };
        let due = before.deadlines.iter().any(|(at, _)| *at <= seen.at.mono);
        if seen.event == Event::Wake && !due && fx.notes.is_empty() && fx.effects.is_empty() {
            // Too early: nothing happens.
            books.look = Some(before);
            self.books.insert(seen.who, books);
            return;
        }
        let after = Look::at(core);
        let step = Step::new((seen.at, &seen.event), (&before, &after), fx, core, &books, seen.lives);
        let met = pairs::met(&step);
        for name in hazards::met(&step) {
            if self.in_this_run.insert(name) {
                *self.hazards.entry(name).or_default() += 1;
            }
        }
        let changes = Changes::of(&step);
        self.count(met);
        books.look = Some(before);
        books.goes_on(&changes, after);
        if let Some(old) = old
            && !old.torn
            && let (Some(before), Some(after)) = (&old.look, &books.look)
        {
            let met = pairs::restarted((&old, before), (&books, after));
            self.count(met);
        }
        self.books.insert(seen.who, books);
    }

    fn count(&mut self, met: pairs::Met) {
        for pair in met.pairs {
            *self.pairs.entry(pair).or_default() += 1;
        }
        for odd in met.odd {
            self.odd.entry(odd).or_insert((0, self.seed)).0 += 1;
        }
    }
}

const fn name_of(class: ExitClass) -> &'static str {
    match class {
        ExitClass::Clean => "clean",
        ExitClass::Crash => "crash",
        ExitClass::Signal => "signal",
        ExitClass::Hang => "hang",
        ExitClass::StartTimeout => "start time-out",
        ExitClass::SpawnFailed => "spawn failed",
        ExitClass::Refused => "refused",
        ExitClass::UsageLimit { .. } => "usage limit",
    }
}
