//! Sessions of Claude Code in a terminal, written down, and gone through again.

use super::session::{In, Opening, Out, Session};
use crate::provider::transcript::{self, Conversing};
use serde::{Deserialize, Serialize};
use std::io::BufRead;

pub use crate::provider::transcript::Replayed;

/// What comes in, and when.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct At {
    now: u64,
    input: In,
}

impl At {
    pub(super) const fn new(now: u64, input: In) -> Self {
        Self { now, input }
    }
}

impl Conversing for Session {
    type Opening = Opening;
    type In = At;
    type Out = Out;

    fn begin(opening: Opening) -> Self {
        Self::new(opening)
    }

    fn step(&mut self, At { now, input }: At) -> Vec<Out> {
        self.step(now, input)
    }
}

/// Goes through a transcript again. The error is the first line at which today's adapter says something else.
pub fn replay(from: impl BufRead) -> Result<Replayed, String> {
    transcript::replay::<Session>(from)
}
