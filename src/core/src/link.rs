//! The connection to the relay's bus.
//!
//! ```text
//! Down -> Connecting -> Registering -> Up       a loss: -> Waiting -> Connecting       the end: -> Closed
//! ```

use serde::{Deserialize, Serialize};

use crate::Core;
use crate::backoff::doubling;
use crate::deadlines::TimerKey;
use crate::draw::{Stream, draw_below};
use crate::effect::{Effect, Effects, ExitCode, Frame};
use crate::ending::Why;
use crate::event::{BusFrame, FailureKind, LinkReport, RelayEvent};
use crate::flags::Flag;
use crate::ids::{Conn, Epoch, OpId, Text};
use crate::matching::Given;
use crate::mutant::Mutant;
use crate::note::Note;
use crate::time::{Millis, Mono};
use relay_runner_protocol::ErrorCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    Down,
    Connecting(Conn),
    /// Open, and `register` is under way.
    Registering(Conn),
    Up(Conn),
    /// The next attempt has its deadline.
    Waiting,
    /// For good.
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) phase: Phase,
    next_conn: Conn,
    /// Losses since the link last held for a while.
    failures: u32,
    up_since: Mono,
    /// The newest epoch that the relay gave; none before the first registration.
    pub(crate) epoch: Option<Epoch>,
    heartbeat: Millis,
    /// Position of the last event taken in.
    pub(crate) position: u64,
    /// The relay that the position, and all message ids, are about; none when it never said which one it is.
    pub(crate) relay: Option<Text>,
    /// The position is known: from an earlier run, or from the first registration.
    positioned: bool,
    /// The position when this connection was registered: what the relay's own may not lie behind. 0 once it was held
    /// against it: a `registered` that comes again, or after events, is older than what has been heard since.
    #[serde(default)]
    since: u64,
    /// What was asked before this operation was asked before the relay knew us by this registration.
    #[serde(default = "first")]
    pub(crate) first_op: OpId,
    /// The events that were missed are asked for and not announced yet: those that come meanwhile are newer than what is
    /// to be replayed, and come again with it.
    #[serde(default)]
    resuming: bool,
}

const fn first() -> OpId {
    OpId(0)
}

impl Link {
    pub(crate) const fn new(relay: Option<Text>, position: u64, heartbeat: Millis) -> Self {
        Self {
            phase: Phase::Down,
            next_conn: 1,
            failures: 0,
            up_since: 0,
            epoch: None,
            heartbeat,
            position,
            relay,
            positioned: position > 0,
            since: 0,
            first_op: first(),
            resuming: false,
        }
    }

    pub(crate) const fn conn(&self) -> Option<Conn> {
        match self.phase {
            Phase::Connecting(conn) | Phase::Registering(conn) | Phase::Up(conn) => Some(conn),
            Phase::Down | Phase::Waiting | Phase::Closed => None,
        }
    }

    /// What was missed is asked for, and not announced yet.
    pub(crate) const fn is_resuming(&self) -> bool {
        self.resuming
    }

    /// The number of the next connection.
    pub(crate) const fn next_conn(&self) -> Conn {
        self.next_conn
    }

    /// The connection over which something can be said now.
    pub(crate) const fn up(&self) -> Option<Conn> {
        match self.phase {
            Phase::Up(conn) => Some(conn),
            Phase::Down | Phase::Connecting(_) | Phase::Registering(_) | Phase::Waiting | Phase::Closed => None,
        }
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self.phase {
            Phase::Down => "down",
            Phase::Connecting(_) => "connecting",
            Phase::Registering(_) => "registering",
            Phase::Up(_) => "up",
            Phase::Waiting => "waiting",
            Phase::Closed => "closed",
        }
    }
}

impl Core {
    pub(crate) fn connect(&mut self, fx: &mut Effects) {
        match self.link.phase {
            Phase::Down | Phase::Waiting if !self.ending.is_leaving() => {}
            Phase::Waiting if self.config.is_mutant(Mutant::ReconnectsWhileLeaving) => {}
            Phase::Down
            | Phase::Waiting
            | Phase::Connecting(_)
            | Phase::Registering(_)
            | Phase::Up(_)
            | Phase::Closed => return,
        }
        if self.credential.calls_wait() {
            // The renewal's answer is what goes on.
            self.link.phase = Phase::Waiting;
            return;
        }
        let conn = self.link.next_conn;
        self.link.next_conn += 1;
        self.link.phase = Phase::Connecting(conn);
        // The shell has its own limit for connecting; this one is for a shell that says nothing.
        self.deadlines.arm(TimerKey::Register, self.now.mono, self.config.timing.register_deadline.saturating_mul(2));
        fx.push(Effect::Connect { conn });
        fx.note(Note::Connecting { conn });
    }

