//! Sending what the relay must accept, until it has (behaviour 6).

use relay_runner_protocol::Stage;

use crate::Core;
use crate::backoff::doubling;
use crate::deadlines::TimerKey;
use crate::effect::{Call, Effect, Effects, Lane};
use crate::event::{FailureKind, OpResult};
use crate::ids::OpId;
use crate::note::Note;
use crate::ops::Op;
use crate::reports::is_only_a_stage;
use crate::time::{Millis, SECOND};

/// The shell keeps a call's deadline; the core waits this much longer before it stops waiting for the shell.
const GRACE: Millis = SECOND;

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
        if self.reports.len() >= self.config.limits.reports && is_only_a_stage(&call) {
            self.status.reports_dropped += 1;
            fx.note(Note::Full { what: "reports", dropped: self.status.reports_dropped });
            return;
        }
        if self.reports.overtake(&call) {
            return;
        }
        let key = self.ops.number();
        self.reports.push(key, call);
        self.touched.reports = true;
    }

    /// Sends the head of every lane that may be sent now.
    pub(crate) fn send_reports(&mut self, fx: &mut Effects) {
        if self.link.epoch.is_some() {
            while let Some(lane) = self.reports.first_due(self.now.mono) {
                self.send_head(&lane, fx);
            }
        }
        let next = self.reports.next_try().filter(|_| self.link.epoch.is_some());
        self.deadlines.set(TimerKey::Reports, next.map(|at| at.max(self.now.mono + 1)));
    }

    fn send_head(&mut self, lane: &Lane, fx: &mut Effects) {
        let now = self.now;
        let retry = now.mono.saturating_add(self.config.timing.claim_retry);
        let Some(head) = self.reports.head(lane) else { return };
        let mut call = head.call.clone();
        let key = head.key;
        if let Call::Task { message, fence, .. } = &mut call
            && let Some(claim) = self.claims.get(*message)
        {
            let Some(valid) = claim.valid(now) else {
                // Nothing is reported under a lease that ended; a new grant sends it at once.
                head.not_before = retry;
                return;
            };
            *fence = Some(valid);
        }
        let op = self.http_keyed(Op::Report(lane.clone()), key, call, self.config.timing.call_deadline, fx);
        if let Some(head) = self.reports.head(lane) {
            head.sent = Some(op);
        }
    }

    pub(crate) fn report_answered(&mut self, lane: &Lane, op: OpId, result: OpResult, fx: &mut Effects) {
        let timing = &self.config.timing;
        let now = self.now.mono;
        let Some(head) = self.reports.head(lane).filter(|head| head.sent == Some(op)) else {
            fx.note(Note::Stale { what: "report", number: op.0 });
            return;
        };
        self.touched.reports = true;
        let OpResult::Failed(failure) = result else {
            self.report_is_over(lane, true, fx);
            return;
        };
        head.sent = None;
        let stage_only = is_only_a_stage(&head.call);
        if failure.kind.is_final() || (stage_only && head.tries >= 3) {
            let call = head.call.clone();
            match (&call, failure.kind) {
                (Call::Task { message, .. }, FailureKind::Conflict) if self.claims.get(*message).is_some() => {
                    let message = *message;
                    self.report_is_over(lane, false, fx);
                    self.lose(message, fx);
                }
                (Call::Task { message, .. }, FailureKind::Expired) if self.claims.get(*message).is_some() => {
                    head.not_before = now.saturating_add(timing.claim_retry);
                    let message = *message;
                    self.lapse(message, fx);
                }
                _ => self.report_is_over(lane, false, fx),
            }
            return;
        }
        head.tries = head.tries.saturating_add(1);
        let wait = doubling(head.tries, timing.report_retry_min, timing.report_retry_max);
        let wait = match failure.kind {
            FailureKind::Busy { retry_after: Some(after) } => wait.max(after.min(timing.report_retry_max)),
            _ => wait,
        };
        head.not_before = now.saturating_add(wait);
    }

    /// Accepted, or never to be: the lane goes on, and what waited for it.
    fn report_is_over(&mut self, lane: &Lane, accepted: bool, fx: &mut Effects) {
        let Some(report) = self.reports.pop(lane) else { return };
        match report.call {
            Call::Task { task, message, status, .. } => {
                if accepted {
                    fx.note(Note::TaskReported { task, status: status.as_str() });
                }
                if status.is_final() {
                    fx.sync = true;
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
            Call::Claim { .. }
            | Call::Renew { .. }
            | Call::Release { .. }
            | Call::Delivery { .. }
            | Call::SetStatus { .. }
            | Call::SetReady { .. }
            | Call::Heartbeat
            | Call::Unread { .. }
            | Call::DeleteAgent => {}
        }
    }
}
