//! Values from the command line, from `AGENT_RELAY_*` variables and from the configuration file; built-in < file < profile <
//! the file's table of the agent < variable < command line (behaviour 1).
//!
//! Read here and not by clap, so that an error names where the value came from, and so that an empty variable is the same
//! as none.

use super::config_file::{File, Layer, What};
use super::failure::Failure;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Flag(&'static str),
    Variable(&'static str),
    /// A line of the configuration file, and the key that stands there.
    File {
        path: Arc<Path>,
        line: usize,
        key: Arc<str>,
    },
    /// A profile, and the file that it stands in.
    Profile {
        name: Arc<str>,
        path: Arc<Path>,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag} on the command line"),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::File { path, line, key } => write!(f, "{}:{line}: `{key}`", path.display()),
            Self::Profile { name, path } => write!(f, "the profile `{name}` ({})", path.display()),
        }
    }
}

/// The name of a value in each place; empty where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) flag: &'static str,
    pub(crate) variable: &'static str,
    /// In the configuration file, with the sections before it.
    pub(crate) path: &'static str,
}

/// One that has no place in the configuration file.
pub(crate) const fn key(flag: &'static str, variable: &'static str) -> Key {
    Key { flag, variable, path: "" }
}

/// One of the configuration file; `config_keys` has them all.
pub(crate) const fn setting(path: &'static str, flag: &'static str, variable: &'static str) -> Key {
    Key { flag, variable, path }
}

/// The environment, as a function so that tests bring their own.
#[derive(Clone, Copy)]
pub(crate) struct Environment<'a>(&'a dyn Fn(&str) -> Option<OsString>);

impl fmt::Debug for Environment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

impl Environment<'static> {
    /// This process's own.
    pub(crate) fn ours() -> Self {
        Self(&|name| std::env::var_os(name))
    }

    /// Nothing at all.
    pub(crate) fn none() -> Self {
        Self(&|_| None)
    }
}

#[cfg(test)]
impl<'a> Environment<'a> {
    pub(crate) fn of(read: &'a dyn Fn(&str) -> Option<OsString>) -> Self {
        Self(read)
    }
}

impl Environment<'_> {
    /// A variable as it is; an empty one is none.
    pub(crate) fn raw(self, name: &str) -> Option<OsString> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    pub(crate) fn variable(self, name: &'static str) -> Result<Option<String>, Failure> {
        self.raw(name)
            .map(|value| value.into_string().map_err(|_| wrong(&Source::Variable(name), "its value is not UTF-8 text")))
            .transpose()
    }

    /// The flag's value, else the variable's.
    pub(crate) fn text(self, flag: Option<&str>, key: Key) -> Result<Option<(String, Source)>, Failure> {
        if let Some(value) = flag {
            return Ok(Some((value.to_owned(), Source::Flag(key.flag))));
        }
        Ok(self.variable(key.variable)?.map(|value| (value, Source::Variable(key.variable))))
    }

    pub(crate) fn parsed<T>(
        self,
        flag: Option<&str>,
        key: Key,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        let Some((text, source)) = self.text(flag, key)? else { return Ok(None) };
        parse(&text).map(Some).map_err(|why| wrong(&source, &format!("`{text}` cannot be taken: {why}")))
    }
}

/// What a command line says, by flag; a flag without a value says `true`, one that may be repeated has commas.
pub(crate) type Flags = BTreeMap<&'static str, String>;

/// Every place that a value can come from.
#[derive(Debug, Clone)]
pub(crate) struct Given<'a> {
    pub(crate) env: Environment<'a>,
    pub(crate) flags: Flags,
    pub(crate) file: Arc<File>,
    /// Whose table in the file counts.
    pub(crate) agent: Option<Arc<str>>,
    pub(crate) profile: Arc<Layer>,
}

impl<'a> Given<'a> {
    pub(crate) fn new(env: Environment<'a>, flags: Flags, file: Arc<File>) -> Self {
        Self { env, flags, file, agent: None, profile: Arc::default() }
    }

    /// The layers below the environment, the strongest first.
    fn layers(&self) -> impl Iterator<Item = &Layer> {
        let agent = self.agent.as_deref().and_then(|agent| self.file.agents.get(agent));
        agent.into_iter().chain([&*self.profile, &self.file.values])
    }

