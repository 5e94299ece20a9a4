//! Messages: never taken twice without being marked so, done only when they were, in their order, and set aside only
//! with a reason (invariants 2, 3, 4).

use std::collections::{BTreeMap, BTreeSet};

use relay_runner_core::config::MarkRead;
use relay_runner_core::event::{FailureKind, Incoming, TakenOffer, TurnEnd};
use relay_runner_core::{DurableFacts, Generation, MessageId, Offer, OpId, Reason, Repeat};
use relay_runner_protocol::{Stage, TaskStatus};

use super::{Truth, Watched, wrong};
use crate::process::{Process, Uid};

#[derive(Debug, Default)]
pub(super) struct Messages {
    /// What a process really took last, and whether the turn that had it is over without having worked it.
    had: BTreeMap<MessageId, Had>,
    /// A turn that had it really ended normally.
    worked: BTreeSet<MessageId>,
    /// Neither the beginning nor the end of its turn was told: it is taken for one that waits for the next.
    unseen: BTreeSet<MessageId>,
    /// The core was shown that the living process has it.
    shown: BTreeSet<MessageId>,
    /// It was shown in a turn that the core knew to run, by an adapter without evidence: the core has to take it for one that
    /// waits for the next turn.
    waiting: BTreeSet<MessageId>,
    /// The core knows that it was worked.
    known: BTreeSet<MessageId>,
    /// It was handed over, and is not over.
    offered: BTreeSet<MessageId>,
    /// Its claim was lost, and it was not handed over since: what shows now that a process has it is not believed.
    lost: BTreeSet<MessageId>,
    /// The adapter said that it did not arrive, and it was not handed over since.
    missed: BTreeSet<MessageId>,
    /// It was handed over at some time, whether or not it arrived.
    tried: BTreeSet<MessageId>,
    /// Offers under way.
    under_way: BTreeMap<OpId, Vec<MessageId>>,
    /// What failed with it.
    failed: BTreeMap<MessageId, Failed>,
    /// A person stopped its turn, or the relay refuses its end.
    blocked: BTreeSet<MessageId>,
    /// Plain ones for this agent alone, that the core was told of and that were never offered; in which order.
    arrived: BTreeMap<MessageId, u64>,
    arrivals: u64,
    /// Never to be offered again.
    over: BTreeSet<MessageId>,
    /// The core knows that a turn runs.
    turn: bool,
    told: BTreeSet<MessageId>,
    telling: BTreeMap<OpId, MessageId>,
    /// The process has them, and is to be told that they are not its own any more; since when.
    untold: BTreeMap<MessageId, (Generation, u64)>,
}

/// Where nothing shows what a turn has, one that ends may seem to have had what the process was handed while it ran.
fn has_it_unseen(message: MessageId, truth: &Truth<'_>) -> bool {
    let has = |process: &&Process| process.handed(message) || process.works_on(message);
    !truth.setup.adapter.evidence && truth.process.is_some_and(|process| has(&process))
}

#[derive(Debug, Clone, Copy)]
struct Had {
    by: Uid,
    failed: bool,
    /// The core heard of it.
    shown: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Failed {
    /// Offers, and those of it alone.
    offers: u32,
    alone: u32,
    turns: u32,
}

impl Messages {
    pub(super) fn starts(&mut self, facts: &DurableFacts) {
        self.turn = false;
        self.shown.clear();
        self.waiting.clear();
        self.known.clear();
        self.under_way.clear();
        self.telling.clear();
        self.untold.clear();
        self.arrived.clear();
        self.missed.clear();
        self.tried.extend(facts.messages.keys());
        self.over.extend(&facts.settled);
        self.over.extend(facts.set_aside.keys());
    }

    /// What was not shown yet need not have been on the disk; nor what was handed over.
    pub(super) fn loses_power(&mut self) {
        self.had.retain(|_, had| had.shown);
        self.offered.clear();
        self.over.clear();
        self.known.clear();
        self.failed.values_mut().for_each(|failed| failed.alone = 0);
    }

    /// Its claim was lost: should it come back, it may be worked again, marked.
    pub(super) fn is_lost(&mut self, message: MessageId) {
        if let Some(had) = self.had.get_mut(&message) {
            had.failed = true;
        }
        if let Some(failed) = self.failed.get_mut(&message) {
            failed.alone = 0;
        }
        self.known.remove(&message);
        self.shown.remove(&message);
        self.lost.insert(message);
    }

