//! What a message is answered with: reactions, and the replies that are owed.

use alloc::string::String;
use serde::{Deserialize, Serialize};

use crate::agent::Session;

/// `POST /messages/{id}/reactions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct React {
    pub agent_id: String,
    pub emoji: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
}

/// One of `GET /messages/{id}/reactions`, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reaction {
    pub agent_id: String,
    pub emoji: String,
    pub at: u64,
}

/// One of `GET /agents/{id}/obligations`, oldest first: a message that expects a reply and has none from this agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Obligation {
    pub message_id: u64,
    pub from: String,
    #[serde(default)]
    pub subject: Option<String>,
    pub since: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<u64>,
}
