//! One core, and a world drawn from a seed around it.

use relay_runner_core::config::{Adapter, Config, Delivery, Identity, Limits, MarkRead, OnGiveUp};
use relay_runner_core::event::{
    ApprovalRequest, BusFrame, CommandOrder, Event, ExitClass, ExitReport, Failure, FailureKind, Incoming, LinkReport,
    OpResult, Order, Params, ProcessRef, ProviderReport, RelayEvent, ReportStatus, Signal, StatusReport, TakenOffer,
    TokenRecord, TurnEnd,
};
use relay_runner_core::{
    Act, BodyRef, Call, Core, DurableFacts, Effect, Effects, Frame, Generation, MessageId, OpId, Stamp, TokenSlot,
};
use relay_runner_protocol::ErrorCode;
use std::collections::BTreeMap;

use crate::chance::Chance;

/// How often, in a thousand, something goes wrong where it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mood {
    /// A call of the relay fails, or its answer is lost.
    pub relay: u64,
    /// The link breaks.
    pub link: u64,
    /// The provider dies, fails a turn, refuses an offer, or says something out of order.
    pub provider: u64,
    /// Something late, repeated or made up arrives.
    pub noise: u64,
    /// Somebody gives a command.
    pub orders: u64,
    /// An order may end the run.
    pub ends: bool,
}

impl Mood {
    /// Nothing goes wrong.
    pub const CALM: Self = Self { relay: 0, link: 0, provider: 0, noise: 0, orders: 0, ends: false };
    /// Everything goes wrong now and then.
    pub const ROUGH: Self = Self { relay: 100, link: 10, provider: 60, noise: 60, orders: 15, ends: true };
}

