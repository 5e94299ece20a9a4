//! The link, the credential and what is published: tried no more often than is allowed, never after the end, and never an
//! older word after a newer one (invariants 7, 8, 9).

use std::collections::{BTreeMap, BTreeSet};

use relay_runner_core::event::{BusFrame, FailureKind, LinkReport, OpResult};
use relay_runner_core::{Call, Frame, OpId, Stamp, TokenSlot};
use relay_runner_protocol::{AgentStatus, ErrorCode};

use super::{Truth, Watched, wrong};

#[derive(Debug, Default)]
pub(super) struct Link {
    conn: Option<u64>,
    registered: bool,
    lost: Option<u64>,
    /// Another credential was asked for or came: the link is opened anew without a wait.
    token: Option<u64>,
    /// When connections were tried that nobody asked for.
    tries: Vec<u64>,
    superseded: bool,
    /// By what is being heard: what was due before that is still asked for.
    superseding: bool,
    leaves: bool,
    seq: u64,
    said: BTreeMap<u64, (Option<AgentStatus>, Option<bool>)>,
    heartbeat: Option<u64>,
    refused: bool,
    /// No renewal before this, unless the credential is doubted.
    renewal: Option<u64>,
    renewing: BTreeMap<OpId, u64>,
    /// The first that was asked under this registration.
    first_call: u64,
    /// Calls under way that show the agent as alive.
    liveness: BTreeSet<OpId>,
    /// It was registered in this run.
    known: bool,
    /// There is another token, and liveness is to be said under it at once.
    to_say: bool,
    failed: Option<u64>,
    /// The first operation under the credential in force.
    first_op: u64,
    newest_op: u64,
    doubted: bool,
    /// When it asked to be registered.
    asked: u64,
    /// The newest event of this connection.
    position: u64,
    /// Events are asked for, and not announced yet: what comes meanwhile is newer.
    resuming: bool,
}

/// The shortest wait before a connection that was lost is tried again.
const RECONNECT: u64 = 250;
/// How long a registration may take.
const REGISTER: u64 = 10_000;
/// So many connections in so long.
const TRIES: usize = 12;
const TRIES_WITHIN: u64 = 30_000;

impl Link {
    /// Events up to this position are old ones, whichever relay they are of, until that says who it is.
    pub(super) fn starts(&mut self, position: u64) {
        *self = Self { seq: self.seq, newest_op: self.newest_op, doubted: true, position, ..Self::default() };
    }

    /// The end of the token is as much nearer.
    pub(super) fn clock_is_set(&mut self, by: i64) {
        let nearer = u64::try_from(by).unwrap_or(0);
        self.renewal = self.renewal.map(|least| least.saturating_sub(nearer));
    }

    pub(super) fn reports(&mut self, at: Stamp, conn: u64, report: &LinkReport) {
        if self.conn != Some(conn) {
            return;
        }
        match report {
            LinkReport::Opened => {}
            LinkReport::Failed(failure) => {
                if failure.kind == FailureKind::Unauthorized {
                    self.doubted = true;
                }
                self.is_lost(at);
            }
            LinkReport::Closed(_) => self.is_lost(at),
        }
    }

    fn is_lost(&mut self, at: Stamp) {
        self.conn = None;
        self.registered = false;
        self.lost = Some(at.mono);
    }

    pub(super) fn frame(&mut self, conn: u64, frame: &BusFrame) {
        if self.conn != Some(conn) {
            return;
        }
        match frame {
            BusFrame::Registered { .. } => {
                self.position = 0;
                self.resuming = false;
                self.known = true;
                self.first_call = self.newest_op + 1;
                self.registered = true;
                self.refused = false;
            }
            BusFrame::Replayed { .. } => self.resuming = false,
            BusFrame::Error { code: ErrorCode::Superseded, .. } => self.superseded(),
            BusFrame::Error { code: ErrorCode::Unauthorized | ErrorCode::ExpiredToken, .. } => self.doubted = true,
            _ => {}
        }
    }

    /// Whether a newer event came before this one.
    pub(super) fn is_stale(&mut self, seq: u64) -> bool {
        let stale = seq <= self.position;
        if !self.resuming {
            self.position = self.position.max(seq);
        }
        stale
    }

    pub(super) const fn superseded(&mut self) {
        self.superseding = true;
    }

    pub(super) const fn another_step(&mut self) {
        self.superseded |= self.superseding;
    }

    pub(super) fn ordered(&mut self, name: &str) {
        if name == "agent.reconnect" {
            self.lost = None;
            self.tries.clear();
        }
    }

    pub(super) const fn token_comes(&mut self, at: Stamp) {
        self.token = Some(at.mono);
        self.doubted = true;
    }

    pub(super) fn answered(&mut self, op: OpId, result: &OpResult) {
        self.liveness.remove(&op);
        if let OpResult::Failed(failure) = result {
            if failure.kind == FailureKind::Superseded && op.0 >= self.first_call {
                self.superseded();
            }
            if failure.kind == FailureKind::Unauthorized && op.0 >= self.first_op {
                self.doubted = true;
                self.refused = true;
            }
            if self.renewing.remove(&op).is_some() {
                self.failed = Some(op.0);
            }
        } else {
            self.renewing.remove(&op);
        }
    }

