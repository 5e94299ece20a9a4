//! The invariants, watched from outside: who watches writes down what a core hears and asks for, holds it against what
//! the relay and the provider really did, and knows nothing else of the core. Where an onlooker cannot know what the
//! core knows, the watch is generous, never strict.

mod claims;
mod link;
mod messages;
mod orders;
mod process;

use std::collections::BTreeSet;

use relay_runner_core::event::{BusFrame, FailureKind, OpResult, Order, RelayEvent};
use relay_runner_core::{Act, Call, Core, DurableFacts, Effect, Event, Frame, Generation, OpId, Stamp, TimerKey};

use crate::plan::Setup;
use crate::process::Process;
use crate::relay::{AgentNo, Relay};

/// What went wrong first in a run.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Broken {
    /// The number of the invariant; 13 as well where a run never comes to rest.
    pub invariant: u8,
    pub words: String,
    /// Virtual milliseconds.
    pub at: u64,
    pub step: u64,
    /// Which runner.
    pub who: usize,
}

/// An invariant, and what speaks against it.
pub(crate) type Wrong = (u8, String);
pub(crate) type Watched = Result<(), Wrong>;

pub(crate) fn wrong<T>(invariant: u8, words: impl Into<String>) -> Result<T, Wrong> {
    Err((invariant, words.into()))
}

/// What is really so.
pub(crate) struct Truth<'a> {
    pub(crate) now: u64,
    pub(crate) relay: &'a Relay,
    pub(crate) agent: AgentNo,
    /// The process of the runner, or the last one.
    pub(crate) process: Option<&'a Process>,
    pub(crate) setup: &'a Setup,
}

/// The books of one runner.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    process: process::Processes,
    messages: messages::Messages,
    claims: claims::Claims,
    link: link::Link,
    orders: orders::Orders,
    /// The run is over.
    ended: bool,
    newest_op: u64,
    /// The newest that the relay heard of.
    newest_call: u64,
    /// The first of this run.
    first_op: u64,
    steps: u64,
    /// Questions to the process whether its turn lives.
    probes: BTreeSet<OpId>,
    /// When clocks were set, or the machine slept, in true time.
    jumped: Option<u64>,
    /// When the clock on the wall was set, or what was known was lost with the power: without that, two clocks together
    /// show every lease that ended while the machine slept.
    set: Option<u64>,
    now: u64,
    /// It could be ready before what is heard now: what was due before that says so.
    was_ready: bool,
    /// The relay that registered it last.
    relay: Option<relay_runner_core::Text>,
}

/// A full look at the core's own view every so many steps.
const SWEEP: u64 = 1_024;

impl Watch {
    /// A run begins, with these facts; perhaps the process of the run before goes on.
    pub(crate) fn starts(&mut self, facts: &DurableFacts, left: Option<Generation>) {
        self.ended = false;
        self.newest_op = self.newest_op.max(facts.next_op.0.saturating_sub(1));
        self.first_op = facts.next_op.0;
        self.process.starts(left);
        self.messages.starts(facts);
        self.claims = claims::Claims::default();
        self.link.starts(facts.bus_position);
        self.orders.starts(facts);
    }

    /// The next run knows nothing of this one.
    pub(crate) fn forgets(&mut self) {
        let process = std::mem::take(&mut self.process);
        *self = Self { process, jumped: self.jumped, set: self.set, now: self.now, ..Self::default() };
        self.process.is_fresh();
    }

    /// Messages and claims of another relay mean nothing here.
    pub(crate) fn meets_another_relay(&mut self) {
        self.messages = messages::Messages::default();
        self.claims = claims::Claims::default();
        self.orders.forgets();
    }

    fn relay_is(&mut self, name: Option<&relay_runner_core::Text>) {
        if name.is_some() && self.relay.as_ref() != name {
            if self.relay.is_some() {
                self.meets_another_relay();
            }
            self.relay = name.cloned();
        }
    }

    /// Only what was forced to the disk is known to the next run.
    pub(crate) fn loses_power(&mut self) {
        self.messages.loses_power();
        self.orders.loses_power();
        // What nobody else has heard of may be given again by a run that begins with nothing.
        self.newest_op = self.newest_call;
        self.clock_is_set(self.now, 0);
    }

