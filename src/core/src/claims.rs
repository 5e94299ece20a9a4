//! Claims: leases on claimable messages (behaviour 7). Each is a small flat machine.
//!
//! ```text
//! Asking -> Held <-> Renewing      a lease that ends: -> Lapsed <-> Asking (again)      refused: gone
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{Fence, MessageId, OpId};
use crate::inbox::Inbox;
use crate::lease::Lease;
use crate::sorted::Sorted;
use crate::time::{Mono, Stamp, Wall};

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

    /// The lease that something is reported under, as long as it is not over.
    const fn lease_in_use(&self) -> Option<Lease> {
        match self.phase {
            Phase::Held | Phase::Renewing { .. } => self.lease,
            Phase::Asking { .. } | Phase::Lapsed => None,
        }
    }

    /// When it needs attention: its lease ends, or it wants to be renewed or asked for again.
    fn due(&self) -> Mono {
        match self.phase {
            // The answer, or its deadline, comes by itself; that of a renewal no later than the lease ends.
            Phase::Asking { .. } | Phase::Renewing { .. } => Mono::MAX,
            Phase::Held => self.lease.map_or(self.next, |lease| lease.mono.min(self.next)),
            Phase::Lapsed => self.next,
        }
    }
}

/// Invariants: `due` holds every claim that has a time to be due at, and no lease in use ends on the wall clock before
/// `quiet_until`. Leases end on the monotonic clock first, but for clocks that jump, so that looking through all of
/// them is for the rare case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Listed", into = "Listed")]
pub(crate) struct Claims {
    by_message: Sorted<MessageId, Claim>,
    due: Sorted<(Mono, MessageId)>,
    quiet_until: Wall,
    /// Those that were lost a moment ago, and until when they are not asked for again: a relay that grants what it then
    /// does not let us use must not make a loop.
    lost: Sorted<MessageId, Mono>,
}

/// Claims that were lost and are remembered.
const LOST_MOST: usize = 64;

/// The form in a mark: without what follows from the claims.
#[derive(Serialize, Deserialize)]
struct Listed {
    claims: Vec<(MessageId, Claim)>,
    quiet_until: Wall,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lost: Vec<(MessageId, Mono)>,
}

impl From<Claims> for Listed {
    fn from(claims: Claims) -> Self {
        Self {
            claims: claims.by_message.into_pairs().collect(),
            quiet_until: claims.quiet_until,
            lost: claims.lost.into_pairs().collect(),
        }
    }
}

impl From<Listed> for Claims {
    fn from(listed: Listed) -> Self {
        let mut claims = Self::default();
        for (message, claim) in listed.claims {
            claims.enter(message, &claim);
            claims.by_message.insert(message, claim);
        }
        claims.quiet_until = listed.quiet_until;
        claims.lost = listed.lost.into_iter().collect();
        claims
    }
}

impl Default for Claims {
    fn default() -> Self {
        Self { by_message: Sorted::default(), due: Sorted::default(), quiet_until: Wall::MAX, lost: Sorted::default() }
    }
}

impl Claims {
    pub(crate) fn len(&self) -> usize {
        self.by_message.len()
    }

