//! A provider's home for one profile (behaviour 15): its settings, instructions, skills and plugins, and links to the user's
//! credentials, which are never copied. Made anew when the profile changes; what the provider itself wrote there stays.

use super::{Mcp, McpMode, Part, Profile, Provider, Server};
use crate::info::write_whole;
use crate::plugin::{self, How, PluginError};
use crate::runner_dir::make_private;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What was put there, so that what the profile no longer has goes.
const MANIFEST: &str = ".relay-runner.json";
const NEWER: &str = "the provider put a file of its own in the place of a link to the user's credentials";

/// Where the user's own home of the provider is, and this program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// `CLAUDE_CONFIG_DIR`, else `~/.claude`.
    pub claude: Option<PathBuf>,
    /// `CODEX_HOME`, else `~/.codex`.
    pub codex: Option<PathBuf>,
    /// The path of this program, for rules that name it.
    pub program: Option<PathBuf>,
}

impl Host {
    /// By the variables of a process.
    pub fn of(variable: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let home = variable("HOME");
        let at = |name: &str, folder: &str| variable(name).or_else(|| home.as_ref().map(|home| home.join(folder)));
        let program = std::env::current_exe().ok();
        Self { claude: at("CLAUDE_CONFIG_DIR", ".claude"), codex: at("CODEX_HOME", ".codex"), program }
    }

    /// The user's own home of a provider; none where it has no such thing.
    pub const fn folder(&self, provider: Provider) -> Option<&PathBuf> {
        match provider {
            Provider::Claude => self.claude.as_ref(),
            Provider::Codex => self.codex.as_ref(),
            Provider::Acp | Provider::Command | Provider::Any => None,
        }
    }
}

/// The variable in which a provider finds its home; none where it has no such thing.
pub const fn variable(provider: Provider) -> Option<&'static str> {
    match provider {
        Provider::Claude => Some("CLAUDE_CONFIG_DIR"),
        Provider::Codex => Some("CODEX_HOME"),
        Provider::Command => Some("AGENT_RELAY_PROFILE_HOME"),
        Provider::Acp | Provider::Any => None,
    }
}

#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    #[error("cannot {doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{place}: {why}")]
    Source { place: String, why: String },
    #[error(transparent)]
    Plugin(#[from] PluginError),
}

/// Something in a home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Item {
    /// For its owner only.
    File(String),
    /// To a folder of the profile, or to a credential.
    Link(PathBuf),
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    /// Whose home it is.
    #[serde(default)]
    profile: String,
    hash: String,
    items: Vec<String>,
}

/// Makes the home, or makes it anew when it is another one than the profile's. True when something was written.
///
/// # Errors
/// When a source is no folder, when the folder holds something else, and when the file system refuses something.
pub fn make(dir: &Path, profile: &Profile, provider: Provider, host: &Host) -> Result<bool, HomeError> {
    let items = items(profile, provider, host)?;
    let path = dir.join(MANIFEST);
    let is_empty = std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    if !is_empty && !path.exists() {
        let why = "it holds something else than a home that was made here; name another folder".to_owned();
        return Err(HomeError::Source { place: dir.display().to_string(), why });
    }
    make_private(dir).map_err(io_error("make the folder", dir))?;
    let hash = hash(&items);
    let known = known(dir).unwrap_or_default();
    let stands_all = || items.iter().all(|(name, item)| stands(&dir.join(name), item));
    if known.hash == hash && known.profile == profile.name && stands_all() {
        return with_plugin(dir, profile, provider, host);
    }
    if items.iter().any(|(name, item)| matches!(item, Item::Link(_)) && is_real_folder(&dir.join(name))) {
        // A skill of the profile's takes the place of the runner's own of that name.
        without_plugin(dir)?;
    }
    for name in known.items.iter().filter(|name| !items.contains_key(*name) && is_plain(name)) {
        remove(&dir.join(name))?;
    }
    // Before the first item: whatever becomes of this start, the next one knows what may be there.
    let mut names: Vec<String> = items.keys().cloned().collect();
    let of = &profile.name;
    note(&path, &Manifest { profile: of.clone(), hash: String::new(), items: names.clone() })?;
    for (name, item) in &items {
        put(dir, name, item)?;
    }
    names.sort();
    note(&path, &Manifest { profile: of.clone(), hash, items: names })?;
    with_plugin(dir, profile, provider, host)?;
    Ok(true)
}

