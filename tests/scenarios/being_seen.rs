//! Status, liveness, and who the agent says it is.

use relay_runner_core::OpResult;
use relay_runner_core::event::{BusFrame, FailureKind};

use crate::story::{Story, plain};

#[test]
fn one_status_at_a_time_and_the_newest_wins() {
    let mut story = Story::up();
    story.by_hand();
    story.busy();
    story.expects(",busy,");
    story.idle();
    story.busy();
    story.idle();
    story.expects_no("status,");
    let seq = story.core.view().status_seq;
    story.frame(BusFrame::Ack { frame: format!("status-{seq}").into() });
    story.expects(&format!("status,{},idle,ready", seq + 1));
}

#[test]
fn status_lost_in_reconnect() {
    let mut story = Story::up();
    story.link_breaks();
    story.busy();
    story.never(",busy,");
    story.after(1_000);
    story.registers();
    assert_eq!(story.times(",busy,ready"), 1);
}

#[test]
fn a_status_without_an_acknowledgement_is_said_anew() {
    let mut story = Story::up();
    story.by_hand();
    story.busy();
    story.expects(",busy,");
    story.after(10_000);
    story.expects(",busy,");
}

#[test]
fn liveness_goes_in_rounds_never_two_at_a_time() {
    let mut story = Story::up();
    story.by_hand();
    story.after(20_000);
    let first = story.expects("set-status");
    story.expects("set-ready");
    story.expects("http(");
    story.after(5_000);
    story.expects_no("set-status");
    story.answers(first, OpResult::Ok);
    // The others meet their deadlines; then the next round goes.
    story.after(40_000);
    story.expects("set-status");
}

#[test]
fn a_pruned_agent_registers_again() {
    let mut story = Story::up();
    story.by_hand();
    story.after(20_000);
    let heartbeat = story.expects(",heartbeat)");
    story.answers(heartbeat, OpResult::Pruned);
    story.expects("register");
}

#[test]
fn half_answered_requests_meet_their_deadlines() {
    let mut story = Story::up();
    story.by_hand();
    story.message(plain(1));
    story.works(1);
    while story.list().contains("delivery,m1") {
        let stage = story.expects("delivery,m1");
        story.answers(stage, OpResult::Ok);
    }
    story.expects("read,m1");
    // It never ends; it is tried again.
    story.after(20_000);
    story.expects("read,m1");
}

#[test]
fn reports_are_retried_with_doubling_waits_up_to_thirty_seconds() {
    let mut story = Story::up();
    story.message(plain(1));
    story.works(1);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let read = story.expects("read,m1");
        story.fails(read, FailureKind::Unreachable);
        let before = story.now.mono;
        story.waits_for("read,m1");
        waits.push((story.now.mono - before) / 1_000);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
}

#[test]
fn the_registration_has_its_exact_keys() {
    let story = Story::up();
    let text = relay_runner_core::wire::frame(&story.core, &relay_runner_core::Frame::Register);
    let frame: serde_json::Value = serde_json::from_str(&text).unwrap();
    let meta = frame["payload"]["meta"].as_object().unwrap();
    let mut keys: Vec<_> = meta.keys().map(String::as_str).collect();
    keys.sort_unstable();
    let mut expected = vec![
        "package",
        "version",
        "contracts",
        "provider",
        "model",
        "effort",
        "profile",
        "agentProfile",
        "runnerId",
        "startedAt",
        "tmuxSession",
        "tmuxSocket",
        "policyName",
        "spawnRequestId",
        "automationId",
        "automationRunId",
        "workspace",
        "workspaceMode",
        "runnerManaged",
        "cwd",
        "approvalMode",
        "label",
        "auth",
        "lifecycleCapabilities",
        "providerCapabilities",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(frame["payload"]["role"], "provider");
    assert_eq!(frame["payload"]["componentId"], "r1");
    assert_eq!(frame["payload"]["agentId"], "a1");
}
