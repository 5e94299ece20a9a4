//! A newer instance holds the agent: this one says no more, lets go of what it holds, and ends with 76.

use relay_runner_core::event::{BusFrame, ExitClass, FailureKind, Signal, TokenRecord};
use relay_runner_core::{Call, Config, OpResult, wire};
use relay_runner_protocol::ErrorCode;

use crate::story::{EPOCH, Story, config, plain, task};

fn is_superseded(story: &mut Story) {
    story.frame(BusFrame::Error { code: ErrorCode::Superseded, message: "a newer instance holds the agent".into() });
}

/// What the relay answers to a call of an instance that was superseded.
fn superseded_answer(call: &Call) -> OpResult {
    let body = br#"{"error":{"code":"superseded","message":"a newer instance holds the agent"}}"#;
    wire::answer(call, "a1", 409, None, body).result
}

fn ends_with_76(story: &mut Story) {
    story.expects("stop(g1,Ask)");
    story.exits(ExitClass::Clean);
    story.expects("finish(76)");
    story.never("delete-agent");
}

#[test]
fn two_runners() {
    let mut story = Story::holding_a_task();
    is_superseded(&mut story);
    story.expects("stop(g1,Ask)");
    story.expects_no("release");
    story.exits(ExitClass::Clean);
    story.accepts("release,m5,f3");
    story.expects("finish(76)");
    story.never("delete-agent");
}

#[test]
fn a_superseded_instance_closes_its_link_at_once() {
    let mut story = Story::up();
    is_superseded(&mut story);
    story.expects("disconnect(c1)");
}

#[test]
fn a_superseded_instance_never_registers_again() {
    let mut story = Story::up();
    is_superseded(&mut story);
    // Each of them would evict the other for ever.
    story.link_breaks();
    story.after(60_000);
    story.never("connect(c2)");
    assert_eq!(story.times("register"), 1);
}

#[test]
fn a_superseded_instance_says_nothing_of_itself() {
    let mut story = Story::up();
    is_superseded(&mut story);
    let before = story.told.len();
    story.busy().idle();
    story.after(29_000);
    let said: Vec<_> = story.told[before..].iter().filter(|t| t.contains("send(") || t.contains("http(")).collect();
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn a_superseded_instance_reports_nothing_but_releases() {
    let mut story = Story::up();
    story.message(plain(1));
    story.works(1);
    let read = story.expects("read,m1");
    story.fails(read, FailureKind::Unreachable);
    story.message(task(5, 50));
    story.grants(5, 3);
    let started = story.expects("task,t50,m5,in_progress");
    story.answers(started, OpResult::Ok);
    story.works(5);
    let done = story.expects("task,t50,m5,done");
    story.fails(done, FailureKind::Unreachable);
    story.message(task(6, 60));
    story.grants(6, 4);
    let started = story.expects("task,t60,m6,in_progress");
    story.answers(started, OpResult::Ok);
    is_superseded(&mut story);
    story.after(5_000);
    story.exits(ExitClass::Clean);
    story.expects("release,m6,f4");
    story.expects_no("read,m1");
    story.expects_no("task,t50");
}

#[test]
fn superseded_overrides_a_drain() {
    let mut story = Story::up();
    story.busy();
    story.signal(Signal::Term);
    is_superseded(&mut story);
    ends_with_76(&mut story);
}

#[test]
fn an_answer_that_says_superseded_ends_the_run() {
    let mut story = Story::up();
    story.by_hand();
    story.after(20_000);
    let heartbeat = story.expects(",heartbeat)");
    story.answers(heartbeat, superseded_answer(&Call::Heartbeat));
    ends_with_76(&mut story);

    let mut story = Story::up();
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    story.answers(claim, superseded_answer(&Call::Claim { message: 5 }));
    ends_with_76(&mut story);
}

#[test]
fn any_other_conflict_does_not_end_the_run() {
    let mut story = Story::up();
    story.by_hand();
    story.after(20_000);
    let heartbeat = story.expects(",heartbeat)");
    story.fails(heartbeat, FailureKind::Conflict);
    story.never("stop(");
    assert_eq!(story.core.view().ending, None);
}

#[test]
fn a_superseded_instance_renews_no_token() {
    let record = TokenRecord {
        jti: Some("j1".into()),
        profile: Some("provider-agent".into()),
        expires_at: Some((EPOCH + 31_000) / 1_000),
    };
    let mut story = Story::up_with(Config { credential: Some(record), ..config() });
    is_superseded(&mut story);
    // Its provider takes its time, and the clocks are compared meanwhile.
    story.after(29_000);
    story.never("renew-token");
}