    pub(crate) fn link_report(&mut self, conn: Conn, report: LinkReport, fx: &mut Effects) {
        if self.link.conn() != Some(conn) {
            fx.note(Note::Stale { what: "link report", number: conn });
            return;
        }
        match report {
            LinkReport::Opened => match self.link.phase {
                Phase::Connecting(_) => self.register(conn, fx),
                Phase::Registering(_) | Phase::Up(_) | Phase::Down | Phase::Waiting | Phase::Closed => {
                    fx.note(Note::Unexpected { state: self.link.name(), event: "opened" });
                }
            },
            LinkReport::Failed(failure) => {
                if failure.kind == FailureKind::Unauthorized && self.link.epoch.is_none() {
                    if self.believes_less() {
                        // Nothing is being opened any more, however long the provider takes to end.
                        self.link.phase = Phase::Closed;
                        self.deadlines.clear(TimerKey::Register);
                    }
                    self.end(Why::CredentialRefused(failure.text), ExitCode::CredentialRefused, fx);
                    return;
                }
                let retry_in = self.lost();
                let said_before = self.troubles.said(&failure.text, self.now.mono, &self.config);
                let refused = failure.kind == FailureKind::Unauthorized;
                fx.note(Note::LinkFailed { failure, retry_in, said_before });
                if refused {
                    self.connection_refused(conn, fx);
                }
            }
            LinkReport::Closed(reason) => {
                self.link_closed(reason, fx);
            }
        }
    }

    fn register(&mut self, conn: Conn, fx: &mut Effects) {
        self.link.phase = Phase::Registering(conn);
        self.link.since = self.link.position;
        // What was asked to be replayed and was not is still to come: until then no event says where the agent stands.
        self.link.resuming &= self.believes_less();
        self.deadlines.arm(TimerKey::Register, self.now.mono, self.config.timing.register_deadline);
        fx.push(Effect::Send { conn, frame: Frame::Register });
    }

    /// The relay has forgotten us: the same instance registers again.
    pub(crate) fn register_again(&mut self, fx: &mut Effects) {
        if let Phase::Up(conn) = self.link.phase
            && !self.ending.is_leaving()
        {
            self.register(conn, fx);
            if self.believes_less() {
                // Over the same connection there is the same relay: an answer that says less than was heard is an old one.
                self.link.since = 0;
            }
        }
    }

    pub(crate) fn register_overdue(&mut self, fx: &mut Effects) {
        let Some(conn) = self.link.conn() else { return };
        fx.push(Effect::Disconnect { conn });
        self.link_closed("the relay did not answer the registration in time".into(), fx);
    }

    fn link_closed(&mut self, reason: Text, fx: &mut Effects) {
        let retry_in = self.lost();
        let said_before = self.troubles.said(&reason, self.now.mono, &self.config);
        fx.note(Note::LinkClosed { reason, retry_in, said_before });
    }

    /// Plans the next attempt: 0.5 s doubling to 30 s, jittered; anew after a minute without a loss.
    fn lost(&mut self) -> Millis {
        let timing = &self.config.timing;
        let held = match self.link.phase {
            Phase::Up(_) => self.now.mono.saturating_sub(self.link.up_since),
            Phase::Down | Phase::Connecting(_) | Phase::Registering(_) | Phase::Waiting | Phase::Closed => 0,
        };
        let first = self.config.is_mutant(Mutant::NeverBacksOff);
        self.link.failures = if first || held >= timing.link_stable { 1 } else { self.link.failures.saturating_add(1) };
        let most = doubling(self.link.failures, timing.reconnect_min, timing.reconnect_max);
        let jitter = draw_below(self.config.seed, Stream::Reconnect, self.link.next_conn, 0, most / 2 + 1);
        let wait = most - jitter;
        self.link.phase = Phase::Waiting;
        self.status.link_lost();
        for key in [TimerKey::Register, TimerKey::Heartbeat, TimerKey::StatusAck] {
            self.deadlines.clear(key);
        }
        // Who has taken leave does not come back.
        if !self.ending.is_leaving() || self.config.is_mutant(Mutant::ReconnectsWhileLeaving) {
            self.deadlines.arm(TimerKey::Reconnect, self.now.mono, wait);
        }
        wait
    }

    /// Closes and opens the transport; no failure, so no backoff.
    pub(crate) fn reconnect(&mut self, fx: &mut Effects) {
        if let Some(conn) = self.link.conn() {
            fx.push(Effect::Disconnect { conn });
        }
        if self.link.phase != Phase::Closed && !self.ending.is_leaving() {
            self.link.phase = Phase::Down;
            self.status.link_lost();
            self.deadlines.clear(TimerKey::Reconnect);
            self.deadlines.clear(TimerKey::Heartbeat);
            self.connect(fx);
        }
    }

