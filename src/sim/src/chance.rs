//! Chance by a seed: a stream of numbers that is the same for ever.

use relay_runner_core::draw::{self, Stream};

/// A stream of draws.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chance {
    seed: u64,
    drawn: u64,
}

impl Chance {
    pub const fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    pub fn draw(&mut self) -> u64 {
        self.drawn += 1;
        draw::draw(self.seed, Stream::Nonce, self.drawn, 0)
    }

    /// A number in `0..bound`; 0 when the bound is.
    pub fn below(&mut self, bound: u64) -> u64 {
        let high = (u128::from(self.draw()) * u128::from(bound)) >> 64;
        u64::try_from(high).unwrap_or(0)
    }

    /// True this often in a thousand.
    pub fn permille(&mut self, often: u64) -> bool {
        self.below(1_000) < often
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let at = self.below(of.len() as u64);
        of.get(usize::try_from(at).unwrap_or(0))
    }
}
