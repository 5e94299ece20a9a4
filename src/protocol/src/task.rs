//! Tasks: the tracked work that a claimable message may carry.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::message::Attachment;

/// Characters of a title that is taken from the text of a task.
const TITLE_MOST: usize = 80;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    Open,
    InProgress,
    Blocked,
    Done,
    Failed,
}

impl TaskStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::InProgress => "in_progress",
            Self::Blocked => "blocked",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more is expected to happen to a task with this status.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

/// `GET /tasks/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    pub id: u64,
    pub title: String,
    #[serde(default)]
    pub body: String,
    pub target: String,
    pub status: TaskStatus,
    /// The claimable message that carries the task.
    pub message_id: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// What the last status report said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    #[serde(default)]
    pub metadata: Map<String, Value>,
    pub created_at: u64,
    pub updated_at: u64,
}

/// `POST /tasks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewTask {
    pub title: String,
    #[serde(default)]
    pub body: String,
    pub target: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default)]
    pub priority: crate::Priority,
    /// Files that go with the task's message (ours).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
}

/// Title and body of a task of which there is only a text: a short one is its own title, and a longer one keeps its
/// beginning as one.
pub fn titled(text: String) -> (String, String) {
    let line = text.trim().lines().next().unwrap_or_default().trim();
    if line == text.trim() && line.chars().count() <= TITLE_MOST {
        return (line.to_string(), String::new());
    }
    let mut title: String = line.chars().take(TITLE_MOST).collect();
    if line.chars().count() > TITLE_MOST {
        title.push_str("...");
    }
    (title, text)
}

/// `POST /tasks/{id}/status`; 409 on a stale fence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskReport {
    pub status: TaskStatus,
    pub agent_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_a_title() {
        let titled = |text: &str| titled(text.to_string());
        assert_eq!(titled("hello"), ("hello".to_string(), String::new()));
        assert_eq!(titled(" one\n\ntwo"), ("one".to_string(), " one\n\ntwo".to_string()));
        let long = "x".repeat(100);
        let (title, body) = titled(&long);
        assert_eq!((title.chars().count(), body), (TITLE_MOST + 3, long));
    }
}
