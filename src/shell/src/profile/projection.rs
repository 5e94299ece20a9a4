//! What of a profile reaches which provider, and how. Pure.

use super::{HooksMode, McpMode, Part, Profile, Provider};
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Applied,
    Partial,
    Unsupported,
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Partial => "partial",
            Self::Unsupported => "unsupported",
        }
    }
}

/// What becomes of one feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Projected {
    pub feature: &'static str,
    pub state: State,
    /// By which flag, file or field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
    /// Why not, or not wholly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Of each feature, in the order of the document.
pub fn projection(profile: &Profile, provider: Provider) -> Vec<Projected> {
    let p = View { profile, provider, home: !profile.host_globals() };
    let relay = &profile.relay;
    let all: [(&'static str, Outcome); 14] = [
        ("relay.context", p.context()),
        ("relay.skills", p.relay_skills(relay.skills)),
        ("relay.mcp", relay_mcp(relay.mcp)),
        ("relay.monitor", p.monitor(relay.monitor)),
        ("relay.statusLine", p.status_line(relay.status_line)),
        ("instructions.repoInstructions", p.repo_instructions()),
        ("instructions.globalInstructions", p.global_instructions()),
        ("instructions.append", p.append()),
        ("instructions.system", p.system()),
        ("skills", p.skills()),
        ("plugins", p.plugins()),
        ("mcp", p.mcp()),
        ("hooks", p.hooks()),
        ("permissions", p.permissions()),
    ];
    all.into_iter().map(|(feature, Outcome { state, how, reason })| Projected { feature, state, how, reason }).collect()
}

struct Outcome {
    state: State,
    how: Option<String>,
    reason: Option<String>,
}

fn applied(how: impl Into<String>) -> Outcome {
    Outcome { state: State::Applied, how: Some(how.into()), reason: None }
}

fn partial(how: impl Into<String>, reason: impl Into<String>) -> Outcome {
    Outcome { state: State::Partial, how: Some(how.into()), reason: Some(reason.into()) }
}

fn unsupported(reason: impl Into<String>) -> Outcome {
    Outcome { state: State::Unsupported, how: None, reason: Some(reason.into()) }
}

const NOTHING: &str = "the profile says nothing";
const ITS_OWN: &str = "it is for the program to read";
const NO_HOME: &str =
    "only a home of the profile's leaves out the user's own: set instructions.globalInstructions to false";
const NOT_KNOWN: &str = "what an ACP agent reads besides its session is its own matter";
const AWAY: &str = "the user's own servers stand in the user's own home, which the profile turns off";
const SANDBOXED: &str = "codex's sandbox keeps what they call from the runner, unless it has the network, or the user's own home \
     has the rules (`relay-runner plugin install codex --user`)";
const FILE: &str = "the file AGENT_RELAY_INSTRUCTIONS_FILE";

struct View<'a> {
    profile: &'a Profile,
    provider: Provider,
    /// The provider has a home of the profile's.
    home: bool,
}

