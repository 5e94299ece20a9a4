//! What is ours on the relay, and when the relay is asked for it.

use relay_runner_core::event::{Incoming, RelayEvent};
use relay_runner_core::{Given, OpResult};

use crate::story::{Story, config, plain, task};

#[test]
fn what_is_unread_is_fetched_whenever_something_may_have_been_missed() {
    // At the start ...
    let mut story = Story::up();
    assert_eq!(story.times("unread,"), 1);
    // ... with each round of liveness ...
    story.after(20_000);
    assert_eq!(story.times("unread,"), 2);
    // ... after a reconnect ...
    story.link_breaks();
    story.waits_to_connect();
    story.registers();
    assert_eq!(story.times("unread,"), 3);
    // ... after a claim was lost ...
    story.message(task(5, 50));
    story.grants(5, 3);
    story.link_breaks();
    story.sleeps(700_000);
    story.waits_to_connect();
    story.registers();
    let before = story.times("unread,");
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Refused { by: Some("rival".into()) });
    assert_eq!(story.times("unread,"), before + 1);
    // ... and when another let go of something.
    story.relay_says(RelayEvent::ClaimReleased { message: 9 });
    assert_eq!(story.times("unread,"), before + 2);
}

#[test]
fn pages_of_what_is_unread_are_fetched_to_the_end() {
    let mut story = Story::up();
    story.by_hand();
    story.busy();
    story.after(20_000);
    let unread = story.expects("unread,0,100");
    story.answers(unread, OpResult::Unread { messages: (1..=100).map(plain).collect(), full: true });
    let unread = story.expects("unread,100,100");
    story.answers(unread, OpResult::Unread { messages: vec![plain(101)], full: false });
    story.expects_no("unread");
    assert_eq!(story.core.view().messages.len(), 101);
}

#[test]
fn an_agent_without_relay_context_hears_only_what_is_meant_for_it() {
    let mut alone = config();
    alone.relay_context = false;
    let mut story = Story::up_with(alone);
    story.busy();
    for (id, to) in [(1, "broadcast"), (2, "tag:rust"), (3, "cap:chat")] {
        story.message(Incoming { to: to.into(), ..plain(id) });
    }
    assert!(story.core.view().messages.is_empty());
    for (id, to) in [(4, "a1"), (5, "label:dev")] {
        story.message(Incoming { to: to.into(), ..plain(id) });
    }
    story.message(Incoming { resolved: Some("a1".into()), to: "tag:rust".into(), ..plain(6) });
    assert_eq!(story.core.view().messages.len(), 3);
}

#[test]
fn a_repeat_changes_nothing() {
    let mut story = Story::up();
    story.message(plain(1));
    story.hands_over(1);
    let then = story.told.len();
    story.message(plain(1));
    assert_eq!(story.told_since(then, "send(c1,ack").len(), 1);
    assert_eq!(story.told.len(), then + 1, "only the frame is acknowledged");
    assert_eq!(story.stage(1), Some("offered"));
}

#[test]
fn what_another_lets_go_of_during_a_fetch_is_fetched_after_it() {
    let mut story = Story::up();
    story.by_hand();
    story.after(20_000);
    let unread = story.expects("unread,0,");
    // The answer was made before the release; only the next one has the message.
    story.relay_says(RelayEvent::ClaimReleased { message: 9 });
    story.expects_no("unread");
    story.answers(unread, OpResult::Unread { messages: vec![], full: false });
    let unread = story.expects("unread,0,");
    story.answers(unread, OpResult::Unread { messages: vec![plain(9)], full: false });
    story.expects("offer,m9/");
    story.expects_no("unread");
}

#[test]
fn what_the_agent_was_given_since_it_registered_means_it_as_well() {
    let mut story = Story::up();
    story.message(Incoming { to: "tag:night".into(), ..plain(1) });
    story.message(Incoming { to: "label:boss".into(), ..plain(2) });
    story.never("offer,");
    let given = Given { label: Some("boss".into()), tags: vec!["night".into()], epoch: None };
    story.relay_says(RelayEvent::AgentUpdated(Box::new(given)));
    story.message(Incoming { to: "tag:night".into(), ..plain(3) });
    story.works(3);
    story.message(Incoming { to: "label:boss".into(), ..plain(4) });
    story.works(4);
    story.message(Incoming { to: "tag:rust".into(), ..plain(5) });
    story.works(5);
    // The label that it registered is not its own any more, and the next run knows.
    story.message(Incoming { to: "label:dev".into(), ..plain(6) });
    let mut next = story.the_next_run();
    next.boot();
    next.registers();
    next.provider_comes_up();
    next.message(Incoming { to: "label:dev".into(), ..plain(7) });
    next.message(Incoming { to: "label:boss".into(), ..plain(8) });
    next.hands_over(8);
    next.never("m7");
    story.never("offer,m6");
}