/// Where the home of an agent's profile lies, in the agent's state folder.
pub fn of_agent(state_dir: &Path, provider: Provider) -> PathBuf {
    state_dir.join("profile-home").join(provider.name())
}

/// Whose home a folder is. None: it was not made here.
pub fn profile_of(dir: &Path) -> Option<String> {
    known(dir).map(|manifest| manifest.profile)
}

fn known(dir: &Path) -> Option<Manifest> {
    serde_json::from_str(&std::fs::read_to_string(dir.join(MANIFEST)).ok()?).ok()
}

/// What the provider has to work with the runner, where the profile does not leave it out. True when something changed.
fn with_plugin(dir: &Path, profile: &Profile, provider: Provider, host: &Host) -> Result<bool, HomeError> {
    if !profile.relay.skills || provider != Provider::Codex {
        return without_plugin(dir);
    }
    let program = host.program.as_deref().ok_or_else(|| HomeError::Source {
        place: "relay.skills".to_owned(),
        why: "the path of this program, which codex is to let out of its sandbox, is not known; set it to false"
            .to_owned(),
    })?;
    Ok(plugin::write(dir, provider, program)?)
}

fn without_plugin(dir: &Path) -> Result<bool, HomeError> {
    Ok(!plugin::uninstall(dir, How { force: true, dry_run: false })?.is_empty())
}

fn is_real_folder(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|is| is.is_dir())
}

fn note(path: &Path, manifest: &Manifest) -> Result<(), HomeError> {
    let text = serde_json::to_string_pretty(manifest).map_err(io::Error::other);
    text.and_then(|text| write_whole(path, &(text + "\n"))).map_err(io_error("write", path))
}

/// A name that cannot lead out of the home.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)))
}

fn hash(items: &BTreeMap<String, Item>) -> String {
    // Strings, lists and maps of strings always have a JSON form.
    let text = serde_json::to_vec(items).unwrap_or_default();
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&text))
}

fn stands(path: &Path, item: &Item) -> bool {
    match item {
        Item::File(text) => {
            std::fs::symlink_metadata(path).is_ok_and(|is| is.is_file())
                && std::fs::read_to_string(path).is_ok_and(|there| there == *text)
        }
        Item::Link(to) => std::fs::read_link(path).is_ok_and(|there| there == *to),
    }
}

fn put(dir: &Path, name: &str, item: &Item) -> Result<(), HomeError> {
    let path = dir.join(name);
    if stands(&path, item) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_private(parent).map_err(io_error("make the folder", parent))?;
    }
    match item {
        Item::File(text) => {
            if std::fs::symlink_metadata(&path).is_ok_and(|is| is.is_dir()) {
                remove(&path)?;
            }
            write_whole(&path, text).map_err(io_error("write", &path))
        }
        Item::Link(to) => {
            match std::fs::symlink_metadata(&path) {
                // What the provider wrote itself is kept: it may be the newest credential there is.
                Ok(is) if !is.is_symlink() => set_aside(&path)?,
                Ok(_) | Err(_) => remove(&path)?,
            }
            std::os::unix::fs::symlink(to, &path).map_err(io_error("make the link", &path))
        }
    }
}

/// Renames it, to a name that is free.
fn set_aside(path: &Path) -> Result<(), HomeError> {
    let mut n = 1;
    let mut aside = PathBuf::from(format!("{}.replaced-{n}", path.display()));
    while std::fs::symlink_metadata(&aside).is_ok() {
        n += 1;
        aside = PathBuf::from(format!("{}.replaced-{n}", path.display()));
    }
    std::fs::rename(path, &aside).map_err(io_error("set aside", path))?;
    tracing::warn!("{}: {NEWER}; it is a link again, and what was there is {}", path.display(), aside.display());
    Ok(())
}

