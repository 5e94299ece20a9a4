//! A story: one core, told what happens, asked what it wants. Time stands still unless the story moves it.
//!
//! What is routine (the control server starts, stages are accepted, liveness is answered, statuses are acknowledged)
//! is answered by itself, unless the story says [`Story::by_hand`]; the rest waits in a list until the story
//! [expects](Story::expects) it.

use relay_runner_core::config::{Adapter, Config, Identity};
use relay_runner_core::event::{
    BusFrame, CommandOrder, ExitClass, ExitReport, Failure, FailureKind, Incoming, LinkReport, OpResult, Order, Params,
    ProcessRef, ProviderReport, RelayEvent, ReportStatus, Signal, StatusReport, TakenOffer, TurnEnd,
};
use relay_runner_core::hooks::{self, Posted};
use relay_runner_core::ids::provider_session;
use relay_runner_core::mutant::Mutant;
use relay_runner_core::{
    BodyRef, Call, Core, DurableFacts, Effect, Effects, Event, Frame, Generation, MessageId, Note, OpId, RequestId,
    Stamp,
};

/// The wall clock of a story begins here, so that it is never mistaken for the monotonic one.
pub(crate) const EPOCH: u64 = 1_800_000_000_000;

pub(crate) struct Story {
    pub(crate) core: Core,
    pub(crate) now: Stamp,
    /// Asked for, and not yet expected by the story.
    pub(crate) open: Vec<Effect>,
    /// Everything that was asked for, as canonical text.
    pub(crate) told: Vec<String>,
    /// Everything that was said for the log.
    pub(crate) noted: Vec<Note>,
    pub(crate) synced: bool,
    routine: bool,
    conn: u64,
    seq: u64,
    requests: u64,
}

/// Names the mutant that the core of a story is to be (as in `tests/scenarios/mutants.rs`); none is the rule.
pub(crate) const MUTANT: &str = "RELAY_RUNNER_MUTANT";

fn mutant() -> Option<Mutant> {
    let name = std::env::var(MUTANT).ok()?;
    let mutant = Mutant::ALL.into_iter().find(|mutant| format!("{mutant:?}") == name);
    Some(mutant.unwrap_or_else(|| panic!("there is no mutant {name}")))
}

pub(crate) fn config() -> Config {
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
        evidence: true,
        interrupt: true,
        compact: true,
        clear: true,
        inject: true,
        ..Adapter::default()
    };
    Config { mutant: mutant(), ..Config::new(identity, adapter, 7) }
}

pub(crate) fn facts() -> DurableFacts {
    DurableFacts::new("run-1".into(), "instance-1".into())
}

impl Story {
    /// A core that has not booted.
    pub(crate) fn with(config: Config, facts: DurableFacts) -> Self {
        let now = Stamp::new(1_000, EPOCH + 1_000);
        // The relay goes on where it was.
        let seq = facts.bus_position;
        Self {
            core: Core::new(config, facts, now),
            now,
            open: Vec::new(),
            told: Vec::new(),
            noted: Vec::new(),
            synced: false,
            routine: true,
            conn: 0,
            seq,
            requests: 0,
        }
    }

    /// Registered, and the first provider is up.
    pub(crate) fn up() -> Self {
        Self::up_with(config())
    }

    pub(crate) fn up_with(config: Config) -> Self {
        let mut story = Self::with(config, facts());
        story.boot();
        story.registers();
        story.provider_comes_up();
        story
    }

    /// Up, and message 5 is ours under fence 3; its task 50 has started, and it is being offered.
    pub(crate) fn holding_a_task() -> Self {
        Self::holding_a_task_with(config())
    }

    pub(crate) fn holding_a_task_with(config: Config) -> Self {
        let mut story = Self::up_with(config);
        story.message(task(5, 50));
        story.grants(5, 3);
        story.accepts("task,t50,m5,in_progress");
        story
    }

    /// The run was killed, and this is the next one of the same agent a second later, before it boots.
    pub(crate) fn the_next_run(&self) -> Self {
        let mut later = Self::with(self.core.config().clone(), self.core.facts());
        later.now = Stamp::new(1_000, self.now.wall + 1_000);
        later
    }

