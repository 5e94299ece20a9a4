//! The HTTP side: routes, and what goes for all of them.

mod agents;
mod artifacts;
mod call;
mod commands;
mod door;
mod events;
mod messages;
mod replies;
mod routes;
mod spec;
mod tasks;
mod tokens;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::{Json, Router};
use relay_runner_protocol::health::Health;

use self::routes::Routes;
use crate::refusal::{Refusal, Result};
use crate::{App, clock};

/// Bytes of a request's body.
pub(crate) const MAX_BODY: usize = 1 << 20;

pub(crate) fn router(app: Arc<App>) -> Router {
    let door = from_fn_with_state(Arc::clone(&app), door::check);
    Routes::guarded()
        .router
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(door)
        .merge(Routes::open().router.method_not_allowed_fallback(unknown_method))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app)
}

async fn unknown_path(uri: Uri) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "unknown_path", format!("there is nothing at {}", uri.path()))
}

async fn unknown_method(method: Method, uri: Uri) -> Refusal {
    let message = format!("{method} is not a method of {}", uri.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

/// Asks the store, so that a relay which cannot do its work does not call itself healthy.
async fn health(axum::extract::State(app): axum::extract::State<Arc<App>>) -> Result<Json<Health>> {
    app.check_up()?;
    app.store.run(|tx| tx.newest_event()).await?;
    Ok(Json(Health { ok: true, version: env!("CARGO_PKG_VERSION").into(), time: clock::now() }))
}
