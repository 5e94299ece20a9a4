//! What a profile gives Claude Code on its command line (behaviour 15): its permissions and its servers, in files of the
//! runner's own, and its plugins.

use crate::info::write_whole;
use crate::profile::home::{claude_settings, mcp, pretty};
use crate::profile::{McpMode, Profile};
use std::ffi::OsString;
use std::io;
use std::path::Path;

/// In the runner folder.
const SETTINGS: &str = "claude-settings.json";
const SERVERS: &str = "claude-mcp.json";

/// Writes them, for their owner only: servers may have secrets in their environment. What an earlier run's profile had, and
/// this one has not, goes.
pub(crate) fn write(profile: Option<&Profile>, runner_dir: &Path) -> io::Result<()> {
    let settings = profile.filter(|profile| profile.permissions.is_some()).map(claude_settings);
    let servers = profile.filter(|profile| has_servers(profile)).map(|profile| mcp(&profile.mcp));
    for (name, value) in [(SETTINGS, settings), (SERVERS, servers)] {
        let path = runner_dir.join(name);
        match value {
            Some(value) => write_whole(&path, &pretty(&value))?,
            None => remove(&path)?,
        }
    }
    Ok(())
}

/// Nobody reads them any more.
pub(crate) fn forget(runner_dir: &Path) -> io::Result<()> {
    [SETTINGS, SERVERS].into_iter().try_for_each(|name| remove(&runner_dir.join(name)))
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether there is something to say of them: in the user's own home stand the user's own.
fn has_servers(profile: &Profile) -> bool {
    profile.mcp.mode != McpMode::Host || !profile.mcp.servers.is_empty()
}

/// The words of the command line that name them. Plugins without a source are the user's own, and are loaded by themselves.
pub(super) fn arguments(profile: &Profile, runner_dir: &Path) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    if profile.permissions.is_some() {
        words.extend(["--settings".into(), runner_dir.join(SETTINGS).into()]);
    }
    if has_servers(profile) {
        words.extend(["--mcp-config".into(), runner_dir.join(SERVERS).into()]);
        if profile.mcp.mode != McpMode::Host {
            words.push("--strict-mcp-config".into());
        }
    }
    for source in profile.plugins.iter().filter(|part| part.enabled).filter_map(|part| part.source.as_ref()) {
        words.extend(["--plugin-dir".into(), source.into()]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::os::unix::fs::PermissionsExt;

    fn profile(said: Value) -> Profile {
        serde_json::from_value(said).unwrap()
    }

    fn said(profile: &Profile) -> Vec<String> {
        arguments(profile, Path::new("/r")).into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn nothing_is_said_where_the_profile_says_nothing() {
        assert_eq!(said(&profile(json!({"name": "p"}))), Vec::<String>::new());
        let named =
            json!({"name": "p", "plugins": [{"name": "own"}, {"name": "off", "enabled": false, "source": "/x"}]});
        assert_eq!(said(&profile(named)), Vec::<String>::new());
    }

    #[test]
    fn permissions_servers_and_plugins_are_named() {
        let servers = json!({"tickets": {"command": "tickets-mcp", "env": {"KEY": "secret"}}});
        let of = |mode: &str, servers: &Value| {
            let plugins = json!([{"name": "one", "source": "/p/one"}]);
            let permissions = json!({"allow": ["Read"]});
            profile(json!({"name": "p", "plugins": plugins, "permissions": permissions,
                "mcp": {"mode": mode, "servers": servers}}))
        };
        let settings = ["--settings", "/r/claude-settings.json"];
        let file = ["--mcp-config", "/r/claude-mcp.json"];
        let (strict, plugin) = (["--strict-mcp-config"], ["--plugin-dir", "/p/one"]);
        assert_eq!(said(&of("host", &json!({}))), [&settings[..], &plugin].concat());
        assert_eq!(said(&of("host", &servers)), [&settings[..], &file, &plugin].concat());
        for mode in ["profile", "none"] {
            assert_eq!(said(&of(mode, &servers)), [&settings[..], &file, &strict, &plugin].concat());
        }
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str| -> Option<Value> {
            let path = dir.path().join(name);
            let text = std::fs::read_to_string(&path).ok()?;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            Some(serde_json::from_str(&text).unwrap())
        };
        write(Some(&of("profile", &servers)), dir.path()).unwrap();
        assert_eq!(read(SETTINGS).unwrap(), json!({"permissions": {"allow": ["Read"]}}));
        assert_eq!(read(SERVERS).unwrap()["mcpServers"]["tickets"]["env"]["KEY"], "secret");
        write(Some(&of("none", &servers)), dir.path()).unwrap();
        assert_eq!(read(SERVERS).unwrap(), json!({"mcpServers": {}}));
        write(Some(&profile(json!({"name": "p"}))), dir.path()).unwrap();
        assert_eq!((read(SETTINGS), read(SERVERS)), (None, None), "an earlier profile's");
        forget(dir.path()).unwrap();
    }
}
