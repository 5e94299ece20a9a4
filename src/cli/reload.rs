//! HUP: the configuration is read again (behaviour 18). The keys of which `config default` says HUP change; the rest are
//! said to need a new start.

use super::config_file::{File, Layer};
use super::config_keys as keys;
use super::failure::{Failure, in_words};
use super::given::{Environment, Flags, Given};
use super::{core_settings, diagnostics};
use relay_runner_core::Config;
use relay_runner_core::config::{Adapter, Identity, Settings};
use relay_runner_shell::SettingsSource;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a run reads it again; none where no configuration could lie. The variables of a process do not change, so they are
/// read as they are.
pub(crate) fn settings(given: &Given<'_>) -> Option<SettingsSource> {
    let path = given.file.path.clone()?;
    let before = Before {
        path,
        flags: given.flags.clone(),
        file: Arc::clone(&given.file),
        agent: given.agent.clone(),
        profile: Arc::clone(&given.profile),
    };
    Some(SettingsSource::new(move || before.read_again()))
}

/// What the run began with.
struct Before {
    path: PathBuf,
    flags: Flags,
    file: Arc<File>,
    agent: Option<Arc<str>>,
    profile: Arc<Layer>,
}

impl Before {
    fn given(&self, file: Arc<File>) -> Given<'static> {
        let (agent, profile) = (self.agent.clone(), Arc::clone(&self.profile));
        Given { agent, profile, ..Given::new(Environment::ours(), self.flags.clone(), file) }
    }

    fn read_again(&self) -> Result<Settings, String> {
        let kept = |failure: Failure| {
            let why = failure.error.as_ref().map(in_words).unwrap_or_default();
            format!("{why}\nall values stay as they were")
        };
        let now = self.given(Arc::new(self.file_now().map_err(kept)?));
        let mut config = Config::new(Identity::default(), Adapter::default(), 0);
        core_settings::read(&mut config, &now).map_err(kept)?;
        self.tell_what_waits(&now).map_err(kept)?;
        if now.env.raw(keys::LOG.variable).is_none() {
            let level = now.text(keys::LOG).map_err(kept)?.map(|(level, _)| level);
            diagnostics::set(level.as_deref().unwrap_or(diagnostics::RUN_LEVEL));
        }
        Ok(Settings::of(&config))
    }

    fn file_now(&self) -> Result<File, Failure> {
        if self.file.is_there && !Path::new(&self.path).exists() {
            return Err(Failure::usage("configuration", format!("the configuration {} is gone", self.path.display())));
        }
        File::read(&self.path, None, Environment::ours())
    }

    fn tell_what_waits(&self, now: &Given<'_>) -> Result<(), Failure> {
        let begun = self.given(Arc::clone(&self.file));
        for entry in keys::all().filter(|entry| !entry.is_live) {
            let (before, after) = (begun.all(entry.key)?, now.all(entry.key)?);
            if before.iter().map(|(what, _)| what).ne(after.iter().map(|(what, _)| what)) {
                tracing::warn!(
                    "`{}` was changed in {}; it takes effect at the next start",
                    entry.key.path,
                    self.path.display()
                );
            }
        }
        Ok(())
    }
}
