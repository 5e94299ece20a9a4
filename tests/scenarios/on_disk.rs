//! When the journal is forced to the disk before the effects are carried out: where something outward depends on what
//! was decided, and only there. A killed runner loses nothing either way; this is for power that fails.

use relay_runner_core::OpResult;
use relay_runner_core::event::{ExitClass, FailureKind, LinkReport, ProviderReport};
use relay_runner_core::{Event, Order};

use crate::story::{Story, config, facts, plain, task};

/// Whether any step of this is forced to the disk.
fn forced(story: &mut Story, step: impl FnOnce(&mut Story) -> &mut Story) -> bool {
    story.synced = false;
    step(story);
    story.synced
}

#[track_caller]
fn must(story: &mut Story, step: impl FnOnce(&mut Story) -> &mut Story) {
    assert!(forced(story, step), "this is forced to the disk; it was told:\n{}", story.list());
}

#[track_caller]
fn need_not(story: &mut Story, step: impl FnOnce(&mut Story) -> &mut Story) {
    assert!(!forced(story, step), "this need not be on the disk; it was told:\n{}", story.list());
}

#[test]
fn the_number_of_a_process_is_on_the_disk_before_it_begins_and_staying_up_needs_no_disk() {
    let mut story = Story::with(config(), facts());
    need_not(&mut story, |s| {
        s.boot();
        s
    });
    // No number, and no session id that is made of it, is given to two processes.
    must(&mut story, |s| s.registers());
    must(&mut story, |s| s.spawns());
    need_not(&mut story, |s| s.provider(ProviderReport::Ready));
    need_not(&mut story, |s| s.after(60_000));
    need_not(&mut story, |s| s.busy().idle());
    must(&mut story, |s| s.exits(ExitClass::Crash).after(500));
    story.provider_comes_up();
    need_not(&mut story, |s| s.link_breaks().after(5_000).registers());
    need_not(&mut story, |s| s.hears(Event::Link(99, LinkReport::Opened)));
    need_not(&mut story, |s| s.hears(Event::Order(Order::JournalBroken { why: "full".into() })));
}

#[test]
fn of_a_message_what_was_shown_to_others_is_on_the_disk_before() {
    let mut story = Story::up();
    story.by_hand();
    need_not(&mut story, |s| s.message(plain(5)));
    need_not(&mut story, |s| s.hands_over(5));
    must(&mut story, |s| s.takes(5));
    need_not(&mut story, |s| s.busy());
    must(&mut story, |s| s.idle());
    story.by_routine();
    must(&mut story, |s| s.accepts("read,m5"));
}

#[test]
fn of_a_task_its_claim_and_its_end_as_well() {
    let mut story = Story::up();
    need_not(&mut story, |s| s.message(task(5, 50)));
    must(&mut story, |s| s.grants(5, 3));
    need_not(&mut story, |s| s.accepts("task,t50,m5,in_progress"));
    story.hands_over(5).takes(5).busy();
    must(&mut story, |s| s.idle());
    must(&mut story, |s| s.accepts("task,t50,m5,done"));
}

#[test]
fn a_message_whose_end_the_relay_refuses_is_on_the_disk_as_set_aside() {
    let mut story = Story::holding_a_task();
    story.works(5);
    let done = story.expects("task,t50,m5,done");
    must(&mut story, |s| s.fails(done, FailureKind::NotFound));
    assert!(story.core.facts().set_aside.contains_key(&5));
}

#[test]
fn a_lost_claim_is_on_the_disk_before_anybody_hears_of_it() {
    let mut story = Story::holding_a_task();
    story.by_hand();
    story.hands_over(5).takes(5).busy();
    need_not(&mut story, |s| s.after(300_000));
    let renewal = story.expects("renew,m5");
    must(&mut story, |s| s.answers(renewal, OpResult::Refused { by: None }));
}

#[test]
fn an_offer_that_may_have_been_lost_is_on_the_disk_as_such() {
    let mut story = Story::up();
    story.by_hand();
    story.message(plain(5)).hands_over(5);
    must(&mut story, |s| s.after(30_000));
    assert_eq!(story.stage(5), Some("ambiguous"));
}

#[test]
fn a_command_is_on_the_disk_before_it_is_acknowledged_and_its_outcome_before_it_is_reported() {
    let mut story = Story::up();
    story.by_hand();
    must(&mut story, |s| s.command("c1", "agent.compact"));
    let compacted = story.expects("compact");
    must(&mut story, |s| s.answers(compacted, OpResult::Ok));
    story.expects("command,c1,accepted");
}
