//! The machine itself: which state hears what.

use serde::{Deserialize, Serialize};
use statig::prelude::*;

use alloc::vec::Vec;

use super::{Happening, Input, Purpose, Stop};
use crate::config::Config;
use crate::deadlines::{Deadlines, TimerKey};
use crate::effect::{Effects, StopStep};
use crate::event::{ExitClass, ProcessRef};
use crate::ids::{Generation, Text};
use crate::mutant::Mutant;
use crate::note::Note;
use crate::ops::Ops;
use crate::restart::Window;
use crate::time::{Mono, Stamp, Wall};

/// Data of the machine, beside its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Provider {
    pub(super) generation: Generation,
    pub(super) process: Option<ProcessRef>,
    pub(super) spawned_at: Mono,
    /// No provider of this process has been up yet.
    pub(super) first: bool,
    pub(super) stop: Option<Stop>,
    /// What the exit is to count as, when the core itself brought it about.
    pub(super) verdict: Option<ExitClass>,
    pub(super) parked: Option<Text>,
    /// When the usage limit ends that is waited for.
    pub(super) limit_ends: Option<Wall>,
    /// How often in a row it has met a usage limit whose end is not known, or has passed already.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) limits_without_end: u32,
    pub(super) window: Window,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
const fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// What a handler may touch.
#[derive(Debug)]
pub(crate) struct Cx<'a> {
    pub(crate) now: Stamp,
    pub(crate) config: &'a Config,
    /// The provider's own, which the next process goes on with.
    pub(crate) conversation: Option<&'a Text>,
    pub(crate) ops: &'a mut Ops,
    pub(crate) deadlines: &'a mut Deadlines,
    pub(crate) fx: &'a mut Effects,
    pub(crate) happened: &'a mut Vec<Happening>,
}

#[state_machine(
    initial = "State::idle()",
    state(derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)),
    superstate(derive(Debug))
)]
impl Provider {
    #[state(superstate = "off")]
    fn idle(event: &Input) -> Outcome<State> {
        let _ = event;
        Super
    }

    #[state(superstate = "off")]
    fn parked(event: &Input) -> Outcome<State> {
        let _ = event;
        Super
    }

    /// No process, and none is coming.
    #[superstate(superstate = "root")]
    fn off(&mut self, event: &Input, context: &mut Cx<'_>) -> Outcome<State> {
        match event {
            Input::Start => self.spawn(context),
            Input::Adopt(offers) => self.adopt(offers, context),
            Input::Stop(stop) if stop.purpose == Purpose::Restart => self.spawn(context),
            Input::Stop(_) => Handled,
            Input::Spawned(_)
            | Input::SpawnFailed(_)
            | Input::Ready
            | Input::Exited(..)
            | Input::Turn(_)
            | Input::Due(_) => Super,
        }
    }

    /// The wait before the next generation.
    #[state(superstate = "root")]
    fn cooling(&mut self, event: &Input, context: &mut Cx<'_>) -> Outcome<State> {
        match event {
            Input::Start | Input::Due(TimerKey::Cooling) => self.spawn(context),
            Input::Stop(stop) => {
                if !context.config.is_mutant(Mutant::SpawnsTwice) {
                    context.deadlines.clear(TimerKey::Cooling);
                }
                match stop.purpose {
                    Purpose::Restart => self.spawn(context),
                    Purpose::End => Transition(State::idle()),
                }
            }
            Input::Adopt(_)
            | Input::Spawned(_)
            | Input::SpawnFailed(_)
            | Input::Ready
            | Input::Exited(..)
            | Input::Turn(_)
            | Input::Due(_) => Super,
        }
    }

    /// The process of the run before is being taken up.
    #[state(superstate = "alive")]
    fn adopting(&mut self, event: &Input, context: &mut Cx<'_>) -> Outcome<State> {
        match event {
            Input::Ready => {
                context.happened.push(Happening::Adopted);
                self.came_up(context)
            }
            Input::SpawnFailed(detail) => self.not_adopted(detail, context),
            Input::Due(TimerKey::Start) => self.start_overdue(context),
            Input::Start => Handled,
            Input::Adopt(_)
            | Input::Spawned(_)
            | Input::Exited(..)
            | Input::Turn(_)
            | Input::Stop(_)
            | Input::Due(_) => Super,
        }
    }

    #[state(superstate = "alive")]
    fn starting(&mut self, event: &Input, context: &mut Cx<'_>) -> Outcome<State> {
        match event {
            Input::Ready => self.came_up(context),
            Input::Due(TimerKey::Start) => self.start_overdue(context),
            Input::Start => Handled,
            Input::Adopt(_)
            | Input::Spawned(_)
            | Input::SpawnFailed(_)
            | Input::Exited(..)
            | Input::Turn(_)
            | Input::Stop(_)
            | Input::Due(_) => Super,
        }
    }

    #[state(superstate = "up")]
    fn waiting(event: &Input) -> Outcome<State> {
        match event {
            Input::Turn(true) => Transition(State::working()),
            Input::Turn(false) => Handled,
            Input::Start
            | Input::Adopt(_)
            | Input::Spawned(_)
            | Input::SpawnFailed(_)
            | Input::Ready
            | Input::Exited(..)
            | Input::Stop(_)
            | Input::Due(_) => Super,
        }
    }

