//! Claims, tasks and turns: a task is done by its own turn, once, under a valid lease.

use relay_runner_core::OpResult;
use relay_runner_core::event::{ExitClass, FailureKind, Incoming, RelayEvent, StatusReport, TurnEnd};

use crate::story::{Story, plain, task};

/// The task's start was reported and accepted.
fn starts(story: &mut Story, task: u64) {
    let started = story.expects(&format!("task,t{task},"));
    story.answers(started, OpResult::Ok);
}

#[test]
fn a_task_is_claimed_started_worked_and_done() {
    let mut story = Story::up();
    story.message(task(5, 50));
    story.grants(5, 3);
    story.expects("task,t50,m5,in_progress,f3");
    story.works(5);
    story.expects_no("done");
    let mut story = Story::holding_a_task();
    story.works(5);
    let done = story.expects("task,t50,m5,done,f3");
    story.expects_no("read,m5");
    story.answers(done, OpResult::Ok);
    let read = story.expects("read,m5");
    story.answers(read, OpResult::Ok);
    assert!(story.core.view().claims.is_empty());
    story.never("release");
}

#[test]
fn busy_delivery() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    // A turn of something else begins before the message is taken, and ends.
    story.busy();
    story.takes(5);
    story.idle();
    story.never("done");
    story.busy().idle();
    story.expects("task,t50,m5,done");
}

#[test]
fn taken_into_the_running_turn_only_if_the_adapter_says_so() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.busy();
    story.takes_into_turn(5);
    story.idle();
    story.expects("task,t50,m5,done");
}

#[test]
fn idle_before_delivery() {
    let mut story = Story::up();
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    story.busy();
    story.answers(claim, OpResult::Granted { fence: 1, lease: Some(600_000) });
    story.idle();
    story.never("done");
    story.expects("offer,m5/");
}

#[test]
fn an_idle_without_a_turn_completes_nothing() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.idle();
    story.never("done");
    assert_eq!(story.stage(5), Some("taken"));
}

#[test]
fn died_with_task() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.exits(ExitClass::Signal);
    assert!(!story.core.view().ready);
    story.after(500);
    story.provider_comes_up();
    // The first idle of the new generation completes nothing.
    let offer = story.expects("offer,m5/2/");
    assert!(story.told.iter().any(|t| t.contains("offer,m5/2/") && t.contains("/redelivered")));
    story.idle();
    story.never("done");
    story.answers(offer, OpResult::Ok);
    story.takes(5);
    story.busy().idle();
    let done = story.expects("task,t50,m5,done,f3");
    story.answers(done, OpResult::Ok);
    assert_eq!(story.times("t50,m5,done"), 1);
}

#[test]
fn a_task_that_died_with_its_process_is_released_when_giving_up() {
    let mut story = Story::holding_a_task();
    for _ in 0..4 {
        story.hands_over(5);
        story.takes(5);
        story.busy();
        story.exits(ExitClass::Signal);
        if story.list().contains("release") {
            break;
        }
        story.after(2_000);
        story.provider_comes_up();
    }
    story.accepts("release,m5,f3");
    story.never(",done");
    story.never(",failed");
    story.expects("finish(70)");
}

#[test]
fn died_with_message() {
    let mut story = Story::up();
    story.message(plain(1));
    story.hands_over(1);
    story.takes(1);
    story.busy();
    story.exits(ExitClass::Crash);
    story.never("read,m1");
    story.after(500);
    story.provider_comes_up();
    let offer = story.told.iter().rfind(|t| t.contains("offer,")).unwrap().clone();
    assert!(offer.contains(",g2,offer,m1/2/") && offer.ends_with("/redelivered)"), "{offer}");
    // Its first idle is not the end of a turn that had it.
    story.idle();
    story.never("read,m1");
    story.works(1);
    story.expects("read,m1");
}

