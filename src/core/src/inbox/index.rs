//! What follows from the items of the inbox, kept at hand so that nobody has to look through all of them: which wait,
//! in the order of offers; which the provider has; which carry a task. Every item is in at most one list.

use relay_runner_protocol::Stage;
use serde::{Deserialize, Serialize};

use super::Item;
use crate::ids::{MessageId, TaskId};
use crate::sorted::Sorted;

/// The order of offers: urgent ones first, else by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place {
    not_urgent: bool,
    pub(crate) id: MessageId,
}

impl Place {
    const fn of(item: &Item) -> Self {
        Self { not_urgent: !item.meta.urgent, id: item.meta.id }
    }

    pub(crate) const fn is_urgent(self) -> bool {
        !self.not_urgent
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Ready,
    Unclaimed,
    Shown,
    None,
}

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listing {
    list: List,
    tried: bool,
    claim_at_rest: bool,
}

impl Listing {
    pub(super) const fn of(item: &Item) -> Self {
        let list = match item.stage {
            Stage::Held if item.meta.claimable => List::Unclaimed,
            Stage::Held | Stage::Claimed => List::Ready,
            Stage::Taken => List::Shown,
            Stage::Ambiguous if item.seen => List::Shown,
            Stage::Offered | Stage::Ambiguous | Stage::Worked | Stage::Settled | Stage::SetAside => List::None,
        };
        Self {
            list,
            tried: item.tries > 0 && matches!(list, List::Ready),
            claim_at_rest: item.claimed && item.is_at_rest(),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    /// Those that could be offered as they are: plain ones, and claimed ones.
    pub(super) ready: Sorted<Place>,
    /// Those that must be claimed first.
    pub(super) unclaimed: Sorted<Place>,
    /// Taken, or taken and in doubt since.
    pub(super) shown: Sorted<MessageId>,
    pub(super) of_task: Sorted<(TaskId, MessageId)>,
    /// How many of the ready ones were offered in vain.
    pub(super) tried: usize,
    /// How many have a claim, and are worked, in doubt or set aside.
    pub(super) claims_at_rest: usize,
}

impl Index {
    pub(super) fn insert(&mut self, item: &Item) {
        if let Some(task) = item.meta.task {
            self.of_task.insert((task, item.meta.id), ());
        }
        self.enter(item, Listing::of(item));
    }

    pub(super) fn remove(&mut self, item: &Item) {
        if let Some(task) = item.meta.task {
            self.of_task.remove(&(task, item.meta.id));
        }
        self.leave(item, Listing::of(item));
    }

    /// The item changed, and stood there before.
    pub(super) fn moved(&mut self, item: &Item, before: Listing) {
        let after = Listing::of(item);
        if before != after {
            self.leave(item, before);
            self.enter(item, after);
        }
    }

    fn enter(&mut self, item: &Item, listing: Listing) {
        match listing.list {
            List::Ready => {
                self.ready.insert(Place::of(item), ());
            }
            List::Unclaimed => {
                self.unclaimed.insert(Place::of(item), ());
            }
            List::Shown => {
                self.shown.insert(item.meta.id, ());
            }
            List::None => {}
        }
        self.tried += usize::from(listing.tried);
        self.claims_at_rest += usize::from(listing.claim_at_rest);
    }

    fn leave(&mut self, item: &Item, listing: Listing) {
        match listing.list {
            List::Ready => {
                self.ready.remove(&Place::of(item));
            }
            List::Unclaimed => {
                self.unclaimed.remove(&Place::of(item));
            }
            List::Shown => {
                self.shown.remove(&item.meta.id);
            }
            List::None => {}
        }
        self.tried -= usize::from(listing.tried);
        self.claims_at_rest -= usize::from(listing.claim_at_rest);
    }
}
