//! The inbox: messages on their way into the provider, by id, each with the stage it has reached (behaviour 5, 6).
//!
//! Bounded: what does not fit stays unread on the relay, and nothing newer is accepted until it was fetched, so that
//! the order of ids holds whatever arrives.

mod index;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use relay_runner_protocol::Stage;
use serde::{Deserialize, Serialize};

use crate::claims::Claims;
use crate::effect::Repeat;
use crate::event::Incoming;
use crate::ids::{MessageId, Nonce, TaskId, Text, TurnNumber};
use crate::sorted::Sorted;
use crate::time::Mono;
use index::{Index, Listing};

pub(crate) use index::Place;

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
    /// Its attachments were fetched, or cannot be had.
    pub(crate) fetched: bool,
    /// Another took it, it was deleted, or its task was cancelled: nothing more is reported for it.
    pub(crate) taken_over: bool,
    /// Kept in step by [`Claims`].
    claimed: bool,
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
            fetched: false,
            taken_over: false,
            claimed: false,
        }
    }

    /// It is no work for the provider now: it waits for others, for the relay, or for a person.
    pub(crate) const fn is_at_rest(&self) -> bool {
        matches!(self.stage, Stage::Worked | Stage::Ambiguous | Stage::SetAside)
    }

    /// There is a claim for it, whatever its phase.
    pub(crate) const fn is_claimed(&self) -> bool {
        self.claimed
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

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Listed", into = "Listed")]
pub(crate) struct Inbox {
    items: Sorted<MessageId, Box<Item>>,
    index: Index,
    /// Something did not fit, and is still unread on the relay.
    pub(crate) overflow: bool,
    /// What is unread is not known, and may be older than what is heard: how often its list could not be had.
    pub(crate) unlisted: Option<u32>,
    /// There was a reason to ask for what is unread while it was being fetched.
    pub(crate) fetch_again: bool,
    /// How many messages did not fit, in all, and when the relay was last asked for what is unread.
    pub(crate) turned_away: u64,
    pub(crate) turned_away_before: u64,
    /// Ids that are over, lowest first out: they are never taken in again.
    settled: Sorted<MessageId>,
    set_aside: BTreeMap<MessageId, Text>,
    had: BTreeMap<MessageId, Had>,
}

/// The form in a mark: without what follows from the items.
#[derive(Serialize, Deserialize)]
struct Listed {
    items: Vec<Item>,
    overflow: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unlisted: Option<u32>,
    fetch_again: bool,
    turned_away: u64,
    turned_away_before: u64,
    settled: Vec<MessageId>,
    set_aside: BTreeMap<MessageId, Text>,
    had: BTreeMap<MessageId, Had>,
}

impl From<Inbox> for Listed {
    fn from(inbox: Inbox) -> Self {
        Self {
            items: inbox.items.into_pairs().map(|(_, item)| *item).collect(),
            overflow: inbox.overflow,
            unlisted: inbox.unlisted,
            fetch_again: inbox.fetch_again,
            turned_away: inbox.turned_away,
            turned_away_before: inbox.turned_away_before,
            settled: inbox.settled.into_pairs().map(|(id, ())| id).collect(),
            set_aside: inbox.set_aside,
            had: inbox.had,
        }
    }
}

impl From<Listed> for Inbox {
    fn from(listed: Listed) -> Self {
        let mut inbox = Self {
            items: Sorted::default(),
            index: Index::default(),
            overflow: listed.overflow,
            unlisted: listed.unlisted,
            fetch_again: listed.fetch_again,
            turned_away: listed.turned_away,
            turned_away_before: listed.turned_away_before,
            settled: listed.settled.into_iter().map(|id| (id, ())).collect(),
            set_aside: listed.set_aside,
            had: listed.had,
        };
        for item in listed.items {
            inbox.put(item);
        }
        inbox
    }
}

impl Inbox {
    pub(crate) fn from_facts(
        settled: BTreeSet<MessageId>,
        set_aside: BTreeMap<MessageId, Text>,
        had: BTreeMap<MessageId, Had>,
    ) -> Self {
        let settled = settled.into_iter().map(|id| (id, ())).collect();
        Self { settled, set_aside, had, ..Self::default() }
    }

    /// An empty one, that knows of what the provider was handed.
    pub(crate) fn begin_anew(&self) -> Self {
        let handed = self
            .iter()
            .filter(|(_, item)| matches!(item.stage, Stage::Offered | Stage::Taken | Stage::Ambiguous | Stage::Worked));
        let had = |item: &Item| Had { attempt: item.attempt, tries: 0, failed_turns: 0, repeat: Repeat::Ambiguous };
        Self { had: handed.map(|(id, item)| (id, had(item))).collect(), ..Self::default() }
    }

    /// What was forgotten after it was offered; what was taken over counts as such already.
    pub(crate) fn had(&self) -> BTreeMap<MessageId, Had> {
        let gone = self.iter().filter(|(_, item)| item.taken_over);
        let gone = gone.filter_map(|(id, item)| Some((id, Had::of(item)?)));
        self.had.iter().map(|(id, had)| (*id, *had)).chain(gone).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn get(&self, id: MessageId) -> Option<&Item> {
        self.items.get(&id).map(|item| &**item)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (MessageId, &Item)> {
        self.items.iter().map(|(id, item)| (*id, &**item))
    }

    /// It was worked, and the relay knows, or it was deleted: nobody is to have it again.
    pub(crate) fn is_settled(&self, id: MessageId) -> bool {
        self.settled.contains(&id)
    }

    pub(crate) fn settled(&self) -> BTreeSet<MessageId> {
        self.settled.keys().copied().collect()
    }

    pub(crate) fn set_aside(&self) -> &BTreeMap<MessageId, Text> {
        &self.set_aside
    }

    pub(crate) fn knows(&self, id: MessageId) -> bool {
        self.items.contains(&id) || self.settled.contains(&id) || self.set_aside.contains_key(&id)
    }

    /// Takes a message in. One that was here before goes on where it was, and says so. Returns how often it was offered.
    pub(crate) fn insert(&mut self, mut item: Item, claims: &Claims) -> u32 {
        item.claimed = claims.get(item.meta.id).is_some();
        if let Some(had) = self.had.remove(&item.meta.id) {
            item.attempt = had.attempt;
            item.tries = had.tries;
            item.failed_turns = had.failed_turns;
            item.repeat = had.repeat;
        }
        let attempt = item.attempt;
        self.put(item);
        attempt
    }

    fn put(&mut self, item: Item) {
        self.index.insert(&item);
        self.items.insert(item.meta.id, Box::new(item));
    }

    /// Changes an item, and keeps the indexes in step with it.
    pub(crate) fn update<R>(&mut self, id: MessageId, change: impl FnOnce(&mut Item) -> R) -> Option<R> {
        let item = self.items.get_mut(&id)?;
        let before = Listing::of(item);
        let result = change(item);
        self.index.moved(item, before);
        Some(result)
    }

    /// Whether there is a claim for this message.
    pub(crate) fn set_claimed(&mut self, id: MessageId, claimed: bool) {
        self.update(id, |item| item.claimed = claimed);
    }

    /// Takes a message out, and remembers for a while that it was offered.
    pub(crate) fn remove(&mut self, id: MessageId, most: usize) -> Option<Box<Item>> {
        let item = self.items.remove(&id)?;
        if let Some(had) = Had::of(&item).filter(|_| !self.settled.contains(&id)) {
            self.had.insert(id, had);
            while self.had.len() > most {
                self.had.pop_first();
            }
        }
        self.index.remove(&item);
        Some(item)
    }

    /// Remembers that an id is over; the lowest of too many are forgotten.
    pub(crate) fn settle(&mut self, id: MessageId, most: usize) {
        self.settled.insert(id, ());
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
        self.index.ready.keys().filter_map(|place| Some((*place, self.get(place.id)?)))
    }

    /// Those that must be claimed first, in the order of offers.
    pub(crate) fn unclaimed(&self) -> impl Iterator<Item = (Place, &Item)> {
        self.index.unclaimed.keys().filter_map(|place| Some((*place, self.get(place.id)?)))
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.index.ready.is_empty() || !self.index.unclaimed.is_empty()
    }

    /// Whether one of those that may be offered as they are was offered in vain before.
    pub(crate) const fn has_tried(&self) -> bool {
        self.index.tried > 0
    }

    /// Messages that have a claim which is no work for the provider: see [`Core::claims_in_use`](crate::Core).
    pub(crate) const fn claims_at_rest(&self) -> usize {
        self.index.claims_at_rest
    }

    /// Those that the provider showed to have, and may be at work on.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (MessageId, &Item)> {
        self.shown_from(0)
    }

    fn shown_from(&self, id: MessageId) -> impl Iterator<Item = (MessageId, &Item)> {
        self.index.shown.from(&id).filter_map(|(id, ())| Some((*id, self.get(*id)?)))
    }

    /// The next of those behind this one: the inbox may change between one and the next.
    pub(crate) fn next_shown(&self, last: Option<MessageId>, test: impl Fn(&Item) -> bool) -> Option<MessageId> {
        let mut behind = self.shown_from(last.unwrap_or(0)).filter(|(id, _)| Some(*id) != last);
        behind.find(|(_, item)| test(item)).map(|(id, _)| id)
    }

    /// The messages that carry this task.
    pub(crate) fn of_task(&self, task: TaskId) -> impl Iterator<Item = (MessageId, &Item)> {
        self.of_task_from(task, 0)
    }

    fn of_task_from(&self, task: TaskId, id: MessageId) -> impl Iterator<Item = (MessageId, &Item)> {
        let carried = self.index.of_task.from(&(task, id)).take_while(move |((other, _), ())| *other == task);
        carried.filter_map(|((_, id), ())| Some((*id, self.get(*id)?)))
    }

    /// The next of those behind this one: the inbox may change between one and the next.
    pub(crate) fn next_of_task(&self, task: TaskId, last: Option<MessageId>) -> Option<MessageId> {
        self.of_task_from(task, last.unwrap_or(0)).map(|(id, _)| id).find(|id| Some(*id) != last)
    }

    /// Whether another message of this task is still on its way.
    pub(crate) fn task_has_more(&self, task: TaskId, but: MessageId) -> bool {
        self.of_task(task).any(|(id, item)| id != but && !matches!(item.stage, Stage::Worked | Stage::Settled))
    }
}
