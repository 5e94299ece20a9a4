//! How far a replay goes.

use super::line::Line;
use crate::time::{Mono, Wall};

/// The last event that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The record of this number.
    Record(u64),
    /// The last one before the run's clock shows more than this.
    Mono(Mono),
    /// The last one before the wall clock shows more than this for the first time.
    Wall(Wall),
}

impl Until {
    /// Whether a line lies beyond it.
    pub const fn is_before(self, line: &Line) -> bool {
        match line {
            Line::Record { number, at, .. } => match self {
                Self::Record(last) => *number > last,
                Self::Mono(last) => at.mono > last,
                Self::Wall(last) => at.wall > last,
            },
            // A mark stands behind a record that was wanted, and holds the core as it was after it.
            Line::Header(_) | Line::Mark { .. } => false,
        }
    }
}
