//! How often a client may call: so often in a second, and a number at once.
//!
//! Counted for each runtime token, and for each address of those who show none. It is there against a client that runs
//! wild, not to share the relay out. Frames of the bus count like calls.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use relay_runner_protocol::token::TokenRecord;
use tokio::time::Instant;

use crate::refusal::{Refusal, Result};

/// Callers that are remembered before those are forgotten who have not called lately.
const REMEMBERED: usize = 10_000;

/// Who is counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Caller {
    Token(Arc<str>),
    Peer(IpAddr),
}

impl From<&TokenRecord> for Caller {
    fn from(record: &TokenRecord) -> Self {
        Self::Token(record.jti.as_str().into())
    }
}

#[derive(Debug)]
pub(crate) struct Rate {
    /// What each call costs; none: no limit.
    cost: Option<Duration>,
    /// What may be spent ahead.
    ahead: Duration,
    /// Up to when each caller has spent.
    spent: Mutex<BTreeMap<Caller, Instant>>,
}

impl Rate {
    /// No limit at 0 a second.
    pub(crate) fn new(per_second: u32, at_once: u32) -> Self {
        let cost = Duration::from_secs(1).checked_div(per_second);
        let ahead = cost.unwrap_or_default().saturating_mul(at_once.saturating_sub(1));
        Self { cost, ahead, spent: Mutex::default() }
    }

    /// Counts a call, or refuses it and does not count it.
    pub(crate) fn count(&self, caller: &Caller) -> Result<()> {
        self.count_at(caller, Instant::now())
    }

    fn count_at(&self, caller: &Caller, now: Instant) -> Result<()> {
        let Some(cost) = self.cost else { return Ok(()) };
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let until = spent.get(caller).copied().unwrap_or(now).max(now);
        let debt = until.duration_since(now);
        if debt > self.ahead {
            return Err(Refusal::too_often(debt.saturating_sub(self.ahead)));
        }
        if let Some(known) = spent.get_mut(caller) {
            *known = until + cost;
            return Ok(());
        }
        if spent.len() >= REMEMBERED {
            spent.retain(|_, until| *until > now);
        }
        spent.insert(caller.clone(), until + cost);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> Caller {
        Caller::Peer([127, 0, 0, last].into())
    }

    #[test]
    fn so_many_at_once_and_so_many_in_a_second() {
        let rate = Rate::new(10, 3);
        let start = Instant::now();
        let at = |ms: u64| rate.count_at(&peer(1), start + Duration::from_millis(ms)).is_ok();
        assert_eq!([at(0), at(0), at(0), at(0)], [true, true, true, false]);
        assert_eq!([at(100), at(100), at(150), at(200)], [true, false, false, true]);
        assert_eq!([at(9000), at(9000), at(9000), at(9000)], [true, true, true, false]);
        // Another caller has its own.
        rate.count_at(&peer(2), start).unwrap();
    }

    #[test]
    fn whoever_was_refused_is_told_how_long_to_wait() {
        let rate = Rate::new(1, 5);
        let start = Instant::now();
        (0..5).for_each(|_| rate.count_at(&peer(1), start).unwrap());
        let refusal = rate.count_at(&peer(1), start).unwrap_err();
        assert_eq!((refusal.status.as_u16(), refusal.retry_after), (429, 1));
    }

    #[test]
    fn without_a_rate_there_is_no_limit_and_idle_callers_are_forgotten() {
        let free = Rate::new(0, 0);
        let now = Instant::now();
        (0..1000).for_each(|_| free.count_at(&peer(1), now).unwrap());

        let rate = Rate::new(1, 1);
        for n in 0..=REMEMBERED {
            let caller = Caller::Token(n.to_string().as_str().into());
            rate.count_at(&caller, now + Duration::from_secs(n as u64 * 2)).unwrap();
        }
        assert!(rate.spent.lock().unwrap().len() < REMEMBERED);
    }
}
