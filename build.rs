//! Upon which commit this is built: journals and saved failures name it. `RELAY_RUNNER_COMMIT` says so where there is no
//! repository, as in a package.

use std::path::Path;
use std::process::Command;

const VARIABLE: &str = "RELAY_RUNNER_COMMIT";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    if std::env::var_os(VARIABLE).is_some_and(|commit| !commit.is_empty()) {
        return;
    }
    let Some(root) = git(&["rev-parse", "--show-toplevel"]) else { return };
    // As a dependency it may lie in a repository that is not its own.
    if !is_same(Path::new(&root), Path::new(env!("CARGO_MANIFEST_DIR"))) {
        return;
    }
    // It grows with every commit and every checkout. Where there is none, this runs with every build.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]).unwrap_or_default();
    println!("cargo::rerun-if-changed={log}");
    if let Some(commit) = git(&["rev-parse", "HEAD"]) {
        println!("cargo::rustc-env={VARIABLE}={commit}");
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// What git says; nothing where there is no git, or no repository.
fn git(arguments: &[&str]) -> Option<String> {
    let said = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
    let text = String::from_utf8(said.stdout).ok()?.trim().to_owned();
    (said.status.success() && !text.is_empty()).then_some(text)
}