    pub(crate) fn boot(&mut self) {
        self.hears(Event::Boot);
    }

    /// From now on nothing is answered but by the story.
    pub(crate) fn by_hand(&mut self) -> &mut Self {
        self.routine = false;
        self
    }

    /// From now on what is routine is answered again.
    pub(crate) fn by_routine(&mut self) -> &mut Self {
        self.routine = true;
        let open = std::mem::take(&mut self.open);
        for effect in open {
            self.consider(effect);
        }
        self
    }

    pub(crate) fn hears(&mut self, event: Event) -> &mut Self {
        let mut fx = Effects::new();
        self.core.step(self.now, event, &mut fx);
        self.synced |= fx.sync;
        self.noted.append(&mut fx.notes);
        for effect in fx.effects {
            self.told.push(effect.to_string());
            self.consider(effect);
        }
        self
    }

    fn consider(&mut self, effect: Effect) {
        let answer = self.routine.then(|| routine_answer(&effect)).flatten();
        if let Some(event) = answer {
            self.hears(event);
            return;
        }
        if let Effect::Disconnect { conn } = effect {
            self.open.retain(|other| *other != Effect::Connect { conn });
        }
        self.open.push(effect);
    }

    /// Lets time pass, waking the core whenever it wants to be.
    pub(crate) fn after(&mut self, millis: u64) -> &mut Self {
        let end = self.now.mono + millis;
        while let Some((at, _)) = self.core.next_deadline().filter(|(at, _)| *at <= end) {
            self.now = Stamp::new(at.max(self.now.mono), self.now.wall + at.saturating_sub(self.now.mono));
            self.hears(Event::Wake);
        }
        self.now = Stamp::new(end, self.now.wall + (end - self.now.mono));
        self
    }

    /// Lets time pass until something is asked for whose text holds `what`, and returns how long that took.
    #[track_caller]
    pub(crate) fn waits_for(&mut self, what: &str) -> u64 {
        self.waits_until(what, |effect| effect.to_string().contains(what))
    }

    /// Lets time pass until the next attempt to connect, and returns how long that took.
    #[track_caller]
    pub(crate) fn waits_to_connect(&mut self) -> u64 {
        self.waits_until("connect", |effect| matches!(effect, Effect::Connect { .. }))
    }

    #[track_caller]
    fn waits_until(&mut self, what: &str, is_it: impl Fn(&Effect) -> bool) -> u64 {
        let since = self.now.mono;
        while !self.open.iter().any(&is_it) {
            let (at, _) = self.core.next_deadline().unwrap_or_else(|| panic!("waited for `{what}` in vain"));
            assert!(at < since + 86_400_000, "waited for `{what}` for a day, but there is only:\n{}", self.list());
            self.after(at.saturating_sub(self.now.mono));
        }
        self.now.mono - since
    }

    /// The machine slept: only the wall clock went on.
    pub(crate) fn sleeps(&mut self, millis: u64) -> &mut Self {
        self.now.wall += millis;
        self
    }

    /// Takes an effect off the list whose text holds `what`, and returns its operation (0 where there is none).
    #[track_caller]
    pub(crate) fn expects(&mut self, what: &str) -> OpId {
        match self.open.iter().position(|effect| effect.to_string().contains(what)) {
            Some(at) => op_of(&self.open.remove(at)),
            None => panic!("expected `{what}`, but there is only:\n{}", self.list()),
        }
    }

    /// It is asked for, and whoever was asked says yes.
    #[track_caller]
    pub(crate) fn accepts(&mut self, what: &str) -> &mut Self {
        let op = self.expects(what);
        self.answers(op, OpResult::Ok)
    }

    /// Nothing on the list holds `what`.
    #[track_caller]
    pub(crate) fn expects_no(&self, what: &str) {
        assert!(
            !self.open.iter().any(|effect| effect.to_string().contains(what)),
            "did not expect `{what}`, but there is:\n{}",
            self.list()
        );
    }

