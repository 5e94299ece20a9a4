//! Agent profiles (behaviour 15): the document, read strictly; chains of bases; what the relay is shown of one.
//!
//! [`projection`] says what of a profile reaches which provider, and how; [`home`] makes the home that a provider has when
//! the user's own is none of its business.

pub(crate) mod first_questions;
pub mod home;
mod merge;
mod projection;
#[cfg(test)]
mod tests;

pub use merge::{Chain, resolve};
pub use projection::{Projected, State, projection};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The JSON Schema of the document.
pub const SCHEMA: &str = include_str!("../../../docs/schema/profile.schema.json");

/// Whom a profile is for, and whom it is applied to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    #[default]
    Any,
    Claude,
    Codex,
    Acp,
    Command,
}

impl Provider {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Acp => "acp",
            Self::Command => "command",
        }
    }

    /// By the name that `run` has for it. The built-in agent speaks the command protocol.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "claude" => Self::Claude,
            "codex" => Self::Codex,
            "acp" => Self::Acp,
            "command" | "demo" => Self::Command,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Approval {
    Open,
    Guarded,
    ReadOnly,
}

impl Approval {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Guarded => "guarded",
            Self::ReadOnly => "read-only",
        }
    }
}

/// A profile with its bases taken in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Profile {
    /// For editors.
    #[serde(rename = "$schema", skip_serializing)]
    pub schema: Option<String>,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    pub provider: Provider,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    pub tags: Vec<String>,
    pub capabilities: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    pub relay: Relay,
    pub instructions: Instructions,
    pub skills: Vec<Part>,
    pub plugins: Vec<Part>,
    pub mcp: Mcp,
    pub hooks: Hooks,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
}

/// What of the relay the agent has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Relay {
    /// It is told about the relay, and hears what is said to everybody.
    pub context: bool,
    pub skills: bool,
    pub mcp: bool,
    pub monitor: bool,
    pub status_line: bool,
}

