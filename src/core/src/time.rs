//! Time, as the core knows it: it comes in with each event and is never asked for.

use serde::{Deserialize, Serialize};

/// Monotonic milliseconds since the start of the runner's process. Orders and times everything.
pub type Mono = u64;
/// Milliseconds since the Unix epoch. For absolute expiries and for people.
pub type Wall = u64;
/// A span of milliseconds.
pub type Millis = u64;

/// When an event was taken in, on both clocks. Their difference shows a machine that was suspended, or a clock that
/// was set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    pub mono: Mono,
    pub wall: Wall,
}

impl Stamp {
    pub const fn new(mono: Mono, wall: Wall) -> Self {
        Self { mono, wall }
    }
}

pub const SECOND: Millis = 1_000;
pub const MINUTE: Millis = 60 * SECOND;
pub const HOUR: Millis = 60 * MINUTE;
