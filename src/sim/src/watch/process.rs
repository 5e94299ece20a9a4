//! One process at a time, no more often than is allowed, and stopped within its time (invariants 1, 9, 13).

use std::collections::BTreeMap;

use relay_runner_core::event::{ExitClass, FailureKind};
use relay_runner_core::{Act, ExitCode, Generation, OpId, Stamp, StopStep, Text};

use super::{Truth, Watched, wrong};

#[derive(Debug, Default)]
pub(super) struct Processes {
    /// The generation whose process may live, so far as the core can know.
    living: Option<Generation>,
    newest: Generation,
    spawning: BTreeMap<OpId, Generation>,
    up: bool,
    /// When it was told to end, and how hard.
    stopped: Option<(u64, StopStep)>,
    adopting: bool,
    spawned_at: u64,
    /// Exits by themselves: when, by the wall clock, which a restart of the runner does not set back.
    exits: Vec<u64>,
    last: Option<Exit>,
    /// The latest exit by the wall clock, which may have been set back since.
    latest: u64,
    /// It was set back before the last exit: which of them are within the window nobody knows.
    unsure: bool,
    /// Somebody asked for another process since.
    wanted: bool,
    /// And it was being stopped already.
    replaced: bool,
    class: Option<ExitClass>,
    /// None was up yet in this run.
    first: bool,
    /// The conversation that the runner heard of last: it is on the disk before anything follows from it.
    conversation: Option<Text>,
}

#[derive(Debug, Clone, Copy)]
struct Exit {
    at: u64,
    lived: u64,
    within_window: usize,
    refused: bool,
    waits: bool,
    killed_starting: bool,
}

/// The window in which exits are counted, and a pause for each of them.
const WINDOW: u64 = 120_000;
const UNIT: u64 = 500;
const MOST: u64 = 10_000;
/// How long a start may take.
const START: u64 = 60_000;
/// Stopping takes at most a minute, and one more for the limits that a command may set.
const STOP: u64 = 130_000;

impl Processes {
    pub(super) fn starts(&mut self, left: Option<Generation>) {
        let (newest, latest, exits) = (self.newest, self.latest, std::mem::take(&mut self.exits));
        let conversation = self.conversation.take();
        *self =
            Self { newest, latest, living: left, exits, conversation, wanted: true, first: true, ..Self::default() };
        self.last = None;
    }

    pub(super) fn is_fresh(&mut self) {
        self.newest = Generation(0);
        self.exits.clear();
        self.conversation = None;
    }

    pub(super) fn is_of(&self, generation: Generation) -> bool {
        self.living == Some(generation)
    }

    /// Whether this generation was started, or a later one.
    pub(super) fn has_started(&self, generation: Generation) -> bool {
        self.newest >= generation
    }

    pub(super) const fn generation(&self) -> Option<Generation> {
        self.living
    }

    pub(super) const fn is_up(&self) -> bool {
        self.up && self.stopped.is_none()
    }

    /// One that is being stopped does not come up any more, nor one whose time is over.
    pub(super) const fn ready(&mut self, at: Stamp) {
        self.adopting = false;
        if self.stopped.is_none() && at.mono < self.spawned_at + START {
            self.up = true;
            self.first = false;
        }
    }

    pub(super) fn is_in(&mut self, conversation: &Text) {
        self.conversation = Some(conversation.clone());
    }

    /// A process is given the conversation that is known, and no other.
    pub(super) fn resumes(&self, generation: Generation, given: Option<&Text>) -> Watched {
        if given != self.conversation.as_ref() {
            return wrong(9, format!("{generation} is to go on with {given:?}, not with {:?}", self.conversation));
        }
        Ok(())
    }

    pub(super) fn ordered(&mut self, name: &str) {
        if name == "agent.restart" {
            self.wanted = true;
            self.replaced |= self.stopped.is_some();
        }
    }

    pub(super) fn spawns(
        &mut self,
        at: Stamp,
        op: OpId,
        generation: Generation,
        exact: bool,
        truth: &Truth<'_>,
    ) -> Watched {
        if let Some(living) = self.living {
            return wrong(1, format!("{generation} is started while {living} may live"));
        }
        if let Some(process) = truth.process.filter(|process| process.alive) {
            return wrong(1, format!("{generation} is started while {} lives", process.generation));
        }
        if generation <= self.newest {
            return wrong(1, format!("{generation} is started again"));
        }
        if let Some(exit) = self.last.take()
            && !self.wanted
        {
            let waited = at.mono.saturating_sub(exit.at);
            let least = (UNIT * exit.within_window as u64).min(MOST);
            // The clock that this is measured by may have stood still.
            let at_least = match (exact, exit.waits) {
                (true, _) => least,
                (false, true) => 0,
                (false, false) => UNIT,
            };
            if waited < at_least {
                return wrong(9, format!("{generation} is started {waited} ms after the exit, not {least}"));
            }
            if exact && waited > least + 2_000 && !exit.waits {
                return wrong(9, format!("{generation} is started {waited} ms after the exit, not {least}"));
            }
        }
        self.wanted = false;
        self.replaced = false;
        self.living = Some(generation);
        self.newest = generation;
        self.up = false;
        self.stopped = None;
        self.spawned_at = at.mono;
        self.spawning.insert(op, generation);
        Ok(())
    }

