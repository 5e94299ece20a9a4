//! The provider process, as one hierarchical machine (behaviour 10): off, alive, cooling.
//!
//! ```text
//! off      idle | parked
//! alive    adopting | starting | up (waiting | working) | ending (draining | terminating | killing)
//! cooling
//! ```
//!
//! What many states share stands once, in a superstate: `alive` knows what an exit means, `ending` knows the next
//! step of stopping. There are no entry or exit actions, so restoring a mark does nothing. What follows for the rest
//! of the core is said as a [`Happening`].

mod machine;
mod steps;

use serde::{Deserialize, Serialize};
use statig::prelude::*;

use crate::deadlines::TimerKey;
use crate::effect::Offers;
use crate::event::{ExitClass, ProcessRef};
use crate::ids::{Generation, Text};
use crate::restart::Window;
use crate::time::{Millis, Wall};
use machine::{Provider, State};

pub(crate) use machine::Cx;

/// What the machine hears.
#[derive(Debug)]
pub(crate) enum Input {
    /// Start the next generation: the first, or because somebody asked for it.
    Start,
    /// Take up the process that the run before left, which may still have these offers.
    Adopt(Offers),
    Spawned(ProcessRef),
    SpawnFailed(Text),
    Ready,
    Exited(ExitClass, Text),
    /// Whether a turn runs.
    Turn(bool),
    Stop(Stop),
    /// One of its own deadlines: `Stop`, `Start` or `Cooling`.
    Due(TimerKey),
}

impl Input {
    const fn name(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Adopt(_) => "adopt",
            Self::Spawned(_) => "spawned",
            Self::SpawnFailed(_) => "spawn failed",
            Self::Ready => "ready",
            Self::Exited(..) => "exited",
            Self::Turn(_) => "turn",
            Self::Stop(_) => "stop",
            Self::Due(_) => "deadline",
        }
    }
}

/// How the provider is to be stopped. The limits of the steps add up to the time-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stop {
    pub(crate) purpose: Purpose,
    /// Without asking: KILL at once.
    pub(crate) hard: bool,
    pub(crate) timeout: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// A new generation follows.
    Restart,
    /// Nothing follows.
    End,
}

/// What the rest of the core has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happening {
    /// The process of the run before was taken up, and has said what it knows.
    Adopted,
    /// The generation takes messages from now on.
    Up,
    Gone(Gone),
    /// All steps were taken and the process is still said to live.
    StopFailed,
}

/// A generation is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) generation: Generation,
    pub(crate) class: ExitClass,
    pub(crate) detail: Text,
    pub(crate) next: Next,
}

/// What follows the end of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It was asked to end.
    Off,
    /// The new generation is already being started.
    Respawning,
    Cooling,
    Parked,
    GaveUp,
    /// Interactive: the runner ends with it.
    RunnerEnds,
    /// The very first start failed.
    NeverStarted,
    /// It was to be taken up, and was gone already.
    NotAdopted,
}

/// The machine, and what others may know of it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Lifecycle {
    machine: StateMachine<Provider>,
}

/// By state and data: whether statig has entered the initial state yet says nothing, as there are no entry actions.
impl PartialEq for Lifecycle {
    fn eq(&self, other: &Self) -> bool {
        self.machine.state() == other.machine.state() && self.machine.inner() == other.machine.inner()
    }
}

impl Eq for Lifecycle {}

impl core::fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Lifecycle")
            .field("state", self.machine.state())
            .field("provider", self.machine.inner())
            .finish()
    }
}

impl Lifecycle {
    /// `left` is the process of the run before, where it can be taken up.
    pub(crate) fn new(generation: Generation, left: Option<ProcessRef>, window: Window, parked: Option<Text>) -> Self {
        let provider = Provider {
            generation,
            process: left,
            spawned_at: 0,
            first: true,
            stop: None,
            verdict: None,
            parked,
            limit_ends: None,
            limits_without_end: 0,
            window,
        };
        Self { machine: provider.state_machine() }
    }