    /// The clocks of its machine part, at this true time.
    pub(crate) fn clock_jumps(&mut self, at: u64) {
        self.jumped = self.jumped.max(Some(at));
    }

    pub(crate) fn clock_is_set(&mut self, at: u64, by: i64) {
        self.set = self.set.max(Some(at));
        self.link.clock_is_set(by);
        self.clock_jumps(at);
    }

    fn could_be_ready(&self) -> bool {
        self.process.is_up() && !self.orders.is_going_down()
    }

    /// A clock was set, or stood still, within this span.
    fn jumped_within(&self, millis: u64) -> bool {
        self.jumped.is_some_and(|at| self.now < at + millis)
    }

    pub(crate) fn hears(&mut self, at: Stamp, event: &Event, truth: &Truth<'_>) {
        self.now = truth.now;
        self.link.another_step();
        self.orders.another_step();
        self.was_ready = self.could_be_ready();
        match event {
            Event::Boot | Event::Wake => {}
            Event::Link(conn, report) => self.link.reports(at, *conn, report),
            Event::Bus(conn, frame) => self.frame(at, *conn, frame, truth),
            Event::Provider(generation, report) => {
                if self.process.is_of(*generation) {
                    self.provider(at, report, truth);
                }
            }
            Event::Done(op, result) => {
                let failure = match result {
                    OpResult::Failed(failure) => Some(failure.kind),
                    _ => None,
                };
                if self.probes.remove(op) && failure.is_some() {
                    self.messages.turn_is_doubted();
                }
                self.process.answered(at, *op, failure);
                self.messages.answered(*op, failure, truth);
                if let Some(message) = self.claims.loses(*op, result) {
                    self.messages.is_lost(message);
                }
                self.claims.answered(*op, result);
                self.link.answered(*op, result);
                self.orders.answered(*op, failure);
                if let OpResult::Unread { messages, .. } = result {
                    for message in messages {
                        self.messages.arrives(message, truth);
                    }
                }
                if failure == Some(FailureKind::Superseded) {
                    self.orders.superseded();
                }
            }
            Event::Order(order) => self.order(at, order, truth),
        }
    }

    fn frame(&mut self, at: Stamp, conn: u64, frame: &BusFrame, truth: &Truth<'_>) {
        if matches!(frame, BusFrame::Registered { .. }) && self.link.is_overdue(at) {
            return;
        }
        self.link.frame(conn, frame);
        if let BusFrame::Error { code: relay_runner_protocol::ErrorCode::Superseded, .. } = frame {
            self.orders.superseded();
        }
        match frame {
            BusFrame::Registered { relay, .. } => self.relay_is(relay.as_ref()),
            BusFrame::Command { command, .. } => {
                // One that is known is not carried out again.
                if !self.orders.knows(&command.id) {
                    self.process.ordered(&command.name);
                    self.link.ordered(&command.name);
                }
                let ours = command.target.as_deref().is_none_or(|to| *to == *truth.relay.agents[truth.agent].id);
                if ours {
                    self.orders.ordered(&command.id, &command.name);
                } else {
                    self.orders.is_foreign(&command.id);
                }
            }
            // One that comes after a newer one is stale to the core.
            BusFrame::Event { seq, .. } if self.link.is_stale(*seq) => {}
            BusFrame::Event { event, .. } => match event {
                RelayEvent::MessageNew(message) => self.messages.arrives(message, truth),
                RelayEvent::MessageDeleted { message } | RelayEvent::Task { message, cancelled: true, .. } => {
                    self.messages.is_gone(*message, self.process.generation(), truth);
                    self.claims.is_gone(*message);
                }
                RelayEvent::MessageClaimed { message, by } => {
                    let us = &truth.relay.agents[truth.agent].id;
                    if by.as_ref().is_some_and(|by| by != us) {
                        self.messages.is_lost(*message);
                        self.claims.is_claimed(*message);
                    }
                }
                // Whoever had it: should it be asked for from now on, that is another claim.
                RelayEvent::ClaimReleased { message } => self.claims.is_claimed(*message),
                RelayEvent::Task { cancelled: false, .. } | RelayEvent::AgentUpdated(_) | RelayEvent::Other { .. } => {}
            },
            _ => {}
        }
    }

