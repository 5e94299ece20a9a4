//! What a provider's own program is given to work with a runner (`plugins/` of the source): skills, and what else it needs to
//! carry them out. The files are part of this program, since an installed one has no source tree.
//!
//! [`install`] puts them into a folder and [`uninstall`] takes them away, by a manifest that lies beside them: what somebody
//! changed is theirs. [`write`] does the same in a folder of a runner's own, and [`for_run`] says whether a run needs that.

mod place;
mod source;
#[cfg(test)]
mod tests;

pub use place::{Action, How, What, install, uninstall};
pub use source::{ClaudeRun, File, files};

use crate::profile::Provider;
use crate::runner_dir::make_private;
use std::io;
use std::path::{Path, PathBuf};

/// Where skills lie in a place.
pub const SKILLS: &str = "skills";

#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    #[error("there is no folder {}: {hint}", path.display())]
    NoHome { path: PathBuf, hint: &'static str },
    #[error("{} is a link, and nothing is written or removed through one; make it a folder, or name another place", path.display())]
    Link { path: PathBuf },
    #[error("{}, which says what was put there, cannot be understood ({why}); move it away, or use --force", path.display())]
    Manifest { path: PathBuf, why: String },
    #[error("cannot {doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
}

/// Puts a provider's files into a folder of the runner's or of a profile's own, which is made, and for its owner only. True
/// when something was written: what stands there already is left alone.
///
/// # Errors
/// When the file system refuses something.
pub fn write(dir: &Path, provider: Provider, program: &Path) -> Result<bool, PluginError> {
    write_all(dir, provider, &files(provider, program))
}

/// Writes the plugin of one run of Claude Code, as [`write`] does: its hooks, and of the rest what the run wants. The skills
/// are left out where `home` has them, by [`install`]: it would list each of them twice.
///
/// # Errors
/// As [`write`].
pub fn write_for_claude(dir: &Path, home: Option<&Path>, program: &Path, run: ClaudeRun) -> Result<bool, PluginError> {
    let skills = run.skills && !has_skills(home, Provider::Claude, program);
    write_all(dir, Provider::Claude, &source::claude_run(program, ClaudeRun { skills, ..run }))
}

fn write_all(dir: &Path, provider: Provider, files: &[File]) -> Result<bool, PluginError> {
    make_private(dir).map_err(|source| PluginError::Io { doing: "make the folder", path: dir.to_owned(), source })?;
    let done = place::put_all(dir, provider, files, How { force: true, dry_run: false })?;
    Ok(done.iter().any(|action| action.what != What::Keep))
}

/// The folder of skills that a provider is to be told of, for this run only. None: its home has them, by [`install`] or from
/// its profile, and it would list each of them twice.
///
/// `dir` is a folder of the runner's, `home` the provider's.
///
/// # Errors
/// As [`write`].
pub fn for_run(
    dir: &Path,
    home: Option<&Path>,
    provider: Provider,
    program: &Path,
) -> Result<Option<PathBuf>, PluginError> {
    if has_skills(home, provider, program) {
        return Ok(None);
    }
    write(dir, provider, program)?;
    Ok(Some(dir.join(SKILLS)))
}

/// Whether a home has them, of whatever version.
fn has_skills(home: Option<&Path>, provider: Provider, program: &Path) -> bool {
    let Some(home) = home.filter(|home| place::is_installed(home)) else { return false };
    let how = How { force: false, dry_run: true };
    if install(home, provider, program, how).is_ok_and(|left| !left.is_empty()) {
        tracing::warn!(
            "the skills in {} are not those of this version; `relay-runner plugin install {} --home {}` brings them up to date",
            home.display(),
            provider.name(),
            home.display()
        );
    }
    true
}
