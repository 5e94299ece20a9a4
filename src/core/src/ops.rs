//! Operations under way: every effect that expects an answer, with its deadline.

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::effect::Lane;
use crate::ids::{Generation, MessageId, OpId, Text};
use crate::time::Mono;

/// What an operation is, and whom its answer concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Op {
    StartControl,
    WriteInfo,
    Spawn(Generation),
    /// Taking up the process of the run before.
    Adopt(Generation),
    Claim(MessageId),
    Renew(MessageId),
    /// The head of this lane of reports.
    Report(Lane),
    Liveness,
    Heartbeat,
    Unread,
    /// Asking which replies are owed.
    Obligations,
    RenewToken,
    /// The last word to the relay: the agent deleted, or shown as offline.
    Farewell,
    Offer(Generation),
    Prompt(Generation),
    Probe(Generation),
    /// Fetching the attachments of this message.
    Attachments(MessageId),
    /// Breaking a turn off.
    Interrupt(Generation),
    /// Telling the agent that a message is not its own any more.
    Tell(Generation),
    /// Reading the configuration again.
    ReadSettings,
    /// An operation on the provider on behalf of a command.
    Adapter(Generation),
    /// A decision passed on to the provider, on behalf of a command.
    Decide(Generation, Text),
}

impl Op {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::StartControl => "starting the control server",
            Self::WriteInfo => "writing the info file",
            Self::Spawn(_) => "starting the provider",
            Self::Adopt(_) => "taking up the provider",
            Self::Claim(_) => "claim",
            Self::Renew(_) => "renewal of a claim",
            Self::Report(_) => "report to the relay",
            Self::Liveness => "liveness",
            Self::Heartbeat => "heartbeat",
            Self::Unread => "fetching unread messages",
            Self::Obligations => "asking what is owed",
            Self::RenewToken => "renewal of the credential",
            Self::Farewell => "taking leave of the relay",
            Self::Offer(_) => "offer",
            Self::Prompt(_) => "first prompt",
            Self::Probe(_) => "probe of the turn",
            Self::Attachments(_) => "fetching attachments",
            Self::Interrupt(_) => "interrupting the turn",
            Self::Tell(_) => "telling the provider",
            Self::ReadSettings => "reading the configuration again",
            Self::Adapter(_) => "operation of the provider",
            Self::Decide(..) => "passing on a decision",
        }
    }

    /// Whether it is a call of the relay, so that a 401 is about the credential.
    pub(crate) const fn is_a_call(&self) -> bool {
        match self {
            Self::Claim(_)
            | Self::Renew(_)
            | Self::Report(_)
            | Self::Liveness
            | Self::Heartbeat
            | Self::Unread
            | Self::Obligations
            | Self::Farewell => true,
            Self::StartControl
            | Self::WriteInfo
            | Self::Spawn(_)
            | Self::Adopt(_)
            | Self::RenewToken
            | Self::Offer(_)
            | Self::Prompt(_)
            | Self::Probe(_)
            | Self::Attachments(_)
            | Self::Interrupt(_)
            | Self::Tell(_)
            | Self::ReadSettings
            | Self::Adapter(_)
            | Self::Decide(..) => false,
        }
    }

    /// The generation that the operation dies with.
    const fn generation(&self) -> Option<Generation> {
        match self {
            Self::Spawn(g)
            | Self::Adopt(g)
            | Self::Offer(g)
            | Self::Prompt(g)
            | Self::Probe(g)
            | Self::Interrupt(g)
            | Self::Tell(g)
            | Self::Adapter(g)
            | Self::Decide(g, _) => Some(*g),
            Self::StartControl
            | Self::WriteInfo
            | Self::Claim(_)
            | Self::Renew(_)
            | Self::Report(_)
            | Self::Liveness
            | Self::Heartbeat
            | Self::Unread
            | Self::Obligations
            | Self::RenewToken
            | Self::ReadSettings
            | Self::Attachments(_)
            | Self::Farewell => None,
        }
    }
}

/// In the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ops {
    next: u64,
    open: Vec<(OpId, Mono, Op)>,
    /// The least deadline of the open ones.
    least: Mono,
    /// What is said of one that was not answered.
    no_answer: Text,
}

impl Ops {
    pub(crate) fn new(next: OpId) -> Self {
        Self { next: next.0, open: Vec::new(), least: Mono::MAX, no_answer: "no answer within the deadline".into() }
    }

    pub(crate) const fn next_number(&self) -> OpId {
        OpId(self.next)
    }

    pub(crate) fn no_answer(&self) -> Text {
        self.no_answer.clone()
    }

    /// A number without an operation: the key of a report.
    pub(crate) fn number(&mut self) -> OpId {
        let id = OpId(self.next);
        self.next += 1;
        id
    }

    pub(crate) fn start(&mut self, op: Op, deadline: Mono) -> OpId {
        let id = self.number();
        self.open.push((id, deadline, op));
        self.least = self.least.min(deadline);
        id
    }

    /// An answer to the newest operation that comes after this would change nothing: it is not waited for any longer.
    pub(crate) fn hasten(&mut self, id: OpId, deadline: Mono) {
        if let Some((newest, current, _)) = self.open.last_mut()
            && *newest == id
            && deadline < *current
        {
            *current = deadline;
            self.least = self.least.min(deadline);
        }
    }

    /// Takes an operation out: by its answer, or because nobody waits for it any more.
    pub(crate) fn finish(&mut self, id: OpId) -> Option<Op> {
        let at = self.open.binary_search_by_key(&id, |(id, ..)| *id).ok()?;
        let (_, deadline, op) = self.open.remove(at);
        if deadline == self.least {
            self.refresh();
        }
        Some(op)
    }

    pub(crate) fn take_overdue(&mut self, now: Mono) -> Option<(OpId, Op)> {
        if self.least > now {
            return None;
        }
        let at = self.open.iter().position(|(_, deadline, _)| *deadline <= now)?;
        let (id, _, op) = self.open.remove(at);
        self.refresh();
        Some((id, op))
    }

    /// Forgets the operations of a process that is gone.
    pub(crate) fn forget_generation(&mut self, generation: Generation) {
        self.open.retain(|(_, _, op)| op.generation() != Some(generation));
        self.refresh();
    }

    pub(crate) fn clear(&mut self) {
        self.open.clear();
        self.least = Mono::MAX;
    }

    pub(crate) fn any(&self, mut test: impl FnMut(&Op) -> bool) -> bool {
        self.open.iter().any(|(_, _, op)| test(op))
    }

    pub(crate) fn count(&self, test: impl Fn(&Op) -> bool) -> usize {
        self.open.iter().filter(|(_, _, op)| test(op)).count()
    }

    pub(crate) fn next_deadline(&self) -> Option<Mono> {
        Some(self.least).filter(|least| *least != Mono::MAX)
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    fn refresh(&mut self) {
        self.least = self.open.iter().map(|(_, deadline, _)| *deadline).min().unwrap_or(Mono::MAX);
    }
}
