//! Sending what the relay must accept, until it has (behaviour 6).

use relay_runner_protocol::Stage;

use crate::Core;
use crate::backoff::doubling;
use crate::claims::Claim;
use crate::deadlines::TimerKey;
use crate::effect::{Call, Effect, Effects, Lane, Repeat};
use crate::event::{Failure, FailureKind, OpResult};
use crate::ids::{MessageId, OpId, Text};
use crate::mutant::Mutant;
use crate::note::Note;
use crate::ops::Op;
use crate::reports::{is_dispensable, is_only_a_stage};
use crate::time::{Millis, SECOND};

/// The shell keeps a call's deadline; the core waits this much longer before it stops waiting for the shell.
const GRACE: Millis = SECOND;
/// A stage is for whoever watches; it is not tried for ever.
const STAGE_TRIES: u32 = 4;

impl Core {
    /// A call of the relay's HTTP API whose answer is waited for.
    pub(crate) fn http(&mut self, kind: Op, call: Call, deadline: Millis, fx: &mut Effects) -> OpId {
        let op = self.ops.start(kind, self.now.mono.saturating_add(deadline).saturating_add(GRACE));
        fx.push(Effect::Http { op, key: op, epoch: self.link.epoch.unwrap_or(0), deadline, call });
        op
    }

    /// The same under an idempotency key of its own, so that a further try is known as the same request.
    pub(crate) fn http_keyed(&mut self, kind: Op, key: OpId, call: Call, deadline: Millis, fx: &mut Effects) -> OpId {
        let op = self.ops.start(kind, self.now.mono.saturating_add(deadline).saturating_add(GRACE));
        fx.push(Effect::Http { op, key, epoch: self.link.epoch.unwrap_or(0), deadline, call });
        op
    }

    /// Puts a report in line; it goes out at the end of the step.
    pub(crate) fn report(&mut self, call: Call, fx: &mut Effects) {
        if self.ending.is_silent(&call) {
            return;
        }
        if !self.reports.overtake(&call) {
            let key = self.ops.number();
            self.report_under(key, call, fx);
        }
    }

    /// The same under a key that is known already.
    pub(crate) fn report_under(&mut self, key: OpId, call: Call, fx: &mut Effects) {
        if self.reports.len() >= self.config.limits.reports {
            self.status.reports_dropped += 1;
            if !self.troubles.said("reports are full", self.now.mono, &self.config) {
                fx.note(Note::Full { what: "reports", dropped: self.status.reports_dropped });
            }
            if is_dispensable(&call) {
                return;
            }
            self.reports.make_room();
        }
        self.reports.push(key, call);
        self.touched.reports = true;
    }

    /// Sends the head of every lane that may be sent now.
    pub(crate) fn send_reports(&mut self, fx: &mut Effects) {
        let may_say = self.link.epoch.is_some() && !self.credential.calls_wait();
        if may_say {
            let most = self.config.limits.reports_under_way;
            while self.reports.under_way() < most
                && let Some(lane) = self.reports.first_due(self.now.mono)
            {
                self.send_head(&lane, fx);
            }
        }
        // When too many are under way, an answer is what goes on.
        let room = self.reports.under_way() < self.config.limits.reports_under_way;
        let next = self.reports.next_try().filter(|_| room && may_say);
        self.deadlines.set(TimerKey::Reports, next.map(|at| at.max(self.after(1))));
    }

    fn send_head(&mut self, lane: &Lane, fx: &mut Effects) {
        let now = self.now;
        let retry = self.after(self.config.timing.claim_retry.max(1));
        let Some(head) = self.reports.head(lane) else { return };
        let mut call = head.call.clone();
        let key = head.key;
        if let Call::Task { message, fence, .. } = &mut call {
            let lapsed_will_do = self.config.is_mutant(Mutant::ReportsUnderALapsedLease);
            let usable = |claim: &Claim| if lapsed_will_do { claim.fence } else { claim.valid(now) };
            match self.claims.get(*message).map(usable) {
                Some(Some(_)) if self.config.is_mutant(Mutant::ForgetsTheFence) => {}
                Some(Some(valid)) => *fence = Some(valid),
                // Nothing is reported under a lease that ended; a new grant sends it at once.
                Some(None) => {
                    head.not_before = retry;
                    return;
                }
                // Nor for a task whose claim is gone.
                None => {
                    self.report_is_over(lane, None, fx);
                    return;
                }
            }
        }
        let op = self.http_keyed(Op::Report(lane.clone()), key, call, self.config.timing.call_deadline, fx);
        self.reports.set_sent(lane, Some(op));
    }

