//! What the machine does on its way: starting a generation, stopping one step by step, and what an exit means.

use alloc::borrow::Cow;
use statig::prelude::*;

use super::machine::{Cx, Provider, State};
use super::{Gone, Happening, Next, Purpose, Stop};
use crate::config::{Adapter, Config, Mode};
use crate::deadlines::TimerKey;
use crate::effect::{Effect, Offers, StopStep};
use crate::event::ExitClass;
use crate::flags::Flag;
use crate::ids::{Generation, OpId, Text};
use crate::mutant::Mutant;
use crate::note::Note;
use crate::ops::Op;
use crate::restart::{Verdict, retry_of_limit, within};
use crate::time::Millis;

/// A process is on its way. The start time-out is what ends a start that hangs; the answer itself may take as long.
fn begin(what: Op, cx: &mut Cx<'_>) -> OpId {
    let timing = &cx.config.timing;
    cx.deadlines.arm(TimerKey::Start, cx.now.mono, timing.start_timeout);
    let deadline = cx.now.mono.saturating_add(timing.start_timeout).saturating_add(timing.shutdown);
    cx.ops.start(what, deadline)
}

impl Provider {
    pub(super) fn spawn(&mut self, cx: &mut Cx<'_>) -> Outcome<State> {
        self.generation = Generation(self.generation.0 + 1);
        self.process = None;
        self.spawned_at = cx.now.mono;
        self.stop = None;
        self.verdict = None;
        self.parked = None;
        self.limit_ends = None;
        if !cx.config.is_mutant(Mutant::SpawnsTwice) {
            cx.deadlines.clear(TimerKey::Cooling);
        }
        cx.deadlines.clear(TimerKey::Stop);
        let op = begin(Op::Spawn(self.generation), cx);
        cx.fx.push(Effect::Spawn { op, generation: self.generation, resume: cx.conversation.cloned() });
        cx.fx.note(Note::Spawning { generation: self.generation });
        cx.fx.sync = true;
        Transition(State::Starting {})
    }

    /// Takes up the process of the run before. Its generation goes on.
    pub(super) fn adopt(&mut self, offers: &Offers, cx: &mut Cx<'_>) -> Outcome<State> {
        let Some(process) = self.process.clone() else { return Super };
        self.spawned_at = cx.now.mono;
        let (generation, offers) = (self.generation, offers.clone());
        let op = begin(Op::Adopt(generation), cx);
        cx.fx.push(Effect::Adopt { op, generation, process, offers, conversation: cx.conversation.cloned() });
        cx.fx.note(Note::Adopting { generation });
        Transition(State::Adopting {})
    }

    /// Nothing is left of it. Nobody saw how it ended, so it is not held against the provider.
    pub(super) fn not_adopted(&mut self, detail: &Text, cx: &mut Cx<'_>) -> Outcome<State> {
        let generation = self.generation;
        self.process = None;
        cx.deadlines.clear(TimerKey::Start);
        cx.ops.forget_generation(generation);
        cx.fx.sync = true;
        cx.fx.note(Note::Exited { generation, class: ExitClass::Crash, detail: detail.clone() });
        let gone = Gone { generation, class: ExitClass::Crash, detail: detail.clone(), next: Next::NotAdopted };
        cx.happened.push(Happening::Gone(gone));
        Transition(State::Idle {})
    }

    pub(super) fn came_up(&mut self, cx: &mut Cx<'_>) -> Outcome<State> {
        self.first = false;
        cx.deadlines.clear(TimerKey::Start);
        cx.happened.push(Happening::Up);
        cx.fx.note(Note::Up { generation: self.generation });
        Transition(State::Waiting {})
    }

    pub(super) fn start_overdue(&mut self, cx: &mut Cx<'_>) -> Outcome<State> {
        self.verdict = Some(ExitClass::StartTimeout);
        self.begin_stop(Stop { purpose: Purpose::Restart, hard: true, timeout: cx.config.timing.shutdown }, cx)
    }

    pub(super) fn begin_stop(&mut self, stop: Stop, cx: &mut Cx<'_>) -> Outcome<State> {
        self.stop = Some(stop);
        cx.deadlines.clear(TimerKey::Start);
        if stop.hard {
            self.take_step(StopStep::Kill, cx);
            return Transition(State::Killing {});
        }
        self.take_step(StopStep::Ask, cx);
        Transition(State::Draining {})
    }

