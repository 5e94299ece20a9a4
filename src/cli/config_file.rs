//! The configuration file: read whole, checked against the table of keys, every fault with its line.

use super::config_keys::{self, Entry, Kind};
use super::failure::Failure;
use super::given::{Environment, Source, boolean};
use super::{identity, span};
use relay_runner_shell::RelayUrl;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// The section that holds a table for each agent.
pub(crate) const AGENTS: &str = "agents";
/// The largest file that is taken for one.
const FILE_MOST: u64 = 1 << 20;

/// What stands behind a key. Spans, numbers, words and switches are text, as they are on a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Text(String),
    List(Vec<String>),
    Map(BTreeMap<String, String>),
}

impl What {
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::List(list) => list.join(","),
            Self::Map(map) => map.into_keys().collect::<Vec<_>>().join(","),
        }
    }

    pub(crate) fn into_list(self) -> Vec<String> {
        match self {
            Self::Text(text) => super::given::list([text]),
            Self::List(list) => list,
            Self::Map(map) => map.into_keys().collect(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) what: What,
    pub(crate) source: Source,
}

/// Values by the path of their key.
pub(crate) type Layer = BTreeMap<String, Value>;

#[derive(Debug, Default)]
pub(crate) struct File {
    /// None: there is no place where one could lie.
    pub(crate) path: Option<PathBuf>,
    /// Whether there is one.
    pub(crate) is_there: bool,
    pub(crate) values: Layer,
    pub(crate) agents: BTreeMap<String, Layer>,
}

/// Something that is wrong in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) line: usize,
    /// Empty: the text as a whole.
    pub(crate) key: String,
    pub(crate) why: String,
}

/// Where the configuration lies, and whether that was said (then it has to be there).
pub(crate) fn place(flag: Option<&str>, env: Environment<'_>) -> Option<(PathBuf, Option<Source>)> {
    const VARIABLE: &str = "AGENT_RELAY_CONFIG";
    if let Some(path) = flag {
        return Some((path.into(), Some(Source::Flag("--config"))));
    }
    if let Some(path) = env.raw(VARIABLE) {
        return Some((path.into(), Some(Source::Variable(VARIABLE))));
    }
    super::places::config_home(env).map(|home| (home.join("config.toml"), None))
}

impl File {
    /// The one that counts here. Fails with every fault that is in it.
    pub(crate) fn find(flag: Option<&str>, env: Environment<'_>) -> Result<Self, Failure> {
        let Some((path, named)) = place(flag, env) else { return Ok(Self::default()) };
        Self::read(&path, named.as_ref(), env)
    }

    /// `named`: who said that it lies there; without, a file that is not there is an empty one.
    pub(crate) fn read(path: &Path, named: Option<&Source>, env: Environment<'_>) -> Result<Self, Failure> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let whose = named.map(|source| format!("{source}: ")).unwrap_or_default();
        let cannot = |why: String| {
            Failure::usage("configuration", format!("{whose}cannot read the configuration {}: {why}", path.display()))
        };
        let text = match text_of(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => {
                return Ok(Self { path: Some(path), ..Self::default() });
            }
            Err(error) => {
                return Err(cannot(format!(
                    "{error}; make it (`relay-runner config default` prints one), or name another"
                )));
            }
        };
        let (file, faults) = Self::parse(&path, &text, env);
        if faults.is_empty() { Ok(file) } else { Err(failure(&path, &faults)) }
    }

    /// As much as can be read, and everything that is wrong.
    pub(crate) fn parse(path: &Path, text: &str, env: Environment<'_>) -> (Self, Vec<Fault>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let file = Self { path: Some(path.to_owned()), is_there: true, ..Self::default() };
        let home = env.raw("HOME").map(PathBuf::from);
        let mut reading = Reading { path: path.into(), text, home, file, faults: Vec::new(), agent: None };
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            reading.fault(at, "", &format!("this is not TOML: {}", error.message()));
        }
        // What follows a broken line may be read wrongly: only the broken lines are told.
        if reading.faults.is_empty() {
            reading.table(table.get_ref(), "");
        }
        (reading.file, reading.faults)
    }
}

