//! The files themselves. A test holds this table against `plugins/`.

use crate::profile::Provider;
use serde_json::Value;
use std::borrow::Cow;
use std::path::Path;

/// In a file that names this program: where it lies.
const PROGRAM: &str = "\"@PROGRAM@\"";

/// One file of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Within the place, with `/`.
    pub path: &'static str,
    pub text: Cow<'static, str>,
}

macro_rules! skills {
    ($($name:literal),* $(,)?) => {
        &[$((
            concat!("skills/relay-", $name, "/SKILL.md"),
            include_str!(concat!("../../../../plugins/skills/relay-", $name, "/SKILL.md")),
        )),*]
    };
}

/// One source for every provider that knows skills. Their names begin with `relay-`, as nobody else's do.
pub(super) const SHARED: &[(&str, &str)] = skills![
    "guide",
    "reply",
    "react",
    "read-message",
    "message",
    "status",
    "label",
    "tags",
    "send-claimable",
    "pair",
    "disconnect",
];

/// Codex carries out what its rules allow outside of its sandbox, in which no socket can be connected to.
pub(super) const CODEX: &[(&str, &str)] =
    &[("rules/relay-runner.rules", include_str!("../../../../plugins/codex/rules/relay-runner.rules"))];

/// What a provider is given; nothing for one that knows no skills, or whose plugin this version does not have.
///
/// `program` is this program's own path.
pub fn files(provider: Provider, program: &Path) -> Vec<File> {
    let own = match provider {
        Provider::Codex => CODEX,
        Provider::Claude | Provider::Acp | Provider::Command | Provider::Any => return Vec::new(),
    };
    // A string of JSON is one of Starlark.
    let program = Value::from(program.to_string_lossy()).to_string();
    let filled = |text: &'static str| {
        if text.contains(PROGRAM) { Cow::Owned(text.replace(PROGRAM, &program)) } else { Cow::Borrowed(text) }
    };
    SHARED.iter().chain(own).map(|&(path, text)| File { path, text: filled(text) }).collect()
}
