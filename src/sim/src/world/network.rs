//! What lies between the runners and their relay: ways that take their time, and lose, repeat, reorder or hold up what
//! goes over them.

use relay_runner_core::event::{BusFrame, Failure, FailureKind, LinkReport, OpResult};
use relay_runner_core::{Call, Event, Lane, OpId};

use super::{Due, Job, World};
use crate::plan::{CallKind, Fate, FrameFate, Way};
use crate::relay::{Asked, Conn};

#[derive(Debug)]
pub(super) struct Network {
    /// How long a way takes at most.
    way: u64,
    slow: (u64, u64),
    pub(super) down_until: u64,
    pub(super) busy: (u64, u64),
    pub(super) errs_until: u64,
    pub(super) refuses_until: u64,
    /// Cuts: whose, in which direction, until when.
    cuts: Vec<(usize, Way, u64)>,
    calls: Vec<(CallKind, Fate, u64)>,
    frames: Vec<(usize, FrameFate, u64)>,
    text: relay_runner_core::Text,
}

/// A runner's connection.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    pub(super) conn: Conn,
    pub(super) open: bool,
    /// Nothing comes through any more, and nobody has said so yet.
    pub(super) half_open: bool,
    /// It was said to be over.
    pub(super) dead: bool,
    /// Frames arrive in the order in which they were sent.
    up: u64,
    down: u64,
}

impl Wire {
    pub(super) fn is(&self, conn: &Conn) -> bool {
        (self.conn.who, self.conn.life, self.conn.number) == (conn.who, conn.life, conn.number)
    }
}

/// Silence for this long ends a connection, give or take a ping.
const SILENCE: u64 = 45_000;
/// An attempt to connect is given up after this.
const DIAL: u64 = 10_000;
/// Calls on their way at a time.
const AT_A_TIME: usize = 32;

impl Network {
    pub(super) fn new(way: u64) -> Self {
        Self {
            way,
            slow: (0, 0),
            down_until: 0,
            busy: (0, 0),
            errs_until: 0,
            refuses_until: 0,
            cuts: Vec::new(),
            calls: Vec::new(),
            frames: Vec::new(),
            text: "lost on the way".into(),
        }
    }

    pub(super) fn is_down(&self, now: u64) -> bool {
        now < self.down_until
    }

    pub(super) fn slows(&mut self, extra: u64, until: u64) {
        self.slow = (extra, until);
    }

    pub(super) fn cuts(&mut self, who: usize, way: Way, until: u64) {
        self.cuts.push((who, way, until));
    }

    pub(super) fn meets(&mut self, kind: CallKind, fate: Fate, times: u64) {
        self.calls.push((kind, fate, times));
    }

    pub(super) fn meets_frames(&mut self, who: usize, fate: FrameFate, times: u64) {
        self.frames.push((who, fate, times));
    }

    pub(super) fn is_mended(&mut self) {
        let way = self.way.min(50);
        *self = Self { text: self.text.clone(), ..Self::new(way) };
    }

    fn fate_of(&mut self, call: &Call) -> Option<Fate> {
        if self.calls.is_empty() {
            return None;
        }
        let kind = kind_of(call);
        let at = self.calls.iter().position(|(of, ..)| *of == kind || *of == CallKind::Any)?;
        let fate = self.calls[at].1;
        self.calls[at].2 = self.calls[at].2.saturating_sub(1);
        if self.calls[at].2 == 0 {
            self.calls.remove(at);
        }
        Some(fate)
    }

    fn fate_of_frame(&mut self, who: usize) -> Option<FrameFate> {
        let at = self.frames.iter().position(|(of, ..)| *of == who)?;
        let fate = self.frames[at].1;
        self.frames[at].2 = self.frames[at].2.saturating_sub(1);
        if self.frames[at].2 == 0 {
            self.frames.remove(at);
        }
        Some(fate)
    }

    /// When a way that is cut now is open again.
    fn opens(&self, who: usize, way: Way, now: u64) -> u64 {
        let cut = |(of, cut, until): &(usize, Way, u64)| {
            (*of == who && *until > now && (*cut == way || *cut == Way::Both)).then_some(*until)
        };
        self.cuts.iter().filter_map(cut).max().unwrap_or(now)
    }

    pub(super) fn is_cut(&self, who: usize, now: u64) -> bool {
        self.cuts.iter().any(|(of, _, until)| *of == who && *until > now)
    }
}

