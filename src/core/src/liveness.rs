//! HTTP liveness: the agent shown as alive, and what is unread fetched, in rounds (behaviour 11).

use serde::{Deserialize, Serialize};

use crate::Core;
use crate::deadlines::TimerKey;
use crate::effect::{Call, Effects};
use crate::event::OpResult;
use crate::ops::Op;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Liveness {
    /// Answers that the round still waits for.
    outstanding: u8,
}

impl Core {
    /// A round: status, ready, heartbeat, unread. Never two at a time, and none under a credential that was refused.
    pub(crate) fn liveness_round(&mut self, fx: &mut Effects) {
        self.deadlines.arm(TimerKey::Liveness, self.now.mono, self.config.timing.liveness);
        if self.link.epoch.is_none()
            || self.liveness.outstanding > 0
            || self.ending.is_leaving()
            || self.is_superseded()
            || self.credential.is_refused()
            || self.credential.calls_wait()
        {
            return;
        }
        let deadline = self.config.timing.liveness_deadline;
        let (status, ready) = (self.agent_status(), self.is_ready());
        let (status, ready, seq) = self.status.beside_the_bus(status, ready);
        self.http(Op::Liveness, Call::SetStatus { status, seq }, deadline, fx);
        self.http(Op::Liveness, Call::SetReady { ready, seq }, deadline, fx);
        self.http(Op::Heartbeat, Call::Heartbeat, deadline, fx);
        self.liveness.outstanding = 3;
        self.fetch_unread(fx);
    }

    pub(crate) fn liveness_answered(&mut self) {
        self.liveness.outstanding = self.liveness.outstanding.saturating_sub(1);
    }

    pub(crate) fn heartbeat_answered(&mut self, result: &OpResult, fx: &mut Effects) {
        self.liveness_answered();
        if *result == OpResult::Pruned {
            self.register_again(fx);
        }
    }
}