    pub(super) fn another_process(&mut self) {
        self.shown.clear();
        self.told.clear();
    }

    pub(super) fn process_ends(&mut self) {
        self.turn = false;
        self.under_way.clear();
        self.telling.clear();
        self.untold.clear();
        self.shown.clear();
    }

    /// The core is told of a message.
    pub(super) fn arrives(&mut self, message: &Incoming, truth: &Truth<'_>) {
        let us = &truth.relay.agents[truth.agent].id;
        let plain = message.to == *us && !message.claimable && !message.urgent && !message.read;
        if plain && !self.tried.contains(&message.id) && !self.over.contains(&message.id) {
            self.arrivals += 1;
            self.arrived.entry(message.id).or_insert(self.arrivals);
        }
    }

    /// It was deleted, or its task cancelled.
    pub(super) fn is_gone(&mut self, message: MessageId, generation: Option<Generation>, truth: &Truth<'_>) {
        self.arrived.remove(&message);
        let has = truth.process.is_some_and(|process| process.alive && process.works_on(message));
        if self.shown.contains(&message)
            && !self.known.contains(&message)
            && !self.over.contains(&message)
            && !self.told.contains(&message)
            && has
            && let Some(generation) = generation
        {
            self.untold.insert(message, (generation, truth.now));
        }
        self.known.remove(&message);
    }

    pub(super) fn answered(&mut self, op: OpId, failure: Option<FailureKind>, truth: &Truth<'_>) {
        let messages = self.under_way.remove(&op);
        if let (Some(messages), None, false) = (&messages, failure, truth.setup.adapter.evidence) {
            // Handed over is all there is to know.
            for id in messages {
                if let Some(had) = self.had.get_mut(id) {
                    had.shown = true;
                }
            }
        }
        if let Some(messages) = messages
            && let Some(kind) = failure
            && !matches!(kind, FailureKind::TimedOut | FailureKind::Unreachable)
        {
            for id in &messages {
                if !self.had.contains_key(id) {
                    self.offered.remove(id);
                }
            }
            if kind != FailureKind::NotReady {
                for id in &messages {
                    let failed = self.failed.entry(*id).or_default();
                    failed.offers += 1;
                    failed.alone += u32::from(messages.len() == 1);
                }
            }
        }
        if let Some(message) = self.telling.remove(&op)
            && failure == Some(FailureKind::NotReady)
        {
            self.told.remove(&message);
        }
    }

    pub(super) fn offers(&mut self, op: OpId, offers: &[Offer], truth: &Truth<'_>) -> Watched {
        let limits = relay_runner_core::config::Limits::default();
        if offers.is_empty() || offers.len() > limits.batch {
            return wrong(11, format!("{} messages are offered at once", offers.len()));
        }
        for offer in offers {
            let id = offer.message;
            if self.over.contains(&id) {
                return wrong(2, format!("message {id} is offered after it was over"));
            }
            if self.offered.contains(&id) && offer.repeat == Repeat::First {
                return wrong(2, format!("message {id} is offered again, unmarked"));
            }
            if self.failed.get(&id).is_some_and(|failed| failed.alone >= limits.offer_tries) {
                return wrong(3, format!("message {id} is offered after {} tries", limits.offer_tries));
            }
            if let Some(arrived) = self.arrived.remove(&id) {
                let waits = |older: &MessageId| {
                    truth
                        .relay
                        .mail
                        .get(older)
                        .is_some_and(|mail| mail.read & (1 << truth.agent) == 0 && !mail.deleted && !mail.finished)
                };
                let inside = |older: &MessageId| offers.iter().any(|offer| offer.message == *older);
                let mut before = self.arrived.range(..id).filter(|(_, at)| **at < arrived).map(|(older, _)| older);
                if let Some(older) = before.find(|older| waits(older) && !inside(older)) {
                    return wrong(2, format!("message {id} overtakes message {older}"));
                }
            }
            self.offered.insert(id);
            self.missed.remove(&id);
            self.lost.remove(&id);
            self.tried.insert(id);
            self.known.remove(&id);
            self.unseen.remove(&id);
            self.shown.remove(&id);
            self.told.remove(&id);
        }
        self.under_way.insert(op, offers.iter().map(|offer| offer.message).collect());
        Ok(())
    }

