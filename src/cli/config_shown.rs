//! What `config default` and `config show` print: the table of keys as a file, and the values in force with their origin.

use super::books::TOKEN;
use super::config_file::{What, key_text, text_literal};
use super::config_keys::{self as keys, BuiltIn, Entry, Kind, SECTIONS};
use super::failure::Failure;
use super::given::{Given, Source, boolean};
use super::run_args::{HEADLESS, INTERACTIVE};
use super::{run_options, span};
use relay_runner_core::config::{Limits, Mode, Timing};
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;

/// Where comments are broken.
const WIDTH: usize = 110;
const HEAD: &str = "The configuration of relay-runner: every key, with the value that is built in. Those that begin with # have none. \
Later wins: built-in, this file, the profile, this file's [agents.NAME], AGENT_RELAY_* variables, the command line. What stands \
in brackets names the same value on the command line and in the environment. HUP: the value takes effect when the run reads this \
file again (kill -HUP); every other one at the next start. Relative paths count from the folder of this file. \
`relay-runner config check` finds faults.";

/// A file that says what is built in.
pub(crate) fn default_file() -> String {
    let mut text = comment(HEAD);
    for (section, about) in SECTIONS {
        text.push('\n');
        text.push_str(&comment(about));
        if !section.is_empty() {
            let _ = writeln!(text, "[{section}]");
        }
        for entry in keys::all().filter(|entry| entry.section() == section) {
            text.push('\n');
            text.push_str(&comment(&about_of(entry)));
            let _ = match (built_in(entry), entry.built_in) {
                (Some(what), _) => writeln!(text, "{} = {}", entry.name(), literal(entry.kind, &what)),
                (None, BuiltIn::None { example, .. }) => writeln!(text, "# {} = {example}", entry.name()),
                (None, _) => unreachable!("everything else has a value"),
            };
        }
    }
    text.push('\n');
    text.push_str(&comment("What is said here is for one agent alone, and wins over the rest of this file."));
    text.push_str("# [agents.a1]\n# label = \"reviewer\"\n# [agents.a1.delivery]\n# deliver = \"steer\"\n");
    text
}

/// What it means, its bounds, and its other names.
pub(crate) fn about_of(entry: &Entry) -> String {
    let mut text = entry.about.to_owned();
    match (entry.kind, entry.built_in) {
        (Kind::Span { least, most }, _) => {
            let _ = write!(text, " ({} to {})", span::words(least), span::words(most));
        }
        (Kind::Count { least, most }, _) => {
            let _ = write!(text, " ({least} to {most})");
        }
        (_, BuiltIn::None { means, .. }) => {
            let _ = write!(text, " Unless it is set: {means}.");
        }
        _ => {}
    }
    for name in [entry.key.flag, entry.key.variable].into_iter().filter(|name| !name.is_empty()) {
        let _ = write!(text, " [{name}]");
    }
    if entry.is_live {
        text.push_str(" HUP.");
    }
    text
}

