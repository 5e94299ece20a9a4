//! What is served where, and what it is answered by.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodRouter, delete, get, post, put};
use relay_runner_protocol::http::{
    AGENTS, ARTIFACTS, BUS, COMMANDS, EVENTS, HEALTH, MESSAGE_CURSOR, MESSAGES, SPEC, TASKS, TOKEN_RENEWAL, TOKENS,
    route,
};

use super::{agents, artifacts, commands, events, health, messages, replies, spec, tasks, tokens};
use crate::{App, bus};

/// A router that knows what is in it.
#[derive(Default)]
pub(super) struct Routes {
    pub(super) router: Router<Arc<App>>,
    /// Compared with the document by a test.
    pub(super) known: Vec<(&'static str, &'static str)>,
}

impl Routes {
    /// What needs no token: whether a relay is there is no secret, and a probe has none.
    pub(super) fn open() -> Self {
        Self::default().get(HEALTH, health)
    }

    pub(super) fn guarded() -> Self {
        Self::default()
            .get(SPEC, spec::spec)
            .get(BUS, bus::upgrade)
            .get(EVENTS, events::stream)
            .get(AGENTS, agents::list)
            .post(AGENTS, agents::register)
            .get(route::AGENT, agents::read)
            .delete(route::AGENT, agents::delete)
            .post(route::AGENT_STATUS, agents::status)
            .post(route::AGENT_READY, agents::ready)
            .post(route::AGENT_HEARTBEAT, agents::heartbeat)
            .get(route::AGENT_INBOX, agents::inbox)
            .get(route::AGENT_OBLIGATIONS, replies::obligations)
            .put(route::AGENT_LABEL, agents::label)
            .put(route::AGENT_TAGS, agents::tags)
            .post(MESSAGES, messages::send)
            .get(MESSAGE_CURSOR, replies::cursor)
            .get(route::MESSAGE, messages::read)
            .delete(route::MESSAGE, messages::delete)
            .get(route::THREAD, replies::thread)
            .post(route::CLAIM, messages::claim)
            .post(route::CLAIM_RENEW, messages::renew)
            .post(route::CLAIM_RELEASE, messages::release)
            .get(route::DELIVERY, messages::deliveries)
            .post(route::DELIVERY, messages::report_delivery)
            .post(route::READ, messages::mark_read)
            .get(route::REACTIONS, replies::reactions)
            .post(route::REACTIONS, replies::react)
            .get(TASKS, tasks::list)
            .post(TASKS, tasks::create)
            .get(route::TASK, tasks::read)
            .delete(route::TASK, tasks::cancel)
            .post(route::TASK_STATUS, tasks::report)
            .post(COMMANDS, commands::issue)
            .get(route::COMMAND, commands::read)
            .post(route::COMMAND_STATUS, commands::report)
            .post(TOKENS, tokens::issue)
            .post(TOKEN_RENEWAL, tokens::renew)
            .post(ARTIFACTS, artifacts::upload)
            .get(route::ARTIFACT, artifacts::download)
    }

    fn get<T: 'static>(self, path: &'static str, handler: impl Handler<T, Arc<App>>) -> Self {
        self.serve("GET", path, get(handler))
    }

    fn post<T: 'static>(self, path: &'static str, handler: impl Handler<T, Arc<App>>) -> Self {
        self.serve("POST", path, post(handler))
    }

    fn put<T: 'static>(self, path: &'static str, handler: impl Handler<T, Arc<App>>) -> Self {
        self.serve("PUT", path, put(handler))
    }

    fn delete<T: 'static>(self, path: &'static str, handler: impl Handler<T, Arc<App>>) -> Self {
        self.serve("DELETE", path, delete(handler))
    }

    fn serve(mut self, method: &'static str, path: &'static str, handler: MethodRouter<Arc<App>>) -> Self {
        self.router = self.router.route(path, handler);
        self.known.push((method, path));
        self
    }
}
