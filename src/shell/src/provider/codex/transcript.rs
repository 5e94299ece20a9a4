//! Conversations with codex, written down, and gone through again.

use super::session::{In, Opening, Out, Session};
use crate::provider::transcript::{self, Conversing};
use std::io::BufRead;

pub use crate::provider::transcript::Replayed;

impl Conversing for Session {
    type Opening = Opening;
    type In = In;
    type Out = Out;

    fn begin(opening: Opening) -> Self {
        Self::new(opening)
    }

    fn step(&mut self, input: In) -> Vec<Out> {
        self.step(input)
    }
}

/// Goes through a transcript again. The error is the first line at which today's adapter says something else.
pub fn replay(from: impl BufRead) -> Result<Replayed, String> {
    transcript::replay::<Session>(from)
}
