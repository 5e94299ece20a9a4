//! The files themselves. A test holds this table against `plugins/`.

use crate::profile::Provider;
use serde_json::Value;
use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

/// In a file that names this program: where it lies.
const PROGRAM: &str = "\"@PROGRAM@\"";
/// The same as a word for a shell, within a string of JSON.
const IN_SHELL: &str = "@PROGRAM@";
const VERSION: &str = "@VERSION@";
/// The time-out of the hook that waits for a decision.
const PERMISSION: &str = "\"@PERMISSION_SECONDS@\"";
/// A hook is ended by Claude Code so long after the runner has answered it, in seconds.
const SPARE: u64 = 5;

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

/// Claude Code runs these for one run only, from a folder that it is named.
pub(super) const CLAUDE: &[(&str, &str)] = &[
    (".claude-plugin/plugin.json", include_str!("../../../../plugins/claude/.claude-plugin/plugin.json")),
    (HOOKS, include_str!("../../../../plugins/claude/hooks/hooks.json")),
    (MONITORS, include_str!("../../../../plugins/claude/monitors/monitors.json")),
];
const HOOKS: &str = "hooks/hooks.json";
/// What stands in its place where the adapter is told all by itself: only whether a turn may end is asked.
const ASKING: &str = include_str!("../../../../plugins/claude/hooks/asking.json");
const MONITORS: &str = "monitors/monitors.json";

/// What Claude Code is given for one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaudeRun {
    pub skills: bool,
    /// Not where its adapter is told all by itself: nothing is to be said twice, and no permission asked for twice. Then its one hook
    /// asks whether a turn may end while a reply is owed.
    pub hooks: bool,
    pub monitor: bool,
    /// How long the runner waits for a decision about a permission.
    pub approval: Duration,
}

/// What is put into a home of a provider; nothing for one that knows no skills, or whose plugin this version does not have.
///
/// `program` is this program's own path.
pub fn files(provider: Provider, program: &Path) -> Vec<File> {
    let own = match provider {
        Provider::Codex => CODEX,
        // Hooks and monitor come with each run, and are for no other.
        Provider::Claude => &[],
        Provider::Acp | Provider::Command | Provider::Any => return Vec::new(),
    };
    // A string of JSON is one of Starlark.
    let program = Value::from(program.to_string_lossy()).to_string();
    let filled = |text: &'static str| {
        if text.contains(PROGRAM) { Cow::Owned(text.replace(PROGRAM, &program)) } else { Cow::Borrowed(text) }
    };
    SHARED.iter().chain(own).map(|&(path, text)| File { path, text: filled(text) }).collect()
}

/// The plugin of one run of Claude Code.
pub(super) fn claude_run(program: &Path, run: ClaudeRun) -> Vec<File> {
    let quoted = format!("'{}'", program.to_string_lossy().replace('\'', "'\\''"));
    // Without the quotes of the string that it stands in.
    let quoted = Value::from(quoted).to_string();
    let quoted = &quoted[1..quoted.len() - 1];
    let seconds = run.approval.as_millis().div_ceil(1_000) + u128::from(SPARE);
    let filled = |text: &'static str| {
        let text = text.replace(IN_SHELL, quoted).replace(VERSION, env!("CARGO_PKG_VERSION"));
        Cow::Owned(text.replace(PERMISSION, &seconds.to_string()))
    };
    let own = CLAUDE.iter().filter(|(path, _)| run.monitor || *path != MONITORS);
    let own = own.map(|&(path, text)| (path, if path == HOOKS && !run.hooks { ASKING } else { text }));
    let own = own.map(|(path, text)| File { path, text: filled(text) });
    let skills = SHARED.iter().filter(|_| run.skills).map(|&(path, text)| File { path, text: Cow::Borrowed(text) });
    skills.chain(own).collect()
}
