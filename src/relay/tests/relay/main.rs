//! What the relay promises, over real sockets. Nothing sleeps in order to wait: a test waits for a frame or an answer,
//! and to see that nothing came it asks for something that would come after it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod agents;
mod artifacts;
mod bus;
mod claims;
mod commands;
mod conformance;
mod document;
mod door;
mod events;
mod feed;
mod idempotency;
mod limits;
mod messages;
mod refusals;
mod replies;
mod restart;
mod retention;
mod tasks;
mod tokens;
mod wire;
