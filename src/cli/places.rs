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

/// Where a runner writes its diagnostics while its provider has the terminal (behaviour 16).
pub(crate) fn runner_log(env: Environment<'_>, agent_id: &str) -> Result<PathBuf, Failure> {
    let home = env.raw("HOME").map(PathBuf::from).filter(|path| path.is_absolute()).ok_or_else(|| {
        Failure::usage(
            "log_file",
            "there is no place for the runner's log while its provider has the terminal: HOME is not set; set it",
        )
    })?;
    Ok(home.join(".agent-relay/logs").join(format!("runner-{}.log", plain_name(agent_id))))
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
    let name = plain_name(agent_id);
    // A name that begins with a dot could be `..`, and would be hidden.
    if name == agent_id && !name.starts_with('.') && !name.is_empty() {
        return name;
    }
    format!("{}-{:08x}", name.trim_start_matches('.'), fnv(agent_id))
}

/// As a part of a file's name.
fn plain_name(agent_id: &str) -> String {
    let mut name = String::new();
    for c in agent_id.chars() {
        if c.is_ascii_alphanumeric() || "_.-".contains(c) {
            name.push(c);
        } else if !name.ends_with('_') {
            name.push('_');
        }
    }
    name.truncate(NAME_MOST);
    name
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
    fn the_log_of_a_runner_has_its_name() {
        let home = |name: &str| (name == "HOME").then(|| OsString::from("/home/me"));
        let log = |id: &str| runner_log(Environment::of(&home), id).unwrap();
        assert_eq!(log("claude-box.1"), Path::new("/home/me/.agent-relay/logs/runner-claude-box.1.log"));
        assert_eq!(log("../a /b"), Path::new("/home/me/.agent-relay/logs/runner-.._a_b.log"));
        assert_eq!(log(&"x".repeat(300)).file_name().unwrap().len(), "runner-.log".len() + NAME_MOST);
        assert_eq!(runner_log(Environment::of(&|_| None), "a1").unwrap_err().code, "log_file");
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
