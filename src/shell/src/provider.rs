//! Providers, seen from the loop: an acknowledged conversation.
//!
//! An adapter is told to start a process, to hand something over, or to stop, and never waits: answers and reports
//! come back as inputs, each with its operation or generation. What an adapter owes: every operation is answered;
//! every process that was spawned has exactly one exit, as its last report; and after an exit, or when the adapter is
//! dropped, nothing is left of the process group.

pub(crate) mod claude;
pub(crate) mod codex;
pub(crate) mod command;
pub(crate) mod foreground;
pub(crate) mod held;
pub(crate) mod leftover;
pub(crate) mod lines;
pub(crate) mod living;
pub(crate) mod log;
pub(crate) mod oddities;
pub(crate) mod overheard;
pub(crate) mod process;
pub(crate) mod reporter;
pub(crate) mod shown;
#[cfg(test)]
pub(crate) mod tested;
pub(crate) mod transcript;

use crate::attachments::Files;
use crate::control::terminal::Terminal;
use relay_runner_core::effect::Decision;
use relay_runner_core::event::ProcessRef;
use relay_runner_core::{Generation, Offer, Offers, OpId, StopStep, Text};
use relay_runner_protocol::Message;
use reporter::Reporter;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

/// Tells this program's verbs that an agent may call them where it may call nothing else: then they take no other address, credential,
/// file of settings or agent.
pub const CONFINED: &str = "AGENT_RELAY_CONFINED";

/// The verbs that speak for an agent: it may call them without asking, and from within a sandbox.
pub const AGENT_VERBS: [&str; 13] = [
    "agents",
    "disconnect",
    "label",
    "message",
    "obligations",
    "pair",
    "react",
    "read",
    "reply",
    "send-claimable",
    "status",
    "tags",
    "whoami",
];

/// A kind of provider, driven for one agent.
pub(crate) trait Provider: Send + std::fmt::Debug {
    /// Answered `Spawned` or `Failed`.
    fn start(&mut self, start: Start);

    /// Takes up the process of an earlier run. Answered `Spawned` or `Failed`, with nothing of it left; ready once it has
    /// said what it knows of the offers.
    fn adopt(&mut self, adopt: Adopt);

    /// Answered once it is handed over, or cannot be.
    fn act(&mut self, generation: Generation, op: OpId, deed: Deed);

    /// A step of stopping; of another generation than the living one it means nothing.
    fn stop(&mut self, generation: Generation, step: StopStep);

    /// How a person comes to a terminal of the provider's own, on this conversation.
    fn terminal(&self, _conversation: Option<&str>) -> Option<Terminal> {
        None
    }

    /// The run is over. Whatever lives is killed, unless it is to be taken up again.
    fn end(self: Box<Self>, leave_adoptable: bool) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// A process to be started.
pub(crate) struct Start {
    pub(crate) op: OpId,
    pub(crate) generation: Generation,
    pub(crate) env: BTreeMap<OsString, OsString>,
    pub(crate) cwd: PathBuf,
    /// The provider's own conversation to go on with; where that cannot be had, another is begun.
    pub(crate) resume: Option<Text>,
    pub(crate) reporter: Reporter,
}

/// The values of the environment hold the token: only its names are shown.
impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start")
            .field("op", &self.op)
            .field("generation", &self.generation)
            .field("env", &self.env.keys())
            .field("cwd", &self.cwd)
            .field("resume", &self.resume)
            .finish_non_exhaustive()
    }
}

/// A process to be taken up.
#[derive(Debug)]
pub(crate) struct Adopt {
    pub(crate) op: OpId,
    pub(crate) generation: Generation,
    pub(crate) process: ProcessRef,
    /// What it may have been offered, and may not have.
    pub(crate) offers: Offers,
    /// The last that it was known to be in.
    pub(crate) conversation: Option<Text>,
    pub(crate) reporter: Reporter,
}

/// How a generation begins, where both go the same way.
#[derive(Debug)]
pub(crate) enum Begin {
    Start(Start),
    Adopt(Adopt),
}

impl Begin {
    pub(crate) const fn reporter(&self) -> &Reporter {
        match self {
            Self::Start(start) => &start.reporter,
            Self::Adopt(adopt) => &adopt.reporter,
        }
    }
}

/// A message that is handed over, with what became of its attachments.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) offer: Offer,
    pub(crate) message: Arc<Message>,
    pub(crate) files: Files,
}

/// What is to be done, with the words to it.
#[derive(Debug)]
pub(crate) enum Deed {
    /// In order.
    Offer(Vec<Handed>),
    Prompt(Arc<str>),
    Interrupt,
    Probe,
    Compact,
    Clear,
    Inject(Arc<str>),
    /// The agent is told that a message is not its own any more.
    Tell {
        message: u64,
        why: Text,
    },
    Decide {
        approval: Text,
        decision: Decision,
        reason: Option<Text>,
    },
}
