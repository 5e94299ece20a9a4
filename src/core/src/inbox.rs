//! The inbox: messages on their way into the provider, by id, each with the stage it has reached (behaviour 5, 6).
//!
//! Bounded: what does not fit stays unread on the relay, and nothing newer is accepted until it was fetched, so that
//! the order of ids holds whatever arrives.

use alloc::collections::{BTreeMap, BTreeSet};
use relay_runner_protocol::Stage;
use serde::{Deserialize, Serialize};

use crate::effect::Repeat;
use crate::event::Incoming;
use crate::ids::{MessageId, Nonce, TaskId, Text, TurnNumber};
use crate::time::Mono;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) meta: Incoming,
    pub(crate) stage: Stage,
    /// Offers made, failed ones included.
    pub(crate) attempt: u32,
    /// Offers that failed through the offer itself.
    pub(crate) tries: u32,
    /// Turns that had it and failed or were interrupted.
    pub(crate) failed_turns: u32,
    pub(crate) nonce: Nonce,
    /// What the next offer has to say about the earlier ones.
    pub(crate) repeat: Repeat,
    /// Not to be offered or claimed before this.
    pub(crate) not_before: Mono,
    /// The turn that has it; none while it waits for the next turn to begin.
    pub(crate) turn: Option<TurnNumber>,
    /// Since when it has this stage.
    pub(crate) since: Mono,
    /// The provider showed that it has it, since it was offered last.
    pub(crate) seen: bool,
    /// The end of its task was accepted by the relay.
    pub(crate) task_ended: bool,
    /// Its task was reported as blocked, because it is ambiguous for too long.
    pub(crate) blocked: bool,
    /// Another took it, it was deleted, or its task was cancelled: nothing more is reported for it.
    pub(crate) taken_over: bool,
}

impl Item {
    pub(crate) fn new(meta: Incoming, now: Mono) -> Self {
        Self {
            meta,
            stage: Stage::Held,
            attempt: 0,
            tries: 0,
            failed_turns: 0,
            nonce: Nonce(0),
            repeat: Repeat::First,
            not_before: 0,
            turn: None,
            since: now,
            seen: false,
            task_ended: false,
            blocked: false,
            taken_over: false,
        }
    }

    /// It waits to be claimed or offered.
    pub(crate) const fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Held | Stage::Claimed)
    }

    /// It keeps the agent busy: it is between being claimed or offered and being settled.
    pub(crate) const fn is_work(&self) -> bool {
        matches!(self.stage, Stage::Claimed | Stage::Offered | Stage::Taken | Stage::Worked)
    }
}

/// What is remembered of a message that was offered before it was forgotten, should it come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Had {
    pub attempt: u32,
    pub tries: u32,
    pub failed_turns: u32,
    pub repeat: Repeat,
}

impl Had {
    fn of(item: &Item) -> Option<Self> {
        let repeat = match item.stage {
            Stage::Offered | Stage::Ambiguous => Repeat::Ambiguous,
            Stage::Taken | Stage::Worked => Repeat::Redelivered,
            Stage::Held | Stage::Claimed => item.repeat,
            Stage::Settled | Stage::SetAside => return None,
        };
        let Item { attempt, tries, failed_turns, .. } = *item;
        (attempt > 0).then_some(Self { attempt, tries, failed_turns, repeat: item.repeat.worse(repeat) })
    }
}

/// The order of offers: urgent ones first, else by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place {
    not_urgent: bool,
    pub(crate) id: MessageId,
}

