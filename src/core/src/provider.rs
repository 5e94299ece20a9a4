//! Between the lifecycle machine and the rest: its inputs, and what follows from what it says.

use crate::Core;
use crate::config::OnGiveUp;
use crate::deadlines::TimerKey;
use crate::effect::{Act, Answer, Effect, Effects, ExitCode};
use crate::ending::Why;
use crate::event::{ExitClass, FailureKind, OpResult, ProviderReport, StatusReport};
use crate::ids::{Generation, RequestId, Text, provider_session};
use crate::lifecycle::{Cx, Gone, Happening, Input, Next};
use crate::mutant::Mutant;
use crate::note::Note;
use crate::ops::Op;

impl Core {
    /// Feeds the machine, and lets the rest of the core hear what it says.
    pub(crate) fn lifecycle_input(&mut self, input: &Input, fx: &mut Effects) {
        let mut cx = Cx {
            now: self.now,
            config: &self.config,
            conversation: self.about.conversation.as_ref(),
            ops: &mut self.ops,
            deadlines: &mut self.deadlines,
            fx,
            happened: &mut self.happened,
        };
        self.lifecycle.handle(input, &mut cx);
        while let Some(happening) = (!self.happened.is_empty()).then(|| self.happened.remove(0)) {
            match happening {
                Happening::Adopted => self.adopted(fx),
                Happening::Up => self.provider_is_up(fx),
                Happening::Gone(gone) => self.provider_is_gone(&gone, fx),
                Happening::StopFailed => self.stop_failed(fx),
            }
        }
    }

    pub(crate) fn lifecycle_due(&mut self, key: TimerKey, fx: &mut Effects) {
        self.lifecycle_input(&Input::Due(key), fx);
    }

    /// A process was started, or taken up.
    pub(crate) fn spawn_answered(&mut self, result: OpResult, fx: &mut Effects) {
        match result {
            OpResult::Spawned(process) => {
                self.lifecycle_input(&Input::Spawned(process), fx);
                self.write_info(fx);
            }
            OpResult::Failed(failure) if failure.kind == FailureKind::TimedOut => {
                // Whether there is a process is not known; if none has shown itself by now, none is to be left.
                if self.lifecycle.is_starting() {
                    self.lifecycle_input(&Input::Due(TimerKey::Start), fx);
                }
            }
            OpResult::Failed(failure) => self.lifecycle_input(&Input::SpawnFailed(failure.text), fx),
            OpResult::Ok
            | OpResult::Said(_)
            | OpResult::Granted { .. }
            | OpResult::Refused { .. }
            | OpResult::Renewed { .. }
            | OpResult::Pruned
            | OpResult::Unread { .. }
            | OpResult::Owed { .. }
            | OpResult::Token { .. }
            | OpResult::Settings(_) => {
                fx.note(Note::Unexpected { state: "starting", event: "odd answer to a spawn" });
            }
        }
    }

    pub(crate) fn provider_report(&mut self, generation: Generation, report: ProviderReport, fx: &mut Effects) {
        let exit = matches!(report, ProviderReport::Exit(_));
        let late = exit && self.config.is_mutant(Mutant::BelievesLateExits);
        let dropped = exit && self.lifecycle.is_starting() && self.config.is_mutant(Mutant::DropsAnExitWhileStarting);
        if generation != self.lifecycle.generation() && !late || !self.lifecycle.is_alive() || dropped {
            fx.note(Note::Stale { what: "report of a provider", number: generation.0 });
            return;
        }
        match report {
            ProviderReport::Ready => self.lifecycle_input(&Input::Ready, fx),
            ProviderReport::Exit(exit) => self.lifecycle_input(&Input::Exited(exit.class, exit.detail), fx),
            ProviderReport::Status(report) => self.status_report(&report, fx),
            ProviderReport::Taken { offers, into_turn } => {
                self.taken(&offers, into_turn, fx);
                self.sign_of_life(fx);
            }
            ProviderReport::Missed { offers } => self.missed(&offers, fx),
            ProviderReport::SignOfLife => self.sign_of_life(fx),
            ProviderReport::ApprovalOpened(request) => self.approval_opened(*request, fx),
            ProviderReport::ApprovalClosed { id } => self.approval_answered_elsewhere(&id, fx),
            ProviderReport::Conversation { id } => self.conversation_is(id, fx),
            ProviderReport::Context(report) => self.context_is(report, fx),
            ProviderReport::Model { model, effort } => self.model_is(model, effort),
            ProviderReport::Malformed { reason } => {
                self.status.malformed += 1;
                fx.note(Note::Malformed { what: "line of the provider", reason });
            }
        }
    }

