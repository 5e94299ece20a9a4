//! Ends that meet something else on its way: a drain, a crash, a claim, a reconnect, another end.

use relay_runner_core::event::{BusFrame, ExitClass, FailureKind, LinkReport, Params, Signal, TokenRecord};
use relay_runner_core::{Config, Event, OpResult, TokenSlot};
use relay_runner_protocol::ErrorCode;

use crate::story::{EPOCH, Story, config, plain, task};

/// Everything is settled, and the agent is being deleted on the relay.
fn leave_is_taken(story: &mut Story) {
    story.command("c1", "agent.shutdown");
    story.exits(ExitClass::Clean);
    let outcome = story.expects("command,c1,succeeded");
    story.answers(outcome, OpResult::Ok);
    assert!(story.list().contains("delete-agent"), "{}", story.list());
}

fn shutdown_within(millis: u64) -> Params {
    Params { timeout: Some(millis), ..Params::default() }
}

/// Three crashes: the next one is one too many.
fn about_to_give_up() -> Story {
    let mut story = Story::up();
    for _ in 0..3 {
        story.exits(ExitClass::Crash);
        story.after(2_000);
        story.provider_comes_up();
    }
    story
}

#[test]
fn a_link_that_breaks_after_leave_was_taken_is_not_opened_again() {
    let mut story = Story::up();
    leave_is_taken(&mut story);
    story.link_breaks();
    story.after(60_000);
    story.never("connect(c2)");
}

#[test]
fn a_link_that_opens_after_leave_was_taken_registers_nobody() {
    let mut story = Story::up();
    story.link_breaks();
    story.after(1_000);
    story.expects("connect(c2)");
    story.signal(Signal::Quit);
    story.exits(ExitClass::Signal);
    assert!(story.list().contains("delete-agent"), "{}", story.list());
    story.hears(Event::Link(2, LinkReport::Opened));
    assert_eq!(story.times("register"), 1);
}

#[test]
fn a_relay_that_knows_us_no_more_after_leave_was_taken_is_right() {
    let mut story = Story::up();
    leave_is_taken(&mut story);
    story.frame(BusFrame::Error { code: ErrorCode::NotRegistered, message: "who are you".into() });
    story.after(60_000);
    assert_eq!(story.times("register"), 1);
}

#[test]
fn a_reconnect_after_leave_was_taken_opens_nothing() {
    let mut story = Story::up();
    leave_is_taken(&mut story);
    story.command("c2", "agent.reconnect");
    story.after(60_000);
    story.never("connect(c2)");
}

#[test]
fn a_delete_that_fails_is_tried_again() {
    let mut story = Story::up();
    leave_is_taken(&mut story);
    let delete = story.expects("delete-agent");
    story.fails(delete, FailureKind::Unreachable);
    story.expects_no("finish(");
    story.after(3_000);
    let delete = story.expects("delete-agent");
    story.answers(delete, OpResult::Ok);
    story.expects("finish(0)");
}

#[test]
fn a_delete_that_never_succeeds_ends_the_run_all_the_same() {
    let mut story = Story::up();
    leave_is_taken(&mut story);
    for _ in 0..60 {
        if story.list().contains("delete-agent") {
            let delete = story.expects("delete-agent");
            story.fails(delete, FailureKind::Unreachable);
        }
        story.after(1_000);
    }
    story.expects("finish(0)");
}

#[test]
fn a_provider_that_dies_in_a_drain_is_not_started_again() {
    let mut story = Story::up();
    story.busy();
    story.signal(Signal::Term);
    story.exits(ExitClass::Crash);
    let delete = story.expects("delete-agent");
    story.answers(delete, OpResult::Ok);
    story.expects("finish(0)");
    assert_eq!(story.times("spawn("), 1);
}

#[test]
fn an_interactive_provider_that_ends_in_a_drain_ends_the_runner() {
    let mut interactive = config();
    interactive.mode = relay_runner_core::config::Mode::Interactive;
    let mut story = Story::up_with(interactive);
    story.busy();
    story.signal(Signal::Term);
    story.exits(ExitClass::Clean);
    let delete = story.expects("delete-agent");
    story.answers(delete, OpResult::Ok);
    story.expects("finish(0)");
}

#[test]
fn term_waits_for_the_turn_of_a_message_that_was_just_taken() {
    let mut story = Story::up();
    story.message(plain(1));
    story.hands_over(1);
    story.takes(1);
    story.signal(Signal::Term);
    story.expects_no("stop(");
    story.busy();
    story.expects_no("stop(");
    story.idle();
    story.expects("stop(g1,Ask)");
    story.expects("read,m1");
}