    /// The relay does not take the credential that this connection was opened with.
    fn connection_refused(&mut self, conn: Conn, fx: &mut Effects) {
        if self.is_connected_under_credential(conn) {
            self.credential_doubted(fx);
        }
    }

    /// There is another token: whatever is open, or being opened, uses the old one.
    pub(crate) fn reconnect_with_token(&mut self, fx: &mut Effects) {
        match self.link.phase {
            // Not connected yet: what comes up next uses the newest.
            Phase::Down | Phase::Closed => {}
            Phase::Connecting(_) | Phase::Registering(_) | Phase::Up(_) | Phase::Waiting => self.reconnect(fx),
        }
    }

    /// Connects, if that waited for a renewal of the credential.
    pub(crate) fn reconnect_if_it_waited(&mut self, fx: &mut Effects) {
        if self.link.phase == Phase::Waiting && !self.deadlines.is_armed(TimerKey::Reconnect) {
            self.connect(fx);
        }
    }

    /// For good.
    pub(crate) fn close_link(&mut self, fx: &mut Effects) {
        if let Some(conn) = self.link.conn() {
            fx.push(Effect::Disconnect { conn });
        }
        self.link.phase = Phase::Closed;
        for key in [TimerKey::Register, TimerKey::Reconnect, TimerKey::Heartbeat, TimerKey::StatusAck] {
            self.deadlines.clear(key);
        }
    }

    pub(crate) fn bus_frame(&mut self, conn: Conn, frame: BusFrame, fx: &mut Effects) {
        let known = match self.link.phase {
            Phase::Registering(c) | Phase::Up(c) => c == conn,
            Phase::Connecting(_) | Phase::Down | Phase::Waiting | Phase::Closed => false,
        };
        if !known {
            fx.note(Note::Stale { what: "frame", number: conn });
            return;
        }
        match frame {
            BusFrame::Registered { epoch, cursor, relay, heartbeat } => {
                self.meet(relay, cursor, fx);
                self.registered(conn, epoch, cursor, heartbeat, fx);
            }
            BusFrame::Event { frame, seq, event } => self.relay_event(conn, frame, seq, event, fx),
            BusFrame::Command { frame, command } => {
                // One that comes when leave was taken is for the next run; one that comes before it is known which relay this
                // is comes again.
                let known = self.link.up() == Some(conn) || !self.believes_less();
                let known = known && !self.config.is_mutant(Mutant::IgnoresCommands);
                if !self.ending.is_leaving() && known {
                    self.relay_command(*command, fx);
                    // The relay does not say it again once it is acknowledged.
                    fx.sync = true;
                    fx.push(Effect::Send { conn, frame: Frame::Ack { frame } });
                }
            }
            BusFrame::Ack { frame } => self.status_acked(&frame),
            BusFrame::Replayed { to, gap, .. } => {
                self.link.resuming = false;
                if gap {
                    // What is left of the events is still to come, and may say that something is gone.
                    if !self.believes_less() {
                        self.link.position = self.link.position.max(to);
                    }
                    self.fetch_what_was_missed(fx);
                }
            }
            BusFrame::Error { code, message } => self.bus_error(conn, code, message, fx),
            BusFrame::Unknown { kind } => fx.note(Note::Ignored { what: "frame type", name: kind }),
            BusFrame::Malformed { reason } => {
                self.status.malformed += 1;
                if !self.troubles.said("malformed frame", self.now.mono, &self.config) {
                    fx.note(Note::Malformed { what: "frame", reason });
                }
            }
        }
    }

    /// Another relay than before, or one that began anew with an empty database: ids and positions of the one before
    /// mean nothing to it, and nothing is reported to it about them.
    fn meet(&mut self, relay: Option<Text>, cursor: u64, fx: &mut Effects) {
        let differs = matches!((&self.link.relay, &relay), (Some(before), Some(now)) if before != now);
        // One that says neither who nor where it is may be the same: its events are taken from where it says.
        let behind = cursor < core::mem::take(&mut self.link.since);
        if behind && relay.is_none() && cursor == 0 {
            self.link.position = 0;
        } else if differs || behind {
            fx.note(Note::OtherRelay);
            self.forget_messages();
            self.given = None;
            self.link.positioned = false;
            self.link.epoch = None;
            fx.sync = true;
        }
        if relay.is_some() {
            self.link.relay = relay;
        }
    }

