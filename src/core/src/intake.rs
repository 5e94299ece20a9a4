//! Messages coming in: by the bus, and by fetching what is unread (behaviour 5).

use relay_runner_protocol::Stage;

use alloc::vec::Vec;

use crate::Core;
use crate::claims::Claims;
use crate::deadlines::TimerKey;
use crate::delivery::Delivery;
use crate::effect::{Call, Effects, Repeat};
use crate::event::{Incoming, OpResult};
use crate::flags::Flag;
use crate::ids::{MessageId, TaskId, Text};
use crate::inbox::Item;
use crate::matching::{Given, TAGS_MOST, is_ours};
use crate::mutant::Mutant;
use crate::note::Note;
use crate::ops::Op;
use crate::reports::Reports;
use crate::time::Millis;
use crate::work::Own;

/// So often may the list of what is unread fail while connected, one try in 20 s, before what is newer waits for it no longer.
const LISTS: u32 = 30;

impl Core {
    /// A message from the bus. While older ones wait on the relay, it waits there as well, so that the order holds.
    pub(crate) fn message_arrived(&mut self, message: Incoming, fx: &mut Effects) {
        let waits = self.inbox.overflow || self.inbox.unlisted.is_some();
        let waits = waits && !self.config.is_mutant(Mutant::OvertakesTheFlood);
        if waits && !self.inbox.knows(message.id) && is_ours(&self.config, self.given.as_ref(), &message) {
            if self.inbox.overflow {
                self.turned_away(fx);
            } else {
                // The list that is under way may be older than it.
                self.inbox.turned_away += 1;
            }
            return;
        }
        self.take_in(message, fx);
    }

    fn take_in(&mut self, message: Incoming, fx: &mut Effects) {
        let id = message.id;
        if !is_ours(&self.config, self.given.as_ref(), &message) {
            fx.note(Note::NotOurs { message: id });
            return;
        }
        let held_by_another = message.claimed_by.as_ref().is_some_and(|by| *by != self.config.identity.agent_id);
        if self.inbox.knows(id) || (message.claimable && held_by_another) {
            return;
        }
        if self.inbox.len() >= self.config.limits.held {
            self.turned_away(fx);
            return;
        }
        let attempt = self.inbox.insert(Item::new(message, self.now.mono), &self.claims);
        self.touched.inbox = true;
        self.say_stage_at(id, Stage::Held, attempt, None, fx);
    }

    fn turned_away(&mut self, fx: &mut Effects) {
        self.inbox.overflow = true;
        self.inbox.turned_away += 1;
        let full = self.inbox.len() >= self.config.limits.held || !self.believes_less();
        if full && !self.troubles.said("the inbox is full", self.now.mono, &self.config) {
            fx.note(Note::Full { what: "inbox", dropped: self.inbox.turned_away });
        }
    }

    /// Asks for what is unread. One question at a time; it goes on while the relay has more and there is room.
    pub(crate) fn fetch_unread(&mut self, fx: &mut Effects) {
        // The answer that is under way may be older than the reason to ask.
        self.inbox.fetch_again = self.ops.any(|op| *op == Op::Unread);
        self.fetch_after(0, fx);
    }

    /// The same, where what is unread and was not heard of is older than what is heard from now on: that waits on the relay
    /// until it is known, or the list could not be had too often.
    pub(crate) fn fetch_what_was_missed(&mut self, fx: &mut Effects) {
        self.is_unlisted();
        self.fetch_unread(fx);
    }

    pub(crate) fn is_unlisted(&mut self) {
        if self.believes_less() {
            self.inbox.unlisted = Some(0);
        }
    }

    pub(crate) fn believes_less(&self) -> bool {
        self.config.flags.has(Flag::BelievesLess)
    }

