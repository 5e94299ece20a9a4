//! The invariants, checked from outside: an onlooker writes down what the core hears and asks for, and knows nothing
//! else of it. Where the onlooker cannot know what the core knows, the books are generous, never strict.

use std::collections::{BTreeMap, BTreeSet};

use relay_runner_core::event::{
    BusFrame, FailureKind, LinkReport, OpResult, Order, ProviderReport, ReportStatus, StatusReport, TurnEnd,
};
use relay_runner_core::{
    Act, Call, DurableFacts, Effect, Event, Frame, Generation, MessageId, OpId, Outcome, Repeat, Stamp,
};
use relay_runner_protocol::{Stage, TaskStatus};
use serde::Serialize;

/// How long the core waits for the answer to a claim: the call's deadline and a second.
const DEADLINE: u64 = 16_000;
/// The shortest wait before a provider, and before a connection, that was lost.
const RESTART: u64 = 500;
const RECONNECT: u64 = 250;

/// What an onlooker writes down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Books {
    process: Process,
    /// Messages that were handed over, and of which nobody said that they did not arrive.
    offered: BTreeSet<MessageId>,
    /// Offers under way: the messages, and whether they had been handed over before.
    offers: BTreeMap<OpId, Vec<(MessageId, bool)>>,
    /// Taken by the living process and not ended with a turn; whether by the turn that runs.
    taken: BTreeMap<MessageId, bool>,
    turn: bool,
    /// A turn that had it ended normally.
    worked: BTreeSet<MessageId>,
    asked: BTreeMap<OpId, Asked>,
    claims: BTreeMap<MessageId, Claim>,
    commands: BTreeMap<String, Option<String>>,
    /// The connection that is open or on its way, and when the last one was lost by itself.
    conn: Option<u64>,
    lost: Option<u64>,
    /// When another credential was asked for last: with its answer the link is opened anew, without a wait.
    token_asked: Option<u64>,
    /// Never to be offered again.
    settled: BTreeSet<MessageId>,
    status_seq: u64,
    newest_op: u64,
    ended: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Process {
    /// The generation whose process may live.
    living: Option<Generation>,
    newest: Generation,
    spawning: BTreeMap<OpId, Generation>,
    /// It was told to stop: its exit is asked for.
    stopped: bool,
    /// It is of the run before, and was not heard of yet.
    adopting: bool,
    /// When it ended by itself, unless somebody asked for another one since.
    died: Option<u64>,
}

/// The newest grant of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Claim {
    fence: u64,
    /// The operation that asked for it.
    op: OpId,
    /// None is never.
    end: Option<Lease>,
}

/// When a lease ends, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Lease {
    mono: u64,
    wall: u64,
}

/// A call under a claim that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Asked {
    message: MessageId,
    at: Stamp,
    /// None: the claim itself was asked for.
    fence: Option<u64>,
    renewal: bool,
}

impl Books {
    pub(crate) fn hears(&mut self, at: Stamp, event: &Event) {
        // What comes after the deadline is not waited for any more.
        self.asked.retain(|_, asked| at.mono < asked.at.mono.saturating_add(DEADLINE));
        match event {
            Event::Provider(generation, report) if self.process.living == Some(*generation) => {
                self.provider(at, report);
            }
            Event::Done(op, result) => self.answer(*op, result, at),
            Event::Link(conn, LinkReport::Failed(_) | LinkReport::Closed(_)) if self.conn == Some(*conn) => {
                self.conn = None;
                self.lost = Some(at.mono);
            }
            Event::Order(Order::Token { .. }) => self.token_asked = Some(at.mono),
            Event::Bus(_, BusFrame::Command { command, .. }) | Event::Order(Order::Command { command, .. }) => {
                self.order(&command.name);
            }
            _ => {}
        }
    }

    /// What was said of a command's outcome first.
    pub(crate) fn outcome(&self, id: &str) -> Option<&String> {
        self.commands.get(id)?.as_ref()
    }

