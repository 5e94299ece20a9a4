//! Attachments: fetched before their message is offered; what cannot be had does not stop it.

use relay_runner_core::OpResult;
use relay_runner_core::event::{FailureKind, Incoming, RelayEvent};

use crate::story::{Story, plain, task};

fn with_files(id: u64) -> Incoming {
    Incoming { attachments: 2, ..plain(id) }
}

#[test]
fn a_message_is_offered_once_its_attachments_are_there() {
    let mut story = Story::up();
    story.message(with_files(7));
    let fetch = story.expects("attachments(");
    story.message(plain(8));
    story.after(30_000);
    story.expects_no("offer,");
    story.answers(fetch, OpResult::Ok);
    story.hands_over(7);
    assert_eq!(story.times("offer,m7/1"), 1);
    assert!(story.told_since(0, "offer,m7/1").iter().all(|offer| offer.contains(",m8/")), "one prompt, in order");
}

#[test]
fn attachments_that_cannot_be_had_do_not_stop_their_message() {
    for kind in [FailureKind::NotFound, FailureKind::Unreachable] {
        let mut story = Story::up();
        story.message(with_files(7));
        let fetch = story.expects("attachments(");
        story.fails(fetch, kind);
        story.works(7);
    }
    // Nor does a shell that says nothing at all.
    let mut story = Story::up();
    story.message(with_files(7));
    story.expects("attachments(");
    story.after(61_000);
    story.works(7);
}

#[test]
fn attachments_are_fetched_once_for_all_offers_of_a_message() {
    let mut story = Story::up();
    story.message(with_files(7));
    let fetch = story.expects("attachments(");
    story.answers(fetch, OpResult::Ok);
    let offer = story.expects("offer,m7/");
    story.fails(offer, FailureKind::Provider);
    story.after(2_000);
    story.works(7);
    assert_eq!(story.times("attachments("), 1);
}

#[test]
fn a_task_is_claimed_before_its_attachments_are_fetched() {
    let mut story = Story::up();
    story.message(Incoming { attachments: 1, ..task(5, 50) });
    story.expects_no("attachments(");
    story.grants(5, 3);
    let fetch = story.expects("attachments(");
    story.answers(fetch, OpResult::Ok);
    story.hands_over(5);
}

#[test]
fn a_message_that_is_deleted_while_its_attachments_come_is_not_offered() {
    let mut story = Story::up();
    story.message(with_files(7));
    let fetch = story.expects("attachments(");
    story.relay_says(RelayEvent::MessageDeleted { message: 7 });
    story.answers(fetch, OpResult::Ok);
    story.expects_no("offer,");
    story.message(plain(8));
    story.works(8);
}

#[test]
fn a_message_is_held_until_it_is_settled() {
    let mut story = Story::up();
    assert!(!story.core.holds(7));
    story.message(plain(7));
    story.works(7);
    assert!(story.core.holds(7));
    story.accepts("read,m7");
    assert!(!story.core.holds(7));
}