fn text_of(path: &Path) -> std::io::Result<String> {
    let other = |why: &str| Err(std::io::Error::other(why.to_owned()));
    let is = std::fs::metadata(path)?;
    if is.is_dir() {
        return other("it is a folder");
    }
    if is.len() > FILE_MOST {
        return other("it is larger than 1 MiB");
    }
    std::fs::read_to_string(path)
}

/// All of it at once, one line each.
pub(crate) fn failure(path: &Path, faults: &[Fault]) -> Failure {
    let lines: Vec<String> = faults
        .iter()
        .map(|Fault { line, key, why }| {
            let key = if key.is_empty() { String::new() } else { format!("`{key}`: ") };
            format!("{}:{line}: {key}{why}", path.display())
        })
        .collect();
    Failure::usage("configuration", lines.join("\n"))
}

struct Reading<'a> {
    path: Arc<Path>,
    text: &'a str,
    home: Option<PathBuf>,
    file: File,
    faults: Vec<Fault>,
    /// Whose table is being read.
    agent: Option<String>,
}

impl Reading<'_> {
    fn fault(&mut self, at: usize, path: &str, why: &str) {
        let key = self.full(path);
        self.faults.push(Fault { line: self.line(at), key, why: why.to_owned() });
    }

    fn full(&self, path: &str) -> String {
        match &self.agent {
            Some(agent) if path.is_empty() => format!("{AGENTS}.{}", key_text(agent)),
            Some(agent) => format!("{AGENTS}.{}.{path}", key_text(agent)),
            None => path.to_owned(),
        }
    }

    fn line(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count()
    }

    fn table(&mut self, table: &DeTable<'_>, section: &str) {
        for (name, value) in table {
            let (at, name) = (name.span().start, name.get_ref().as_ref());
            let path = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
            if path == AGENTS && self.agent.is_none() {
                self.agents(at, value.get_ref());
            } else if let Some(entry) = config_keys::entry(&path) {
                self.value(at, entry, value.get_ref());
            } else if !config_keys::is_section(&path) {
                let why = unknown(&path, section);
                self.fault(at, &path, &why);
            } else if let DeValue::Table(inner) = value.get_ref() {
                self.table(inner, &path);
            } else {
                self.fault(at, &path, "this is a section and takes no value; write `[section]` and its keys below");
            }
        }
    }

    fn agents(&mut self, at: usize, value: &DeValue<'_>) {
        let DeValue::Table(agents) = value else {
            return self.fault(at, AGENTS, "it holds a table for each agent: write [agents.NAME]");
        };
        for (name, value) in agents {
            let (at, id) = (name.span().start, name.get_ref().as_ref().to_owned());
            if let Some(why) = identity::id_fault(&id) {
                self.fault(at, &format!("{AGENTS}.{}", key_text(&id)), &why);
            } else if let DeValue::Table(table) = value.get_ref() {
                self.file.agents.entry(id.clone()).or_default();
                self.agent = Some(id);
                self.table(table, "");
                self.agent = None;
            } else {
                self.fault(at, &format!("{AGENTS}.{}", key_text(&id)), "it must be a table: write [agents.NAME]");
            }
        }
    }

    fn value(&mut self, at: usize, entry: &'static Entry, value: &DeValue<'_>) {
        let path = entry.key.path;
        if self.agent.is_some() && entry.is_of_all() {
            return self.fault(at, path, "an agent's own table cannot say this; it stands before all sections");
        }
        let what = match self.checked(entry.kind, value) {
            Ok(what) => what,
            Err(why) => return self.fault(at, path, &why),
        };
        let key = self.full(path).into();
        let source = Source::File { path: Arc::clone(&self.path), line: self.line(at), key };
        let layer = match &self.agent {
            Some(agent) => self.file.agents.entry(agent.clone()).or_default(),
            None => &mut self.file.values,
        };
        layer.insert(path.to_owned(), Value { what, source });
    }

    fn checked(&self, kind: Kind, value: &DeValue<'_>) -> Result<What, String> {
        let mismatch = || format!("it must be {}, not {}", kind.words(), type_name(value));
        let text = || value.as_str().ok_or_else(mismatch);
        Ok(match kind {
            Kind::Count { .. } => {
                let DeValue::Integer(number) = value else { return Err(mismatch()) };
                let read = u64::from_str_radix(number.as_str(), number.radix()).map(|number| number.to_string());
                let number = read.map_err(|_| format!("it must be {}", kind.words()))?;
                What::Text(kind.check(&number)?)
            }
            Kind::Switch => What::Text(value.as_bool().ok_or_else(mismatch)?.to_string()),
            Kind::SwitchOrSpan => match value {
                DeValue::Boolean(on) => What::Text(on.to_string()),
                DeValue::String(text) if boolean(text).is_err() => What::Text(kind.check(text)?),
                _ => return Err(mismatch()),
            },
            Kind::List | Kind::Names => {
                let list = strings(value).ok_or_else(mismatch)?;
                list.iter().try_for_each(|item| kind.check(item).map(drop))?;
                What::List(list)
            }
            Kind::Command => {
                let mut list = strings(value).filter(|list| !list.is_empty()).ok_or_else(mismatch)?;
                if list[0].contains('/') {
                    list[0] = self.placed(&list[0])?;
                }
                What::List(list)
            }
            Kind::Variables => {
                let DeValue::Table(table) = value else { return Err(mismatch()) };
                let pairs = table.iter().map(|(name, value)| {
                    let (name, value) = (name.get_ref().as_ref(), value.get_ref());
                    let text = value
                        .as_str()
                        .ok_or_else(|| format!("the value of {name} must be a string, not {}", type_name(value)))?;
                    Ok((Kind::Names.check(name)?, text.to_owned()))
                });
                What::Map(pairs.collect::<Result<_, String>>()?)
            }
            Kind::Path(_) => What::Text(self.placed(&kind.check(text()?)?)?),
            Kind::Text | Kind::AgentId | Kind::Url | Kind::Word(_) | Kind::Span { .. } => {
                What::Text(kind.check(text()?)?)
            }
        })
    }

    /// A relative path counts from the folder of the file.
    fn placed(&self, path: &str) -> Result<String, String> {
        let path = match path.strip_prefix("~/") {
            Some(rest) => self.home.as_ref().ok_or("`~` stands for HOME, and HOME is not set")?.join(rest),
            None => self.path.parent().unwrap_or(&self.path).join(path),
        };
        Ok(path.to_string_lossy().into_owned())
    }
}

