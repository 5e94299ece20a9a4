//! The runner's decisions as one pure state machine.
//!
//! Events come in, effects go out; there is no clock, no I/O, no chance and no thread in here, and the compiler keeps
//! it so (`no_std`). The same code runs live under a shell, under a simulator with faults, and over yesterday's log.
//!
//! Start reading at [`Core::step`] (in `engine`), then by the words of the contract: `lifecycle` (the provider
//! process), `link` (the connection), `inbox` and `delivery` (messages on their way into the provider), `claims`,
//! `turns`, `reports` (what the relay must accept), `queue` (commands), `ending`, `liveness`, `status`.
#![no_std]

extern crate alloc;

pub mod body;
pub mod config;
pub mod draw;
pub mod effect;
pub mod event;
pub mod facts;
pub mod flags;
pub mod format;
pub mod hooks;
pub mod ids;
pub mod instructions;
pub mod journal;
pub mod machines;
#[cfg(feature = "mutants")]
pub mod mutant;
pub mod note;
pub mod time;
pub mod wire;

pub mod lease;
pub mod restart;
pub mod view;
pub mod why;

mod about;
mod adoption;
mod approvals;
mod attachments;
mod backoff;
mod boot;
mod cause;
mod claiming;
mod claims;
mod commands;
pub mod credential;
mod deadlines;
mod delivery;
mod ending;
mod engine;
mod inbox;
mod intake;
mod lifecycle;
mod link;
mod liveness;
mod matching;
mod metadata;
#[cfg(not(feature = "mutants"))]
#[expect(unreachable_pub, reason = "only tests may choose a mutant")]
#[allow(dead_code, reason = "the list is for those who choose")]
mod mutant;
mod ops;
mod owed;
mod prompt;
mod provider;
mod reporting;
mod reports;
mod settings;
mod settling;
mod sorted;
mod status;
mod taking;
mod telling;
mod troubles;
mod turns;
mod work;

pub use body::BodyRef;
pub use config::Config;
pub use deadlines::TimerKey;
pub use effect::{
    Act, Answer, Call, Effect, Effects, ExitCode, Frame, Lane, Offer, Offers, Outcome, OwedReply, Reason, Repeat,
    StopStep,
};
pub use engine::Core;
pub use event::{Event, Failure, FailureKind, OpResult, Order, ProviderReport, TokenRecord};
pub use facts::DurableFacts;
pub use ids::{Generation, MessageId, OpId, RequestId, Text, TokenSlot};
pub use matching::Given;
pub use note::Note;
pub use owed::OwedFact;
pub use time::Stamp;
pub use view::View;
pub use why::{Glance, Why};
