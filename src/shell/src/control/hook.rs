//! `POST /hook/{event}`: a hook of the provider as it writes it itself (behaviour 19), answered with what the core says
//! of it, and with the words that the hook's own protocol wants on standard output. `GET /obligations`: what is owed.

use super::permission::{Decided, held};
use super::routes::{ending, look, read, refusal};
use super::unheard::Unheard;
use crate::hooked::Hooked;
use crate::input::{Input, Inputs};
use crate::secret;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use relay_runner_core::effect::Decision;
use relay_runner_core::event::{HookReport, PermissionAsk};
use relay_runner_core::hooks::{self, Posted};
use relay_runner_core::{Answer, OwedReply, format};
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

/// Tools that ask a person something: what is allowed then is no answer.
const QUESTIONS: [&str; 2] = ["AskUserQuestion", "ExitPlanMode"];

/// Whether a permission is given without a question.
#[derive(Debug, Clone, Copy)]
pub(super) struct AllowsAll(pub(super) bool);

pub(super) async fn hook(
    State(inputs): State<Inputs>,
    Extension(hooked): Extension<Hooked>,
    Extension(AllowsAll(allows_all)): Extension<AllowsAll>,
    event: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    // A name that cannot be read is not known either.
    let event = event.map(|Path(event)| event).unwrap_or_default();
    let payload = match read::<Map<String, Value>>(body) {
        Ok(payload) => payload,
        Err(refusal) => return refusal,
    };
    if hooked.say(&event, &payload).await {
        return told(&event, &[], &[], false);
    }
    match hooks::read(&event, &payload) {
        Some(Posted::Report(hook)) => {
            let (answer, answered) = oneshot::channel();
            // Whoever asked may be gone before it is told that the end of its turn is held, and end it all the same.
            let held = hook.held_before.map(|_| HookReport { held_before: Some(true), ..(*hook).clone() });
            let unheard = Unheard::new(&inputs, held);
            if !inputs.send(Input::Hook { hook, answer }).await {
                return ending();
            }
            let answered = answered.await;
            unheard.heard();
            match answered {
                Ok(Answer::Hook { busy, owed, holds }) => told(&event, &busy, &owed, holds),
                Ok(Answer::Stale) => stale(),
                Ok(Answer::Command(_) | Answer::Busy(_) | Answer::Permission { .. } | Answer::Token { .. })
                | Err(_) => ending(),
            }
        }
        Some(Posted::Permission { ask, input }) => {
            let is_question = ask.approval.tool.as_deref().is_some_and(|tool| QUESTIONS.contains(&tool));
            let decided =
                if allows_all && !is_question { allowed(&inputs, ask).await } else { held(&inputs, ask, input).await };
            match decided {
                Decided::By(decision, reason) => {
                    let output = permission_output(decision, reason.as_deref());
                    let decision = decision.map(Decision::as_str);
                    let answer = json!({"decision": decision, "reason": reason.as_deref(), "output": output});
                    axum::Json(answer).into_response()
                }
                Decided::Stale => stale(),
                Decided::Ending => ending(),
            }
        }
        None => {
            let known: Vec<&str> = hooks::HOOKS.into_iter().chain([hooks::SESSION_END]).collect();
            let message = format!("unknown hook `{}`; known: {}", secret::cut(&event, 100), known.join(", "));
            refusal(StatusCode::NOT_FOUND, "unknown_hook", &message)
        }
    }
}

/// Without a question: for the core it is a sign of life, by which it also knows whose it is.
async fn allowed(inputs: &Inputs, ask: PermissionAsk) -> Decided {
    let (answer, answered) = oneshot::channel();
    let hook = Box::new(HookReport { session: ask.session, pids: ask.pids, ..HookReport::default() });
    if !inputs.send(Input::Hook { hook, answer }).await {
        return Decided::Ending;
    }
    match answered.await {
        Ok(Answer::Hook { .. }) => Decided::By(Some(Decision::Approve), None),
        Ok(Answer::Stale) => Decided::Stale,
        Ok(Answer::Command(_) | Answer::Busy(_) | Answer::Permission { .. } | Answer::Token { .. }) | Err(_) => {
            Decided::Ending
        }
    }
}

fn stale() -> Response {
    refusal(StatusCode::CONFLICT, "stale_session", "the hook is not of the living provider session")
}

fn told(event: &str, busy: &[relay_runner_core::Text], owed: &[OwedReply], holds: bool) -> Response {
    let list = format::owed(owed);
    let output = match event {
        // What it prints is read by the model.
        "SessionStart" if !list.is_empty() => Some(list),
        "Stop" if holds => Some(json!({"decision": "block", "reason": list}).to_string()),
        _ => None,
    };
    let busy: Vec<&str> = busy.iter().map(|reason| &**reason).collect();
    let owed: Vec<Value> = owed.iter().map(|owed| json!({"messageId": owed.message, "from": &*owed.from})).collect();
    axum::Json(json!({"ok": true, "busyReasons": busy, "owed": owed, "holds": holds, "output": output})).into_response()
}

/// What the permission hook of Claude Code prints; nothing where nobody decided, so that the dialog stays.
fn permission_output(decision: Option<Decision>, reason: Option<&str>) -> Option<String> {
    let decision = match decision? {
        Decision::Approve | Decision::ApproveSession => json!({"behavior": "allow"}),
        Decision::Deny => json!({"behavior": "deny", "message": reason.unwrap_or("denied")}),
        Decision::Abort => json!({"behavior": "deny", "message": reason.unwrap_or("denied"), "interrupt": true}),
    };
    Some(json!({"hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": decision}}).to_string())
}

/// What is owed, oldest message first, as the core remembers it: also while the relay cannot be reached.
pub(super) async fn obligations(State(inputs): State<Inputs>) -> Response {
    match look(&inputs).await.map(|state| serde_json::from_str::<Value>(&state)) {
        Some(Ok(mut state)) => axum::Json(json!({"obligations": state["owed"].take()})).into_response(),
        Some(Err(_)) | None => ending(),
    }
}