    fn fetch_after(&mut self, after: MessageId, fx: &mut Effects) {
        if self.ending.is_begun() || self.credential.calls_wait() || self.ops.any(|op| *op == Op::Unread) {
            return;
        }
        let limit = self.config.limits.fetch;
        self.inbox.turned_away_before = self.inbox.turned_away;
        self.http(Op::Unread, Call::Unread { after, limit }, self.config.timing.liveness_deadline, fx);
    }

    pub(crate) fn unread_answered(&mut self, result: OpResult, fx: &mut Effects) {
        let again = core::mem::take(&mut self.inbox.fetch_again);
        let OpResult::Unread { messages, full } = result else {
            // Order is worth a while; it is not worth that nothing is delivered any more. Without a connection nothing comes
            // that would have to wait.
            if self.link.up().is_some() {
                self.inbox.unlisted = self.inbox.unlisted.map(|failed| failed + 1).filter(|failed| *failed < LISTS);
            }
            return;
        };
        if self.ending.is_begun() {
            return;
        }
        let last = messages.last().map(|m| m.id);
        // What was turned away since the question is not in its answer.
        let missed = self.inbox.turned_away > self.inbox.turned_away_before;
        self.inbox.overflow = false;
        for message in messages {
            self.take_in(message, fx);
        }
        // What did not fit is fetched from the half-full mark.
        let fits = !self.inbox.overflow;
        // Until the last page is here, what is newer waits on the relay.
        self.inbox.overflow |= missed || full;
        match last {
            Some(last) if full && fits => self.fetch_after(last, fx),
            Some(_) | None => self.refill(fx),
        }
        // A list that was asked for before the reason to ask again may be older than that.
        if !full && !again {
            self.inbox.unlisted = None;
            if !self.inbox.overflow && !self.link.is_resuming() && self.believes_less() {
                self.tasks_may_be_done(fx);
            }
        }
        if again {
            self.fetch_unread(fx);
        }
    }

    /// Called when something left the inbox.
    pub(crate) fn refill(&mut self, fx: &mut Effects) {
        if self.inbox.overflow && self.inbox.len() <= self.config.limits.held / 2 {
            self.fetch_unread(fx);
        }
    }

    pub(crate) fn claimed_by(&mut self, id: MessageId, by: Option<&Text>, fx: &mut Effects) {
        if by.is_none_or(|by| *by == self.config.identity.agent_id) {
            return;
        }
        if self.claims.get(id).is_some_and(|claim| claim.valid(self.now).is_some()) {
            // It may be an old event: the relay is asked who has it now.
            self.lapse(id, fx);
        } else {
            self.taken_over(id, "another agent claimed it", fx);
        }
    }

    /// Somebody gave the agent other words to be meant by. What is addressed to them may be waiting.
    pub(crate) fn agent_updated(&mut self, mut given: Given, fx: &mut Effects) {
        given.tags.truncate(TAGS_MOST);
        if self.given.as_ref() != Some(&given) {
            self.given = Some(given);
            fx.sync = true;
            self.fetch_unread(fx);
        }
    }

    /// Another let go of it: it may be ours now. What is unread says so.
    pub(crate) fn claim_released(&mut self, id: MessageId, fx: &mut Effects) {
        if !self.inbox.knows(id) {
            self.fetch_unread(fx);
        }
    }