    pub(super) fn take_step(&mut self, step: StopStep, cx: &mut Cx<'_>) {
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

    pub(super) fn exited(&mut self, class: ExitClass, detail: &Text, cx: &mut Cx<'_>) -> Outcome<State> {
        let verdict = self.verdict.take();
        let class = verdict.unwrap_or(class);
        // Such a stop was nobody's wish but our own.
        let asked = self.stop.take().filter(|_| verdict != Some(ExitClass::StartTimeout));
        let lived = cx.now.mono.saturating_sub(self.spawned_at);
        let generation = self.generation;
        self.process = None;
        cx.deadlines.clear(TimerKey::Stop);
        cx.deadlines.clear(TimerKey::Start);
        cx.ops.forget_generation(generation);
        cx.fx.sync = true;
        cx.fx.note(Note::Exited { generation, class, detail: detail.clone() });

        let (next, outcome) = match asked.map(|stop| stop.purpose) {
            Some(Purpose::End) => (Next::Off, Transition(State::Idle {})),
            Some(Purpose::Restart) => (Next::Respawning, Handled),
            None => self.by_itself(class, lived, detail, cx),
        };
        cx.happened.push(Happening::Gone(Gone { generation, class, detail: detail.clone(), next }));
        if next == Next::Respawning { self.spawn(cx) } else { outcome }
    }

    /// Nobody asked for this exit.
    fn by_itself(&mut self, class: ExitClass, lived: Millis, detail: &Text, cx: &mut Cx<'_>) -> (Next, Outcome<State>) {
        let Config { mode, adapter: Adapter { restartable, .. }, wait_for_usage_limit, timing, limits, .. } = cx.config;
        if *mode == Mode::Interactive {
            return (Next::RunnerEnds, Transition(State::Idle {}));
        }
        if class == ExitClass::SpawnFailed && self.first {
            return (Next::NeverStarted, Transition(State::Idle {}));
        }
        if class == ExitClass::Refused || !restartable {
            self.parked = Some(detail.clone());
            cx.fx.note(Note::Parked { why: detail.clone() });
            return (Next::Parked, Transition(State::Parked {}));
        }
        let limits_before = core::mem::take(&mut self.limits_without_end);
        let limit = match class {
            ExitClass::UsageLimit { until } if *wait_for_usage_limit => Some(until),
            _ => None,
        };
        let wait = match limit {
            Some(Some(until)) if until > cx.now.wall => {
                self.limit_ends = Some(until);
                Some(within(until - cx.now.wall, timing.restart_unit, timing.usage_limit_max))
            }
            // One that has passed already, as by another clock, says nothing.
            Some(_) if cx.config.flags.has(Flag::WaitsForLimitsWithoutEnd) => {
                // One that could work for a while has met another limit, or the next.
                let before = if lived < timing.restart_stable { limits_before } else { 0 };
                self.limits_without_end = before.saturating_add(1);
                Some(retry_of_limit(before, timing))
            }
            _ => None,
        };
        if let Some(wait) = wait {
            cx.deadlines.arm(TimerKey::Cooling, cx.now.mono, wait);
            cx.fx.note(Note::Cooling { wait, exits: self.window.exits().len() });
            return (Next::Cooling, Transition(State::Cooling {}));
        }
        let mut timing = Cow::Borrowed(timing);
        if cx.config.is_mutant(Mutant::NeverForgetsExits) {
            timing.to_mut().restart_window = Millis::MAX;
        }
        match self.window.exited(cx.now.wall, lived, &timing, limits) {
            Verdict::Cool { wait, exits } => {
                cx.deadlines.arm(TimerKey::Cooling, cx.now.mono, wait);
                cx.fx.note(Note::Cooling { wait, exits });
                (Next::Cooling, Transition(State::Cooling {}))
            }
            Verdict::GiveUp { exits } => {
                let why = alloc::format!("gave up after {exits} exits; the last: {detail}");
                self.parked = Some(why.as_str().into());
                cx.fx.note(Note::Parked { why: why.into() });
                (Next::GaveUp, Transition(State::Parked {}))
            }
        }
    }
}