    fn order(&mut self, at: Stamp, order: &Order, truth: &Truth<'_>) {
        match order {
            Order::Command { request, command } => {
                self.process.ordered(&command.name);
                self.link.ordered(&command.name);
                self.orders.ordered_here(at, *request, &command.name);
            }
            Order::Signal(signal) => self.orders.signalled(at, *signal, truth),
            Order::Token { .. } => self.link.token_comes(at),
            Order::Report { report, .. } => {
                let ours = truth.process.is_some_and(|process| {
                    process.alive
                        && report.session.as_ref() == Some(&process.session)
                        && report.pid == Some(process.pid())
                        && self.process.is_of(process.generation)
                });
                if ours {
                    self.status(report, truth);
                }
            }
            Order::Permission { request, ask } => self.orders.asked(&ask.approval.id, Some(*request)),
            // In this world hooks report by `Report`, and nobody replies.
            Order::Hook { .. } | Order::Replied { .. } | Order::Fault { .. } | Order::JournalBroken { .. } => {}
        }
    }

    /// What a step asks for as a whole, and what holds after it.
    pub(crate) fn steps(
        &mut self,
        at: Stamp,
        core: &Core,
        next: Option<(u64, TimerKey)>,
        effects: &[Effect],
    ) -> Watched {
        self.steps += 1;
        let finishes = effects.iter().position(|effect| matches!(effect, Effect::Finish { .. }));
        match (finishes, next) {
            (Some(n), _) if n + 1 != effects.len() => {
                return wrong(7, format!("{} follows the end", effects[n + 1]));
            }
            (Some(_), Some((_, key))) => return wrong(7, format!("{key:?} is armed after the end")),
            (None, None) if !self.ended => return wrong(13, "nothing is armed, and the run is not over"),
            (None, Some((due, key))) if due < at.mono => return wrong(13, format!("{key:?} is overdue")),
            _ => {}
        }
        self.link.was_said()?;
        self.process.is_stopped_in_time(at)?;
        if self.steps.is_multiple_of(SWEEP) {
            Self::sweeps(core)?;
        }
        Ok(())
    }

    /// Everything is within its bounds.
    pub(crate) fn sweeps(core: &Core) -> Watched {
        let view = core.view();
        let limits = &core.config().limits;
        let bounds = [
            ("messages", view.messages.len(), limits.held),
            ("claims", view.claims.len(), limits.claims + limits.held),
            ("reports", view.reports_waiting, limits.reports + limits.held),
            ("approvals", view.approvals.len(), limits.approvals),
            ("closed approvals", view.approvals_over.len(), limits.approvals),
            ("set aside", view.set_aside.len(), limits.settled),
            ("operations", view.operations, limits.reports_under_way + limits.held + limits.approvals + 32),
        ];
        for (what, held, most) in bounds {
            if held > most {
                return wrong(11, format!("{held} {what}, and {most} are allowed"));
            }
        }
        let armed = view.deadlines.iter().any(|deadline| deadline.what == TimerKey::Tick);
        if !view.over && !armed {
            return wrong(13, "the clocks are not compared any more");
        }
        Ok(())
    }