#[test]
fn died_before_it_was_taken() {
    let mut story = Story::up();
    story.message(plain(1));
    story.hands_over(1);
    story.exits(ExitClass::Crash);
    story.after(500);
    story.provider_comes_up();
    story.expects("/ambiguous");
}

#[test]
fn failed_turn() {
    let mut story = Story::holding_a_task();
    for _ in 0..3 {
        story.hands_over(5);
        story.takes(5);
        story.busy();
        story.turn_fails("the model's service is down");
    }
    story.never("done");
    story.expects_no("offer");
    story.expects("task,t50,m5,failed,f3");
    assert!(story.told.iter().filter(|t| t.contains("offer,m5/")).skip(1).all(|t| t.contains("/redelivered")));
}

#[test]
fn an_interrupted_turn_completes_nothing() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.report(StatusReport { end: TurnEnd::Interrupted { by_person: false }, ..StatusReport::default() });
    story.never("done");
    story.expects("offer,m5/2/");
    assert_eq!(story.times("/redelivered"), 1);
}

#[test]
fn a_task_that_a_person_interrupted_is_blocked_and_says_so() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.report(StatusReport { end: TurnEnd::Interrupted { by_person: true }, ..StatusReport::default() });
    let blocked = story.expects("task,t50,m5,blocked,f3,interrupted%20;by%20;a%20;person");
    // Until that is accepted the claim is kept; then it is forgotten, and the message is not offered again.
    story.fails(blocked, FailureKind::Unreachable);
    assert_eq!(story.core.view().claims.len(), 1);
    story.after(1_000);
    story.accepts("task,t50,m5,blocked,f3");
    assert!(story.core.view().claims.is_empty());
    story.never("done");
    story.never("release");
    story.expects_no("offer");
    assert_eq!(story.core.view().set_aside[0].id, 5);
}

#[test]
fn double_idle() {
    let mut story = Story::holding_a_task();
    story.works(5);
    story.idle();
    story.busy().idle();
    assert_eq!(story.times("done"), 1);
}

#[test]
fn done_report_fails() {
    let mut story = Story::holding_a_task();
    story.works(5);
    for _ in 0..4 {
        let done = story.expects("done");
        story.fails(done, FailureKind::Unreachable);
        story.after(30_000);
    }
    let done = story.expects("done");
    story.answers(done, OpResult::Ok);
    let keys: std::collections::BTreeSet<_> = story
        .told
        .iter()
        .filter(|t| t.contains(",done"))
        .map(|t| t.split(',').find(|part| part.starts_with('k')).unwrap().to_owned())
        .collect();
    assert_eq!(keys.len(), 1, "every try is known as the same request: {keys:?}");
}

#[test]
fn same_task_twice() {
    let mut story = Story::up_with({
        let mut config = crate::story::config();
        config.limits.claims = 2;
        config
    });
    story.busy();
    story.message(task(5, 50)).message(task(6, 50));
    story.idle();
    story.grants(5, 1);
    story.grants(6, 1);
    starts(&mut story, 50);
    let offer = story.expects("offer,m5/");
    story.answers(offer, OpResult::Ok);
    story.takes(5);
    story.takes(6);
    story.busy().idle();
    assert_eq!(story.times("in_progress"), 1);
    assert_eq!(story.times(",done"), 1);
}

#[test]
fn same_task_twice_where_one_is_claimed_at_a_time() {
    let mut story = Story::up();
    story.busy();
    story.message(task(5, 50)).message(task(6, 50));
    story.idle();
    story.grants(5, 1);
    starts(&mut story, 50);
    story.works(5);
    story.never(",done");
    story.grants(6, 2);
    story.works(6);
    story.accepts("task,t50,m6,done,f2");
    assert_eq!(story.times("in_progress"), 1);
    assert_eq!(story.times(",done"), 1);
    for message in ["read,m5", "read,m6"] {
        story.accepts(message);
    }
    assert!(story.core.view().claims.is_empty() && story.core.view().messages.is_empty());
}

