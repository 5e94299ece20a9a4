//! `/api/messages`, with claims, read marks and delivery stages.

use axum::http::StatusCode;
use relay_runner_protocol::claim::{Claim, ClaimChange};
use relay_runner_protocol::message::{DeliveryReport, MarkRead, NewMessage};

use super::call::{Call, Reply};

pub(super) async fn send(mut call: Call) -> Reply {
    let body: NewMessage = call.body()?;
    call.key = call.key.or_else(|| body.idempotency_key.clone());
    call.write(StatusCode::CREATED, move |tx| tx.send(&body)).await
}

pub(super) async fn read(call: Call) -> Reply {
    let id = call.number()?;
    call.read(move |tx| tx.message(id)).await
}

pub(super) async fn delete(call: Call) -> Reply {
    let id = call.number()?;
    call.write(StatusCode::OK, move |tx| tx.delete_message(id)).await
}

pub(super) async fn claim(call: Call) -> Reply {
    let (id, body) = (call.number()?, call.body::<Claim>()?);
    call.write(StatusCode::OK, move |tx| tx.claim(id, &body)).await
}

pub(super) async fn renew(call: Call) -> Reply {
    let (id, body) = (call.number()?, call.body::<ClaimChange>()?);
    call.write(StatusCode::OK, move |tx| tx.renew(id, &body)).await
}

pub(super) async fn release(call: Call) -> Reply {
    let (id, body) = (call.number()?, call.body::<ClaimChange>()?);
    call.write(StatusCode::OK, move |tx| tx.release(id, &body)).await
}

pub(super) async fn report_delivery(call: Call) -> Reply {
    let (id, body) = (call.number()?, call.body::<DeliveryReport>()?);
    call.write(StatusCode::OK, move |tx| tx.report_delivery(id, &body)).await
}

pub(super) async fn deliveries(call: Call) -> Reply {
    let id = call.number()?;
    call.read(move |tx| tx.deliveries(id)).await
}

pub(super) async fn mark_read(call: Call) -> Reply {
    let (id, body) = (call.number()?, call.body::<MarkRead>()?);
    call.write(StatusCode::OK, move |tx| tx.mark_read(id, &body)).await
}