    /// An effect, before it is carried out.
    pub(crate) fn sees(&mut self, at: Stamp, effect: &Effect, truth: &Truth<'_>) -> Watched {
        if self.ended {
            return wrong(7, format!("{effect} after the end"));
        }
        if let Some(op) = number(effect) {
            if op <= self.newest_op {
                return wrong(10, format!("{effect}, and its number was given before"));
            }
            self.newest_op = op;
        }
        match effect {
            Effect::Spawn { op, generation, resume } => {
                self.orders.may_spawn()?;
                self.process.resumes(*generation, resume.as_ref())?;
                let exact = !self.jumped_within(180_000);
                self.process.spawns(at, *op, *generation, exact, truth)?;
                self.messages.another_process();
                self.orders.another_process();
            }
            Effect::Adopt { op, generation, conversation, .. } => {
                self.process.resumes(*generation, conversation.as_ref())?;
                self.process.adopts(at, *op, *generation)?;
            }
            Effect::Stop { generation, step } => self.process.stops(at, *generation, *step),
            Effect::Provider { op, generation, act } => self.act(*op, *generation, act, truth)?,
            Effect::Connect { conn } => self.link.connects(at, *conn)?,
            Effect::Disconnect { conn } => self.link.disconnects(*conn),
            Effect::Send { frame, .. } => {
                let may_be_ready = self.was_ready || self.could_be_ready();
                self.link.says(at, frame, may_be_ready)?;
                if let Frame::Ack { frame } = frame
                    && let Some(id) = frame.strip_prefix("c-")
                {
                    self.orders.accepts(id);
                }
            }
            Effect::UseToken { slot } => self.link.uses(at, *slot, self.could_be_ready(), truth),
            Effect::Http { op, key, epoch, call, .. } => {
                self.newest_call = op.0;
                let may_be_ready = self.was_ready || self.could_be_ready();
                self.link.calls(at, *op, call, may_be_ready, self.jumped_within(600_000), truth)?;
                self.call(*op, (*key, *epoch), call, truth)?;
            }
            Effect::Answer { request, answer } => self.orders.answers(*request, answer)?,
            Effect::Finish { code } => {
                let restartable = truth.setup.adapter.restartable;
                self.process.finishes(at, *code, !self.jumped_within(180_000), restartable)?;
                self.ended = true;
            }
            Effect::StartControl { .. }
            | Effect::WriteInfo { .. }
            | Effect::ReadSettings { .. }
            | Effect::FetchAttachments { .. } => {}
        }
        Ok(())
    }

    fn act(&mut self, op: OpId, generation: Generation, act: &Act, truth: &Truth<'_>) -> Watched {
        self.process.may_act(generation, act)?;
        match act {
            Act::Offer { offers } => self.messages.offers(op, offers, truth),
            Act::Interrupt => self.orders.interrupts(op),
            Act::Tell { message, .. } => self.messages.tells(op, *message),
            Act::Decide { approval, .. } => self.orders.decides(op, approval),
            Act::Probe => {
                self.probes.insert(op);
                Ok(())
            }
            Act::Prompt | Act::Compact | Act::Clear | Act::Inject { .. } => Ok(()),
        }
    }

    fn call(&mut self, op: OpId, key: (OpId, u64), call: &Call, truth: &Truth<'_>) -> Watched {
        match call {
            Call::Claim { message } => self.claims.asks(op, key, self.process.generation(), *message),
            Call::Renew { message, .. } => {
                self.claims.is_used(op, *message);
                Ok(())
            }
            Call::Release { message, .. } => {
                self.claims.lets_go(*message);
                self.messages.lets_go(*message)
            }
            Call::Task { task, message, status, fence, why } => {
                let excused = self.set.is_some_and(|at| self.now < at + 3_600_000);
                self.claims.reports(op, *message, *fence, excused, truth)?;
                // The run before may have said it already.
                let said_before = key.0.0 < self.first_op;
                self.messages.reports(*task, *message, *status, why.as_ref(), said_before, truth)
            }
            Call::Read { message } => self.messages.reads(*message, truth),
            Call::Delivery { message, stage, .. } => {
                self.messages.stage(*message, *stage);
                Ok(())
            }
            Call::Command { id, status, outcome } => self.orders.reports(id, *status, outcome.as_deref(), key.0),
            Call::SetStatus { .. }
            | Call::SetReady { .. }
            | Call::Heartbeat
            | Call::Unread { .. }
            | Call::Obligations
            | Call::DeleteAgent
            | Call::RenewToken { .. } => Ok(()),
        }
    }

