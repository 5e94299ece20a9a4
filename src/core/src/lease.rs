//! Arithmetic of leases (behaviour 7). Pure.

use serde::{Deserialize, Serialize};

use crate::time::{Millis, Mono, SECOND, Stamp, Wall};

/// Until when a claim may be used: whichever clock says "over" first is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub mono: Mono,
    pub wall: Wall,
}

impl Lease {
    /// A lease is counted from the moment of asking, less max(2 s, 5 %), but never less more than half.
    pub fn counted(asked: Stamp, lease: Millis) -> Self {
        let margin = (lease / 20).max(2 * SECOND).min(lease / 2);
        let usable = lease - margin;
        Self { mono: asked.mono.saturating_add(usable), wall: asked.wall.saturating_add(usable) }
    }

    /// What is left, on the clock that leaves less.
    pub fn rest(self, now: Stamp) -> Millis {
        self.mono.saturating_sub(now.mono).min(self.wall.saturating_sub(now.wall))
    }

    pub fn is_over(self, now: Stamp) -> bool {
        self.rest(now) == 0
    }
}

/// How long until the next renewal: half of the rest, at most `most`; without an expiry, `most`.
pub fn renew_in(lease: Option<Lease>, now: Stamp, most: Millis) -> Millis {
    lease.map_or(most, |lease| (lease.rest(now) / 2).min(most)).max(1)
}

/// How long until a renewal that failed is tried again: a quarter of the rest, at least 1 s.
pub fn renew_again_in(lease: Option<Lease>, now: Stamp, most: Millis) -> Millis {
    lease.map_or(most / 4, |lease| lease.rest(now) / 4).max(SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_early_by_its_margin() {
        let asked = Stamp::new(1_000, 50_000);
        assert_eq!(Lease::counted(asked, 100_000), Lease { mono: 96_000, wall: 145_000 }, "5 %");
        assert_eq!(Lease::counted(asked, 10_000), Lease { mono: 9_000, wall: 58_000 }, "2 s");
        assert_eq!(Lease::counted(asked, 3_000), Lease { mono: 2_500, wall: 51_500 }, "half");
        assert_eq!(Lease::counted(asked, 0).rest(asked), 0);
        assert_eq!(Lease::counted(Stamp::new(u64::MAX, 0), u64::MAX).mono, u64::MAX);
    }

    #[test]
    fn the_clock_that_leaves_less_is_right() {
        let lease = Lease::counted(Stamp::new(0, 0), 100_000);
        assert_eq!(lease.rest(Stamp::new(10_000, 20_000)), 75_000);
        assert!(lease.is_over(Stamp::new(10_000, 95_000)), "the machine slept");
        assert!(lease.is_over(Stamp::new(95_000, 0)), "the wall clock was set back");
    }

    #[test]
    fn a_short_lease_is_renewed_in_time() {
        let now = Stamp::new(0, 0);
        let lease = Some(Lease::counted(now, 30_000));
        assert_eq!(renew_in(lease, now, 300_000), 14_000);
        assert_eq!(renew_again_in(lease, Stamp::new(20_000, 20_000), 300_000), 2_000);
        assert_eq!(renew_again_in(lease, Stamp::new(27_999, 27_999), 300_000), 1_000);
        assert_eq!(renew_in(None, now, 300_000), 300_000);
        assert_eq!(renew_again_in(None, now, 300_000), 75_000);
    }
}