    pub(crate) fn handle(&mut self, input: &Input, cx: &mut Cx<'_>) {
        self.machine.handle_with_context(input, cx);
    }

    fn provider(&self) -> &Provider {
        self.machine.inner()
    }

    /// The generation that is alive or was last; 0 before the first.
    pub(crate) fn generation(&self) -> Generation {
        self.provider().generation
    }

    pub(crate) fn process(&self) -> Option<&ProcessRef> {
        self.provider().process.as_ref()
    }

    pub(crate) fn window(&self) -> &Window {
        &self.provider().window
    }

    pub(crate) fn parked(&self) -> Option<&Text> {
        self.provider().parked.as_ref()
    }

    /// The run before left a process, and nobody has looked after it yet.
    pub(crate) fn is_to_adopt(&self) -> bool {
        self.is_off() && self.provider().process.is_some()
    }

    pub(crate) fn is_adopting(&self) -> bool {
        matches!(self.machine.state(), State::Adopting {})
    }

    /// No generation was started by this process yet.
    pub(crate) fn never_started(&self) -> bool {
        self.provider().first && matches!(self.machine.state(), State::Idle {})
    }

    /// The first process of this run is still to come up, and nothing speaks against it.
    pub(crate) fn is_first_awaited(&self) -> bool {
        self.provider().first
            && !self.is_parked()
            && matches!(self.machine.state(), State::Idle {} | State::Adopting {} | State::Starting {})
    }

    pub(crate) fn is_off(&self) -> bool {
        matches!(self.machine.state(), State::Idle {} | State::Parked {})
    }

    pub(crate) fn is_starting(&self) -> bool {
        matches!(self.machine.state(), State::Adopting {} | State::Starting {})
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.machine.state(), State::Waiting {} | State::Working {})
    }

    pub(crate) fn is_cooling(&self) -> bool {
        matches!(self.machine.state(), State::Cooling {})
    }

    /// The wall time at which a usage limit ends that is waited for: the machine may sleep over it.
    pub(crate) fn cooling_until(&self) -> Option<Wall> {
        self.provider().limit_ends.filter(|_| self.is_cooling())
    }

    /// A usage limit is waited for.
    pub(crate) fn is_at_a_limit(&self) -> bool {
        self.is_cooling() && (self.provider().limit_ends.is_some() || self.provider().limits_without_end > 0)
    }

    pub(crate) fn is_parked(&self) -> bool {
        self.provider().parked.is_some() && self.is_off()
    }

    /// There is a process, or there will be in a moment.
    pub(crate) fn is_alive(&self) -> bool {
        !self.is_off() && !self.is_cooling()
    }

    pub(crate) fn is_being_stopped(&self) -> bool {
        self.provider().stop.is_some()
    }

    pub(crate) fn is_restarting(&self) -> bool {
        self.provider().stop.is_some_and(|stop| stop.purpose == Purpose::Restart)
    }

    /// The state's name.
    pub(crate) fn name(&self) -> &'static str {
        match self.machine.state() {
            State::Idle {} if self.provider().parked.is_some() => "parked",
            State::Idle {} => "idle",
            State::Parked {} => "parked",
            State::Cooling {} => "cooling",
            State::Adopting {} => "adopting",
            State::Starting {} => "starting",
            State::Waiting {} => "waiting",
            State::Working {} => "working",
            State::Draining {} => "draining",
            State::Terminating {} => "terminating",
            State::Killing {} => "killing",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A replay holds the whole core against the one that was recorded.
    #[test]
    fn two_are_the_same_when_state_and_data_are() {
        let of = |generation| Lifecycle::new(Generation(generation), None, Window::default(), None);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        let printed = alloc::format!("{:?}", of(7));
        assert!(printed.contains("Idle") && printed.contains('7'), "{printed}");
    }
}
