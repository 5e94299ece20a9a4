//! The provider process, as one hierarchical machine (behaviour 10): off, alive, cooling.
//!
//! ```text
//! off      idle | parked
//! alive    starting | up (waiting | working) | ending (draining | terminating | killing)
//! cooling
//! ```
//!
//! What many states share stands once, in a superstate: `alive` knows what an exit means, `ending` knows the next
//! step of stopping. There are no entry or exit actions, so restoring a mark does nothing. What follows for the rest
//! of the core is said as a [`Happening`].

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use statig::prelude::*;

use crate::config::{Adapter, Config, Mode};
use crate::deadlines::{Deadlines, TimerKey};
use crate::effect::{Effect, Effects, StopStep};
use crate::event::{ExitClass, ProcessRef};
use crate::ids::{Generation, Text};
use crate::note::Note;
use crate::ops::{Op, Ops};
use crate::restart::{Verdict, Window};
use crate::time::{Millis, Mono, Stamp};

/// What the machine hears.
#[derive(Debug)]
pub(crate) enum Input {
    /// Start the next generation: the first, or because somebody asked for it.
    Start,
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
}

/// Data of the machine, beside its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Provider {
    generation: Generation,
    process: Option<ProcessRef>,
    spawned_at: Mono,
    /// No provider of this process has been up yet.
    first: bool,
    stop: Option<Stop>,
    /// What the exit is to count as, when the core itself brought it about.
    verdict: Option<ExitClass>,
    parked: Option<Text>,
    window: Window,
}

/// What a handler may touch.
#[derive(Debug)]
pub(crate) struct Cx<'a> {
    pub(crate) now: Stamp,
    pub(crate) config: &'a Config,
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
                context.deadlines.clear(TimerKey::Cooling);
                match stop.purpose {
                    Purpose::Restart => self.spawn(context),
                    Purpose::End => Transition(State::idle()),
                }
            }
            Input::Spawned(_)
            | Input::SpawnFailed(_)
            | Input::Ready
            | Input::Exited(..)
            | Input::Turn(_)
            | Input::Due(_) => Super,
        }
    }

    #[state(superstate = "alive")]
    fn starting(&mut self, event: &Input, context: &mut Cx<'_>) -> Outcome<State> {
        match event {
            Input::Ready => {
                self.first = false;
                context.deadlines.clear(TimerKey::Start);
                context.happened.push(Happening::Up);
                context.fx.note(Note::Up { generation: self.generation });
                Transition(State::waiting())
            }
            Input::Due(TimerKey::Start) => {
                self.verdict = Some(ExitClass::StartTimeout);
                self.begin_stop(
                    Stop { purpose: Purpose::Restart, hard: true, timeout: context.config.timing.shutdown },
                    context,
                )
            }
            Input::Start => Handled,
            Input::Spawned(_)
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
            Input::Spawned(_)
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
            Input::Due(TimerKey::Stop) => {
                self.take_step(StopStep::Terminate, context);
                Transition(State::terminating())
            }
            Input::Start
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
                let purpose = self.stop.map_or(stop.purpose, |before| before.purpose.max(stop.purpose));
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
            Input::Spawned(_) | Input::SpawnFailed(_) | Input::Exited(..) | Input::Due(_) => Super,
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
            Input::Start | Input::Ready | Input::Due(_) => Super,
        }
    }

    /// Nothing reaches this but what no state expects.
    #[superstate]
    fn root(event: &Input, context: &mut Cx<'_>) -> Outcome<State> {
        context.fx.note(Note::Unexpected { state: "provider", event: event.name() });
        Handled
    }
}

impl Provider {
    fn spawn(&mut self, cx: &mut Cx<'_>) -> Outcome<State> {
        self.generation = Generation(self.generation.0 + 1);
        self.process = None;
        self.spawned_at = cx.now.mono;
        self.stop = None;
        self.verdict = None;
        self.parked = None;
        let timing = &cx.config.timing;
        cx.deadlines.clear(TimerKey::Cooling);
        cx.deadlines.clear(TimerKey::Stop);
        cx.deadlines.arm(TimerKey::Start, cx.now.mono, timing.start_timeout);
        // The start time-out is what ends a start that hangs; the answer itself may take as long.
        let deadline = cx.now.mono.saturating_add(timing.start_timeout).saturating_add(timing.shutdown);
        let op = cx.ops.start(Op::Spawn(self.generation), deadline);
        cx.fx.push(Effect::Spawn { op, generation: self.generation });
        cx.fx.note(Note::Spawning { generation: self.generation });
        cx.fx.sync = true;
        Transition(State::starting())
    }

    fn begin_stop(&mut self, stop: Stop, cx: &mut Cx<'_>) -> Outcome<State> {
        self.stop = Some(stop);
        cx.deadlines.clear(TimerKey::Start);
        if stop.hard {
            self.take_step(StopStep::Kill, cx);
            return Transition(State::killing());
        }
        self.take_step(StopStep::Ask, cx);
        Transition(State::draining())
    }

