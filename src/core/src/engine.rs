//! The core as a whole: one step after the other. It only dispatches; what is decided stands in the module of its
//! word.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::about::About;
use crate::approvals::Approvals;
use crate::boot::Boot;
use crate::claims::Claims;
use crate::commands::Commands;
use crate::config::Config;
use crate::credential::Credential;
use crate::deadlines::{Deadlines, TimerKey};
use crate::delivery::Delivery;
use crate::effect::Effects;
use crate::ending::Ending;
use crate::event::{Event, Failure, FailureKind, OpResult, Order, TokenRecord};
use crate::facts::{DurableFacts, MessageFact, ProviderFact};
use crate::flags::Flag;
use crate::ids::{OpId, Text};
use crate::inbox::{Inbox, Item};
use crate::lifecycle::{self, Happening, Lifecycle};
use crate::link::Link;
use crate::liveness::Liveness;
use crate::matching::Given;
use crate::mutant::Mutant;
use crate::note::Note;
use crate::ops::{Op, Ops};
use crate::owed::Owed;
use crate::prompt::Prompt;
use crate::reports::Reports;
use crate::restart::Window;
use crate::status::Status;
use crate::telling::Telling;
use crate::time::{Millis, Mono, Stamp};
use crate::troubles::{Troubles, key_of_call};
use crate::turns::Turns;
use crate::work::{Own, Work};
use relay_runner_protocol::Stage;

/// The runner's state machine. Cheap to clone, serialisable whole, and never asks the world anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Core {
    pub(crate) config: Arc<Config>,
    pub(crate) run_id: Text,
    pub(crate) instance_id: Text,
    /// The time of the step that runs, or of the last one.
    pub(crate) now: Stamp,
    pub(crate) deadlines: Deadlines,
    pub(crate) ops: Ops,
    pub(crate) boot: Boot,
    pub(crate) link: Link,
    /// What the agent was given on the relay since it registered.
    pub(crate) given: Option<Given>,
    pub(crate) credential: Credential,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) prompt: Prompt,
    pub(crate) inbox: Inbox,
    pub(crate) delivery: Delivery,
    pub(crate) claims: Claims,
    pub(crate) turns: Turns,
    pub(crate) work: Work,
    pub(crate) approvals: Approvals,
    pub(crate) reports: Reports,
    pub(crate) commands: Commands,
    pub(crate) ending: Ending,
    pub(crate) liveness: Liveness,
    pub(crate) status: Status,
    pub(crate) troubles: Troubles,
    pub(crate) telling: Telling,
    #[serde(default, skip_serializing_if = "Owed::is_unused")]
    pub(crate) owed: Owed,
    /// What the provider says about itself.
    #[serde(default, skip_serializing_if = "About::is_silent")]
    pub(crate) about: About,
    /// What changed in the step that runs; nothing between steps.
    #[serde(skip)]
    pub(crate) touched: Touched,
    /// What the lifecycle machine said and nobody has heard yet; nothing between steps.
    #[serde(skip)]
    pub(crate) happened: Vec<Happening>,
}

/// What has to be looked at before a step ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    pub(crate) claims: bool,
    pub(crate) reports: bool,
    pub(crate) inbox: bool,
}

/// What is left out of the numbers of a run before: more than it can have used since its journal was last on the disk.
const GAP: u64 = 1 << 20;

/// The clocks may differ by this much before it counts as a jump.
const JUMP: Millis = 2_000;
/// The clock stops here: some 36 million years after the start.
const MONO_MOST: Mono = 1 << 60;

