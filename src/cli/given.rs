//! Values from the command line and from `AGENT_RELAY_*` variables; the command line wins.
//!
//! Read here and not by clap, so that an error names the variable when the value came from there, and so that an empty
//! variable is the same as none.

use super::failure::Failure;
use std::ffi::OsString;
use std::fmt;

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Flag(&'static str),
    Variable(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag} on the command line"),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
        }
    }
}

/// The name of a value in both places.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) flag: &'static str,
    pub(crate) variable: &'static str,
}

pub(crate) const fn key(flag: &'static str, variable: &'static str) -> Key {
    Key { flag, variable }
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
            .map(|value| value.into_string().map_err(|_| wrong(Source::Variable(name), "its value is not UTF-8 text")))
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
        parse(&text).map(Some).map_err(|why| wrong(source, &format!("`{text}` cannot be taken: {why}")))
    }

    /// Whether the flag is there, else what the variable says.
    pub(crate) fn switch(self, flag: bool, key: Key) -> Result<bool, Failure> {
        if flag {
            return Ok(true);
        }
        Ok(self.parsed(None, key, boolean)?.unwrap_or(false))
    }
}

pub(crate) fn wrong(source: Source, why: &str) -> Failure {
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
