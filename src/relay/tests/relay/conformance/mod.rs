//! What every relay must do that a runner is to work with, whoever has made it.
//!
//! By HTTP and websocket only, against the relay of `CONFORMANCE_RELAY_URL` (and `CONFORMANCE_RELAY_TOKEN`), or else
//! against an embedded one. Nothing is expected of what is in it already: all names are drawn anew for each test. Each
//! body is held against the document of the API. See `docs/relay-conformance.md`.

mod agents;
mod artifacts;
mod basics;
mod bus;
mod claims;
mod commands;
mod events;
mod messages;
mod replies;
mod subject;
mod tasks;
mod tokens;
