//! The core in a made-up world, driven by a seed.
//!
//! A [`Run`] is one core and everything around it: the relay, the provider, the network, the operator and the clock
//! are drawn from a seed, answer most of what they are asked, and misbehave in between. The same seed gives the same
//! run, event for event, so that a run can be repeated, cut anywhere, and held against another.

mod chance;
mod run;

pub use chance::Chance;
pub use run::{Mood, Run, config};