impl Core {
    /// A core that has not booted yet. `facts` are those of the run before, or [`DurableFacts::new`].
    pub fn new(config: Config, mut facts: DurableFacts, at: Stamp) -> Self {
        if facts.is_of_a_run() && config.flags.has(Flag::LeavesAGapBehindAnotherRun) {
            facts.next_op.0 += GAP;
            facts.status_seq += GAP;
        }
        let left = facts.adoptable(&config).cloned();
        let mut core = Self {
            run_id: facts.run_id,
            instance_id: facts.instance_id,
            now: at,
            deadlines: Deadlines::default(),
            ops: Ops::new(facts.next_op),
            boot: Boot::default(),
            link: Link::new(facts.relay, facts.bus_position, config.timing.heartbeat),
            given: facts.given,
            credential: Credential::new(config.credential.clone()),
            prompt: Prompt::new(
                config.first_prompt.is_none() || facts.first_prompt_done,
                facts.first_prompt_said && left.is_some(),
            ),
            lifecycle: Lifecycle::new(facts.generation, left, Window::from_facts(facts.exits), facts.parked),
            inbox: Inbox::from_facts(facts.settled, facts.set_aside, facts.had),
            delivery: Delivery::default(),
            claims: Claims::default(),
            turns: Turns::new(facts.next_turn),
            work: Work::default(),
            approvals: Approvals::default(),
            reports: Reports::default(),
            commands: Commands::from_facts(facts.commands),
            ending: Ending::default(),
            liveness: Liveness::default(),
            status: Status::new(facts.status_seq),
            troubles: Troubles::default(),
            telling: Telling::default(),
            owed: Owed::from_facts(facts.owed, facts.replied),
            about: About::from_facts(facts.conversation, &config.identity.provider),
            touched: Touched::default(),
            happened: Vec::new(),
            config: Arc::new(config),
        };
        for (id, fact) in facts.messages {
            core.take_up(id, fact);
        }
        for report in facts.reports {
            core.reports.push(report.key, report.call);
        }
        core.owe_what_is_over();
        core.owe_outcomes();
        core
    }

    /// The only way state changes: fires every deadline that is due at `at`, in order, then handles the event.
    ///
    /// Infallible: what is stale, malformed or unexpected becomes a note and changes nothing. Times that run
    /// backwards count as standing still. `fx` is to be cleared by the caller before each step.
    pub fn step(&mut self, at: Stamp, event: Event, fx: &mut Effects) {
        self.set_time(at, fx);
        let mut woken = false;
        while let Some(key) = self.deadlines.take_due(self.now.mono) {
            woken = true;
            self.due(key, fx);
        }
        // A wake that comes too early: nothing is due, and nothing has become possible.
        if !woken && event == Event::Wake {
            return;
        }
        if self.ending.is_over() {
            if event != Event::Wake {
                fx.note(Note::Stale { what: "event after the end", number: 0 });
            }
        } else {
            self.dispatch(event, fx);
        }
        self.settle(fx);
    }

