//! The keys of the configuration file: their names, and what is known of each. `config_table` is the one table that the file is
//! read with, and that `config default`, `config show` and docs/configuration.md are made from.

use super::config_table::TABLE;
use super::given::{Key, setting};
use relay_runner_core::config::{Limits, Timing};
use relay_runner_core::time::Millis;

pub(crate) const RELAY: Key = setting("relay", "--relay", "AGENT_RELAY_URL");
pub(crate) const TOKEN_FILE: Key = setting("token_file", "--token-file", "AGENT_RELAY_TOKEN_FILE");
pub(crate) const AGENT_ID: Key = setting("agent_id", "--agent-id", "AGENT_RELAY_ID");
pub(crate) const LABEL: Key = setting("label", "--label", "AGENT_RELAY_LABEL");
pub(crate) const TAGS: Key = setting("tags", "--tag", "AGENT_RELAY_TAGS");
pub(crate) const CAPS: Key = setting("caps", "--cap", "AGENT_RELAY_CAPS");
pub(crate) const MACHINE: Key = setting("machine", "--machine", "AGENT_RELAY_MACHINE");
pub(crate) const CWD: Key = setting("cwd", "--cwd", "AGENT_RELAY_CWD");
pub(crate) const MODE: Key = setting("mode", "", "");
pub(crate) const PROMPT: Key = setting("prompt", "--prompt", "AGENT_RELAY_PROMPT");
pub(crate) const APPROVAL: Key = setting("approval", "--approval", "AGENT_RELAY_APPROVAL");
pub(crate) const MODEL: Key = setting("model", "--model", "AGENT_RELAY_MODEL");
pub(crate) const EFFORT: Key = setting("effort", "--effort", "AGENT_RELAY_EFFORT");
pub(crate) const PROFILE: Key = setting("profile", "--profile", "AGENT_RELAY_PROFILE");
pub(crate) const RELAY_CONTEXT: Key = setting("relay_context", "", "");
pub(crate) const STATE_DIR: Key = setting("state_dir", "--state-dir", "AGENT_RELAY_STATE_DIR");
pub(crate) const INFO_FILE: Key = setting("info_file", "", "AGENT_RELAY_RUNNER_INFO_FILE");
pub(crate) const BODIES: Key = setting("bodies", "--bodies", "AGENT_RELAY_BODIES");
pub(crate) const FAIL_FAST: Key = setting("fail_fast", "--fail-fast", "AGENT_RELAY_FAIL_FAST");
pub(crate) const LOG: Key = setting("log", "", "RELAY_RUNNER_LOG");
pub(crate) const WORKSPACE_MODE: Key = setting("workspace_mode", "", "AGENT_RELAY_WORKSPACE_MODE");
pub(crate) const POLICY: Key = setting("policy_name", "", "AGENT_RELAY_POLICY_NAME");
pub(crate) const SPAWN_REQUEST: Key = setting("spawn_request_id", "", "AGENT_RELAY_SPAWN_REQUEST_ID");
pub(crate) const AUTOMATION: Key = setting("automation_id", "", "AGENT_RELAY_AUTOMATION_ID");
pub(crate) const AUTOMATION_RUN: Key = setting("automation_run_id", "", "AGENT_RELAY_AUTOMATION_RUN_ID");
pub(crate) const CHANNELS: Key = setting("channels", "", "AGENT_RELAY_CHANNELS");
pub(crate) const DELIVER: Key = setting("delivery.deliver", "--deliver", "AGENT_RELAY_DELIVER");
pub(crate) const MARK_READ: Key = setting("delivery.mark_read", "", "");
pub(crate) const ON_GIVE_UP: Key = setting("restart.on_give_up", "", "");
pub(crate) const WAIT_FOR_USAGE: Key = setting("restart.wait_for_usage_limit", "", "");
pub(crate) const INHERIT: Key = setting("environment.inherit", "", "");
pub(crate) const ALLOW: Key = setting("environment.allow", "", "");
pub(crate) const EXPORT_TOKEN: Key = setting("environment.export_token", "", "");
pub(crate) const SET: Key = setting("environment.set", "", "");
pub(crate) const COMMAND: Key = setting("providers.command.command", "", "");
pub(crate) const COMMAND_TAGS: Key = setting("providers.command.tags", "", "");
pub(crate) const COMMAND_CAPS: Key = setting("providers.command.caps", "", "");
pub(crate) const LISTEN: Key = setting("providers.command.listen", "--listen", "AGENT_RELAY_LISTEN");
pub(crate) const OFFERS: Key = setting("providers.command.offers", "--offers", "AGENT_RELAY_OFFERS");
pub(crate) const CODEX: Key = setting("providers.codex.command", "--codex", "AGENT_RELAY_CODEX");
pub(crate) const CODEX_TAGS: Key = setting("providers.codex.tags", "", "");
pub(crate) const CODEX_CAPS: Key = setting("providers.codex.caps", "", "");
pub(crate) const CODEX_TRANSCRIPT: Key = setting("providers.codex.transcript", "", "AGENT_RELAY_CODEX_TRANSCRIPT");
pub(crate) const CLAUDE: Key = setting("providers.claude.command", "--claude", "AGENT_RELAY_CLAUDE");
pub(crate) const CLAUDE_MODE: Key = setting("providers.claude.mode", "--claude-mode", "AGENT_RELAY_CLAUDE_MODE");
pub(crate) const CLAUDE_TAGS: Key = setting("providers.claude.tags", "", "");
pub(crate) const CLAUDE_CAPS: Key = setting("providers.claude.caps", "", "");
pub(crate) const CLAUDE_TRANSCRIPT: Key = setting("providers.claude.transcript", "", "AGENT_RELAY_CLAUDE_TRANSCRIPT");