    /// What a process really takes.
    pub(super) fn took(&mut self, process: &Process, offers: &[TakenOffer], evidence: bool) -> Watched {
        for offer in offers {
            let id = offer.message;
            let repeat =
                process.had.iter().rev().find(|had| had.offer == *offer).map_or(Repeat::First, |had| had.repeat);
            let shown = self.had.get(&id).is_some_and(|had| had.shown);
            let before = self.had.insert(id, Had { by: process.uid, failed: false, shown });
            let Some(before) = before else { continue };
            match repeat {
                Repeat::First => {
                    return wrong(2, format!("message {id} is taken a second time, and nothing says so"));
                }
                // Where nothing shows what a turn has, a turn that failed may not have had it.
                Repeat::Redelivered if before.by == process.uid && !before.failed && evidence => {
                    return wrong(
                        2,
                        format!("message {id} is taken twice by {}, and no doubt was shown", process.generation),
                    );
                }
                Repeat::Redelivered | Repeat::Ambiguous => {}
            }
        }
        Ok(())
    }

    pub(super) fn turn_ended(&mut self, process: &Process, turn: usize, requested: bool, told: bool) {
        let end = process.turns[turn].end.clone();
        for had in process.had.iter().filter(|had| had.turn == Some(turn)) {
            let id = had.offer.message;
            match &end {
                Some(TurnEnd::Normal) => {
                    self.worked.insert(id);
                    // An end that nobody told counts like a turn that failed.
                    self.failed.entry(id).or_default().turns += u32::from(!told);
                }
                Some(end @ (TurnEnd::Failed { .. } | TurnEnd::Interrupted { .. })) => {
                    if let Some(had) = self.had.get_mut(&id) {
                        had.failed = true;
                    }
                    if *end == (TurnEnd::Interrupted { by_person: true }) {
                        self.blocked.insert(id);
                    } else if !requested {
                        self.failed.entry(id).or_default().turns += 1;
                    }
                }
                None => {}
            }
        }
    }

    pub(super) fn turn_unseen(&mut self, process: &Process, turn: usize) {
        for had in process.had.iter().filter(|had| had.turn == Some(turn)) {
            self.unseen.insert(had.offer.message);
            // What is taken for waiting is taken to be of the next turn, and that one may fail.
            if let Some(had) = self.had.get_mut(&had.offer.message) {
                had.failed = true;
            }
        }
    }

    /// The core is shown what a process took. What it never took says nothing, nor what came from a relay that was met only
    /// later.
    pub(super) fn shown(&mut self, offers: &[TakenOffer], truth: &Truth<'_>) {
        let took = |offer: &&TakenOffer| truth.process.is_some_and(|process| process.took(offer));
        for offer in offers.iter().filter(took) {
            if let Some(had) = self.had.get_mut(&offer.message) {
                had.shown = true;
                if self.offered.contains(&offer.message) && !self.lost.contains(&offer.message) {
                    self.shown.insert(offer.message);
                    if self.turn && !truth.setup.adapter.evidence {
                        self.waiting.insert(offer.message);
                    }
                }
            }
        }
    }

    pub(super) fn is_offering(&self, op: OpId) -> bool {
        self.under_way.contains_key(&op)
    }

    /// There is no doubt about it: it did not arrive.
    pub(super) fn is_missed(&self, id: MessageId) -> bool {
        self.missed.contains(&id)
    }

    /// The adapter knows that they did not arrive.
    pub(super) fn missed(&mut self, offers: &[TakenOffer]) {
        for offer in offers {
            if !self.had.contains_key(&offer.message) && self.offered.remove(&offer.message) {
                self.missed.insert(offer.message);
            }
            let failed = self.failed.entry(offer.message).or_default();
            failed.offers += 1;
            failed.alone += u32::from(offers.len() == 1);
        }
    }

    /// The core hears the beginning of a turn.
    pub(super) fn busy(&mut self) {
        if !std::mem::replace(&mut self.turn, true) {
            self.waiting.clear();
        }
    }

    /// Nothing shows that it still runs.
    pub(super) const fn turn_is_doubted(&mut self) {
        self.turn = false;
    }