    /// The runner is killed, and what it knows goes on with these facts; so may the process that it left.
    pub(crate) fn restarts(&mut self, facts: &DurableFacts, left: Option<Generation>) {
        let Self { process, offered, worked, commands, settled, status_seq, newest_op, .. } = std::mem::take(self);
        *self = Self { offered, worked, commands, settled, status_seq, newest_op, ..Self::default() };
        self.process.newest = process.newest;
        self.process.living = left;
        self.settled.extend(&facts.settled);
        self.settled.extend(facts.set_aside.keys());
    }

    fn order(&mut self, name: &str) {
        match name {
            "agent.restart" => self.process.died = None,
            "agent.reconnect" => self.lost = None,
            _ => {}
        }
    }

    fn provider(&mut self, at: Stamp, report: &ProviderReport) {
        match report {
            ProviderReport::Exit(_) => self.gone(at),
            ProviderReport::Taken { offers, into_turn } => {
                for offer in offers.iter().filter(|offer| self.offered.contains(&offer.message)) {
                    self.taken.entry(offer.message).or_insert(self.turn && *into_turn);
                }
            }
            ProviderReport::Status(report) => self.status(report),
            _ => {}
        }
    }

    fn gone(&mut self, at: Stamp) {
        self.process.living = None;
        // That one was gone before anybody looked asks for no pause.
        let unseen = std::mem::take(&mut self.process.adopting) && !self.process.spawning.is_empty();
        self.process.died = (!self.process.stopped && !unseen).then_some(at.mono);
        self.process.spawning.clear();
        self.offers.clear();
        self.turn = false;
        self.taken.clear();
    }

    fn status(&mut self, report: &StatusReport) {
        match report.status {
            ReportStatus::Busy if !self.turn => {
                self.turn = true;
                self.taken.values_mut().for_each(|of_turn| *of_turn = true);
            }
            ReportStatus::Idle if self.turn => {
                self.turn = false;
                if report.end == TurnEnd::Normal {
                    self.worked.extend(self.taken.iter().filter(|(_, of_turn)| **of_turn).map(|(id, _)| *id));
                }
                self.taken.retain(|_, of_turn| !*of_turn);
            }
            ReportStatus::Busy | ReportStatus::Idle | ReportStatus::Offline | ReportStatus::Error => {}
        }
    }

    fn answer(&mut self, op: OpId, result: &OpResult, at: Stamp) {
        let failure = match result {
            OpResult::Failed(failure) => Some(failure.kind),
            _ => None,
        };
        if let Some(generation) = self.process.spawning.get(&op).copied() {
            if failure.is_some() && self.process.living == Some(generation) {
                self.gone(at);
            }
            self.process.spawning.remove(&op);
        }
        if let Some(messages) = self.offers.remove(&op)
            && failure.is_some_and(|kind| !matches!(kind, FailureKind::TimedOut | FailureKind::Unreachable))
        {
            // The provider did not get them, but for those that it showed to have all the same: what was known of them
            // before is what is known of them.
            for (id, _) in messages.iter().filter(|(id, before)| !before && !self.taken.contains_key(id)) {
                self.offered.remove(id);
            }
        }
        if let Some(asked) = self.asked.remove(&op) {
            self.claim_answered(op, asked, result);
        }
    }

    fn claim_answered(&mut self, op: OpId, asked: Asked, result: &OpResult) {
        let id = asked.message;
        // An answer to what was asked before the newest grant says nothing about it.
        let current = self.claims.get(&id).is_some_and(|claim| claim.op < op);
        let fits = current && asked.fence.is_none_or(|fence| self.claims[&id].fence == fence);
        match result {
            OpResult::Granted { fence, lease } if asked.fence.is_none() => {
                let before = self.claims.get(&id).filter(|claim| claim.fence == *fence);
                let end = usable(asked.at, *lease);
                let end = before.map_or(end, |claim| later(claim.end, end));
                self.claims.insert(id, Claim { fence: *fence, op, end });
            }
            OpResult::Renewed { lease } if asked.renewal && fits => {
                if let Some(claim) = self.claims.get_mut(&id) {
                    claim.end = later(claim.end, usable(asked.at, *lease));
                }
            }
            OpResult::Refused { .. } if fits => {
                self.claims.remove(&id);
            }
            OpResult::Failed(failure) if failure.kind == FailureKind::Conflict && fits => {
                self.claims.remove(&id);
            }
            _ => {}
        }
    }

