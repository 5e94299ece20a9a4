//! Stories that the exhaustive search and the properties found (`tests/property/`), in their shortest form.

use relay_runner_core::config::{Config, Limits};
use relay_runner_core::event::{FailureKind, OpResult, RelayEvent};

use crate::story::{Story, config, facts, plain, task};

fn small(held: usize, fetch: u32) -> Story {
    let limits = Limits { held, fetch, ..Limits::default() };
    let mut story = Story::up_with(Config { limits, ..config() });
    story.by_hand().busy();
    // It asks for what is unread.
    story.relay_says(RelayEvent::ClaimReleased { message: 99 });
    story
}

/// The answer was taken for the whole truth: what came after was accepted, and offered before what was turned away.
#[test]
fn what_was_turned_away_while_asking_is_asked_for_again_before_anything_newer_is_taken_in() {
    let mut story = small(2, 100);
    let asked = story.expects("unread,0");
    story.message(plain(1)).message(plain(2)).message(plain(3));
    story.relay_says(RelayEvent::MessageDeleted { message: 1 });
    story.answers(asked, OpResult::Unread { messages: vec![plain(2)], full: false });
    story.message(plain(4));
    assert_eq!(story.stage(4), None, "3 is still on the relay");
    let asked = story.expects("unread,0");
    story.relay_says(RelayEvent::MessageDeleted { message: 2 });
    story.answers(asked, OpResult::Unread { messages: vec![plain(3), plain(4)], full: false });
    assert_eq!((story.stage(3), story.stage(4)), (Some("held"), Some("held")));
}

/// Between two pages a newer message came in, and was offered before those of the second page.
#[test]
fn what_is_new_waits_until_the_last_page_is_here() {
    let mut story = small(40, 2);
    let first = story.expects("unread,0,2");
    story.answers(first, OpResult::Unread { messages: vec![plain(1), plain(2)], full: true });
    let second = story.expects("unread,2,2");
    story.message(plain(5));
    assert_eq!(story.stage(5), None);
    story.answers(second, OpResult::Unread { messages: vec![plain(3)], full: false });
    let again = story.expects("unread,0,2");
    story.message(plain(6));
    assert_eq!(story.stage(6), None);
    story.answers(again, OpResult::Unread { messages: vec![plain(1), plain(2)], full: true });
    let last = story.expects("unread,2,2");
    story.answers(last, OpResult::Unread { messages: vec![plain(3), plain(5)], full: true });
    let end = story.expects("unread,5,2");
    story.answers(end, OpResult::Unread { messages: vec![plain(6)], full: false });
    story.message(plain(7));
    assert_eq!((story.stage(6), story.stage(7)), (Some("held"), Some("held")));
}

/// The last status was lost on its way; the round said it again, and the agent turned ready while it was going down.
#[test]
fn a_lost_status_is_not_said_again_by_who_is_not_ready_any_more() {
    let mut story = Story::with(config(), facts());
    story.boot();
    story.registers();
    story.after(15_000).by_hand();
    story.provider_comes_up();
    story.expects("idle,ready");
    story.command("c1", "agent.shutdown");
    story.after(6_000);
    story.expects("set-ready,false");
    story.expects_no("set-ready,true");
}

#[test]
fn a_claim_that_is_asked_for_is_asked_for_once_whatever_is_heard_of_its_lapse() {
    let mut story = Story::up();
    story.message(task(5, 50));
    story.grants(5, 3);
    let report = story.expects("task,t50,m5,in_progress");
    story.sleeps(600_000);
    story.after(15_000);
    let again = story.expects("claim,m5");
    // The report comes back from before the sleep, and says what is known.
    story.fails(report, FailureKind::Expired);
    story.after(10_000);
    story.expects_no("claim,m5");
    story.answers(again, OpResult::Granted { fence: 4, lease: Some(600_000) });
    story.expects("task,t50,m5,in_progress,f4");
}
