//! Claims on messages: leases with fences that only grow.

use relay_runner_core::MessageId;
use relay_runner_core::event::{FailureKind, OpResult, RelayEvent};
use relay_runner_protocol::TaskStatus;

use super::{AgentNo, RIVAL, Relay, failure};

/// The newest claim on a message, held or over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// None: an agent that is not of this world.
    pub(crate) by: Option<AgentNo>,
    pub(crate) instance: usize,
    pub(crate) epoch: u64,
    pub(crate) fence: u64,
    /// In the relay's time.
    pub(crate) until: u64,
    pub(crate) held: bool,
}

impl Relay {
    pub(super) fn claim_of(&self, id: MessageId) -> Option<&Claim> {
        self.mail.get(&id)?.claim.as_ref()
    }

    /// The claim that nobody else can have now.
    pub(crate) fn held_by(&self, id: MessageId, agent: AgentNo, time: u64) -> Option<&Claim> {
        self.claim_of(id).filter(|claim| claim.held && claim.until > time && claim.by == Some(agent))
    }

    pub(super) fn claims(&mut self, id: MessageId, agent: AgentNo, instance: usize, time: u64) -> OpResult {
        let Some(mail) = self.mail.get(&id).filter(|mail| !mail.deleted) else {
            return failure(FailureKind::NotFound, &self.text);
        };
        if !mail.message.claimable {
            return failure(FailureKind::Invalid, &self.text);
        }
        let refused = |by: Option<AgentNo>| {
            let by = by.map_or_else(|| RIVAL.into(), |by| self.agents[by].id.clone());
            OpResult::Refused { by: Some(by) }
        };
        if mail.finished {
            return refused(None);
        }
        let epoch = self.agents[agent].epoch;
        match &mail.claim {
            Some(claim) if claim.held && claim.until > time => {
                if claim.by != Some(agent) {
                    return refused(claim.by);
                }
                if claim.epoch == epoch {
                    return self.extends(id, time);
                }
            }
            Some(_) | None => {}
        }
        if mail.meant & (1 << agent) == 0 {
            return OpResult::Refused { by: None };
        }
        if mail.claim.as_ref().is_some_and(|claim| claim.held && claim.until <= time) {
            self.frees(id, true);
        }
        let fence = self.grants(id, Some((agent, instance)), time + self.lease);
        OpResult::Granted { fence, lease: Some(self.lease) }
    }

    pub(super) fn grants(&mut self, id: MessageId, to: Option<(AgentNo, usize)>, until: u64) -> u64 {
        self.fences += 1;
        let fence = self.fences;
        let (by, instance) = to.map_or((None, usize::MAX), |(agent, instance)| (Some(agent), instance));
        let epoch = by.map_or(0, |agent| self.agents[agent].epoch);
        let Some(mail) = self.mail.get_mut(&id) else { return fence };
        mail.claim = Some(Claim { by, instance, epoch, fence, until, held: true });
        self.leases.insert(fence, (id, until));
        let name = by.map_or_else(|| RIVAL.into(), |agent| self.agents[agent].id.clone());
        let audience = mail.meant | by.map_or(0, |agent| 1 << agent);
        self.tell(audience, RelayEvent::MessageClaimed { message: id, by: Some(name) });
        fence
    }

    fn extends(&mut self, id: MessageId, time: u64) -> OpResult {
        let lease = self.lease;
        let Some(claim) = self.mail.get_mut(&id).and_then(|mail| mail.claim.as_mut()) else {
            return failure(FailureKind::NotFound, &self.text);
        };
        claim.until = time + lease;
        self.leases.insert(claim.fence, (id, claim.until));
        OpResult::Granted { fence: claim.fence, lease: Some(lease) }
    }

    fn under(&self, id: MessageId, agent: AgentNo, fence: u64, time: u64) -> Result<(), FailureKind> {
        let mail = self.mail.get(&id).filter(|mail| !mail.deleted).ok_or(FailureKind::NotFound)?;
        let claim = mail.claim.as_ref().filter(|claim| claim.fence == fence && claim.by == Some(agent));
        let claim = claim.ok_or(FailureKind::Conflict)?;
        if claim.held && claim.until > time { Ok(()) } else { Err(FailureKind::Expired) }
    }

    pub(super) fn renews(&mut self, id: MessageId, agent: AgentNo, fence: u64, time: u64) -> OpResult {
        if let Err(kind) = self.under(id, agent, fence, time) {
            return failure(kind, &self.text);
        }
        match self.extends(id, time) {
            OpResult::Granted { lease, .. } => OpResult::Renewed { lease },
            other => other,
        }
    }

    pub(super) fn releases(&mut self, id: MessageId, agent: AgentNo, fence: u64, time: u64) -> OpResult {
        if let Err(kind) = self.under(id, agent, fence, time) {
            return failure(kind, &self.text);
        }
        self.frees(id, false);
        OpResult::Ok
    }

    /// The message is there for everybody again, and its task is open. A task that waits for a person goes on doing so
    /// where the lease ended by itself.
    pub(super) fn frees(&mut self, id: MessageId, lapsed: bool) {
        let Some(mail) = self.mail.get_mut(&id) else { return };
        let Some(claim) = mail.claim.as_mut().filter(|claim| claim.held) else { return };
        claim.held = false;
        let audience = mail.meant | claim.by.map_or(0, |agent| 1 << agent);
        let task = mail.message.task;
        self.tell(audience, RelayEvent::ClaimReleased { message: id });
        let Some(task) = task else { return };
        let held_by_another = self
            .tasks
            .get(&task)
            .is_some_and(|task| task.messages.iter().any(|id| self.claim_of(*id).is_some_and(|claim| claim.held)));
        if let Some(task) = self.tasks.get_mut(&task)
            && !held_by_another
            && (task.status == TaskStatus::InProgress || task.status == TaskStatus::Blocked && !lapsed)
        {
            task.status = TaskStatus::Open;
        }
    }
}
