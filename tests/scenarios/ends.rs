//! Ends: what is left undone, and what is not begun any more.

use relay_runner_core::event::{ExitClass, FailureKind, RelayEvent, Signal};

use crate::story::{Story, plain};

#[test]
fn only_the_shutdown_that_a_kill_overtook_says_that_it_was_escalated() {
    let mut story = Story::up();
    story.command("c1", "agent.shutdown");
    story.command("c2", "agent.kill");
    story.exits(ExitClass::Signal);
    let outcome = |id: &str| story.told_since(0, &format!("command,{id},succeeded"))[0].contains("escalated");
    assert!(outcome("c1"));
    assert!(!outcome("c2"));
    let mut story = Story::up();
    story.command("c1", "agent.shutdown");
    story.exits(ExitClass::Clean);
    story.never("escalated");
}

#[test]
fn a_shutdown_that_comes_when_the_provider_is_gone_has_its_outcome_as_well() {
    let mut story = Story::holding_a_task();
    story.signal(Signal::Term);
    story.exits(ExitClass::Clean);
    assert_eq!(story.core.view().ending_phase, "reporting");
    story.command("c1", "agent.shutdown");
    story.expects("command,c1,succeeded");
}

#[test]
fn a_second_quit_leaves_what_is_not_accepted() {
    let mut story = Story::holding_a_task();
    story.signal(Signal::Quit);
    story.exits(ExitClass::Signal);
    story.expects("release,m5,f3");
    story.never("delete-agent");
    story.signal(Signal::Quit);
    story.expects("delete-agent");
}

#[test]
fn a_claim_that_lapsed_is_not_asked_for_again_while_the_run_ends() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.sleeps(3_600_000);
    story.after(15_000);
    let again = story.expects("claim,m5");
    story.fails(again, FailureKind::Unreachable);
    story.signal(Signal::Quit);
    let then = story.told.len();
    story.after(5_000);
    assert_eq!(story.told_since(then, "claim,m5").len(), 0, "{:?}", story.told_since(then, ""));
}

#[test]
fn a_word_that_the_provider_cannot_be_told_is_not_tried_again() {
    let mut story = Story::up();
    story.message(plain(3));
    story.hands_over(3);
    story.takes(3);
    story.busy();
    story.relay_says(RelayEvent::MessageDeleted { message: 3 });
    story.idle();
    let word = story.expects("tell,m3");
    story.fails(word, FailureKind::Unsupported);
    story.after(60_000);
    assert_eq!(story.times("tell,m3"), 1);
}

#[test]
fn over_http_nothing_is_said_that_was_lost_with_the_link() {
    let mut story = Story::up();
    story.by_hand();
    story.busy();
    story.expects(",busy,");
    story.link_breaks();
    story.idle();
    let then = story.told.len();
    story.after(40_000);
    let said = story.told_since(then, "set-status,");
    assert!(said.iter().all(|call| call.contains("set-status,idle")), "{said:?}");
}
