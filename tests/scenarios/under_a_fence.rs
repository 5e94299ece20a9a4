//! Nothing is said of a task but under a valid fence: not for a claim that is gone, not for a message without one.

use relay_runner_core::event::{ExitClass, FailureKind, RelayEvent, StatusReport, TurnEnd};
use relay_runner_core::wire;
use relay_runner_core::{Call, Event, OpId, OpResult};
use relay_runner_protocol::{Message, TaskStatus};
use serde_json::json;

use crate::story::{Story, config, plain, task};

/// The relay says that a rival has message 5, and says so again when it is asked.
#[track_caller]
fn a_rival_takes(story: &mut Story) {
    story.relay_says(RelayEvent::MessageClaimed { message: 5, by: Some("rival".into()) });
    story.after(5_000);
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Refused { by: Some("rival".into()) });
}

#[test]
fn only_a_claimable_message_carries_a_task() {
    let message = |claimable: bool| -> Message {
        let message = json!({
            "id": 7, "from": "alice", "to": "a1", "payload": {"taskId": 50}, "claimable": claimable, "createdAt": 0
        });
        serde_json::from_value(message).unwrap()
    };
    assert_eq!(wire::incoming(&message(true), "a1").task, Some(50));
    assert_eq!(wire::incoming(&message(false), "a1").task, None);

    let mut story = Story::up();
    story.message(wire::incoming(&message(false), "a1"));
    story.works(7);
    story.expects("read,m7");
    story.never("task,t50");
}

#[test]
fn a_start_that_failed_is_not_said_again_once_the_claim_was_lost() {
    let mut story = Story::up();
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Granted { fence: 3, lease: Some(10_000) });
    let started = story.expects("task,t50,m5,in_progress");
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.after(4_600);
    let renew = story.expects("renew,m5");
    story.fails(renew, FailureKind::Conflict);
    story.fails(started, FailureKind::Unreachable);
    story.after(60_000);
    story.expects_no("task,t50");
}

#[test]
fn a_done_that_failed_is_not_said_again_once_a_rival_has_the_message() {
    let mut story = Story::holding_a_task();
    story.works(5);
    let done = story.expects("task,t50,m5,done");
    a_rival_takes(&mut story);
    story.fails(done, FailureKind::Unreachable);
    story.after(60_000);
    story.expects_no("task,t50");
}

#[test]
fn a_start_that_failed_is_not_said_again_once_the_claim_was_released() {
    let mut story = Story::up();
    story.message(task(5, 50));
    story.grants(5, 3);
    let started = story.expects("task,t50,m5,in_progress");
    story.exits(ExitClass::Refused);
    story.fails(started, FailureKind::Unreachable);
    story.after(60_000);
    story.expects_no("task,t50");
    story.expects("release,m5,f3");
}

#[test]
fn a_later_run_says_nothing_of_a_task_that_was_lost() {
    let mut story = Story::holding_a_task();
    story.works(5);
    story.expects("task,t50,m5,done");
    a_rival_takes(&mut story);
    let mut later = Story::with(config(), story.core.facts());
    later.boot();
    later.registers();
    later.after(60_000);
    later.never("task,t50");
}

#[test]
fn a_lost_message_that_is_never_taken_blocks_no_task() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    a_rival_takes(&mut story);
    story.after(32 * 60_000);
    story.expects_no("task,t50");
}

#[test]
fn an_interruption_by_a_person_blocks_no_lost_task() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    a_rival_takes(&mut story);
    let end = TurnEnd::Interrupted { by_person: true };
    story.report(StatusReport { end, ..StatusReport::default() });
    story.expects_no("task,t50");
}

#[test]
fn a_task_is_done_when_the_rest_of_its_messages_is_gone() {
    let mut story = Story::up();
    story.busy();
    story.message(task(5, 50)).message(task(6, 50));
    story.idle();
    story.grants(5, 1);
    let started = story.expects("task,t50,m5,in_progress");
    story.answers(started, OpResult::Ok);
    story.works(5);
    let read = story.expects("read,m5");
    story.answers(read, OpResult::Ok);
    story.never(",done");
    story.relay_says(RelayEvent::MessageDeleted { message: 6 });
    story.expects("task,t50,m5,done,f1");
}

#[test]
fn a_done_that_is_refused_for_good_sets_its_message_aside() {
    let mut story = Story::holding_a_task();
    story.works(5);
    let done = story.expects("task,t50,m5,done");
    story.fails(done, FailureKind::Invalid);
    let view = story.core.view();
    let aside = view.set_aside.first().expect("it is listed, with the reason");
    assert_eq!(aside.id, 5);
    assert!(aside.why.contains("Invalid"), "{}", aside.why);
    story.after(60_000);
    story.expects_no("task,t50");
    story.never("settled");
}

