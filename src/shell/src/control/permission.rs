//! The body of `POST /permission`: a permission request that a hook holds, in the words of the wire. What the tool is
//! called with stays out of the journal.

use super::routes::refusal;
use crate::secret::cut;
use axum::http::StatusCode;
use axum::response::Response;
use relay_runner_core::event::{ApprovalRequest, PermissionAsk};
use serde::Deserialize;

/// The longest id that is taken; others' words are cut to it.
const TEXT_MOST: usize = 300;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PermissionBody {
    approval_id: String,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    tool: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    provider_session_id: Option<String>,
    #[serde(default)]
    pid: Option<u32>,
}

impl PermissionBody {
    #[expect(clippy::result_large_err, reason = "the refusal is the answer, made once and sent at once")]
    pub(super) fn ask(self) -> Result<PermissionAsk, Response> {
        // The id comes back in the decision, so it cannot be cut.
        if self.approval_id.is_empty() || cut(&self.approval_id, TEXT_MOST) != self.approval_id {
            let why = format!("`approvalId` must be one line of 1 to {TEXT_MOST} characters");
            return Err(refusal(StatusCode::UNPROCESSABLE_ENTITY, "bad_body", &why));
        }
        let text = |text: Option<String>| text.map(|t| cut(&t, TEXT_MOST).into());
        Ok(PermissionAsk {
            approval: ApprovalRequest {
                id: self.approval_id.into(),
                kind: text(self.kind).unwrap_or_else(|| "tool".into()),
                tool: text(self.tool),
                reason: text(self.reason),
            },
            session: self.provider_session_id.map(Into::into),
            pid: self.pid,
        })
    }
}
