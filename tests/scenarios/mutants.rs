//! Stories that could not fail would say nothing: each wrong variant of the core is caught by the story of the hazard
//! that it falls into.
//!
//! A story is run by this very program in a process of its own, once as it is and once with the mutant: it must pass,
//! and it must fail. So what is held against the mutant is the story itself, whatever it goes on to say.

use std::process::{Command, Output};

use relay_runner_core::mutant::Mutant;

use crate::story::MUTANT;

const CAUGHT: [(Mutant, &str); Mutant::ALL.len()] = [
    (Mutant::RedeliversWhenMarkingFails, "delivering::mark_read_fails"),
    (Mutant::CountsTheLeaseFromArrival, "under_a_fence::a_lease_is_counted_from_the_moment_of_asking"),
    (Mutant::BelievesOneClock, "under_a_fence::a_machine_that_slept_reports_nothing_under_an_old_lease"),
    (Mutant::ForgetsTheFence, "tasks_and_turns::a_task_is_claimed_started_worked_and_done"),
    (Mutant::KeepsTheOldFence, "tasks_and_turns::lapsed_lease"),
    (Mutant::ReportsUnderALapsedLease, "tasks_and_turns::lapsed_lease"),
    (Mutant::RevivesClaims, "tasks_and_turns::renewal_revives_claim"),
    (Mutant::AsksUnderANewKey, "tasks_and_turns::claim_answer_lost"),
    (Mutant::ReleasesWorkedClaims, "ends_that_race::what_was_worked_is_not_released_at_the_end"),
    (Mutant::CompletesAtAnyIdle, "tasks_and_turns::busy_delivery"),
    (Mutant::CompletesAFailedTurn, "tasks_and_turns::failed_turn"),
    (Mutant::EndsATaskWithEachMessage, "tasks_and_turns::same_task_twice"),
    (Mutant::MarksReadTooEarly, "delivering::a_plain_message_is_offered_taken_worked_and_marked_as_read"),
    (Mutant::ForgetsRepeats, "tasks_and_turns::died_with_message"),
    (Mutant::NeverSetsAside, "delivering::poison_message"),
    (Mutant::OvertakesTheFlood, "delivering::a_new_message_does_not_overtake_those_that_did_not_fit"),
    (Mutant::OffersToTheDying, "restarting::delivery_during_restart"),
    (Mutant::DropsAnExitWhileStarting, "restarting::exit_during_restart"),
    (Mutant::BelievesLateExits, "restarting::late_exit"),
    (Mutant::BelievesLateHooks, "hooks::late_hook"),
    (Mutant::BelievesNestedProviders, "hooks::nested_provider"),
    (Mutant::NeverForgetsExits, "restarting::exits_of_long_ago_are_forgotten"),
    (Mutant::SpawnsTwice, "restarting::restart_during_backoff"),
    (Mutant::RestartsInsteadOfEnding, "stopping::shutdown_during_restart"),
    (Mutant::NeverEscalates, "stopping::graceful_stop_hangs"),
    (Mutant::RepeatsCommands, "commanding::command_replay"),
    (Mutant::IgnoresCommands, "commanding::command_replay"),
    (Mutant::RepeatsStatusNumbers, "bad_links::status_writers_race"),
    (Mutant::ReadyWhileGoingDown, "commanding::ready_flip"),
    (Mutant::NeverBacksOff, "bad_links::flapping_link"),
    (Mutant::DeletesWhatAnotherHolds, "superseded::two_runners"),
    (Mutant::ReconnectsWhileLeaving, "ends_that_race::a_link_that_breaks_after_leave_was_taken_is_not_opened_again"),
    (Mutant::BelievesOldRefusals, "credential::stale_401"),
    (Mutant::StaysSilentWhenRenewed, "credential::renewed_then_silent"),
    (Mutant::RenewsAllTheTime, "credential::short_token"),
    (Mutant::KeepsTheOldConnection, "credential::renewal_races_reconnect"),
    (Mutant::KeepsQuestionsOpen, "approvals::stale_approval"),
    (Mutant::PassesOnTheSecondAnswer, "approvals::two_answers"),
    (Mutant::WaitsForSilentTurns, "silent_turns::missing_stop"),
    (Mutant::CompletesAnUnseenTurn, "silent_turns::missing_stop"),
    (Mutant::TellsTwice, "lost_and_taken_over::what_is_lost_and_then_deleted_is_told_of_once"),
    (Mutant::NeverTells, "lost_and_taken_over::the_agent_is_told_once_that_a_message_is_not_its_own_any_more"),
    (Mutant::InterruptsAgain, "urgent::an_urgent_message_interrupts_the_turn_once_and_goes_first"),
    (Mutant::BlamesWhatMadeWay, "urgent::a_message_that_makes_way_again_and_again_is_not_given_up"),
    (Mutant::ForgetsTheMissed, "urgent::an_offer_that_the_adapter_knows_was_missed_is_made_again"),
    (Mutant::BelievesWhatWasKnown, "adopting::the_end_of_one_turn_is_not_taken_for_that_of_another"),
    (Mutant::OffersTwiceToTheAdopted, "adopting::a_turn_goes_on_while_the_runner_is_gone_and_its_end_counts"),
    (Mutant::ForgetsTheConversation, "about_itself::the_next_process_goes_on_with_the_conversation"),
];

/// The story, told to a core that is wrong in this way, or in none.
fn told(story: &str, mutant: Option<Mutant>) -> Output {
    let mut itself = Command::new(std::env::current_exe().expect("this program has a path"));
    itself.args(["--exact", story]).env_remove(MUTANT).env("RUST_BACKTRACE", "0");
    if let Some(mutant) = mutant {
        itself.env(MUTANT, format!("{mutant:?}"));
    }
    itself.output().expect("this program can be run again")
}

#[test]
fn every_mutant_is_caught_by_its_story() {
    let mut escaped = Vec::new();
    for (mutant, story) in CAUGHT {
        let right = told(story, None);
        let words = String::from_utf8_lossy(&right.stdout);
        assert!(right.status.success() && words.contains("1 passed"), "{story} is to be there, and to pass: {words}");
        let wrong = told(story, Some(mutant));
        let words = String::from_utf8_lossy(&wrong.stdout);
        // Failed by what it says, not by a signal.
        if wrong.status.code() != Some(101) || !words.contains("1 failed") {
            escaped.push(format!("{mutant:?} escapes {story}"));
        }
    }
    assert!(escaped.is_empty(), "{escaped:#?}");
}

#[test]
fn every_mutant_has_its_story() {
    for mutant in Mutant::ALL {
        assert_eq!(CAUGHT.iter().filter(|(caught, _)| *caught == mutant).count(), 1, "{mutant:?}");
    }
}
