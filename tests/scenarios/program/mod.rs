//! The program itself: real processes, real sockets, real files. Tests wait for what they expect to see, with a
//! deadline, and share nothing: each has a folder, a relay and ports of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod around;
mod asking;
mod attaching;
mod bad_lines;
mod bad_state;
mod callers;
mod calling;
mod configuring;
mod demonstrating;
mod ending;
mod handing_over;
mod hooking;
mod killing;
mod logging;
mod monitoring;
mod operating;
mod plugins;
mod processes;
mod profiling;
mod prometheus;
mod proxy;
pub(crate) mod recording;
mod refusing;
mod renewing;
mod replaying;
mod schemas;
mod secrets;
mod showing;
mod simulating;
mod speaking;
mod taking_over;
mod terminals;
mod tmux;
mod travelling;
mod two_of_them;
mod upgrading;
mod world;