    pub(super) fn connects(&mut self, at: Stamp, conn: u64) -> Watched {
        if self.superseded {
            return wrong(7, format!("connection {conn} is tried after another took over"));
        }
        if self.leaves {
            return wrong(7, format!("connection {conn} is tried after leave was taken"));
        }
        let new_token = self.token.is_some_and(|asked| at.mono.saturating_sub(asked) <= 17_000);
        if let Some(lost) = self.lost.take() {
            let waited = at.mono.saturating_sub(lost);
            if waited < RECONNECT && !new_token {
                return wrong(9, format!("connection {conn} is tried {waited} ms after the last was lost"));
            }
            if !new_token {
                self.tries.push(at.mono);
                self.tries.retain(|tried| at.mono < tried + TRIES_WITHIN);
                if self.tries.len() > TRIES {
                    return wrong(9, format!("{} connections are tried within half a minute", self.tries.len()));
                }
            }
        }
        self.conn = Some(conn);
        self.registered = false;
        Ok(())
    }

    pub(super) fn disconnects(&mut self, conn: u64) {
        if self.conn == Some(conn) {
            self.conn = None;
            self.registered = false;
        }
    }

    /// A registration that comes when the connection is given up because of it is none.
    pub(super) const fn is_overdue(&self, at: Stamp) -> bool {
        !self.registered && at.mono >= self.asked + REGISTER
    }

    pub(super) fn says(&mut self, at: Stamp, frame: &Frame, may_be_ready: bool) -> Watched {
        if matches!(frame, Frame::Register) {
            self.asked = at.mono;
        }
        match frame {
            Frame::Register if self.superseded => wrong(7, "it registers after another took over"),
            Frame::Register if self.leaves => wrong(7, "it registers after leave was taken"),
            Frame::Status { seq, status, ready } => {
                if *seq <= self.seq {
                    return wrong(8, format!("status {seq} after status {}", self.seq));
                }
                self.seq = *seq;
                self.publishes(*seq, Some(*status), Some(*ready), may_be_ready)
            }
            // Its events come anew.
            Frame::Resume { since } => {
                self.position = *since;
                self.resuming = true;
                Ok(())
            }
            Frame::Register | Frame::Heartbeat { .. } | Frame::Ack { .. } => Ok(()),
        }
    }

    fn publishes(&mut self, seq: u64, status: Option<AgentStatus>, ready: Option<bool>, may_be_ready: bool) -> Watched {
        if ready == Some(true) && !may_be_ready {
            return wrong(8, format!("status {seq} says ready, and there is no process that could be"));
        }
        let said = self.said.entry(seq).or_default();
        if status.is_some() && said.0.is_some_and(|said| Some(said) != status)
            || ready.is_some() && said.1.is_some_and(|said| Some(said) != ready)
        {
            return wrong(8, format!("status {seq} says two things"));
        }
        *said = (status.or(said.0), ready.or(said.1));
        if self.said.len() > 64 {
            self.said.pop_first();
        }
        Ok(())
    }

    pub(super) fn calls(
        &mut self,
        at: Stamp,
        op: OpId,
        call: &Call,
        may_be_ready: bool,
        jumped: bool,
        truth: &Truth<'_>,
    ) -> Watched {
        self.newest_op = op.0;
        if self.superseded && !matches!(call, Call::Release { .. }) {
            return wrong(7, format!("{call} after another took over"));
        }
        // The last word may be refused, and another token is asked for to say it with.
        if self.leaves && !matches!(call, Call::DeleteAgent | Call::SetStatus { .. } | Call::RenewToken { .. }) {
            return wrong(7, format!("{call} after leave was taken"));
        }
        match call {
            Call::DeleteAgent => {
                self.leaves = true;
                Ok(())
            }
            Call::Heartbeat => {
                self.heartbeat = Some(truth.now);
                self.to_say = false;
                self.liveness.insert(op);
                Ok(())
            }
            Call::SetStatus { status, seq } => {
                self.liveness.insert(op);
                self.publishes(*seq, Some(*status), None, may_be_ready)
            }
            Call::SetReady { ready, seq } => {
                self.liveness.insert(op);
                self.publishes(*seq, None, Some(*ready), may_be_ready)
            }
            Call::RenewToken { .. } => {
                self.token = Some(at.mono);
                let early = self.renewal.filter(|_| !self.doubted && !jumped).filter(|least| at.mono < *least);
                if let Some(least) = early {
                    return wrong(9, format!("the token is renewed {} ms too early", least - at.mono));
                }
                if self.renewing.values().any(|asked| at.mono < asked + 900) {
                    return wrong(9, "the token is renewed twice within a second");
                }
                self.renewing.insert(op, at.mono);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What a step had to say was said in it.
    pub(super) fn was_said(&mut self) -> Watched {
        if std::mem::take(&mut self.to_say) {
            return wrong(13, "there is another token, and it is not shown as alive under it");
        }
        Ok(())
    }

    pub(super) fn uses(&mut self, at: Stamp, slot: TokenSlot, lives: bool, truth: &Truth<'_>) {
        self.to_say = lives && self.known && self.liveness.is_empty() && !self.superseding && !self.leaves;
        self.token = Some(at.mono);
        self.first_op = self.newest_op + 1;
        self.doubted = false;
        self.refused = false;
        self.renewing.clear();
        // As its own clock has it.
        let ends = truth.relay.tokens.record(slot.0).expires_at.unwrap_or(0) * 1_000;
        let left = ends.saturating_sub(at.wall);
        // A fifth ahead and at most half of it, less jitter of at most half of that; and clocks that are a little off.
        self.renewal = Some(at.mono + (left / 4).saturating_sub(5_000));
    }

    /// When liveness was last said, in true time.
    pub(crate) const fn last_heartbeat(&self) -> Option<u64> {
        self.heartbeat
    }
}
