//! Tasks, and what is reported of them.

use relay_runner_core::MessageId;
use relay_runner_core::event::{FailureKind, OpResult, RelayEvent};
use relay_runner_protocol::TaskStatus;

use super::{AgentNo, Relay, failure};

impl Relay {
    pub(super) fn reports(
        &mut self,
        id: u64,
        status: TaskStatus,
        fence: Option<u64>,
        agent: AgentNo,
        time: u64,
    ) -> OpResult {
        let Some(task) = self.tasks.get(&id) else { return failure(FailureKind::NotFound, &self.text) };
        let ended = task.status.is_final();
        let mut claims = task.messages.iter().filter_map(|id| self.claim_of(*id));
        match fence {
            Some(fence) => {
                let Some(claim) = claims.find(|claim| claim.fence == fence && claim.by == Some(agent)) else {
                    return failure(FailureKind::Conflict, &self.text);
                };
                if !(ended || claim.held && claim.until > time) {
                    return failure(FailureKind::Expired, &self.text);
                }
            }
            None if !ended && claims.any(|claim| claim.held && claim.until > time) => {
                return failure(FailureKind::Conflict, &self.text);
            }
            None => {}
        }
        if ended {
            let same = task.status == status;
            return if same { OpResult::Ok } else { failure(FailureKind::Conflict, &self.text) };
        }
        if status.is_final() {
            self.ends_task(id, status);
        } else if let Some(task) = self.tasks.get_mut(&id) {
            task.status = status;
        }
        OpResult::Ok
    }

    pub(super) fn ends_task(&mut self, id: u64, status: TaskStatus) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.status = status;
        for message in task.messages.clone() {
            self.finishes(message);
            self.tell_task(id, message, status, false);
        }
    }

    /// Nobody is to work on it any more.
    pub(crate) fn cancels(&mut self, id: u64) -> bool {
        let Some(task) = self.tasks.get_mut(&id).filter(|task| !task.status.is_final()) else { return false };
        task.status = TaskStatus::Failed;
        for message in task.messages.clone() {
            self.finishes(message);
            self.tell_task(id, message, TaskStatus::Failed, true);
        }
        true
    }

    fn tell_task(&mut self, task: u64, message: MessageId, status: TaskStatus, cancelled: bool) {
        let meant = self.mail.get(&message).map_or(0, |mail| mail.meant);
        self.tell(meant, RelayEvent::Task { task, message, status, cancelled });
    }
}
