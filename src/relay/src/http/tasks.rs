//! `/api/tasks`.

use axum::http::StatusCode;
use relay_runner_protocol::task::{NewTask, TaskReport};

use super::call::{Call, Reply};
use crate::store::TaskQuery;

pub(super) async fn create(call: Call) -> Reply {
    let body: NewTask = call.body()?;
    call.write(StatusCode::CREATED, move |tx| tx.create_task(&body)).await
}

pub(super) async fn list(call: Call) -> Reply {
    let query: TaskQuery = call.query()?;
    call.read(move |tx| tx.tasks(query)).await
}

pub(super) async fn read(call: Call) -> Reply {
    let id = call.number()?;
    call.read(move |tx| tx.task(id)).await
}

pub(super) async fn cancel(call: Call) -> Reply {
    let id = call.number()?;
    call.write(StatusCode::OK, move |tx| tx.cancel_task(id)).await
}

pub(super) async fn report(call: Call) -> Reply {
    let (id, body) = (call.number()?, call.body::<TaskReport>()?);
    call.write(StatusCode::OK, move |tx| tx.report_task(id, &body)).await
}
