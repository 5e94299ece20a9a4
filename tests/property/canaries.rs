//! Canaries: a simulator that could not find a bug would say nothing. Each wrong variant of the core is found by the
//! plans that seeds draw, within the number of seeds that is stated, and the same plan holds without the bug.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use relay_runner_core::mutant::Mutant;
use relay_runner_sim::{Plan, Wanted, run, shrink, swarm};

/// So many seeds find a bug.
const SEEDS: u64 = 2_000;
/// So many runs make a failing plan short.
const SHRINKING: u64 = 2_000;

/// Where each was found last: tried first, so that the others are searched only after the plans have changed.
const FOUND: &[(Mutant, u64)] = &[
    (Mutant::ForgetsTheFence, 0),
    (Mutant::MarksReadTooEarly, 0),
    (Mutant::RepeatsStatusNumbers, 0),
    (Mutant::DropsAnExitWhileStarting, 1),
    (Mutant::ForgetsTheConversation, 1),
    (Mutant::OffersTwiceToTheAdopted, 2),
    (Mutant::KeepsTheOldConnection, 5),
    (Mutant::RenewsAllTheTime, 5),
    (Mutant::IgnoresCommands, 6),
    (Mutant::NeverBacksOff, 8),
    (Mutant::StaysSilentWhenRenewed, 8),
    (Mutant::AsksUnderANewKey, 12),
    (Mutant::KeepsTheOldFence, 12),
    (Mutant::NeverSetsAside, 12),
    (Mutant::ReportsUnderALapsedLease, 12),
    (Mutant::DeletesWhatAnotherHolds, 14),
    (Mutant::ReleasesWorkedClaims, 14),
    (Mutant::BelievesLateExits, 16),
    (Mutant::ForgetsRepeats, 18),
    (Mutant::RepeatsCommands, 19),
    (Mutant::SpawnsTwice, 22),
    (Mutant::OffersToTheDying, 27),
    (Mutant::CompletesAFailedTurn, 30),
    (Mutant::EndsATaskWithEachMessage, 40),
    (Mutant::NeverForgetsExits, 42),
    (Mutant::BelievesOldRefusals, 46),
    (Mutant::NeverEscalates, 47),
    (Mutant::ForgetsTheMissed, 54),
    (Mutant::RedeliversWhenMarkingFails, 67),
    (Mutant::ReadyWhileGoingDown, 85),
    (Mutant::RestartsInsteadOfEnding, 95),
    (Mutant::OvertakesTheFlood, 97),
    (Mutant::PassesOnTheSecondAnswer, 155),
    (Mutant::BelievesNestedProviders, 161),
    (Mutant::NeverTells, 172),
    (Mutant::TellsTwice, 172),
    (Mutant::BelievesLateHooks, 176),
    (Mutant::RevivesClaims, 235),
    (Mutant::WaitsForSilentTurns, 320),
    (Mutant::BelievesWhatWasKnown, 436),
    (Mutant::KeepsQuestionsOpen, 566),
    (Mutant::CompletesAnUnseenTurn, 720),
    (Mutant::InterruptsAgain, 720),
    (Mutant::ReconnectsWhileLeaving, 745),
    (Mutant::BelievesOneClock, 802),
    (Mutant::CompletesAtAnyIdle, 1060),
    (Mutant::BlamesWhatMadeWay, 1342),
    (Mutant::CountsTheLeaseFromArrival, 1747),
];

fn holds(plan: &Plan) -> bool {
    // A debug assertion of the core is a find as well.
    catch_unwind(AssertUnwindSafe(|| run(plan, Wanted::default()).broken.is_none())).unwrap_or(false)
}

fn finds(mutant: Mutant, seed: u64) -> bool {
    let mut plan = swarm::plan(seed);
    plan.setup.mutant = Some(mutant);
    !holds(&plan) && holds(&swarm::plan(seed))
}

#[test]
fn every_wrong_core_is_found_within_the_stated_number_of_seeds() {
    let mut lost = Vec::new();
    for (mutant, seed) in FOUND {
        if !finds(*mutant, *seed) {
            match (0..SEEDS).find(|seed| finds(*mutant, *seed)) {
                Some(now) => println!("{mutant:?} is found by seed {now} now, not by {seed}: say so in FOUND"),
                None => lost.push(mutant),
            }
        }
    }
    assert!(lost.is_empty(), "not found within {SEEDS} seeds: {lost:?}");
}

#[test]
fn every_wrong_core_is_spoken_of() {
    let mut all: Vec<Mutant> = FOUND.iter().map(|(mutant, _)| *mutant).collect();
    all.sort_by_key(|mutant| format!("{mutant:?}"));
    let mut wanted = Mutant::ALL.to_vec();
    wanted.sort_by_key(|mutant| format!("{mutant:?}"));
    assert_eq!(all, wanted);
}

/// What is left of a plan that fails is short enough to be read, and is found while somebody waits for it.
#[test]
#[expect(clippy::disallowed_methods, reason = "whoever waits for it has a clock on the wall")]
fn what_is_found_is_made_short() {
    for (mutant, seed) in [(Mutant::BelievesLateExits, 16), (Mutant::RepeatsCommands, 19), (Mutant::NeverSetsAside, 12)]
    {
        let mut plan = swarm::plan(seed);
        plan.setup.mutant = Some(mutant);
        let begun = Instant::now();
        let shrunk = shrink::shrink(&plan, SHRINKING).unwrap_or_else(|| panic!("{mutant:?} is found by seed {seed}"));
        let took = begun.elapsed();
        let faults = shrunk.plan.faults();
        assert!(faults <= 10, "{mutant:?}: {faults} faults are left after {} runs", shrunk.runs);
        assert!(took < Duration::from_secs(30), "{mutant:?}: {took:?} for {} runs", shrunk.runs);
    }
}