    /// Never, in the whole story, was something asked for whose text holds `what`.
    #[track_caller]
    pub(crate) fn never(&self, what: &str) {
        assert!(!self.told.iter().any(|text| text.contains(what)), "never expected `{what}` in {:#?}", self.told);
    }

    /// How often something was asked for whose text holds `what`.
    pub(crate) fn times(&self, what: &str) -> usize {
        self.told.iter().filter(|text| text.contains(what)).count()
    }

    /// What was asked for since the story had told this much (`story.told.len()`), and holds `what`.
    pub(crate) fn told_since(&self, then: usize, what: &str) -> Vec<&str> {
        self.told[then..].iter().map(String::as_str).filter(|text| text.contains(what)).collect()
    }

    pub(crate) fn list(&self) -> String {
        self.open.iter().fold(String::new(), |list, effect| list + &format!("  {effect}\n"))
    }

    pub(crate) fn answers(&mut self, op: OpId, result: OpResult) -> &mut Self {
        self.hears(Event::Done(op, result))
    }

    pub(crate) fn fails(&mut self, op: OpId, kind: FailureKind) -> &mut Self {
        self.answers(op, OpResult::Failed(Failure { kind, text: format!("{kind:?}").into() }))
    }

    // The relay.

    /// The newest attempt to connect succeeds.
    #[track_caller]
    pub(crate) fn opens(&mut self) -> &mut Self {
        let newest = |effect: &Effect| if let Effect::Connect { conn } = effect { Some(*conn) } else { None };
        self.conn = match self.open.iter().filter_map(newest).max() {
            Some(conn) => conn,
            None => panic!("expected an attempt to connect, but there is only:\n{}", self.list()),
        };
        self.open.retain(|effect| newest(effect).is_none());
        self.hears(Event::Link(self.conn, LinkReport::Opened))
    }

    #[track_caller]
    pub(crate) fn registers(&mut self) -> &mut Self {
        self.opens();
        self.expects("register");
        self.frame(BusFrame::Registered { epoch: 1, cursor: self.seq, relay: None, heartbeat: None })
    }

    /// Over a new connection: with another relay there, which counts its events anew.
    pub(crate) fn meets_another_relay(&mut self) -> &mut Self {
        self.local_command("agent.reconnect");
        self.opens();
        self.frame(BusFrame::Registered { epoch: 1, cursor: 0, relay: Some("another".into()), heartbeat: None })
    }

    pub(crate) fn link_breaks(&mut self) -> &mut Self {
        self.hears(Event::Link(self.conn, LinkReport::Closed("reset".into())))
    }

    pub(crate) fn frame(&mut self, frame: BusFrame) -> &mut Self {
        self.hears(Event::Bus(self.conn, frame))
    }

    pub(crate) fn relay_says(&mut self, event: RelayEvent) -> &mut Self {
        self.seq += 1;
        let frame = BusFrame::Event { frame: format!("e{}", self.seq).into(), seq: self.seq, event };
        self.frame(frame)
    }

    pub(crate) fn message(&mut self, message: Incoming) -> &mut Self {
        self.relay_says(RelayEvent::MessageNew(Box::new(message)))
    }

    pub(crate) fn command(&mut self, id: &str, name: &str) -> &mut Self {
        self.command_with(id, name, Params::default())
    }

    pub(crate) fn command_with(&mut self, id: &str, name: &str, params: Params) -> &mut Self {
        let command = CommandOrder { id: id.into(), name: name.into(), target: Some("a1".into()), params };
        self.frame(BusFrame::Command { frame: format!("c-{id}").into(), command: Box::new(command) })
    }

