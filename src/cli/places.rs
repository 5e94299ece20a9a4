//! Where things lie: the state of agents and of the relay, and the folders of runners.

use super::failure::Failure;
use super::given::Environment;
use std::path::{Path, PathBuf};

/// What a folder's name may take of an agent id.
const NAME_MOST: usize = 180;

/// `$XDG_STATE_HOME/relay-runner`, else `~/.local/state/relay-runner`.
pub(crate) fn state_home(env: Environment<'_>) -> Result<PathBuf, Failure> {
    let xdg = env.raw("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = xdg.or_else(|| Some(PathBuf::from(env.raw("HOME")?).join(".local/state")));
    base.map(|base| base.join("relay-runner")).ok_or_else(|| {
        Failure::usage(
            "state_dir",
            "there is no place for the state: neither XDG_STATE_HOME nor HOME is set; set one, or give --state-dir",
        )
    })
}

/// `$XDG_CONFIG_HOME/relay-runner`, else `~/.config/relay-runner`: the configuration and the profiles. None: neither is set.
pub(crate) fn config_home(env: Environment<'_>) -> Option<PathBuf> {
    let xdg = env.raw("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    Some(xdg.or_else(|| Some(PathBuf::from(env.raw("HOME")?).join(".config")))?.join("relay-runner"))
}

/// The state folder of an agent.
pub(crate) fn state_dir(env: Environment<'_>, agent_id: &str) -> Result<PathBuf, Failure> {
    Ok(state_home(env)?.join(folder_name(agent_id)))
}

/// The database of a relay that is started here, unless it is told otherwise.
pub(crate) fn relay_db(env: Environment<'_>) -> Result<PathBuf, Failure> {
    Ok(state_home(env)?.join("relay.db"))
}

/// Makes the folder of a file, for us alone.
pub(crate) fn make_parent(file: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
        Failure::usage("state_dir", format!("cannot make the folder {}: {error}; name another file", folder.display()))
    })
}

/// An agent id as a folder's name: runs of characters outside letters, digits and `_.-` become one `_`. Two ids that
/// would become the same name are told apart by a hash.
fn folder_name(agent_id: &str) -> String {
    let mut name = String::new();
    for c in agent_id.chars() {
        if c.is_ascii_alphanumeric() || "_.-".contains(c) {
            name.push(c);
        } else if !name.ends_with('_') {
            name.push('_');
        }
    }
    name.truncate(NAME_MOST);
    // A name that begins with a dot could be `..`, and would be hidden.
    if name == agent_id && !name.starts_with('.') && !name.is_empty() {
        return name;
    }
    format!("{}-{:08x}", name.trim_start_matches('.'), fnv(agent_id))
}

/// FNV-1a: short, and the same for ever.
fn fnv(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    #[test]
    fn an_agent_id_cannot_leave_the_state_folder() {
        assert_eq!(folder_name("command-box.1"), "command-box.1");
        for id in ["..", ".", "a/b", "../../etc", "ü", &"x".repeat(300)] {
            let name = folder_name(id);
            assert!(!name.contains('/') && !name.starts_with('.') && name.len() < 200, "{id}: {name}");
        }
        assert_ne!(folder_name("a/b"), folder_name("a_b"));
        assert_ne!(folder_name("a/b"), folder_name("a:b"));
    }

    #[test]
    fn state_lies_where_the_environment_says() {
        let with = |xdg: Option<&'static str>| {
            move |name: &str| match name {
                "XDG_STATE_HOME" => xdg.map(OsString::from),
                "HOME" => Some("/home/me".into()),
                _ => None,
            }
        };
        let at = |xdg| state_dir(Environment::of(&with(xdg)), "a1").unwrap();
        assert_eq!(at(Some("/s")), Path::new("/s/relay-runner/a1"));
        assert_eq!(at(None), Path::new("/home/me/.local/state/relay-runner/a1"));
        assert_eq!(at(Some("relative")), Path::new("/home/me/.local/state/relay-runner/a1"));
        assert!(state_home(Environment::of(&|_| None)).is_err());
    }
}
