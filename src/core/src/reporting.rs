//! Sending what the relay must accept, until it has (behaviour 6).

use relay_runner_protocol::{Stage, TaskStatus};

use crate::Core;
use crate::backoff::doubling;
use crate::claims::Claim;
use crate::deadlines::TimerKey;
use crate::effect::{Call, Effect, Effects, Lane, Repeat};
use crate::event::{Failure, FailureKind, OpResult};
use crate::flags::Flag;
use crate::ids::{MessageId, OpId, Text};
use crate::mutant::Mutant;
use crate::note::Note;
use crate::ops::Op;
use crate::reports::{Due, Report, is_dispensable, is_only_a_stage};
use crate::time::{Millis, SECOND};

/// The shell keeps a call's deadline; the core waits this much longer before it stops waiting for the shell.
const GRACE: Millis = SECOND;
/// A stage is for whoever watches; it is not tried for ever.
const STAGE_TRIES: u32 = 4;
/// Before a heartbeat had to show that the relay knows the agent: tries of a read mark that it did not know.
const MISSING_TRIES: u32 = 3;

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
        // Under a key of its own: what was overtaken may be on the disk, and be said by the next run if the power fails.
        let key = self.believes_less().then(|| self.ops.next_number());
        match (self.reports.overtake(&call, key), key) {
            (true, None) => {}
            (true, Some(_)) => {
                self.ops.number();
            }
            (false, _) => {
                let key = self.ops.number();
                self.report_under(key, call, fx);
            }
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
        self.reports.owe(key, call);
        self.touched.reports = true;
    }

    /// Sends the head of every lane that may be sent now.
    pub(crate) fn send_reports(&mut self, fx: &mut Effects) {
        let may_say = self.link.epoch.is_some() && !self.credential.calls_wait();
        if may_say {
            let most = self.config.limits.reports_under_way;
            while self.reports.under_way() < most
                && let Some(due) = self.reports.first_due(self.now.mono)
            {
                self.send_report(&due, fx);
            }
        }
        // When too many are under way, an answer is what goes on.
        let room = self.reports.under_way() < self.config.limits.reports_under_way;
        let next = if may_say && room { self.reports.next_try() } else { None };
        self.deadlines.set(TimerKey::Reports, next.map(|at| at.max(self.after(1))));
    }

    fn send_report(&mut self, due: &Due, fx: &mut Effects) {
        let now = self.now;
        let Some(report) = self.reports.due(due) else { return };
        let mut call = report.call.clone();
        let key = report.key;
        // Since it was put in line another message of the task came: the task ends with that one.
        if let Call::Task { task, message, status: TaskStatus::Done, .. } = call
            && self.inbox.task_has_more(task, message)
            && !self.config.is_mutant(Mutant::EndsATaskWithEachMessage)
        {
            self.reports.pop(&due.lane);
            self.settle_message(message, fx);
            return;
        }
        if let Call::Task { message, fence, .. } = &mut call {
            let lapsed_will_do = self.config.is_mutant(Mutant::ReportsUnderALapsedLease);
            let usable = |claim: &Claim| if lapsed_will_do { claim.fence } else { claim.valid(now) };
            match self.claims.get(*message).map(usable) {
                Some(Some(_)) if self.config.is_mutant(Mutant::ForgetsTheFence) => {}
                Some(Some(valid)) => *fence = Some(valid),
                // Nothing is reported under a lease that ended; a new grant sends it at once.
                Some(None) => {
                    let retry = self.after(self.config.timing.claim_retry.max(1));
                    self.reports.postpone(due, retry);
                    return;
                }
                // Nor for a task whose claim is gone.
                None => {
                    self.report_is_over(&due.lane, None, fx);
                    return;
                }
            }
        }
        let op = self.http_keyed(Op::Report(due.lane.clone()), key, call, self.config.timing.call_deadline, fx);
        self.reports.send(due, op);
    }

    pub(crate) fn report_answered(&mut self, lane: &Lane, op: OpId, result: OpResult, fx: &mut Effects) {
        let known = match result {
            OpResult::Failed(failure) => {
                let known = self.reports.head(lane).is_some_and(|head| head.sent == Some(op));
                if known {
                    self.report_failed(lane, op, &failure, fx);
                }
                known
            }
            OpResult::Ok
            | OpResult::Said(_)
            | OpResult::Spawned(_)
            | OpResult::Granted { .. }
            | OpResult::Refused { .. }
            | OpResult::Renewed { .. }
            | OpResult::Pruned
            | OpResult::Unread { .. }
            | OpResult::Owed { .. }
            | OpResult::Token { .. }
            | OpResult::Settings(_) => {
                let accepted = self.reports.pop_sent(lane, op);
                accepted.map(|report| self.conclude_report(&report, Some(true), fx)).is_some()
            }
        };
        if !known {
            fx.note(Note::Stale { what: "report", number: op.0 });
        }
    }

    fn report_failed(&mut self, lane: &Lane, op: OpId, failure: &Failure, fx: &mut Effects) {
        self.touched.reports = true;
        // It was on its way when another took over, who has the say now. Should the agent come back, it is owed again.
        let superseded = self.is_superseded();
        if superseded && self.reports.head(lane).is_some_and(|head| !matches!(head.call, Call::Release { .. })) {
            if let Some(report) = self.reports.pop(lane)
                && self.believes_less()
            {
                self.commands.owe(&report.call);
            }
            return;
        }
        let timing = &self.config.timing;
        let now = self.now.mono;
        let Some(head) = self.reports.came_back(lane, |tries| {
            let wait = doubling(tries, timing.report_retry_min, timing.report_retry_max);
            let wait = match failure.kind {
                FailureKind::Busy { retry_after: Some(after) } => wait.max(after.min(timing.renew_max)),
                _ => wait,
            };
            now.saturating_add(wait)
        }) else {
            return;
        };
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
        let read = matches!(head.call, Call::Read { .. });
        let (tries, missing) = (head.tries, head.missing);
        if failure.kind == FailureKind::NotFound && read && self.may_have_forgotten_us(lane, op, tries, missing) {
            self.is_known(fx);
            return;
        }
        match (of_task, failure.kind) {
            // Another has the task.
            (Some((message, _)), FailureKind::Conflict) if claimed => {
                self.report_is_over(lane, None, fx);
                self.lose(message, fx);
            }
            // The lease has ended before its time: the report waits for a new grant.
            (Some((message, _)), FailureKind::Expired) if claimed => self.lapse(message, fx),
            (Some((message, true)), FailureKind::Invalid | FailureKind::NotFound) if claimed => {
                self.report_is_over(lane, None, fx);
                self.task_report_refused(message, &failure.text, fx);
            }
            (_, kind) if kind.is_final() || stage_given_up => self.report_is_over(lane, Some(false), fx),
            _ => {}
        }
    }

    /// A relay that has forgotten the agent knows none of what is said in its name: whether that may be what was not known,
    /// rather than the message.
    fn may_have_forgotten_us(&mut self, lane: &Lane, op: OpId, tries: u32, missing: Option<OpId>) -> bool {
        if self.ending.is_leaving() || !self.config.flags.has(Flag::DoubtsThatTheRelayKnowsTheAgent) {
            return false;
        }
        let up = self.link.up().is_some();
        if !self.believes_less() {
            let known = up && op >= self.link.first_op && tries >= MISSING_TRIES;
            return !known && !self.ending.is_begun();
        }
        // By this registration, and before a heartbeat showed that the relay knows the agent by it.
        let Some(since) = missing.filter(|since| *since >= self.link.first_op) else {
            self.reports.is_missing(lane, op);
            return true;
        };
        !up || !self.is_known_since(since)
    }

    /// The relay will never accept the end of a task: the message is listed with the reason, and not called settled.
    fn task_report_refused(&mut self, id: MessageId, why: &Text, fx: &mut Effects) {
        let why: Text = alloc::format!("the relay refused the report of its task: {why}").into();
        if self.inbox.update(id, |item| item.stage = Stage::SetAside).is_some() {
            self.silence(id);
            self.inbox.put_aside(id, why.clone(), self.config.limits.settled);
            self.say_stage(id, Stage::SetAside, Some(why), fx);
            self.claims.remove(id, &mut self.inbox);
            self.touched.claims = true;
            self.forget_message(id, fx);
            fx.sync = true;
        }
    }

    fn report_is_over(&mut self, lane: &Lane, accepted: Option<bool>, fx: &mut Effects) {
        if let Some(report) = self.reports.pop(lane) {
            self.conclude_report(&report, accepted, fx);
        }
    }

    /// Accepted, refused for good (`Some(false)`), or given up (`None`): the lane goes on, and what waited for it.
    fn conclude_report(&mut self, report: &Report, accepted: Option<bool>, fx: &mut Effects) {
        self.touched.reports = true;
        match report.call {
            Call::Task { task, message, status, .. } => {
                if accepted == Some(true) {
                    fx.note(Note::TaskReported { task, status: status.as_str() });
                }
                let ends = status.is_final() || status == TaskStatus::Blocked;
                let ends = ends || !self.config.flags.has(Flag::BelievesOnlyEnds);
                if accepted.is_some() && ends && self.believes_less() {
                    self.inbox.update(message, |item| item.task_ended |= item.stage == Stage::SetAside);
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
            | Call::Obligations
            | Call::DeleteAgent
            | Call::RenewToken { .. } => {}
        }
    }
}
