//! What the control server answers to.

use super::hook;
use super::permission::permission;
use super::report::ReportBody;
use super::{Beside, monitoring, verbs};
use super::{events, metrics, terminal, why};
use crate::input::{Input, Inputs};
use crate::secret;
use crate::tokens::Token;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use relay_runner_core::event::CommandOrder;
use relay_runner_core::{Answer, Outcome, Text, wire};
use relay_runner_protocol::token::RecordGiven;
use relay_runner_protocol::{CommandType, frame};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::oneshot;

/// The largest body that is taken.
pub(super) const BODY_MOST: usize = 64 * 1024;

pub(super) fn router(inputs: &Inputs, beside: &Beside) -> Router {
    Router::new()
        .route("/state", get(state))
        .route("/status", get(status).post(report))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/command", post(command))
        .route("/permission", post(permission))
        .route("/hook/{event}", post(hook::hook))
        .route("/obligations", get(hook::obligations))
        .route("/token", post(token))
        .merge(verbs::routes(inputs, &beside.relay))
        .merge(monitoring::routes(&beside.monitor))
        .route("/why", get(why::why))
        .route("/events", get(events::events))
        .route("/metrics", get(metrics::metrics))
        .route("/terminal", get(terminal::terminal))
        .fallback(|| async { refusal(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path") })
        .method_not_allowed_fallback(|| async {
            refusal(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path takes another method")
        })
        .layer(Extension(beside.hooked.clone()))
        .layer(Extension(hook::AllowsAll(beside.allows_all)))
        .layer(DefaultBodyLimit::max(BODY_MOST))
        .with_state(inputs.clone())
}

/// An error in the form in which all are given.
pub(super) fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    (status, axum::Json(json!({"error": {"code": code, "message": message}}))).into_response()
}

pub(super) fn ending() -> Response {
    refusal(StatusCode::SERVICE_UNAVAILABLE, "ending", "the runner is ending")
}

pub(super) async fn look(inputs: &Inputs) -> Option<Arc<str>> {
    let (answer, answered) = oneshot::channel();
    if !inputs.send(Input::Look(answer)).await {
        return None;
    }
    answered.await.ok()
}

async fn state(State(inputs): State<Inputs>) -> Response {
    match look(&inputs).await {
        Some(state) => {
            let json = HeaderValue::from_static("application/json");
            ([(header::CONTENT_TYPE, json)], state.to_string()).into_response()
        }
        None => ending(),
    }
}

/// The plain facts of the state, and why the agent is busy.
async fn status(State(inputs): State<Inputs>) -> Response {
    let Some(Ok(Value::Object(state))) = look(&inputs).await.map(|state| serde_json::from_str(&state)) else {
        return ending();
    };
    let short: Map<String, Value> =
        state.into_iter().filter(|(key, v)| key == "busyReasons" || !(v.is_array() || v.is_object())).collect();
    axum::Json(short).into_response()
}

async fn healthz() -> Response {
    axum::Json(json!({"ok": true})).into_response()
}

async fn readyz(State(inputs): State<Inputs>) -> Response {
    let Some(state) = look(&inputs).await else { return ending() };
    let ready = serde_json::from_str::<Value>(&state).is_ok_and(|state| state["ready"] == true);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(json!({"ready": ready}))).into_response()
}

async fn report(State(inputs): State<Inputs>, body: Result<Bytes, BytesRejection>) -> Response {
    let report = match read::<ReportBody>(body) {
        Ok(report) => Box::new(report.into()),
        Err(refusal) => return refusal,
    };
    let (answer, answered) = oneshot::channel();
    if !inputs.send(Input::Report { report, answer }).await {
        return ending();
    }
    match answered.await {
        Ok(Answer::Busy(reasons)) => {
            let reasons: Vec<&str> = reasons.iter().map(|r| &**r).collect();
            axum::Json(json!({"ok": true, "busyReasons": reasons})).into_response()
        }
        Ok(Answer::Stale) => {
            refusal(StatusCode::CONFLICT, "stale_session", "the report is not of the living provider session")
        }
        Ok(Answer::Command(_) | Answer::Permission { .. } | Answer::Token { .. } | Answer::Hook { .. }) | Err(_) => {
            ending()
        }
    }
}

#[derive(Debug, Deserialize)]
struct CommandBody {
    #[serde(rename = "type")]
    name: String,
    #[serde(default)]
    params: Option<Map<String, Value>>,
}

async fn command(State(inputs): State<Inputs>, body: Result<Bytes, BytesRejection>) -> Response {
    let CommandBody { name, params } = match read(body) {
        Ok(command) => command,
        Err(refusal) => return refusal,
    };
    let Some((order, content)) = order(&name, params.unwrap_or_default()) else {
        let known: Vec<&str> = CommandType::ALL.iter().map(|t| t.as_str()).collect();
        let message = format!("unknown command type `{}`; known: {}", secret::cut(&name, 100), known.join(", "));
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, "unknown_command", &message);
    };
    let (answer, answered) = oneshot::channel();
    if !inputs.send(Input::Command { order: Box::new(order), content, answer }).await {
        return ending();
    }
    match answered.await {
        Ok(Answer::Command(outcome)) => outcome_response(&outcome),
        Ok(
            Answer::Busy(_) | Answer::Stale | Answer::Permission { .. } | Answer::Token { .. } | Answer::Hook { .. },
        )
        | Err(_) => ending(),
    }
}

/// A new runtime token, in the words in which a relay gives one; the record's fields may stand beside it as well.
#[derive(Deserialize)]
struct TokenBody {
    token: String,
    #[serde(default)]
    record: Option<RecordGiven>,
    #[serde(flatten)]
    beside: RecordGiven,
}

async fn token(State(inputs): State<Inputs>, body: Result<Bytes, BytesRejection>) -> Response {
    let TokenBody { token, record, beside } = match read(body) {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let token = match Token::new(&token, wire::token_record(record.unwrap_or(beside))) {
        Ok(token) => token,
        Err(why) => return refusal(StatusCode::UNPROCESSABLE_ENTITY, "bad_body", &format!("`token`: {why}")),
    };
    let (answer, answered) = oneshot::channel();
    if !inputs.send(Input::Token { token, answer: Some(answer) }).await {
        return ending();
    }
    match answered.await {
        Ok(Answer::Token { accepted: true }) => axum::Json(json!({"ok": true})).into_response(),
        Ok(Answer::Token { accepted: false }) => {
            refusal(StatusCode::UNPROCESSABLE_ENTITY, "expired_token", "the token has ended already")
        }
        Ok(Answer::Command(_) | Answer::Busy(_) | Answer::Stale | Answer::Permission { .. } | Answer::Hook { .. })
        | Err(_) => ending(),
    }
}

fn outcome_response(outcome: &Outcome) -> Response {
    match outcome {
        Outcome::Succeeded { action, reason, provider_result } => {
            let provider_result = provider_result.as_deref().map(|text| {
                // Canonical JSON text by contract; shown as text should it not be.
                serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
            });
            let mut answer = json!({"ok": true, "action": &**action});
            if let Some(reason) = reason {
                answer["reason"] = json!(&**reason);
            }
            if let Some(result) = provider_result {
                answer["providerResult"] = result;
            }
            axum::Json(answer).into_response()
        }
        Outcome::Failed { message } => refusal(StatusCode::CONFLICT, "command_failed", message),
    }
}

/// A command as the core takes it, with the content it may carry. Read by the same code as a command of the relay, so
/// that both mean the same. Short names are taken as well, and `approve` and `deny`.
pub(crate) fn order(name: &str, mut params: Map<String, Value>) -> Option<(CommandOrder, Option<Text>)> {
    let kind = match name {
        "approve" | "deny" => {
            params.insert("decision".to_owned(), Value::from(name));
            CommandType::PermissionDecision
        }
        name => CommandType::parse(name).or_else(|| CommandType::parse(&format!("agent.{name}")))?,
    };
    // Random: outcomes are remembered by it, across runs.
    let id = format!("local-{}", secret::random_id().ok()?);
    let params = Value::Object(params);
    let wire = frame::CommandOrder { command_id: id, command_type: kind.as_str().to_owned(), target: None, params };
    Some(wire::command(wire))
}

#[expect(clippy::result_large_err, reason = "the refusal is the answer, made once and sent at once")]
pub(super) fn read<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Response> {
    let body = body.map_err(|rejection| {
        let status = rejection.status();
        let code = if status == StatusCode::PAYLOAD_TOO_LARGE { "too_large" } else { "bad_body" };
        refusal(status, code, &format!("the body cannot be taken (at most {BODY_MOST} bytes): {rejection}"))
    })?;
    let bad =
        |status, why: String| refusal(status, "bad_body", &format!("the body is not what this path takes: {why}"));
    let value: Value = serde_json::from_slice(&body).map_err(|e| bad(StatusCode::BAD_REQUEST, e.to_string()))?;
    if !value.is_object() {
        return Err(bad(StatusCode::UNPROCESSABLE_ENTITY, "it must be a JSON object".to_owned()));
    }
    serde_json::from_value(value).map_err(|e| bad(StatusCode::UNPROCESSABLE_ENTITY, e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("an object") };
        map
    }

    #[test]
    fn local_commands_mean_what_the_relays_mean() {
        let (order, content) = order("agent.injectContext", object(json!({"content": " x ", "reason": "r"}))).unwrap();
        assert_eq!(&*order.name, "agent.injectContext");
        assert_eq!(order.params.reason.as_deref(), Some("r"));
        assert_eq!(order.params.content.unwrap().trimmed, 1);
        assert_eq!(content.as_deref(), Some(" x "));
        assert!(order.id.starts_with("local-") && order.target.is_none());
    }

    #[test]
    fn short_names_and_decisions_are_understood() {
        assert_eq!(&*order("restart", Map::new()).unwrap().0.name, "agent.restart");
        let (deny, _) = order("deny", object(json!({"approvalId": "a1"}))).unwrap();
        assert_eq!(&*deny.name, "agent.permissionDecision");
        assert_eq!((deny.params.approval.as_deref(), deny.params.decision.as_deref()), (Some("a1"), Some("deny")));
        assert!(order("dance", Map::new()).is_none());
    }
}
