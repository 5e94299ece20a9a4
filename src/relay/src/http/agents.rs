//! `/api/agents`.

use axum::http::StatusCode;
use relay_runner_protocol::Session;
use relay_runner_protocol::agent::{Heartbeat, RegisterAgent, SetLabel, SetReady, SetStatus, SetTags};

use super::call::{Call, Reply};
use crate::store::InboxQuery;

pub(super) async fn register(call: Call) -> Reply {
    let body: RegisterAgent = call.body()?;
    call.write(StatusCode::CREATED, move |tx| tx.register(&body.into())).await
}

pub(super) async fn list(call: Call) -> Reply {
    call.read(|tx| tx.agents()).await
}

pub(super) async fn read(call: Call) -> Reply {
    let id = call.id.clone();
    call.read(move |tx| tx.agent(&id)).await
}

pub(super) async fn delete(call: Call) -> Reply {
    let (id, session) = (call.id.clone(), call.query::<Session>()?);
    call.write(StatusCode::OK, move |tx| tx.delete_agent(&id, &session)).await
}

// Status, ready and heartbeat take no idempotency key: they are numbered, or say the same each time.

pub(super) async fn status(call: Call) -> Reply {
    let (id, body) = (call.id.clone(), call.body::<SetStatus>()?);
    call.read(move |tx| tx.set_status(&id, &body)).await
}

pub(super) async fn ready(call: Call) -> Reply {
    let (id, body) = (call.id.clone(), call.body::<SetReady>()?);
    call.read(move |tx| tx.set_ready(&id, &body)).await
}

pub(super) async fn heartbeat(call: Call) -> Reply {
    let (id, body) = (call.id.clone(), call.body::<Heartbeat>()?);
    call.read(move |tx| tx.heartbeat(&id, &body.session)).await
}

pub(super) async fn inbox(call: Call) -> Reply {
    let (id, query) = (call.id.clone(), call.query::<InboxQuery>()?);
    call.read(move |tx| tx.inbox(&id, query)).await
}

pub(super) async fn label(call: Call) -> Reply {
    let (id, body) = (call.id.clone(), call.body::<SetLabel>()?);
    call.write(StatusCode::OK, move |tx| tx.set_label(&id, body.label.as_deref())).await
}

pub(super) async fn tags(call: Call) -> Reply {
    let (id, body) = (call.id.clone(), call.body::<SetTags>()?);
    call.write(StatusCode::OK, move |tx| tx.set_tags(&id, &body.tags)).await
}