    /// A report that came by a hook: of the living session, or it changes nothing.
    pub(crate) fn hook_report(&mut self, request: RequestId, report: &StatusReport, fx: &mut Effects) {
        let answer = if self.is_of_living_session(report.session.as_deref(), report.pid.as_slice()) {
            self.status_report(report, fx);
            Answer::Busy(self.work.reasons().map(Text::from).collect())
        } else {
            fx.note(Note::Stale { what: "report of another session", number: 0 });
            Answer::Stale
        };
        fx.push(Effect::Answer { request, answer });
    }

    /// Whether a hook is of the process that is managed, and not of an older one, or of a copy that the agent runs
    /// itself.
    pub(crate) fn is_of_living_session(&self, session: Option<&str>, pids: &[u32]) -> bool {
        let living = provider_session(&self.run_id, self.lifecycle.generation());
        let late = self.config.is_mutant(Mutant::BelievesLateHooks);
        let fits = late || session == Some(living.as_str()) && self.lifecycle.is_alive();
        let nested = !self.config.is_mutant(Mutant::BelievesNestedProviders)
            && self.lifecycle.process().is_some_and(|process| !pids.is_empty() && !pids.contains(&process.pid));
        fits && !nested
    }

    pub(crate) fn probe(&mut self, fx: &mut Effects) {
        let generation = self.lifecycle.generation();
        if self.lifecycle.is_up() && !self.ops.any(|op| matches!(op, Op::Probe(_))) {
            let op = self.ops.start(Op::Probe(generation), self.after(self.config.timing.call_deadline));
            fx.push(Effect::Provider { op, generation, act: Act::Probe });
        }
    }

    fn provider_is_up(&mut self, fx: &mut Effects) {
        self.touched.inbox = true;
        self.timeline("provider-up");
        self.say_first_prompt(fx);
        self.restarted(fx);
        // A turn that was reported before the process said that it is up.
        if self.turns.current().is_some() {
            self.lifecycle_input(&Input::Turn(true), fx);
        }
    }

    fn provider_is_gone(&mut self, gone: &Gone, fx: &mut Effects) {
        self.about.process_is_gone(&self.config);
        self.turn_of_the_dead();
        self.deliveries_of_the_dead(fx);
        self.prompt_unheard();
        self.approvals_of_the_dead(fx);
        self.adapter_died(&alloc::format!("the provider process ended: {}", gone.detail), fx);
        self.nobody_to_tell();
        self.timeline("provider-exited");
        self.status.provider_exited(gone.detail.clone());
        match gone.next {
            Next::Off | Next::Respawning => {}
            Next::NotAdopted => self.start_instead(fx),
            // It ended while the runner steps aside: the next start begins a new one.
            Next::Cooling if self.ending.is_begun() => self.deadlines.clear(TimerKey::Cooling),
            Next::Cooling => self.restart_failed_for(gone.class, &gone.detail, fx),
            Next::Parked => {
                self.release_claims(fx);
                self.fail_restarts(&gone.detail, fx);
            }
            Next::GaveUp => {
                self.release_claims(fx);
                let why = self.lifecycle.parked().cloned().unwrap_or_else(|| gone.detail.clone());
                self.fail_restarts(&why, fx);
                if self.config.on_give_up == OnGiveUp::Exit {
                    self.end(Why::GaveUp(why), ExitCode::GaveUp, fx);
                }
            }
            Next::RunnerEnds => {
                self.fail_restarts(&gone.detail, fx);
                let code = if gone.class == ExitClass::Clean { ExitCode::Ok } else { ExitCode::Failed };
                self.end(Why::ProviderEnded, code, fx);
            }
            Next::NeverStarted => {
                self.fail_restarts(&gone.detail, fx);
                self.end(Why::Fault(gone.detail.clone()), ExitCode::Failed, fx);
            }
        }
        // A drain waits for a turn, and the turn is over.
        self.drained(fx);
        self.stopped(fx);
    }
}
