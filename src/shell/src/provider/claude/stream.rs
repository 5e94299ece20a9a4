//! Claude Code in its print mode, on pipes: JSON both ways, for machines without tmux. It goes with the runner.
//!
//! [`session`] decides what is said, without any I/O; [`generation`] owns the process.

mod generation;
mod session;
pub mod transcript;
mod words;

use super::Setting;
use super::launch::Conversation;
use crate::input::Inputs;
use crate::provider::living::Living;
use crate::provider::reporter::Reporter;
use crate::provider::{Adopt, Deed, Provider, Start, leftover, shown};
use crate::secret::random_id;
use generation::{Running, Say};
use relay_runner_core::config::Approval;
use relay_runner_core::event::FailureKind;
use relay_runner_core::{Generation, OpId, StopStep, format};
use session::{Ask, Opening};
use std::pin::Pin;

#[derive(Debug)]
pub(super) struct Stream {
    setting: Setting,
    living: Living<Say>,
}

impl Stream {
    pub(super) const fn new(setting: Setting, inputs: Inputs) -> Self {
        Self { setting, living: Living::new(inputs) }
    }

    /// An operation that comes to nothing at once.
    fn refuse(op: OpId, reporter: Reporter, kind: FailureKind, why: String) {
        tokio::spawn(async move { reporter.fail(op, kind, &why).await });
    }
}

impl Provider for Stream {
    fn start(&mut self, start: Start) {
        let conversation = Conversation::of(start.resume.as_deref(), &self.setting);
        let (conversation, seed) = match conversation.and_then(|conversation| Ok((conversation, random_id()?))) {
            Ok(both) => both,
            Err(error) => {
                let why = format!("no id for a conversation could be made: {error}");
                return Self::refuse(start.op, start.reporter, FailureKind::Io, why);
            }
        };
        if let (Some(gone), Conversation::New(_)) = (&start.resume, &conversation) {
            tracing::warn!(
                "claude has no conversation {gone} any more, or nothing was said in it; another one is begun"
            );
        }
        let opening = Opening {
            generation: start.generation.0,
            conversation: conversation.id().to_owned(),
            seed,
            allows_all: self.setting.approval == Approval::Open,
        };
        let (setting, reporter) = (self.setting.clone(), start.reporter.clone());
        self.living.begin(reporter, |told| Running { setting, start, conversation, opening, told }.run());
    }

    /// Its pipes ended with its runner: what is left of it is killed.
    fn adopt(&mut self, adopt: Adopt) {
        let session = leftover::session_of(adopt.process.pid);
        let killed = leftover::kill_leftover(&adopt.process, &self.setting.runner_dir);
        if let Some(session) = session {
            leftover::kill_rest(&session, &self.setting.runner_dir);
        }
        let what = if killed { "was killed" } else { "has ended" };
        let why = format!("claude (process {}) was on pipes of the last run, and {what}", adopt.process.pid);
        Self::refuse(adopt.op, adopt.reporter, FailureKind::NotFound, why);
    }

    fn act(&mut self, generation: Generation, op: OpId, deed: Deed) {
        self.living.say(generation, op, Say { op, ask: ask(deed) });
    }

    fn stop(&mut self, generation: Generation, step: StopStep) {
        self.living.stop(generation, step);
    }

    fn end(self: Box<Self>, _leave_adoptable: bool) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.living.end(false)
    }
}

/// A deed in the terms of print mode.
fn ask(deed: Deed) -> Ask {
    match deed {
        Deed::Offer(offers) => {
            Ask::Offer { text: shown::batch(&offers), offers: shown::named(offers.iter().map(|handed| &handed.offer)) }
        }
        Deed::Prompt(text) => Ask::Prompt { text: text.to_string() },
        Deed::Inject(text) => Ask::Tell { text: text.to_string() },
        Deed::Tell { message, why } => Ask::Tell { text: format::withdrawn(message, &why) },
        Deed::Interrupt => Ask::Interrupt,
        Deed::Probe => Ask::Probe,
        Deed::Compact => Ask::Compact,
        Deed::Clear => Ask::Clear,
        Deed::Decide { approval, decision, reason } => {
            Ask::Decide { approval: approval.to_string(), decision, reason: reason.as_deref().map(str::to_owned) }
        }
    }
}

#[cfg(test)]
mod tests;