    pub(crate) fn local_command(&mut self, name: &str) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        let command = CommandOrder { id: "local".into(), name: name.into(), target: None, params: Params::default() };
        self.hears(Event::Order(Order::Command { request, command: Box::new(command) }));
        request
    }

    /// A hook of this provider session posts a report; what it is answered is asked for like all else.
    pub(crate) fn hook(&mut self, session: &str, report: StatusReport) -> &mut Self {
        self.requests += 1;
        let request = RequestId(self.requests);
        let report = StatusReport { session: Some(session.into()), ..report };
        self.hears(Event::Order(Order::Report { request, report: Box::new(report) }))
    }

    /// The living session posts a hook of its own, as the provider writes it.
    #[track_caller]
    pub(crate) fn posts(&mut self, hook: &str, payload: serde_json::Value) -> &mut Self {
        self.requests += 1;
        let request = RequestId(self.requests);
        let serde_json::Value::Object(mut payload) = payload else { panic!("a hook is an object") };
        payload.entry("providerSessionId").or_insert(self.session().into());
        let order = match hooks::read(hook, &payload).expect("a hook that is known") {
            Posted::Report(hook) => Order::Hook { request, hook },
            Posted::Permission { ask, .. } => Order::Permission { request, ask: Box::new(ask) },
        };
        self.hears(Event::Order(order))
    }

    /// The heading under which a message was offered last, as the provider echoes it.
    pub(crate) fn heading(&self, id: MessageId) -> String {
        let item = self.core.view().messages.into_iter().find(|message| message.id == id).expect("it is held");
        format!("[relay message {id} {}] from alice, chat", item.nonce)
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> &mut Self {
        self.hears(Event::Order(Order::Signal(signal)))
    }

    // The provider.

    pub(crate) fn generation(&self) -> Generation {
        self.core.view().process.generation
    }

    /// The provider session that is alive or was last, as its hooks echo it.
    pub(crate) fn session(&self) -> String {
        provider_session(self.core.run_id(), self.generation())
    }

    pub(crate) fn provider(&mut self, report: ProviderReport) -> &mut Self {
        let generation = self.generation();
        self.hears(Event::Provider(generation, report))
    }

    pub(crate) fn spawns(&mut self) -> &mut Self {
        let op = self.expects("spawn(");
        let pid = 100 + u32::try_from(self.generation().0).expect("a story has few generations");
        self.answers(op, OpResult::Spawned(ProcessRef { pid, started: 1, boot: "boot".into() }))
    }

    pub(crate) fn provider_comes_up(&mut self) -> &mut Self {
        self.spawns();
        self.provider(ProviderReport::Ready)
    }

    pub(crate) fn exits(&mut self, class: ExitClass) -> &mut Self {
        self.provider(ProviderReport::Exit(ExitReport { class, detail: format!("{class:?}").into() }))
    }

    /// The offer of this message is handed over.
    #[track_caller]
    pub(crate) fn hands_over(&mut self, id: MessageId) -> &mut Self {
        let op = self.expects(&format!("offer,m{id}/"));
        self.answers(op, OpResult::Ok)
    }

    pub(crate) fn takes(&mut self, id: MessageId) -> &mut Self {
        self.provider(ProviderReport::Taken { offers: vec![TakenOffer { message: id, nonce: None }], into_turn: false })
    }

    pub(crate) fn takes_into_turn(&mut self, id: MessageId) -> &mut Self {
        self.provider(ProviderReport::Taken { offers: vec![TakenOffer { message: id, nonce: None }], into_turn: true })
    }

    pub(crate) fn busy(&mut self) -> &mut Self {
        self.report(StatusReport { status: ReportStatus::Busy, ..StatusReport::default() })
    }

    pub(crate) fn idle(&mut self) -> &mut Self {
        self.report(StatusReport::default())
    }

    pub(crate) fn turn_fails(&mut self, error: &str) -> &mut Self {
        let end = TurnEnd::Failed { error: error.into() };
        self.report(StatusReport { end, ..StatusReport::default() })
    }

    pub(crate) fn report(&mut self, report: StatusReport) -> &mut Self {
        self.provider(ProviderReport::Status(Box::new(report)))
    }

    /// A message is offered, taken, and worked by a turn of its own.
    #[track_caller]
    pub(crate) fn works(&mut self, id: MessageId) -> &mut Self {
        self.hands_over(id);
        self.takes(id);
        self.busy();
        self.idle()
    }

    /// The claim of this message is granted, with this fence and a lease of ten minutes.
    #[track_caller]
    pub(crate) fn grants(&mut self, id: MessageId, fence: u64) -> &mut Self {
        let op = self.expects(&format!("claim,m{id}"));
        self.answers(op, OpResult::Granted { fence, lease: Some(600_000) })
    }

    /// What the next status would say besides status and ready.
    pub(crate) fn status_meta(&self) -> serde_json::Value {
        let frame = Frame::Status { seq: 0, status: self.core.view().status, ready: self.core.view().ready };
        let text = relay_runner_core::wire::frame(&self.core, &frame);
        let frame: serde_json::Value = serde_json::from_str(&text).expect("a frame is JSON");
        frame["payload"]["meta"].clone()
    }

    pub(crate) fn is_busy_for(&self, reason: &str) -> bool {
        self.core.view().busy_reasons.contains(&reason)
    }

    /// The stage of a message, as the core has it.
    pub(crate) fn stage(&self, id: MessageId) -> Option<&'static str> {
        self.core.view().messages.iter().find(|m| m.id == id).map(|m| m.stage.as_str())
    }
}

