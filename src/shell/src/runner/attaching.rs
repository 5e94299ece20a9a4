//! Attachments of a message, on their way before its offer.

use super::Runner;
use crate::clock;
use crate::input::{Input, Task, caught};
use relay_runner_core::OpId;
use relay_runner_core::event::{Failure, FailureKind};
use relay_runner_protocol::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

impl Runner {
    /// What a message carries say its words, which may have to be fetched first.
    pub(super) fn fetch_attachments(&mut self, op: OpId, message: u64, within: Duration) {
        let deadline = clock::after(within);
        if let Some(words) = self.bodies.message(message) {
            return self.fetch_attached(op, &words, deadline);
        }
        let (relay, inputs) = (self.http.relay(), self.inputs.clone());
        let task = Task::start("HTTP", &self.inputs, async move {
            let message = match tokio::time::timeout_at(deadline, relay.message(message)).await {
                Ok(message) => message.map(Box::new),
                Err(_) => Err(Failure { kind: FailureKind::TimedOut, text: "its words did not come in time".into() }),
            };
            inputs.send(Input::ToAttach { op, deadline, message }).await;
        });
        self.fetches.insert(op, task);
    }

    pub(super) fn fetch_attached(&mut self, op: OpId, words: &Arc<Message>, deadline: Instant) {
        let core = &self.core;
        let plan = self.attachments.plan(op, words, |message| core.holds(message));
        let (relay, inputs, message) = (self.http.relay(), self.inputs.clone(), words.id);
        let task = Task::start("attachments", &self.inputs, async move {
            let files = match caught(plan.carry_out(relay, deadline)).await {
                Ok(files) => files,
                Err(what) => {
                    inputs.fault(format!("fetching attachments panicked: {what}")).await;
                    Vec::new()
                }
            };
            inputs.send(Input::Attached { op, message, files }).await;
        });
        self.fetches.insert(op, task);
    }
}
