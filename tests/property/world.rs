//! A made-up world around one core, moved by hand: every move is one thing that a relay, a provider, a person or the
//! clock can do next. A move whose precondition fails does nothing, so that any list of moves is a history, and a
//! shorter list is a shorter one.

mod moves;
mod provider;
mod relay;
mod rest;

use std::collections::{BTreeSet, VecDeque};

use relay_runner_core::config::{Adapter, Config, Identity, Limits};
use relay_runner_core::event::{
    BusFrame, CommandOrder, ExitClass, FailureKind, Incoming, LinkReport, OpResult, Order, Params, ProcessRef,
    RelayEvent, Signal, TurnEnd,
};
use relay_runner_core::{
    Act, BodyRef, Call, Core, DurableFacts, Effect, Effects, Event, Frame, Generation, MessageId, Offers, OpId, Stamp,
};
use serde::Serialize;

use crate::books::Books;
pub(crate) use moves::{anything, play, troubles, work};
use provider::{Process, exit};
pub(crate) use relay::Relay;
use relay::failed;

/// One thing that happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Move {
    /// The relay gets this message and tells us of it.
    Publish(MessageId),
    /// The next plain message, in the order of ids.
    PublishNext,
    /// The relay tells of it again.
    Again(MessageId),
    /// The n-th question is carried out and answered, or its held answer arrives.
    Answer(usize),
    /// It is carried out, and the answer is on its way for longer, or for ever.
    Hold(usize),
    /// It fails, and is not carried out.
    Fail(usize, FailureKind),
    /// Time passes up to the next deadline.
    Wait,
    /// This much time passes, however many deadlines lie in it.
    Pass(u64),
    /// The wall clock is set by this much.
    SetClock(i64),
    /// The machine sleeps: only the wall clock, and the relay, go on.
    Sleeps(u64),
    ComesUp,
    Takes,
    TakesIntoTurn,
    Busy,
    Idle,
    FailsTurn,
    PersonInterrupts,
    Exits(ExitClass),
    Says(Command),
    /// The n-th command so far is handed over again.
    SaysAgain(usize),
    Gets(Signal),
    RivalClaims(MessageId),
    RivalReleases(MessageId),
    Deletes(MessageId),
    LinkBreaks,
    /// The next status is lost on its way.
    LosesStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Command {
    Shutdown,
    Kill,
    Restart,
    Reconnect,
    Compact,
    Unknown,
    /// Not addressed to us.
    Foreign,
}

impl Command {
    const fn name(self) -> &'static str {
        match self {
            Self::Shutdown => "agent.shutdown",
            Self::Kill => "agent.kill",
            Self::Restart => "agent.restart",
            Self::Reconnect => "agent.reconnect",
            Self::Compact => "agent.compact",
            Self::Unknown | Self::Foreign => "agent.dance",
        }
    }
}

/// What is answered at once, without a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Routine {
    /// Connecting and registering.
    pub(crate) link: bool,
    /// Everything that concerns neither a claim, a task, a read mark, the provider nor an outcome.
    pub(crate) small: bool,
}

/// Asked for, and not answered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Open {
    pub(crate) op: OpId,
    question: Question,
    /// From then on the core does not wait for it any more.
    until: u64,
    /// Carried out already; this is the answer.
    result: Option<OpResult>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
enum Question {
    Shell,
    Call(Call),
    Spawn(Generation),
    Adopt(Generation, Offers),
    Prompt,
    Offer(Generation),
    Act,
}

