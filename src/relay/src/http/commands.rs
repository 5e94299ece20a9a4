//! `/api/commands`.

use axum::http::StatusCode;
use relay_runner_protocol::command::{CommandReport, NewCommand};

use super::call::{Call, Reply};

pub(super) async fn issue(call: Call) -> Reply {
    let body: NewCommand = call.body()?;
    call.write(StatusCode::CREATED, move |tx| tx.issue(&body)).await
}

pub(super) async fn read(call: Call) -> Reply {
    let id = call.id.clone();
    call.read(move |tx| tx.command(&id)).await
}

pub(super) async fn report(call: Call) -> Reply {
    let (id, body) = (call.id.clone(), call.body::<CommandReport>()?);
    call.write(StatusCode::OK, move |tx| tx.report_command(&id, &body)).await
}
