//! The words of the relay's wire.
//!
//! Every path, header and frame name of the relay's two interfaces (the *bus*, a websocket, and the HTTP API) is
//! written down in this crate and nowhere else, so that meeting a relay which differs is a change in one place.
//! There is no I/O and no behaviour here. All of it is JSON in camelCase; ids of messages and tasks are integers;
//! times are milliseconds since the epoch unless a name ends in `Seconds`, or it is a token's `expiresAt` (seconds).
//! Unknown fields and frame types are ignored and counted by the reader, never fatal.
#![no_std]

extern crate alloc;

pub mod agent;
pub mod claim;
pub mod command;
pub mod error;
pub mod frame;
pub mod health;
pub mod http;
pub mod message;
pub mod reply;
pub mod target;
pub mod task;
pub mod token;

pub use agent::{Agent, AgentStatus, Session};
pub use command::{Command, CommandStatus, CommandType};
pub use error::{ErrorBody, ErrorCode};
pub use frame::{ClientFrame, ServerFrame};
pub use message::{Delivery, Message, Priority, Stage};
pub use target::Target;
pub use task::{Task, TaskStatus};

/// The relay's default URL.
pub const DEFAULT_URL: &str = "http://127.0.0.1:4850";
/// The port of the relay's default URL.
pub const DEFAULT_PORT: u16 = 4850;
/// The version of the contracts between runner, relay and provider plugins (`contracts` in an agent's metadata).
pub const PROVIDER_PLUGIN_PROTOCOL: u32 = 1;
