//! Claims: leases on claimable messages (behaviour 7). Each is a small flat machine.
//!
//! ```text
//! Asking -> Held <-> Renewing      a lease that ends: -> Lapsed <-> Asking (again)      refused: gone
//! ```

use alloc::collections::BTreeMap;
use serde::{Deserialize, Serialize};

use crate::ids::{Fence, MessageId, OpId};
use crate::lease::Lease;
use crate::time::{Mono, Stamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// The relay was asked; a claim that is asked for again after a lapse keeps its message where it is.
    Asking {
        asked: Stamp,
        op: OpId,
    },
    Held,
    Renewing {
        asked: Stamp,
        op: OpId,
    },
    /// The relay could not be reached in time: nothing is reported under it until it was granted again.
    Lapsed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) phase: Phase,
    /// Idempotency key of asking: the same until there is an answer.
    pub(crate) key: OpId,
    /// The newest one that the relay gave.
    pub(crate) fence: Option<Fence>,
    /// None: the relay gave no expiry.
    pub(crate) lease: Option<Lease>,
    /// When it was asked for again last; 0 is never.
    pub(crate) again: Mono,
    /// When to renew, or to ask again.
    pub(crate) next: Mono,
}

impl Claim {
    /// The fence, if something may be reported under it now.
    pub(crate) fn valid(&self, now: Stamp) -> Option<Fence> {
        match self.phase {
            Phase::Held | Phase::Renewing { .. } if !self.lease.is_some_and(|lease| lease.is_over(now)) => self.fence,
            Phase::Held | Phase::Renewing { .. } | Phase::Asking { .. } | Phase::Lapsed => None,
        }
    }

    /// When it needs attention: its lease ends, or it wants to be renewed or asked for again.
    fn due(&self) -> Mono {
        match self.phase {
            // The answer, or its deadline, comes by itself.
            Phase::Asking { .. } => Mono::MAX,
            Phase::Held => self.lease.map_or(self.next, |lease| lease.mono.min(self.next)),
            Phase::Renewing { .. } => self.lease.map_or(Mono::MAX, |lease| lease.mono),
            Phase::Lapsed => self.next,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    by_message: BTreeMap<MessageId, Claim>,
}

impl Claims {
    pub(crate) fn get(&self, message: MessageId) -> Option<&Claim> {
        self.by_message.get(&message)
    }

    pub(crate) fn get_mut(&mut self, message: MessageId) -> Option<&mut Claim> {
        self.by_message.get_mut(&message)
    }

    pub(crate) fn insert(&mut self, message: MessageId, claim: Claim) {
        self.by_message.insert(message, claim);
    }

    pub(crate) fn remove(&mut self, message: MessageId) -> Option<Claim> {
        self.by_message.remove(&message)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (MessageId, &Claim)> {
        self.by_message.iter().map(|(id, claim)| (*id, claim))
    }

    pub(crate) fn next_deadline(&self) -> Option<Mono> {
        self.by_message.values().map(Claim::due).min().filter(|at| *at != Mono::MAX)
    }

    /// The first claim whose lease is over on either clock, or that is due.
    pub(crate) fn first_due(&self, now: Stamp) -> Option<MessageId> {
        self.iter()
            .find(|(_, claim)| {
                let over = match claim.phase {
                    Phase::Held | Phase::Renewing { .. } => claim.lease.is_some_and(|lease| lease.is_over(now)),
                    Phase::Asking { .. } | Phase::Lapsed => false,
                };
                over || claim.due() <= now.mono
            })
            .map(|(id, _)| id)
    }

    /// Whether a lease has ended by the wall clock although its deadline has not come: the machine slept, or the
    /// clock was set.
    pub(crate) fn any_over(&self, now: Stamp) -> bool {
        self.by_message.values().any(|claim| {
            matches!(claim.phase, Phase::Held | Phase::Renewing { .. })
                && claim.lease.is_some_and(|lease| lease.is_over(now))
        })
    }
}