    #[state(superstate = "up")]
    fn working(event: &Input) -> Outcome<State> {
        match event {
            Input::Turn(false) => Transition(State::waiting()),
            Input::Turn(true) => Handled,
            Input::Start
            | Input::Adopt(_)
            | Input::Spawned(_)
            | Input::SpawnFailed(_)
            | Input::Ready
            | Input::Exited(..)
            | Input::Stop(_)
            | Input::Due(_) => Super,
        }
    }

    /// It takes messages.
    #[superstate(superstate = "alive")]
    fn up(event: &Input) -> Outcome<State> {
        match event {
            // Reported again, as by an adapter that reconnected.
            Input::Ready | Input::Start => Handled,
            Input::Adopt(_)
            | Input::Spawned(_)
            | Input::SpawnFailed(_)
            | Input::Exited(..)
            | Input::Turn(_)
            | Input::Stop(_)
            | Input::Due(_) => Super,
        }
    }

    /// Asked to end, in its own words.
    #[state(superstate = "ending")]
    fn draining(&mut self, event: &Input, context: &mut Cx<'_>) -> Outcome<State> {
        match event {
            Input::Due(TimerKey::Stop) if context.config.is_mutant(Mutant::NeverEscalates) => {
                self.take_step(StopStep::Ask, context);
                Handled
            }
            Input::Due(TimerKey::Stop) => {
                self.take_step(StopStep::Terminate, context);
                Transition(State::terminating())
            }
            Input::Start
            | Input::Adopt(_)
            | Input::Spawned(_)
            | Input::SpawnFailed(_)
            | Input::Ready
            | Input::Exited(..)
            | Input::Turn(_)
            | Input::Stop(_)
            | Input::Due(_) => Super,
        }
    }

    /// TERM was sent.
    #[state(superstate = "ending")]
    fn terminating(&mut self, event: &Input, context: &mut Cx<'_>) -> Outcome<State> {
        match event {
            Input::Due(TimerKey::Stop) => {
                self.take_step(StopStep::Kill, context);
                Transition(State::killing())
            }
            Input::Start
            | Input::Adopt(_)
            | Input::Spawned(_)
            | Input::SpawnFailed(_)
            | Input::Ready
            | Input::Exited(..)
            | Input::Turn(_)
            | Input::Stop(_)
            | Input::Due(_) => Super,
        }
    }

    /// KILL was sent. It is sent again for as long as the process is said to live.
    #[state(superstate = "ending")]
    fn killing(&mut self, event: &Input, context: &mut Cx<'_>) -> Outcome<State> {
        match event {
            Input::Due(TimerKey::Stop) => {
                context.happened.push(Happening::StopFailed);
                self.take_step(StopStep::Kill, context);
                Handled
            }
            Input::Start
            | Input::Adopt(_)
            | Input::Spawned(_)
            | Input::SpawnFailed(_)
            | Input::Ready
            | Input::Exited(..)
            | Input::Turn(_)
            | Input::Stop(_)
            | Input::Due(_) => Super,
        }
    }

    /// It is being stopped.
    #[superstate(superstate = "alive")]
    fn ending(&mut self, event: &Input, context: &mut Cx<'_>) -> Outcome<State> {
        match event {
            Input::Stop(stop) => {
                let mut purpose = self.stop.map_or(stop.purpose, |before| before.purpose.max(stop.purpose));
                if context.config.is_mutant(Mutant::RestartsInsteadOfEnding) {
                    purpose = self.stop.map_or(stop.purpose, |before| before.purpose);
                }
                self.stop = Some(Stop { purpose, ..*stop });
                // It no longer counts as a failed start: it is the end that was asked for.
                self.verdict = None;
                if stop.hard {
                    self.take_step(StopStep::Kill, context);
                    return Transition(State::killing());
                }
                // A shorter time-out takes effect from now on; a longer one does not buy time for a step that runs.
                let due = context.now.mono.saturating_add(stop.timeout / 4);
                if context.deadlines.get(TimerKey::Stop).is_none_or(|at| due < at) {
                    context.deadlines.set(TimerKey::Stop, Some(due.max(context.now.mono + 1)));
                }
                Handled
            }
            // A dying process may still say that it is up, or busy.
            Input::Ready | Input::Turn(_) | Input::Start => Handled,
            Input::Adopt(_) | Input::Spawned(_) | Input::SpawnFailed(_) | Input::Exited(..) | Input::Due(_) => Super,
        }
    }

    /// There is a process, or there will be in a moment.
    #[superstate(superstate = "root")]
    fn alive(&mut self, event: &Input, context: &mut Cx<'_>) -> Outcome<State> {
        match event {
            Input::Spawned(process) => {
                self.process = Some(process.clone());
                context.fx.sync = true;
                Handled
            }
            Input::Stop(stop) => self.begin_stop(*stop, context),
            Input::SpawnFailed(detail) => self.exited(ExitClass::SpawnFailed, detail, context),
            Input::Exited(class, detail) => self.exited(*class, detail, context),
            Input::Turn(_) => Handled,
            Input::Due(TimerKey::Cooling) if context.config.is_mutant(Mutant::SpawnsTwice) => self.spawn(context),
            Input::Start | Input::Adopt(_) | Input::Ready | Input::Due(_) => Super,
        }
    }

    /// Nothing reaches this but what no state expects.
    #[superstate]
    fn root(event: &Input, context: &mut Cx<'_>) -> Outcome<State> {
        context.fx.note(Note::Unexpected { state: "provider", event: event.name() });
        Handled
    }
}
