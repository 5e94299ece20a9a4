//! The invariants, checked from outside: by what the core hears and asks for, and nothing else of it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use relay_runner_core::event::{OpResult, ProviderReport, ReportStatus, StatusReport, TurnEnd};
use relay_runner_core::{Act, Call, Effect, Event, Generation, MessageId, OpId, Outcome, Repeat, Stamp};
use relay_runner_protocol::TaskStatus;
use relay_runner_sim::{Mood, Run};

/// How long the core waits for the answer to a claim: the call's deadline and a second.
const DEADLINE: u64 = 16_000;

/// What an onlooker writes down.
#[derive(Default)]
struct Books {
    /// The generation whose process may live.
    living: Option<Generation>,
    /// Spawns that were not answered yet.
    spawning: BTreeMap<OpId, Generation>,
    /// Messages that were offered to a generation, and not marked as failed since.
    offered: BTreeMap<MessageId, Generation>,
    offers: BTreeMap<OpId, Vec<MessageId>>,
    /// Taken by the living process, and not ended with a turn.
    taken: BTreeSet<MessageId>,
    turn: bool,
    /// A turn that had it ended normally.
    worked: BTreeSet<MessageId>,
    /// Claims asked for, with the time of asking.
    asked: BTreeMap<OpId, (MessageId, Stamp)>,
    renewing: BTreeMap<OpId, (MessageId, Stamp)>,
    /// The newest fence, and when the lease ends on both clocks, counted generously: from asking, in full.
    claims: BTreeMap<MessageId, (u64, Option<Stamp>)>,
    outcomes: BTreeMap<String, String>,
    ended: bool,
}

impl Books {
    fn hears(&mut self, at: Stamp, event: &Event) {
        match event {
            Event::Provider(generation, report) if self.living == Some(*generation) => self.provider(report),
            Event::Done(op, result) => self.answer(*op, result, at),
            _ => {}
        }
    }

    fn provider(&mut self, report: &ProviderReport) {
        match report {
            ProviderReport::Exit(_) => {
                self.living = None;
                self.turn = false;
                self.taken.clear();
            }
            ProviderReport::Taken { offers, .. } => self.taken.extend(offers.iter().map(|offer| offer.message)),
            ProviderReport::Status(report) => self.status(report),
            _ => {}
        }
    }

    fn status(&mut self, report: &StatusReport) {
        match report.status {
            ReportStatus::Busy => self.turn = true,
            ReportStatus::Idle if self.turn => {
                self.turn = false;
                if report.end == TurnEnd::Normal {
                    self.worked.extend(&self.taken);
                }
            }
            ReportStatus::Idle | ReportStatus::Offline | ReportStatus::Error => {}
        }
    }

    fn answer(&mut self, op: OpId, result: &OpResult, at: Stamp) {
        if self.spawning.remove(&op).is_some() && matches!(result, OpResult::Failed(_)) {
            self.living = None;
        }
        if let Some(messages) = self.offers.remove(&op)
            && matches!(result, OpResult::Failed(_))
        {
            // The provider did not get them, or it is in doubt, which the next offer has to say itself.
            for id in &messages {
                self.offered.remove(id);
            }
        }
        let end = |asked: Stamp, lease: &Option<u64>| {
            lease.map(|lease| Stamp::new(asked.mono.saturating_add(lease), asked.wall.saturating_add(lease)))
        };
        // What comes after the deadline is not waited for any more.
        let in_time = |asked: &(MessageId, Stamp)| at.mono < asked.1.mono + DEADLINE;
        match (self.asked.remove(&op).filter(in_time), self.renewing.remove(&op).filter(in_time), result) {
            (Some((id, asked)), _, OpResult::Granted { fence, lease }) => {
                let end = end(asked, lease);
                let claim = self.claims.entry(id).or_insert((*fence, end));
                *claim = if claim.0 == *fence { (*fence, later(claim.1, end)) } else { (*fence, end) };
            }
            (_, Some((id, asked)), OpResult::Renewed { lease }) => {
                // A renewal never makes a lease shorter.
                if let Some(claim) = self.claims.get_mut(&id) {
                    claim.1 = later(claim.1, end(asked, lease));
                }
            }
            _ => {}
        }
    }