    pub(crate) fn sees(&mut self, at: Stamp, effect: &Effect) -> Result<(), String> {
        if self.ended {
            return Err(format!("invariant 7: {effect} after the end"));
        }
        if let Some(OpId(op)) = number(effect)
            && op <= std::mem::replace(&mut self.newest_op, op)
        {
            return Err(format!("{effect}, and then the number of it again"));
        }
        match effect {
            Effect::Spawn { op, generation, .. } => self.spawn(at, *op, *generation)?,
            Effect::Adopt { op, generation, .. } => {
                if self.process.living != Some(*generation) || !self.process.spawning.is_empty() {
                    return Err(format!("invariant 1: {generation} is taken up, and {:?} lives", self.process.living));
                }
                self.process.spawning.insert(*op, *generation);
                self.process.adopting = true;
            }
            Effect::Stop { generation, .. } => self.process.stopped |= self.process.living == Some(*generation),
            Effect::Provider { op, generation, act } => self.act(*op, *generation, act)?,
            Effect::Connect { conn } => {
                let new_token = self.token_asked.is_some_and(|asked| at.mono - asked <= DEADLINE);
                if self.lost.take().is_some_and(|lost| at.mono - lost < RECONNECT) && !new_token {
                    return Err(format!("invariant 9: connection {conn} is tried at once"));
                }
                self.conn = Some(*conn);
            }
            Effect::Disconnect { .. } => self.conn = None,
            Effect::Send { frame: Frame::Status { seq, .. }, .. } => {
                let before = std::mem::replace(&mut self.status_seq, *seq);
                (before < *seq).then_some(()).ok_or_else(|| format!("status {seq} after {before}"))?;
            }
            Effect::Http { op, call, .. } => self.call(at, *op, call)?,
            Effect::Finish { .. } => {
                if let Some(living) = self.process.living.filter(|_| !self.process.stopped) {
                    return Err(format!("invariant 1: the run is over, and nobody stopped {living}"));
                }
                self.ended = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn spawn(&mut self, at: Stamp, op: OpId, generation: Generation) -> Result<(), String> {
        if let Some(living) = self.process.living {
            return Err(format!("invariant 1: {generation} is started while {living} may live"));
        }
        if generation <= self.process.newest {
            return Err(format!("invariant 1: {generation} is started again"));
        }
        if self.process.died.take().is_some_and(|died| at.mono - died < RESTART) {
            return Err(format!("invariant 9: {generation} is started at once"));
        }
        self.process.living = Some(generation);
        self.process.newest = generation;
        self.process.stopped = false;
        self.process.spawning.insert(op, generation);
        self.turn = false;
        self.taken.clear();
        Ok(())
    }

    fn act(&mut self, op: OpId, generation: Generation, act: &Act) -> Result<(), String> {
        if self.process.living != Some(generation) {
            return Err(format!("{act} is asked of {generation}, which is gone"));
        }
        let Act::Offer { offers } = act else { return Ok(()) };
        let mut messages = Vec::with_capacity(offers.len());
        for offer in offers {
            if self.settled.contains(&offer.message) {
                return Err(format!("invariant 2: message {} is offered after it was settled", offer.message));
            }
            let before = !self.offered.insert(offer.message);
            if before && offer.repeat == Repeat::First {
                return Err(format!("invariant 2: message {} is offered again, unmarked", offer.message));
            }
            self.worked.remove(&offer.message);
            self.taken.remove(&offer.message);
            messages.push((offer.message, before));
        }
        self.offers.insert(op, messages);
        Ok(())
    }

    fn call(&mut self, at: Stamp, op: OpId, call: &Call) -> Result<(), String> {
        match call {
            Call::Claim { message } => {
                self.asked.insert(op, Asked { message: *message, at, fence: None, renewal: false });
            }
            Call::Renew { message, fence } => {
                self.asked.insert(op, Asked { message: *message, at, fence: Some(*fence), renewal: true });
            }
            Call::Delivery { message, stage: Stage::Settled | Stage::SetAside, .. } => {
                self.settled.insert(*message);
            }
            Call::Release { message, .. } => {
                self.claims.remove(message);
            }
            Call::Task { message, status, fence, task, .. } => {
                self.reports(at, *task, *message, *status, *fence)?;
                self.asked.insert(op, Asked { message: *message, at, fence: *fence, renewal: false });
            }
            Call::RenewToken { .. } => self.token_asked = Some(at.mono),
            Call::Command { id, outcome, .. } => self.command(id, outcome.as_deref())?,
            _ => {}
        }
        Ok(())
    }

    fn reports(
        &self,
        at: Stamp,
        task: u64,
        message: MessageId,
        status: TaskStatus,
        fence: Option<u64>,
    ) -> Result<(), String> {
        match (self.claims.get(&message), fence) {
            (Some(claim), Some(fence)) if claim.fence == fence => {
                if claim.end.is_some_and(|end| end.mono <= at.mono || end.wall <= at.wall) {
                    return Err(format!("invariant 5: task {task} is reported under a lease that is over"));
                }
            }
            (claim, _) => {
                return Err(format!("invariant 5: task {task} is reported under {fence:?}, not {claim:?}"));
            }
        }
        if status == TaskStatus::Done && !self.worked.contains(&message) {
            return Err(format!("invariant 4: task {task} is done, but no turn ended with message {message}"));
        }
        Ok(())
    }

    fn command(&mut self, id: &str, outcome: Option<&Outcome>) -> Result<(), String> {
        let known = self.commands.entry(id.to_owned()).or_default();
        let said = match outcome {
            None => return Ok(()),
            Some(Outcome::Succeeded { .. }) => "succeeded".to_owned(),
            Some(Outcome::Failed { message }) => format!("failed: {message}"),
        };
        let first = known.get_or_insert_with(|| said.clone());
        if *first == said { Ok(()) } else { Err(format!("invariant 6: command {id} {first}, and then {said}")) }
    }
}

/// The number of the operation, where an effect has one.
const fn number(effect: &Effect) -> Option<OpId> {
    match effect {
        Effect::StartControl { op }
        | Effect::WriteInfo { op }
        | Effect::ReadSettings { op }
        | Effect::FetchAttachments { op, .. }
        | Effect::Http { op, .. }
        | Effect::Spawn { op, .. }
        | Effect::Adopt { op, .. }
        | Effect::Provider { op, .. } => Some(*op),
        Effect::Connect { .. }
        | Effect::Disconnect { .. }
        | Effect::Send { .. }
        | Effect::Stop { .. }
        | Effect::UseToken { .. }
        | Effect::Answer { .. }
        | Effect::Finish { .. } => None,
    }
}

/// A lease is counted from asking, less max(2 s, 5 %), never less more than half (behaviour 7).
fn usable(asked: Stamp, lease: Option<u64>) -> Option<Lease> {
    let lease = lease?;
    let usable = lease - (lease / 20).max(2_000).min(lease / 2);
    Some(Lease { mono: asked.mono.saturating_add(usable), wall: asked.wall.saturating_add(usable) })
}

/// The later end on each clock; none is never.
fn later(a: Option<Lease>, b: Option<Lease>) -> Option<Lease> {
    let (a, b) = (a?, b?);
    Some(Lease { mono: a.mono.max(b.mono), wall: a.wall.max(b.wall) })
}
