//! How long the core's steps took: a histogram that costs an addition or two.

use std::time::Duration;

/// The upper bounds of its buckets, in nanoseconds.
const BOUNDS: [u64; 11] = [250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

#[derive(Debug, Default)]
pub(crate) struct Steps {
    /// Steps that lie within a bound and not within the one before.
    within: [u64; BOUNDS.len()],
    count: u64,
    sum: Duration,
}

impl Steps {
    pub(crate) fn took(&mut self, time: Duration) {
        self.count += 1;
        self.sum += time;
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = BOUNDS.iter().position(|bound| nanos <= *bound) {
            self.within[bucket] += 1;
        }
    }

    /// How many took at most so long, by the bounds in order.
    pub(crate) fn at_most(&self) -> impl Iterator<Item = (u64, u64)> {
        BOUNDS.iter().zip(&self.within).scan(0, |all, (bound, within)| {
            *all += within;
            Some((*bound, *all))
        })
    }

    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    pub(crate) const fn sum(&self) -> Duration {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_all_that_is_shorter() {
        let mut steps = Steps::default();
        for nanos in [0, 250, 251, 90_000, 2_000_000_000] {
            steps.took(Duration::from_nanos(nanos));
        }
        let at_most: Vec<_> = steps.at_most().collect();
        assert_eq!(at_most[0], (250, 2));
        assert_eq!(at_most[1], (500, 3));
        assert_eq!(at_most[7], (100_000, 4));
        assert_eq!(at_most[10], (100_000_000, 4), "the longest is within no bound");
        assert_eq!((steps.count(), steps.sum()), (5, Duration::from_nanos(2_000_090_501)));
    }
}
