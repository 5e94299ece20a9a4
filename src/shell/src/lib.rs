//! The runner's I/O: a thin tokio shell around the pure core.
//!
//! One loop ([`runner`]) takes one input, stamps it, appends it to the journal, steps the core, and carries the
//! effects out. Each source is a task of its own (bus, HTTP, provider, control server, signals) with a channel into
//! the loop; there are no locks. Nothing here decides, and nothing here tries again.
//!
//! Start reading at [`run`], then at `runner::Runner::take_in`.

mod asked;
mod attachments;
mod bodies;
mod bus;
mod clock;
mod control;
mod environment;
mod error;
mod handle;
mod hooked;
mod http;
mod info;
mod input;
mod lock;
mod monitor;
mod observed;
mod options;
mod provider;
mod relay_url;
mod runner;
mod secret;
mod signals;
mod tokens;
mod upload;

pub mod client;
pub mod journal;
pub mod notes;
pub mod plugin;
pub mod profile;
pub mod runner_dir;
pub mod schema;
pub mod tls;

pub use attachments::kept_at;
pub use environment::{EnvironmentPolicy, Inherit};
pub use error::{RunError, StartError};
pub use handle::Handle;
pub use http::causes;
pub use options::{Options, Program, ProviderSpec, SettingsSource};
pub use provider::claude::stream::transcript as claude_stream_transcript;
pub use provider::claude::{ClaudeSpec, ClaudeWay};
pub use provider::codex::{CodexSpec, transcript as codex_transcript};
pub use provider::command::CommandSpec;
pub use provider::foreground::has_terminal;
pub use provider::{AGENT_VERBS, CONFINED};
pub use relay_runner_core::ExitCode;
pub use relay_url::RelayUrl;
pub use runner::{Runner, run};
pub use tokens::Token;
pub use upload::{FileError, Outgoing};
