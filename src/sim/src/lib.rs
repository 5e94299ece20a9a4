//! The core in a made-up world.
//!
//! [`run`] runs a [`Plan`]: runners' cores, a relay, providers, a network, clocks and disks, all of them models, in
//! virtual time, with everything that goes wrong written down in the plan; and [`watch`]es the invariants from outside.
//! A plan comes from a seed ([`swarm`]), is cut down to what matters ([`shrink`]), and can be kept as a file.
//!
//! A [`Run`] is something smaller: one core, and events drawn at random around it, possible or not.

mod agenda;
mod chance;
mod clock;
pub mod coverage;
pub mod plan;
mod process;
mod profile;
mod random;
mod relay;
pub mod shrink;
pub mod swarm;
mod watch;
mod world;

pub use chance::Chance;
pub use coverage::Coverage;
pub use plan::Plan;
pub use random::{Mood, Run, config};
pub use watch::Broken;
pub use world::{LEGEND, Ran, Wanted, run};
