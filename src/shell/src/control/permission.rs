//! The body of `POST /permission`: a permission request that a hook holds, in the words of the wire. What the tool is
//! called with stays out of the journal.

use super::routes::{ending, read, refusal};
use super::unheard::Unheard;
use crate::input::{Input, Inputs};
use crate::secret::cut;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use relay_runner_core::effect::Decision;
use relay_runner_core::event::{ApprovalRequest, HookReport, PermissionAsk};
use relay_runner_core::{Answer, Text};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

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
    /// What the tool is called with.
    #[serde(default)]
    input: Option<Value>,
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
            pids: Vec::new(),
        })
    }
}

/// What became of a request that was held.
pub(super) enum Decided {
    /// None: nobody decided, and the question stays open in the provider.
    By(Option<Decision>, Option<Text>),
    Stale,
    Ending,
}

/// Held until somebody decides, or the time for that is over. `input` is for whoever decides.
pub(super) async fn held(inputs: &Inputs, ask: PermissionAsk, input: Option<String>) -> Decided {
    let (answer, answered) = oneshot::channel();
    // Nobody is left to be told: the provider does not ask any more, or has asked the person in its own dialog.
    let pids = ask.pid.iter().chain(&ask.pids).copied().collect();
    let answered_elsewhere = Some(ask.approval.id.clone());
    let gone = HookReport { session: ask.session.clone(), pids, answered: answered_elsewhere, ..HookReport::default() };
    let unheard = Unheard::new(inputs, Some(gone));
    if !inputs.send(Input::Permission { ask: Box::new(ask), input, answer }).await {
        unheard.heard();
        return Decided::Ending;
    }
    let answered = answered.await;
    unheard.heard();
    match answered {
        Ok(Answer::Permission { decision, reason }) => Decided::By(decision, reason),
        Ok(Answer::Stale) => Decided::Stale,
        Ok(Answer::Command(_) | Answer::Busy(_) | Answer::Token { .. } | Answer::Hook { .. }) | Err(_) => {
            Decided::Ending
        }
    }
}

pub(super) async fn permission(State(inputs): State<Inputs>, body: Result<Bytes, BytesRejection>) -> Response {
    let mut body = match read::<PermissionBody>(body) {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let input = body.input.take().filter(|input| !input.is_null()).map(|input| match input {
        Value::String(text) => text,
        other => other.to_string(),
    });
    let ask = match body.ask() {
        Ok(ask) => ask,
        Err(refusal) => return refusal,
    };
    match held(&inputs, ask, input).await {
        Decided::By(decision, reason) => {
            let decision = decision.map(Decision::as_str);
            axum::Json(json!({"decision": decision, "reason": reason.as_deref()})).into_response()
        }
        Decided::Stale => {
            refusal(StatusCode::CONFLICT, "stale_session", "the request is not of the living provider session")
        }
        Decided::Ending => ending(),
    }
}
