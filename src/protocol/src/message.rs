//! Messages, their delivery stages, and the requests about them.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::agent::Session;

/// Urgent messages go before all others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Priority {
    #[default]
    Normal,
    Urgent,
}

/// A file that goes with a message; the bytes are an artifact on the relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub media_type: String,
    #[serde(default)]
    pub size: u64,
    #[serde(default)]
    pub sha256: String,
}

/// An inbox item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    pub id: u64,
    pub from: String,
    pub to: String,
    /// The one agent whom the relay chose for a target that names several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_to_agent: Option<String>,
    #[serde(default = "chat")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(default)]
    pub body: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub payload: Value,
    #[serde(default)]
    pub claimable: bool,
    #[serde(default)]
    pub priority: Priority,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_expires_at: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<u64>,
    #[serde(default)]
    pub reply_expected: bool,
    #[serde(default)]
    pub attachments: Vec<Attachment>,
    #[serde(default)]
    pub read_by: Vec<String>,
    pub created_at: u64,
}

fn chat() -> String {
    String::from("chat")
}

impl Message {
    /// The task that this message carries: `payload.taskId`, when it is a positive safe integer (at most 2^53 - 1).
    pub fn task_id(&self) -> Option<u64> {
        task_id(&self.payload)
    }
}

/// The task that a payload names; see [`Message::task_id`].
pub fn task_id(payload: &Value) -> Option<u64> {
    payload.get("taskId")?.as_u64().filter(|id| (1..=MAX_SAFE_INTEGER).contains(id))
}

/// The largest integer that every JSON reader can hold: 2^53 - 1.
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// `POST /messages`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewMessage {
    pub from: String,
    pub to: String,
    #[serde(default = "chat")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    pub body: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub payload: Value,
    #[serde(default)]
    pub claimable: bool,
    #[serde(default)]
    pub priority: Priority,
    #[serde(default)]
    pub reply_expected: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// How far a message has come on its way into an agent (the stages of delivery).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// Accepted into the runner's inbox.
    Held,
    /// The relay confirmed the claim.
    Claimed,
    /// Handed to the adapter.
    Offered,
    /// The provider itself showed that it has it.
    Taken,
    /// A turn that had it ended normally.
    Worked,
    /// Read mark and task report were accepted by the relay.
    Settled,
    /// Given up, with the reason.
    SetAside,
    /// Handed over, and the evidence is lost; a further offer says that it may be a repeat.
    Ambiguous,
}

impl Stage {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Claimed => "claimed",
            Self::Offered => "offered",
            Self::Taken => "taken",
            Self::Worked => "worked",
            Self::Settled => "settled",
            Self::SetAside => "setAside",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// `POST /messages/{id}/delivery`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryReport {
    pub agent_id: String,
    pub session: Session,
    pub stage: Stage,
    pub attempt: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `GET /messages/{id}/delivery`: one entry per report, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Position in the message's history, counted from 1.
    pub seq: u64,
    pub agent_id: String,
    pub stage: Stage,
    pub attempt: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub at: u64,
}

/// `POST /messages/{id}/read`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MarkRead {
    pub agent_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
}

/// `GET /messages/cursor`: where the relay stands, for whoever wants only what comes after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cursor {
    /// The id of the newest message, as the inbox's `after` takes it; 0 before the first.
    pub cursor: u64,
    /// The position of the newest event, as `resume` and `Last-Event-ID` take it; 0 before the first.
    pub event_cursor: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with_payload(payload: &Value) -> Message {
        serde_json::from_value(json!({"id": 1, "from": "a", "to": "b", "payload": payload, "createdAt": 0})).unwrap()
    }

    #[test]
    fn a_task_id_is_a_positive_safe_integer() {
        assert_eq!(with_payload(&json!({"taskId": 7})).task_id(), Some(7));
        for odd in [json!(0), json!(-1), json!(1.5), json!("7"), json!(MAX_SAFE_INTEGER + 1), Value::Null] {
            assert_eq!(with_payload(&json!({"taskId": odd})).task_id(), None);
        }
        assert_eq!(with_payload(&json!("text")).task_id(), None);
    }
}
