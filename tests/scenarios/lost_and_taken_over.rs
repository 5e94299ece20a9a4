//! Messages that are another's, deleted, or not ours any more: dropped once, and marked if they come back.

use relay_runner_core::config::Adapter;
use relay_runner_core::event::{ExitClass, FailureKind, Incoming, RelayEvent};
use relay_runner_core::{Config, OpResult};
use relay_runner_protocol::TaskStatus;

use crate::story::{Story, config, plain, task};

/// The second offer of message 5 says that it is a repeat.
#[track_caller]
fn is_offered_again_marked(story: &Story) {
    let offers: Vec<_> = story.told.iter().filter(|t| t.contains("offer,m5/")).collect();
    assert_eq!(offers.len(), 2, "{offers:?}");
    assert!(offers[1].contains("offer,m5/2/") && offers[1].contains("/redelivered"), "{offers:?}");
}

#[test]
fn a_deleted_message_whose_offer_fails_is_not_offered_again() {
    let mut story = Story::up();
    story.message(plain(3));
    let offer = story.expects("offer,m3/");
    story.relay_says(RelayEvent::MessageDeleted { message: 3 });
    story.fails(offer, FailureKind::Provider);
    story.after(60_000);
    story.expects_no("offer,m3/");
    assert_eq!(story.stage(3), None);
}

#[test]
fn a_cancelled_task_whose_offer_fails_is_not_claimed_again() {
    let mut story = Story::holding_a_task();
    let offer = story.expects("offer,m5/");
    let cancelled = RelayEvent::Task { task: 50, message: 5, status: TaskStatus::Open, cancelled: true };
    story.relay_says(cancelled);
    story.fails(offer, FailureKind::NotReady);
    story.after(60_000);
    story.expects_no("claim,m5");
    story.expects_no("offer,m5/");
    assert_eq!(story.stage(5), None);
}

#[test]
fn a_deleted_message_that_is_never_taken_is_forgotten() {
    let mut story = Story::up();
    story.message(plain(3));
    story.hands_over(3);
    story.relay_says(RelayEvent::MessageDeleted { message: 3 });
    story.after(60_000);
    assert_eq!(story.stage(3), None);
    story.message(plain(4));
    story.works(4);
}

#[test]
fn a_worked_message_whose_done_came_too_late_comes_back_marked() {
    let mut story = Story::holding_a_task();
    story.works(5);
    let done = story.expects("task,t50,m5,done");
    story.fails(done, FailureKind::Conflict);
    // Whoever took it let go of it.
    story.message(task(5, 50));
    story.after(5_000);
    story.grants(5, 4);
    is_offered_again_marked(&story);
}

#[test]
fn a_taken_message_that_a_rival_lets_go_of_comes_back_marked() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.relay_says(RelayEvent::MessageClaimed { message: 5, by: Some("rival".into()) });
    story.after(5_000);
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Refused { by: Some("rival".into()) });
    story.idle();
    let told = story.expects("tell,m5");
    story.answers(told, OpResult::Ok);
    story.message(task(5, 50));
    story.after(5_000);
    story.grants(5, 4);
    is_offered_again_marked(&story);
}

#[test]
fn a_taken_message_that_was_released_comes_back_marked() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.exits(ExitClass::Refused);
    let release = story.expects("release,m5,f3");
    story.answers(release, OpResult::Ok);
    story.message(task(5, 50));
    story.command("c1", "agent.restart");
    story.provider_comes_up();
    story.grants(5, 4);
    is_offered_again_marked(&story);
}

#[test]
fn what_is_given_back_is_not_claimed_again_before_the_relay_has_it() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.exits(ExitClass::Refused);
    let release = story.expects("release,m5,f3");
    story.fails(release, FailureKind::Unreachable);
    story.message(Incoming { claimed_by: Some("a1".into()), ..task(5, 50) });
    story.command("c1", "agent.restart");
    story.provider_comes_up();
    // The release that still waits would undo a new grant.
    story.expects_no("claim,m5");
    story.after(2_000);
    let release = story.expects("release,m5,f3");
    story.answers(release, OpResult::Ok);
    story.grants(5, 4);
    story.after(60_000);
    story.expects_no("release,m5");
}

#[test]
fn a_claim_that_another_is_said_to_have_is_asked_for_and_not_dropped() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    // It may be old news that is sent again: only the relay knows who has it now.
    story.relay_says(RelayEvent::MessageClaimed { message: 5, by: Some("rival".into()) });
    story.idle();
    story.after(5_000);
    story.never(",done");
    story.grants(5, 4);
    story.after(5_000);
    story.expects("task,t50,m5,done,f4");
}

/// The rival has it for good: the relay is asked, and says so.
fn a_rival_takes_it(story: &mut Story) {
    story.relay_says(RelayEvent::MessageClaimed { message: 5, by: Some("rival".into()) });
    story.after(5_000);
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Refused { by: Some("rival".into()) });
}

#[test]
fn the_agent_is_told_once_that_a_message_is_not_its_own_any_more() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    a_rival_takes_it(&mut story);
    // Nothing can be handed over during a turn here, so it is told when the turn is over.
    story.expects_no("tell,m5");
    story.idle();
    let told = story.expects("tell,m5,its%20;claim%20;was%20;lost");
    // One operation on the provider at a time.
    story.message(plain(7));
    story.expects_no("offer,m7");
    story.answers(told, OpResult::Ok);
    story.works(7);
    story.relay_says(RelayEvent::MessageDeleted { message: 5 });
    assert_eq!(story.times("tell,m5"), 1);
    story.never("done");
}

#[test]
fn what_is_lost_and_then_deleted_is_told_of_once() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    a_rival_takes_it(&mut story);
    story.relay_says(RelayEvent::MessageDeleted { message: 5 });
    story.idle();
    story.accepts("tell,m5,its%20;claim%20;was%20;lost");
    story.after(60_000);
    assert_eq!(story.times("tell,m5"), 1);
}

#[test]
fn an_agent_that_can_hear_during_its_turn_is_told_at_once() {
    let adapter = Adapter { steer: true, ..config().adapter };
    let mut story = Story::up_with(Config { adapter, ..config() });
    story.message(plain(5));
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.relay_says(RelayEvent::MessageDeleted { message: 5 });
    let told = story.expects("tell,m5,it%20;was%20;deleted");
    // It is not ready to hear it: a little later.
    story.fails(told, FailureKind::NotReady);
    story.expects_no("tell,m5");
    story.after(1_000);
    story.expects("tell,m5");
}

#[test]
fn what_was_only_handed_over_is_told_of_once_it_shows() {
    let mut story = Story::up();
    story.message(plain(5));
    story.hands_over(5);
    story.relay_says(RelayEvent::MessageDeleted { message: 5 });
    story.expects_no("tell,m5");
    story.takes(5);
    story.expects("tell,m5");
}

#[test]
fn a_process_that_never_had_the_message_is_told_nothing() {
    let mut story = Story::up();
    story.message(plain(5));
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.relay_says(RelayEvent::MessageDeleted { message: 5 });
    story.exits(ExitClass::Crash);
    story.after(500);
    story.provider_comes_up();
    story.after(60_000);
    story.never("tell,m5");
}
