//! Claude Code as a provider, in one of three ways: in a terminal that the runner keeps in tmux, in the terminal of the
//! person who started the runner, or on pipes in its print mode.
//!
//! In each of them a session decides what is said and typed, without any I/O, and a task owns the process. What Claude Code
//! does by itself was measured: `docs/claude-provider.md`.

mod failures;
mod interactive;
mod launch;
pub(crate) mod profiled;
pub(crate) mod stream;
pub(crate) mod terminal;

use super::Provider;
use crate::hooked::Hooked;
use crate::input::Inputs;
use crate::monitor::Monitor;
use crate::profile::Profile;
use interactive::Interactive;
use relay_runner_core::config::{Adapter, Approval};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use terminal::Terminal;

pub(crate) use terminal::SESSION;

/// Where Claude Code has its settings, its credentials and its transcripts.
pub(crate) const HOME: &str = "CLAUDE_CONFIG_DIR";
/// How long it may take from its start until it is ready.
pub(crate) const READY_WITHIN: Duration = Duration::from_mins(1);

/// How Claude Code is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaudeWay {
    /// In a tmux server of the runner's own.
    Terminal,
    /// `claude -p`, with JSON both ways.
    Stream,
    /// In the terminal that the runner was started in.
    Interactive,
}

impl ClaudeWay {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Terminal => "terminal",
            Self::Stream => "stream",
            Self::Interactive => "interactive",
        }
    }

    /// What the adapter can do in this way.
    pub const fn adapter(self) -> Adapter {
        let typed_into = matches!(self, Self::Terminal);
        let commanded = !matches!(self, Self::Interactive);
        Adapter {
            restartable: commanded,
            adoptable: typed_into && cfg!(target_os = "linux"),
            // The monitor is safe while a dialog is open; what is typed waits by itself.
            typed: false,
            evidence: true,
            steer: true,
            interrupt: commanded,
            compact: commanded,
            clear: commanded,
            inject: true,
            between_turns: true,
            attach: false,
            live: typed_into,
        }
    }

    /// Whether messages go through the monitor that Claude Code's plugin runs.
    pub(crate) const fn is_monitored(self) -> bool {
        !matches!(self, Self::Stream)
    }
}

/// Claude Code, as it is started.
#[derive(Debug, Clone)]
pub struct ClaudeSpec {
    /// The program, and what it is given besides.
    pub argv: Vec<OsString>,
    pub way: ClaudeWay,
    /// The tmux program, where it runs in tmux.
    pub tmux: Option<OsString>,
    /// Where all that is said between runner and Claude Code is written down, with the words of messages.
    pub transcript: Option<PathBuf>,
}

impl ClaudeSpec {
    /// Variables of the runner's own environment that Claude Code needs.
    pub const NEEDS: [&str; 24] = [
        HOME,
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_CUSTOM_HEADERS",
        "ANTHROPIC_MODEL",
        "ANTHROPIC_SMALL_FAST_MODEL",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_USE_VERTEX",
        "ANTHROPIC_BEDROCK_BASE_URL",
        "ANTHROPIC_VERTEX_BASE_URL",
        "ANTHROPIC_VERTEX_PROJECT_ID",
        "CLOUD_ML_REGION",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "CLAUDE_CODE_MAX_RETRIES",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "DISABLE_TELEMETRY",
        "DISABLE_AUTOUPDATER",
    ];

    /// Those that say what a person's terminal is and can, and which programs the person likes.
    pub const OF_A_TERMINAL: [&str; 16] = [
        "TERM_PROGRAM",
        "TERM_PROGRAM_VERSION",
        "TERMINAL_EMULATOR",
        "VTE_VERSION",
        "KITTY_WINDOW_ID",
        "WT_SESSION",
        "STY",
        "TMUX",
        "TMUX_PANE",
        "NO_COLOR",
        "DISPLAY",
        "WAYLAND_DISPLAY",
        "SSH_CONNECTION",
        "BROWSER",
        "EDITOR",
        "VISUAL",
    ];
}

/// What the adapter is given for the whole run.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) spec: ClaudeSpec,
    pub(crate) model: Option<String>,
    pub(crate) effort: Option<String>,
    pub(crate) approval: Approval,
    pub(crate) profile: Option<Profile>,
    /// Its home, where it is not the usual one.
    pub(crate) home: Option<PathBuf>,
    pub(crate) runner_dir: PathBuf,
    pub(crate) state_dir: PathBuf,
    /// The folder of the plugin that it is given for this run.
    pub(crate) plugin: Option<PathBuf>,
    /// How long it may take until it is ready.
    pub(crate) ready_within: Duration,
}

pub(crate) fn provider(setting: Setting, inputs: Inputs, monitor: Monitor, hooked: Hooked) -> Box<dyn Provider> {
    match setting.spec.way {
        ClaudeWay::Stream => Box::new(stream::Stream::new(setting, inputs)),
        ClaudeWay::Terminal => Box::new(Terminal::new(setting, inputs, monitor, hooked)),
        ClaudeWay::Interactive => Box::new(Interactive::new(setting, inputs, monitor, hooked)),
    }
}
