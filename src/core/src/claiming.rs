//! Asking for claims, renewing them, losing them (behaviour 7).

use relay_runner_protocol::{Stage, TaskStatus};

use crate::Core;
use crate::claims::{Claim, Phase};
use crate::effect::{Call, Effects};
use crate::event::{FailureKind, OpResult};
use crate::ids::{Fence, MessageId, OpId};
use crate::lease::{Lease, renew_again_in, renew_in};
use crate::mutant::Mutant;
use crate::note::Note;
use crate::ops::Op;
use crate::reports;
use crate::time::{Millis, SECOND, Stamp};
use crate::work::Own;

impl Core {
    /// Asks for a claim that the next batch needs.
    pub(crate) fn ask_for_claim(&mut self, id: MessageId, fx: &mut Effects) {
        self.delivery.claiming = Some(id);
        let key = self.ops.number();
        self.ask(id, key, None, fx);
    }

    fn ask(&mut self, id: MessageId, key: OpId, fence: Option<Fence>, fx: &mut Effects) {
        let op = self.http_keyed(Op::Claim(id), key, Call::Claim { message: id }, self.config.timing.call_deadline, fx);
        let phase = Phase::Asking { asked: self.now, op };
        let again = if self.claims.get(id).is_some() { self.now.mono } else { 0 };
        let claim = Claim { phase, key, fence, lease: None, again, next: 0 };
        self.claims.insert(id, claim, &mut self.inbox);
        self.touched.claims = true;
    }

    /// A claim of the run before: nothing is reported under it until the relay has confirmed it.
    pub(crate) fn claim_taken_up(&mut self, id: MessageId, fence: Fence) {
        let key = self.ops.number();
        let claim = Claim { phase: Phase::Lapsed, key, fence: Some(fence), lease: None, again: 0, next: u64::MAX };
        self.claims.insert(id, claim, &mut self.inbox);
    }

    pub(crate) fn claim_answered(&mut self, id: MessageId, op: OpId, result: OpResult, fx: &mut Effects) {
        if self.delivery.claiming == Some(id) {
            self.delivery.claiming = None;
            self.touched.inbox = true;
        }
        let asked = match self.claims.get(id).map(|claim| claim.phase) {
            Some(Phase::Asking { asked, op: current }) if current == op => asked,
            _ => {
                fx.note(Note::Stale { what: "claim", number: id });
                if let OpResult::Granted { fence, .. } = result
                    && self.inbox.get(id).is_none()
                    && !self.inbox.is_settled(id)
                {
                    self.report(Call::Release { message: id, fence }, fx);
                }
                return;
            }
        };
        self.touched.claims = true;
        match result {
            OpResult::Granted { fence, lease } => self.granted(id, fence, lease, asked, fx),
            OpResult::Refused { by } if self.ended_by_us(id, by.as_deref()) => self.task_had_ended(id, fx),
            OpResult::Refused { .. } => self.refused(id, fx),
            OpResult::Failed(failure) => match failure.kind {
                FailureKind::NotFound
                | FailureKind::Superseded
                | FailureKind::Conflict
                | FailureKind::Expired
                | FailureKind::Invalid => self.refused(id, fx),
                FailureKind::Unreachable
                | FailureKind::TimedOut
                | FailureKind::Unauthorized
                | FailureKind::Busy { .. }
                | FailureKind::Server
                | FailureKind::NotReady
                | FailureKind::Unsupported
                | FailureKind::Io
                | FailureKind::Provider => self.ask_later(id),
            },
            OpResult::Ok
            | OpResult::Said(_)
            | OpResult::Spawned(_)
            | OpResult::Renewed { .. }
            | OpResult::Pruned
            | OpResult::Unread { .. }
            | OpResult::Owed { .. }
            | OpResult::Token { .. }
            | OpResult::Settings(_) => self.ask_later(id),
        }
    }

    /// It may have been granted: it is asked for again, under the same key.
    fn ask_later(&mut self, id: MessageId) {
        let next = self.now.mono.saturating_add(self.config.timing.claim_retry.max(1));
        let anew = self.config.is_mutant(Mutant::AsksUnderANewKey).then(|| self.ops.number());
        self.claims.update(id, |claim| {
            claim.phase = Phase::Lapsed;
            claim.key = anew.unwrap_or(claim.key);
            claim.next = next;
        });
    }

