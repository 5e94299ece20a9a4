//! The body of `POST /status`: a report of a hook, in the words of the wire.

use crate::secret::cut;
use relay_runner_core::event::{ReportStatus, StatusReport, TimelineReport, TurnEnd};
use serde::Deserialize;
use serde_json::Value;

/// What others' words may take in an event.
const TEXT_MOST: usize = 300;
/// What canonical JSON of others may take; the body itself is bounded likewise.
const JSON_MOST: usize = 64 * 1024;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReportBody {
    status: Word,
    reason: Option<String>,
    id: Option<String>,
    label: Option<String>,
    role: Option<String>,
    parent_id: Option<String>,
    metadata: Option<Value>,
    provider_state: Option<Value>,
    provider_session_id: Option<String>,
    pid: Option<u32>,
    timeline: Option<Timeline>,
    #[serde(default)]
    clear: Vec<String>,
    /// The turn failed, with this error.
    failed: Option<String>,
    #[serde(default)]
    interrupted: bool,
    #[serde(default)]
    still_running: Vec<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Word {
    Busy,
    Idle,
    Offline,
    Error,
}

#[derive(Debug, Deserialize)]
struct Timeline {
    status: String,
    id: Option<String>,
    timestamp: Option<u64>,
}

impl From<ReportBody> for StatusReport {
    fn from(body: ReportBody) -> Self {
        let text = |text: Option<String>| text.map(|t| cut(&t, TEXT_MOST).into());
        let texts = |all: Vec<String>| all.into_iter().map(|t| cut(&t, TEXT_MOST).into()).collect();
        let json = |value: Option<Value>| {
            value.filter(|v| !v.is_null()).map(|v| v.to_string()).filter(|t| t.len() <= JSON_MOST).map(Into::into)
        };
        Self {
            status: match body.status {
                Word::Busy => ReportStatus::Busy,
                Word::Idle => ReportStatus::Idle,
                Word::Offline => ReportStatus::Offline,
                Word::Error => ReportStatus::Error,
            },
            reason: text(body.reason),
            id: text(body.id),
            label: text(body.label),
            role: text(body.role),
            parent: text(body.parent_id),
            metadata: json(body.metadata),
            provider_state: json(body.provider_state),
            session: text(body.provider_session_id),
            pid: body.pid,
            timeline: body.timeline.map(|t| TimelineReport {
                status: cut(&t.status, TEXT_MOST).into(),
                id: text(t.id),
                timestamp: t.timestamp,
            }),
            clear: texts(body.clear),
            end: match (body.failed, body.interrupted) {
                (Some(error), _) => TurnEnd::Failed { error: cut(&error, TEXT_MOST).into() },
                (None, true) => TurnEnd::Interrupted { by_person: true },
                (None, false) => TurnEnd::Normal,
            },
            still_running: texts(body.still_running),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_report_is_read_from_the_wires_words() {
        let body: ReportBody = serde_json::from_value(json!({
            "status": "busy", "reason": "subagent", "id": "s1", "parentId": "t1", "providerSessionId": "p1", "pid": 7,
            "metadata": {"b": 1, "a": [2.5]}, "timeline": {"status": "began", "timestamp": 9}, "clear": ["compaction"],
            "unknown": true
        }))
        .unwrap();
        let report = StatusReport::from(body);
        assert_eq!(report.status, ReportStatus::Busy);
        assert_eq!(report.parent.as_deref(), Some("t1"));
        assert_eq!(report.metadata.as_deref(), Some(r#"{"a":[2.5],"b":1}"#), "canonical: keys in order");
        assert_eq!(report.timeline.unwrap().timestamp, Some(9));
        assert_eq!(report.clear.len(), 1);
        assert!(serde_json::from_value::<ReportBody>(json!({"status": "dancing"})).is_err());
        assert!(serde_json::from_value::<ReportBody>(json!({"status": "idle", "pid": "7"})).is_err());
    }
}
