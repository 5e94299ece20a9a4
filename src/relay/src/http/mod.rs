//! The HTTP side: routes, and what goes for all of them.

mod agents;
mod artifacts;
mod call;
mod commands;
mod door;
mod events;
mod messages;
mod replies;
mod tasks;
mod tokens;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use relay_runner_protocol::health::Health;
use relay_runner_protocol::http::{
    AGENTS, ARTIFACTS, BUS, COMMANDS, EVENTS, HEALTH, MESSAGE_CURSOR, MESSAGES, TASKS, TOKEN_RENEWAL, TOKENS, route,
};

use crate::refusal::{Refusal, Result};
use crate::{App, bus, clock};

/// Bytes of a request's body.
pub(crate) const MAX_BODY: usize = 1 << 20;

pub(crate) fn router(app: Arc<App>) -> Router {
    let door = from_fn_with_state(Arc::clone(&app), door::check);
    Router::new()
        .route(BUS, get(bus::upgrade))
        .route(AGENTS, get(agents::list).post(agents::register))
        .route(route::AGENT, get(agents::read).delete(agents::delete))
        .route(route::AGENT_STATUS, post(agents::status))
        .route(route::AGENT_READY, post(agents::ready))
        .route(route::AGENT_HEARTBEAT, post(agents::heartbeat))
        .route(route::AGENT_INBOX, get(agents::inbox))
        .route(route::AGENT_OBLIGATIONS, get(replies::obligations))
        .route(route::AGENT_LABEL, put(agents::label))
        .route(route::AGENT_TAGS, put(agents::tags))
        .route(MESSAGES, post(messages::send))
        .route(route::MESSAGE, get(messages::read).delete(messages::delete))
        .route(route::CLAIM, post(messages::claim))
        .route(route::CLAIM_RENEW, post(messages::renew))
        .route(route::CLAIM_RELEASE, post(messages::release))
        .route(route::DELIVERY, get(messages::deliveries).post(messages::report_delivery))
        .route(route::READ, post(messages::mark_read))
        .route(route::REACTIONS, get(replies::reactions).post(replies::react))
        .route(route::THREAD, get(replies::thread))
        .route(MESSAGE_CURSOR, get(replies::cursor))
        .route(TASKS, get(tasks::list).post(tasks::create))
        .route(route::TASK, get(tasks::read).delete(tasks::cancel))
        .route(route::TASK_STATUS, post(tasks::report))
        .route(COMMANDS, post(commands::issue))
        .route(route::COMMAND, get(commands::read))
        .route(route::COMMAND_STATUS, post(commands::report))
        .route(ARTIFACTS, post(artifacts::upload))
        .route(route::ARTIFACT, get(artifacts::download))
        .route(EVENTS, get(events::stream))
        .route(TOKENS, post(tokens::issue))
        .route(TOKEN_RENEWAL, post(tokens::renew))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(door)
        // Outside the door: whether a relay is there is no secret, and a probe has no token.
        .route(HEALTH, get(health))
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
