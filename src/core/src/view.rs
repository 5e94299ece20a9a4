//! The core, seen from outside: read-only, for status, `/state`, and whoever checks it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use relay_runner_protocol::{AgentStatus, Stage};
use serde::Serialize;

use crate::Core;
use crate::claims::Phase;
use crate::deadlines::TimerKey;
use crate::effect::Repeat;
use crate::event::ProcessRef;
use crate::ids::{Epoch, Fence, Generation, MessageId, Nonce, TaskId, Text, TurnNumber};
use crate::time::{Millis, Mono, Stamp, Wall};

/// What the core knows, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View<'a> {
    pub agent_id: &'a str,
    pub runner_id: &'a str,
    pub provider: &'a str,
    pub status: AgentStatus,
    pub ready: bool,
    /// `shutting-down`, `killing`, `restarting` or `parked`.
    pub lifecycle_action: Option<&'static str>,
    /// `new`, `control` or `running`.
    pub boot: &'static str,
    /// The first prompt: `pending`, `saying` or `done`.
    pub first_prompt: &'static str,
    pub process: ProcessView<'a>,
    pub model: Option<ModelView<'a>>,
    pub context: Option<ContextView>,
    pub link: LinkView,
    pub credential: CredentialView<'a>,
    pub busy_reasons: Vec<&'a str>,
    /// Messages in the inbox, by stage.
    pub stages: BTreeMap<&'static str, usize>,
    pub messages: Vec<MessageView>,
    pub set_aside: Vec<SetAsideView<'a>>,
    pub claims: Vec<ClaimView>,
    pub turn: Option<TurnNumber>,
    pub approvals: Vec<ApprovalView<'a>>,
    /// Those that were over last, oldest first.
    pub approvals_over: Vec<ApprovalOverView<'a>>,
    /// Commands that have no outcome yet.
    pub commands: Vec<CommandView<'a>>,
    /// Replies that the agent owes.
    pub owed: Vec<OwedView<'a>>,
    /// Reports that the relay has not accepted yet.
    pub reports_waiting: usize,
    pub operations: usize,
    pub status_seq: u64,
    pub inbox_overflow: bool,
    pub malformed: u64,
    pub journal_broken: Option<&'a str>,
    pub ending: Option<&'static str>,
    pub ending_detail: Option<&'a str>,
    /// `none`, `draining`, `stopping`, `reporting`, `leaving` or `over`.
    pub ending_phase: &'static str,
    pub over: bool,
    pub next_deadline: Option<DeadlineView>,
    /// All of them, the earliest first.
    pub deadlines: Vec<DeadlineView>,
    pub now: Stamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessView<'a> {
    pub state: &'static str,
    pub generation: Generation,
    pub process: Option<&'a ProcessRef>,
    /// The provider's own conversation: the one that it is in, or that the next process goes on with.
    pub conversation: Option<&'a str>,
    /// The usage limit that is waited for.
    pub usage_limit: Option<UsageLimitView>,
    /// Exits in the restart window.
    pub exits: usize,
    pub parked: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageLimitView {
    /// None: it is not known.
    pub until: Option<Wall>,
}

/// Which model the provider uses: what it says itself, else what was configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelView<'a> {
    pub id: &'a str,
    pub effort: Option<&'a str>,
    /// When the provider said so; none: it was configured.
    pub probed_at: Option<Wall>,
}

/// How full the provider's context is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContextView {
    /// Tokens in it.
    pub used: u64,
    /// Tokens that fit into it.
    pub window: u64,
    /// How much of it is used, in thousandths; 1000 at most.
    pub permille: u16,
    /// It is being compacted.
    pub compacting: bool,
    /// `api`, `statusline`, `hook` or `estimate`.
    pub source: &'static str,
    /// `exact`, `reported` or `estimated`.
    pub confidence: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkView {
    pub state: &'static str,
    pub epoch: Option<Epoch>,
    /// Position of the last event taken in.
    pub position: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialView<'a> {
    /// `none`, `valid`, `refused` or `expired`.
    pub state: &'static str,
    /// What is done about it: `fixed`, `planned`, `renewing` or `expired`.
    pub renewal: &'static str,
    /// What the relay thinks of it: `good`, `suspect` or `refused`.
    pub standing: &'static str,
    pub jti: Option<&'a str>,
    /// In seconds since the epoch.
    pub expires_at: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageView {
    pub id: MessageId,
    pub task: Option<TaskId>,
    pub stage: Stage,
    pub attempt: u32,
    pub nonce: Nonce,
    pub repeat: Repeat,
    pub turn: Option<TurnNumber>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetAsideView<'a> {
    pub id: MessageId,
    pub why: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimView {
    pub message: MessageId,
    /// `asking`, `held`, `renewing` or `lapsed`.
    pub state: &'static str,
    pub fence: Option<Fence>,
    /// Milliseconds until it may no longer be used; none without an expiry.
    pub left: Option<Millis>,
}

/// A question of the provider that waits for a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalView<'a> {
    pub id: &'a str,
    /// `held` (its caller waits at the control server), `asked` (by the adapter) or `deciding`.
    pub state: &'static str,
    pub tool: Option<&'a str>,
    pub since: Wall,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalOverView<'a> {
    pub id: &'a str,
    /// `decided`, `elsewhere`, `turn ended`, `process ended` or `late`.
    pub how: &'static str,
}

/// A reply that is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OwedView<'a> {
    pub message_id: MessageId,
    /// Who waits for it.
    pub from: &'a str,
    /// When the agent took the message.
    pub since: Wall,
}

