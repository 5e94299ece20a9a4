//! Delivery: handing messages to the provider, one batch at a time (behaviour 6).

use alloc::vec::Vec;
use relay_runner_protocol::{Stage, TaskStatus};
use serde::{Deserialize, Serialize};

use crate::Core;
use crate::backoff::doubling;
use crate::config::Delivery as Mode;
use crate::deadlines::TimerKey;
use crate::draw::{Stream, draw};
use crate::effect::{Act, Effect, Effects, Offer, Offers, Repeat};
use crate::event::{FailureKind, OpResult};
use crate::ids::{Generation, MessageId, Nonce, OpId};
use crate::inbox::{Item, Place};
use crate::mutant::Mutant;
use crate::note::Note;
use crate::ops::Op;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delivery {
    pub(crate) batch: Option<Batch>,
    /// The new claim that was asked for, and holds up the next batch.
    pub(crate) claiming: Option<MessageId>,
    /// Failed offers in a row.
    failures: u32,
    /// After a failed batch: one message at a time.
    single: bool,
    /// Those of the newest batch.
    offers: Offers,
    /// The memory of the messages of the batch before; nothing is in it.
    #[serde(skip)]
    spare: Vec<MessageId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Batch {
    /// None once it is handed over.
    pub(crate) op: Option<OpId>,
    generation: Generation,
    pub(crate) messages: Vec<MessageId>,
}

/// What a heading and the rest around a body count for, in bytes.
const AROUND_A_BODY: u64 = 256;

impl Core {
    /// Whether something may be handed to the provider now.
    fn gate_is_open(&self) -> bool {
        let dying = self.lifecycle.is_being_stopped() && self.config.is_mutant(Mutant::OffersToTheDying);
        (self.lifecycle.is_up() || dying)
            && self.delivery.batch.is_none()
            && self.delivery.claiming.is_none()
            && self.prompt.is_done()
            && !self.ending.is_begun()
            && !self.adapter_is_busy()
            && !self.is_telling()
            && !self.is_fetching_attachments()
            && !self.deadlines.is_armed(TimerKey::TurnGrace)
            && !(self.config.adapter.typed && self.approvals.any_open())
    }

    /// Whether the provider can take something now, as far as its turns are concerned.
    fn turn_is_open(&self) -> bool {
        self.turns.running().is_none() || (self.config.delivery == Mode::Steer && self.config.adapter.steer)
    }

    /// A turn runs, and an urgent message is to break it off: once it is claimed, where it must be.
    fn make_way(&mut self, fx: &mut Effects) {
        if self.config.delivery != Mode::Interrupt || !self.config.adapter.interrupt {
            return;
        }
        let now = self.now.mono;
        let may_go = |(place, item): &(Place, &Item)| place.is_urgent() && item.not_before <= now;
        let ready = self.inbox.ready().next().filter(may_go).map(|(place, _)| place.id);
        let unclaimed = self.inbox.unclaimed().next().filter(may_go).map(|(place, _)| place.id);
        let rests = unclaimed.map_or(0, |id| self.claims.rests_until(id));
        if rests > now {
            self.deadlines.set(TimerKey::Inbox, Some(rests));
        }
        let unclaimed = unclaimed.filter(|_| rests <= now);
        match (ready, unclaimed) {
            (Some(_), _) => self.interrupt_turn(fx),
            (None, Some(id)) if self.may_claim() && self.claims.get(id).is_none() && !self.reports.releases(id) => {
                self.ask_for_claim(id, fx);
            }
            (None, _) => {}
        }
    }

    fn may_claim(&self) -> bool {
        self.link.epoch.is_some() && !self.credential.calls_wait() && self.claims_in_use() < self.config.limits.claims
    }

    /// Offers what can be offered now; asks for one claim first where one is needed.
    pub(crate) fn pump(&mut self, fx: &mut Effects) {
        if !self.touched.inbox || !self.inbox.has_waiting() || !self.gate_is_open() {
            return;
        }
        if !self.turn_is_open() {
            self.make_way(fx);
            return;
        }
        let now = self.now.mono;
        let limits = &self.config.limits;
        let most = if self.delivery.single { 1 } else { limits.batch };
        let mut wake = None;
        let mut later = |at: u64| wake = Some(wake.map_or(at, |w: u64| w.min(at)));

        let mut batch = core::mem::take(&mut self.delivery.spare);
        let mut last = None;
        let mut bytes = 0;
        let mut to_claim = None;
        if self.may_claim() {
            for (place, item) in self.inbox.unclaimed() {
                // Asked for already; or given back, and the relay does not know that yet.
                if item.is_claimed() || self.reports.releases(place.id) {
                    continue;
                }
                let not_before = item.not_before.max(self.claims.rests_until(place.id));
                if not_before <= now {
                    to_claim = Some(place);
                    break;
                }
                later(not_before);
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
            let unconfirmed = || self.claims.get(place.id).is_some_and(|claim| claim.valid(self.now).is_none());
            if item.is_claimed() && unconfirmed() {
                continue;
            }
            let size = u64::from(item.meta.body.len) + AROUND_A_BODY;
            if !batch.is_empty() && bytes + size > limits.batch_bytes {
                break;
            }
            bytes += size;
            batch.push(place.id);
            last = Some(place);
        }
        self.deadlines.set(TimerKey::Inbox, wake.map(|at| at.max(now.saturating_add(1))));

        // One that must be claimed goes first if it would be in this batch.
        match to_claim {
            Some(place) if batch.len() < most || last.is_some_and(|last| place < last) => {
                self.keep_spare(batch);
                self.ask_for_claim(place.id, fx);
            }
            Some(_) | None if !batch.is_empty() => {
                if self.fetch_attachments(&batch, fx) {
                    self.keep_spare(batch);
                } else {
                    self.offer(batch, fx);
                }
            }
            Some(_) | None => self.keep_spare(batch),
        }
    }

    fn offer(&mut self, messages: Vec<MessageId>, fx: &mut Effects) {
        let generation = self.lifecycle.generation();
        let deadline = self.after(self.config.timing.offer_deadline);
        let op = self.ops.start(Op::Offer(generation), deadline);
        let offers = self.delivery.offers.anew();
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
        }
        self.delivery.batch = Some(Batch { op: Some(op), generation, messages });
        let offers = self.delivery.offers.clone();
        for offer in &offers {
            self.open_work_of(offer.message);
            self.say_stage_at(offer.message, Stage::Offered, offer.attempt, None, fx);
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
            self.delivery.single = self.inbox.has_tried();
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
                self.delivery.single = true;
                for id in messages {
                    self.offer_failed(id, &failure.text, fx);
                }
            }
        }
    }

    /// A try that counts: the provider was up, and the failure came from the offer itself.
    pub(crate) fn offer_failed(&mut self, id: MessageId, why: &str, fx: &mut Effects) {
        let timing = &self.config.timing;
        let wait = doubling(self.delivery.failures.max(1), timing.offer_retry_min, timing.offer_retry_max);
        let never = self.config.is_mutant(Mutant::NeverSetsAside);
        let most = if never { u32::MAX } else { self.config.limits.offer_tries };
        let tries = self.inbox.update(id, |item| {
            item.tries += 1;
            item.tries
        });
        if tries.is_some_and(|tries| tries >= most) {
            let why = alloc::format!("offered {most} times in vain; the last time: {why}");
            self.set_aside(id, &why.into(), TaskStatus::Failed, fx);
        } else {
            self.put_back(id, Repeat::First, wait, fx);
        }
    }

    fn keep_spare(&mut self, mut messages: Vec<MessageId>) {
        messages.clear();
        self.delivery.spare = messages;
    }

    /// Takes a message out of the batch; the batch ends with the last one.
    pub(crate) fn batch_without(&mut self, id: MessageId) {
        let Some(batch) = &mut self.delivery.batch else { return };
        batch.messages.retain(|m| *m != id);
        if batch.messages.is_empty() && batch.op.is_none() {
            self.end_batch();
        }
    }

    pub(crate) fn end_batch(&mut self) {
        if let Some(batch) = self.delivery.batch.take() {
            self.keep_spare(batch.messages);
        }
        self.deadlines.clear(TimerKey::Take);
        self.touched.inbox = true;
    }

    /// Claims that are work for the provider: those of worked messages wait only for others or for the relay, those of
    /// ambiguous ones for a person, and the rest flows on.
    pub(crate) fn claims_in_use(&self) -> usize {
        let at_rest = self.inbox.claims_at_rest();
        debug_assert_eq!(
            at_rest,
            self.claims.iter().filter(|(id, _)| self.inbox.get(*id).is_some_and(Item::is_at_rest)).count(),
            "the inbox knows which of its messages have a claim"
        );
        self.claims.len() - at_rest
    }
}
