//! Threads, replies owed, reactions.

use axum::http::StatusCode;
use relay_runner_protocol::reply::React;

use super::call::{Call, Reply};
use crate::store::ThreadQuery;

pub(super) async fn thread(call: Call) -> Reply {
    let (id, query) = (call.number()?, call.query::<ThreadQuery>()?);
    call.read(move |tx| tx.thread(id, query)).await
}

pub(super) async fn cursor(call: Call) -> Reply {
    call.read(|tx| tx.message_cursor()).await
}

pub(super) async fn obligations(call: Call) -> Reply {
    let id = call.id.clone();
    call.read(move |tx| tx.obligations(&id)).await
}

pub(super) async fn react(call: Call) -> Reply {
    let (id, body) = (call.number()?, call.body::<React>()?);
    call.write(StatusCode::OK, move |tx| tx.react(id, &body)).await
}

pub(super) async fn reactions(call: Call) -> Reply {
    let id = call.number()?;
    call.read(move |tx| tx.reactions(id)).await
}