    fn sees(&mut self, at: Stamp, effect: &Effect) -> Result<(), String> {
        if self.ended {
            return Err(format!("invariant 7: {effect} after the end"));
        }
        match effect {
            Effect::Spawn { op, generation } => {
                if let Some(living) = self.living {
                    return Err(format!("invariant 1: {generation} is started while {living} may live"));
                }
                self.living = Some(*generation);
                self.spawning.insert(*op, *generation);
                self.turn = false;
                self.taken.clear();
            }
            Effect::Provider { op, generation, act: Act::Offer { offers } } => {
                for offer in offers {
                    let before = self.offered.insert(offer.message, *generation);
                    if before.is_some() && offer.repeat == Repeat::First {
                        return Err(format!("invariant 2: message {} is offered again, unmarked", offer.message));
                    }
                    self.worked.remove(&offer.message);
                }
                self.offers.insert(*op, offers.iter().map(|offer| offer.message).collect());
            }
            Effect::Http { op, call, .. } => self.call(at, *op, call)?,
            Effect::Finish { .. } => self.ended = true,
            _ => {}
        }
        Ok(())
    }

    fn call(&mut self, at: Stamp, op: OpId, call: &Call) -> Result<(), String> {
        match call {
            Call::Claim { message } => {
                self.asked.insert(op, (*message, at));
            }
            Call::Renew { message, .. } => {
                self.renewing.insert(op, (*message, at));
            }
            Call::Task { message, status, fence, task, .. } => {
                let Some(fence) = fence else {
                    return Err(format!("invariant 5: task {task} is reported without a fence"));
                };
                match self.claims.get(message) {
                    Some((newest, end)) if newest == fence => {
                        if end.is_some_and(|end| end.mono <= at.mono || end.wall <= at.wall) {
                            return Err(format!("invariant 5: task {task} is reported under a lease that is over"));
                        }
                    }
                    other => return Err(format!("invariant 5: task {task} is reported under {fence}, not {other:?}")),
                }
                if *status == TaskStatus::Done && !self.worked.contains(message) {
                    return Err(format!("invariant 4: task {task} is done, but no turn ended with message {message}"));
                }
            }
            Call::Command { id, outcome: Some(outcome), .. } => {
                let said = match &**outcome {
                    Outcome::Succeeded { .. } => "succeeded".to_owned(),
                    Outcome::Failed { message } => message.to_string(),
                };
                let first = self.outcomes.entry(id.to_string()).or_insert_with(|| said.clone());
                if *first != said {
                    return Err(format!("invariant 6: command {id} had the outcome {first}, and now {said}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The later end on each clock; none is never.
fn later(a: Option<Stamp>, b: Option<Stamp>) -> Option<Stamp> {
    Some(Stamp::new(a?.mono.max(b?.mono), a?.wall.max(b?.wall)))
}

fn watch(seed: u64, steps: usize, mood: Mood) -> Result<(), TestCaseError> {
    let mut run = Run::new(seed, mood);
    let mut books = Books::default();
    for step in 0..steps {
        let (at, event) = run.step();
        books.hears(at, &event);
        for effect in &run.fx.effects {
            if let Err(broken) = books.sees(at, effect) {
                return Err(TestCaseError::fail(format!("{broken} (seed {seed}, step {step}, {event:?})")));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn the_invariants_hold_whatever_happens(seed in any::<u64>()) {
        watch(seed, 2_000, Mood::ROUGH)?;
    }

    #[test]
    fn the_invariants_hold_in_a_long_run_that_nobody_ends(seed in any::<u64>()) {
        watch(seed, 10_000, Mood { ends: false, noise: 20, ..Mood::ROUGH })?;
    }
}
