//! What a provider finds when it starts: the home of its profile, and what it is told first (behaviour 15).

use super::Runner;
use crate::error::StartError;
use crate::info::write_whole;
use crate::options::Options;
use crate::plugin::{self, ClaudeRun, How};
use crate::profile::home::{self, Host};
use crate::profile::{Provider, first_questions};
use crate::provider::claude::profiled;
use crate::runner_dir::INSTRUCTIONS;
use relay_runner_core::Core;
use relay_runner_core::instructions::{Introduction, relay_instructions};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// In the runner folder.
const PLUGIN: &str = "plugin";

/// The variable in which the provider finds the home of its profile, and the home.
pub(super) type ProfileHome = Option<(&'static str, PathBuf)>;

/// Makes it, where the profile turns the user's own off. One that an earlier run had, and this one has not, stays: the
/// provider's sessions are in it.
pub(super) fn profile_home(options: &Options, state_dir: &Path) -> Result<ProfileHome, StartError> {
    let provider = Provider::named(&options.config.identity.provider).unwrap_or(Provider::Command);
    let Some(profile) = options.profile.as_ref().filter(|profile| !profile.host_globals()) else { return Ok(None) };
    let Some(variable) = home::variable(provider) else { return Ok(None) };
    let dir = home::of_agent(state_dir, provider);
    let host = Host::of(|name| std::env::var_os(name).map(PathBuf::from));
    if home::make(&dir, profile, provider, &host).map_err(StartError::ProfileHome)? {
        tracing::info!("the home of the profile `{}` is {}", profile.name, dir.display());
    }
    if provider == Provider::Claude {
        let own = first_questions::own(|name| std::env::var_os(name).map(PathBuf::from));
        // Then it asks, and what it asks is reported.
        if let Err(error) = first_questions::answer(&dir, own.as_deref(), &options.cwd) {
            tracing::warn!("Claude Code may ask its first questions in {}: {error}", dir.display());
        }
    }
    Ok(Some((variable, dir)))
}

/// Writes the skills of the relay for a provider whose home does not have them, and gives their folder. None as well where the
/// profile leaves them out, or they cannot be written.
pub(super) fn skills(options: &Options, home: Option<&Path>, runner_dir: &Path) -> Option<PathBuf> {
    let provider = Provider::named(&options.config.identity.provider)?;
    if options.profile.as_ref().is_some_and(|profile| !profile.relay.skills) {
        return None;
    }
    let host = Host::of(|name| std::env::var_os(name).map(PathBuf::from));
    let home = home.or_else(|| host.folder(provider).map(PathBuf::as_path));
    let program = host.program.as_deref().unwrap_or_else(|| Path::new("relay-runner"));
    let skills = plugin::for_run(&runner_dir.join(PLUGIN), home, provider, program).unwrap_or_else(|error| {
        tracing::warn!("the agent has no skills of the relay: {error}");
        None
    });
    if skills.is_some() && provider == Provider::Codex {
        tracing::info!(
            "codex's sandbox keeps the agent's own verbs (relay-runner reply, ...) from the runner; `relay-runner plugin install codex \
             --user` lets them out"
        );
    }
    skills
}

/// Writes the plugin that Claude Code is given for this run: its hooks, which the runner cannot do without in a terminal, the
/// monitor, and the skills where its home does not have them. None: it cannot be written.
pub(super) fn claude_plugin(options: &Options, home: Option<&Path>, runner_dir: &Path) -> Option<PathBuf> {
    let host = Host::of(|name| std::env::var_os(name).map(PathBuf::from));
    let home = home.or_else(|| host.folder(Provider::Claude).map(PathBuf::as_path));
    let program = host.program.as_deref().unwrap_or_else(|| Path::new("relay-runner"));
    let dir = runner_dir.join(PLUGIN);
    let relay = options.profile.as_ref().map(|profile| &profile.relay);
    let run = ClaudeRun {
        skills: relay.is_none_or(|relay| relay.skills),
        // In print mode it says by itself what they would, and asks by itself.
        hooks: options.provider.is_monitored(),
        monitor: relay.is_none_or(|relay| relay.monitor) && options.provider.is_monitored(),
        approval: Duration::from_millis(options.config.timing.approval),
    };
    match plugin::write_for_claude(&dir, home, program, run) {
        Ok(_) => Some(dir),
        Err(error) => {
            tracing::warn!("Claude Code has no plugin of the runner, and says nothing of what it does: {error}");
            None
        }
    }
}

impl Runner {
    /// Writes what the next process is told first. None: there is nothing to tell, or it cannot be written.
    pub(super) fn introduction(&self) -> Option<OsString> {
        let path = self.runner_dir.join(INSTRUCTIONS);
        let text = words(&self.core, self.options.profile.as_ref().map(crate::profile::Profile::own_instructions));
        if text.is_empty() {
            // An earlier run's, under another profile.
            let _ = std::fs::remove_file(&path);
            return None;
        }
        match write_whole(&path, &text) {
            Ok(()) => Some(path.into_os_string()),
            Err(error) => {
                tracing::warn!("the agent is told nothing of the relay: cannot write {}: {error}", path.display());
                None
            }
        }
    }
}

/// Nobody is left to read what the provider was told.
pub(super) fn forget(runner_dir: &Path) {
    let path = runner_dir.join(INSTRUCTIONS);
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!("cannot remove {}: {error}", path.display()),
    }
    if let Err(error) = profiled::forget(runner_dir) {
        tracing::warn!("cannot remove the profile's files from {}: {error}", runner_dir.display());
    }
    if let Err(why) = without_plugin(&runner_dir.join(PLUGIN)) {
        tracing::warn!("{why}");
    }
}

fn without_plugin(dir: &Path) -> Result<(), String> {
    if !dir.exists() {
        return Ok(());
    }
    plugin::uninstall(dir, How { force: true, dry_run: false }).map_err(|error| error.to_string())?;
    std::fs::remove_dir(dir).map_err(|error| format!("cannot remove {}: {error}", dir.display()))
}

fn words(core: &Core, own: Option<String>) -> String {
    let config = core.config();
    let identity = &config.identity;
    let relay = config
        .relay_context
        .then(|| relay_instructions(&Introduction { agent_id: &identity.agent_id, label: core.label() }));
    let own = own.filter(|own| !own.is_empty()).map(|own| own + "\n");
    own.into_iter().chain(relay).collect::<Vec<_>>().join("\n")
}
