//! Claims: nothing is reported under a lease that is over, nor under an old fence (invariant 5); and a claim is asked for
//! as one request.

use std::collections::BTreeMap;

use relay_runner_core::event::{FailureKind, OpResult};
use relay_runner_core::{Generation, MessageId, OpId};

use super::{Truth, Watched, wrong};

/// An operation, its key, and the epoch and process that it is for.
type Asked = (OpId, OpId, (u64, Option<Generation>));

#[derive(Debug, Default)]
pub(super) struct Claims {
    /// The newest fence that the core was granted.
    fences: BTreeMap<MessageId, u64>,
    /// What was asked last for a message, under which key and epoch, while its answer is not known.
    asked: BTreeMap<MessageId, Asked>,
    asking: BTreeMap<OpId, MessageId>,
    /// Renewals and reports under a claim.
    under: BTreeMap<OpId, MessageId>,
}

impl Claims {
    pub(super) fn asks(
        &mut self,
        op: OpId,
        (key, epoch): (OpId, u64),
        of: Option<Generation>,
        message: MessageId,
    ) -> Watched {
        // Under another registration it is another request; and who parks wants to know only once more.
        let epoch = (epoch, of);
        let before = self.asked.insert(message, (op, key, epoch));
        self.asking.insert(op, message);
        match before {
            Some((_, before, of)) if of == epoch && before != key => wrong(
                10,
                format!("the claim of message {message} is asked for as another request: {key}, not {before}"),
            ),
            _ => Ok(()),
        }
    }

    /// Something is asked under the claim.
    pub(super) fn is_used(&mut self, op: OpId, message: MessageId) {
        self.under.insert(op, message);
    }

    /// The message whose claim is lost by this answer.
    pub(super) fn loses(&mut self, op: OpId, result: &OpResult) -> Option<MessageId> {
        let under = self.under.remove(&op);
        let asked = self.asking.get(&op).copied();
        let lost = match result {
            OpResult::Refused { .. } => under.or(asked),
            OpResult::Failed(failure) => under.or(asked).filter(|_| failure.kind.is_final()),
            _ => None,
        };
        // Should it come again, it is another claim.
        if let Some(message) = lost.filter(|_| under.is_some()) {
            self.asked.remove(&message);
        }
        lost
    }

    pub(super) fn answered(&mut self, op: OpId, result: &OpResult) {
        let Some(message) = self.asking.remove(&op) else { return };
        let newest = self.asked.get(&message).is_some_and(|(of, ..)| *of == op);
        let unknown = match result {
            OpResult::Failed(failure) => {
                failure.kind.is_unknown()
                    || matches!(failure.kind, FailureKind::Unauthorized | FailureKind::Busy { .. })
            }
            _ => false,
        };
        if newest && !unknown {
            self.asked.remove(&message);
        }
        if let OpResult::Granted { fence, .. } = result {
            let known = self.fences.entry(message).or_default();
            *known = (*known).max(*fence);
        }
    }

    /// The message is not there any more.
    pub(super) fn is_gone(&mut self, message: MessageId) {
        self.asked.remove(&message);
    }

    pub(super) fn is_claimed(&mut self, message: MessageId) {
        self.asked.remove(&message);
    }

    pub(super) fn lets_go(&mut self, message: MessageId) {
        self.asked.remove(&message);
    }

    /// A report goes out now.
    pub(super) fn reports(
        &mut self,
        op: OpId,
        message: MessageId,
        fence: Option<u64>,
        excused: bool,
        truth: &Truth<'_>,
    ) -> Watched {
        self.is_used(op, message);
        let Some(fence) = fence else {
            return wrong(5, format!("the task of message {message} is reported without a fence"));
        };
        if let Some(newest) = self.fences.get(&message)
            && *newest != fence
        {
            return wrong(
                5,
                format!("the task of message {message} is reported under fence {fence}, and {newest} was granted"),
            );
        }
        let time = truth.relay.time(truth.now);
        match truth.relay.leases.get(&fence) {
            Some((of, until)) if *of == message => {
                if *until <= time && !excused {
                    let late = time - until;
                    return wrong(5, format!("the task of message {message} is reported {late} ms after its lease"));
                }
                Ok(())
            }
            _ => {
                wrong(5, format!("the task of message {message} is reported under fence {fence}, which is of another"))
            }
        }
    }
}