impl View<'_> {
    fn context(&self) -> Outcome {
        if !self.profile.relay.context {
            return applied("left out; messages to everybody, to tags and to capabilities are not the agent's");
        }
        match self.provider {
            Provider::Claude => applied("--append-system-prompt"),
            Provider::Codex => applied("developer instructions of the thread"),
            Provider::Acp => applied("before the first prompt"),
            Provider::Command | Provider::Any => partial(FILE, ITS_OWN),
        }
    }

    fn relay_skills(&self, on: bool) -> Outcome {
        match self.provider {
            _ if !on => applied("left out"),
            Provider::Claude => applied("--plugin-dir"),
            Provider::Codex if self.home => applied("skills/ and rules/ of CODEX_HOME"),
            Provider::Codex => partial("an extra root of skills", SANDBOXED),
            Provider::Acp | Provider::Command | Provider::Any => {
                unsupported("it has no skills; the instructions name the verbs")
            }
        }
    }

    fn monitor(&self, on: bool) -> Outcome {
        match self.provider {
            _ if !on => applied("left out"),
            Provider::Claude => {
                partial("monitors/ of the plugin", "only in a terminal: in print mode there are no monitors")
            }
            Provider::Command => partial("run --offers monitor", "only where the run says so: else its standard input"),
            Provider::Codex | Provider::Acp | Provider::Any => {
                unsupported("it has no monitors; messages are handed over as turns")
            }
        }
    }

    fn status_line(&self, on: bool) -> Outcome {
        match self.provider {
            _ if !on => applied("left out"),
            Provider::Claude => {
                unsupported("the context is read from its transcript, and the status line is the user's own")
            }
            Provider::Codex | Provider::Acp | Provider::Command | Provider::Any => {
                unsupported("it has no status line that can be set")
            }
        }
    }

    fn repo_instructions(&self) -> Outcome {
        match (self.provider, self.profile.instructions.repo_instructions) {
            (Provider::Claude | Provider::Codex, true) => applied("the provider reads them in its folder"),
            (Provider::Codex, false) => applied("-c project_doc_max_bytes=0"),
            (Provider::Claude, false) => unsupported("it reads CLAUDE.md of its folder whatever it is told"),
            (Provider::Acp, _) => unsupported(NOT_KNOWN),
            (Provider::Command | Provider::Any, _) => unsupported("what it reads in its folder is its own matter"),
        }
    }

    fn global_instructions(&self) -> Outcome {
        match self.provider {
            _ if !self.home => applied("the user's own home"),
            Provider::Claude => applied("CLAUDE_CONFIG_DIR"),
            Provider::Codex => applied("CODEX_HOME"),
            Provider::Acp => unsupported(NOT_KNOWN),
            Provider::Command | Provider::Any => partial("AGENT_RELAY_PROFILE_HOME", ITS_OWN),
        }
    }

    fn append(&self) -> Outcome {
        match self.provider {
            _ if self.profile.instructions.append.is_empty() => applied(NOTHING),
            Provider::Claude if self.home => applied("CLAUDE.md of CLAUDE_CONFIG_DIR"),
            Provider::Claude => applied("--append-system-prompt"),
            Provider::Codex if self.home => applied("AGENTS.md of CODEX_HOME"),
            Provider::Codex => applied("developer instructions of the thread"),
            Provider::Acp => applied("before the first prompt"),
            Provider::Command | Provider::Any => partial(FILE, ITS_OWN),
        }
    }

    fn system(&self) -> Outcome {
        const STAYS: &str = "the provider's own system prompt stays before it";
        match self.provider {
            _ if self.profile.instructions.system.is_none() => applied(NOTHING),
            Provider::Claude => partial("--append-system-prompt", STAYS),
            Provider::Codex => partial("developer instructions of the thread", STAYS),
            Provider::Acp => partial("before the first prompt", STAYS),
            Provider::Command | Provider::Any => partial(FILE, ITS_OWN),
        }
    }

    fn skills(&self) -> Outcome {
        match (self.provider, self.home) {
            _ if self.profile.skills.is_empty() => applied(NOTHING),
            (Provider::Claude, true) => applied("skills/ of CLAUDE_CONFIG_DIR"),
            (Provider::Codex, true) => applied("skills/ of CODEX_HOME"),
            (Provider::Claude | Provider::Codex, false) => of_the_host(&self.profile.skills),
            (Provider::Acp, _) => unsupported(NOT_KNOWN),
            (Provider::Command | Provider::Any, true) => partial("skills/ of AGENT_RELAY_PROFILE_HOME", ITS_OWN),
            (Provider::Command | Provider::Any, false) => unsupported(NO_HOME),
        }
    }

    fn plugins(&self) -> Outcome {
        let plugins = &self.profile.plugins;
        let named = |part: &&Part| part.enabled && part.source.is_none();
        match (self.provider, self.home) {
            _ if plugins.is_empty() => applied(NOTHING),
            (Provider::Claude, true) if plugins.iter().any(|part| named(&part)) => {
                partial("--plugin-dir", "plugins without a source are the user's own, and not in the profile's home")
            }
            (Provider::Claude, false) if plugins.iter().any(|part| !part.enabled) => partial("--plugin-dir", NO_HOME),
            (Provider::Claude, _) => applied("--plugin-dir"),
            (Provider::Codex, _) => unsupported("which plugins it loads cannot be told from outside"),
            (Provider::Acp, _) => unsupported(NOT_KNOWN),
            (Provider::Command | Provider::Any, true) => partial("plugins/ of AGENT_RELAY_PROFILE_HOME", ITS_OWN),
            (Provider::Command | Provider::Any, false) => unsupported(NO_HOME),
        }
    }

    fn mcp(&self) -> Outcome {
        let mode = self.profile.mcp.mode;
        let nothing = mode == McpMode::Host && self.profile.mcp.servers.is_empty();
        match (self.provider, self.home) {
            _ if nothing && !self.home => applied("the user's own servers"),
            (Provider::Claude, false) if mode == McpMode::Host => applied("--mcp-config"),
            (Provider::Claude, true) if mode == McpMode::Host => partial("--mcp-config", AWAY),
            (Provider::Codex, true) if mode == McpMode::Host => {
                partial("mcp_servers in config.toml of CODEX_HOME", AWAY)
            }
            (Provider::Claude, _) => applied("--mcp-config with --strict-mcp-config"),
            (Provider::Codex, true) => applied("mcp_servers in config.toml of CODEX_HOME"),
            (Provider::Codex, false) if mode == McpMode::Host => applied("-c mcp_servers"),
            (Provider::Acp, _) if mode == McpMode::Host => applied("mcpServers of session/new"),
            (Provider::Acp, _) => {
                partial("mcpServers of session/new", "the servers that the agent knows by itself stay")
            }
            (Provider::Command | Provider::Any, true) => partial("mcp.json of AGENT_RELAY_PROFILE_HOME", ITS_OWN),
            (Provider::Codex | Provider::Command | Provider::Any, false) => unsupported(NO_HOME),
        }
    }

    fn hooks(&self) -> Outcome {
        match (self.provider, self.profile.hooks.mode) {
            (Provider::Acp | Provider::Command | Provider::Any, _) => unsupported("it has no hooks that are known"),
            (Provider::Claude | Provider::Codex, HooksMode::None) if !self.home => unsupported(NO_HOME),
            (Provider::Claude | Provider::Codex, HooksMode::None) => {
                applied("none of the user's own in the profile's home")
            }
            (Provider::Claude | Provider::Codex, HooksMode::Host) if self.home => {
                unsupported("the user's own hooks stand in the user's own home, which the profile turns off")
            }
            (Provider::Claude | Provider::Codex, HooksMode::Host) => applied("the user's own home"),
        }
    }

    fn permissions(&self) -> Outcome {
        match self.provider {
            _ if self.profile.permissions.is_none() => applied(NOTHING),
            Provider::Claude => applied("permissions of --settings"),
            Provider::Codex => unsupported("it knows an approval policy and a sandbox, and no rules: use `approval`"),
            Provider::Acp => unsupported("its questions are answered by the approval mode: use `approval`"),
            Provider::Command | Provider::Any if self.home => {
                partial("profile.json of AGENT_RELAY_PROFILE_HOME", ITS_OWN)
            }
            Provider::Command | Provider::Any => unsupported(NO_HOME),
        }
    }
}

fn relay_mcp(on: bool) -> Outcome {
    if on { unsupported("this version serves no MCP; the instructions name the verbs") } else { applied("left out") }
}

/// In the user's own home stands what stands there: nothing is put in, and nothing taken away.
fn of_the_host(parts: &[Part]) -> Outcome {
    if parts.iter().any(|part| !part.enabled || part.source.is_some()) {
        unsupported(NO_HOME)
    } else {
        applied("the user's own home")
    }
}