    pub(super) fn adopts(&mut self, at: Stamp, op: OpId, generation: Generation) -> Watched {
        if self.living != Some(generation) || !self.spawning.is_empty() {
            return wrong(1, format!("{generation} is taken up, and {:?} lives", self.living));
        }
        self.spawning.insert(op, generation);
        self.spawned_at = at.mono;
        self.adopting = true;
        Ok(())
    }

    pub(super) fn answered(&mut self, at: Stamp, op: OpId, failure: Option<FailureKind>) {
        let Some(generation) = self.spawning.remove(&op) else { return };
        if self.living == Some(generation) && failure.is_some() {
            if self.adopting {
                self.wanted = true;
            }
            if failure == Some(FailureKind::TimedOut) {
                return;
            }
            self.exits(at, ExitClass::SpawnFailed, false);
        }
    }

    pub(super) fn stops(&mut self, at: Stamp, generation: Generation, step: StopStep) {
        if self.living == Some(generation) {
            let since = self.stopped.map_or(at.mono, |(since, _)| since);
            self.stopped = Some((since, step));
        }
    }

    pub(super) fn exits(&mut self, at: Stamp, class: ExitClass, going_down: bool) {
        self.living = None;
        self.spawning.clear();
        let (up, told) = (self.up, self.stopped.take());
        self.up = false;
        self.class = Some(class);
        self.adopting = false;
        // Told to end because it did not get up in time: that is a failed start.
        let overdue = |(since, _)| since >= self.spawned_at + START;
        // A restart that was asked for meanwhile makes it one that is not held against the provider.
        let killed_starting = told.is_some_and(overdue) && !up && !going_down && !self.replaced;
        if told.is_some() && !killed_starting {
            return;
        }
        // Its own verdict is the runner's, whatever the process says of itself.
        let class = if killed_starting { ExitClass::StartTimeout } else { class };
        self.class = Some(class);
        // What never came up at all ends the run, and is the caller's to try again.
        if class == ExitClass::SpawnFailed && self.first {
            return;
        }
        let waits = matches!(class, ExitClass::UsageLimit { .. });
        if !waits && class != ExitClass::Refused {
            self.exits.push(at.wall);
        }
        self.exits.retain(|exit| at.wall < exit + WINDOW);
        self.unsure = at.wall < self.latest;
        self.latest = self.latest.max(at.wall);
        let lived = at.mono.saturating_sub(self.spawned_at);
        let refused = class == ExitClass::Refused;
        let within_window = self.exits.len();
        self.last =
            Some(Exit { at: at.mono, lived, within_window, refused, waits: waits || killed_starting, killed_starting });
    }

    pub(super) fn may_act(&self, generation: Generation, act: &Act) -> Watched {
        if self.living != Some(generation) {
            return wrong(1, format!("{act} is asked of {generation}, which is gone"));
        }
        if matches!(act, Act::Offer { .. } | Act::Prompt) && self.stopped.is_some() {
            return wrong(2, format!("{act} is asked of {generation}, which is being stopped"));
        }
        Ok(())
    }

    pub(super) fn is_stopped_in_time(&self, at: Stamp) -> Watched {
        match self.stopped {
            Some((since, step)) if step < StopStep::Kill && at.mono > since + STOP => {
                wrong(13, format!("it was told to end {} ms ago, and not harder than {step:?}", at.mono - since))
            }
            _ => Ok(()),
        }
    }

    fn gives_up(&self) -> bool {
        self.class == Some(ExitClass::Refused)
            || self.last.is_none_or(|exit| {
                exit.refused || exit.killed_starting || (exit.within_window > 3 && exit.lived < 30_000)
            })
    }

    pub(super) fn waits_for_a_limit(&self) -> bool {
        self.living.is_none() && self.last.is_some_and(|exit| exit.waits && !exit.killed_starting)
    }

    pub(super) fn may_be_parked(&self, restartable: bool) -> bool {
        !restartable || self.unsure || self.gives_up()
    }

    pub(super) fn finishes(&self, at: Stamp, code: ExitCode, exact: bool, restartable: bool) -> Watched {
        if let Some(living) = self.living.filter(|_| self.stopped.is_none() && code != ExitCode::Temporary) {
            return wrong(1, format!("the run is over at {}, and nobody stopped {living}", at.mono));
        }
        // While the clock shows again what it showed before, old exits look like new ones.
        let exact = exact && at.wall >= self.latest;
        if code == ExitCode::GaveUp && exact && restartable && !self.gives_up() {
            return wrong(9, format!("given up after {:?}", self.last));
        }
        Ok(())
    }
}