    /// When the core next wants an [`Event::Wake`], and why.
    pub fn next_deadline(&self) -> Option<(Mono, TimerKey)> {
        self.deadlines.next()
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    pub fn instance_id(&self) -> &str {
        &self.instance_id
    }

    /// What is known of the runtime token in force; none where the relay wants none.
    pub const fn token_record(&self) -> Option<&TokenRecord> {
        self.credential.record()
    }

    /// The time of the last step.
    pub const fn now(&self) -> Stamp {
        self.now
    }

    /// The little that a restart needs.
    pub fn facts(&self) -> DurableFacts {
        let messages = self
            .inbox
            .iter()
            .filter(|(_, item)| item.stage != Stage::Held || item.attempt > 0)
            // What was taken over is remembered as had, not as ours.
            .filter(|(_, item)| !item.taken_over)
            .map(|(id, item)| {
                let fence = self.claims.get(id).and_then(|claim| claim.fence);
                (id, MessageFact::of(item, fence))
            })
            .collect();
        DurableFacts {
            run_id: self.run_id.clone(),
            instance_id: self.instance_id.clone(),
            generation: self.lifecycle.generation(),
            next_op: self.ops.next_number(),
            next_turn: self.turns.next_number(),
            status_seq: self.status.seq(),
            relay: self.link.relay.clone(),
            bus_position: self.link.position,
            given: self.given.clone(),
            provider: (self.lifecycle.is_alive() || self.lifecycle.is_to_adopt()).then(|| ProviderFact {
                generation: self.lifecycle.generation(),
                process: self.lifecycle.process().cloned(),
                launch: self.config.launch,
            }),
            conversation: self.conversation_fact(),
            first_prompt_done: self.prompt.is_done(),
            first_prompt_said: self.prompt.is_said(),
            exits: self.lifecycle.window().exits().to_vec(),
            // Who ends because of giving up tries anew when started again.
            parked: self.lifecycle.parked().filter(|_| !self.ending.is_begun()).cloned(),
            messages,
            reports: self.reports.facts(),
            settled: self.inbox.settled(),
            set_aside: self.inbox.set_aside().clone(),
            had: self.inbox.had(),
            commands: self.commands.facts(),
            owed: self.owed.facts(),
            replied: self.owed.replied(),
        }
    }

    /// The whole core as JSON: a mark.
    pub fn to_mark(&self) -> String {
        serde_json::to_string(self).expect("a core has string and number keys only")
    }

    /// A core from its mark. Restoring does nothing: it goes on exactly where the other stood.
    pub fn from_mark(mark: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(mark)
    }

    fn set_time(&mut self, at: Stamp, fx: &mut Effects) {
        // Times without end would leave no room for a deadline behind them.
        let mono = at.mono.max(self.now.mono).min(MONO_MOST);
        let expected = self.now.wall.saturating_add(mono - self.now.mono);
        if expected.abs_diff(at.wall) > JUMP && self.boot != Boot::New && !self.ending.is_over() {
            let millis = i64::try_from(i128::from(at.wall) - i128::from(expected)).unwrap_or(i64::MAX);
            fx.note(Note::ClockJump { millis });
            // Leases and tokens end on the clock that says so first.
            self.deadlines.set(TimerKey::Claims, Some(mono));
            self.deadlines.set(TimerKey::Tick, Some(mono));
        }
        self.now = Stamp { mono, wall: at.wall };
    }

    /// This long from now.
    pub(crate) fn after(&self, wait: Millis) -> Mono {
        self.now.mono.saturating_add(wait)
    }

    fn dispatch(&mut self, event: Event, fx: &mut Effects) {
        match event {
            Event::Boot => self.begin_boot(fx),
            Event::Wake => {}
            Event::Link(conn, report) => self.link_report(conn, report, fx),
            Event::Bus(conn, frame) => self.bus_frame(conn, frame, fx),
            Event::Provider(generation, report) => self.provider_report(generation, report, fx),
            Event::Done(op, result) => match self.ops.finish(op) {
                Some(kind) => self.answered(op, kind, result, fx),
                None => self.answered_late(op, &result, fx),
            },
            Event::Order(order) => self.order(order, fx),
        }
    }

    /// Nobody waits for it any more; but that another has the agent is so all the same.
    fn answered_late(&mut self, op: OpId, result: &OpResult, fx: &mut Effects) {
        fx.note(Note::Stale { what: "answer", number: op.0 });
        let superseded = matches!(result, OpResult::Failed(failure) if failure.kind == FailureKind::Superseded);
        if superseded && op >= self.link.first_op && self.link.epoch.is_some() && self.believes_less() {
            self.superseded(fx);
        }
    }

    fn answered(&mut self, op: OpId, kind: Op, result: OpResult, fx: &mut Effects) {
        if let OpResult::Failed(failure) = &result {
            // An agent that is gone already has left.
            let left = kind == Op::Farewell && failure.kind == FailureKind::NotFound;
            let key = match kind {
                // Rounds that come again and again.
                Op::Liveness | Op::Heartbeat | Op::Unread | Op::Obligations => key_of_call(&failure.text),
                _ => &failure.text,
            };
            let said_before = left || self.troubles.said(key, self.now.mono, &self.config);
            fx.note(Note::Failed { op, what: kind.name(), failure: failure.clone(), said_before });
            if failure.kind == FailureKind::Superseded {
                self.superseded(fx);
            }
            if failure.kind == FailureKind::Unauthorized && kind.is_a_call() && self.is_under_credential(op) {
                self.credential_doubted(fx);
            }
        } else if kind.is_a_call() {
            self.call_accepted(op);
        }
        match kind {
            Op::StartControl => self.control_started(result, fx),
            // What becomes of an interrupted turn is reported.
            Op::WriteInfo | Op::Interrupt(_) => {}
            Op::Spawn(_) | Op::Adopt(_) => self.spawn_answered(result, fx),
            Op::Claim(message) => self.claim_answered(message, op, result, fx),
            Op::Renew(message) => self.renewal_answered(message, op, result, fx),
            Op::Report(lane) => self.report_answered(&lane, op, result, fx),
            Op::Liveness => self.liveness_answered(),
            Op::Heartbeat => self.heartbeat_answered(op, &result, fx),
            Op::Unread => self.unread_answered(result, fx),
            Op::Obligations => self.owed_answered(&result, fx),
            Op::RenewToken => self.credential_answered(op, result, fx),
            Op::Farewell => self.farewell_answered(&result, fx),
            Op::Offer(_) => self.offer_answered(op, result, fx),
            Op::Prompt(_) => self.prompt_answered(&result, fx),
            Op::Attachments(message) => self.attachments_answered(message),
            Op::Probe(_) => self.probe_answered(&result, fx),
            Op::Tell(_) => self.told(op, &result, fx),
            Op::ReadSettings => self.settings_read(result, fx),
            Op::Adapter(_) => self.adapter_answered(op, result, fx),
            Op::Decide(_, approval) => self.decision_answered(&approval, op, result, fx),
        }
    }

    fn order(&mut self, order: Order, fx: &mut Effects) {
        match order {
            Order::Signal(signal) => self.signal(signal, fx),
            Order::Command { request, command } => self.local_command(request, *command, fx),
            Order::Report { request, report } => self.hook_report(request, &report, fx),
            Order::Permission { request, ask } => self.permission_asked(request, *ask, fx),
            Order::Hook { request, hook } => self.hook(request, &hook, fx),
            Order::Replied { message } => self.replied(message, fx),
            Order::Token { request, slot, record } => self.token_handed_in(request, slot, record, fx),
            Order::Fault { what } => self.fault(what, fx),
            Order::JournalBroken { why } => self.status.journal_broke(why),
        }
    }

    fn due(&mut self, key: TimerKey, fx: &mut Effects) {
        match key {
            TimerKey::Claims => self.claims_due(fx),
            TimerKey::Renewal => self.renewal_due(fx),
            TimerKey::Operations => self.operations_overdue(fx),
            TimerKey::Stop | TimerKey::Start | TimerKey::Cooling => self.lifecycle_due(key, fx),
            TimerKey::Drain => self.drain_over(fx),
            TimerKey::Ending => self.ending_over(fx),
            TimerKey::Register => self.register_overdue(fx),
            TimerKey::Reconnect => self.connect(fx),
            TimerKey::StartWithoutRelay => self.start_provider(fx),
            TimerKey::FailFast => self.fail_fast(fx),
            TimerKey::StatusAck => self.status.forget_sent(),
            TimerKey::FirstPrompt => self.prompt_overdue(fx),
            TimerKey::Take => self.take_overdue(fx),
            TimerKey::Turnless => self.turnless(fx),
            TimerKey::TurnProbe => self.turn_is_silent(fx),
            TimerKey::Ambiguous => self.ambiguous_for_long(fx),
            // Something may be offered again.
            TimerKey::TurnGrace | TimerKey::Inbox => self.touched.inbox = true,
            // What waits is told at the end of the step.
            TimerKey::Telling => {}
            TimerKey::Approvals => self.approvals_overdue(fx),
            TimerKey::Reports if self.ending.is_leaving() => self.say_farewell(fx),
            TimerKey::Reports => self.touched.reports = true,
            TimerKey::Heartbeat => self.heartbeat(fx),
            TimerKey::Liveness => self.liveness_round(fx),
            TimerKey::Tick => self.tick(fx),
        }
    }

    fn tick(&mut self, fx: &mut Effects) {
        self.deadlines.arm(TimerKey::Tick, self.now.mono, self.config.timing.tick);
        if self.claims.any_over(self.now) {
            self.deadlines.arm(TimerKey::Claims, self.now.mono, 0);
        }
        self.check_credential(fx);
        if !self.ending.is_begun() && self.lifecycle.cooling_until().is_some_and(|until| until <= self.now.wall) {
            self.lifecycle_input(&lifecycle::Input::Due(TimerKey::Cooling), fx);
        }
    }

    fn operations_overdue(&mut self, fx: &mut Effects) {
        while let Some((op, kind)) = self.ops.take_overdue(self.now.mono) {
            fx.note(Note::TimedOut { op, what: kind.name() });
            let failure = Failure { kind: FailureKind::TimedOut, text: self.ops.no_answer() };
            self.answered(op, kind, OpResult::Failed(failure), fx);
        }
    }

    /// What every step ends with: whatever became possible is done, and the table of deadlines is in step.
    fn settle(&mut self, fx: &mut Effects) {
        if !self.ending.is_over() {
            self.tell_what_waits(fx);
            self.start_adapter_operation(fx);
            self.pump(fx);
            if self.touched.reports && !self.ending.is_leaving() {
                self.send_reports(fx);
            }
            self.advance_ending(fx);
        }
        if !self.ending.is_over() {
            self.publish(fx);
            if self.touched.claims {
                // A lease may be over by the time it is granted: it lapses in the next step, not in the past.
                let next = self.claims.next_deadline().map(|at| at.max(self.now.mono + 1));
                self.deadlines.set(TimerKey::Claims, next);
            }
            self.deadlines.set(TimerKey::Operations, self.ops.next_deadline());
        }
        self.touched = Touched::default();
    }

    /// A message that the run before had from claimed on.
    fn take_up(&mut self, id: u64, fact: MessageFact) {
        let repeat = fact.repeat_now();
        let mut item = Item::new(fact.meta, self.now.mono);
        item.attempt = fact.attempt;
        item.tries = fact.tries;
        item.failed_turns = fact.failed_turns;
        item.nonce = fact.nonce;
        item.repeat = repeat;
        item.task_ended = fact.task_ended;
        let may_have_it = self.lifecycle.is_to_adopt() && !self.config.is_mutant(Mutant::OffersTwiceToTheAdopted);
        let believed = self.config.is_mutant(Mutant::BelievesWhatWasKnown);
        item.stage =
            match fact.stage {
                // Its reports are taken up as well.
                Stage::Worked | Stage::Settled | Stage::SetAside => fact.stage,
                Stage::Offered | Stage::Taken | Stage::Ambiguous if may_have_it => {
                    if believed {
                        fact.stage
                    } else {
                        Stage::Ambiguous
                    }
                }
                Stage::Held | Stage::Claimed | Stage::Offered | Stage::Taken | Stage::Ambiguous => {
                    if fact.fence.is_some() { Stage::Claimed } else { Stage::Held }
                }
            };
        if item.is_work() {
            self.work.open(Own::Message(id), self.now.wall);
            if let Some(task) = item.meta.task {
                self.work.open(Own::Task(task), self.now.wall);
            }
        }
        self.inbox.insert(item, &self.claims);
        if let Some(fence) = fact.fence {
            self.claim_taken_up(id, fence);
        }
    }
}