    /// Another took it, or it is gone: dropped if not yet offered; else nothing more is reported for it.
    pub(crate) fn taken_over(&mut self, id: MessageId, why: &'static str, fx: &mut Effects) {
        self.owes_no_reply(id, fx);
        let Some(item) = self.inbox.get(id) else { return };
        let (stage, seen) = (item.stage, item.seen);
        let said = item.taken_over && !self.config.is_mutant(Mutant::TellsTwice);
        fx.note(Note::TakenOver { message: id, why });
        self.silence(id);
        self.claims.remove(id, &mut self.inbox);
        self.touched.claims = true;
        match stage {
            Stage::Ambiguous if seen => {
                self.tell(id, why.into());
                self.forget_message(id, fx);
            }
            // The process that is being taken up may be at work on it, and is told once it shows that it has it.
            Stage::Ambiguous if self.lifecycle.is_adopting() || self.lifecycle.is_to_adopt() => {
                self.inbox.update(id, |item| item.taken_over = true);
            }
            Stage::Held | Stage::Claimed | Stage::Ambiguous | Stage::SetAside | Stage::Worked | Stage::Settled => {
                self.forget_message(id, fx);
            }
            Stage::Offered | Stage::Taken => {
                self.inbox.update(id, |item| item.taken_over = true);
                self.close_work_of(id);
                // One that was only handed over is told of once the provider shows that it has it.
                if stage == Stage::Taken && !said {
                    self.tell(id, why.into());
                }
            }
        }
        fx.sync = true;
    }

    /// It is gone for good: a page of unread messages that was asked for before does not bring it back.
    pub(crate) fn deleted(&mut self, id: MessageId, fx: &mut Effects) {
        if self.believes_less() && !self.inbox.is_settled(id) {
            self.inbox.settle(id, self.config.limits.settled);
            fx.sync = true;
        }
        self.taken_over(id, "it was deleted", fx);
    }

    /// Drops the reports that wait for a message, except those that are under way.
    pub(crate) fn silence(&mut self, id: MessageId) {
        self.reports.silence(id);
    }

    /// Takes a message out of the inbox. A task whose last message it was ends with those that were worked.
    pub(crate) fn forget_message(&mut self, id: MessageId, fx: &mut Effects) {
        let task = self.drop_message(id, fx);
        if let Some(task) = task {
            self.task_may_be_done(task, fx);
        }
    }

    /// Forgets every message: the relay that they are of is not there any more.
    pub(crate) fn forget_messages(&mut self) {
        let ids: Vec<_> = self.inbox.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.close_work_of(id);
        }
        // What the provider was handed may have come from this relay already, before it said who it is: should one of
        // these ids come again, the offer says that it may be a repeat.
        self.inbox = self.inbox.begin_anew();
        self.claims = Claims::default();
        self.reports = Reports::default();
        self.delivery = Delivery::default();
        self.owed.forget();
        for key in [TimerKey::Take, TimerKey::Turnless, TimerKey::Ambiguous, TimerKey::Inbox] {
            self.deadlines.clear(key);
        }
        self.touched.claims = true;
        self.touched.reports = true;
    }

    /// Takes a message out of the inbox, whatever became of it. Returns its task.
    pub(crate) fn drop_message(&mut self, id: MessageId, fx: &mut Effects) -> Option<TaskId> {
        let task = self.inbox.remove(id, self.config.limits.settled).and_then(|item| item.meta.task);
        self.close_work(id, task);
        self.batch_without(id);
        if self.delivery.claiming == Some(id) {
            self.delivery.claiming = None;
        }
        self.touched.inbox = true;
        self.refill(fx);
        task
    }

    /// A message goes back to where it can be offered from, saying what the next offer has to say.
    pub(crate) fn put_back(&mut self, id: MessageId, repeat: Repeat, wait: Millis, fx: &mut Effects) {
        if self.gone_while_offered(id, fx) {
            return;
        }
        let claimed = self.claims.get(id).is_some();
        let not_before = if wait == 0 { 0 } else { self.now.mono.saturating_add(wait) };
        let now = self.now.mono;
        let repeat = if self.config.is_mutant(Mutant::ForgetsRepeats) { Repeat::First } else { repeat };
        self.inbox.update(id, |item| {
            item.stage = if claimed { Stage::Claimed } else { Stage::Held };
            item.turn = None;
            item.seen = false;
            item.since = now;
            item.not_before = not_before;
            item.repeat = item.repeat.worse(repeat);
        });
        if claimed {
            self.open_work_of(id);
        } else {
            self.work.close(Own::Message(id));
        }
        self.touched.inbox = true;
    }
}
