//! The clocks of a machine: they drift, are set, jitter, and one of them stands still while the machine sleeps.

use relay_runner_core::Stamp;

/// The wall clock of every run begins here, in milliseconds since the epoch.
pub(crate) const BEGIN: u64 = 1_800_000_000_000;
/// A machine's monotonic clock begins here.
const BOOTED: u64 = 1_000;
const MILLION: u64 = 1_000_000;

/// Both clocks of one machine, as functions of the true time.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    /// The true time since which the rest holds.
    since: u64,
    mono: u64,
    wall: u64,
    /// Millionths by which both run fast.
    ppm: i64,
    /// The machine does nothing before this true time.
    asleep_until: u64,
    /// The wall clock is off by up to this much.
    jitter: u64,
}

impl Clock {
    /// `skew`: milliseconds by which the wall clock is ahead.
    pub(crate) fn new(now: u64, skew: i64) -> Self {
        let wall = (BEGIN + now).saturating_add_signed(skew);
        Self { since: now, mono: BOOTED, wall, ppm: 0, asleep_until: 0, jitter: 0 }
    }

    fn passed(&self, now: u64) -> u64 {
        let passed = now.saturating_sub(self.since);
        if self.ppm == 0 {
            return passed;
        }
        passed * MILLION.saturating_add_signed(self.ppm) / MILLION
    }

    pub(crate) fn stamp(&self, now: u64, noise: u64) -> Stamp {
        let passed = self.passed(now);
        let jitter = if self.jitter == 0 { 0 } else { noise % self.jitter };
        Stamp::new(self.mono + passed, self.wall + passed + jitter)
    }

    /// The true time at which the monotonic clock shows this, or the machine wakes.
    pub(crate) fn when(&self, mono: u64) -> u64 {
        let ahead = mono.saturating_sub(self.mono);
        let ahead = if self.ppm == 0 {
            ahead
        } else {
            ahead.saturating_mul(MILLION).div_ceil(MILLION.saturating_add_signed(self.ppm))
        };
        self.since.saturating_add(ahead).max(self.asleep_until)
    }

    pub(crate) const fn asleep_until(&self) -> u64 {
        self.asleep_until
    }

    fn settle(&mut self, now: u64) {
        let passed = self.passed(now);
        self.mono += passed;
        self.wall += passed;
        self.since = self.since.max(now);
    }

    pub(crate) fn drifts(&mut self, now: u64, ppm: i64) {
        self.settle(now);
        self.ppm = ppm;
    }

    pub(crate) fn is_set(&mut self, now: u64, by: i64) {
        self.settle(now);
        self.wall = self.wall.saturating_add_signed(by).max(1);
    }

    pub(crate) const fn jitters(&mut self, most: u64) {
        self.jitter = most;
    }

    /// Only the wall clock goes on.
    pub(crate) fn sleeps(&mut self, now: u64, millis: u64) {
        self.settle(now);
        self.since += millis;
        self.wall += millis;
        self.asleep_until = self.since;
    }

    /// It is woken before its time.
    pub(crate) const fn is_woken(&mut self, now: u64) {
        if self.asleep_until > now {
            self.wall -= self.asleep_until - now;
            self.since = now;
            self.asleep_until = now;
        }
    }

    /// Another process on the same machine, or the machine anew.
    pub(crate) fn restarts(&mut self, now: u64) {
        self.settle(now);
        self.mono = BOOTED;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_met_and_never_missed_whatever_the_drift() {
        for ppm in [0, 20_000, -20_000, 7, -1] {
            let mut clock = Clock::new(10, 0);
            clock.drifts(1_000, ppm);
            for mono in [1_990, 2_001, 77_777, 10_000_000] {
                let at = clock.when(mono);
                assert!(clock.stamp(at, 0).mono >= mono);
                assert!(at <= 1_000 || clock.stamp(at - 1, 0).mono < mono, "{ppm} {mono}");
            }
        }
    }

    #[test]
    fn a_sleeping_machine_has_a_wall_clock_only() {
        let mut clock = Clock::new(0, 0);
        clock.sleeps(500, 10_000);
        let at = clock.stamp(10_600, 0);
        assert_eq!((at.mono, at.wall), (BOOTED + 600, BEGIN + 10_600));
        assert_eq!(clock.when(BOOTED + 600), 10_600);
        assert_eq!(clock.when(BOOTED + 1), 10_500, "nothing is done before it wakes");
    }
}