/// What a path has to be for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Must {
    BeFolder,
    BeFile,
    /// It is made when it is missing.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    AgentId,
    Url,
    Path(Must),
    Word(&'static [&'static str]),
    Switch,
    SwitchOrSpan,
    /// In milliseconds.
    Span {
        least: Millis,
        most: Millis,
    },
    Count {
        least: u64,
        most: u64,
    },
    /// Items that every place adds to.
    List,
    /// Names of variables.
    Names,
    /// A program and its arguments.
    Command,
    /// Variables with their values, which may be secrets.
    Variables,
}

impl Kind {
    /// For people.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Text | Self::AgentId => "a string".to_owned(),
            Self::Url => "a URL in quotes".to_owned(),
            Self::Path(_) => "a path in quotes".to_owned(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Switch => "true or false".to_owned(),
            Self::SwitchOrSpan => "true, false, or a span such as \"60s\"".to_owned(),
            Self::Span { .. } => "a span in quotes such as \"30s\" (units: ms, s, m, h)".to_owned(),
            Self::Count { least, most } => format!("a whole number from {least} to {most}"),
            Self::List => "an array of strings".to_owned(),
            Self::Names => "an array of names of variables".to_owned(),
            Self::Command => "an array of strings: a program and its arguments".to_owned(),
            Self::Variables => "a table of strings".to_owned(),
        }
    }
}

/// What counts where nothing is said.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BuiltIn {
    Text(&'static str),
    Switch(bool),
    List(&'static [&'static str]),
    /// Nothing; the words say what that means, the example is a literal of TOML.
    None {
        means: &'static str,
        example: &'static str,
    },
    Timing(fn(&mut Timing) -> &mut Millis),
    Size(fn(&mut Limits) -> &mut usize),
    Number(fn(&mut Limits) -> &mut u32),
    Bytes(fn(&mut Limits) -> &mut u64),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) kind: Kind,
    pub(crate) built_in: BuiltIn,
    pub(crate) about: &'static str,
    /// HUP makes it take effect.
    pub(crate) is_live: bool,
}

impl Entry {
    /// It decides which agent there is, so no agent's table can say it.
    pub(crate) fn is_of_all(&self) -> bool {
        self.key == AGENT_ID || self.key == MACHINE
    }

    pub(crate) fn section(&self) -> &'static str {
        self.key.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    pub(crate) fn name(&self) -> &'static str {
        self.key.path.rsplit('.').next().unwrap_or_default()
    }
}

/// What each section is about; the first holds the keys before all sections.
pub(crate) const SECTIONS: [(&str, &str); 9] = [
    (
        "",
        "The run. Each of these keys, and each section, may also stand in a table of one agent: [agents.NAME], [agents.NAME.timing].",
    ),
    ("delivery", "How messages reach the agent."),
    (
        "restart",
        "What becomes of a provider that ends by itself. Given up: it lived shorter than `stable`, and ended more than `exits` times within `window`.",
    ),
    ("timing", "Spans: \"500ms\", \"30s\", \"2m\", \"1h\"; 24h at most."),
    ("limits", "Bounds of what is kept in memory."),
    ("environment", "What the provider finds in its environment."),
    ("providers.command", "The provider `command`."),
    ("providers.codex", "The provider `codex` (docs/codex-provider.md)."),
    ("providers.claude", "The provider `claude` (docs/claude-provider.md)."),
];

pub(crate) fn all() -> impl Iterator<Item = &'static Entry> {
    TABLE.iter().copied().flatten()
}

pub(crate) fn entry(path: &str) -> Option<&'static Entry> {
    all().find(|entry| entry.key.path == path)
}

pub(crate) fn is_section(path: &str) -> bool {
    SECTIONS.iter().any(|(section, _)| *section == path || section.starts_with(&format!("{path}.")))
}
