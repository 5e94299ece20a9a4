//! What a run is given (behaviour 1), as far as it is the shell's.

use crate::environment::EnvironmentPolicy;
use crate::profile::Profile;
use crate::provider::claude::{ClaudeSpec, ClaudeWay};
use crate::provider::codex::CodexSpec;
use crate::provider::command::CommandSpec;
use crate::relay_url::RelayUrl;
use relay_runner_core::Config;
use relay_runner_core::config::{Adapter, Settings};
use relay_runner_core::journal::KeptBodies;
use secrecy::SecretString;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct Options {
    /// What the core is given. Its `adapter` and `first_prompt` are filled in by the run, from `provider` and
    /// `first_prompt`.
    pub config: Config,
    pub relay: RelayUrl,
    /// What is known of it stands in `config.credential`.
    pub token: Option<SecretString>,
    /// Where the token came from: another one that is put there is used from then on.
    pub token_file: Option<PathBuf>,
    /// The agent's own folder: journal, lock, logs. Made when it is missing.
    pub state_dir: PathBuf,
    /// Where sockets and info file go; none: found by [`runner_dir`](crate::runner_dir).
    pub runner_dir: Option<PathBuf>,
    pub provider: ProviderSpec,
    pub environment: EnvironmentPolicy,
    /// What the agent is given besides its task (behaviour 15).
    pub profile: Option<Profile>,
    /// Where the provider is started.
    pub cwd: PathBuf,
    /// Said once in the agent's life; trimmed, and nothing when it is empty then.
    pub first_prompt: Option<String>,
    /// A second place for the info file (`AGENT_RELAY_RUNNER_INFO_FILE`).
    pub info_file: Option<PathBuf>,
    pub program: Program,
    /// Where HUP reads the configuration again; none where there is nothing to read.
    pub settings: Option<SettingsSource>,
    /// What the journal keeps of the words of messages and commands.
    pub bodies: KeptBodies,
    /// Forget the earlier runs: their journal is moved aside.
    pub fresh: bool,
    /// Whether the signals of the process are this run's. Not so in a process with several.
    pub signals: bool,
}

/// Reads the part of the configuration that may change while the run goes on.
#[derive(Clone)]
pub struct SettingsSource(Arc<dyn Fn() -> Result<Settings, String> + Send + Sync>);

impl SettingsSource {
    pub fn new(read: impl Fn() -> Result<Settings, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    pub(crate) fn read(&self) -> Result<Settings, String> {
        (self.0)()
    }
}

impl std::fmt::Debug for SettingsSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SettingsSource")
    }
}

/// What stands in the journal about the program that wrote it.
#[derive(Debug, Clone)]
pub struct Program {
    pub version: String,
    pub commit: Option<String>,
}

/// Which kind of provider, and what it needs.
#[derive(Debug, Clone)]
pub enum ProviderSpec {
    /// Any program that speaks JSON lines.
    Command(CommandSpec),
    /// Codex, through its app-server.
    Codex(CodexSpec),
    /// Claude Code, in a terminal or in its print mode.
    Claude(ClaudeSpec),
}

impl Options {
    /// A number that stands for all that a process is started with and cannot be told later: one that was started with
    /// something else is not taken up.
    pub(crate) fn launch(&self) -> u64 {
        let model = [self.config.identity.model.as_deref(), self.config.identity.effort.as_deref()];
        let (argv, way, monitor, more_of_it) = match &self.provider {
            ProviderSpec::Command(CommandSpec { argv, listen, monitor, .. }) => {
                (argv, if *listen { &b"listens"[..] } else { b"pipes" }, *monitor, None)
            }
            ProviderSpec::Codex(CodexSpec { argv, .. }) => (argv, &b"codex"[..], false, Some(model)),
            ProviderSpec::Claude(ClaudeSpec { argv, way, .. }) => (argv, way.name().as_bytes(), false, Some(model)),
        };
        let words = argv.iter().map(|word| word.as_encoded_bytes());
        let more = [
            self.cwd.as_os_str().as_encoded_bytes(),
            self.relay.base().as_bytes(),
            self.config.identity.approval.as_str().as_bytes(),
            way,
        ];
        // A list, a map or a name of strings always has a JSON form.
        let profile = self.profile.as_ref().map(|profile| serde_json::to_vec(profile).unwrap_or_default());
        // No word holds a NUL, so no two lists give the same text.
        let monitor = monitor.then_some(&b"monitor"[..]);
        let more_of_it = more_of_it.into_iter().flatten().map(|word| word.unwrap_or_default().as_bytes());
        let all: Vec<&[u8]> = words.chain(more).chain(profile.as_deref()).chain(monitor).chain(more_of_it).collect();
        xxhash_rust::xxh3::xxh3_64(&all.join(&0))
    }
}

impl ProviderSpec {
    /// What the adapter of this provider can do.
    pub fn adapter(&self) -> Adapter {
        match self {
            Self::Command(spec) => spec.can,
            Self::Codex(_) => CodexSpec::adapter(),
            Self::Claude(spec) => spec.way.adapter(),
        }
    }

    /// Whether the terminal of whoever started the runner is handed over to it.
    pub const fn is_in_terminal(&self) -> bool {
        matches!(self, Self::Claude(ClaudeSpec { way: ClaudeWay::Interactive, .. }))
    }

    /// Whether messages go through the monitor.
    pub(crate) const fn is_monitored(&self) -> bool {
        match self {
            Self::Command(spec) => spec.monitor,
            Self::Codex(_) => false,
            Self::Claude(spec) => spec.way.is_monitored(),
        }
    }
}