    fn granted(&mut self, id: MessageId, fence: Fence, lease: Option<Millis>, asked: Stamp, fx: &mut Effects) {
        let asked = if self.config.is_mutant(Mutant::CountsTheLeaseFromArrival) { self.now } else { asked };
        let mut lease = lease.map(|lease| Lease::counted(asked, lease));
        if self.config.is_mutant(Mutant::BelievesOneClock) {
            lease = lease.map(|lease| Lease { wall: u64::MAX, ..lease });
        }
        let next = self.now.mono.saturating_add(renew_in(lease, self.now, self.config.timing.renew_max));
        self.claims.update(id, |claim| {
            claim.phase = Phase::Held;
            let old = claim.fence.filter(|_| self.config.is_mutant(Mutant::KeepsTheOldFence));
            claim.fence = Some(old.unwrap_or(fence));
            claim.lease = lease;
            claim.next = next;
        });
        fx.note(Note::ClaimGranted { message: id, fence });
        fx.sync = true;
        // What was worked while the claim could not be used is reported at once.
        self.reports.hasten(id);
        self.touched.reports = true;
        self.touched.inbox = true;
        let Some(item) = self.inbox.get(id) else {
            self.claims.remove(id, &mut self.inbox);
            self.report(Call::Release { message: id, fence }, fx);
            return;
        };
        if item.stage != Stage::Held {
            return;
        }
        let task = item.meta.task;
        self.inbox.update(id, |item| item.stage = Stage::Claimed);
        self.work.open(Own::Message(id), self.now.wall);
        self.say_stage(id, Stage::Claimed, None, fx);
        if let Some(task) = task {
            let started = self
                .inbox
                .of_task(task)
                .any(|(other, item)| other != id && (item.is_work() || item.stage == Stage::Ambiguous));
            if !started {
                self.report(reports::task(task, id, TaskStatus::InProgress, None), fx);
            }
            self.work.open(Own::Task(task), self.now.wall);
        }
    }

    /// The holder of a claim is given it again, unless it has ended the task meanwhile.
    fn ended_by_us(&self, id: MessageId, by: Option<&str>) -> bool {
        let worked = self.inbox.get(id).is_some_and(|item| item.stage == Stage::Worked);
        worked && by == Some(&*self.config.identity.agent_id)
    }

    /// Somebody else has it, or it is gone.
    fn refused(&mut self, id: MessageId, fx: &mut Effects) {
        let had_it = self.claims.get(id).is_some_and(|claim| claim.fence.is_some());
        if had_it {
            self.lose(id, fx);
            return;
        }
        self.claims.remove(id, &mut self.inbox);
        fx.note(Note::ClaimRefused { message: id });
        self.forget_message(id, fx);
    }

    /// Lost: nothing is reported for its task any more, and it no longer counts as work.
    pub(crate) fn lose(&mut self, id: MessageId, fx: &mut Effects) {
        fx.note(Note::ClaimLost { message: id });
        self.claims.remove(id, &mut self.inbox);
        if self.believes_less() {
            let until = self.after(self.config.timing.claim_retry.max(1));
            self.claims.rests(id, until, self.now.mono);
        }
        self.touched.claims = true;
        self.taken_over(id, "its claim was lost", fx);
        self.fetch_unread(fx);
        fx.sync = true;
    }

    pub(crate) fn claims_due(&mut self, fx: &mut Effects) {
        self.touched.claims = true;
        while let Some(id) = self.claims.first_due(self.now) {
            let Some(claim) = self.claims.get(id) else { return };
            let over = claim.lease.is_some_and(|lease| lease.is_over(self.now));
            match claim.phase {
                Phase::Held | Phase::Renewing { .. } if over => self.lapse(id, fx),
                Phase::Held => self.renew(id, fx),
                Phase::Lapsed => self.ask_again(id, fx),
                // Their answers, or the deadlines of those, come by themselves.
                Phase::Renewing { .. } | Phase::Asking { .. } => return,
            }
        }
    }

    fn renew(&mut self, id: MessageId, fx: &mut Effects) {
        if self.waits_for_credential(id) {
            return;
        }
        if self.is_superseded() || self.ending.is_leaving() {
            // Nothing more is asked for: what is held is released, or left to lapse.
            self.claims.update(id, |claim| claim.next = claim.lease.map_or(u64::MAX, |lease| lease.mono));
            return;
        }
        let Some(&Claim { fence: Some(fence), lease, .. }) = self.claims.get(id) else { return };
        let call = Call::Renew { message: id, fence };
        let op = self.http(Op::Renew(id), call, self.config.timing.call_deadline, fx);
        if let Some(lease) = lease {
            self.ops.hasten(op, lease.mono);
        }
        let now = self.now;
        self.claims.update(id, |claim| claim.phase = Phase::Renewing { asked: now, op });
    }

