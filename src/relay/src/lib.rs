//! The embedded relay: what agents talk through when there is no other.
//!
//! It serves the bus (a websocket) and the HTTP API in the words of `relay-runner-protocol`, and keeps its state in one
//! SQLite file, so that neither its own restart nor a kill -9 loses a message, a claim or a position.
//!
//! - [`Relay`] starts and stops it, [`Config`] says how, [`Error`] why not.
//! - `store` decides: one thread, one transaction per call. `hub` holds the live connections and `outbox` what waits for each, `bus` and `http` read and
//!   write them, and `event` is what happened in either form. `refusal` is how all of them say no.
//! - `http::door` lets in whoever shows a good `credential`; `token` is how runtime tokens are made, `rate` how often one may call.
//! - `artifacts` are files beside the database. `upkeep` is what time does.
//!
//! Where the wire leaves room, each module says at its head what is done here; the document of the API is `http/openapi.json`.
//!
//! It makes no decisions for a runner and calls nobody: a task's `callbackUrl` is kept, not called.

mod artifacts;
mod bus;
mod clock;
mod config;
mod credential;
mod error;
mod event;
mod http;
mod hub;
mod outbox;
mod rate;
mod refusal;
mod relay;
mod store;
mod token;
mod upkeep;

use std::time::Duration;

pub use config::Config;
pub use error::Error;
pub use relay::Relay;
pub use relay_runner_protocol::token::{TokenAnswer, TokenRecord};

/// The times of a connection.
#[derive(Debug, Clone, Copy)]
struct Pace {
    heartbeat_interval_ms: u64,
    register_within: Duration,
    ping_interval: Duration,
    dead_after: Duration,
}

/// How much a client may do.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    artifact_bytes: u64,
}

impl App {
    /// A relay that goes down carries out nothing new.
    fn check_up(&self) -> refusal::Result<()> {
        if *self.stopping.borrow() { Err(refusal::Refusal::unavailable()) } else { Ok(()) }
    }
}

/// What every handler needs.
#[derive(Debug)]
struct App {
    store: store::Store,
    token: Option<String>,
    pace: Pace,
    bounds: Bounds,
    rate: rate::Rate,
    artifacts: artifacts::Artifacts,
    /// True once the relay has been told to stop.
    stopping: tokio::sync::watch::Receiver<bool>,
}