impl Open {
    /// Without its answer the relay may not get to know how a command, or the run, has ended.
    fn is_last_word(&self) -> bool {
        matches!(self.question, Question::Call(Call::DeleteAgent | Call::Command { .. }))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) core: Core,
    pub(crate) now: Stamp,
    pub(crate) relay: Relay,
    pub(crate) process: Option<Process>,
    pub(crate) open: Vec<Open>,
    pub(crate) books: Books,
    /// What went wrong first.
    pub(crate) broken: Option<String>,
    /// What the last move brought about, as canonical text.
    pub(crate) told: Vec<String>,
    pub(crate) routine: Routine,
    pub(crate) commands: Vec<(Command, String)>,
    /// Commands that the runner acknowledged: the others are for the next run.
    pub(crate) accepted: BTreeSet<String>,
    conn: Option<u64>,
    registered: bool,
    seq: u64,
    /// What the bus could not say; it is sent once the runner asks for what it has missed.
    missed: Vec<(u64, BusFrame)>,
    /// How long the machine has slept so far.
    slept: u64,
    loses_status: bool,
    /// A last word to the relay was not answered, or not in time.
    pub(crate) cut_short: bool,
    heard: VecDeque<Event>,
}

/// Each kind of number begins at a place of its own.
pub(crate) const MONO: u64 = 1 << 40;
pub(crate) const WALL: u64 = 1 << 50;

pub(crate) fn config() -> Config {
    let identity = Identity {
        agent_id: "a1".into(),
        runner_id: "r1".into(),
        provider: "command".into(),
        label: Some("dev".into()),
        ..Identity::default()
    };
    let adapter = Adapter {
        restartable: true,
        evidence: true,
        interrupt: true,
        compact: true,
        clear: true,
        inject: true,
        ..Adapter::default()
    };
    Config { limits: Limits { held: 40, ..Limits::default() }, ..Config::new(identity, adapter, 7) }
}

/// A plain message to our agent, unless its number says that it is a task: 1000 and more.
fn post(id: MessageId) -> Incoming {
    let claimable = id >= 1_000;
    Incoming {
        id,
        from: "alice".into(),
        to: if claimable { "label:dev".into() } else { "a1".into() },
        resolved: None,
        kind: "chat".into(),
        claimable,
        urgent: false,
        reply_expected: false,
        read: false,
        claimed_by: None,
        // Two messages may carry one task.
        task: claimable.then_some(id / 2),
        attachments: 0,
        body: BodyRef { len: 400, trimmed: 400, digest: 1 },
    }
}

impl World {
    pub(crate) fn new(config: Config, facts: DurableFacts) -> Self {
        let now = Stamp::new(MONO, WALL);
        Self {
            core: Core::new(config, facts, now),
            now,
            relay: Relay::new(600_000),
            process: None,
            open: Vec::new(),
            books: Books::default(),
            broken: None,
            told: Vec::new(),
            routine: Routine { link: true, small: true },
            commands: Vec::new(),
            accepted: BTreeSet::new(),
            conn: None,
            registered: false,
            seq: 0,
            missed: Vec::new(),
            slept: 0,
            loses_status: false,
            cut_short: false,
            heard: VecDeque::new(),
        }
    }

    /// Booted, and registered where that is routine.
    pub(crate) fn booted(config: Config) -> Self {
        let mut world = Self::new(config, DurableFacts::new("run".into(), "instance".into()));
        world.hears(Event::Boot);
        world
    }

    /// The runner is killed and started again with its durable facts: the same relay, and no process but one that can be
    /// taken up.
    pub(crate) fn restarts(&mut self, facts: DurableFacts) {
        let left = facts.adoptable(self.core.config()).and(facts.provider.as_ref()).map(|left| left.generation);
        self.process = self.process.take().filter(|process| Some(process.generation) == left);
        if let Some(process) = &mut self.process {
            process.is_left();
        }
        self.books.restarts(&facts, left);
        self.core = Core::new(self.core.config().clone(), facts, self.now);
        self.open.clear();
        self.conn = None;
        self.registered = false;
        self.hears(Event::Boot);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.core.view().over
    }

    /// The relay's clock.
    fn relay_time(&self) -> u64 {
        self.now.mono + self.slept
    }

