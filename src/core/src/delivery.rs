//! Delivery: handing messages to the provider, one batch at a time, and what is known of where they are
//! (behaviour 6).

use alloc::vec::Vec;
use relay_runner_protocol::{Stage, TaskStatus};
use serde::{Deserialize, Serialize};

use crate::Core;
use crate::backoff::doubling;
use crate::config::{Delivery as Mode, MarkRead};
use crate::deadlines::TimerKey;
use crate::draw::{Stream, draw};
use crate::effect::{Act, Call, Effect, Effects, Offer, Repeat};
use crate::event::{FailureKind, OpResult, TakenOffer};
use crate::ids::{Generation, MessageId, Nonce, OpId, TaskId, Text};
use crate::note::Note;
use crate::ops::Op;
use crate::reports;
use crate::work::Kind;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delivery {
    batch: Option<Batch>,
    /// The new claim that was asked for, and holds up the next batch.
    pub(crate) claiming: Option<MessageId>,
    /// Failed offers in a row.
    failures: u32,
    /// After a failed batch: one message at a time.
    single: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Batch {
    /// None once it is handed over.
    op: Option<OpId>,
    generation: Generation,
    messages: Vec<MessageId>,
}

/// What a heading and the rest around a body count for, in bytes.
const AROUND_A_BODY: u64 = 256;

impl Core {
    /// Whether something may be handed to the provider now.
    fn gate_is_open(&self) -> bool {
        self.lifecycle.is_up()
            && self.delivery.batch.is_none()
            && self.delivery.claiming.is_none()
            && self.prompt.is_done()
            && !self.ending.is_begun()
            && !self.commands.adapter_is_busy()
            && !self.deadlines.is_armed(TimerKey::TurnGrace)
            && !(self.config.adapter.typed && self.approvals.any_open())
            && (self.turns.current().is_none() || (self.config.delivery == Mode::Steer && self.config.adapter.steer))
    }

    /// Offers what can be offered now; asks for one claim first where one is needed.
    pub(crate) fn pump(&mut self, fx: &mut Effects) {
        if !self.touched.inbox || !self.inbox.has_waiting() || !self.gate_is_open() {
            return;
        }
        let now = self.now.mono;
        let limits = &self.config.limits;
        let most = if self.delivery.single { 1 } else { limits.batch };
        let may_claim = self.link.epoch.is_some() && self.claims_in_use() < limits.claims;
        let mut wake = None;
        let mut later = |at: u64| wake = Some(wake.map_or(at, |w: u64| w.min(at)));

        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut to_claim = None;
        if may_claim {
            for (place, item) in self.inbox.unclaimed() {
                // Asked for already; or given back, and the relay does not know that yet.
                if self.claims.get(place.id).is_some() || self.reports.releases(place.id) {
                    continue;
                }
                if item.not_before <= now {
                    to_claim = Some(place);
                    break;
                }
                later(item.not_before);
            }
        }
        for (place, item) in self.inbox.ready() {
            if batch.len() >= most {
                break;
            }
            if item.not_before > now {
                later(item.not_before);
                continue;
            }
            // A claim that lapsed, or is of an earlier run, is confirmed first.
            if self.claims.get(place.id).is_some_and(|claim| claim.valid(self.now).is_none()) {
                continue;
            }
            let size = u64::from(item.meta.body.len) + AROUND_A_BODY;
            if !batch.is_empty() && bytes + size > limits.batch_bytes {
                break;
            }
            bytes += size;
            batch.push(place);
        }
        self.deadlines.set(TimerKey::Inbox, wake.map(|at| at.max(now.saturating_add(1))));

        // One that must be claimed goes first if it would be in this batch.
        match to_claim {
            Some(place) if batch.len() < most || batch.last().is_some_and(|last| place < *last) => {
                self.ask_for_claim(place.id, fx);
            }
            Some(_) | None if !batch.is_empty() => {
                let messages = batch.into_iter().map(|place| place.id).collect();
                self.offer(messages, fx);
            }
            Some(_) | None => {}
        }
    }

    fn offer(&mut self, messages: Vec<MessageId>, fx: &mut Effects) {
        let generation = self.lifecycle.generation();
        let deadline = self.after(self.config.timing.offer_deadline);
        let op = self.ops.start(Op::Offer(generation), deadline);
        let mut offers = Vec::with_capacity(messages.len());
        for id in &messages {
            let (now, seed) = (self.now.mono, self.config.seed);
            let offer = self.inbox.update(*id, |item| {
                item.attempt += 1;
                // The low 30 bits: six letters.
                let bits = draw(seed, Stream::Nonce, *id, u64::from(item.attempt)) & 0x3fff_ffff;
                item.nonce = Nonce(u32::try_from(bits).unwrap_or(0));
                item.stage = Stage::Offered;
                item.since = now;
                Offer { message: *id, attempt: item.attempt, nonce: item.nonce, repeat: item.repeat }
            });
            offers.extend(offer);
            self.work.open(Kind::Message, *id, self.now.wall);
        }
        self.delivery.batch = Some(Batch { op: Some(op), generation, messages });
        for offer in &offers {
            self.say_stage(offer.message, Stage::Offered, None, fx);
        }
        fx.push(Effect::Provider { op, generation, act: Act::Offer { offers } });
    }

    pub(crate) fn offer_answered(&mut self, op: OpId, result: OpResult, fx: &mut Effects) {
        let Some(batch) = self.delivery.batch.as_mut().filter(|batch| batch.op == Some(op)) else {
            fx.note(Note::Stale { what: "offer", number: op.0 });
            return;
        };
        let OpResult::Failed(failure) = result else {
            batch.op = None;
            let messages = if self.config.adapter.evidence { Vec::new() } else { batch.messages.clone() };
            self.delivery.failures = 0;
            self.delivery.single = self.inbox.ready().any(|(_, item)| item.tries > 0);
            self.wait_for_taking();
            // Handed over is all there is to know.
            for id in messages {
                self.take(id, None, false, fx);
            }
            return;
        };
        let messages = core::mem::take(&mut batch.messages);
        self.end_batch();
        let timing = &self.config.timing;
        match failure.kind {
            // The provider is not there yet: that is waiting, not failing.
            FailureKind::NotReady => {
                let wait = timing.offer_retry_min;
                for id in messages {
                    self.inbox.update(id, |item| item.attempt -= 1);
                    self.put_back(id, Repeat::First, wait, fx);
                }
            }
            FailureKind::TimedOut | FailureKind::Unreachable => {
                for id in messages {
                    self.doubt(id, "the provider's adapter did not answer", fx);
                }
            }
            FailureKind::Unauthorized
            | FailureKind::NotFound
            | FailureKind::Superseded
            | FailureKind::Conflict
            | FailureKind::Expired
            | FailureKind::Invalid
            | FailureKind::Busy { .. }
            | FailureKind::Server
            | FailureKind::Unsupported
            | FailureKind::Io
            | FailureKind::Provider => {
                self.delivery.failures += 1;
                let wait = doubling(self.delivery.failures, timing.offer_retry_min, timing.offer_retry_max);
                self.delivery.single = true;
                let most = self.config.limits.offer_tries;
                for id in messages {
                    let tries = self.inbox.update(id, |item| {
                        item.tries += 1;
                        item.tries
                    });
                    if tries.is_some_and(|tries| tries >= most) {
                        let why = alloc::format!("offered {most} times in vain; the last time: {}", failure.text);
                        self.set_aside(id, &why.into(), TaskStatus::Failed, fx);
                    } else {
                        self.put_back(id, Repeat::First, wait, fx);
                    }
                }
            }
        }
    }

    /// The provider showed that it has these offers.
    pub(crate) fn taken(&mut self, offers: &[TakenOffer], into_turn: bool, fx: &mut Effects) {
        for offer in offers {
            self.take(offer.message, offer.nonce, into_turn, fx);
        }
    }

    fn take(&mut self, id: MessageId, nonce: Option<Nonce>, into_turn: bool, fx: &mut Effects) {
        let (now, turn) = (self.now.mono, self.turns.current());
        let taken = self.inbox.update(id, |item| {
            let offered = matches!(item.stage, Stage::Offered | Stage::Ambiguous);
            if !offered || nonce.is_some_and(|nonce| nonce != item.nonce) {
                return false;
            }
            item.stage = Stage::Taken;
            item.since = now;
            item.seen = true;
            item.turn = turn.filter(|_| into_turn);
            true
        });
        if taken != Some(true) {
            fx.note(Note::Stale { what: "evidence of taking", number: id });
            return;
        }
        self.batch_without(id);
        fx.sync = true;
        if !self.inbox.get(id).is_some_and(|item| item.taken_over) {
            self.work.open(Kind::Message, id, self.now.wall);
            self.say_stage(id, Stage::Taken, None, fx);
            if self.config.mark_read == MarkRead::Taken {
                self.report(Call::Read { message: id }, fx);
            }
        }
        if turn.is_none() {
            // Its turn is about to begin; what is offered before would slip into it.
            self.deadlines.arm(TimerKey::TurnGrace, now, self.config.timing.turn_grace);
            self.deadlines.arm(TimerKey::Turnless, now, self.config.timing.take_timeout);
        }
    }

    /// Takes a message out of the batch; the batch ends with the last one.
    pub(crate) fn batch_without(&mut self, id: MessageId) {
        let Some(batch) = &mut self.delivery.batch else { return };
        batch.messages.retain(|m| *m != id);
        if batch.messages.is_empty() && batch.op.is_none() {
            self.end_batch();
        }
    }

    fn end_batch(&mut self) {
        self.delivery.batch = None;
        self.deadlines.clear(TimerKey::Take);
        self.touched.inbox = true;
    }

    /// Starts the time in which a batch is to be taken, unless something keeps the provider from taking it.
    pub(crate) fn wait_for_taking(&mut self) {
        let Some(batch) = &self.delivery.batch else { return };
        if batch.op.is_some() {
            return;
        }
        if batch.messages.is_empty() {
            self.end_batch();
        } else if self.turns.current().is_none() && !self.approvals.any_open() {
            self.deadlines.arm(TimerKey::Take, self.now.mono, self.config.timing.take_timeout);
        } else {
            self.deadlines.clear(TimerKey::Take);
        }
    }

    /// What was handed over and not taken in time is ambiguous; the rest flows on.
    pub(crate) fn take_overdue(&mut self, fx: &mut Effects) {
        let Some(batch) = self.delivery.batch.take() else { return };
        self.touched.inbox = true;
        for id in batch.messages {
            self.doubt(id, "the provider did not show that it has it", fx);
        }
    }

    /// Whether the provider has it is not known: it waits for a person, or for the next generation.
    fn doubt(&mut self, id: MessageId, why: &'static str, fx: &mut Effects) {
        if self.gone_while_offered(id, fx) {
            return;
        }
        let now = self.now.mono;
        let doubted = self.inbox.update(id, |item| {
            let offered = matches!(item.stage, Stage::Offered | Stage::Taken);
            if offered {
                item.stage = Stage::Ambiguous;
                item.since = now;
                item.repeat = Repeat::Ambiguous;
            }
            offered
        });
        if doubted == Some(true) {
            self.work.close(Kind::Message, id);
            self.say_stage(id, Stage::Ambiguous, Some(why.into()), fx);
            if !self.deadlines.is_armed(TimerKey::Ambiguous) {
                self.deadlines.arm(TimerKey::Ambiguous, now, self.config.timing.ambiguous_limit);
            }
            fx.sync = true;
        }
    }

    /// Taken, and no turn began: whether the provider works on it is not known.
    pub(crate) fn turnless(&mut self, fx: &mut Effects) {
        let turnless: Vec<_> = self
            .inbox
            .iter()
            .filter(|(_, item)| item.stage == Stage::Taken && item.turn.is_none())
            .map(|(id, _)| id)
            .collect();
        for id in turnless {
            self.doubt(id, "the provider took it, and no turn began", fx);
        }
        self.touched.inbox = true;
    }

    /// A message that was taken over while it was offered or taken: once it would come back, it is forgotten.
    pub(crate) fn gone_while_offered(&mut self, id: MessageId, fx: &mut Effects) -> bool {
        let gone = self.inbox.get(id).is_some_and(|item| item.taken_over);
        if gone {
            self.forget_message(id, fx);
        }
        gone
    }

    /// Claims that are not done with: those of worked messages wait only for others, or for the relay.
    pub(crate) fn claims_in_use(&self) -> usize {
        let is_worked = |id| self.inbox.get(id).is_some_and(|item| item.stage == Stage::Worked);
        self.claims.iter().filter(|(id, _)| !is_worked(*id)).count()
    }

    /// The tasks of messages that are ambiguous for too long are reported as blocked.
    pub(crate) fn ambiguous_for_long(&mut self, fx: &mut Effects) {
        let limit = self.config.timing.ambiguous_limit;
        let mut over = Vec::new();
        let mut next = None;
        for (id, item) in self.inbox.iter().filter(|(_, item)| item.stage == Stage::Ambiguous && !item.blocked) {
            let at = item.since.saturating_add(limit);
            if at <= self.now.mono {
                over.push((id, item.meta.task));
            } else {
                next = Some(next.map_or(at, |n: u64| n.min(at)));
            }
        }
        self.deadlines.set(TimerKey::Ambiguous, next);
        for (id, task) in over {
            self.inbox.update(id, |item| item.blocked = true);
            if let Some(task) = task {
                let why = "the message was handed over, and whether the agent has it is not known";
                self.report(reports::task(task, id, TaskStatus::Blocked, Some(why.into())), fx);
            }
        }
    }

    /// The provider process is over: what it had goes to the next one, marked.
    pub(crate) fn deliveries_of_the_dead(&mut self, fx: &mut Effects) {
        self.delivery.batch = None;
        for key in [TimerKey::Take, TimerKey::TurnGrace, TimerKey::Turnless, TimerKey::Ambiguous] {
            self.deadlines.clear(key);
        }
        let had: Vec<_> = self
            .inbox
            .iter()
            .filter_map(|(id, item)| match item.stage {
                Stage::Offered | Stage::Ambiguous => Some((id, Repeat::Ambiguous, item.taken_over)),
                Stage::Taken => Some((id, Repeat::Redelivered, item.taken_over)),
                Stage::Held | Stage::Claimed | Stage::Worked | Stage::Settled | Stage::SetAside => None,
            })
            .collect();
        for (id, repeat, taken_over) in had {
            if taken_over {
                self.forget_message(id, fx);
                continue;
            }
            self.put_back(id, repeat, 0, fx);
            let stage = if repeat == Repeat::Ambiguous { Stage::Ambiguous } else { Stage::Held };
            self.say_stage(id, stage, Some("the provider process ended before it was worked".into()), fx);
        }
    }

    /// Gives a message up, with the reason. Its task is reported; a plain one stays unread and is listed.
    pub(crate) fn set_aside(&mut self, id: MessageId, why: &Text, status: TaskStatus, fx: &mut Effects) {
        if self.gone_while_offered(id, fx) {
            return;
        }
        let Some(task) = self.inbox.update(id, |item| {
            item.stage = Stage::SetAside;
            item.turn = None;
            item.meta.task
        }) else {
            return;
        };
        let most = self.config.limits.settled;
        self.inbox.put_aside(id, why.clone(), most);
        self.say_stage(id, Stage::SetAside, Some(why.clone()), fx);
        match (task, self.claims.get(id).and_then(|claim| claim.fence)) {
            (Some(task), _) => self.report(reports::task(task, id, status, Some(why.clone())), fx),
            (None, Some(fence)) => {
                self.claims.remove(id);
                self.touched.claims = true;
                self.report(Call::Release { message: id, fence }, fx);
            }
            (None, None) => {}
        }
        if !self.reports.owes(id) {
            self.claims.remove(id);
            self.touched.claims = true;
            self.forget_message(id, fx);
        }
        fx.sync = true;
    }

    /// A turn that had it ended normally.
    pub(crate) fn worked(&mut self, id: MessageId, fx: &mut Effects) {
        let now = self.now.mono;
        let Some((task, taken_over)) = self.inbox.update(id, |item| {
            item.stage = Stage::Worked;
            item.since = now;
            (item.meta.task, item.taken_over)
        }) else {
            return;
        };
        fx.sync = true;
        if taken_over {
            self.forget_message(id, fx);
            return;
        }
        self.say_stage(id, Stage::Worked, None, fx);
        if let Some(task) = task {
            self.done_unless_more(task, id, fx);
        }
        if self.config.mark_read == MarkRead::Worked {
            self.report(Call::Read { message: id }, fx);
        }
        self.settle_message(id, fx);
    }

    /// A task ends with the last of its messages.
    fn done_unless_more(&mut self, task: TaskId, id: MessageId, fx: &mut Effects) {
        if !self.inbox.task_has_more(task, id) {
            let why = alloc::format!("The runner saw the provider finish message {id}.");
            self.report(reports::task(task, id, TaskStatus::Done, Some(why.into())), fx);
        }
    }

    /// A message of this task left the inbox: a worked one that waited for it may be the last now.
    pub(crate) fn task_may_be_done(&mut self, task: TaskId, fx: &mut Effects) {
        let worked: Vec<_> = self
            .inbox
            .iter()
            .filter(|(_, item)| item.meta.task == Some(task) && item.stage == Stage::Worked && !item.task_ended)
            .map(|(id, _)| id)
            .collect();
        let Some(last) = worked.last() else { return };
        if !self.reports.any(|call| reports::ends_task(call, task)) {
            self.done_unless_more(task, *last, fx);
        }
    }

    /// The end of a task was accepted: its worked messages have nothing more to wait for.
    pub(crate) fn task_has_ended(&mut self, task: TaskId, fx: &mut Effects) {
        let of_task: Vec<_> =
            self.inbox.iter().filter(|(_, item)| item.meta.task == Some(task)).map(|(id, _)| id).collect();
        for id in &of_task {
            self.inbox.update(*id, |item| item.task_ended |= item.stage == Stage::Worked);
        }
        for id in of_task {
            self.settle_message(id, fx);
        }
    }

    /// Once the relay has accepted all that is owed for a message, it is over; its claim is forgotten, never released.
    pub(crate) fn settle_message(&mut self, id: MessageId, fx: &mut Effects) {
        let Some((stage, waits)) = self.inbox.get(id).map(|item| {
            let waits = item.stage == Stage::Worked && item.meta.task.is_some() && !item.task_ended;
            (item.stage, waits)
        }) else {
            return;
        };
        if waits || self.reports.owes(id) {
            return;
        }
        match stage {
            Stage::Worked => {
                self.say_stage(id, Stage::Settled, None, fx);
                self.inbox.settle(id, self.config.limits.settled);
            }
            Stage::SetAside => {}
            Stage::Held | Stage::Claimed | Stage::Offered | Stage::Taken | Stage::Ambiguous | Stage::Settled => return,
        }
        self.claims.remove(id);
        self.touched.claims = true;
        self.forget_message(id, fx);
        fx.sync = true;
    }

    pub(crate) fn say_stage(&mut self, id: MessageId, stage: Stage, reason: Option<Text>, fx: &mut Effects) {
        let attempt = self.inbox.get(id).map_or(0, |item| item.attempt);
        fx.note(Note::Stage { message: id, stage, attempt });
        self.report(reports::stage(id, stage, attempt, reason), fx);
    }

    pub(crate) fn close_work_of(&mut self, id: MessageId) {
        self.work.close(Kind::Message, id);
        if let Some(task) = self.inbox.get(id).and_then(|item| item.meta.task)
            && !self.inbox.task_has_more(task, id)
        {
            self.work.close(Kind::Task, task);
        }
    }
}