    pub(crate) fn renewal_answered(&mut self, id: MessageId, op: OpId, result: OpResult, fx: &mut Effects) {
        let asked = match self.claims.get(id).map(|claim| claim.phase) {
            Some(Phase::Renewing { asked, op: current }) if current == op => asked,
            None if self.config.is_mutant(Mutant::RevivesClaims) => {
                let key = self.ops.number();
                let phase = Phase::Held;
                let claim = Claim { phase, key, fence: Some(0), lease: None, again: 0, next: u64::MAX };
                self.claims.insert(id, claim, &mut self.inbox);
                return;
            }
            // It ended, lapsed, or was asked for again: this changes nothing.
            _ => {
                fx.note(Note::Stale { what: "renewal", number: id });
                return;
            }
        };
        self.touched.claims = true;
        let now = self.now;
        let most = self.config.timing.renew_max;
        match result {
            OpResult::Renewed { lease } => self.claims.update(id, |claim| {
                claim.lease = lease.map(|lease| Lease::counted(asked, lease));
                claim.phase = Phase::Held;
                claim.next = now.mono.saturating_add(renew_in(claim.lease, now, most));
            }),
            OpResult::Refused { .. } => self.lose(id, fx),
            OpResult::Failed(failure) if failure.kind == FailureKind::Expired => self.lapse(id, fx),
            OpResult::Failed(failure) if failure.kind == FailureKind::Conflict => self.lose(id, fx),
            // The message is gone, or the relay has forgotten the agent: asked for again, the claim is granted or refused.
            OpResult::Failed(failure) if failure.kind == FailureKind::NotFound => {
                self.is_known(fx);
                self.lapse(id, fx);
                let next = now.mono.saturating_add(self.config.timing.claim_retry.max(1));
                self.claims.update(id, |claim| claim.next = next);
            }
            OpResult::Failed(_)
            | OpResult::Ok
            | OpResult::Said(_)
            | OpResult::Spawned(_)
            | OpResult::Granted { .. }
            | OpResult::Pruned
            | OpResult::Unread { .. }
            | OpResult::Owed { .. }
            | OpResult::Token { .. }
            | OpResult::Settings(_) => {
                self.claims.update(id, |claim| {
                    claim.phase = Phase::Held;
                    claim.next = now.mono.saturating_add(renew_again_in(claim.lease, now, most));
                });
                // It may have ended meanwhile.
                self.claims_due(fx);
            }
        }
    }

    /// The relay could not be reached in time: silence, until the claim was asked for again.
    pub(crate) fn lapse(&mut self, id: MessageId, fx: &mut Effects) {
        // It was known already, and is being asked for: a second question would bring a second fence.
        if self.claims.get(id).is_some_and(|claim| matches!(claim.phase, Phase::Asking { .. } | Phase::Lapsed)) {
            return;
        }
        fx.note(Note::ClaimLapsed { message: id });
        let key = self.ops.number();
        let (now, pause) = (self.now.mono, self.config.timing.claim_retry.max(1));
        self.claims.update(id, |claim| {
            claim.phase = Phase::Lapsed;
            claim.key = key;
            claim.lease = None;
            // A lease shorter than the way to the relay and back must not make a loop of asking.
            claim.next = if claim.again == 0 { now } else { now.max(claim.again.saturating_add(pause)) };
        });
        self.touched.claims = true;
    }

    fn ask_again(&mut self, id: MessageId, fx: &mut Effects) {
        let Some(claim) = self.claims.get(id) else { return };
        if self.link.epoch.is_none() || self.ending.is_begun() {
            // Registration asks for it; an end releases it.
            self.claims.update(id, |claim| claim.next = u64::MAX);
            return;
        }
        let (key, fence) = (claim.key, claim.fence);
        if !self.waits_for_credential(id) {
            self.ask(id, key, fence, fx);
        }
    }

    /// Nothing is asked until it is known whether the credential is good; that takes no longer than a call.
    fn waits_for_credential(&mut self, id: MessageId) -> bool {
        let waits = self.credential.calls_wait();
        let next = self.after(SECOND);
        if waits {
            self.claims.update(id, |claim| claim.next = next);
        }
        waits
    }

    /// Lapsed claims are asked for again as soon as the relay is back.
    pub(crate) fn claims_after_reconnect(&mut self, fx: &mut Effects) {
        let lapsed: alloc::vec::Vec<_> =
            self.claims.iter().filter(|(_, claim)| claim.phase == Phase::Lapsed).map(|(id, _)| id).collect();
        for id in lapsed {
            self.ask_again(id, fx);
        }
    }

    /// Gives back what was not worked: when giving up, parking, ending.
    pub(crate) fn release_claims(&mut self, fx: &mut Effects) {
        let held: alloc::vec::Vec<_> = self
            .claims
            .iter()
            .map(|(id, claim)| (id, claim.fence, (claim.phase == Phase::Lapsed).then_some(claim.key)))
            .filter(|(id, ..)| {
                self.config.is_mutant(Mutant::ReleasesWorkedClaims)
                    || !self.inbox.get(*id).is_some_and(|item| matches!(item.stage, Stage::Worked | Stage::SetAside))
            })
            .collect();
        for (id, fence, unknown) in held {
            self.claims.remove(id, &mut self.inbox);
            self.silence(id);
            self.drop_message(id, fx);
            match (fence, unknown) {
                (Some(fence), _) => self.report(Call::Release { message: id, fence }, fx),
                // It may have been granted, and only the relay knows its fence: the same question brings it, and the
                // answer finds that nobody wants it any more.
                // Not by one that was superseded: it is told nothing any more.
                (None, Some(key)) if !self.is_superseded() => {
                    let deadline = self.config.timing.call_deadline;
                    self.http_keyed(Op::Claim(id), key, Call::Claim { message: id }, deadline, fx);
                }
                (None, Some(_) | None) => {}
            }
        }
        self.touched.claims = true;
        fx.sync = true;
    }
}