    /// Makes a move. False: it cannot be made now, and nothing happened.
    pub(crate) fn make(&mut self, what: Move) -> bool {
        self.told.clear();
        let event = match what {
            Move::Publish(id) if !self.relay.mail.contains_key(&id) => {
                let message = post(id);
                self.relay.publish(&message);
                Some(self.relay_event(RelayEvent::MessageNew(Box::new(message))))
            }
            Move::PublishNext => {
                let next = self.relay.mail.range(..1_000).next_back().map_or(1, |(id, _)| id + 1);
                return next < 1_000 && self.make(Move::Publish(next));
            }
            Move::Again(id) => {
                let known = self.relay.mail.get(&id).filter(|mail| !mail.deleted && !mail.held_by_rival());
                let Some(mail) = known else { return false };
                let message = Incoming { read: mail.read, ..mail.message.clone() };
                Some(self.relay_event(RelayEvent::MessageNew(Box::new(message))))
            }
            Move::RivalClaims(id) if self.relay.rival_claims(id, self.now.mono + self.slept) => {
                Some(self.relay_event(RelayEvent::MessageClaimed { message: id, by: Some("rival".into()) }))
            }
            Move::RivalReleases(id) if self.relay.rival_releases(id) => {
                Some(self.relay_event(RelayEvent::ClaimReleased { message: id }))
            }
            Move::Deletes(id) if self.relay.mail.get(&id).is_some_and(|mail| !mail.deleted) => {
                self.relay.mail.entry(id).and_modify(|mail| mail.deleted = true);
                Some(self.relay_event(RelayEvent::MessageDeleted { message: id }))
            }
            Move::Publish(_) | Move::RivalClaims(_) | Move::RivalReleases(_) | Move::Deletes(_) => return false,
            Move::Answer(n) => self.answer(n),
            Move::Hold(n) => return self.hold(n),
            Move::Fail(n, kind) => self.fail(n, kind),
            Move::Wait => return self.waits(),
            Move::Pass(millis) => return self.passes(millis),
            Move::SetClock(by) => {
                self.now.wall = self.now.wall.saturating_add_signed(by).max(1);
                Some(Event::Wake)
            }
            Move::Sleeps(millis) => {
                self.now.wall += millis;
                self.slept += millis;
                Some(Event::Wake)
            }
            Move::Says(command) => self.command(command, None),
            Move::SaysAgain(n) => {
                let Some((command, id)) = self.commands.get(n).cloned() else { return false };
                self.command(command, Some(id))
            }
            Move::Gets(signal) => Some(Event::Order(Order::Signal(signal))),
            Move::LosesStatus => {
                self.loses_status = true;
                return true;
            }
            Move::LinkBreaks => {
                self.registered = false;
                self.conn.take().map(|conn| Event::Link(conn, LinkReport::Closed("reset".into())))
            }
            Move::Exits(class) => self.process.take().map(|process| {
                let asked =
                    |question: &Question| matches!(question, Question::Offer(_) | Question::Prompt | Question::Act);
                self.open.retain(|open| !asked(&open.question));
                let class = if process.told.is_some() { ExitClass::Signal } else { class };
                // One that nobody has taken up yet ends unseen.
                let seen = process.heard || process.asked.is_some();
                if seen { Event::Provider(process.generation, exit(class)) } else { Event::Wake }
            }),
            Move::ComesUp
            | Move::Takes
            | Move::TakesIntoTurn
            | Move::Busy
            | Move::Idle
            | Move::FailsTurn
            | Move::PersonInterrupts => self.provider_acts(what),
        };
        event.is_some_and(|event| {
            self.hears(event);
            true
        })
    }

    fn provider_acts(&mut self, what: Move) -> Option<Event> {
        let process = self.process.as_mut()?;
        let (generation, heard) = (process.generation, process.heard);
        if what == Move::ComesUp && !heard {
            let says = process.is_taken_up()?;
            self.heard.extend(says.into_iter().map(|report| Event::Provider(generation, report)));
            return self.heard.pop_front();
        }
        let report = match what {
            Move::ComesUp => process.comes_up(),
            Move::Takes => process.takes(false),
            Move::TakesIntoTurn => process.takes(true),
            Move::Busy => process.gets_busy(),
            Move::Idle => process.gets_idle(TurnEnd::Normal),
            Move::FailsTurn => process.gets_idle(TurnEnd::Failed { error: "made up".into() }),
            Move::PersonInterrupts => process.gets_idle(TurnEnd::Interrupted { by_person: true }),
            _ => None,
        };
        report.map(|report| if heard { Event::Provider(generation, report) } else { Event::Wake })
    }

