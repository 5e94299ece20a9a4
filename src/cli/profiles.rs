//! Where profiles lie: documents in the profiles folder of the configuration, and the older profiles file, which knows of
//! label, tags, capabilities, channels and approval. One name may stand in both; then the document wins where it says
//! something.

use super::config_file::{Layer, Value as Setting, What};
use super::config_keys as keys;
use super::failure::Failure;
use super::given::{Environment, Given, Source, list, wrong};
use super::places;
use relay_runner_shell::profile::{self, Profile, Provider};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

const LEGACY: &str = "AGENT_RELAY_PROFILES_FILE";
const APPROVALS: [&str; 3] = ["open", "guarded", "read-only"];
/// The largest document that is taken.
const FILE_MOST: u64 = 1 << 20;

/// The profile of a run.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) name: String,
    pub(crate) document: Option<Profile>,
    /// The names that the document was made from, itself first.
    pub(crate) chain: Vec<String>,
    path: Arc<Path>,
    legacy: Option<(Arc<Path>, Legacy)>,
}

/// What the older file says of a profile.
#[derive(Debug, Default, PartialEq, Eq)]
struct Legacy {
    label: Option<String>,
    tags: Vec<String>,
    capabilities: Vec<String>,
    channels: Option<Vec<String>>,
    approval: Option<String>,
}

impl Chosen {
    /// The one that was asked for.
    pub(crate) fn find(given: &Given<'_>) -> Result<Option<Self>, Failure> {
        let Some((name, source)) = given.text(keys::PROFILE)? else { return Ok(None) };
        Self::named(&name, given.env).map(Some).map_err(|failure| {
            let why = failure.error.map(|error| error.to_string()).unwrap_or_default();
            Failure { error: wrong(&source, &why).error, ..failure }
        })
    }

    /// By its name, or by the path of its document.
    pub(crate) fn named(name: &str, env: Environment<'_>) -> Result<Self, Failure> {
        if name.contains('/') {
            return Self::of(Path::new(name), env);
        }
        let legacy = legacy(env)?.and_then(|(path, mut all)| Some((path, all.remove(name)?)));
        let legacy = legacy
            .map(|(path, value)| {
                let read = Legacy::read(name, &value).map_err(|why| refused(&path, &why))?;
                Ok::<_, Failure>((Arc::from(path.as_path()), read))
            })
            .transpose()?;
        match (document_of(name, env), legacy) {
            (Some(path), legacy) => Ok(Self { legacy, ..Self::of(&path, env)? }),
            (None, Some((path, legacy))) => {
                let (name, path) = (name.to_owned(), Arc::clone(&path));
                Ok(Self { name, document: None, chain: Vec::new(), legacy: Some((Arc::clone(&path), legacy)), path })
            }
            (None, None) => Err(Failure::usage(
                "unknown_profile",
                format!(
                    "there is no profile `{name}`: looked for {}; `relay-runner profile list` shows those there are",
                    places_of(name, env)
                ),
            )),
        }
    }

    fn of(path: &Path, env: Environment<'_>) -> Result<Self, Failure> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let own = read(&path, env).map_err(|why| refused(&path, &why))?;
        let find = |base: &str| {
            let path =
                document_of(base, env).ok_or_else(|| format!("there is none: looked for {}", places_of(base, env)))?;
            read(&path, env).map_err(|why| format!("{}: {why}", path.display()))
        };
        let chain = profile::resolve(&own, find).map_err(|error| refused(&path, &error.to_string()))?;
        let in_folder = folder(env).is_some_and(|folder| path.parent() == Some(&folder));
        if in_folder && path.file_stem().is_none_or(|stem| *stem != *chain.profile.name) {
            return Err(refused(
                &path,
                &format!("name: it says `{}`, and the file another name; let them be the same", chain.profile.name),
            ));
        }
        let name = chain.profile.name.clone();
        Ok(Self { name, document: Some(chain.profile), chain: chain.names, path: path.into(), legacy: None })
    }

    /// What the relay is shown of the document that is applied. Fails when it is for another provider.
    pub(crate) fn applied(&self, provider: &str) -> Result<Option<String>, Failure> {
        let Some(document) = &self.document else { return Ok(None) };
        let kind = Provider::named(provider).unwrap_or_default();
        if !document.is_for(kind) {
            let why = format!("provider: it is for {}, and the run is of {provider}", document.provider.name());
            return Err(refused(&self.path, &why));
        }
        Ok(Some(document.applied(kind).to_string()))
    }