fn comment(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.split_whitespace() {
        if lines.last().is_some_and(|line| line.len() + 1 + word.len() > WIDTH) {
            lines.push(String::from("#"));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

pub(crate) fn built_in(entry: &Entry) -> Option<What> {
    let (mut timing, mut limits) = (Timing::default(), Limits::default());
    Some(match entry.built_in {
        BuiltIn::Text(text) => What::Text(text.to_owned()),
        BuiltIn::Switch(on) => What::Text(on.to_string()),
        BuiltIn::List(items) => What::List(items.iter().map(ToString::to_string).collect()),
        BuiltIn::None { .. } => return None,
        BuiltIn::Timing(place) => What::Text(span::words(*place(&mut timing))),
        BuiltIn::Size(place) => What::Text(place(&mut limits).to_string()),
        BuiltIn::Number(place) => What::Text(place(&mut limits).to_string()),
        BuiltIn::Bytes(place) => What::Text(place(&mut limits).to_string()),
    })
}

/// As it stands in a file.
pub(crate) fn literal(kind: Kind, what: &What) -> String {
    match what {
        What::Text(text) => match kind {
            Kind::Count { .. } => text.clone(),
            Kind::Switch | Kind::SwitchOrSpan => boolean(text).map_or_else(|_| text_literal(text), |is| is.to_string()),
            _ => text_literal(text),
        },
        What::List(items) => {
            let items: Vec<String> = items.iter().map(|item| text_literal(item)).collect();
            format!("[{}]", items.join(", "))
        }
        What::Map(map) => {
            let pairs: Vec<String> =
                map.iter().map(|(name, value)| format!("{} = {}", key_text(name), text_literal(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

/// A value in force.
#[derive(Debug, Serialize)]
pub(crate) struct InForce {
    key: &'static str,
    /// None: nothing is said, and nothing is built in.
    value: Option<serde_json::Value>,
    /// The strongest first. Lists may have several.
    sources: Vec<Origin>,
    #[serde(skip)]
    written: String,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Origin {
    BuiltIn,
    Flag { name: &'static str },
    Variable { name: &'static str },
    File { file: PathBuf, line: usize },
    Profile { name: String, file: PathBuf },
}

impl Origin {
    fn of(source: Source) -> Self {
        match source {
            Source::Flag(name) => Self::Flag { name },
            Source::Variable(name) => Self::Variable { name },
            Source::File { path, line, .. } => Self::File { file: path.to_path_buf(), line },
            Source::Profile { name, path } => Self::Profile { name: name.to_string(), file: path.to_path_buf() },
        }
    }

    fn words(&self) -> String {
        match self {
            Self::BuiltIn => "built-in".to_owned(),
            Self::Flag { name } | Self::Variable { name } => (*name).to_owned(),
            Self::File { file, line } => format!("{}:{line}", file.display()),
            Self::Profile { name, .. } => format!("profile {name}"),
        }
    }
}

impl InForce {
    pub(crate) fn line(&self, origin: bool) -> String {
        if !origin {
            return self.written.clone();
        }
        let from: Vec<String> = self.sources.iter().map(Origin::words).collect();
        format!("{:<50}  # {}", self.written, from.join(", "))
    }
}

const HIDDEN: &str = "(hidden)";

/// Every value, secrets hidden.
pub(crate) fn in_force(given: &Given<'_>) -> Result<Vec<InForce>, Failure> {
    let mut all = Vec::new();
    for entry in keys::all() {
        all.push(value(entry, given)?);
        if entry.key == keys::TOKEN_FILE
            && !given.flags.contains_key(keys::TOKEN_FILE.flag)
            && given.env.variable(TOKEN)?.is_some()
        {
            let (key, written) = ("token", format!("# token  {HIDDEN}"));
            let sources = vec![Origin::Variable { name: TOKEN }];
            all.push(InForce { key, value: Some(HIDDEN.into()), sources, written });
        }
    }
    Ok(all)
}

fn value(entry: &Entry, given: &Given<'_>) -> Result<InForce, Failure> {
    let key = entry.key.path;
    let (what, sources) = said(entry, given)?;
    let Some(what) = what else {
        let BuiltIn::None { means, .. } = entry.built_in else { unreachable!("everything else has a value") };
        let written = format!("# {key}  ({means})");
        return Ok(InForce { key, value: None, sources: vec![Origin::BuiltIn], written });
    };
    let what = match what {
        What::Map(map) => What::Map(map.into_keys().map(|name| (name, HIDDEN.to_owned())).collect()),
        what => what,
    };
    let sources = if sources.is_empty() { vec![Origin::BuiltIn] } else { sources };
    let written = format!("{key} = {}", literal(entry.kind, &what));
    Ok(InForce { key, value: Some(json(entry.kind, what)), sources, written })
}

fn said(entry: &Entry, given: &Given<'_>) -> Result<(Option<What>, Vec<Origin>), Failure> {
    let all = given.all(entry.key)?;
    if entry.key == keys::MODE {
        return mode(given);
    }
    let (what, sources) = match entry.kind {
        Kind::Variables => (What::Map(given.map(entry.key)), all.into_iter().map(|(_, source)| source).collect()),
        // All places add to them.
        Kind::List | Kind::Names if entry.key != keys::CHANNELS => {
            let (lists, sources): (Vec<_>, Vec<_>) = all.into_iter().map(|(what, s)| (what.into_list(), s)).unzip();
            let mut items: Vec<String> = Vec::new();
            for item in lists.into_iter().flatten() {
                if !items.contains(&item) {
                    items.push(item);
                }
            }
            (What::List(items), sources)
        }
        kind => {
            let Some((what, source)) = all.into_iter().next() else { return Ok((built_in(entry), Vec::new())) };
            let what = if kind == Kind::List || kind == Kind::Command { What::List(what.into_list()) } else { what };
            (what, vec![source])
        }
    };
    if sources.is_empty() {
        return Ok((built_in(entry), Vec::new()));
    }
    Ok((Some(what), sources.into_iter().map(Origin::of).collect()))
}

/// Two flags and two variables say it, in words of their own.
fn mode(given: &Given<'_>) -> Result<(Option<What>, Vec<Origin>), Failure> {
    let mode = run_options::mode(given)?;
    let (key, word) = match mode {
        Mode::Headless => (HEADLESS, "headless"),
        Mode::Interactive => (INTERACTIVE, "interactive"),
    };
    let source = match given.text(key)? {
        Some((_, source)) => Some(source),
        None => given.said(keys::MODE)?.map(|(_, source)| source),
    };
    Ok((Some(What::Text(word.to_owned())), source.into_iter().map(Origin::of).collect()))
}

fn json(kind: Kind, what: What) -> serde_json::Value {
    match (kind, what) {
        (Kind::Count { .. }, What::Text(text)) => text.parse::<u64>().map_or_else(|_| text.into(), Into::into),
        (Kind::Switch | Kind::SwitchOrSpan, What::Text(text)) => {
            boolean(&text).map_or_else(|_| text.into(), Into::into)
        }
        (_, What::Text(text)) => text.into(),
        (_, What::List(items)) => items.into(),
        (_, What::Map(map)) => serde_json::json!(map),
    }
}

#[cfg(test)]
mod tests {
    use super::super::config_file::File;
    use super::super::core_settings;
    use super::super::given::{Environment, Flags};
    use super::super::identity::identity;
    use super::*;
    use relay_runner_core::Config;
    use relay_runner_core::config::{Adapter, Identity};
    use std::collections::BTreeSet;
    use std::ffi::OsString;
    use std::path::Path;
    use std::sync::Arc;

    fn built_in_config() -> Config {
        Config::new(Identity::default(), Adapter::default(), 0)
    }

    fn given(text: &str) -> Given<'static> {
        const HOME: &dyn Fn(&str) -> Option<OsString> = &|name| (name == "HOME").then(|| "/home/me".into());
        let (file, faults) = File::parse(Path::new("/c/config.toml"), text, Environment::of(HOME));
        assert_eq!(faults, [], "{text}");
        Given::new(Environment::none(), Flags::new(), Arc::new(file))
    }

    #[test]
    fn the_default_file_says_exactly_what_is_built_in() {
        let text = default_file();
        assert!(text.lines().all(|line| line.len() <= 120), "{text}");
        let given = given(&text);
        let mut config = built_in_config();
        core_settings::read(&mut config, &given).unwrap();
        assert_eq!(config, built_in_config());
        let told = |given: &Given<'_>| {
            let identity = identity("command", "a1", Mode::Headless, given, Path::new("/")).unwrap();
            Identity { started_at: 0, ..identity }
        };
        assert_eq!(told(&given), told(&self::given("")));
        for entry in keys::all() {
            let said = given.said(entry.key).unwrap().map(|(what, _)| what);
            assert_eq!(said, built_in(entry), "{}", entry.key.path);
        }
    }

    #[test]
    fn the_documentation_has_every_key_as_it_is_printed() {
        let page = include_str!("../../docs/configuration.md");
        let (_, keys) = page.split_once("## Every key").unwrap();
        let (_, block) = keys.split_once("```toml\n").unwrap();
        let block = block.split_once("```").unwrap().0;
        assert_eq!(block, default_file(), "relay-runner config default prints what has to stand there");
    }

    #[test]
    fn what_is_commented_out_can_be_taken_in_as_it_stands() {
        // Without the words: what follows `# ` and is an assignment or a section.
        let lines: Vec<String> = default_file()
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest)
                    if rest.split_once(" = ").is_some_and(|(name, _)| !name.contains(' '))
                        || rest.starts_with("[agents.a1") =>
                {
                    rest.to_owned()
                }
                _ => line.to_owned(),
            })
            .collect();
        let given = given(&lines.join("\n"));
        for entry in keys::all() {
            assert!(given.said(entry.key).unwrap().is_some(), "{}", entry.key.path);
        }
        assert_eq!(given.file.agents["a1"].len(), 2);
    }

    #[test]
    fn every_figure_of_the_core_has_one_key() {
        let (mut timing, mut limits) = (Timing::default(), Limits::default());
        for (at, entry) in keys::all().enumerate() {
            let number = 7_000_000 + at;
            match entry.built_in {
                BuiltIn::Timing(place) => *place(&mut timing) = number as u64,
                BuiltIn::Size(place) => *place(&mut limits) = number,
                BuiltIn::Number(place) => *place(&mut limits) = u32::try_from(number).unwrap(),
                BuiltIn::Bytes(place) => *place(&mut limits) = number as u64,
                _ => {}
            }
        }
        let mut seen = BTreeSet::new();
        let all = [serde_json::to_value(&timing).unwrap(), serde_json::to_value(&limits).unwrap()];
        for (name, figure) in all.iter().flat_map(|value| value.as_object().unwrap()) {
            assert!(figure.as_u64().unwrap() >= 7_000_000, "no key reaches {name}");
            assert!(seen.insert(figure.as_u64().unwrap()), "{name} has the key of another");
        }
    }

    #[test]
    fn every_key_has_a_place_of_its_own_and_is_checked_by_its_kind() {
        let paths: BTreeSet<&str> = keys::all().map(|entry| entry.key.path).collect();
        assert_eq!(paths.len(), keys::all().count());
        for entry in keys::all() {
            assert!(SECTIONS.iter().any(|(section, _)| *section == entry.section()), "{}", entry.key.path);
            assert!(entry.about.ends_with(['.', ']']), "{}: {}", entry.key.path, entry.about);
            // A table is of no kind but that of variables.
            let text = format!("{} = {{ x = 1 }}", entry.key.path);
            let (_, faults) = File::parse(Path::new("/c/config.toml"), &text, Environment::none());
            assert_eq!(faults.len(), 1, "{text}");
            assert_eq!((faults[0].line, faults[0].key.as_str()), (1, entry.key.path), "{text}");
        }
    }
}