fn strings(value: &DeValue<'_>) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "an array of this kind",
        DeValue::Table(_) => "a table",
    }
}

/// A name as it stands in a key.
pub(crate) fn key_text(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if bare { name.to_owned() } else { text_literal(name) }
}

/// A TOML string. JSON's escapes are TOML's; TOML wants one more.
pub(crate) fn text_literal(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// Why a key is none, and which one may be meant.
fn unknown(path: &str, section: &str) -> String {
    if path == "token" {
        return "a token does not stand in the configuration; put it into a file and name that as `token_file`"
            .to_owned();
    }
    if section == "providers" {
        return "this is no provider that is configured here; known are `command`, `codex` and `claude`".to_owned();
    }
    let name = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let near = |entry: &&Entry| distance(&name(entry.key.path), &name(path)) <= 2;
    let mut meant: Vec<&Entry> = config_keys::all().filter(near).collect();
    if meant.iter().any(|entry| entry.section() == section) {
        meant.retain(|entry| entry.section() == section);
    }
    let meant: Vec<String> = meant.iter().map(|entry| format!("`{}`", entry.key.path)).collect();
    let place = if section.is_empty() {
        "there is no such key or section".to_owned()
    } else {
        format!("[{section}] has no such key")
    };
    match &meant[..] {
        [] => format!("{place}; `relay-runner config default` prints all of them"),
        meant => format!("{place}; perhaps {} is meant", meant.join(" or ")),
    }
}

/// How many letters to change, put in or leave out (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

impl Kind {
    /// A text of this kind, or why it is none.
    pub(crate) fn check(self, text: &str) -> Result<String, String> {
        let refused = |why: String| format!("`{text}` cannot be taken: {why}");
        match self {
            Self::Path(_) if text.is_empty() => Err("it is empty".to_owned()),
            Self::AgentId => identity::id_fault(text).map_or(Ok(()), Err),
            // The value is not shown: there may be a password in it.
            Self::Url => return RelayUrl::parse(text).map(|_| text.to_owned()).map_err(|e| e.to_string()),
            Self::Word(words) if words.contains(&text) => Ok(()),
            Self::Word(words) => Err(format!("known are {}", words.join(", "))),
            Self::Switch => boolean(text).map(drop),
            Self::SwitchOrSpan => match boolean(text) {
                Ok(_) => Ok(()),
                Err(_) => span::parse(text).map(drop).map_err(|why| format!("{why}, or true or false")),
            },
            Self::Span { .. } => self.span(text).map(drop),
            Self::Count { .. } => self.count(text).map(drop),
            Self::Names if text.is_empty() || text.contains(['=', '\0']) => {
                Err("a variable has another name".to_owned())
            }
            Self::Names if text.starts_with("AGENT_RELAY_") => {
                Err("the provider's AGENT_RELAY_* variables are the runner's own".to_owned())
            }
            Self::Text | Self::List | Self::Command | Self::Variables | Self::Path(_) | Self::Names => Ok(()),
        }
        .map(|()| text.to_owned())
        .map_err(refused)
    }

    /// In milliseconds, within its bounds.
    pub(crate) fn span(self, text: &str) -> Result<u64, String> {
        let millis = span::millis(span::parse(text)?);
        match self {
            Self::Span { least, .. } if millis < least => Err(format!("at least {}", span::words(least))),
            Self::Span { most, .. } if millis > most => Err(format!("at most {}", span::words(most))),
            _ => Ok(millis),
        }
    }

    pub(crate) fn count(self, text: &str) -> Result<u64, String> {
        let number: u64 = text.trim().parse().map_err(|_| "write a whole number".to_owned())?;
        match self {
            Self::Count { least, .. } if number < least => Err(format!("at least {least}")),
            Self::Count { most, .. } if number > most => Err(format!("at most {most}")),
            _ => Ok(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::config_shown::default_file;
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> (File, Vec<Fault>) {
        File::parse(Path::new("/c/config.toml"), text, Environment::none())
    }

    proptest! {
        #[test]
        fn whatever_the_file_holds_is_read_or_refused_with_a_line_of_it(
            at in any::<prop::sample::Index>(),
            more in "[a-z\"\\[\\]{}=.,#\n -]{0,8}|\\PC{0,4}",
            gone in 0_usize..4,
        ) {
            let mut chars: Vec<char> = default_file().chars().collect();
            let at = at.index(chars.len());
            chars.splice(at..(at + gone).min(chars.len()), more.chars());
            let text: String = chars.into_iter().collect();
            let (_, faults) = parsed(&text);
            for fault in faults {
                prop_assert!(fault.line >= 1 && fault.line <= text.lines().count() + 1, "{fault:?}");
                prop_assert!(!fault.why.is_empty());
            }
        }
    }

    #[test]
    fn names_are_near_when_few_letters_differ() {
        assert_eq!((distance("label", "label"), distance("lable", "label"), distance("", "abc")), (0, 2, 3));
        assert_eq!((distance("tags", "tag"), distance("heartbaet", "heartbeat")), (1, 2));
    }

    #[test]
    fn paths_count_from_the_files_folder() {
        let (file, faults) =
            parsed("cwd = \"work\"\nstate_dir = \"/s\"\n[providers.command]\ncommand = [\"./a\", \"./b\"]");
        assert_eq!(faults, []);
        let of = |path: &str| file.values[path].what.clone();
        assert_eq!(of("cwd"), What::Text("/c/work".to_owned()));
        assert_eq!(of("state_dir"), What::Text("/s".to_owned()));
        assert_eq!(of("providers.command.command"), What::List(vec!["/c/./a".to_owned(), "./b".to_owned()]));
    }
}
