//! The relay of the made-up world: one holder per claim, fences that only grow, leases in true time.

use std::collections::BTreeMap;

use relay_runner_core::event::{Failure, FailureKind, Incoming, OpResult};
use relay_runner_core::{Call, MessageId, Outcome};
use relay_runner_protocol::{AgentStatus, TaskStatus};
use serde::Serialize;

/// Fences, like every kind of number in this world, have a range of their own (see `search::key`).
const FENCES: u64 = 1 << 32;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Relay {
    pub(crate) mail: BTreeMap<MessageId, Mail>,
    pub(crate) tasks: BTreeMap<u64, TaskStatus>,
    /// The first outcome of each command.
    pub(crate) outcomes: BTreeMap<String, String>,
    /// The newest status, and whether the agent is ready; none once it was deleted.
    pub(crate) shown: Option<(u64, AgentStatus, bool)>,
    pub(crate) deleted: bool,
    /// How long a lease is.
    pub(crate) lease: u64,
    fences: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Mail {
    pub(crate) message: Incoming,
    pub(crate) read: bool,
    pub(crate) deleted: bool,
    pub(crate) holder: Option<Holder>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Holder {
    /// None: another agent has it.
    pub(crate) fence: Option<u64>,
    pub(crate) until: u64,
}

impl Mail {
    fn held_by_us(&self, now: u64) -> Option<Holder> {
        self.holder.filter(|holder| holder.fence.is_some() && holder.until > now)
    }

    pub(crate) fn held_by_rival(&self) -> bool {
        self.holder.is_some_and(|holder| holder.fence.is_none())
    }
}

impl Relay {
    pub(crate) fn new(lease: u64) -> Self {
        Self {
            mail: BTreeMap::new(),
            tasks: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            shown: None,
            deleted: false,
            lease,
            fences: FENCES,
        }
    }

    pub(crate) fn publish(&mut self, message: &Incoming) {
        let mail = Mail { message: message.clone(), read: false, deleted: false, holder: None };
        self.mail.entry(message.id).or_insert(mail);
    }

    /// When the next lease of ours ends.
    pub(crate) fn next_lapse(&self, now: u64) -> Option<u64> {
        self.mail.values().filter_map(|mail| Some(mail.held_by_us(now)?.until)).min()
    }

    /// Another agent takes a claim that nobody holds.
    pub(crate) fn rival_claims(&mut self, id: MessageId, now: u64) -> bool {
        let Some(mail) = self.mail.get_mut(&id) else { return false };
        if !mail.message.claimable
            || mail.read
            || mail.deleted
            || mail.held_by_rival()
            || mail.held_by_us(now).is_some()
        {
            return false;
        }
        mail.holder = Some(Holder { fence: None, until: u64::MAX });
        true
    }

    pub(crate) fn rival_releases(&mut self, id: MessageId) -> bool {
        let Some(mail) = self.mail.get_mut(&id).filter(|mail| mail.held_by_rival()) else { return false };
        mail.holder = None;
        true
    }

    /// The newest status wins; what is older changes nothing.
    pub(crate) fn show(&mut self, seq: u64, status: Option<AgentStatus>, ready: Option<bool>) {
        let (newest, shown, was_ready) = self.shown.unwrap_or((0, AgentStatus::Idle, false));
        if seq >= newest && !self.deleted {
            self.shown = Some((seq, status.unwrap_or(shown), ready.unwrap_or(was_ready)));
        }
    }

    /// What is unread for us, and held by nobody else.
    pub(crate) fn unread(&self, after: MessageId) -> impl Iterator<Item = &Incoming> {
        let unread = self.mail.range(after + 1..).map(|(_, mail)| mail);
        unread.filter(|mail| !mail.read && !mail.deleted && !mail.held_by_rival()).map(|mail| &mail.message)
    }

    /// Carries out a call.
    pub(crate) fn answer(&mut self, call: &Call, now: u64) -> OpResult {
        match call {
            Call::Claim { message } => self.claim(*message, now),
            Call::Renew { message, fence } => self.renew(*message, *fence, now),
            Call::Release { message, fence } => self.release(*message, *fence, now),
            Call::Read { message } => {
                self.finish(*message, now);
                OpResult::Ok
            }
            Call::Task { task, message, status, fence, .. } => self.task(*task, *message, *status, *fence, now),
            Call::Command { id, outcome, .. } => {
                if let Some(outcome) = outcome {
                    self.outcomes.entry(id.to_string()).or_insert_with(|| words(outcome));
                }
                OpResult::Ok
            }
            Call::SetStatus { status, seq } => {
                self.show(*seq, Some(*status), None);
                OpResult::Ok
            }
            Call::SetReady { ready, seq } => {
                self.show(*seq, None, Some(*ready));
                OpResult::Ok
            }
            Call::Unread { after, limit } => {
                let most = usize::try_from(*limit).unwrap_or(usize::MAX);
                let messages: Vec<_> = self.unread(*after).take(most).cloned().collect();
                let full = messages.len() >= most;
                OpResult::Unread { messages, full }
            }
            Call::DeleteAgent => {
                self.deleted = true;
                self.shown = None;
                self.mail.values_mut().filter(|mail| !mail.held_by_rival()).for_each(|mail| mail.holder = None);
                OpResult::Ok
            }
            // Nobody replies.
            Call::Obligations => {
                let owed = self.mail.values().filter(|mail| mail.message.reply_expected && !mail.deleted);
                OpResult::Owed { messages: owed.map(|mail| mail.message.id).collect() }
            }
            Call::Delivery { .. } | Call::Heartbeat => OpResult::Ok,
            // This world has no tokens.
            Call::RenewToken { .. } => failed(FailureKind::Unsupported),
        }
    }

    fn claim(&mut self, id: MessageId, now: u64) -> OpResult {
        let Some(mail) = self.mail.get_mut(&id) else { return failed(FailureKind::NotFound) };
        if mail.read || mail.deleted || mail.held_by_rival() {
            return OpResult::Refused { by: Some("rival".into()) };
        }
        // Who holds it and asks again gets the same grant, with what is left of it.
        if let Some(Holder { fence: Some(fence), until }) = mail.held_by_us(now) {
            return OpResult::Granted { fence, lease: Some(until - now) };
        }
        self.fences += 1;
        mail.holder = Some(Holder { fence: Some(self.fences), until: now + self.lease });
        OpResult::Granted { fence: self.fences, lease: Some(self.lease) }
    }

    fn renew(&mut self, id: MessageId, fence: u64, now: u64) -> OpResult {
        let Some(holder) = self.mail.get_mut(&id).and_then(|mail| mail.holder.as_mut()) else {
            return failed(FailureKind::Conflict);
        };
        if holder.fence != Some(fence) {
            return failed(FailureKind::Conflict);
        }
        if holder.until <= now {
            return failed(FailureKind::Expired);
        }
        holder.until = now + self.lease;
        OpResult::Renewed { lease: Some(self.lease) }
    }

    fn release(&mut self, id: MessageId, fence: u64, now: u64) -> OpResult {
        let Some(mail) = self.mail.get_mut(&id) else { return failed(FailureKind::NotFound) };
        if mail.held_by_us(now).is_some_and(|holder| holder.fence == Some(fence)) {
            mail.holder = None;
            if let Some(task) = mail.message.task {
                self.tasks.insert(task, TaskStatus::Open);
            }
            return OpResult::Ok;
        }
        failed(FailureKind::Conflict)
    }

    /// A read mark finishes a message, unless an unfinished task goes with it.
    fn finish(&mut self, id: MessageId, now: u64) {
        let tasks = &self.tasks;
        let Some(mail) = self.mail.get_mut(&id) else { return };
        let open = mail.message.task.is_some_and(|task| tasks.get(&task).is_none_or(|status| !status.is_final()));
        if mail.held_by_rival() || (open && mail.held_by_us(now).is_some()) {
            return;
        }
        mail.read = true;
    }

    fn task(&mut self, task: u64, id: MessageId, status: TaskStatus, fence: Option<u64>, now: u64) -> OpResult {
        let Some(mail) = self.mail.get_mut(&id) else { return failed(FailureKind::NotFound) };
        match mail.holder {
            Some(holder) if holder.fence.is_some() && holder.fence == fence => {
                if holder.until <= now {
                    return failed(FailureKind::Expired);
                }
            }
            Some(_) | None => return failed(FailureKind::Conflict),
        }
        if self.tasks.get(&task).is_some_and(|before| before.is_final()) {
            return OpResult::Ok;
        }
        self.tasks.insert(task, status);
        if status.is_final() {
            let of_task = self.mail.values_mut().filter(|mail| mail.message.task == Some(task));
            of_task.for_each(|mail| mail.read = true);
        }
        OpResult::Ok
    }
}

fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded { .. } => "succeeded".to_owned(),
        Outcome::Failed { message } => format!("failed: {message}"),
    }
}

pub(crate) fn failed(kind: FailureKind) -> OpResult {
    OpResult::Failed(Failure { kind, text: "made up".into() })
}