    /// Its values, as one of the places that values come from.
    pub(crate) fn layer(&self) -> Layer {
        let mut layer = Layer::new();
        let old = self.legacy.as_ref();
        let new = self.document.as_ref().map(|document| (&self.path, document));
        let mut put = |key: super::given::Key, path: &Arc<Path>, what: What| {
            let source = Source::Profile { name: self.name.as_str().into(), path: Arc::clone(path) };
            layer.insert(key.path.to_owned(), Setting { what, source });
        };
        let list = |items: &[String]| (!items.is_empty()).then(|| What::List(items.to_vec()));
        if let Some((path, old)) = old {
            let said = [
                (keys::LABEL, old.label.clone().map(What::Text)),
                (keys::TAGS, list(&old.tags)),
                (keys::CAPS, list(&old.capabilities)),
                (keys::CHANNELS, old.channels.clone().map(What::List)),
                (keys::APPROVAL, old.approval.clone().map(What::Text)),
            ];
            said.into_iter().filter_map(|(key, what)| Some((key, what?))).for_each(|(key, what)| put(key, path, what));
        }
        if let Some((path, new)) = new {
            let said = [
                (keys::LABEL, new.label.clone().map(What::Text)),
                (keys::TAGS, list(&new.tags)),
                (keys::CAPS, list(&new.capabilities)),
                (keys::CHANNELS, new.channels.clone().map(What::List)),
                (keys::APPROVAL, new.approval.map(|approval| What::Text(approval.as_str().to_owned()))),
                (keys::RELAY_CONTEXT, (!new.relay.context).then(|| What::Text("false".to_owned()))),
            ];
            said.into_iter().filter_map(|(key, what)| Some((key, what?))).for_each(|(key, what)| put(key, path, what));
        }
        layer
    }

    /// The files that it was read from.
    pub(crate) fn files(&self) -> Vec<&Path> {
        let document = self.document.as_ref().map(|_| &*self.path);
        document.into_iter().chain(self.legacy.as_ref().map(|(path, _)| &**path)).collect()
    }
}

pub(crate) fn refused(path: &Path, why: &str) -> Failure {
    Failure::usage("profile", format!("{}: {why}", path.display()))
}

fn places_of(name: &str, env: Environment<'_>) -> String {
    let mut places: Vec<String> =
        folder(env).iter().map(|folder| format!("{}/{name}.json, .toml", folder.display())).collect();
    places.extend(legacy_place(env).map(|path| path.display().to_string()));
    if places.is_empty() {
        "nowhere, since neither XDG_CONFIG_HOME nor HOME is set".to_owned()
    } else {
        places.join(", ")
    }
}

/// Where documents lie.
pub(crate) fn folder(env: Environment<'_>) -> Option<PathBuf> {
    Some(places::config_home(env)?.join("profiles"))
}

fn document_of(name: &str, env: Environment<'_>) -> Option<PathBuf> {
    // A name of a base may be anything.
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return None;
    }
    let folder = folder(env)?;
    ["json", "toml"].iter().map(|kind| folder.join(format!("{name}.{kind}"))).find(|path| path.is_file())
}