    pub(crate) fn get(&self, message: MessageId) -> Option<&Claim> {
        self.by_message.get(&message)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (MessageId, &Claim)> {
        self.by_message.iter().map(|(id, claim)| (*id, claim))
    }

    /// It was lost: it is not asked for again before this.
    pub(crate) fn rests(&mut self, message: MessageId, until: Mono, now: Mono) {
        self.lost.retain(|_, until| *until > now);
        while self.lost.len() >= LOST_MOST {
            self.lost.pop_first();
        }
        self.lost.insert(message, until);
    }

    /// Not before this may it be asked for; 0 is at any time.
    pub(crate) fn rests_until(&self, message: MessageId) -> Mono {
        self.lost.get(&message).copied().unwrap_or(0)
    }

    /// The inbox hears of it, so that it can say which of its messages have a claim.
    pub(crate) fn insert(&mut self, message: MessageId, claim: Claim, inbox: &mut Inbox) {
        if let Some(before) = self.by_message.get(&message) {
            let due = before.due();
            self.due.remove(&(due, message));
        } else {
            inbox.set_claimed(message, true);
        }
        self.enter(message, &claim);
        self.by_message.insert(message, claim);
    }

    pub(crate) fn remove(&mut self, message: MessageId, inbox: &mut Inbox) {
        if let Some(claim) = self.by_message.remove(&message) {
            self.due.remove(&(claim.due(), message));
            inbox.set_claimed(message, false);
        }
    }

    /// Changes a claim, and keeps what is known of all in step with it.
    pub(crate) fn update(&mut self, message: MessageId, change: impl FnOnce(&mut Claim)) {
        let Some(claim) = self.by_message.get_mut(&message) else { return };
        self.due.remove(&(claim.due(), message));
        change(claim);
        let claim = *claim;
        self.enter(message, &claim);
    }

    fn enter(&mut self, message: MessageId, claim: &Claim) {
        let due = claim.due();
        if due != Mono::MAX {
            self.due.insert((due, message), ());
        }
        if let Some(lease) = claim.lease_in_use() {
            self.quiet_until = self.quiet_until.min(lease.wall);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Mono> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The first claim whose lease is over on either clock, or that is due.
    pub(crate) fn first_due(&mut self, now: Stamp) -> Option<MessageId> {
        let due = self.due.keys().take_while(|(at, _)| *at <= now.mono).map(|(_, id)| *id).min();
        due.into_iter().chain(self.first_over(now.wall)).min()
    }

    /// Whether a lease has ended by the wall clock although its deadline has not come: the machine slept, or the
    /// clock was set. One that is being renewed ends on the monotonic clock with the deadline of its renewal.
    pub(crate) fn any_over(&mut self, now: Stamp) -> bool {
        if self.first_over(now.wall).is_some() {
            return true;
        }
        let over = |id| self.get(id).and_then(Claim::lease_in_use).is_some_and(|lease| lease.is_over(now));
        self.due.keys().take_while(|(at, _)| *at <= now.mono).any(|(_, id)| over(*id))
    }

    /// The first claim whose lease is over on the wall clock.
    fn first_over(&mut self, now: Wall) -> Option<MessageId> {
        if now < self.quiet_until {
            return None;
        }
        let ends = |claim: &Claim| claim.lease_in_use().map(|lease| lease.wall);
        self.quiet_until = self.iter().filter_map(|(_, claim)| ends(claim)).min().unwrap_or(Wall::MAX);
        self.iter().find(|(_, claim)| ends(claim).is_some_and(|at| at <= now)).map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim() -> impl Strategy<Value = Claim> {
        let phase = prop_oneof![
            Just(Phase::Held),
            Just(Phase::Lapsed),
            Just(Phase::Asking { asked: Stamp::new(0, 0), op: OpId(1) }),
            Just(Phase::Renewing { asked: Stamp::new(0, 0), op: OpId(1) }),
        ];
        let lease = prop::option::of((0..100_u64, 0..100_u64).prop_map(|(mono, wall)| Lease { mono, wall }));
        let next = prop_oneof![0..100_u64, Just(Mono::MAX)];
        (phase, lease, next).prop_map(|(phase, lease, next)| Claim {
            phase,
            key: OpId(1),
            fence: Some(1),
            lease,
            again: 0,
            next,
        })
    }

    #[derive(Debug, Clone)]
    enum Change {
        Insert(MessageId, Claim),
        Update(MessageId, Claim),
        Remove(MessageId),
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            3 => (0..8_u64, claim()).prop_map(|(id, claim)| Change::Insert(id, claim)),
            3 => (0..8_u64, claim()).prop_map(|(id, claim)| Change::Update(id, claim)),
            1 => (0..8_u64).prop_map(Change::Remove),
        ]
    }

    fn is_over(claim: &Claim, now: Stamp) -> bool {
        claim.lease_in_use().is_some_and(|lease| match claim.phase {
            // That it ends on the monotonic clock is seen by the deadline of its renewal.
            Phase::Renewing { .. } => lease.wall <= now.wall,
            Phase::Held | Phase::Asking { .. } | Phase::Lapsed => lease.is_over(now),
        })
    }

    proptest! {
        #[test]
        fn what_is_due_is_what_looking_through_all_of_them_finds(
            changes in prop::collection::vec((change(), 0..110_u64, 0..110_u64), 1..60),
        ) {
            let (mut claims, mut inbox) = (Claims::default(), Inbox::default());
            for (change, mono, wall) in changes {
                match change {
                    Change::Insert(id, claim) => claims.insert(id, claim, &mut inbox),
                    Change::Update(id, claim) => claims.update(id, |it| *it = claim),
                    Change::Remove(id) => claims.remove(id, &mut inbox),
                }
                let now = Stamp::new(mono, wall);
                let all: Vec<_> = claims.iter().map(|(id, claim)| (id, *claim)).collect();
                let next = all.iter().map(|(_, claim)| claim.due()).min().filter(|at| *at != Mono::MAX);
                prop_assert_eq!(claims.next_deadline(), next);
                let due = all.iter().find(|(_, claim)| is_over(claim, now) || claim.due() <= mono);
                prop_assert_eq!(claims.first_due(now), due.map(|(id, _)| *id));
                prop_assert_eq!(claims.any_over(now), all.iter().any(|(_, claim)| is_over(claim, now)));
                prop_assert_eq!(&Claims::from(Listed::from(claims.clone())), &claims);
            }
        }
    }
}