#[test]
fn a_shorter_time_out_takes_effect_during_a_restart() {
    let mut story = Story::up();
    // Within 30 s.
    story.command("c1", "agent.restart");
    story.command_with("c2", "agent.shutdown", shutdown_within(2_000));
    story.after(2_000);
    story.expects("stop(g1,Kill)");
    story.expects("command,c2,failed");
}

#[test]
fn a_shorter_time_out_takes_effect_during_an_end() {
    let mut story = Story::up();
    // Within 30 s.
    story.signal(Signal::Term);
    story.command_with("c2", "agent.shutdown", shutdown_within(2_000));
    story.after(499);
    story.expects_no("stop(g1,Terminate)");
    story.after(1);
    story.expects("stop(g1,Terminate)");
    story.after(1_500);
    story.expects("stop(g1,Kill)");
    story.expects("command,c2,failed");
}

#[test]
fn a_stop_that_fails_leaves_no_command_without_an_outcome() {
    let mut story = Story::up();
    story.command("c1", "agent.compact");
    story.command("c2", "agent.shutdown");
    story.after(10_000);
    story.expects("command,c2,failed");
    story.expects("command,c1,failed");
}

#[test]
fn shutdown_with_claims() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.command_with("c1", "agent.shutdown", shutdown_within(5_000));
    story.exits(ExitClass::Clean);
    let release = story.expects("release,m5,f3");
    story.accepts("command,c1,succeeded");
    // It is tried again, and the run does not leave before it is accepted ...
    story.fails(release, FailureKind::Unreachable);
    story.expects_no("delete-agent");
    story.after(1_000);
    story.expects("release,m5,f3");
    // ... or the time-out is over.
    story.after(4_000);
    story.accepts("delete-agent");
    story.expects("finish(0)");
    story.never("task,t50,m5,done");
}

#[test]
fn a_claim_under_way_at_a_shutdown_is_waited_for_and_released() {
    let mut story = Story::up();
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    story.command("c1", "agent.shutdown");
    story.exits(ExitClass::Clean);
    let outcome = story.expects("command,c1,succeeded");
    story.answers(outcome, OpResult::Ok);
    // It may be granted yet.
    story.expects_no("delete-agent");
    story.answers(claim, OpResult::Granted { fence: 7, lease: Some(600_000) });
    let release = story.expects("release,m5,f7");
    story.answers(release, OpResult::Ok);
    story.expects("delete-agent");
    story.never("task,t50");
}

#[test]
fn a_claim_under_way_when_giving_up_is_waited_for_and_released() {
    let mut story = about_to_give_up();
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    story.exits(ExitClass::Crash);
    story.expects_no("finish(");
    story.answers(claim, OpResult::Granted { fence: 7, lease: Some(600_000) });
    let release = story.expects("release,m5,f7");
    story.answers(release, OpResult::Ok);
    story.expects("finish(70)");
}

#[test]
fn a_claim_whose_answer_was_lost_is_cleared_up_before_giving_up() {
    let mut story = about_to_give_up();
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    story.fails(claim, FailureKind::TimedOut);
    story.exits(ExitClass::Crash);
    story.expects_no("finish(");
    // Only the relay knows the fence: the same question, under the same key, brings it.
    story.grants(5, 7);
    let release = story.expects("release,m5,f7");
    story.answers(release, OpResult::Ok);
    story.expects("finish(70)");
}

#[test]
fn what_was_worked_is_not_released_at_the_end() {
    let mut story = Story::holding_a_task();
    story.works(5);
    story.signal(Signal::Term);
    story.exits(ExitClass::Clean);
    story.expects_no("delete-agent");
    story.accepts("task,t50,m5,done,f3");
    story.accepts("read,m5");
    story.accepts("delete-agent");
    story.expects("finish(0)");
    story.never("release");
}

#[test]
fn a_renewal_that_comes_when_leave_was_taken_connects_nothing() {
    let record = TokenRecord {
        jti: Some("j1".into()),
        profile: Some("provider-agent".into()),
        expires_at: Some(EPOCH / 1_000 + 3_600),
    };
    let mut story = Story::up_with(Config { credential: Some(record.clone()), ..config() });
    story.waits_for("renew-token");
    let renewal = story.expects("renew-token");
    leave_is_taken(&mut story);
    story.link_breaks();
    story.answers(renewal, OpResult::Token { slot: TokenSlot(1), record });
    story.never("connect(c2)");
    story.accepts("delete-agent");
    story.expects("finish(0)");
}
