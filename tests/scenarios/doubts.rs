//! What is not known for certain: said as a doubt, never as a fact, and holding up nothing else.

use std::collections::BTreeMap;

use relay_runner_core::OpResult;
use relay_runner_core::event::FailureKind;

use crate::story::{Story, config, plain, task};

#[test]
fn an_offer_that_hangs_does_not_hold_up_what_came_meanwhile() {
    let mut story = Story::up();
    story.message(plain(1));
    story.expects("offer,m1/");
    story.message(plain(2));
    story.after(31_000);
    story.expects("offer,m2/");

    let mut story = Story::up();
    story.message(plain(1));
    story.expects("offer,m1/");
    story.message(task(2, 20));
    story.after(31_000);
    story.grants(2, 1);
    story.expects("offer,m2/");
}

#[test]
fn a_taken_message_without_a_turn_becomes_ambiguous() {
    let mut story = Story::up();
    story.message(plain(1));
    story.hands_over(1);
    story.takes(1);
    story.after(29_000);
    assert_eq!(story.stage(1), Some("taken"));
    story.after(2_000);
    assert_eq!(story.stage(1), Some("ambiguous"));
    story.message(plain(2));
    story.works(2);
}

#[test]
fn the_task_of_a_taken_message_without_a_turn_is_blocked_after_half_an_hour() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    // The turn was its own, but it began before the message was seen to be taken.
    story.busy();
    story.takes(5);
    story.idle();
    for _ in 0..31 {
        story.never("blocked");
        story.after(60_000);
        if story.list().contains("renew,m5") {
            let renew = story.expects("renew,m5");
            story.answers(renew, OpResult::Renewed { lease: Some(600_000) });
        }
    }
    story.expects("task,t50,m5,blocked,f3");
    story.never(",done");
}

#[test]
fn a_later_stage_never_goes_under_the_key_of_an_earlier_one() {
    let mut story = Story::up();
    story.by_hand();
    story.message(plain(1));
    let offered = story.expects("delivery,m1,offered");
    // It may have been applied: under its key the relay would take anything else for a repeat.
    story.fails(offered, FailureKind::TimedOut);
    story.hands_over(1);
    story.takes(1);
    story.after(1_500);
    while story.list().contains("delivery,m1") {
        let stage = story.expects("delivery,m1");
        story.answers(stage, OpResult::Ok);
    }
    let mut stages = BTreeMap::new();
    for report in story.told.iter().filter(|t| t.contains("delivery,m1")) {
        let parts: Vec<_> = report.split(',').collect();
        let (key, stage) = (parts[1], parts[6]);
        assert_eq!(*stages.entry(key).or_insert(stage), stage, "{:#?}", story.told);
    }
    assert!(stages.values().any(|stage| *stage == "taken"), "{stages:?}");
}

#[test]
fn an_ambiguous_task_does_not_keep_others_from_being_claimed() {
    let mut story = Story::up();
    story.message(task(5, 50));
    story.grants(5, 3);
    story.hands_over(5);
    story.after(30_000);
    assert_eq!(story.stage(5), Some("ambiguous"));
    story.message(task(6, 60));
    story.grants(6, 4);
    story.works(6);
}

#[test]
fn a_task_that_was_blocked_by_a_doubt_goes_on_when_the_doubt_is_over() {
    let mut config = config();
    config.timing.ambiguous_limit = 60_000;
    let mut story = Story::up_with(config);
    story.message(task(5, 50));
    story.grants(5, 3);
    story.accepts("task,t50,m5,in_progress");
    story.hands_over(5);
    story.after(90_000);
    story.accepts("task,t50,m5,blocked");
    story.takes(5);
    story.accepts("task,t50,m5,in_progress");
}