#[test]
fn clock_jump() {
    let mut story = Story::up();
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Granted { fence: 3, lease: Some(10_000) });
    story.expects("offer,m5/1/");
    story.exits(ExitClass::Crash);
    story.sleeps(3_600_000);
    story.after(600);
    story.provider_comes_up();
    // Another may have it by now: the relay is asked first.
    story.after(5_000);
    story.never("offer,m5/2/");
    story.grants(5, 4);
    story.expects("offer,m5/2/");
}

#[test]
fn a_clock_that_jumps_makes_no_timer_go_wild() {
    for jump in [-3_600_000_i64, 3_600_000] {
        let mut story = Story::up();
        story.message(plain(1));
        story.works(1);
        let read = story.expects("read,m1");
        story.fails(read, FailureKind::Unreachable);
        story.exits(ExitClass::Crash);
        story.now.wall = story.now.wall.checked_add_signed(jump).unwrap();
        let then = story.told.len();
        story.hears(Event::Wake);
        assert_eq!(story.told.len(), then, "nothing is due because of it: {:?}", &story.told[then..]);
        story.after(499);
        assert_eq!(story.times("spawn("), 1, "the wait before the next process is as long as ever");
        story.after(501);
        assert_eq!(story.times("spawn("), 2);
        story.expects("read,m1");
    }
}

#[test]
fn a_machine_that_slept_reports_nothing_under_an_old_lease() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    // The turn ended while it slept, as far as the wall clock is concerned: the lease is looked at first.
    story.sleeps(3_600_000);
    story.idle();
    story.never(",done");
    story.after(15_000);
    story.never(",done");
    story.grants(5, 9);
    story.after(5_000);
    story.expects("task,t50,m5,done,f9");
}

#[test]
fn a_lease_is_counted_from_the_moment_of_asking() {
    let mut story = Story::up();
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    // The answer takes four of the eight seconds that can be used.
    story.after(4_000);
    story.answers(claim, OpResult::Granted { fence: 3, lease: Some(10_000) });
    assert_eq!(story.core.view().claims[0].left, Some(4_000));
    story.after(2_000);
    story.expects("renew,m5");
    story.after(2_000);
    assert_eq!(story.core.view().claims[0].state, "asking", "lapsed, and asked for again");
}

#[test]
fn a_call_under_another_fence_is_another_call() {
    let story = Story::up();
    let key_of = |call: &Call| {
        let request = wire::request(&story.core, OpId(9), 1, call);
        request.idempotency_key.expect("it has a key")
    };
    let task = |fence| Call::Task { task: 50, message: 5, status: TaskStatus::Done, fence, why: None };
    assert_ne!(key_of(&task(Some(3))), key_of(&task(Some(4))));
    assert_ne!(key_of(&task(Some(3))), key_of(&task(None)));
    assert_ne!(key_of(&Call::Renew { message: 5, fence: 3 }), key_of(&Call::Renew { message: 5, fence: 4 }));
    assert_eq!(key_of(&task(Some(3))), key_of(&task(Some(3))), "and the same one is the same");
    let body = wire::request(&story.core, OpId(9), 1, &Call::Claim { message: 5 }).body.expect("it has a body");
    assert!(body.contains(r#""instanceId":"instance-1""#), "{body}");
}

#[test]
fn an_answer_to_an_earlier_question_for_a_claim_is_not_one_to_the_newest() {
    // What was never answered is asked once more to be given back, and then the agent wants it again.
    let mut story = Story::up();
    story.message(task(5, 50));
    let lost = story.expects("claim,m5");
    story.fails(lost, FailureKind::Unreachable);
    story.exits(ExitClass::Refused);
    let earlier = story.expects("claim,m5");
    story.command("c1", "agent.restart");
    story.provider_comes_up();
    story.message(task(5, 50));
    story.expects("claim,m5");
    story.answers(earlier, OpResult::Granted { fence: 3, lease: Some(600_000) });
    assert_eq!(story.core.view().claims[0].state, "asking");
    story.never("task,t50");
}

#[test]
fn an_answer_to_an_earlier_renewal_says_nothing_of_the_newest_lease() {
    let mut story = Story::up();
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Granted { fence: 3, lease: Some(30_000) });
    story.waits_for("renew,m5,f3");
    let earlier = story.expects("renew,m5,f3");
    story.relay_says(RelayEvent::MessageClaimed { message: 5, by: Some("rival".into()) });
    story.waits_for("claim,m5");
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Granted { fence: 4, lease: Some(2_000) });
    story.waits_for("renew,m5,f4");
    story.answers(earlier, OpResult::Renewed { lease: Some(600_000) });
    let claim = &story.core.view().claims[0];
    assert!(claim.state == "renewing" && claim.left.is_some_and(|left| left <= 2_000), "{claim:?}");
}