fn remove(path: &Path) -> Result<(), HomeError> {
    let removed = match std::fs::symlink_metadata(path) {
        // A link to a folder goes, and not what it leads to.
        Ok(is) if is.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        _ => Ok(()),
    }
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HomeError + use<> {
    let path = path.to_owned();
    move |source| HomeError::Io { doing, path, source }
}

/// What a home holds.
fn items(profile: &Profile, provider: Provider, host: &Host) -> Result<BTreeMap<String, Item>, HomeError> {
    let mut items = BTreeMap::new();
    let append = profile.instructions.append.join("\n\n");
    let own = host.folder(provider);
    let mut text = |name: &str, text: String| items.insert(name.to_owned(), Item::File(text));
    match provider {
        Provider::Claude => {
            text("settings.json", pretty(&claude_settings(profile)));
            if !append.is_empty() {
                text("CLAUDE.md", append + "\n");
            }
            text("mcp.json", pretty(&mcp(&profile.mcp)));
        }
        Provider::Codex => {
            text("config.toml", codex_config(profile));
            if !append.is_empty() {
                text("AGENTS.md", append + "\n");
            }
        }
        Provider::Acp | Provider::Command | Provider::Any => {
            text("profile.json", pretty(&serde_json::to_value(profile).unwrap_or(Value::Null)));
            let words = profile.own_instructions();
            if !words.is_empty() {
                text("INSTRUCTIONS.md", words + "\n");
            }
            text("mcp.json", pretty(&mcp(&profile.mcp)));
            parts(&mut items, "plugins", &profile.plugins, None)?;
        }
    }
    parts(&mut items, "skills", &profile.skills, own)?;
    let credential = match provider {
        Provider::Claude => Some(".credentials.json"),
        Provider::Codex => Some("auth.json"),
        Provider::Acp | Provider::Command | Provider::Any => None,
    };
    if let Some((name, path)) =
        credential.and_then(|name| Some((name, own?.join(name)))).filter(|(_, path)| path.exists())
    {
        items.insert(name.to_owned(), Item::Link(path));
    }
    Ok(items)
}

/// Links to the folders of what is enabled.
fn parts(
    items: &mut BTreeMap<String, Item>,
    list: &str,
    parts: &[Part],
    own: Option<&PathBuf>,
) -> Result<(), HomeError> {
    for (at, part) in parts.iter().enumerate().filter(|(_, part)| part.enabled) {
        let missing = |why: String| HomeError::Source { place: format!("{list}[{at}].source"), why };
        let folder = match (&part.source, own) {
            (Some(source), _) => PathBuf::from(source),
            (None, Some(own)) => own.join(list).join(&part.name),
            (None, None) => {
                return Err(missing(format!("`{}` has no source, and this provider no home of the user's", part.name)));
            }
        };
        if !folder.is_dir() {
            return Err(missing(format!("there is no folder {} for `{}`", folder.display(), part.name)));
        }
        items.insert(format!("{list}/{}", part.name), Item::Link(folder));
    }
    Ok(())
}

pub(crate) fn claude_settings(profile: &Profile) -> Value {
    let mut settings = Map::new();
    if let Some(permissions) = &profile.permissions {
        settings.insert("permissions".to_owned(), json!(permissions));
    }
    Value::Object(settings)
}

/// In the form that claude reads, and the one that others know best.
pub(crate) fn mcp(mcp: &Mcp) -> Value {
    let servers: &BTreeMap<String, Server> = &mcp.servers;
    let none = mcp.mode == McpMode::None;
    json!({"mcpServers": if none { json!({}) } else { json!(servers) }})
}

fn codex_config(profile: &Profile) -> String {
    let mut lines = Vec::new();
    if !profile.instructions.repo_instructions {
        lines.push("project_doc_max_bytes = 0".to_owned());
    }
    let servers = if profile.mcp.mode == McpMode::None { None } else { Some(&profile.mcp.servers) };
    for (name, server) in servers.into_iter().flatten() {
        lines.push(format!("\n[mcp_servers.{}]", literal(name)));
        let texts = [("command", &server.command), ("url", &server.url)];
        lines.extend(texts.into_iter().filter_map(|(key, text)| Some(format!("{key} = {}", literal(text.as_ref()?)))));
        if !server.args.is_empty() {
            let args: Vec<String> = server.args.iter().map(|arg| literal(arg)).collect();
            lines.push(format!("args = [{}]", args.join(", ")));
        }
        for (key, map) in [("env", &server.env), ("http_headers", &server.headers)] {
            if !map.is_empty() {
                let pairs: Vec<String> = map.iter().map(|(n, v)| format!("{} = {}", literal(n), literal(v))).collect();
                lines.push(format!("{key} = {{ {} }}", pairs.join(", ")));
            }
        }
    }
    lines.join("\n").trim_start().to_owned() + "\n"
}

/// A TOML string: JSON's escapes are TOML's, which wants one more.
fn literal(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

pub(crate) fn pretty(value: &Value) -> String {
    // A value of JSON always has a JSON form.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