impl Place {
    pub(crate) const fn is_urgent(self) -> bool {
        !self.not_urgent
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inbox {
    items: BTreeMap<MessageId, Item>,
    /// Those that could be offered as they are: plain ones, and claimed ones.
    ready: BTreeSet<Place>,
    /// Those that must be claimed first.
    unclaimed: BTreeSet<Place>,
    /// Something did not fit, and is still unread on the relay.
    pub(crate) overflow: bool,
    /// There was a reason to ask for what is unread while it was being fetched.
    pub(crate) fetch_again: bool,
    /// How many messages did not fit, in all, and when the relay was last asked for what is unread.
    pub(crate) turned_away: u64,
    pub(crate) turned_away_before: u64,
    /// Ids that are over, oldest first out: they are never taken in again.
    settled: BTreeSet<MessageId>,
    set_aside: BTreeMap<MessageId, Text>,
    had: BTreeMap<MessageId, Had>,
}

impl Inbox {
    pub(crate) fn from_facts(
        settled: BTreeSet<MessageId>,
        set_aside: BTreeMap<MessageId, Text>,
        had: BTreeMap<MessageId, Had>,
    ) -> Self {
        Self { settled, set_aside, had, ..Self::default() }
    }

    /// What was forgotten after it was offered; what was taken over counts as such already.
    pub(crate) fn had(&self) -> BTreeMap<MessageId, Had> {
        let gone = self.items.iter().filter(|(_, item)| item.taken_over);
        let gone = gone.filter_map(|(id, item)| Some((*id, Had::of(item)?)));
        self.had.iter().map(|(id, had)| (*id, *had)).chain(gone).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn get(&self, id: MessageId) -> Option<&Item> {
        self.items.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (MessageId, &Item)> {
        self.items.iter().map(|(id, item)| (*id, item))
    }

    pub(crate) fn settled(&self) -> &BTreeSet<MessageId> {
        &self.settled
    }

    pub(crate) fn set_aside(&self) -> &BTreeMap<MessageId, Text> {
        &self.set_aside
    }

    pub(crate) fn knows(&self, id: MessageId) -> bool {
        self.items.contains_key(&id) || self.settled.contains(&id) || self.set_aside.contains_key(&id)
    }

    /// Takes a message in. One that was here before goes on where it was, and says so.
    pub(crate) fn insert(&mut self, mut item: Item) {
        let id = item.meta.id;
        if let Some(had) = self.had.remove(&id) {
            item.attempt = had.attempt;
            item.tries = had.tries;
            item.failed_turns = had.failed_turns;
            item.repeat = had.repeat;
        }
        self.place(&item);
        self.items.insert(id, item);
    }

    /// Changes an item, and keeps the order of offers in step with it.
    pub(crate) fn update<R>(&mut self, id: MessageId, change: impl FnOnce(&mut Item) -> R) -> Option<R> {
        let item = self.items.get_mut(&id)?;
        let before = (item.stage, item.is_waiting());
        let result = change(item);
        if before != (item.stage, item.is_waiting()) {
            let place = Place { not_urgent: !item.meta.urgent, id };
            self.ready.remove(&place);
            self.unclaimed.remove(&place);
            if item.is_waiting() {
                Self::set_for(&mut self.ready, &mut self.unclaimed, item).insert(place);
            }
        }
        Some(result)
    }

    /// Takes a message out, and remembers for a while that it was offered.
    pub(crate) fn remove(&mut self, id: MessageId, most: usize) -> Option<Item> {
        let item = self.items.remove(&id)?;
        if let Some(had) = Had::of(&item).filter(|_| !self.settled.contains(&id)) {
            self.had.insert(id, had);
            while self.had.len() > most {
                self.had.pop_first();
            }
        }
        let place = Place { not_urgent: !item.meta.urgent, id };
        self.ready.remove(&place);
        self.unclaimed.remove(&place);
        Some(item)
    }

    /// Remembers that an id is over; the lowest of too many are forgotten.
    pub(crate) fn settle(&mut self, id: MessageId, most: usize) {
        self.settled.insert(id);
        while self.settled.len() > most {
            self.settled.pop_first();
        }
    }

    pub(crate) fn put_aside(&mut self, id: MessageId, why: Text, most: usize) {
        self.set_aside.insert(id, why);
        while self.set_aside.len() > most {
            self.set_aside.pop_first();
        }
    }

    /// Those that may be offered as they are, in the order of offers.
    pub(crate) fn ready(&self) -> impl Iterator<Item = (Place, &Item)> {
        self.ready.iter().filter_map(|place| Some((*place, self.items.get(&place.id)?)))
    }

    /// Those that must be claimed first, in the order of offers.
    pub(crate) fn unclaimed(&self) -> impl Iterator<Item = (Place, &Item)> {
        self.unclaimed.iter().filter_map(|place| Some((*place, self.items.get(&place.id)?)))
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.ready.is_empty() || !self.unclaimed.is_empty()
    }

    /// Whether another message of this task is still on its way.
    pub(crate) fn task_has_more(&self, task: TaskId, but: MessageId) -> bool {
        self.items.iter().any(|(id, item)| {
            *id != but && item.meta.task == Some(task) && !matches!(item.stage, Stage::Worked | Stage::Settled)
        })
    }

    fn place(&mut self, item: &Item) {
        let place = Place { not_urgent: !item.meta.urgent, id: item.meta.id };
        if item.is_waiting() {
            Self::set_for(&mut self.ready, &mut self.unclaimed, item).insert(place);
        }
    }

    fn set_for<'a>(
        ready: &'a mut BTreeSet<Place>,
        unclaimed: &'a mut BTreeSet<Place>,
        item: &Item,
    ) -> &'a mut BTreeSet<Place> {
        if item.meta.claimable && item.stage == Stage::Held { unclaimed } else { ready }
    }
}
