//! The program itself: real processes, real sockets, real files. Tests wait for what they expect to see, with a
//! deadline, and share nothing: each has a folder, a relay and ports of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod demonstrating;
mod ending;
mod refusing;
mod replaying;
mod showing;
mod travelling;
mod world;
