//! Frames of the bus: `{type, id?, payload}`.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::agent::AgentStatus;
use crate::error::ErrorCode;

/// A frame that a runner sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum ClientFrame {
    Register { id: String, payload: Register },
    Heartbeat { payload: BusHeartbeat },
    Status { id: String, payload: BusStatus },
    Subscribe { id: String, payload: Subscribe },
    Ack { payload: Ack },
    Resume { id: String, payload: Resume },
    Command { id: String, payload: IssueCommand },
}

/// A frame that the relay sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum ServerFrame {
    Registered {
        id: String,
        payload: Registered,
    },
    /// Acknowledged by an `ack` with the frame's id. A frame sent again keeps its id and seq.
    Event {
        id: String,
        payload: Event,
    },
    Command {
        id: String,
        payload: CommandOrder,
    },
    Ack {
        payload: Ack,
    },
    Replayed {
        id: String,
        payload: Replayed,
    },
    Error {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        payload: BusError,
    },
}

/// The frame types a relay may send, for telling an unknown frame from a malformed one.
pub const SERVER_FRAME_TYPES: [&str; 6] = ["registered", "event", "command", "ack", "replayed", "error"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    Provider,
    Channel,
    Orchestrator,
    Integration,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Register {
    pub role: Role,
    pub component_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    pub instance_id: String,
    #[serde(default)]
    pub capabilities: Vec<String>,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default)]
    pub machine: String,
    /// The label of the agent lies in `meta.label`, as do all other facts about it.
    #[serde(default)]
    pub meta: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BusHeartbeat {
    pub status: AgentStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BusStatus {
    pub agent_status: AgentStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    pub status_seq: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscribe {
    pub events: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ack {
    pub frame_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resume {
    /// The last event position seen.
    pub since: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssueCommand {
    pub command_type: String,
    pub target: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub params: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    pub agent_id: String,
    pub epoch: u64,
    /// The position of the newest event.
    #[serde(default)]
    pub cursor: u64,
    /// Which relay this is: another database, another id. Message ids of one mean nothing to another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_interval_ms: Option<u64>,
    #[serde(default)]
    pub time: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub seq: u64,
    /// One of [`event`], or a name that this version does not know.
    pub event: String,
    #[serde(default)]
    pub data: Value,
}

/// Names of events.
pub mod event {
    /// `data` is the message itself.
    pub const MESSAGE_NEW: &str = "message.new";
    /// `data`: [`MessageEvent`](super::MessageEvent) with `agentId`.
    pub const MESSAGE_CLAIMED: &str = "message.claimed";
    pub const MESSAGE_CLAIM_RELEASED: &str = "message.claim_released";
    pub const MESSAGE_DELETED: &str = "message.deleted";
    /// `data`: [`ReactionEvent`](super::ReactionEvent). Ours.
    pub const MESSAGE_REACTION: &str = "message.reaction";
    /// Somebody has given an agent other tags or another label; `data`: [`AgentEvent`](super::AgentEvent). Ours.
    pub const AGENT_UPDATED: &str = "agent.updated";
    /// The prefix of a task's events: `task.created`, `task.updated`, `task.cancelled`; `data`:
    /// [`TaskEvent`](super::TaskEvent).
    pub const TASK_PREFIX: &str = "task.";
    pub const TASK_CREATED: &str = "task.created";
    pub const TASK_UPDATED: &str = "task.updated";
    pub const TASK_CANCELLED: &str = "task.cancelled";
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageEvent {
    pub message_id: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReactionEvent {
    pub message_id: u64,
    pub agent_id: String,
    pub emoji: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentEvent {
    pub agent_id: String,
    #[serde(default)]
    pub label: Option<String>,
    pub tags: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskEvent {
    pub task_id: u64,
    pub message_id: u64,
    pub status: crate::TaskStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandOrder {
    pub command_id: String,
    pub command_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(default)]
    pub params: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replayed {
    pub from: u64,
    pub to: u64,
    /// Events before `from` are gone: the runner fetches unread messages instead.
    #[serde(default)]
    pub gap: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusError {
    pub code: ErrorCode,
    #[serde(default)]
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn frames_read_as_the_protocol_writes_them() {
        let frame: ServerFrame = serde_json::from_value(json!({
            "type": "registered", "id": "r1", "extra": 1,
            "payload": {"agentId": "a1", "epoch": 3, "cursor": 9, "heartbeatIntervalMs": 30000, "time": 5, "new": true}
        }))
        .unwrap();
        assert!(matches!(frame, ServerFrame::Registered { payload: Registered { epoch: 3, cursor: 9, .. }, .. }));

        let ack = serde_json::to_value(ClientFrame::Ack { payload: Ack { frame_id: "f".into() } }).unwrap();
        assert_eq!(ack, json!({"type": "ack", "payload": {"frameId": "f"}}));
    }

    #[test]
    fn an_unknown_error_code_is_not_fatal() {
        let error: BusError = serde_json::from_value(json!({"code": "new_thing", "message": "m"})).unwrap();
        assert_eq!(error.code, ErrorCode::Unknown);
    }
}
