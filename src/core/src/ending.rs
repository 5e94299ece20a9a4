//! The end of a run: drain, stop the provider, settle with the relay, take leave, finish (behaviour 9, 10, 18).
//!
//! ```text
//! No -> Draining -> Stopping -> Reporting -> Leaving -> Over
//! ```

use serde::{Deserialize, Serialize};

use crate::Core;
use crate::deadlines::TimerKey;
use crate::effect::{Call, Effect, Effects, ExitCode};
use crate::event::OpResult;
use crate::flags::Flag;
use crate::ids::Text;
use crate::lifecycle::{Input, Purpose, Stop};
use crate::mutant::Mutant;
use crate::note::Note;
use crate::ops::Op;
use crate::time::{Millis, Mono};
use relay_runner_protocol::AgentStatus;

/// Why a run ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Why {
    Signal,
    Shutdown,
    Kill,
    /// Something that the run cannot do without failed.
    Fault(Text),
    GaveUp(Text),
    RelayUnreachable,
    CredentialRefused(Text),
    Superseded,
    /// Interactive: the runner ends with its provider.
    ProviderEnded,
    StepAside,
}

impl Why {
    const fn name(&self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Shutdown => "shutdown",
            Self::Kill => "kill",
            Self::Fault(_) => "fault",
            Self::GaveUp(_) => "gave up",
            Self::RelayUnreachable => "relay unreachable",
            Self::CredentialRefused(_) => "credential refused",
            Self::Superseded => "superseded",
            Self::ProviderEnded => "the provider ended",
            Self::StepAside => "step aside",
        }
    }

    pub(crate) fn detail(&self) -> Option<&Text> {
        match self {
            Self::Fault(text) | Self::GaveUp(text) | Self::CredentialRefused(text) => Some(text),
            Self::Signal
            | Self::Shutdown
            | Self::Kill
            | Self::RelayUnreachable
            | Self::Superseded
            | Self::ProviderEnded
            | Self::StepAside => None,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Phase {
    #[default]
    No,
    /// The running turn may end.
    Draining,
    /// The provider is being stopped.
    Stopping,
    /// The last reports are on their way.
    Reporting,
    /// The last word to the relay is on its way.
    Leaving,
    Over,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ending {
    phase: Phase,
    why: Option<Why>,
    code: Option<ExitCode>,
    timeout: Millis,
    /// When all of it has to be over.
    deadline: Mono,
    hard: bool,
    stop_failed: bool,
}

impl Ending {
    pub(crate) fn is_begun(&self) -> bool {
        self.phase > Phase::No
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.phase == Phase::Draining
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.phase >= Phase::Leaving
    }

    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    pub(crate) fn is_kill(&self) -> bool {
        self.is_begun() && self.hard
    }

    pub(crate) const fn why(&self) -> Option<&Why> {
        self.why.as_ref()
    }

    pub(crate) fn name(&self) -> Option<&'static str> {
        self.why.as_ref().map(Why::name)
    }

    pub(crate) const fn phase_name(&self) -> &'static str {
        match self.phase {
            Phase::No => "none",
            Phase::Draining => "draining",
            Phase::Stopping => "stopping",
            Phase::Reporting => "reporting",
            Phase::Leaving => "leaving",
            Phase::Over => "over",
        }
    }

    /// A superseded instance may still release what it holds, and nothing else.
    pub(crate) fn is_silent(&self, call: &Call) -> bool {
        match self.why {
            Some(Why::Superseded) => !matches!(call, Call::Release { .. }),
            _ => self.is_leaving(),
        }
    }
}

impl Core {
    /// Ends the run, stopping the provider gracefully. A second cause changes nothing.
    pub(crate) fn end(&mut self, why: Why, code: ExitCode, fx: &mut Effects) {
        let timeout = self.config.timing.shutdown;
        self.begin_end(why, code, false, timeout, fx);
    }

    pub(crate) fn end_by_command(&mut self, hard: bool, timeout: Millis, fx: &mut Effects) {
        let why = if hard { Why::Kill } else { Why::Shutdown };
        let instead = self.instead_of_stepping_aside(&why);
        if !self.ending.is_begun() {
            self.begin_end(why, ExitCode::Ok, hard, timeout, fx);
        } else if hard && !self.ending.hard && self.ending.phase <= Phase::Stopping {
            // One that was superseded stays so: the agent is not its own to delete.
            if !self.is_superseded() {
                self.ending.why = Some(why);
            }
            self.ending.hard = true;
            self.ending.timeout = timeout;
            self.begin_stopping(fx);
        } else if self.ending.phase == Phase::Draining {
            self.ending.timeout = timeout;
            self.begin_stopping(fx);
        } else if instead {
            self.ending.hard = hard;
            self.ending.timeout = timeout;
            self.begin_stopping(fx);
        } else if self.ending.phase == Phase::Stopping {
            if timeout < self.ending.timeout {
                self.ending.timeout = timeout;
                self.ending.deadline = self.ending.deadline.min(self.now.mono.saturating_add(timeout));
                let stop = Stop { purpose: Purpose::End, hard: self.ending.hard, timeout };
                self.lifecycle_input(&Input::Stop(stop), fx);
            }
        } else {
            // The provider is gone already.
            self.ends_are_done(self.ending.stop_failed, fx);
        }
    }

    /// The run ends for good after all: nothing is left for a next start. True when that has to be made up for.
    fn instead_of_stepping_aside(&mut self, why: &Why) -> bool {
        if !matches!(self.ending.why, Some(Why::StepAside)) || self.ending.is_over() {
            return false;
        }
        self.ending.why = Some(why.clone());
        self.ending.code = Some(ExitCode::Ok);
        self.ending.phase >= Phase::Reporting
    }

    /// A newer instance holds the agent: nothing more is said but releases, whatever end was under way.
    pub(crate) fn superseded(&mut self, fx: &mut Effects) {
        let aside = matches!(self.ending.why, Some(Why::StepAside));
        if self.ending.is_over() || self.is_superseded() {
            return;
        }
        if self.ending.is_leaving() && !aside {
            // Leave was taken; a last word that was refused so far is not said again about an agent that another holds.
            self.ending.why = Some(Why::Superseded);
            return;
        }
        self.close_link(fx);
        self.deadlines.clear(TimerKey::Liveness);
        self.deadlines.clear(TimerKey::Renewal);
        if self.ending.is_begun() {
            self.ending.why = Some(Why::Superseded);
            self.ending.code = Some(ExitCode::Superseded);
            if self.ending.phase >= Phase::Reporting && self.lifecycle.is_alive() && !self.ending.stop_failed {
                // It was to be left for the next start, which will not be ours.
                self.begin_stopping(fx);
            }
            self.drained(fx);
        } else {
            self.end(Why::Superseded, ExitCode::Superseded, fx);
        }
        for call in self.reports.iter().filter(|_| self.config.flags.has(Flag::BelievesLess)) {
            self.commands.owe(call);
        }
        self.reports.retain(|call| matches!(call, Call::Release { .. }));
        self.touched.reports = true;
    }

    pub(crate) fn is_superseded(&self) -> bool {
        matches!(self.ending.why, Some(Why::Superseded))
    }

    /// TERM: nothing new is offered, and the running turn may end; so may one that is about to begin.
    pub(crate) fn drain(&mut self, fx: &mut Effects) {
        self.drain_for(Why::Signal, ExitCode::Ok, fx);
    }

    /// USR2: the next start takes it all up again. A provider that cannot be taken up is drained and stopped, so that
    /// no turn is broken off for an upgrade.
    pub(crate) fn step_aside(&mut self, fx: &mut Effects) {
        if self.ending.is_begun() {
            return;
        }
        if self.leaves_the_provider() {
            self.end(Why::StepAside, ExitCode::Temporary, fx);
        } else {
            self.drain_for(Why::StepAside, ExitCode::Temporary, fx);
        }
    }

    /// The process can be taken up by the next start, and nobody has asked it to end.
    fn leaves_the_provider(&self) -> bool {
        let lives = self.lifecycle.process().is_some() && !self.lifecycle.is_being_stopped();
        // Without a journal the next start would not know of it.
        lives && self.config.adapter.adoptable && self.status.journal_broken().is_none()
    }

    fn drain_for(&mut self, why: Why, code: ExitCode, fx: &mut Effects) {
        let wait = self.config.timing.drain;
        let turn = self.turns.running().is_some() || self.deadlines.is_armed(TimerKey::TurnGrace);
        if !turn || wait == 0 || !self.lifecycle.is_up() {
            self.end(why, code, fx);
            return;
        }
        fx.note(Note::Ending { why: "draining" });
        self.ending.phase = Phase::Draining;
        self.ending.why = Some(why);
        self.ending.code = Some(code);
        self.ending.timeout = self.config.timing.shutdown;
        self.deadlines.arm(TimerKey::Drain, self.now.mono, wait);
    }

    /// The turn that the drain waited for is over.
    pub(crate) fn drained(&mut self, fx: &mut Effects) {
        if self.ending.phase == Phase::Draining {
            self.begin_stopping(fx);
        }
    }

    pub(crate) fn drain_over(&mut self, fx: &mut Effects) {
        if self.ending.phase == Phase::Draining {
            self.begin_stopping(fx);
        }
    }

    /// QUIT, or a second TERM: without asking.
    pub(crate) fn stop_now(&mut self, fx: &mut Effects) {
        let instead = self.instead_of_stepping_aside(&Why::Signal);
        if !self.ending.is_begun() {
            let timeout = self.config.timing.shutdown;
            self.begin_end(Why::Signal, ExitCode::Ok, true, timeout, fx);
        } else if instead || self.ending.phase <= Phase::Stopping && !self.ending.hard {
            self.ending.hard = true;
            self.begin_stopping(fx);
        } else if self.ending.phase == Phase::Reporting {
            // What the relay has not accepted by now is left to lapse.
            self.ending.deadline = self.now.mono;
            self.ending_over(fx);
        }
    }

    /// A part of the shell failed for good.
    pub(crate) fn fault(&mut self, what: Text, fx: &mut Effects) {
        self.end(Why::Fault(what), ExitCode::Failed, fx);
    }

    fn begin_end(&mut self, why: Why, code: ExitCode, hard: bool, timeout: Millis, fx: &mut Effects) {
        if self.ending.is_begun() {
            return;
        }
        fx.note(Note::Ending { why: why.name() });
        self.ending = Ending { why: Some(why), code: Some(code), timeout, hard, ..Ending::default() };
        self.begin_stopping(fx);
    }

    fn begin_stopping(&mut self, fx: &mut Effects) {
        self.ending.phase = Phase::Stopping;
        self.ending.deadline = self.now.mono.saturating_add(self.ending.timeout);
        for key in
            [TimerKey::Drain, TimerKey::StartWithoutRelay, TimerKey::FailFast, TimerKey::FirstPrompt, TimerKey::Inbox]
        {
            self.deadlines.clear(key);
        }
        self.fail_restarts(&"superseded by a shutdown".into(), fx);
        if matches!(self.ending.why, Some(Why::StepAside)) && self.leaves_the_provider() {
            self.begin_reporting(fx);
            return;
        }
        self.timeline("shutting-down");
        // One that the run before left has to be taken up before it can be stopped.
        self.adopt_provider(fx);
        let stop = Stop { purpose: Purpose::End, hard: self.ending.hard, timeout: self.ending.timeout };
        self.lifecycle_input(&Input::Stop(stop), fx);
        self.stopped(fx);
    }

    /// Called when the provider may be gone: if the end waited for that, it goes on.
    pub(crate) fn stopped(&mut self, fx: &mut Effects) {
        if self.ending.phase == Phase::Stopping && (self.lifecycle.is_off() || self.ending.stop_failed) {
            self.begin_reporting(fx);
        }
    }

    /// Every step of stopping was taken, and the process is said to live. The runner ends all the same.
    pub(crate) fn stop_failed(&mut self, fx: &mut Effects) {
        if self.ending.phase == Phase::Stopping {
            self.ending.stop_failed = true;
            self.deadlines.clear(TimerKey::Stop);
            self.turn_of_the_dead();
            self.deliveries_of_the_dead(fx);
            self.approvals_of_the_dead(fx);
            self.adapter_died("the provider did not end within the time-out", fx);
            self.stopped(fx);
        } else {
            self.fail_restarts(&"the provider did not end within the time-out".into(), fx);
        }
    }

    fn begin_reporting(&mut self, fx: &mut Effects) {
        self.ending.phase = Phase::Reporting;
        if !matches!(self.ending.why, Some(Why::StepAside)) {
            self.release_claims(fx);
        }
        self.adapter_died("the runner is shutting down", fx);
        self.ends_are_done(self.ending.stop_failed, fx);
        let least = self.now.mono.saturating_add(self.config.timing.final_reports);
        self.ending.deadline = self.ending.deadline.max(least);
        self.deadlines.set(TimerKey::Ending, Some(self.ending.deadline));
        self.touched.reports = true;
    }

    /// Called at the end of every step.
    pub(crate) fn advance_ending(&mut self, fx: &mut Effects) {
        if self.ending.phase != Phase::Reporting {
            return;
        }
        // A claim that was asked for may have been granted: it is released once that is known.
        let asking = self.ops.any(|op| matches!(op, Op::Claim(_)));
        if (self.reports.is_empty() && !asking) || self.link.epoch.is_none() {
            self.leave(fx);
        }
    }

    /// The last word: shutdown, kill and signals delete the agent; giving up and stepping aside leave it offline.
    fn leave(&mut self, fx: &mut Effects) {
        self.ending.phase = Phase::Leaving;
        let least = self.now.mono.saturating_add(self.config.timing.final_reports);
        self.ending.deadline = self.ending.deadline.max(least);
        self.deadlines.set(TimerKey::Ending, Some(self.ending.deadline));
        for key in [
            TimerKey::Liveness,
            TimerKey::Heartbeat,
            TimerKey::Renewal,
            TimerKey::Reports,
            TimerKey::Reconnect,
            TimerKey::StatusAck,
        ] {
            self.deadlines.clear(key);
        }
        if self.link.up().is_none() {
            self.close_link(fx);
        }
        self.say_farewell(fx);
    }

    /// Also called when it is time to say it again.
    pub(crate) fn say_farewell(&mut self, fx: &mut Effects) {
        let call = match (self.link.epoch, &self.ending.why) {
            (Some(_), Some(Why::Superseded)) if self.config.is_mutant(Mutant::DeletesWhatAnotherHolds) => {
                Some(Call::DeleteAgent)
            }
            (None, _) | (_, Some(Why::Superseded)) => None,
            (Some(_), Some(Why::GaveUp(_) | Why::StepAside)) => {
                Some(Call::SetStatus { status: AgentStatus::Offline, seq: self.status.next_seq() })
            }
            (Some(_), _) => Some(Call::DeleteAgent),
        };
        match call {
            Some(call) => {
                self.http(Op::Farewell, call, self.config.timing.call_deadline, fx);
            }
            None => self.finish(fx),
        }
    }

    /// What could not be said is said again, within the time that is left.
    pub(crate) fn farewell_answered(&mut self, result: &OpResult, fx: &mut Effects) {
        if self.ending.phase != Phase::Leaving {
            return;
        }
        match result {
            OpResult::Failed(failure) if !failure.kind.is_final() => {
                let again = self.now.mono.saturating_add(self.config.timing.report_retry_min.max(1));
                if again < self.ending.deadline {
                    self.deadlines.set(TimerKey::Reports, Some(again));
                } else {
                    self.finish(fx);
                }
            }
            _ => self.finish(fx),
        }
    }

    pub(crate) fn ending_over(&mut self, fx: &mut Effects) {
        match self.ending.phase {
            Phase::Reporting => self.leave(fx),
            Phase::Leaving => self.finish(fx),
            Phase::No | Phase::Draining | Phase::Stopping | Phase::Over => {}
        }
    }

    /// Nothing is armed and nothing is sent after this.
    fn finish(&mut self, fx: &mut Effects) {
        self.close_link(fx);
        self.ending.phase = Phase::Over;
        self.deadlines.clear_all();
        self.ops.clear();
        fx.sync = true;
        fx.push(Effect::Finish { code: self.ending.code.unwrap_or(ExitCode::Ok) });
    }
}