    /// The core hears the end of a turn.
    pub(super) fn idle(&mut self, end: &TurnEnd, truth: &Truth<'_>) {
        // Of a turn that was not seen to begin nobody knows what it had.
        let seen = std::mem::take(&mut self.turn);
        if let (true, Some(process)) = (*end != TurnEnd::Normal, truth.process) {
            // It comes again, or is given up: the process need not be told of it.
            let last = process.turns.len().saturating_sub(1);
            for had in process.had.iter().filter(|had| had.turn == Some(last)) {
                self.shown.remove(&had.offer.message);
            }
        }
        let Some(process) = truth.process.filter(|_| seen && *end == TurnEnd::Normal) else { return };
        let last = process.turns.len().saturating_sub(1);
        // The one that was seen to begin may be an older one.
        if !process.turns.get(last).is_some_and(|turn| turn.told) {
            return;
        }
        let of_turn = process.had.iter().filter(|had| had.turn == Some(last)).map(|had| had.offer.message);
        self.known.extend(of_turn.filter(|id| self.shown.contains(id) && !self.waiting.contains(id)));
    }

    pub(super) fn tells(&mut self, op: OpId, message: MessageId) -> Watched {
        self.untold.remove(&message);
        self.shown.remove(&message);
        self.telling.insert(op, message);
        // What it was told not to work on may come to it again, marked.
        if let Some(had) = self.had.get_mut(&message) {
            had.failed = true;
        }
        if !self.told.insert(message) {
            return wrong(3, format!("the agent is told twice that message {message} is not its own"));
        }
        Ok(())
    }

    /// A claim is given back.
    pub(super) fn lets_go(&self, message: MessageId) -> Watched {
        if self.known.contains(&message) {
            return wrong(3, format!("the claim of message {message} is released, and it was worked"));
        }
        Ok(())
    }

    pub(super) fn reports(
        &mut self,
        task: u64,
        message: MessageId,
        status: TaskStatus,
        why: Option<&Reason>,
        said_before: bool,
        truth: &Truth<'_>,
    ) -> Watched {
        match status {
            TaskStatus::Done => {
                let known = self.worked.contains(&message) || self.unseen.contains(&message);
                if !known && !has_it_unseen(message, truth) {
                    return wrong(4, format!("task {task} is done by message {message}, which no turn has worked"));
                }
                let others = truth.relay.tasks.get(&task).map(|task| task.messages.as_slice()).unwrap_or_default();
                let open = |id: &&MessageId| {
                    **id != message
                        && self.offered.contains(*id)
                        && !self.worked.contains(*id)
                        && !self.over.contains(*id)
                        && self.had.get(*id).is_some_and(|had| !had.failed)
                        && truth.process.is_some_and(|process| process.alive && process.has(**id))
                        && truth.relay.mail.get(*id).is_some_and(|mail| !mail.finished && !mail.deleted)
                };
                if let Some(open) = others.iter().find(open).filter(|_| !said_before) {
                    return wrong(4, format!("task {task} is done, and its message {open} is still being worked"));
                }
            }
            TaskStatus::Failed => {
                let Failed { offers, turns, .. } = self.failed.get(&message).copied().unwrap_or_default();
                let unseen = matches!(why, Some(Reason::Other(why)) if why.contains("was not seen"));
                // Where nothing shows what a turn has, the ones that failed may seem to have had it.
                let least = if truth.setup.adapter.evidence { 3 } else { 1 };
                if offers < 8 && turns < least && !self.blocked.contains(&message) && !unseen {
                    return wrong(
                        3,
                        format!("task {task} has failed after {offers} failed offers and {turns} failed turns"),
                    );
                }
            }
            TaskStatus::Open | TaskStatus::InProgress | TaskStatus::Blocked => {}
        }
        Ok(())
    }

    pub(super) fn reads(&self, message: MessageId, truth: &Truth<'_>) -> Watched {
        let taken = truth.setup.mark_read == MarkRead::Taken && self.had.contains_key(&message);
        let shows_nothing = !truth.setup.adapter.evidence && self.offered.contains(&message);
        let worked = self.worked.contains(&message) || self.unseen.contains(&message);
        if has_it_unseen(message, truth) {
            return Ok(());
        }
        if worked || taken || (shows_nothing && truth.setup.mark_read == MarkRead::Taken) {
            return Ok(());
        }
        wrong(4, format!("message {message} is marked as read, and no turn has worked it"))
    }

    pub(super) fn stage(&mut self, message: MessageId, stage: Stage) {
        if matches!(stage, Stage::Settled | Stage::SetAside) {
            self.over.insert(message);
            self.offered.remove(&message);
        }
    }

    pub(super) fn rests(&self, generation: Option<Generation>) -> Watched {
        for (message, (of, since)) in &self.untold {
            if Some(*of) == generation {
                return wrong(
                    3,
                    format!("since {since} nobody has told the agent that message {message} is not its own"),
                );
            }
        }
        Ok(())
    }
}
