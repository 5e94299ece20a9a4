//! What is published about the agent: one status at a time, the newest while the link is down (behaviour 8).

use alloc::collections::VecDeque;
use relay_runner_protocol::AgentStatus;
use serde::{Deserialize, Serialize};

use crate::Core;
use crate::deadlines::TimerKey;
use crate::effect::{Effect, Effects, Frame};
use crate::ids::Text;
use crate::mutant::Mutant;
use crate::time::{Mono, SECOND, Wall};

/// How long a status waits for its acknowledgement before it is said anew.
const ACK: Mono = 10 * SECOND;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    seq: u64,
    /// What the newest status said.
    sent: Option<Said>,
    /// What the newest number says, over whichever transport.
    newest: Option<(AgentStatus, bool)>,
    /// The one that is not acknowledged yet.
    in_flight: Option<u64>,
    /// The lifecycle action that was under way after the last step, and since when.
    action: Option<(Action, Wall)>,
    /// Why the last provider process ended.
    exit: Option<Text>,
    timeline: VecDeque<Entry>,
    timeline_version: u64,
    /// Timeline entries that did not fit, and of which nobody knows yet.
    pub(crate) timeline_dropped: u64,
    /// How many of those the status that is under way tells of.
    dropped_told: u64,
    /// Frames and lines that could not be read.
    pub(crate) malformed: u64,
    pub(crate) reports_dropped: u64,
    journal_broken: Option<Text>,
}

/// What a status depends on: cheap to make and to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    status: AgentStatus,
    ready: bool,
    action: Option<Action>,
    work: u64,
    approvals: u64,
    credential: u64,
    timeline: u64,
    generation: u64,
    journal_broken: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    owed: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The lifecycle action that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    ShuttingDown,
    Killing,
    Restarting,
    Parked,
}

impl Action {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ShuttingDown => "shutting-down",
            Self::Killing => "killing",
            Self::Restarting => "restarting",
            Self::Parked => "parked",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) status: Text,
    pub(crate) id: Option<Text>,
    pub(crate) timestamp: Wall,
}

impl Status {
    pub(crate) const fn new(seq: u64) -> Self {
        Self {
            seq,
            sent: None,
            newest: None,
            in_flight: None,
            action: None,
            exit: None,
            timeline: VecDeque::new(),
            timeline_version: 0,
            timeline_dropped: 0,
            dropped_told: 0,
            malformed: 0,
            reports_dropped: 0,
            journal_broken: None,
        }
    }

    pub(crate) const fn seq(&self) -> u64 {
        self.seq
    }

    pub(crate) fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.newest = None;
        self.seq
    }

    /// What is said over HTTP beside the bus, and its number: one number never says two things. While a status is
    /// under way on the bus, that one is said again; the next one goes there as well. But it may have been lost, so who
    /// is not ready any more never says so again.
    pub(crate) fn beside_the_bus(&mut self, status: AgentStatus, ready: bool) -> (AgentStatus, bool, u64) {
        let under_way = self.newest.filter(|(_, was_ready)| self.in_flight.is_some() && (ready || !was_ready));
        let (status, ready) = under_way.unwrap_or((status, ready));
        if self.newest != Some((status, ready)) {
            self.next_seq();
            self.newest = Some((status, ready));
        }
        (status, ready, self.seq)
    }

    pub(crate) fn provider_exited(&mut self, why: Text) {
        self.exit = Some(why);
    }

    pub(crate) const fn last_exit(&self) -> Option<&Text> {
        self.exit.as_ref()
    }

    pub(crate) fn action_since(&self) -> Option<Wall> {
        self.action.map(|(_, since)| since)
    }

    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.timeline.iter()
    }

    pub(crate) fn journal_broken(&self) -> Option<&Text> {
        self.journal_broken.as_ref()
    }

    pub(crate) fn journal_broke(&mut self, why: Text) {
        self.journal_broken = Some(why);
    }

    /// After a loss of the link, the whole status is published anew.
    pub(crate) fn link_lost(&mut self) {
        self.forget_sent();
    }

    pub(crate) fn forget_sent(&mut self) {
        self.sent = None;
        self.in_flight = None;
    }

    /// Adds an entry; the oldest beyond the bound are counted by one entry.
    pub(crate) fn timeline(&mut self, status: Text, id: Option<Text>, timestamp: Wall, most: usize) {
        while self.timeline.len() >= most.max(1) {
            self.timeline.pop_front();
            self.timeline_dropped += 1;
        }
        self.timeline.push_back(Entry { status, id, timestamp });
        self.timeline_version += 1;
    }
}