    /// What the bus says, when it can; what it cannot say is found by fetching.
    fn relay_event(&mut self, event: RelayEvent) -> Event {
        self.seq += 1;
        let frame = BusFrame::Event { frame: "e".into(), seq: self.seq, event };
        if let Some(conn) = self.conn.filter(|_| self.registered) {
            return Event::Bus(conn, frame);
        }
        self.missed.push((self.seq, frame));
        Event::Wake
    }

    fn command(&mut self, command: Command, again: Option<String>) -> Option<Event> {
        let conn = self.conn.filter(|_| self.registered)?;
        let id = again.unwrap_or_else(|| {
            let id = format!("c{}", self.commands.len());
            self.commands.push((command, id.clone()));
            id
        });
        let target = if command == Command::Foreign { "another" } else { "a1" };
        let order = CommandOrder {
            id: id.as_str().into(),
            name: command.name().into(),
            target: Some(target.into()),
            params: Params::default(),
        };
        Some(Event::Bus(conn, BusFrame::Command { frame: id.into(), command: Box::new(order) }))
    }

    fn answer(&mut self, n: usize) -> Option<Event> {
        if n >= self.open.len() {
            return None;
        }
        let open = self.open.remove(n);
        let result = match open.result {
            Some(result) => result,
            None => self.carry_out(&open.question),
        };
        Some(Event::Done(open.op, result))
    }

    fn hold(&mut self, n: usize) -> bool {
        let Some(question) = self.open.get(n).filter(|open| open.result.is_none()).map(|open| open.question.clone())
        else {
            return false;
        };
        let result = self.carry_out(&question);
        self.open[n].result = Some(result);
        true
    }

    fn fail(&mut self, n: usize, kind: FailureKind) -> Option<Event> {
        let now = self.now.mono;
        self.open.get(n).filter(|open| open.result.is_none() && open.until > now)?;
        let open = self.open.remove(n);
        self.cut_short |= open.is_last_word();
        let (Question::Spawn(generation) | Question::Adopt(generation, _)) = open.question else {
            return Some(Event::Done(open.op, failed(kind)));
        };
        // A start that fails has left no process.
        self.process.take_if(|process| process.generation == generation);
        Some(Event::Done(open.op, failed(FailureKind::Io)))
    }

    fn carry_out(&mut self, question: &Question) -> OpResult {
        match question {
            Question::Call(call) => self.relay.answer(call, self.relay_time()),
            Question::Spawn(generation) => {
                let pid = u32::try_from(generation.0).unwrap_or(0);
                OpResult::Spawned(ProcessRef { pid, started: 1, boot: "boot".into() })
            }
            Question::Adopt(generation, offers) => {
                match self.process.as_mut().filter(|process| process.generation == *generation) {
                    Some(process) => {
                        process.asked = Some(offers.to_vec());
                        let pid = u32::try_from(generation.0).unwrap_or(0);
                        OpResult::Spawned(ProcessRef { pid, started: 1, boot: "boot".into() })
                    }
                    None => failed(FailureKind::NotFound),
                }
            }
            Question::Shell | Question::Prompt | Question::Offer(_) | Question::Act => OpResult::Ok,
        }
    }

    /// Time passes up to the next deadline of the core, or the end of a lease on the relay.
    fn waits(&mut self) -> bool {
        let Some((at, _)) = self.core.next_deadline() else { return false };
        let lapse = self.relay.next_lapse(self.relay_time()).map(|lapse| lapse - self.slept);
        let at = lapse.map_or(at, |lapse| lapse.min(at));
        self.goes_to(at);
        true
    }