    fn take_step(&mut self, step: StopStep, cx: &mut Cx<'_>) {
        let (timeout, hard) = self.stop.map_or((cx.config.timing.shutdown, true), |stop| (stop.timeout, stop.hard));
        let share = match step {
            StopStep::Ask => timeout / 2,
            StopStep::Kill if hard => timeout,
            StopStep::Terminate | StopStep::Kill => timeout / 4,
        };
        cx.deadlines.arm(TimerKey::Stop, cx.now.mono, share);
        cx.fx.push(Effect::Stop { generation: self.generation, step });
        let name = match step {
            StopStep::Ask => "asked to end",
            StopStep::Terminate => "TERM",
            StopStep::Kill => "KILL",
        };
        cx.fx.note(Note::Stopping { generation: self.generation, step: name });
    }

    fn exited(&mut self, class: ExitClass, detail: &Text, cx: &mut Cx<'_>) -> Outcome<State> {
        let class = self.verdict.take().unwrap_or(class);
        let asked = self.stop.take().filter(|_| class != ExitClass::StartTimeout);
        let lived = cx.now.mono.saturating_sub(self.spawned_at);
        let generation = self.generation;
        self.process = None;
        cx.deadlines.clear(TimerKey::Stop);
        cx.deadlines.clear(TimerKey::Start);
        cx.ops.forget_generation(generation);
        cx.fx.sync = true;
        cx.fx.note(Note::Exited { generation, class, detail: detail.clone() });

        let (next, outcome) = match asked.map(|stop| stop.purpose) {
            Some(Purpose::End) => (Next::Off, Transition(State::idle())),
            Some(Purpose::Restart) => (Next::Respawning, Handled),
            None => self.by_itself(class, lived, detail, cx),
        };
        cx.happened.push(Happening::Gone(Gone { generation, class, detail: detail.clone(), next }));
        if next == Next::Respawning { self.spawn(cx) } else { outcome }
    }

    /// Nobody asked for this exit.
    fn by_itself(&mut self, class: ExitClass, lived: Millis, detail: &Text, cx: &mut Cx<'_>) -> (Next, Outcome<State>) {
        let Config { mode, adapter: Adapter { restartable, .. }, timing, limits, .. } = cx.config;
        if *mode == Mode::Interactive {
            return (Next::RunnerEnds, Transition(State::idle()));
        }
        if class == ExitClass::SpawnFailed && self.first {
            return (Next::NeverStarted, Transition(State::idle()));
        }
        if class == ExitClass::Refused || !restartable {
            self.parked = Some(detail.clone());
            cx.fx.note(Note::Parked { why: detail.clone() });
            return (Next::Parked, Transition(State::parked()));
        }
        // An end of the limit that has passed already is no reason not to count the exit.
        if let ExitClass::UsageLimit { until: Some(until) } = class
            && until > cx.now.wall
        {
            let wait = (until - cx.now.wall).clamp(timing.restart_unit, timing.usage_limit_max);
            cx.deadlines.arm(TimerKey::Cooling, cx.now.mono, wait);
            cx.fx.note(Note::Cooling { wait, exits: self.window.exits().len() });
            return (Next::Cooling, Transition(State::cooling()));
        }
        match self.window.exited(cx.now.wall, lived, timing, limits) {
            Verdict::Cool { wait, exits } => {
                cx.deadlines.arm(TimerKey::Cooling, cx.now.mono, wait);
                cx.fx.note(Note::Cooling { wait, exits });
                (Next::Cooling, Transition(State::cooling()))
            }
            Verdict::GiveUp { exits } => {
                let why = alloc::format!("gave up after {exits} exits; the last: {detail}");
                self.parked = Some(why.as_str().into());
                cx.fx.note(Note::Parked { why: why.into() });
                (Next::GaveUp, Transition(State::parked()))
            }
        }
    }
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
    pub(crate) fn new(generation: Generation, window: Window, parked: Option<Text>) -> Self {
        let provider = Provider {
            generation,
            process: None,
            spawned_at: 0,
            first: true,
            stop: None,
            verdict: None,
            parked,
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

    /// No generation was started by this process yet.
    pub(crate) fn never_started(&self) -> bool {
        self.provider().first && matches!(self.machine.state(), State::Idle {})
    }

    pub(crate) fn is_off(&self) -> bool {
        matches!(self.machine.state(), State::Idle {} | State::Parked {})
    }

    pub(crate) fn is_starting(&self) -> bool {
        matches!(self.machine.state(), State::Starting {})
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.machine.state(), State::Waiting {} | State::Working {})
    }

    pub(crate) fn is_cooling(&self) -> bool {
        matches!(self.machine.state(), State::Cooling {})
    }

    pub(crate) fn is_parked(&self) -> bool {
        self.provider().parked.is_some() && self.is_off()
    }

    /// There is a process, or there will be in a moment.
    pub(crate) fn is_alive(&self) -> bool {
        !self.is_off() && !self.is_cooling()
    }

    pub(crate) fn is_being_stopped(&self) -> bool {
        self.is_alive() && !self.is_up() && !self.is_starting()
    }

    pub(crate) fn is_restarting(&self) -> bool {
        self.is_being_stopped() && self.provider().stop.is_some_and(|stop| stop.purpose == Purpose::Restart)
    }

    /// The state's name.
    pub(crate) fn name(&self) -> &'static str {
        match self.machine.state() {
            State::Idle {} if self.provider().parked.is_some() => "parked",
            State::Idle {} => "idle",
            State::Parked {} => "parked",
            State::Cooling {} => "cooling",
            State::Starting {} => "starting",
            State::Waiting {} => "waiting",
            State::Working {} => "working",
            State::Draining {} => "draining",
            State::Terminating {} => "terminating",
            State::Killing {} => "killing",
        }
    }
}