#[test]
fn short_lease() {
    let mut story = Story::up();
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Granted { fence: 3, lease: Some(10_000) });
    starts(&mut story, 50);
    story.hands_over(5);
    story.takes(5);
    story.busy();
    for _ in 0..20 {
        story.after(4_600);
        let renew = story.expects("renew,m5,f3");
        story.answers(renew, OpResult::Renewed { lease: Some(10_000) });
    }
    story.idle();
    story.expects("task,t50,m5,done,f3");
}

#[test]
fn lapsed_lease() {
    let mut story = Story::up();
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Granted { fence: 3, lease: Some(10_000) });
    starts(&mut story, 50);
    story.hands_over(5);
    story.takes(5);
    story.busy();
    // The relay cannot be reached past the lease.
    story.after(4_600);
    let renew = story.expects("renew,m5,f3");
    story.fails(renew, FailureKind::Unreachable);
    story.after(5_000);
    assert_eq!(story.core.view().claims[0].state, "asking", "lapsed, and asked for again");
    story.idle();
    story.never("done");
    let again = story.expects("claim,m5");
    story.answers(again, OpResult::Granted { fence: 4, lease: Some(600_000) });
    story.after(5_000);
    story.expects("task,t50,m5,done,f4");
}

#[test]
fn a_lapsed_lease_that_another_has_by_now_is_lost() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.link_breaks();
    // Nobody can be reached past the lease.
    for _ in 0..60 {
        story.after(10_000);
        for call in ["renew,m5", "claim,m5"] {
            while story.list().contains(call) {
                let op = story.expects(call);
                story.fails(op, FailureKind::Unreachable);
            }
        }
    }
    story.idle();
    story.waits_to_connect();
    story.registers();
    story.never(",done");
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Refused { by: Some("rival".into()) });
    story.after(60_000);
    story.never(",done");
    story.never("read,m5");
    assert!(story.core.view().claims.is_empty() && story.core.view().busy_reasons.is_empty());
}

#[test]
fn lost_lease() {
    let mut story = Story::up();
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Granted { fence: 3, lease: Some(10_000) });
    starts(&mut story, 50);
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.after(4_600);
    let renew = story.expects("renew,m5,f3");
    story.fails(renew, FailureKind::Unreachable);
    story.after(5_000);
    let again = story.expects("claim,m5");
    story.answers(again, OpResult::Refused { by: Some("rival".into()) });
    story.idle();
    story.never("done");
    assert!(story.core.view().claims.is_empty());
    assert!(story.core.view().busy_reasons.is_empty());
}

#[test]
fn the_machine_slept_past_the_lease() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.sleeps(3_600_000);
    story.idle();
    story.after(5_000);
    story.never("done");
    story.expects("claim,m5");
}

#[test]
fn renewal_revives_claim() {
    let mut story = Story::up();
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Granted { fence: 3, lease: Some(10_000) });
    starts(&mut story, 50);
    story.works(5);
    story.after(4_600);
    let renew = story.expects("renew,m5");
    let done = story.expects("done");
    story.answers(done, OpResult::Ok);
    let read = story.expects("read,m5");
    story.answers(read, OpResult::Ok);
    assert!(story.core.view().claims.is_empty());
    story.answers(renew, OpResult::Renewed { lease: Some(600_000) });
    assert!(story.core.view().claims.is_empty());
}

#[test]
fn claim_answer_lost() {
    let mut story = Story::up();
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    story.fails(claim, FailureKind::TimedOut);
    story.expects_no("offer");
    story.after(5_000);
    story.grants(5, 3);
    starts(&mut story, 50);
    story.works(5);
    assert_eq!(story.times("offer,m5"), 1);
    let keys: std::collections::BTreeSet<_> = story
        .told
        .iter()
        .filter(|t| t.contains("claim,m5"))
        .map(|t| t.split(',').find(|part| part.starts_with('k')).unwrap().to_owned())
        .collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
}