    fn passes(&mut self, millis: u64) -> bool {
        let end = self.now.mono + millis;
        while let Some((at, _)) = self.core.next_deadline().filter(|(at, _)| *at <= end) {
            self.goes_to(at);
            if self.broken.is_some() {
                return true;
            }
        }
        self.goes_to(end);
        true
    }

    fn goes_to(&mut self, at: u64) {
        let at = at.max(self.now.mono);
        self.now = Stamp::new(at, self.now.wall + (at - self.now.mono));
        self.cut_short |= self.open.iter().any(Open::is_last_word);
        // What was not carried out by now never will be, except a start: its process is there.
        self.open.retain(|open| {
            let starts = matches!(open.question, Question::Spawn(_) | Question::Adopt(..));
            open.until > at || open.result.is_some() || starts
        });
        self.hears(Event::Wake);
    }

    /// Steps the core, and answers what is routine, until nothing is left to be heard.
    pub(crate) fn hears(&mut self, event: Event) {
        self.heard.push_back(event);
        let mut fx = Effects::new();
        while let Some(event) = self.heard.pop_front() {
            self.books.hears(self.now, &event);
            fx.clear();
            self.core.step(self.now, event, &mut fx);
            for effect in &fx.effects {
                self.told.push(effect.to_string());
                let seen = self.books.sees(self.now, effect);
                self.is_sound(seen);
                self.take_in(effect);
            }
            let sound = self.holds_together(&fx);
            self.is_sound(sound);
        }
    }

    fn is_sound(&mut self, seen: Result<(), String>) {
        if let Err(broken) = seen {
            self.broken.get_or_insert(broken);
        }
    }

    /// What must hold after every step.
    fn holds_together(&self, fx: &Effects) -> Result<(), String> {
        let view = self.core.view();
        match self.core.next_deadline() {
            None if !view.over => return Err("invariant 13: nothing is armed, and the run is not over".into()),
            Some(_) if view.over => return Err("invariant 7: something is armed after the end".into()),
            Some((at, key)) if at < self.now.mono => return Err(format!("{key:?} is overdue")),
            _ => {}
        }
        let going_down = view.ending.is_some() || view.lifecycle_action.is_some();
        let says_ready = fx.effects.iter().any(|effect| {
            matches!(
                effect,
                Effect::Send { frame: Frame::Status { ready: true, .. }, .. }
                    | Effect::Http { call: Call::SetReady { ready: true, .. }, .. }
            )
        });
        if going_down && (view.ready || says_ready) {
            return Err(format!("ready while {:?} {:?}", view.ending, view.lifecycle_action));
        }
        let limits = &self.core.config().limits;
        if view.messages.len() > limits.held || view.reports_waiting > limits.reports + limits.held {
            return Err("invariant 11: more is held than the configuration allows".into());
        }
        Ok(())
    }

    fn take_in(&mut self, effect: &Effect) {
        match effect {
            Effect::StartControl { op } | Effect::WriteInfo { op } | Effect::ReadSettings { op } => {
                self.ask(*op, Question::Shell, 10_000);
            }
            Effect::FetchAttachments { op, deadline, .. } => self.ask(*op, Question::Shell, deadline + 1_000),
            Effect::Http { op, deadline, call, .. } => {
                self.ask(*op, Question::Call(call.clone()), deadline + 1_000);
            }
            Effect::Spawn { op, generation, .. } => {
                self.process = Some(Process::new(*generation));
                self.ask(*op, Question::Spawn(*generation), 90_000);
            }
            Effect::Adopt { op, generation, offers, .. } => {
                self.ask(*op, Question::Adopt(*generation, offers.clone()), 90_000);
            }
            Effect::Provider { op, generation, act } => self.act(*op, *generation, act),
            Effect::Stop { generation, step } => {
                self.answers_adoption(*generation);
                if let Some(process) = self.process.as_mut().filter(|process| process.generation == *generation) {
                    process.told = process.told.max(Some(*step));
                }
            }
            Effect::Connect { conn } => {
                self.conn = Some(*conn);
                self.registered = false;
                if self.routine.link {
                    self.heard.push_back(Event::Link(*conn, LinkReport::Opened));
                }
            }
            Effect::Disconnect { .. } => {
                self.conn = None;
                self.registered = false;
            }
            Effect::Send { conn, frame } => self.frame(*conn, frame),
            Effect::UseToken { .. } | Effect::Answer { .. } | Effect::Finish { .. } => {}
        }
    }