    /// The strongest of all that is said of it.
    pub(crate) fn said(&self, key: Key) -> Result<Option<(What, Source)>, Failure> {
        Ok(self.all(key)?.into_iter().next())
    }

    /// All that is said of it, the strongest first.
    pub(crate) fn all(&self, key: Key) -> Result<Vec<(What, Source)>, Failure> {
        let mut all = Vec::new();
        if let Some(text) = self.flags.get(key.flag) {
            all.push((What::Text(text.clone()), Source::Flag(key.flag)));
        }
        if !key.variable.is_empty()
            && let Some(text) = self.env.variable(key.variable)?
        {
            all.push((What::Text(text), Source::Variable(key.variable)));
        }
        let told = self.layers().filter_map(|layer| layer.get(key.path));
        all.extend(told.map(|value| (value.what.clone(), value.source.clone())));
        Ok(all)
    }

    pub(crate) fn text(&self, key: Key) -> Result<Option<(String, Source)>, Failure> {
        Ok(self.said(key)?.map(|(what, source)| (what.into_text(), source)))
    }

    pub(crate) fn parsed<T>(&self, key: Key, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, Failure> {
        let Some((text, source)) = self.text(key)? else { return Ok(None) };
        parse(&text).map(Some).map_err(|why| wrong(&source, &format!("`{text}` cannot be taken: {why}")))
    }

    pub(crate) fn switch(&self, key: Key) -> Result<Option<bool>, Failure> {
        self.parsed(key, boolean)
    }

    /// Of a list that every place adds to: the items, the strongest place first.
    pub(crate) fn items(&self, key: Key) -> Result<Vec<(Vec<String>, Source)>, Failure> {
        Ok(self.all(key)?.into_iter().map(|(what, source)| (what.into_list(), source)).collect())
    }

    /// Names and values of which the agent's own table changes some.
    pub(crate) fn map(&self, key: Key) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let mut layers: Vec<&Layer> = self.layers().collect();
        layers.reverse();
        for layer in layers {
            if let Some(What::Map(map)) = layer.get(key.path).map(|value| &value.what) {
                all.extend(map.clone());
            }
        }
        all
    }
}

pub(crate) fn wrong(source: &Source, why: &str) -> Failure {
    Failure::usage("configuration", format!("{source}: {why}"))
}

pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("write true or false".to_owned()),
    }
}

/// One of some words.
pub(crate) fn word<T: Copy>(words: &[(&str, T)]) -> impl Fn(&str) -> Result<T, String> {
    |text| {
        words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            format!("known are {}", known.join(", "))
        })
    }
}

/// Split at commas, trimmed, without empty parts.
pub(crate) fn list(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    let mut all = Vec::new();
    for text in texts {
        all.extend(text.as_ref().split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = key("--drain-timeout", "AGENT_RELAY_DRAIN_TIMEOUT");

    #[test]
    fn the_command_line_wins_and_an_empty_variable_is_none() {
        let set = |_: &str| Some(OsString::from("5s"));
        let empty = |_: &str| Some(OsString::new());
        let text = |env: Environment<'_>, flag| env.text(flag, KEY).unwrap().map(|(text, _)| text);
        assert_eq!(text(Environment::of(&set), Some("1s")).as_deref(), Some("1s"));
        assert_eq!(text(Environment::of(&set), None).as_deref(), Some("5s"));
        assert_eq!(text(Environment::of(&empty), None), None);
    }

    #[test]
    fn an_error_names_source_and_key() {
        let set = |_: &str| Some(OsString::from("soon"));
        let error = |flag| {
            let failure = Environment::of(&set).parsed(flag, KEY, crate::cli::span::parse).unwrap_err();
            format!("{:#}", failure.error.unwrap())
        };
        assert!(error(None).contains("AGENT_RELAY_DRAIN_TIMEOUT") && error(None).contains("`soon`"));
        assert!(error(Some("later")).contains("--drain-timeout") && error(Some("later")).contains("`later`"));
    }

    #[test]
    fn lists_are_split_at_commas() {
        assert_eq!(list(["a, b", "", " ,c"]), ["a", "b", "c"]);
    }
}