/// A core at work. Feed it with [`Run::step`] for as long as you like.
#[derive(Debug, Clone)]
pub struct Run {
    pub core: Core,
    pub now: Stamp,
    pub fx: Effects,
    chance: Chance,
    mood: Mood,
    booted: bool,
    conn: Option<u64>,
    registered: bool,
    seq: u64,
    next_message: u64,
    fences: u64,
    /// The relay's claims: fence, and until when.
    claims: BTreeMap<MessageId, (u64, u64)>,
    /// Asked for and not answered yet.
    asked: Vec<(OpId, Question)>,
    provider: Option<Provider>,
    /// Processes that were stopped, and whose exit is not reported yet.
    stopped: Vec<Generation>,
    /// Statuses that are not acknowledged yet.
    statuses: Vec<u64>,
    commands: u64,
    tokens: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Question {
    Shell,
    Call(Call),
    Spawn(Generation),
    Act(Generation, Act),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Provider {
    generation: Generation,
    spawned: bool,
    up: bool,
    busy: bool,
    /// Handed over and not taken yet.
    offered: Vec<TakenOffer>,
    /// Taken and not worked yet.
    taken: usize,
}

/// A configuration with everything on, and bounds small enough to be met.
pub fn config(seed: u64) -> Config {
    let identity = Identity {
        agent_id: "a1".into(),
        runner_id: "r1".into(),
        provider: "command".into(),
        label: Some("dev".into()),
        tags: vec!["rust".into()],
        capabilities: vec!["chat".into()],
        ..Identity::default()
    };
    let adapter = Adapter {
        restartable: true,
        adoptable: false,
        typed: false,
        evidence: true,
        steer: true,
        interrupt: true,
        compact: true,
        clear: true,
        inject: true,
        between_turns: false,
        attach: false,
        live: false,
    };
    Config {
        delivery: if seed.is_multiple_of(3) { Delivery::Steer } else { Delivery::Queue },
        mark_read: if seed.is_multiple_of(5) { MarkRead::Taken } else { MarkRead::Worked },
        on_give_up: OnGiveUp::Park,
        // Every other agent has a token, of some minutes to some hours.
        credential: (seed % 4 < 2).then(|| TokenRecord {
            jti: Some("j0".into()),
            profile: Some("provider-agent".into()),
            expires_at: Some(BEGIN / 1_000 + 60 + seed % 7 * 1_200),
        }),
        first_prompt: seed.is_multiple_of(2).then(|| BodyRef::of("begin")),
        limits: Limits { held: 40, claims: 3, fetch: 10, ..Limits::default() },
        ..Config::new(identity, adapter, seed)
    }
}

/// The wall clock of every run begins here, in milliseconds since the epoch.
const BEGIN: u64 = 1_800_000_000_000;

impl Run {
    pub fn new(seed: u64, mood: Mood) -> Self {
        Self::with(config(seed), mood)
    }

    pub fn with(config: Config, mood: Mood) -> Self {
        let now = Stamp::new(1_000, BEGIN);
        let seed = config.seed;
        Self {
            core: Core::new(config, DurableFacts::new("run".into(), "instance".into()), now),
            now,
            fx: Effects::new(),
            chance: Chance::new(seed),
            mood,
            booted: false,
            conn: None,
            registered: false,
            seq: 0,
            next_message: 1,
            fences: 0,
            claims: BTreeMap::new(),
            asked: Vec::new(),
            provider: None,
            stopped: Vec::new(),
            statuses: Vec::new(),
            commands: 0,
            tokens: 0,
        }
    }

    /// Draws the next event, steps the core with it, and takes in what it asks for. Returns the event and its time.
    pub fn step(&mut self) -> (Stamp, Event) {
        let event = self.draw();
        self.feed(event.clone());
        (self.now, event)
    }

    fn feed(&mut self, event: Event) {
        self.fx.clear();
        self.core.step(self.now, event, &mut self.fx);
        self.take_in();
    }

    /// Answers all that is asked, and what is asked because of that, in no time.
    pub fn catch_up(&mut self) {
        while !self.asked.is_empty() {
            if let Some(event) = self.answer() {
                self.feed(event);
            }
        }
    }

    /// Whether the run has come to its end.
    pub fn is_over(&self) -> bool {
        self.core.view().over
    }

    /// Answers what was asked, lets the provider and the relay act, or lets time pass.
    fn draw(&mut self) -> Event {
        if !self.booted {
            self.booted = true;
            return Event::Boot;
        }
        self.now.mono += self.chance.below(20);
        self.now.wall += self.now.mono.saturating_sub(self.core.now().mono);
        if self.chance.permille(self.mood.noise / 20) {
            // The machine sleeps, or somebody sets the clock.
            self.now.wall += self.chance.below(600_000);
        }
        if self.chance.permille(self.mood.noise) {
            return self.noise();
        }
        if self.chance.permille(self.mood.orders) {
            return self.order();
        }
        if let Some(event) = self.link() {
            return event;
        }
        if let Some(generation) = self.stopped.pop() {
            return Event::Provider(generation, ProviderReport::Exit(exit(ExitClass::Signal)));
        }
        if self.registered
            && let Some(seq) = self.statuses.pop()
        {
            self.statuses.clear();
            let frame = BusFrame::Ack { frame: format!("status-{seq}").into() };
            return Event::Bus(self.conn.unwrap_or(0), frame);
        }
        if self.chance.permille(600)
            && let Some(event) = self.answer()
        {
            return event;
        }
        if self.chance.permille(500)
            && let Some(event) = self.provider_acts()
        {
            return event;
        }
        if self.registered && self.chance.permille(120) {
            return self.message();
        }
        self.time_passes()
    }

    fn time_passes(&mut self) -> Event {
        let limit = self.now.mono + 1 + self.chance.below(2_000);
        let at = self.core.next_deadline().map_or(limit, |(at, _)| at.min(limit)).max(self.now.mono);
        self.now.wall += at - self.now.mono;
        self.now.mono = at;
        Event::Wake
    }

    fn link(&mut self) -> Option<Event> {
        let conn = self.conn?;
        if self.registered {
            if self.chance.permille(self.mood.link) {
                self.conn = None;
                self.registered = false;
                return Some(Event::Link(conn, LinkReport::Closed("reset".into())));
            }
            return None;
        }
        if self.chance.permille(self.mood.link * 10) {
            self.conn = None;
            return Some(Event::Link(conn, LinkReport::Failed(failure(FailureKind::Unreachable))));
        }
        match self.core.view().link.state {
            "connecting" => Some(Event::Link(conn, LinkReport::Opened)),
            "registering" => {
                self.registered = true;
                let frame = BusFrame::Registered { epoch: 1, cursor: self.seq, relay: None, heartbeat: Some(30_000) };
                Some(Event::Bus(conn, frame))
            }
            _ => None,
        }
    }

    fn answer(&mut self) -> Option<Event> {
        if self.asked.is_empty() {
            return None;
        }
        let at = usize::try_from(self.chance.below(self.asked.len() as u64)).unwrap_or(0);
        let (op, question) = self.asked.remove(at);
        let result = match question {
            Question::Shell => OpResult::Ok,
            Question::Call(call) => self.relay_answers(&call)?,
            Question::Spawn(generation) => {
                if self.chance.permille(self.mood.provider / 4) {
                    self.provider = None;
                    OpResult::Failed(failure(FailureKind::Io))
                } else {
                    if let Some(provider) = &mut self.provider {
                        provider.spawned |= provider.generation == generation;
                    }
                    let pid = 100 + u32::try_from(generation.0).unwrap_or(0);
                    OpResult::Spawned(ProcessRef { pid, started: 1, boot: "boot".into() })
                }
            }
            Question::Act(generation, act) => self.provider_answers(generation, act)?,
        };
        Some(Event::Done(op, result))
    }

    fn relay_answers(&mut self, call: &Call) -> Option<OpResult> {
        if self.chance.permille(self.mood.relay) {
            let kinds = [
                FailureKind::Unreachable,
                FailureKind::TimedOut,
                FailureKind::Conflict,
                FailureKind::Expired,
                FailureKind::NotFound,
                FailureKind::Server,
                FailureKind::Unauthorized,
                FailureKind::Busy { retry_after: Some(2_000) },
            ];
            if self.chance.permille(200) {
                // The answer is lost.
                return None;
            }
            return self.chance.pick(&kinds).copied().map(|kind| OpResult::Failed(failure(kind)));
        }
        Some(match call {
            Call::Claim { message } => {
                if self.chance.permille(self.mood.relay) {
                    self.claims.remove(message);
                    OpResult::Refused { by: Some("rival".into()) }
                } else {
                    self.grant(*message)
                }
            }
            Call::Renew { message, fence } => match self.claims.get(message) {
                Some((held, until)) if held == fence && *until > self.now.mono => {
                    // A renewal never makes a lease shorter.
                    let until = (*until).max(self.now.mono + 10_000 + self.chance.below(600_000));
                    self.claims.insert(*message, (*fence, until));
                    OpResult::Renewed { lease: Some(until - self.now.mono) }
                }
                Some((held, _)) if held == fence => OpResult::Failed(failure(FailureKind::Expired)),
                Some(_) | None => OpResult::Failed(failure(FailureKind::Conflict)),
            },
            Call::Release { message, fence } => {
                if self.claims.get(message).is_some_and(|(held, _)| held == fence) {
                    self.claims.remove(message);
                }
                OpResult::Ok
            }
            Call::Heartbeat if self.chance.permille(self.mood.relay / 10) => OpResult::Pruned,
            Call::Unread { limit, .. } => {
                let mut messages = Vec::new();
                if self.chance.permille(200) {
                    for _ in 0..self.chance.below(u64::from(*limit) + 1) {
                        messages.push(self.incoming());
                    }
                }
                let full = messages.len() >= *limit as usize;
                OpResult::Unread { messages, full }
            }
            Call::Obligations => {
                OpResult::Owed { messages: (0..self.chance.below(4)).map(|_| self.chance.below(20)).collect() }
            }
            Call::RenewToken { .. } => {
                self.tokens += 1;
                let expires_at = Some(self.now.wall / 1_000 + self.chance.below(4_000));
                let record = TokenRecord { jti: Some(format!("j{}", self.tokens).into()), profile: None, expires_at };
                OpResult::Token { slot: TokenSlot(self.tokens), record }
            }
            Call::Read { .. }
            | Call::Delivery { .. }
            | Call::Task { .. }
            | Call::Command { .. }
            | Call::SetStatus { .. }
            | Call::SetReady { .. }
            | Call::Heartbeat
            | Call::DeleteAgent => OpResult::Ok,
        })
    }

    /// The holder asking again gets its claim, with what is left of it.
    fn grant(&mut self, message: MessageId) -> OpResult {
        if let Some((fence, until)) = self.claims.get(&message).filter(|(_, until)| *until > self.now.mono) {
            return OpResult::Granted { fence: *fence, lease: Some(until - self.now.mono) };
        }
        self.fences += 1;
        let lease = 10_000 + self.chance.below(600_000);
        self.claims.insert(message, (self.fences, self.now.mono + lease));
        OpResult::Granted { fence: self.fences, lease: Some(lease) }
    }

    fn provider_answers(&mut self, generation: Generation, act: Act) -> Option<OpResult> {
        let provider = self.provider.as_mut().filter(|p| p.generation == generation && p.up)?;
        if self.chance.permille(self.mood.provider) {
            let kinds = [FailureKind::Provider, FailureKind::NotReady, FailureKind::TimedOut, FailureKind::Unsupported];
            return self.chance.pick(&kinds).copied().map(|kind| OpResult::Failed(failure(kind)));
        }
        if let Act::Offer { offers } = act {
            provider
                .offered
                .extend(offers.iter().map(|offer| TakenOffer { message: offer.message, nonce: Some(offer.nonce) }));
        }
        Some(OpResult::Ok)
    }

    fn provider_acts(&mut self) -> Option<Event> {
        let rough = self.chance.permille(self.mood.provider / 4);
        let end = self.turn_end();
        let provider = self.provider.as_mut().filter(|p| p.spawned)?;
        let generation = provider.generation;
        if rough {
            self.provider = None;
            let classes = [ExitClass::Crash, ExitClass::Signal, ExitClass::Clean, ExitClass::Hang];
            let class = self.chance.pick(&classes).copied().unwrap_or(ExitClass::Crash);
            return Some(Event::Provider(generation, ProviderReport::Exit(exit(class))));
        }
        let report = if !provider.up {
            provider.up = true;
            ProviderReport::Ready
        } else if !provider.offered.is_empty() {
            provider.taken += provider.offered.len();
            ProviderReport::Taken { offers: std::mem::take(&mut provider.offered), into_turn: provider.busy }
        } else if provider.busy {
            provider.busy = false;
            provider.taken = 0;
            ProviderReport::Status(Box::new(StatusReport { end, ..StatusReport::default() }))
        } else if provider.taken > 0 {
            provider.busy = true;
            ProviderReport::Status(Box::new(StatusReport { status: ReportStatus::Busy, ..StatusReport::default() }))
        } else {
            return None;
        };
        Some(Event::Provider(generation, report))
    }

    fn turn_end(&mut self) -> TurnEnd {
        if !self.chance.permille(self.mood.provider) {
            return TurnEnd::Normal;
        }
        match self.chance.below(3) {
            0 => TurnEnd::Failed { error: "the model's service is down".into() },
            1 => TurnEnd::Interrupted { by_person: false },
            _ => TurnEnd::Interrupted { by_person: true },
        }
    }

    fn message(&mut self) -> Event {
        let message = self.incoming();
        self.event(RelayEvent::MessageNew(Box::new(message)))
    }

    fn event(&mut self, event: RelayEvent) -> Event {
        self.seq += 1;
        let frame = format!("e{}", self.seq).into();
        Event::Bus(self.conn.unwrap_or(0), BusFrame::Event { frame, seq: self.seq, event })
    }

    fn incoming(&mut self) -> Incoming {
        let id = self.next_message;
        self.next_message += 1;
        let claimable = self.chance.permille(300);
        Incoming {
            id,
            from: "alice".into(),
            to: if self.chance.permille(200) { "label:dev".into() } else { "a1".into() },
            resolved: None,
            kind: "chat".into(),
            claimable,
            urgent: self.chance.permille(50),
            reply_expected: false,
            read: false,
            claimed_by: None,
            task: claimable.then(|| id / 2 + 1),
            attachments: 0,
            body: BodyRef { len: 400, trimmed: 400, digest: id },
        }
    }

    /// Something late, repeated or made up.
    fn noise(&mut self) -> Event {
        // An old one, the present one, or one that will not be for long; never the next, which may begin in this step.
        let present = self.core.view().process.generation.0;
        let generation =
            Generation(if self.chance.permille(100) { present + 5 } else { self.chance.below(present + 1) });
        let conn = self.chance.below(4);
        let message = 1 + self.chance.below(self.next_message);
        match self.chance.below(14) {
            0 => Event::Done(OpId(self.chance.below(400)), OpResult::Ok),
            1 => Event::Done(OpId(self.chance.below(400)), OpResult::Granted { fence: 1, lease: Some(1) }),
            2 => Event::Provider(generation, ProviderReport::Exit(exit(ExitClass::Crash))),
            3 => Event::Provider(generation, ProviderReport::Status(Box::default())),
            4 => Event::Provider(
                generation,
                ProviderReport::Taken { offers: vec![TakenOffer { message, nonce: None }], into_turn: true },
            ),
            5 => Event::Link(conn, LinkReport::Closed("late".into())),
            6 => Event::Bus(self.conn.unwrap_or(conn), BusFrame::Malformed { reason: "made up".into() }),
            7 => self.event(RelayEvent::MessageDeleted { message }),
            8 => self.event(RelayEvent::MessageClaimed { message, by: Some("rival".into()) }),
            9 => self.event(RelayEvent::ClaimReleased { message }),
            10 => Event::Bus(
                self.conn.unwrap_or(conn),
                BusFrame::Error { code: ErrorCode::RateLimited, message: "slow down".into() },
            ),
            11 => {
                let request = ApprovalRequest { id: "p1".into(), kind: "shell".into(), tool: None, reason: None };
                Event::Provider(generation, ProviderReport::ApprovalOpened(Box::new(request)))
            }
            12 => Event::Provider(generation, ProviderReport::ApprovalClosed { id: "p1".into() }),
            _ => Event::Boot,
        }
    }

    fn order(&mut self) -> Event {
        let names = [
            "agent.restart",
            "agent.reconnect",
            "agent.compact",
            "agent.clearContext",
            "agent.permissionDecision",
            "agent.dance",
            "agent.shutdown",
            "agent.kill",
        ];
        let most = if self.mood.ends && self.chance.permille(50) { names.len() } else { names.len() - 2 };
        let name = names[usize::try_from(self.chance.below(most as u64)).unwrap_or(0)];
        if self.mood.ends && self.chance.permille(10) {
            let signals = [Signal::Term, Signal::Quit, Signal::Usr2];
            let signal = self.chance.pick(&signals).copied().unwrap_or(Signal::Term);
            return Event::Order(Order::Signal(signal));
        }
        self.commands += 1;
        // Now and then one that is known already.
        let number = if self.chance.permille(200) { self.commands / 2 } else { self.commands };
        let params = Params { approval: Some("p1".into()), decision: Some("approve".into()), ..Params::default() };
        let command = CommandOrder { id: format!("c{number}").into(), name: name.into(), target: None, params };
        Event::Bus(
            self.conn.unwrap_or(0),
            BusFrame::Command { frame: format!("c-{number}").into(), command: Box::new(command) },
        )
    }

    /// Takes in what the core asked for.
    fn take_in(&mut self) {
        for effect in &self.fx.effects {
            match effect {
                Effect::StartControl { op }
                | Effect::WriteInfo { op }
                | Effect::ReadSettings { op }
                | Effect::FetchAttachments { op, .. } => {
                    self.asked.push((*op, Question::Shell));
                }
                Effect::Connect { conn } => {
                    self.conn = Some(*conn);
                    self.registered = false;
                }
                Effect::Disconnect { .. } => {
                    self.conn = None;
                    self.registered = false;
                }
                Effect::Send { conn, frame: Frame::Register } if self.conn == Some(*conn) => self.registered = false,
                Effect::Send { frame: Frame::Status { seq, .. }, .. } => self.statuses.push(*seq),
                Effect::Send { .. } | Effect::UseToken { .. } | Effect::Answer { .. } | Effect::Finish { .. } => {}
                Effect::Http { op, call, .. } => self.asked.push((*op, Question::Call(call.clone()))),
                Effect::Spawn { op, generation, .. } => {
                    self.asked.push((*op, Question::Spawn(*generation)));
                    self.provider = Some(Provider {
                        generation: *generation,
                        spawned: false,
                        up: false,
                        busy: false,
                        offered: Vec::new(),
                        taken: 0,
                    });
                }
                Effect::Adopt { .. } => unreachable!("its adapter takes nothing up"),
                Effect::Provider { op, generation, act } => {
                    self.asked.push((*op, Question::Act(*generation, act.clone())));
                }
                // Every second process ends when it is asked to; the others by force.
                Effect::Stop { generation, step } => {
                    let ends = *step >= relay_runner_core::StopStep::Terminate || generation.0.is_multiple_of(2);
                    if ends && self.provider.as_ref().is_some_and(|p| p.generation == *generation) {
                        self.provider = None;
                        self.stopped.push(*generation);
                    }
                }
            }
        }
    }
}

fn failure(kind: FailureKind) -> Failure {
    Failure { kind, text: "made up".into() }
}

fn exit(class: ExitClass) -> ExitReport {
    ExitReport { class, detail: "made up".into() }
}