/// A plain message to our agent.
pub(crate) fn plain(id: MessageId) -> Incoming {
    Incoming {
        id,
        from: "alice".into(),
        to: "a1".into(),
        resolved: None,
        kind: "chat".into(),
        claimable: false,
        urgent: false,
        reply_expected: false,
        read: false,
        claimed_by: None,
        task: None,
        attachments: 0,
        body: BodyRef::of("hello"),
    }
}

/// A claimable message to our label that carries a task.
pub(crate) fn task(id: MessageId, task: u64) -> Incoming {
    Incoming { to: "label:dev".into(), kind: "task".into(), claimable: true, task: Some(task), ..plain(id) }
}

fn op_of(effect: &Effect) -> OpId {
    match effect {
        Effect::StartControl { op }
        | Effect::WriteInfo { op }
        | Effect::ReadSettings { op }
        | Effect::FetchAttachments { op, .. }
        | Effect::Http { op, .. }
        | Effect::Spawn { op, .. }
        | Effect::Adopt { op, .. }
        | Effect::Provider { op, .. } => *op,
        Effect::Connect { .. }
        | Effect::Disconnect { .. }
        | Effect::Send { .. }
        | Effect::UseToken { .. }
        | Effect::Stop { .. }
        | Effect::Answer { .. }
        | Effect::Finish { .. } => OpId(0),
    }
}

fn routine_answer(effect: &Effect) -> Option<Event> {
    match effect {
        Effect::StartControl { op } | Effect::WriteInfo { op } => Some(Event::Done(*op, OpResult::Ok)),
        Effect::Http { op, call, .. } => match call {
            Call::Delivery { .. } | Call::SetStatus { .. } | Call::SetReady { .. } | Call::Heartbeat => {
                Some(Event::Done(*op, OpResult::Ok))
            }
            Call::Unread { .. } => Some(Event::Done(*op, OpResult::Unread { messages: vec![], full: false })),
            Call::Command { status, .. } if !status.is_final() => Some(Event::Done(*op, OpResult::Ok)),
            Call::Claim { .. }
            | Call::Renew { .. }
            | Call::Release { .. }
            | Call::Read { .. }
            | Call::Task { .. }
            | Call::Command { .. }
            | Call::Obligations
            | Call::RenewToken { .. }
            | Call::DeleteAgent => None,
        },
        Effect::Send { conn, frame } => match frame {
            Frame::Status { seq, .. } => {
                Some(Event::Bus(*conn, BusFrame::Ack { frame: format!("status-{seq}").into() }))
            }
            // Nothing is to be answered.
            Frame::Heartbeat { .. } | Frame::Ack { .. } => Some(Event::Wake),
            Frame::Register | Frame::Resume { .. } => None,
        },
        Effect::Connect { .. }
        | Effect::Disconnect { .. }
        | Effect::UseToken { .. }
        | Effect::ReadSettings { .. }
        | Effect::FetchAttachments { .. }
        | Effect::Spawn { .. }
        | Effect::Adopt { .. }
        | Effect::Provider { .. }
        | Effect::Stop { .. }
        | Effect::Answer { .. }
        | Effect::Finish { .. } => None,
    }
}
