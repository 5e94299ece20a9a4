//! A close look at a core: what its view says, kept beyond the next step.

use std::collections::{BTreeMap, BTreeSet};

use relay_runner_core::ids::{Nonce, TaskId, TurnNumber};
use relay_runner_core::{Core, Generation, MessageId, Stamp, Text, TimerKey};
use relay_runner_protocol::{AgentStatus, Stage};

#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) boot: &'static str,
    pub(super) prompt: &'static str,
    pub(super) process: &'static str,
    pub(super) generation: Generation,
    pub(super) pid: Option<u32>,
    pub(super) link: &'static str,
    /// Of the last event of the bus that was taken in.
    pub(super) position: u64,
    pub(super) renewal: &'static str,
    pub(super) standing: &'static str,
    /// In seconds since the epoch.
    pub(super) token_ends: Option<u64>,
    pub(super) ending: &'static str,
    pub(super) why: Option<&'static str>,
    pub(super) turn: Option<TurnNumber>,
    pub(super) status: AgentStatus,
    pub(super) ready: bool,
    pub(super) overflow: bool,
    pub(super) reports: usize,
    pub(super) messages: BTreeMap<MessageId, Message>,
    pub(super) set_aside: BTreeSet<MessageId>,
    pub(super) claims: BTreeMap<MessageId, Claim>,
    /// Open ones, by name.
    pub(super) approvals: BTreeMap<String, &'static str>,
    pub(super) approvals_over: BTreeMap<String, &'static str>,
    /// Those without an outcome; the ones of this machine have no id.
    pub(super) commands: Vec<Order>,
    /// Each, and when it is due.
    pub(super) deadlines: Vec<(u64, TimerKey)>,
    pub(super) now: Stamp,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Message {
    pub(super) stage: Stage,
    pub(super) task: Option<TaskId>,
    pub(super) attempt: u32,
    pub(super) nonce: Nonce,
    pub(super) turn: Option<TurnNumber>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) state: &'static str,
    /// It was granted once.
    pub(super) granted: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) id: Option<Text>,
    pub(super) name: &'static str,
    pub(super) state: &'static str,
}

impl Look {
    pub(super) fn at(core: &Core) -> Self {
        let view = core.view();
        let message = |m: &relay_runner_core::view::MessageView| {
            let (task, attempt, nonce, turn) = (m.task, m.attempt, m.nonce, m.turn);
            (m.id, Message { stage: m.stage, task, attempt, nonce, turn })
        };
        let claim =
            |c: &relay_runner_core::view::ClaimView| (c.message, Claim { state: c.state, granted: c.fence.is_some() });
        let order = |c: &relay_runner_core::view::CommandView<'_>| Order {
            id: c.id.map(Into::into),
            name: c.name,
            state: c.state,
        };
        Self {
            boot: view.boot,
            prompt: view.first_prompt,
            process: view.process.state,
            generation: view.process.generation,
            pid: view.process.process.map(|process| process.pid),
            link: view.link.state,
            position: view.link.position,
            renewal: view.credential.renewal,
            standing: view.credential.standing,
            token_ends: view.credential.expires_at,
            ending: view.ending_phase,
            why: view.ending,
            turn: view.turn,
            status: view.status,
            ready: view.ready,
            overflow: view.inbox_overflow,
            reports: view.reports_waiting,
            messages: view.messages.iter().map(message).collect(),
            set_aside: view.set_aside.iter().map(|aside| aside.id).collect(),
            claims: view.claims.iter().map(claim).collect(),
            approvals: view.approvals.iter().map(|open| (open.id.to_owned(), open.state)).collect(),
            approvals_over: view.approvals_over.iter().map(|over| (over.id.to_owned(), over.how)).collect(),
            commands: view.commands.iter().map(order).collect(),
            deadlines: view.deadlines.iter().map(|deadline| (deadline.at, deadline.what)).collect(),
            now: view.now,
        }
    }

    /// There is a process, or there will be in a moment.
    pub(super) fn is_alive(&self) -> bool {
        !matches!(self.process, "idle" | "parked" | "cooling")
    }

    pub(super) fn is_starting(&self) -> bool {
        matches!(self.process, "adopting" | "starting")
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.process, "waiting" | "working")
    }

    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.process, "draining" | "terminating" | "killing")
    }

    pub(super) fn ends(&self) -> bool {
        self.ending != "none"
    }

    /// Whether a command of this name waits for its outcome.
    pub(super) fn waits(&self, name: &str) -> bool {
        self.commands.iter().any(|order| order.name == name)
    }

    /// Messages at this stage.
    pub(super) fn at_stage(&self, stage: Stage) -> impl Iterator<Item = (MessageId, &Message)> {
        self.messages.iter().filter(move |(_, message)| message.stage == stage).map(|(id, message)| (*id, message))
    }

    /// What a provider has, or may have.
    pub(super) fn with_provider(&self) -> impl Iterator<Item = (MessageId, &Message)> {
        let has = |message: &Message| matches!(message.stage, Stage::Offered | Stage::Taken | Stage::Ambiguous);
        self.messages.iter().filter(move |(_, message)| has(message)).map(|(id, message)| (*id, message))
    }

    /// What waits to be offered.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (MessageId, &Message)> {
        let waits = |message: &Message| matches!(message.stage, Stage::Held | Stage::Claimed);
        self.messages.iter().filter(move |(_, message)| waits(message)).map(|(id, message)| (*id, message))
    }
}
