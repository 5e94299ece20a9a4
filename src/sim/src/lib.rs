//! The core in a made-up world.
//!
//! [`run`] runs a [`Plan`]: runners' cores, a relay, providers, a network, clocks and disks, all of them models, in
//! virtual time, with everything that goes wrong written down in the plan; and [`watch`]es the invariants from outside.
//! A plan comes from a seed ([`swarm`]), is cut down to what matters ([`shrink`]), told in plain words ([`story`]), and
//! kept as a file ([`saved`]); many of them are a [`batch`].
//!
//! A [`Run`] is something smaller: one core, and events drawn at random around it, possible or not.

mod agenda;
pub mod batch;
mod caught;
mod chance;
mod clock;
pub mod coverage;
pub mod crash;
pub mod invariant;
pub mod plan;
mod process;
mod profile;
mod random;
mod relay;
pub mod saved;
pub mod shrink;
pub mod story;
pub mod swarm;
mod watch;
mod world;

pub use chance::Chance;
pub use coverage::Coverage;
pub use plan::Plan;
pub use random::{Mood, Run, config};
pub use watch::Broken;
pub use world::{LEGEND, Ran, Runs, Wanted, run};