const fn kind_of(call: &Call) -> CallKind {
    match call {
        Call::Claim { .. } => CallKind::Claim,
        Call::Renew { .. } => CallKind::Renew,
        Call::Release { .. } => CallKind::Release,
        Call::Task { .. } => CallKind::Task,
        Call::Read { .. } => CallKind::Read,
        Call::Delivery { .. } => CallKind::Stage,
        Call::Command { .. } => CallKind::Command,
        Call::SetStatus { .. } | Call::SetReady { .. } | Call::Heartbeat | Call::Unread { .. } | Call::Obligations => {
            CallKind::Liveness
        }
        Call::RenewToken { .. } => CallKind::Token,
        Call::DeleteAgent => CallKind::Farewell,
    }
}

impl World<'_> {
    /// When something that leaves now arrives.
    fn arrives(&mut self, who: usize, way: Way) -> u64 {
        let opens = self.network.opens(who, way, self.now);
        let mut most = self.network.way.max(1);
        if self.now < self.network.slow.1 {
            most += self.network.slow.0;
        }
        opens + 1 + self.draw(most)
    }

    /// A call takes its place in its lane.
    pub(super) fn calls(&mut self, who: usize, job: Job) {
        let runner = &mut self.runners[who];
        let lane = job.call.lane();
        let waits = runner.lanes.iter().any(|(of, _)| *of == lane);
        if waits || runner.lanes.len() >= AT_A_TIME {
            runner.waiting.push_back((lane, job));
            return;
        }
        runner.lanes.push((lane, job.op));
        self.sends(who, job);
    }

    /// The lane's call is over: the next may go.
    pub(super) fn next_in_lane(&mut self, who: usize, lane: &Lane) {
        let runner = &mut self.runners[who];
        runner.lanes.retain(|(of, _)| of != lane);
        let free = |(lane, _): &(Lane, Job)| !runner.lanes.iter().any(|(of, _)| of == lane);
        if runner.lanes.len() < AT_A_TIME
            && let Some(at) = runner.waiting.iter().position(free)
            && let Some((lane, job)) = runner.waiting.remove(at)
        {
            runner.lanes.push((lane, job.op));
            self.sends(who, job);
        }
    }

    fn sends(&mut self, who: usize, mut job: Job) {
        job.token = self.runners[who].token;
        let life = self.runners[who].life;
        let fate = self.network.fate_of(&job.call);
        let at = self.arrives(who, Way::Up);
        match fate {
            Some(Fate::Lost) => self.times_out(who, life, &job),
            Some(Fate::TooLate) => {
                self.times_out(who, life, &job);
                let late = job.deadline + 1 + self.draw(5_000);
                self.agenda.put(late, Due::Asks { who, life, job: Box::new(job), echo: true, fate: None });
            }
            Some(
                fate @ (Fate::Busy
                | Fate::Errs
                | Fate::Unauthorized
                | Fate::NotFound
                | Fate::Conflict
                | Fate::Expired
                | Fate::Invalid),
            ) => {
                let kind = match fate {
                    Fate::Busy => FailureKind::Busy { retry_after: Some(1_000) },
                    Fate::Unauthorized => FailureKind::Unauthorized,
                    Fate::NotFound => FailureKind::NotFound,
                    Fate::Conflict => FailureKind::Conflict,
                    Fate::Expired => FailureKind::Expired,
                    Fate::Invalid => FailureKind::Invalid,
                    _ => FailureKind::Server,
                };
                self.is_answered(who, life, &job, at, self.failed(kind));
            }
            fate => {
                if let Some(Fate::Twice) = fate {
                    let again = at + 1 + self.draw(5_000);
                    let echo = Due::Asks { who, life, job: Box::new(job.clone()), echo: true, fate: None };
                    self.agenda.put(again, echo);
                }
                if at > job.deadline {
                    self.times_out(who, life, &job);
                    self.agenda.put(at, Due::Asks { who, life, job: Box::new(job), echo: true, fate: None });
                } else {
                    self.agenda.put(at, Due::Asks { who, life, job: Box::new(job), echo: false, fate });
                }
            }
        }
    }

    fn failed(&self, kind: FailureKind) -> OpResult {
        OpResult::Failed(Failure { kind, text: self.network.text.clone() })
    }

    fn times_out(&mut self, who: usize, life: u32, job: &Job) {
        let result = self.failed(FailureKind::TimedOut);
        self.is_answered(who, life, job, job.deadline, result);
    }

    fn is_answered(&mut self, who: usize, life: u32, job: &Job, at: u64, result: OpResult) {
        let (at, result) =
            if at > job.deadline { (job.deadline, self.failed(FailureKind::TimedOut)) } else { (at, result) };
        let at = at.max(self.now);
        self.agenda.put(at, Due::Answered { who, life, op: job.op, lane: job.call.lane(), result });
    }

    /// A call reaches the relay.
    pub(super) fn asks(&mut self, who: usize, life: u32, job: &Job, echo: bool, fate: Option<Fate>) {
        let (busy, retry) = self.network.busy;
        let result = if self.network.is_down(self.now) {
            self.failed(FailureKind::Unreachable)
        } else if self.now < busy {
            self.failed(FailureKind::Busy { retry_after: Some(retry) })
        } else if self.now < self.network.errs_until {
            self.failed(FailureKind::Server)
        } else {
            let asked = Asked {
                instance: job.instance,
                agent: job.agent,
                key: job.key,
                epoch: job.epoch,
                token: job.token,
                call: job.call.clone(),
            };
            let result = self.relay.answers(&asked, self.now);
            if let OpResult::Granted { lease: Some(lease), .. } | OpResult::Renewed { lease: Some(lease) } = &result {
                self.agenda.put(self.now + lease + 1, Due::Lapses);
            }
            if let Some(odd) = self.relay.odd.take() {
                self.breaks(who, 10, odd);
            }
            result
        };
        if echo || !self.lives(who, life) {
            return;
        }
        let at = self.arrives(who, Way::Down);
        match fate {
            Some(Fate::AnswerLost) => self.times_out(who, life, job),
            Some(Fate::Broken) => {
                let broken = self.failed(FailureKind::Unreachable);
                self.is_answered(who, life, job, at, broken);
            }
            Some(Fate::Slow) => {
                let at = at + 1_000 + self.draw(13_000);
                self.is_answered(who, life, job, at, result);
            }
            _ => self.is_answered(who, life, job, at, result),
        }
    }

    pub(super) fn connects(&mut self, who: usize, number: u64) {
        self.hangs_up(who);
        let runner = &self.runners[who];
        let conn = Conn {
            who,
            life: runner.life,
            number,
            agent: runner.agent,
            instance: runner.instance,
            token: runner.token,
            registered: false,
        };
        let wire = Wire { conn, open: false, half_open: false, dead: false, up: 0, down: 0 };
        self.runners[who].wire = Some(wire);
        let at = self.arrives(who, Way::Up);
        if at > self.now + DIAL {
            let kind = FailureKind::TimedOut;
            self.link_fails(conn, self.now + DIAL, kind);
        } else {
            self.agenda.put(at, Due::Dials { conn });
        }
    }

    fn link_fails(&mut self, conn: Conn, at: u64, kind: FailureKind) {
        let failure = Failure { kind, text: self.network.text.clone() };
        let event = Event::Link(conn.number, LinkReport::Failed(failure));
        self.agenda.put(at, Due::Event { who: conn.who, life: conn.life, event });
    }

    /// The upgrade reaches the relay.
    pub(super) fn dials(&mut self, conn: Conn) {
        if !self.runners[conn.who].wire.as_ref().is_some_and(|wire| wire.is(&conn)) {
            return;
        }
        let at = self.arrives(conn.who, Way::Down);
        if self.network.is_down(self.now) {
            return self.link_fails(conn, at, FailureKind::Unreachable);
        }
        if self.now < self.network.busy.0 {
            return self.link_fails(conn, at, FailureKind::Busy { retry_after: None });
        }
        if at > self.now + DIAL {
            return self.link_fails(conn, self.now + DIAL, FailureKind::TimedOut);
        }
        if !self.relay.opens(conn, self.now) {
            return self.link_fails(conn, at, FailureKind::Unauthorized);
        }
        if let Some(token) = conn.token {
            let left = self.relay.tokens.ends(token).saturating_sub(self.relay.time(self.now));
            self.agenda.put(self.now + left + 1, Due::TokenEnds);
        }
        if let Some(wire) = &mut self.runners[conn.who].wire {
            wire.open = true;
            wire.down = at;
        }
        let event = Event::Link(conn.number, LinkReport::Opened);
        self.agenda.put(at, Due::Event { who: conn.who, life: conn.life, event });
    }

    /// The runner wants no more of its connection: what it said before still arrives.
    pub(super) fn hangs_up(&mut self, who: usize) {
        if let Some(wire) = self.runners[who].wire.take() {
            let at = wire.up.max(self.now) + self.network.way.max(1) + 1;
            let conn = wire.conn;
            self.agenda.put(at, Due::Hangs { conn });
        }
    }

    /// The relay learns that a connection is over; or, where it is the runner's own, silence ends it.
    pub(super) fn hangs(&mut self, conn: Conn) {
        let silent = self.runners[conn.who].wire.as_ref().is_some_and(|wire| wire.is(&conn) && !wire.dead);
        if !silent {
            self.relay.closes(conn.who, conn.life, conn.number);
            return;
        }
        let broken = self.runners[conn.who].wire.as_ref().is_some_and(|wire| wire.half_open);
        if broken || self.network.is_cut(conn.who, self.now) {
            self.drops(conn, "nothing was heard for 45 s");
        }
    }

    /// A connection breaks, and the runner sees it.
    pub(super) fn drops(&mut self, conn: Conn, why: &str) {
        self.relay.closes(conn.who, conn.life, conn.number);
        let Some(wire) = self.runners[conn.who].wire.as_mut().filter(|wire| wire.is(&conn) && !wire.dead) else {
            return;
        };
        wire.dead = true;
        let event = Event::Link(conn.number, LinkReport::Closed(why.into()));
        self.agenda.put(self.now + 1, Due::Event { who: conn.who, life: conn.life, event });
    }

    pub(super) fn conn_of(&self, who: usize) -> Option<Conn> {
        self.runners[who].wire.as_ref().filter(|wire| wire.open && !wire.dead).map(|wire| wire.conn)
    }

    /// From now on nothing is heard on it, and in time that is noticed.
    pub(super) fn goes_silent(&mut self, who: usize, half_open: bool) {
        let Some(conn) = self.conn_of(who) else { return };
        let since = self.draw(15_000);
        if let Some(wire) = &mut self.runners[who].wire {
            wire.half_open |= half_open;
        }
        self.agenda.put(self.now + SILENCE - since, Due::Hangs { conn });
    }

    pub(super) fn says(&mut self, who: usize, number: u64, up: crate::relay::Up) {
        let at = self.arrives(who, Way::Up);
        let Some(wire) = &mut self.runners[who].wire else { return };
        if wire.conn.number != number || wire.half_open || wire.dead {
            return;
        }
        wire.up = at.max(wire.up);
        let (at, conn) = (wire.up, wire.conn);
        self.agenda.put(at, Due::Up { conn, up });
    }

    /// What the relay has to say goes on its way.
    pub(super) fn flushes(&mut self) {
        if self.relay.outbox.is_empty() {
            return;
        }
        for (conn, frame) in std::mem::take(&mut self.relay.outbox) {
            let fate = self.network.fate_of_frame(conn.who);
            let at = self.arrives(conn.who, Way::Down);
            let Some(wire) = &mut self.runners[conn.who].wire else { continue };
            if !wire.is(&conn) || wire.half_open || wire.dead {
                continue;
            }
            let at = at.max(wire.down);
            match fate {
                Some(FrameFate::Lost) => {}
                Some(FrameFate::Late) => {
                    let late = at + 500 + self.draw(5_000);
                    self.agenda.put(late, Due::Frame { conn, frame });
                }
                Some(FrameFate::Twice) => {
                    wire.down = at;
                    let again = at + 1 + self.draw(2_000);
                    self.agenda.put(at, Due::Frame { conn, frame: frame.clone() });
                    self.agenda.put(again, Due::Frame { conn, frame });
                }
                Some(FrameFate::Garbled) => {
                    wire.down = at;
                    let frame = BusFrame::Malformed { reason: "made up".into() };
                    self.agenda.put(at, Due::Frame { conn, frame });
                }
                Some(FrameFate::Unknown) => {
                    wire.down = at;
                    let unknown = BusFrame::Unknown { kind: "made.up".into() };
                    self.agenda.put(at, Due::Frame { conn, frame: unknown });
                    self.agenda.put(at, Due::Frame { conn, frame });
                }
                None => {
                    wire.down = at;
                    self.agenda.put(at, Due::Frame { conn, frame });
                }
            }
        }
    }

    /// An answer to an operation of the shell itself.
    pub(super) fn done(&mut self, who: usize, op: OpId, after: u64, result: OpResult) {
        let life = self.runners[who].life;
        self.agenda.put(self.now + after, Due::Event { who, life, event: Event::Done(op, result) });
    }

    pub(super) fn fails(&mut self, who: usize, op: OpId, after: u64, kind: FailureKind) {
        let result = self.failed(kind);
        self.done(who, op, after, result);
    }
}