/// A command, and what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandView<'a> {
    /// None: it came from this machine.
    pub id: Option<&'a str>,
    pub name: &'static str,
    /// `for generation`, `for registration`, `for the end`, `queued` or `at provider`.
    pub state: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadlineView {
    pub at: Mono,
    pub what: TimerKey,
}

impl Core {
    pub fn view(&self) -> View<'_> {
        let us = &self.config.identity;
        let mut stages = BTreeMap::new();
        let mut messages = Vec::with_capacity(self.inbox.len());
        for (id, item) in self.inbox.iter() {
            *stages.entry(item.stage.as_str()).or_insert(0) += 1;
            messages.push(MessageView {
                id,
                task: item.meta.task,
                stage: item.stage,
                attempt: item.attempt,
                nonce: item.nonce,
                repeat: item.repeat,
                turn: item.turn,
            });
        }
        View {
            agent_id: &us.agent_id,
            runner_id: &us.runner_id,
            provider: &us.provider,
            status: self.agent_status(),
            ready: self.is_ready(),
            lifecycle_action: self.action().map(crate::status::Action::as_str),
            boot: self.boot.name(),
            first_prompt: self.prompt.name(),
            process: ProcessView {
                state: self.lifecycle.name(),
                generation: self.lifecycle.generation(),
                process: self.lifecycle.process(),
                conversation: self.about.conversation.as_deref(),
                usage_limit: self
                    .lifecycle
                    .is_at_a_limit()
                    .then(|| UsageLimitView { until: self.lifecycle.cooling_until() }),
                exits: self.lifecycle.window().exits().len(),
                parked: self.lifecycle.parked().map(|why| &**why),
            },
            model: self.model(),
            context: self.context(),
            link: LinkView { state: self.link.name(), epoch: self.link.epoch, position: self.link.position },
            credential: CredentialView {
                state: self.credential.state(self.now),
                renewal: self.credential.name(),
                standing: self.credential.standing_name(),
                jti: self.credential.record().and_then(|record| record.jti.as_deref()),
                expires_at: self.credential.record().and_then(|record| record.expires_at),
            },
            busy_reasons: self.work.reasons().collect(),
            stages,
            messages,
            set_aside: self.inbox.set_aside().iter().map(|(id, why)| SetAsideView { id: *id, why }).collect(),
            claims: self
                .claims
                .iter()
                .map(|(message, claim)| ClaimView {
                    message,
                    state: match claim.phase {
                        Phase::Asking { .. } => "asking",
                        Phase::Held => "held",
                        Phase::Renewing { .. } => "renewing",
                        Phase::Lapsed => "lapsed",
                    },
                    fence: claim.fence,
                    left: claim.lease.map(|lease| lease.rest(self.now)),
                })
                .collect(),
            turn: self.turns.current(),
            approvals: self.approvals.open().collect(),
            approvals_over: self.approvals.closed().collect(),
            commands: self.commands.open().collect(),
            owed: self.owed.views(),
            reports_waiting: self.reports.len(),
            operations: self.ops.len(),
            status_seq: self.status.seq(),
            inbox_overflow: self.inbox.overflow,
            malformed: self.status.malformed,
            journal_broken: self.status.journal_broken().map(|why| &**why),
            ending: self.ending.name(),
            ending_detail: self.ending.why().and_then(|why| why.detail()).map(|text: &Text| &**text),
            ending_phase: self.ending.phase_name(),
            over: self.ending.is_over(),
            next_deadline: self.next_deadline().map(|(at, what)| DeadlineView { at, what }),
            deadlines: self.deadlines.in_order().map(|(at, what)| DeadlineView { at, what }).collect(),
            now: self.now,
        }
    }
}