/// Every name that there is, in order.
pub(crate) fn names(env: Environment<'_>) -> Result<Vec<String>, Failure> {
    let mut names = BTreeSet::new();
    if let Some(folder) = folder(env) {
        match std::fs::read_dir(&folder) {
            Ok(entries) => {
                for path in entries.flatten().map(|entry| entry.path()) {
                    let known = path.extension().is_some_and(|kind| kind == "json" || kind == "toml");
                    if let Some(stem) = path.file_stem().filter(|_| known) {
                        names.insert(stem.to_string_lossy().into_owned());
                    }
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(refused(&folder, &format!("cannot be listed: {error}"))),
        }
    }
    names.extend(legacy(env)?.into_iter().flat_map(|(_, all)| all.into_iter().map(|(name, _)| name)));
    Ok(names.into_iter().collect())
}

/// A document as a value, the folders in it as absolute paths.
fn read(path: &Path, env: Environment<'_>) -> Result<Value, String> {
    let text = text_of(path).map_err(|e| format!("it cannot be read: {e}"))?;
    let mut value = if path.extension().is_some_and(|kind| kind == "toml") {
        let table = DeTable::parse(&text).map_err(|e| {
            // Without the line itself, which may hold a secret.
            let line = e.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            format!("it is not TOML, line {line}: {}", e.message())
        })?;
        json_table(table.get_ref())?
    } else {
        serde_json::from_str(&text).map_err(|e| format!("it is not JSON: {e}"))?
    };
    let home = env.raw("HOME").map(PathBuf::from);
    for list in ["skills", "plugins"] {
        for part in value.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(Value::String(source)) = part.get_mut("source") {
                let placed = match (source.strip_prefix("~/"), &home) {
                    (Some(rest), Some(home)) => home.join(rest),
                    _ => path.parent().unwrap_or(path).join(&*source),
                };
                *source = placed.to_string_lossy().into_owned();
            }
        }
    }
    Ok(value)
}

fn text_of(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > FILE_MOST {
        return Err(std::io::Error::other("it is larger than 1 MiB"));
    }
    std::fs::read_to_string(path)
}

fn json_table(table: &DeTable<'_>) -> Result<Value, String> {
    let fields = table.iter().map(|(name, value)| Ok((name.get_ref().to_string(), json_of(value.get_ref())?)));
    Ok(Value::Object(fields.collect::<Result<Map<_, _>, String>>()?))
}

fn json_of(value: &DeValue<'_>) -> Result<Value, String> {
    Ok(match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(is) => Value::from(*is),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_err(|e| e.to_string())?.into()
        }
        DeValue::Array(items) => items.iter().map(|item| json_of(item.get_ref())).collect::<Result<_, _>>()?,
        DeValue::Table(table) => json_table(table)?,
        DeValue::Float(_) | DeValue::Datetime(_) => return Err("a profile has neither fractions nor times".to_owned()),
    })
}

fn legacy_place(env: Environment<'_>) -> Option<PathBuf> {
    env.raw(LEGACY).map(PathBuf::from).or_else(|| {
        let xdg = env.raw("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        Some(xdg.or_else(|| Some(PathBuf::from(env.raw("HOME")?).join(".config")))?.join("agent-relay/profiles.json"))
    })
}

/// The older file, and the profiles in it by name.
type OldFile = (PathBuf, Map<String, Value>);

/// The older file; none where there is none. One that was named has to be there.
fn legacy(env: Environment<'_>) -> Result<Option<OldFile>, Failure> {
    let Some(path) = legacy_place(env) else { return Ok(None) };
    let text = match text_of(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && env.raw(LEGACY).is_none() => return Ok(None),
        Err(error) => {
            let whose = if env.raw(LEGACY).is_some() { format!(" ({LEGACY})") } else { String::new() };
            return Err(refused(&path, &format!("it cannot be read{whose}: {error}")));
        }
    };
    let value: Value = serde_json::from_str(&text).map_err(|e| refused(&path, &format!("it is not JSON: {e}")))?;
    let wrong = || refused(&path, "it must be an object of profiles by name, or have one as `profiles`");
    let Value::Object(mut all) = value else { return Err(wrong()) };
    match all.remove("profiles") {
        Some(Value::Object(profiles)) => Ok(Some((path, profiles))),
        Some(_) => Err(wrong()),
        None => Ok(Some((path, all))),
    }
}

impl Legacy {
    /// Fields that are not known were for others, and are left alone.
    fn read(name: &str, value: &Value) -> Result<Self, String> {
        let Value::Object(fields) = value else { return Err(format!("{name}: a profile is an object")) };
        let field = |key: &str| fields.get(key).filter(|value| !value.is_null());
        let text = |key: &str| match field(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("{name}.{key}: it must be a string")),
        };
        let texts = |key: &str| match field(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(list([text]))),
            Some(Value::Array(items)) => {
                let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
                texts.map(Some).ok_or_else(|| format!("{name}.{key}: it must be a list of strings"))
            }
            Some(_) => Err(format!("{name}.{key}: it must be a list of strings")),
        };
        let approval = text("approval")?;
        if let Some(mode) = approval.as_deref().filter(|mode| !APPROVALS.contains(mode)) {
            return Err(format!("{name}.approval: `{mode}` is not known; known are {}", APPROVALS.join(", ")));
        }
        Ok(Self {
            label: text("label")?,
            tags: texts("tags")?.unwrap_or_default(),
            capabilities: texts("capabilities")?.unwrap_or_default(),
            channels: texts("channels")?,
            approval,
        })
    }
}
