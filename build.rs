//! Which commit is being built: journals and saved failures name it. `RELAY_RUNNER_COMMIT` says so where there is no
//! repository, as in a package.

use std::path::Path;
use std::process::Command;

const VARIABLE: &str = "RELAY_RUNNER_COMMIT";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let Some(root) = git(&["rev-parse", "--show-toplevel"]) else { return };
    // As a dependency it may lie in a repository that is not its own.
    if !is_same(Path::new(&root), Path::new(env!("CARGO_MANIFEST_DIR"))) {
        return;
    }
    // It grows with every commit and every checkout; without it the branch's name is all there is to watch.
    for file in ["logs/HEAD", "HEAD"] {
        if let Some(file) = git(&["rev-parse", "--git-path", file]).filter(|file| Path::new(file).exists()) {
            println!("cargo::rerun-if-changed={file}");
            break;
        }
    }
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
