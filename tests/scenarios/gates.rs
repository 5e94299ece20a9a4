//! When something is handed over and when it waits: turns, approvals, the first prompt, and failures.

use relay_runner_core::config::{Delivery, MarkRead};
use relay_runner_core::event::{ApprovalRequest, ExitClass, FailureKind, ProviderReport};

use crate::story::{Story, config, plain, task};

fn approval(id: &str) -> ProviderReport {
    let request = ApprovalRequest { id: id.into(), kind: "tool".into(), tool: None, reason: None };
    ProviderReport::ApprovalOpened(Box::new(request))
}

#[test]
fn where_the_adapter_can_steer_a_message_is_handed_over_during_the_turn() {
    let mut steering = config();
    steering.delivery = Delivery::Steer;
    steering.adapter.steer = true;
    let mut story = Story::up_with(steering.clone());
    story.busy();
    story.message(task(5, 50));
    story.grants(5, 3);
    story.accepts("task,t50,m5,in_progress");
    story.hands_over(5);
    // It belongs to the turn that runs, because the adapter says so.
    story.takes_into_turn(5);
    story.idle();
    story.expects("task,t50,m5,done");

    // Where it cannot, the message waits.
    steering.adapter.steer = false;
    let mut story = Story::up_with(steering);
    story.busy();
    story.message(plain(1));
    story.never("offer");
    story.idle();
    story.expects("offer,m1/");
}

#[test]
fn nothing_is_typed_into_a_terminal_while_an_approval_is_open() {
    let mut typed = config();
    typed.adapter.typed = true;
    let mut story = Story::up_with(typed);
    story.provider(approval("a1"));
    story.message(plain(1));
    story.after(60_000);
    story.never("offer");
    story.provider(ProviderReport::ApprovalClosed { id: "a1".into() });
    story.works(1);
}

#[test]
fn an_open_approval_does_not_count_as_time_to_take_a_message() {
    let mut story = Story::up();
    story.message(plain(1));
    story.hands_over(1);
    story.provider(approval("a1"));
    story.after(600_000);
    assert_eq!(story.stage(1), Some("offered"));
    story.provider(ProviderReport::ApprovalClosed { id: "a1".into() });
    story.after(29_000);
    assert_eq!(story.stage(1), Some("offered"));
    story.after(1_000);
    assert_eq!(story.stage(1), Some("ambiguous"));
}

#[test]
fn a_turn_does_not_count_as_time_to_take_a_message() {
    let mut story = Story::up();
    story.message(plain(1));
    story.hands_over(1);
    story.busy();
    story.after(500_000);
    assert_eq!(story.stage(1), Some("offered"));
    story.idle();
    story.after(29_000);
    assert_eq!(story.stage(1), Some("offered"));
    story.after(1_000);
    assert_eq!(story.stage(1), Some("ambiguous"));
}

#[test]
fn a_read_mark_can_be_had_when_the_message_is_taken() {
    let mut early = config();
    early.mark_read = MarkRead::Taken;
    let mut story = Story::up_with(early);
    story.message(plain(1));
    story.hands_over(1);
    story.never("read,m1");
    story.takes(1);
    story.accepts("read,m1");
    story.busy();
    assert_eq!(story.stage(1), Some("taken"));
    story.idle();
    assert_eq!(story.stage(1), None);
    assert_eq!(story.times("read,m1"), 1);
}

#[test]
fn failed_offers_are_tried_again_after_longer_and_longer_waits() {
    let mut story = Story::up();
    story.message(plain(1));
    let mut waits = Vec::new();
    for _ in 0..7 {
        let offer = story.expects("offer,m1/");
        story.fails(offer, FailureKind::Provider);
        waits.push(story.waits_for("offer,m1/") / 1_000);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60]);
    // The eighth is the last: a plain message stays unread, and is listed with the reason.
    let offer = story.expects("offer,m1/");
    story.fails(offer, FailureKind::Provider);
    story.never("read,m1");
    let view = story.core.view();
    assert_eq!(view.set_aside[0].id, 1);
    assert!(view.set_aside[0].why.contains("8 times"), "{}", view.set_aside[0].why);
    story.message(plain(1));
    story.after(120_000);
    story.expects_no("offer,m1/");
}

#[test]
fn an_offer_that_died_with_its_process_is_no_failed_try() {
    let mut story = Story::up();
    story.message(plain(1));
    for attempt in 1..=20 {
        story.expects(&format!("offer,m1/{attempt}/"));
        story.after(31_000);
        story.exits(ExitClass::Crash);
        story.after(10_000);
        story.provider_comes_up();
    }
    story.works(1);
    story.expects("read,m1");
}
