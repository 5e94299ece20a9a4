//! Commands: orders of the relay to an agent.

use alloc::string::String;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The command types on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CommandType {
    #[serde(rename = "agent.shutdown")]
    Shutdown,
    #[serde(rename = "agent.kill")]
    Kill,
    #[serde(rename = "agent.restart")]
    Restart,
    #[serde(rename = "agent.reconnect")]
    Reconnect,
    #[serde(rename = "agent.compact")]
    Compact,
    #[serde(rename = "agent.clearContext")]
    ClearContext,
    #[serde(rename = "agent.injectContext")]
    InjectContext,
    #[serde(rename = "agent.permissionDecision")]
    PermissionDecision,
}

impl CommandType {
    pub const ALL: [Self; 8] = [
        Self::Shutdown,
        Self::Kill,
        Self::Restart,
        Self::Reconnect,
        Self::Compact,
        Self::ClearContext,
        Self::InjectContext,
        Self::PermissionDecision,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shutdown => "agent.shutdown",
            Self::Kill => "agent.kill",
            Self::Restart => "agent.restart",
            Self::Reconnect => "agent.reconnect",
            Self::Compact => "agent.compact",
            Self::ClearContext => "agent.clearContext",
            Self::InjectContext => "agent.injectContext",
            Self::PermissionDecision => "agent.permissionDecision",
        }
    }

    /// The command type of a name on the wire, or none when it is unknown.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == name)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CommandStatus {
    /// Issued, and not yet reported by the agent.
    Pending,
    Accepted,
    Running,
    Succeeded,
    Failed,
}

impl CommandStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// `GET /commands/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Command {
    pub id: String,
    #[serde(rename = "type")]
    pub command_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(default)]
    pub params: Value,
    pub status: CommandStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub created_at: u64,
    pub updated_at: u64,
}

/// `POST /commands`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewCommand {
    #[serde(rename = "type")]
    pub command_type: String,
    pub target: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub params: Value,
}

/// `POST /commands/{id}/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandReport {
    pub status: CommandStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