impl Default for Relay {
    fn default() -> Self {
        Self { context: true, skills: true, mcp: true, monitor: true, status_line: true }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Instructions {
    /// Those of the folder that it works in.
    pub repo_instructions: bool,
    /// The user's own home of the provider, with all that is in it. False: the provider gets a home of its own.
    pub global_instructions: bool,
    pub append: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
}

impl Default for Instructions {
    fn default() -> Self {
        Self { repo_instructions: true, global_instructions: true, append: Vec::new(), system: None }
    }
}

/// A skill or a plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub name: String,
    #[serde(default = "yes")]
    pub enabled: bool,
    /// A folder. None: the user's own of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

const fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mcp {
    pub mode: McpMode,
    pub servers: BTreeMap<String, Server>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum McpMode {
    /// The user's own servers and the profile's.
    #[default]
    Host,
    /// The profile's alone.
    Profile,
    None,
}

/// A program, or a URL.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// Values of the environment and of headers may be secrets: only their names are shown.
impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("command", &self.command)
            .field("args", &self.args)
            .field("env", &self.env.keys())
            .field("url", &self.url)
            .field("headers", &self.headers.keys())
            .finish()
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    pub mode: HooksMode,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HooksMode {
    /// The user's own hooks run besides the runner's.
    #[default]
    Host,
    /// The runner's alone.
    None,
}

/// Rules in the provider's own words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Permissions {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ask: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

/// Why a profile cannot be used. Each names the place in the document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    #[error("{path}: {why}")]
    Document { path: String, why: String },
    #[error("base: {chain} leads back to itself; take one of them out")]
    Cycle { chain: String },
    #[error("{0}")]
    Base(String),
}

/// Why a value is not what is wanted, without the value: it may be a secret.
fn without_value(why: &str) -> String {
    let parts = why.split_once("string \"").and_then(|(before, rest)| Some((before, rest.rsplit_once("\", ")?.1)));
    parts.map_or_else(|| why.to_owned(), |(before, after)| format!("{before}a string, {after}"))
}

impl Profile {
    /// Reads a document as it stands, strictly: what it does not know is an error.
    pub fn read(document: &Value) -> Result<Self, ProfileError> {
        let refused = |path: &str, why: String| ProfileError::Document { path: path.to_owned(), why };
        if !document.is_object() {
            return Err(refused("the document", "it must be an object with at least a `name`".to_owned()));
        }
        if let Some(path) = null(document) {
            return Err(refused(&path, "it must not be null; leave it out".to_owned()));
        }
        let profile: Self = serde_path_to_error::deserialize(document).map_err(|error| {
            let path = error.path().to_string();
            refused(if path == "." { "the document" } else { &path }, without_value(&error.inner().to_string()))
        })?;
        profile.sound().map_err(|(path, why)| refused(&path, why))?;
        Ok(profile)
    }

    fn sound(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, why: &str| Err((path.to_owned(), why.to_owned()));
        if self.name.is_empty() || self.name.contains(['/', '\0']) || self.name.starts_with('.') {
            return wrong("name", "it must be a name without `/`, not beginning with a dot");
        }
        for (list, parts) in [("skills", &self.skills), ("plugins", &self.plugins)] {
            for (at, part) in parts.iter().enumerate() {
                if part.name.is_empty() || part.name.contains(['/', '\0']) || part.name.starts_with('.') {
                    return wrong(
                        &format!("{list}[{at}].name"),
                        "it must be a name without `/`, not beginning with a dot",
                    );
                }
                if parts[..at].iter().any(|other| other.name == part.name) {
                    return wrong(&format!("{list}[{at}].name"), "it stands there twice");
                }
            }
        }
        for (name, server) in &self.mcp.servers {
            if server.command.is_some() == server.url.is_some() {
                return wrong(&format!("mcp.servers.{name}"), "it must have either a `command` or a `url`");
            }
        }
        Ok(())
    }

    /// Whether the provider sees the user's own settings, instructions and variables.
    pub const fn host_globals(&self) -> bool {
        self.instructions.global_instructions
    }

    /// Whether it may be applied to this provider.
    pub fn is_for(&self, provider: Provider) -> bool {
        self.provider == Provider::Any || self.provider == provider
    }

    /// All that it says, in words of its own, for a provider that has no place for parts of it.
    pub fn own_instructions(&self) -> String {
        let parts = self.instructions.system.iter().chain(&self.instructions.append);
        parts.map(|part| part.trim()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
    }

    /// What the relay is shown (behaviour 15): no words, no servers, no secrets.
    pub fn applied(&self, provider: Provider) -> Value {
        let enabled = |parts: &[Part]| parts.iter().filter(|part| part.enabled).count();
        json!({
            "name": self.name,
            "base": self.base,
            "provider": self.provider,
            "relay": self.relay,
            "instructions": {
                "repoInstructions": self.instructions.repo_instructions,
                "globalInstructions": self.instructions.global_instructions,
                "appendCount": self.instructions.append.len(),
                "hasSystem": self.instructions.system.is_some(),
            },
            "skillCount": enabled(&self.skills),
            "pluginCount": enabled(&self.plugins),
            "mcp": {"mode": self.mcp.mode},
            "hooks": {"mode": self.hooks.mode},
            "permissions": self.permissions,
            "projection": projection(self, provider),
        })
    }
}

/// Where something is null.
fn null(value: &Value) -> Option<String> {
    let within = |step: String, value: &Value| {
        let rest = null(value)?;
        let dot = if rest.is_empty() || rest.starts_with('[') { "" } else { "." };
        Some(format!("{step}{dot}{rest}"))
    };
    match value {
        Value::Null => Some(String::new()),
        Value::Object(fields) => fields.iter().find_map(|(name, value)| within(name.clone(), value)),
        Value::Array(items) => items.iter().enumerate().find_map(|(at, value)| within(format!("[{at}]"), value)),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