    fn provider(&mut self, at: Stamp, report: &relay_runner_core::ProviderReport, truth: &Truth<'_>) {
        use relay_runner_core::ProviderReport;
        match report {
            ProviderReport::Ready => self.process.ready(at),
            ProviderReport::Exit(exit) => {
                self.process.exits(at, exit.class, self.orders.is_going_down());
                self.messages.process_ends();
                self.orders.process_ends();
            }
            ProviderReport::Status(report) => self.status(report, truth),
            ProviderReport::Taken { offers, .. } => self.messages.shown(offers, truth),
            ProviderReport::ApprovalOpened(request) => self.orders.asked(&request.id, None),
            ProviderReport::ApprovalClosed { id } => self.orders.is_answered(id),
            ProviderReport::Missed { offers } => self.messages.missed(offers),
            ProviderReport::Conversation { id } => self.process.is_in(id),
            ProviderReport::SignOfLife
            | ProviderReport::Context(_)
            | ProviderReport::Model { .. }
            | ProviderReport::Malformed { .. } => {}
        }
    }

    fn status(&mut self, report: &relay_runner_core::event::StatusReport, truth: &Truth<'_>) {
        use relay_runner_core::event::ReportStatus;
        let turn = report.reason.is_none();
        if turn && report.status == ReportStatus::Idle && !report.begins_a_session() {
            self.messages.idle(&report.end, truth);
            self.orders.turn_ends();
        }
        if turn && report.status == ReportStatus::Busy {
            self.messages.busy();
            self.orders.turn_begins();
        }
    }

    pub(crate) fn has_started(&self, generation: Generation) -> bool {
        self.process.has_started(generation)
    }

    /// An offer that is under way has no answer yet.
    pub(crate) fn is_offering(&self, op: OpId) -> bool {
        self.messages.is_offering(op)
    }

    /// A process took these offers.
    pub(crate) fn took(
        &mut self,
        process: &Process,
        offers: &[relay_runner_core::event::TakenOffer],
        evidence: bool,
    ) -> Watched {
        self.messages.took(process, offers, evidence)
    }

    /// `told`: that it ended was said; and whether it was said which one it was that ended.
    pub(crate) fn turn_ended(&mut self, process: &Process, turn: usize, (told, named): (bool, bool)) {
        let requested = self.orders.interrupted();
        self.messages.turn_ended(process, turn, requested, told);
        let known = told && named || process.turns[turn].told;
        if !known {
            self.messages.turn_unseen(process, turn);
        }
    }

    /// What must hold when nothing is under way any more, besides what the world sees.
    pub(crate) fn rests(&self, parked: bool, restartable: bool) -> Watched {
        self.messages.rests(self.process.generation())?;
        self.orders.rests()?;
        if parked && !self.process.may_be_parked(restartable) && !self.jumped_within(20 * 60_000) {
            return wrong(9, "it is parked, and its process did not end often enough");
        }
        Ok(())
    }

    /// A usage limit is waited for.
    pub(crate) fn waits_for_a_limit(&self) -> bool {
        self.process.waits_for_a_limit()
    }

    /// Nobody need doubt whether the process has this message.
    pub(crate) fn is_missed(&self, id: relay_runner_core::MessageId) -> bool {
        self.messages.is_missed(id)
    }

    /// When liveness was last said, in true time.
    pub(crate) const fn last_heartbeat(&self) -> Option<u64> {
        self.link.last_heartbeat()
    }

    /// Another took the agent before its outcome could be said.
    pub(crate) fn is_excused(&self, command: &relay_runner_core::Text) -> bool {
        self.orders.is_excused(command)
    }

    /// Commands that the core was told of and that have no outcome.
    pub(crate) fn open_commands(&self) -> impl Iterator<Item = &relay_runner_core::Text> {
        self.orders.open()
    }
}

/// The operation that an effect begins, where it has one.
const fn number(effect: &Effect) -> Option<u64> {
    match effect {
        Effect::StartControl { op }
        | Effect::WriteInfo { op }
        | Effect::ReadSettings { op }
        | Effect::Http { op, .. }
        | Effect::FetchAttachments { op, .. }
        | Effect::Spawn { op, .. }
        | Effect::Adopt { op, .. }
        | Effect::Provider { op, .. } => Some(op.0),
        Effect::Connect { .. }
        | Effect::Disconnect { .. }
        | Effect::Send { .. }
        | Effect::UseToken { .. }
        | Effect::Stop { .. }
        | Effect::Answer { .. }
        | Effect::Finish { .. } => None,
    }
}
