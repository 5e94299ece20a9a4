//! The table of deadlines: what the core wants to be woken for, and when.
//!
//! No effect arms a timer. The shell keeps one sleep for the earliest entry, and every step fires what is due before
//! it looks at its event, so there are no stale timers and nothing happens under a deadline that has passed.

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::time::{Millis, Mono};

/// What a deadline is for. Due ones of the same millisecond fire in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum TimerKey {
    /// A lease ends, or a claim wants to be renewed or asked for again.
    Claims,
    /// The credential is to be renewed.
    Renewal,
    /// An operation's answer is overdue.
    Operations,
    /// The next step of stopping the provider.
    Stop,
    /// A provider that is not up by now is a failed start.
    Start,
    /// The wait before the next generation is over.
    Cooling,
    /// The running turn had its time to end.
    Drain,
    /// The last reports had their time.
    Ending,
    Register,
    Reconnect,
    StartWithoutRelay,
    FailFast,
    StatusAck,
    FirstPrompt,
    /// An offer was not taken.
    Take,
    /// A turn did not begin after a message was taken.
    TurnGrace,
    /// A taken message has no turn.
    Turnless,
    /// A turn gave no sign of life.
    TurnProbe,
    /// An ambiguous message waited for too long.
    Ambiguous,
    /// Something is to be told to the provider again.
    Telling,
    /// A permission request that is held had its time.
    Approvals,
    /// Something in the inbox may be offered again.
    Inbox,
    /// A report is to be tried again.
    Reports,
    Heartbeat,
    Liveness,
    /// The clocks are compared.
    Tick,
}

impl TimerKey {
    /// What happens then, for people: a clause without its time.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Claims => "a claim is renewed or asked for again, or its lease ends",
            Self::Renewal => "the relay's token is renewed, or ends",
            Self::Operations => "an operation that has no answer by then has failed",
            Self::Stop => "the next step of stopping the provider",
            Self::Start => "a provider that is not up by then has failed to start",
            Self::Cooling => "the provider is started again",
            Self::Drain => "a turn that still runs then is broken off, and the run ends",
            Self::Ending => "what the relay has not accepted by then is left to lapse, and the run ends",
            Self::Register => "a registration that is not confirmed by then has failed",
            Self::Reconnect => "the relay is connected to again",
            Self::StartWithoutRelay => "the provider is started without a relay",
            Self::FailFast => "a relay that cannot be reached by then ends the run",
            Self::StatusAck => "a status that is not acknowledged by then is said again",
            Self::FirstPrompt => "a first prompt that is not taken by then is waited for no more",
            Self::Take => "an offer that is not taken by then is in doubt",
            Self::TurnGrace => "messages may be offered although no turn began",
            Self::Turnless => "a taken message that has no turn by then is in doubt",
            Self::TurnProbe => "the silent turn is asked for a sign of life",
            Self::Ambiguous => "the task of a message in doubt is reported as blocked",
            Self::Telling => "the provider is told again of a message that is not its own any more",
            Self::Approvals => "a permission request that nobody has decided is over",
            Self::Inbox => "a message may be offered again",
            Self::Reports => "a report is sent to the relay again",
            Self::Heartbeat => "the next heartbeat",
            Self::Liveness => "the next round of liveness calls",
            Self::Tick => "the clocks are compared",
        }
    }
}

const KEYS: [TimerKey; 26] = [
    TimerKey::Claims,
    TimerKey::Renewal,
    TimerKey::Operations,
    TimerKey::Stop,
    TimerKey::Start,
    TimerKey::Cooling,
    TimerKey::Drain,
    TimerKey::Ending,
    TimerKey::Register,
    TimerKey::Reconnect,
    TimerKey::StartWithoutRelay,
    TimerKey::FailFast,
    TimerKey::StatusAck,
    TimerKey::FirstPrompt,
    TimerKey::Take,
    TimerKey::TurnGrace,
    TimerKey::Turnless,
    TimerKey::TurnProbe,
    TimerKey::Ambiguous,
    TimerKey::Telling,
    TimerKey::Approvals,
    TimerKey::Inbox,
    TimerKey::Reports,
    TimerKey::Heartbeat,
    TimerKey::Liveness,
    TimerKey::Tick,
];

const NEVER: Mono = Mono::MAX;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deadlines {
    at: [Mono; KEYS.len()],
    /// The least of `at`.
    least: Mono,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { at: [NEVER; KEYS.len()], least: NEVER }
    }
}

impl Deadlines {
    /// Sets a deadline `wait` from now; at least a millisecond, so that nothing can spin.
    pub(crate) fn arm(&mut self, key: TimerKey, now: Mono, wait: Millis) {
        self.set(key, Some(now.saturating_add(wait.max(1))));
    }

    pub(crate) fn set(&mut self, key: TimerKey, at: Option<Mono>) {
        let slot = &mut self.at[key as usize];
        let before = core::mem::replace(slot, at.unwrap_or(NEVER));
        let after = *slot;
        if after <= self.least {
            self.least = after;
        } else if before == self.least {
            self.least = self.at.iter().copied().min().unwrap_or(NEVER);
        }
    }

    pub(crate) fn clear(&mut self, key: TimerKey) {
        self.set(key, None);
    }

    pub(crate) fn clear_all(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn get(&self, key: TimerKey) -> Option<Mono> {
        Some(self.at[key as usize]).filter(|at| *at != NEVER)
    }

    pub(crate) fn is_armed(&self, key: TimerKey) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn next(&self) -> Option<(Mono, TimerKey)> {
        if self.least == NEVER {
            return None;
        }
        KEYS.into_iter().find(|key| self.at[*key as usize] == self.least).map(|key| (self.least, key))
    }

    /// All that are armed, the earliest first.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (Mono, TimerKey)> {
        let mut armed: Vec<_> = KEYS.into_iter().filter_map(|key| Some((self.get(key)?, key))).collect();
        armed.sort_unstable();
        armed.into_iter()
    }

    /// Takes the earliest deadline that is due.
    pub(crate) fn take_due(&mut self, now: Mono) -> Option<TimerKey> {
        if self.least > now {
            return None;
        }
        let (_, key) = self.next()?;
        self.clear(key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_own_place() {
        for (n, key) in KEYS.into_iter().enumerate() {
            assert_eq!(key as usize, n);
        }
    }

    #[test]
    fn due_deadlines_come_in_the_order_of_time_then_key() {
        let mut deadlines = Deadlines::default();
        deadlines.arm(TimerKey::Tick, 0, 10);
        deadlines.arm(TimerKey::Claims, 0, 10);
        deadlines.arm(TimerKey::Liveness, 0, 5);
        assert_eq!(deadlines.next(), Some((5, TimerKey::Liveness)));
        assert_eq!(deadlines.take_due(4), None);
        let order: Vec<_> = core::iter::from_fn(|| deadlines.take_due(10)).collect();
        assert_eq!(order, [TimerKey::Liveness, TimerKey::Claims, TimerKey::Tick]);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_deadline_is_never_now() {
        let mut deadlines = Deadlines::default();
        deadlines.arm(TimerKey::Tick, 7, 0);
        assert_eq!(deadlines.take_due(7), None);
        deadlines.arm(TimerKey::Tick, Mono::MAX, 5);
        assert_eq!(deadlines.next(), None, "the end of time is never");
    }
}
