//! The runner folder: where its sockets and its info file lie, and where hooks look for them (behaviour 3).
//!
//! `$XDG_RUNTIME_DIR/relay-runner/<hash of the agent id>`, else `run` in the state folder, else a folder of our own
//! under the temporary folder: the first whose socket paths are short enough for the system. The same at each start.

use crate::error::StartError;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The control server's socket.
pub const CONTROL_SOCKET: &str = "control.sock";
/// The socket of a program that listens.
pub const COMMAND_SOCKET: &str = "command.sock";
/// Where codex listens.
pub const CODEX_SOCKET: &str = "codex.sock";
/// The tmux server that Claude Code runs in.
pub const TMUX_SOCKET: &str = "tmux.sock";
/// What the provider is told first.
pub(crate) const INSTRUCTIONS: &str = "instructions.md";
/// How others find the runner: agent, process, control server and its secret.
pub const INFO_FILE: &str = "runner.json";

/// The longest path of a socket: the system's limit is 104 bytes (macOS) or 108 (Linux).
const SOCKET_PATH_MOST: usize = 100;

/// Where the runner folder may lie.
#[derive(Debug, Clone)]
pub struct Places<'a> {
    pub agent_id: &'a str,
    pub state_dir: &'a Path,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime: Option<&'a Path>,
    pub temporary: &'a Path,
}

/// The folders that come into question, best first. Nothing is made.
pub fn candidates(places: &Places<'_>) -> Vec<PathBuf> {
    let agent = hash(places.agent_id.as_bytes());
    // Under the temporary folder the folder's name must tell two state folders with the same agent id apart.
    let mut both = places.agent_id.as_bytes().to_vec();
    both.push(0);
    both.extend_from_slice(places.state_dir.as_os_str().as_encoded_bytes());
    let ours = rustix::process::geteuid().as_raw();
    [
        places.runtime.map(|dir| dir.join("relay-runner").join(&agent)),
        std::path::absolute(places.state_dir).ok().map(|dir| dir.join("run")),
        Some(places.temporary.join(format!("relay-runner-{ours}")).join(hash(&both))),
    ]
    .into_iter()
    .flatten()
    .filter(|dir| {
        dir.is_absolute()
            && dir.as_os_str().len() + 1 + COMMAND_SOCKET.len().max(CONTROL_SOCKET.len()).max(CODEX_SOCKET.len())
                <= SOCKET_PATH_MOST
    })
    .collect()
}

/// Makes the runner folder, for us alone.
pub fn prepare(places: &Places<'_>) -> Result<PathBuf, StartError> {
    let mut why = Vec::new();
    for dir in candidates(places) {
        match make_private(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) => why.push(format!("{}: {error}", dir.display())),
        }
    }
    if why.is_empty() {
        why.push("every path would be too long for a socket".to_owned());
    }
    Err(StartError::RunnerDir { why: why.join("; ") })
}

/// Makes a folder with mode 0700, or takes one that is ours already. Its parent is made likewise.
pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    if let Some(parent) = dir.parent().filter(|parent| !parent.exists()) {
        make_private(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => take_over(dir),
        Err(error) => Err(error),
    }
}

fn take_over(dir: &Path) -> io::Result<()> {
    // Not through a symbolic link: it could be another user's, in a folder where everybody may write.
    let is = std::fs::symlink_metadata(dir)?;
    let refused = |why: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned()));
    if !is.is_dir() {
        return refused("it is not a folder");
    }
    if is.uid() != rustix::process::geteuid().as_raw() {
        return refused("it belongs to another user");
    }
    if is.mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn hash(bytes: &[u8]) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_with_a_short_enough_path_is_taken() {
        let state = PathBuf::from("/home/me/.state/agent");
        let at = |runtime: Option<&Path>, state_dir: &Path| {
            candidates(&Places { agent_id: "a1", state_dir, runtime, temporary: Path::new("/tmp") })
        };
        let all = at(Some(Path::new("/run/user/1000")), &state);
        assert_eq!(all.len(), 3);
        assert!(all[0].starts_with("/run/user/1000/relay-runner"));
        assert_eq!(all[1], state.join("run"));
        let long = PathBuf::from(format!("/home/{}", "x".repeat(100)));
        let all = at(None, &long);
        assert_eq!(all.len(), 1);
        assert!(all[0].starts_with("/tmp") && all[0].as_os_str().len() < 90);
        assert_eq!(all, at(None, &long));
    }

    #[test]
    fn the_folder_is_for_us_alone() {
        let base = tempfile::tempdir().unwrap();
        let places =
            Places { agent_id: "a1", state_dir: base.path(), runtime: Some(base.path()), temporary: base.path() };
        let dir = prepare(&places).unwrap();
        assert_eq!(std::fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(prepare(&places).unwrap(), dir);
        assert_eq!(std::fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_link_of_somebody_else_is_not_followed() {
        let base = tempfile::tempdir().unwrap();
        let link = base.path().join("link");
        std::os::unix::fs::symlink(base.path(), &link).unwrap();
        assert!(make_private(&link).unwrap_err().to_string().contains("not a folder"));
    }
}
