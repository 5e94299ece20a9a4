//! Chance from a seed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Debug)]
pub(super) struct Chance {
    seed: u64,
    state: u64,
}

impl Chance {
    pub(super) fn new() -> Self {
        let seed = std::env::var("KILLS_SEED").map_or_else(|_| any_seed(), |seed| seed.parse().unwrap());
        Self { seed, state: seed }
    }

    /// Splitmix: short, and good enough to choose moments with.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    /// Mostly within the time of a start and of a turn; sometimes long enough for everything to come to rest.
    pub(super) fn moment(&mut self) -> Duration {
        let most = [20, 50, 150, 150, 150, 600][usize::try_from(self.below(6)).unwrap()];
        Duration::from_micros(self.below(most * 1000))
    }
}

#[expect(clippy::disallowed_methods, reason = "another seed at each run; it is printed")]
fn any_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into()
}

impl Drop for Chance {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the moments were drawn from KILLS_SEED={}", self.seed);
        }
    }
}
