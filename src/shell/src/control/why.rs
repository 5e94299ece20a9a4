//! `GET /why`: what the agent is, why, since which event, and what comes next by itself.

use super::routes::ending;
use crate::input::{Input, Inputs};
use crate::observed::{Ask, Began, Observed};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use relay_runner_core::{Core, Stamp};
use serde_json::{Value, json};
use std::path::Path;
use tokio::sync::oneshot;

pub(super) async fn why(State(inputs): State<Inputs>) -> Response {
    let (answer, answered) = oneshot::channel();
    if !inputs.send(Input::Observe(Ask::Why(answer))).await {
        return ending();
    }
    answered.await.map_or_else(|_| ending(), |why| axum::Json(why).into_response())
}

/// Numbers of events are those of the journal's records in this run.
pub(crate) fn answer(core: &Core, observed: &Observed, now: Stamp, journal: &Path) -> Value {
    let (glance, why, view) = (core.glance(), core.why(), core.view());
    let since = &observed.since;
    let part =
        |is: Value, since: Began, because: &[String]| json!({"is": is, "because": because, "since": began(since, now)});
    let deadlines: Vec<Value> = view
        .deadlines
        .iter()
        .map(|deadline| {
            let name = deadline.what;
            json!({"what": name, "inMs": deadline.at.saturating_sub(now.mono), "means": name.words()})
        })
        .collect();
    let approvals: Vec<&str> = view.approvals.iter().map(|approval| approval.id).collect();
    json!({
        "agentId": view.agent_id,
        "at": now.wall,
        "newest": began(observed.newest, now),
        "status": part(json!(glance.status), since.status, &why.status),
        "ready": part(json!(glance.ready), since.ready, &why.ready),
        "lifecycle": part(json!(glance.lifecycle), since.lifecycle, &why.lifecycle),
        "link": part(json!(glance.link), since.link, &why.link),
        "lifecycleAction": {"is": glance.lifecycle_action, "since": began(since.action, now)},
        "approvals": approvals,
        "deadlines": deadlines,
        "journal": {"file": journal, "broken": view.journal_broken},
    })
}

fn began(began: Began, now: Stamp) -> Value {
    let ago = now.mono.saturating_sub(began.at.mono);
    json!({"event": began.event, "what": began.words, "at": began.at.wall, "agoMs": ago})
}