    pub(crate) fn report_answered(&mut self, lane: &Lane, op: OpId, result: OpResult, fx: &mut Effects) {
        if self.reports.head(lane).is_none_or(|head| head.sent != Some(op)) {
            fx.note(Note::Stale { what: "report", number: op.0 });
            return;
        }
        self.touched.reports = true;
        match result {
            OpResult::Failed(failure) => self.report_failed(lane, &failure, fx),
            OpResult::Ok
            | OpResult::Said(_)
            | OpResult::Spawned(_)
            | OpResult::Granted { .. }
            | OpResult::Refused { .. }
            | OpResult::Renewed { .. }
            | OpResult::Pruned
            | OpResult::Unread { .. }
            | OpResult::Token { .. }
            | OpResult::Settings(_) => self.report_is_over(lane, Some(true), fx),
        }
    }

    fn report_failed(&mut self, lane: &Lane, failure: &Failure, fx: &mut Effects) {
        self.reports.set_sent(lane, None);
        let timing = &self.config.timing;
        let now = self.now.mono;
        let Some(head) = self.reports.head(lane) else { return };
        head.tries = head.tries.saturating_add(1);
        let wait = doubling(head.tries, timing.report_retry_min, timing.report_retry_max);
        let wait = match failure.kind {
            FailureKind::Busy { retry_after: Some(after) } => wait.max(after.min(timing.renew_max)),
            _ => wait,
        };
        head.not_before = now.saturating_add(wait);
        if let Call::Read { message } = head.call
            && self.config.is_mutant(Mutant::RedeliversWhenMarkingFails)
        {
            self.put_back(message, Repeat::First, 0, fx);
            return;
        }
        let stage_given_up = is_only_a_stage(&head.call) && head.tries >= STAGE_TRIES;
        let of_task = match &head.call {
            Call::Task { message, status, .. } => Some((*message, status.is_final())),
            _ => None,
        };
        let claimed = of_task.is_some_and(|(message, _)| self.claims.get(message).is_some());
        match (of_task, failure.kind) {
            // Another has the task.
            (Some((message, _)), FailureKind::Conflict) if claimed => {
                self.report_is_over(lane, None, fx);
                self.lose(message, fx);
            }
            // The lease has ended before its time: the report waits for a new grant.
            (Some((message, _)), FailureKind::Expired) if claimed => self.lapse(message, fx),
            (Some((message, true)), FailureKind::Invalid | FailureKind::NotFound) => {
                self.report_is_over(lane, None, fx);
                self.task_report_refused(message, &failure.text, fx);
            }
            (_, kind) if kind.is_final() || stage_given_up => self.report_is_over(lane, Some(false), fx),
            _ => {}
        }
    }

    /// The relay will never accept the end of a task: the message is listed with the reason, and not called settled.
    fn task_report_refused(&mut self, id: MessageId, why: &Text, fx: &mut Effects) {
        let why: Text = alloc::format!("the relay refused the report of its task: {why}").into();
        if self.inbox.update(id, |item| item.stage = Stage::SetAside).is_some() {
            self.silence(id);
            self.inbox.put_aside(id, why.clone(), self.config.limits.settled);
            self.say_stage(id, Stage::SetAside, Some(why), fx);
            self.claims.remove(id);
            self.touched.claims = true;
            self.forget_message(id, fx);
        }
    }

    /// Accepted, refused for good (`Some(false)`), or given up (`None`): the lane goes on, and what waited for it.
    fn report_is_over(&mut self, lane: &Lane, accepted: Option<bool>, fx: &mut Effects) {
        self.touched.reports = true;
        let Some(report) = self.reports.pop(lane) else { return };
        match report.call {
            Call::Task { task, message, status, .. } => {
                if accepted == Some(true) {
                    fx.note(Note::TaskReported { task, status: status.as_str() });
                }
                if status.is_final() && accepted.is_some() {
                    fx.sync = true;
                    self.task_has_ended(task, fx);
                }
                self.settle_message(message, fx);
            }
            Call::Read { message } => {
                fx.sync = true;
                let taken = self.inbox.get(message).is_some_and(|item| item.stage == Stage::Taken);
                if !taken {
                    self.settle_message(message, fx);
                }
            }
            Call::Command { status, .. } => fx.sync |= status.is_final(),
            // What was given back may be claimed again.
            Call::Release { .. } => self.touched.inbox = true,
            Call::Claim { .. }
            | Call::Renew { .. }
            | Call::Delivery { .. }
            | Call::SetStatus { .. }
            | Call::SetReady { .. }
            | Call::Heartbeat
            | Call::Unread { .. }
            | Call::DeleteAgent
            | Call::RenewToken { .. } => {}
        }
    }
}
