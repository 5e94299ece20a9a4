//! What the relay accepts, and what it never will; which commands are remembered, and how many wait.

use relay_runner_core::OpResult;
use relay_runner_core::event::{ExitClass, Failure, FailureKind, RelayEvent};

use crate::story::{Story, config, plain};

#[test]
fn a_relay_that_is_busy_says_when_to_come_back() {
    let mut story = Story::up();
    story.message(plain(1));
    story.works(1);
    let read = story.expects("read,m1");
    let kind = FailureKind::Busy { retry_after: Some(90_000) };
    story.answers(read, OpResult::Failed(Failure { kind, text: "HTTP 429".into() }));
    story.after(89_999);
    story.expects_no("read,m1");
    story.after(1);
    story.expects("read,m1");
}

#[test]
fn what_the_relay_will_never_accept_is_said_once() {
    let mut story = Story::up();
    story.message(plain(1));
    story.works(1);
    let read = story.expects("read,m1");
    story.fails(read, FailureKind::Invalid);
    story.after(120_000);
    assert_eq!(story.times("read,m1"), 1);
    assert!(story.core.view().messages.is_empty(), "nothing more is owed for it");
}

/// It may be the agent that the relay does not know, and not the message: a heartbeat shows that first.
#[test]
fn what_the_relay_does_not_know_is_said_again_once_it_is_known_to_know_the_agent() {
    let mut story = Story::up();
    story.message(plain(1));
    story.works(1);
    while !story.core.view().messages.is_empty() {
        let read = story.expects("read,m1");
        story.fails(read, FailureKind::NotFound);
        story.after(10_000);
    }
    assert_eq!(story.times("read,m1"), 2);
}

#[test]
fn what_was_asked_of_a_dead_process_is_waited_for_no_more() {
    let mut story = Story::up();
    let before = story.core.view().operations;
    story.message(plain(1));
    story.expects("offer,m1");
    assert_eq!(story.core.view().operations, before + 1);
    story.exits(ExitClass::Crash);
    assert_eq!(story.core.view().operations, before);
}

#[test]
fn what_is_silenced_is_not_waited_for() {
    let mut story = Story::up();
    story.by_hand();
    story.message(plain(1));
    story.expects("delivery,m1,offered");
    story.after(31_000);
    assert_eq!(story.stage(1), Some("ambiguous"));
    assert_eq!(story.core.view().reports_waiting, 2, "what is under way, and the doubt");
    story.relay_says(RelayEvent::MessageDeleted { message: 1 });
    assert_eq!(story.core.view().reports_waiting, 1, "only what is under way");
}

#[test]
fn as_many_commands_are_remembered_as_the_limit_says() {
    let mut config = config();
    config.limits.commands = 2;
    let mut story = Story::up_with(config);
    for id in ["c1", "c2", "c3"] {
        story.command(id, "agent.juggle");
    }
    let known: Vec<_> = story.core.facts().commands.iter().map(|command| command.id.to_string()).collect();
    assert_eq!(known, ["c2", "c3"]);
}

#[test]
fn what_happens_to_commands_is_remembered_for_a_day() {
    let mut story = Story::up();
    let known = |story: &Story| story.core.facts().commands.len();
    story.command("c1", "agent.juggle");
    story.after(86_400_000);
    story.command("c2", "agent.juggle");
    assert_eq!(known(&story), 2);
    story.after(1);
    story.command("c3", "agent.juggle");
    assert_eq!(known(&story), 2, "the first is forgotten");
}

#[test]
fn commands_that_wait_for_different_things_are_counted_together() {
    let mut story = Story::up();
    story.message(plain(1));
    story.by_hand();
    story.link_breaks();
    for n in 0..40 {
        story.local_command(if n % 2 == 0 { "agent.reconnect" } else { "agent.compact" });
    }
    assert_eq!(story.times("failed"), 0);
    for _ in 0..24 {
        story.local_command("agent.compact");
    }
    assert_eq!(story.times("failed"), 0);
    story.local_command("agent.compact");
    assert_eq!(story.times("failed,too%20;many%20;commands%20;wait"), 1);
}

#[test]
fn nothing_is_asked_of_a_process_that_makes_way_for_the_next() {
    let mut story = Story::up();
    story.command("c1", "agent.restart");
    story.command("c2", "agent.compact");
    story.expects("command,c2,failed,provider%20;is%20;restarting");
}
