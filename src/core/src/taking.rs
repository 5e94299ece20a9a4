//! What is known of where an offered message is: taken, ambiguous, or back with the next process (behaviour 6).

use alloc::vec::Vec;
use relay_runner_protocol::{Stage, TaskStatus};

use crate::Core;
use crate::config::MarkRead;
use crate::deadlines::TimerKey;
use crate::effect::{Call, Effects, Reason, Repeat};
use crate::event::TakenOffer;
use crate::ids::{MessageId, Nonce};
use crate::inbox::Item;
use crate::lifecycle::Input;
use crate::mutant::Mutant;
use crate::note::Note;
use crate::reports;

impl Core {
    /// The provider showed that it has these offers.
    pub(crate) fn taken(&mut self, offers: &[TakenOffer], into_turn: bool, fx: &mut Effects) {
        for offer in offers {
            self.take(offer.message, offer.nonce, into_turn, fx);
        }
    }

    pub(crate) fn take(&mut self, id: MessageId, nonce: Option<Nonce>, into_turn: bool, fx: &mut Effects) {
        if !into_turn && self.turns.running().is_none() && self.inbox.get(id).is_some_and(|item| item.turn.is_none()) {
            // It takes something new, so the turn that could not be confirmed is over.
            self.turn_unseen(fx);
            self.lifecycle_input(&Input::Turn(false), fx);
        }
        let (now, turn) = (self.now.mono, self.turns.current());
        let taken = self.inbox.update(id, |item| {
            let offered = matches!(item.stage, Stage::Offered | Stage::Ambiguous);
            if !offered || nonce.is_some_and(|nonce| nonce != item.nonce) {
                return None;
            }
            item.stage = Stage::Taken;
            item.since = now;
            item.seen = true;
            item.turn = turn.filter(|_| into_turn);
            Some((item.attempt, item.taken_over))
        });
        let Some((attempt, taken_over)) = taken.flatten() else {
            fx.note(Note::Stale { what: "evidence of taking", number: id });
            return;
        };
        self.batch_without(id);
        self.not_blocked_any_more(id, fx);
        fx.sync = true;
        if taken_over {
            self.tell(id, "it is not its own any more".into());
        } else {
            self.open_work_of(id);
            self.owes_a_reply(id);
            self.say_stage_at(id, Stage::Taken, attempt, None, fx);
            if self.config.mark_read == MarkRead::Taken || self.config.is_mutant(Mutant::MarksReadTooEarly) {
                self.report(Call::Read { message: id }, fx);
            }
        }
        if turn.is_none() {
            // Its turn is about to begin; what is offered before would slip into it.
            self.deadlines.arm(TimerKey::TurnGrace, now, self.config.timing.turn_grace);
            self.deadlines.arm(TimerKey::Turnless, now, self.config.timing.take_timeout);
        }
    }

    /// Starts the time in which a batch is to be taken, unless something keeps the provider from taking it.
    pub(crate) fn wait_for_taking(&mut self) {
        let Some(batch) = &self.delivery.batch else { return };
        if batch.op.is_some() {
            return;
        }
        // A question of a turn that gives no sign of life may never be answered.
        let asks = self.approvals.any_open() && !(self.turns.is_unverified() && self.believes_less());
        if batch.messages.is_empty() {
            self.end_batch();
        } else if self.turns.running().is_none() && !asks {
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
    pub(crate) fn doubt(&mut self, id: MessageId, why: &'static str, fx: &mut Effects) {
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
            self.close_work_of(id);
            self.say_stage(id, Stage::Ambiguous, Some(why.into()), fx);
            if !self.deadlines.is_armed(TimerKey::Ambiguous) {
                self.deadlines.arm(TimerKey::Ambiguous, now, self.config.timing.ambiguous_limit);
            }
            fx.sync = true;
        }
    }

    /// Its task was reported as blocked while nobody knew whether the agent has it: now it goes on.
    fn not_blocked_any_more(&mut self, id: MessageId, fx: &mut Effects) {
        let task = self.inbox.update(id, |item| core::mem::take(&mut item.blocked).then_some(item.meta.task));
        if let Some(Some(Some(task))) = task {
            self.report(reports::task(task, id, TaskStatus::InProgress, None), fx);
        }
    }

    /// The turn that has it shows signs of life again.
    pub(crate) fn certain_again(&mut self, id: MessageId, fx: &mut Effects) {
        let now = self.now.mono;
        self.inbox.update(id, |item| {
            item.stage = Stage::Taken;
            item.since = now;
        });
        self.open_work_of(id);
        self.say_stage(id, Stage::Taken, None, fx);
    }

    /// The adapter knows that the provider is ready and did not get these: they are offered again, as after an offer
    /// that failed.
    pub(crate) fn missed(&mut self, offers: &[TakenOffer], fx: &mut Effects) {
        for offer in offers {
            let missed = self.inbox.get(offer.message).is_some_and(|item| {
                let offered = matches!(item.stage, Stage::Offered | Stage::Ambiguous) && !item.seen;
                offered && offer.nonce.is_none_or(|nonce| nonce == item.nonce)
            });
            if missed && !self.config.is_mutant(Mutant::ForgetsTheMissed) {
                self.batch_without(offer.message);
                self.offer_failed(offer.message, "the provider did not get it", fx);
            } else {
                fx.note(Note::Stale { what: "report of a missed offer", number: offer.message });
            }
        }
    }

    /// Taken, and no turn began: whether the provider works on it is not known.
    pub(crate) fn turnless(&mut self, fx: &mut Effects) {
        let turnless = |item: &Item| item.stage == Stage::Taken && item.turn.is_none();
        let mut last = None;
        while let Some(id) = self.inbox.next_shown(last, turnless) {
            last = Some(id);
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
                self.report(reports::task(task, id, TaskStatus::Blocked, Some(Reason::Other(why.into()))), fx);
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
                Stage::Offered => Some((id, Repeat::Ambiguous, item.taken_over)),
                // The run before may have known that its process had it.
                Stage::Ambiguous => Some((id, item.repeat, item.taken_over)),
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
}