impl Core {
    /// Ready: up, registered, and nothing that keeps messages from the provider for long.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready_but_for(self.action())
    }

    fn is_ready_but_for(&self, action: Option<Action>) -> bool {
        let goes_down = action.is_some() || self.ending.is_begun();
        let hidden = goes_down && !self.config.is_mutant(Mutant::ReadyWhileGoingDown);
        self.lifecycle.is_up() && self.link.epoch.is_some() && !hidden
    }

    pub(crate) fn action(&self) -> Option<Action> {
        if self.ending.is_begun() && !self.ending.is_draining() {
            return Some(if self.ending.is_kill() { Action::Killing } else { Action::ShuttingDown });
        }
        if self.lifecycle.is_parked() {
            return Some(Action::Parked);
        }
        let restarting = self.lifecycle.is_restarting() || self.lifecycle.is_cooling() || self.commands.is_restarting();
        restarting.then_some(Action::Restarting)
    }

    pub(crate) fn agent_status(&self) -> AgentStatus {
        if self.ending.is_begun() && !self.lifecycle.is_alive() {
            AgentStatus::Offline
        } else if self.work.is_busy() {
            AgentStatus::Busy
        } else {
            AgentStatus::Idle
        }
    }

    /// Toward the heartbeat, offline is idle.
    pub(crate) fn heartbeat_status(&self) -> AgentStatus {
        match self.agent_status() {
            AgentStatus::Busy => AgentStatus::Busy,
            AgentStatus::Idle | AgentStatus::Online | AgentStatus::Offline => AgentStatus::Idle,
        }
    }

    fn said_now(&self, action: Option<Action>) -> Said {
        Said {
            status: self.agent_status(),
            ready: self.is_ready_but_for(action),
            action,
            work: self.work.version(),
            approvals: self.approvals.version(),
            credential: self.credential.version(),
            timeline: self.status.timeline_version,
            generation: self.lifecycle.generation().0,
            journal_broken: self.status.journal_broken.is_some(),
            owed: self.owed.version(),
        }
    }

    /// Publishes what differs from the last status sent.
    pub(crate) fn publish(&mut self, fx: &mut Effects) {
        let action = self.action();
        if self.status.action.map(|(before, _)| before) != action {
            self.status.action = action.map(|action| (action, self.now.wall));
        }
        let Some(conn) = self.link.up() else { return };
        if self.status.in_flight.is_some() || self.ending.is_leaving() || self.is_superseded() {
            return;
        }
        let now = self.said_now(action);
        if self.status.sent == Some(now) {
            return;
        }
        let repeats = self.config.is_mutant(Mutant::RepeatsStatusNumbers);
        let seq = if repeats { self.status.seq() } else { self.status.next_seq() };
        self.status.sent = Some(now);
        self.status.newest = Some((now.status, now.ready));
        self.status.in_flight = Some(seq);
        self.status.dropped_told = self.status.timeline_dropped;
        self.deadlines.arm(TimerKey::StatusAck, self.now.mono, ACK);
        let frame = Frame::Status { seq, status: now.status, ready: now.ready };
        fx.push(Effect::Send { conn, frame });
    }

    pub(crate) fn status_acked(&mut self, frame: &str) {
        let seq = frame.strip_prefix("status-").and_then(|seq| seq.parse::<u64>().ok());
        if seq.is_none() || seq != self.status.in_flight {
            return;
        }
        self.status.in_flight = None;
        self.deadlines.clear(TimerKey::StatusAck);
        // What was said is said; entries that came since are kept by the version that differs.
        let said = self.status.sent.map_or(0, |sent| sent.timeline);
        let newer = usize::try_from(self.status.timeline_version - said).unwrap_or(usize::MAX);
        let drop = self.status.timeline.len().saturating_sub(newer);
        self.status.timeline.drain(..drop);
        self.status.timeline_dropped -= core::mem::take(&mut self.status.dropped_told);
    }

    /// Adds an entry about the provider process that is alive or was last.
    pub(crate) fn timeline(&mut self, status: &'static str) {
        let id = alloc::format!("{status}-{}", self.lifecycle.generation().0);
        self.timeline_of(status, id.into());
    }

    pub(crate) fn timeline_of(&mut self, status: &'static str, id: Text) {
        self.status.timeline(status.into(), Some(id), self.now.wall, self.config.limits.timeline);
    }
}