#[test]
fn claim_then_fail() {
    let fails_once = |story: &mut Story, id: u64| {
        story.waits_for("offer,");
        let offer = story.expects(&format!("offer,m{id}/"));
        story.fails(offer, FailureKind::Provider);
    };
    // Kept, and renewed, while it is tried again.
    let mut story = Story::up();
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Granted { fence: 3, lease: Some(10_000) });
    starts(&mut story, 50);
    for _ in 0..3 {
        fails_once(&mut story, 5);
        story.never("release");
        assert_eq!(story.core.view().claims.len(), 1);
    }
    story.waits_for("renew,m5,f3");
    let renew = story.expects("renew,m5,f3");
    story.answers(renew, OpResult::Renewed { lease: Some(600_000) });
    story.waits_for("offer,");
    story.works(5);
    story.expects("task,t50,m5,done,f3");
    assert_eq!(story.times("claim,m5"), 1);

    // Given up: released, so that another may have it; a task is failed instead, which ends its claim.
    let mut story = Story::up();
    story.message(Incoming { claimable: true, ..plain(5) });
    story.grants(5, 3);
    for _ in 0..8 {
        fails_once(&mut story, 5);
    }
    story.accepts("release,m5,f3");
    assert!(story.core.view().claims.is_empty());
    story.never("read,m5");

    // So is what is held when the provider cannot be kept alive.
    let mut story = Story::holding_a_task();
    fails_once(&mut story, 5);
    story.exits(ExitClass::Refused);
    story.accepts("release,m5,f3");
}

#[test]
fn a_refused_claim_drops_the_message() {
    let mut story = Story::up();
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Refused { by: Some("rival".into()) });
    story.never("offer,m5");
    assert!(story.core.view().messages.is_empty());
}

#[test]
fn one_task_is_claimed_at_a_time() {
    let mut story = Story::up();
    story.busy();
    story.message(task(5, 50)).message(task(6, 60)).message(plain(7));
    story.idle();
    story.grants(5, 1);
    story.never("claim,m6");
    let offer = story.told.iter().find(|t| t.contains("offer,")).unwrap();
    assert!(offer.contains(",m5/") && offer.contains(",m7/"), "{offer}");
}

#[test]
fn id_mismatch() {
    let mut story = Story::up();
    story.report(StatusReport {
        status: relay_runner_core::event::ReportStatus::Busy,
        id: Some("t-1".into()),
        ..StatusReport::default()
    });
    assert!(!story.core.view().busy_reasons.is_empty());
    story.idle();
    assert!(story.core.view().busy_reasons.is_empty());
}

/// Message 5 of task 50 is worked, and waits for message 6 of the same task, which is asked for.
fn one_waits_for_the_other() -> Story {
    let mut story = Story::up();
    story.message(task(5, 50)).message(task(6, 50));
    story.grants(5, 3);
    story.accepts("task,t50,m5,in_progress");
    story.works(5);
    story.accepts("read,m5");
    assert_eq!(story.stage(5), Some("worked"));
    story
}

#[test]
fn a_message_that_waits_for_its_task_is_settled_when_its_end_can_never_be_accepted() {
    for kind in [FailureKind::Conflict, FailureKind::Expired, FailureKind::NotFound] {
        let mut story = one_waits_for_the_other();
        story.grants(6, 4);
        story.works(6);
        let done = story.expects("task,t50,m6,done");
        // Nobody wants the message any more, and its claim is gone.
        story.relay_says(RelayEvent::MessageDeleted { message: 6 });
        story.fails(done, kind);
        story.after(60_000);
        assert_eq!(story.stage(5), None, "{kind:?}: {}", story.list());
    }
}

#[test]
fn a_task_is_done_when_the_last_of_its_messages_is_gone_whatever_else_is_to_be_said() {
    let mut story = one_waits_for_the_other();
    story.by_hand();
    story.message(plain(7));
    assert!(story.core.view().reports_waiting > 0);
    story.relay_says(RelayEvent::MessageDeleted { message: 6 });
    story.expects("task,t50,m5,done");
}