    fn registered(&mut self, conn: Conn, epoch: Epoch, cursor: u64, heartbeat: Option<Millis>, fx: &mut Effects) {
        // Under another epoch the relay knows nothing but what was registered.
        if self.given.as_ref().is_some_and(|given| given.epoch.is_some_and(|of| of != epoch)) {
            self.given = None;
        }
        let first = self.link.epoch.is_none();
        if self.config.flags.has(Flag::DoubtsThatTheRelayKnowsTheAgent) {
            self.link.first_op = self.ops.next_number();
        }
        self.link.phase = Phase::Up(conn);
        self.link.up_since = self.now.mono;
        self.link.epoch = Some(epoch);
        self.link.heartbeat =
            heartbeat.filter(|h| *h > 0).map_or(self.config.timing.heartbeat, |h| h.clamp(1_000, 300_000));
        self.troubles.forget();
        fx.note(Note::Registered { epoch });
        for key in [TimerKey::Register, TimerKey::FailFast, TimerKey::Reconnect] {
            self.deadlines.clear(key);
        }
        self.deadlines.arm(TimerKey::Heartbeat, self.now.mono, self.link.heartbeat);
        if self.link.positioned {
            fx.push(Effect::Send { conn, frame: Frame::Resume { since: self.link.position } });
            self.link.resuming = true;
        } else {
            // Nothing before this concerns an agent that never listened; what is unread is fetched.
            self.link.position = cursor;
            self.link.positioned = true;
            self.link.resuming = false;
        }
        self.status.forget_sent();
        self.credential_accepted(conn);
        self.touched.reports = true;
        self.touched.inbox = true;
        self.start_provider(fx);
        if first {
            // The first round at once; it fetches what is unread as well. That is older than what comes from now on, and
            // what the run before held is unread on the relay only.
            self.is_unlisted();
            self.liveness_round(fx);
        } else {
            self.fetch_unread(fx);
        }
        self.claims_after_reconnect(fx);
        self.reconnected(fx);
    }

    fn relay_event(&mut self, conn: Conn, frame: Text, seq: u64, event: RelayEvent, fx: &mut Effects) {
        if seq > self.link.position {
            if !self.link.resuming {
                self.link.position = seq;
            }
            match event {
                RelayEvent::MessageNew(message) => self.message_arrived(*message, fx),
                RelayEvent::MessageClaimed { message, by } => self.claimed_by(message, by.as_ref(), fx),
                RelayEvent::ClaimReleased { message } => self.claim_released(message, fx),
                RelayEvent::MessageDeleted { message } => self.deleted(message, fx),
                RelayEvent::Task { message, cancelled: true, .. } => {
                    self.taken_over(message, "its task was cancelled", fx);
                }
                RelayEvent::Task { cancelled: false, .. } => {}
                RelayEvent::AgentUpdated(given) => self.agent_updated(Given { epoch: self.link.epoch, ..*given }, fx),
                RelayEvent::Other { name } => fx.note(Note::Ignored { what: "event", name }),
            }
        } else {
            fx.note(Note::Stale { what: "event of the bus", number: seq });
        }
        fx.push(Effect::Send { conn, frame: Frame::Ack { frame } });
    }

    fn bus_error(&mut self, conn: Conn, code: ErrorCode, message: Text, fx: &mut Effects) {
        match code {
            ErrorCode::Superseded => self.superseded(fx),
            ErrorCode::Unauthorized | ErrorCode::ExpiredToken if self.link.epoch.is_none() => {
                if self.believes_less() {
                    self.close_link(fx);
                }
                self.end(Why::CredentialRefused(message), ExitCode::CredentialRefused, fx);
            }
            // While a registration is under way, its own deadline is what tries again.
            ErrorCode::NotRegistered if self.link.up() == Some(conn) => self.register_again(fx),
            ErrorCode::Unauthorized | ErrorCode::ExpiredToken => {
                fx.push(Effect::Disconnect { conn });
                self.link_closed(alloc::format!("{}: {message}", code.as_str()).into(), fx);
                self.connection_refused(conn, fx);
            }
            ErrorCode::NotRegistered | ErrorCode::InvalidFrame | ErrorCode::RateLimited | ErrorCode::Unknown => {
                if !self.troubles.said(code.as_str(), self.now.mono, &self.config) {
                    fx.note(Note::RelaySays { code: code.as_str(), message });
                }
            }
        }
    }

    pub(crate) fn heartbeat(&mut self, fx: &mut Effects) {
        let Some(conn) = self.link.up() else { return };
        self.deadlines.arm(TimerKey::Heartbeat, self.now.mono, self.link.heartbeat);
        let status = self.heartbeat_status();
        fx.push(Effect::Send { conn, frame: Frame::Heartbeat { status } });
    }
}
