//! Where the providers' programs are: `scripts/install-providers` puts them into a folder of the project.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that is there.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    pub(crate) program: PathBuf,
}

#[derive(Debug, Clone)]
pub(crate) struct Missing {
    package: &'static str,
    /// What brings it.
    by: &'static str,
    pub(crate) is_an_error: bool,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not installed: {} brings it", self.package, self.by)
    }
}

/// The native program of `@openai/codex`; `RELAY_RUNNER_CODEX` names another one.
pub(crate) fn codex() -> Result<Installed, Missing> {
    find("RELAY_RUNNER_CODEX", "@openai/codex", "scripts/install-providers codex", |packages| {
        packages_of(packages, "@openai", "codex-linux-").into_iter().find_map(|package| {
            let targets = std::fs::read_dir(package.join("vendor")).ok()?;
            targets.flatten().map(|target| target.path().join("bin/codex")).find(|program| program.is_file())
        })
    })
}

/// The native program of `@anthropic-ai/claude-code`; `RELAY_RUNNER_CLAUDE` names another one.
pub(crate) fn claude() -> Result<Installed, Missing> {
    find("RELAY_RUNNER_CLAUDE", "@anthropic-ai/claude-code", "scripts/install-providers claude", |packages| {
        let programs = packages_of(packages, "@anthropic-ai", "claude-code-linux-").into_iter();
        programs.map(|package| package.join("claude")).find(|program| program.is_file())
    })
}

fn find(
    variable: &str,
    package: &'static str,
    by: &'static str,
    look: impl FnOnce(&Path) -> Option<PathBuf>,
) -> Result<Installed, Missing> {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join(".providers/node_modules");
    let named = std::env::var_os(variable).map(PathBuf::from);
    let is_an_error = named.is_some() || is_required();
    let program = named.filter(|program| program.is_file()).or_else(|| look(&packages));
    program.map(|program| Installed { program }).ok_or(Missing { package, by, is_an_error })
}

fn is_required() -> bool {
    std::env::var_os("RELAY_RUNNER_PROVIDERS").is_some_and(|how| how == "require")
}

/// The same, where a terminal can be had as well.
pub(crate) fn with_tmux(program: Installed) -> Result<Installed, Missing> {
    let missing = Missing { package: "tmux", by: "apt-get install tmux", is_an_error: is_required() };
    let there = Command::new("tmux").arg("-V").output().is_ok_and(|said| said.status.success());
    if there { Ok(program) } else { Err(missing) }
}

fn packages_of(packages: &Path, scope: &str, prefix: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(packages.join(scope)).into_iter().flatten().flatten();
    all.filter(|package| package.file_name().to_string_lossy().starts_with(prefix)).map(|p| p.path()).collect()
}
