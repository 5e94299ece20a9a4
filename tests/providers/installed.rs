//! Where the providers' programs are: `scripts/install-providers` puts them into a folder of the project.

use std::fmt;
use std::path::{Path, PathBuf};

/// A program that is there.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    pub(crate) program: PathBuf,
}

#[derive(Debug, Clone)]
pub(crate) struct Missing {
    package: &'static str,
    argument: &'static str,
    pub(crate) is_an_error: bool,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not installed: scripts/install-providers {} brings it", self.package, self.argument)
    }
}

/// The native program of `@openai/codex`; `RELAY_RUNNER_CODEX` names another one.
pub(crate) fn codex() -> Result<Installed, Missing> {
    find("RELAY_RUNNER_CODEX", "@openai/codex", "codex", |packages| {
        packages_of(packages, "@openai", "codex-linux-").into_iter().find_map(|package| {
            let targets = std::fs::read_dir(package.join("vendor")).ok()?;
            targets.flatten().map(|target| target.path().join("bin/codex")).find(|program| program.is_file())
        })
    })
}

fn find(
    variable: &str,
    package: &'static str,
    argument: &'static str,
    look: impl FnOnce(&Path) -> Option<PathBuf>,
) -> Result<Installed, Missing> {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join(".providers/node_modules");
    let named = std::env::var_os(variable).map(PathBuf::from);
    let is_an_error = named.is_some() || std::env::var_os("RELAY_RUNNER_PROVIDERS").is_some_and(|how| how == "require");
    let program = named.filter(|program| program.is_file()).or_else(|| look(&packages));
    program.map(|program| Installed { program }).ok_or(Missing { package, argument, is_an_error })
}

fn packages_of(packages: &Path, scope: &str, prefix: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(packages.join(scope)).into_iter().flatten().flatten();
    all.filter(|package| package.file_name().to_string_lossy().starts_with(prefix)).map(|p| p.path()).collect()
}
