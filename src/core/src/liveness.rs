//! HTTP liveness: the agent shown as alive, and what is unread fetched, in rounds (behaviour 11).

use serde::{Deserialize, Serialize};

use crate::Core;
use crate::deadlines::TimerKey;
use crate::effect::{Call, Effects};
use crate::event::OpResult;
use crate::ids::OpId;
use crate::ops::Op;
use crate::time::Mono;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Liveness {
    /// Answers that the round still waits for.
    outstanding: u8,
    /// When a heartbeat is to show whether the relay takes a refused credential again; 0: it is not refused.
    #[serde(default)]
    again: Mono,
    /// The newest heartbeat that the relay took: it knew the agent then.
    #[serde(default)]
    known: Option<OpId>,
}

impl Core {
    /// A round: status, ready, heartbeat, unread. Never two at a time, and under a credential that was
    /// refused only a heartbeat, now and then.
    pub(crate) fn liveness_round(&mut self, fx: &mut Effects) {
        self.deadlines.arm(TimerKey::Liveness, self.now.mono, self.config.timing.liveness);
        if self.link.epoch.is_none()
            || self.liveness.outstanding > 0
            || self.ending.is_leaving()
            || self.is_superseded()
            || self.credential.calls_wait()
        {
            return;
        }
        let deadline = self.config.timing.liveness_deadline;
        if self.credential.is_refused() {
            self.try_again(fx);
            return;
        }
        self.liveness.again = 0;
        let (status, ready) = (self.agent_status(), self.is_ready());
        let (status, ready, seq) = self.status.beside_the_bus(status, ready);
        self.http(Op::Liveness, Call::SetStatus { status, seq }, deadline, fx);
        self.http(Op::Liveness, Call::SetReady { ready, seq }, deadline, fx);
        self.http(Op::Heartbeat, Call::Heartbeat, deadline, fx);
        self.liveness.outstanding = 3;
        self.fetch_unread(fx);
        self.ask_what_is_owed(fx);
    }

    /// A relay may refuse by mistake, and there may never be another credential: a call now and then shows whether it
    /// takes this one again.
    fn try_again(&mut self, fx: &mut Effects) {
        let timing = &self.config.timing;
        let next = self.now.mono.saturating_add(timing.renew_max);
        if self.liveness.again == 0 {
            self.liveness.again = next;
        } else if self.liveness.again <= self.now.mono {
            self.liveness.again = next;
            self.liveness.outstanding = 1;
            self.http(Op::Heartbeat, Call::Heartbeat, self.config.timing.liveness_deadline, fx);
        }
    }

    /// The relay does not know what was said in the agent's name: perhaps it has forgotten the agent, and a heartbeat
    /// tells.
    pub(crate) fn is_known(&mut self, fx: &mut Effects) {
        if self.believes_less() && self.is_superseded() {
            return;
        }
        if self.liveness.outstanding == 0 && !self.ending.is_leaving() && !self.credential.calls_wait() {
            self.liveness.outstanding = 1;
            self.http(Op::Heartbeat, Call::Heartbeat, self.config.timing.liveness_deadline, fx);
        }
    }

    /// Whether the relay has shown that it knows the agent, to a heartbeat that was asked after this operation.
    pub(crate) fn is_known_since(&self, op: OpId) -> bool {
        self.liveness.known > Some(op)
    }

    pub(crate) fn liveness_answered(&mut self) {
        self.liveness.outstanding = self.liveness.outstanding.saturating_sub(1);
    }

    pub(crate) fn heartbeat_answered(&mut self, op: OpId, result: &OpResult, fx: &mut Effects) {
        self.liveness_answered();
        match result {
            OpResult::Pruned => self.register_again(fx),
            OpResult::Failed(_) => {}
            _ if self.believes_less() => self.liveness.known = self.liveness.known.max(Some(op)),
            _ => {}
        }
    }
}