    /// Whoever takes a process up answers before it looks at what it is to do with it.
    fn answers_adoption(&mut self, generation: Generation) {
        let is_it = |open: &Open| matches!(&open.question, Question::Adopt(of, _) if *of == generation);
        if let Some(at) = self.open.iter().position(is_it)
            && let Some(answer) = self.answer(at)
        {
            self.heard.push_back(answer);
        }
    }

    fn frame(&mut self, conn: u64, frame: &Frame) {
        match frame {
            Frame::Register if self.conn == Some(conn) => {
                self.registered = true;
                self.relay.deleted = false;
                let frame = BusFrame::Registered { epoch: 1, cursor: self.seq, relay: None, heartbeat: None };
                self.heard.push_back(Event::Bus(conn, frame));
            }
            Frame::Status { .. } if std::mem::take(&mut self.loses_status) => {}
            Frame::Status { seq, status, ready } if self.registered => {
                self.relay.show(*seq, Some(*status), Some(*ready));
                let frame = BusFrame::Ack { frame: format!("status-{seq}").into() };
                self.heard.push_back(Event::Bus(conn, frame));
            }
            Frame::Resume { since } => {
                let missed = std::mem::take(&mut self.missed).into_iter().filter(|(seq, _)| seq > since);
                self.heard.extend(missed.map(|(_, frame)| Event::Bus(conn, frame)));
            }
            Frame::Ack { frame } if self.commands.iter().any(|(_, id)| **id == **frame) => {
                self.accepted.insert(frame.to_string());
            }
            Frame::Register | Frame::Status { .. } | Frame::Heartbeat { .. } | Frame::Ack { .. } => {}
        }
    }

    fn act(&mut self, op: OpId, generation: Generation, act: &Act) {
        let question = match act {
            Act::Offer { offers } => {
                if let Some(process) = self.process.as_mut().filter(|process| process.generation == generation) {
                    process.is_handed(offers);
                }
                Question::Offer(generation)
            }
            Act::Prompt => Question::Prompt,
            Act::Tell { .. }
            | Act::Interrupt
            | Act::Probe
            | Act::Compact
            | Act::Clear
            | Act::Inject { .. }
            | Act::Decide { .. } => Question::Act,
        };
        let wait = if matches!(act, Act::Compact | Act::Clear | Act::Inject { .. }) { 300_000 } else { 30_000 };
        self.ask(op, question, wait);
    }

    fn ask(&mut self, op: OpId, question: Question, wait: u64) {
        let small = match &question {
            Question::Shell => true,
            Question::Call(call) => match call {
                Call::Delivery { .. }
                | Call::SetStatus { .. }
                | Call::SetReady { .. }
                | Call::Heartbeat
                | Call::Unread { .. }
                | Call::Obligations
                | Call::RenewToken { .. } => true,
                Call::Command { outcome, .. } => outcome.is_none(),
                Call::Claim { .. }
                | Call::Renew { .. }
                | Call::Release { .. }
                | Call::Read { .. }
                | Call::Task { .. }
                | Call::DeleteAgent => false,
            },
            Question::Spawn(_) | Question::Adopt(..) | Question::Prompt | Question::Offer(_) | Question::Act => false,
        };
        if small && self.routine.small {
            let result = self.carry_out(&question);
            self.heard.push_back(Event::Done(op, result));
        } else {
            self.open.push(Open { op, question, until: self.now.mono + wait, result: None });
        }
    }
}
