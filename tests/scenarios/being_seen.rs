//! Status, liveness, and who the agent says it is.

use relay_runner_core::event::{
    BusFrame, ExitClass, FailureKind, ReportStatus, Signal, StatusReport, TimelineReport, TokenRecord,
};
use relay_runner_core::{Event, OpResult, Order, TokenSlot};
use relay_runner_protocol::AgentStatus;

use crate::story::{Story, config, facts, plain};

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

/// The timeline that the next status would publish.
fn timeline(story: &Story) -> Vec<serde_json::Value> {
    story.status_meta()["timelineEvents"].as_array().unwrap_or_else(|| panic!("a list")).clone()
}

#[test]
fn what_is_too_much_of_the_timeline_is_counted_once() {
    let mut story = Story::up();
    story.link_breaks();
    for n in 0..300 {
        let entry = TimelineReport { status: format!("step-{n}").into(), id: None, timestamp: None };
        story.report(StatusReport { timeline: Some(entry), ..StatusReport::default() });
    }
    let waiting = timeline(&story);
    assert_eq!(waiting.len(), 257);
    assert_eq!((&waiting[0]["status"], &waiting[0]["count"]), (&"timeline-dropped".into(), &44.into()));
    assert_eq!(waiting[256]["status"], "step-299");
    assert_eq!(story.status_meta()["timelineEvent"]["status"], "step-299");
    // Once that was published and acknowledged, it is not said again.
    story.waits_to_connect();
    story.registers();
    assert_eq!(timeline(&story), [serde_json::Value::Null; 0]);
}

#[test]
fn the_heartbeat_goes_as_often_as_the_relay_says() {
    let beats = |story: &mut Story, millis: u64| {
        let then = story.told.len();
        story.after(millis);
        story.told_since(then, ",heartbeat,").len()
    };
    let mut story = Story::up();
    assert_eq!(beats(&mut story, 300_000), 10);
    story.link_breaks();
    assert_eq!(beats(&mut story, 200), 0);
    story.waits_to_connect();
    story.opens();
    story.expects("register");
    story.frame(BusFrame::Registered { epoch: 1, cursor: 0, relay: None, heartbeat: Some(5_000) });
    assert_eq!(beats(&mut story, 300_000), 60);
}

#[test]
fn reasons_to_be_busy_are_named_once_each_in_a_stable_order() {
    let mut story = Story::up();
    let busy = |reason: &str, id: &str| StatusReport {
        status: ReportStatus::Busy,
        reason: Some(reason.into()),
        id: Some(id.into()),
        ..StatusReport::default()
    };
    for (reason, id) in
        [("weather", "w"), ("compaction", "c"), ("subagent", "2"), ("subagent", "1"), ("provider-turn", "t")]
    {
        story.report(busy(reason, id));
    }
    assert_eq!(story.core.view().busy_reasons, ["provider-turn", "subagent", "compaction", "weather"]);
    // An end without an id ends all of its kind, and nothing else.
    story.report(StatusReport { reason: Some("subagent".into()), ..StatusReport::default() });
    assert_eq!(story.core.view().busy_reasons, ["provider-turn", "compaction", "weather"]);
}

#[test]
fn nobody_is_shown_as_alive_before_the_first_registration() {
    let mut story = Story::with(config(), facts());
    story.boot();
    let record = TokenRecord { jti: Some("j1".into()), ..TokenRecord::default() };
    story.hears(Event::Order(Order::Token { request: None, slot: TokenSlot(1), record }));
    story.never("set-status");
    story.registers();
    assert_eq!(story.times("set-status"), 1);
}

#[test]
fn one_round_of_liveness_at_a_time() {
    let mut story = Story::up();
    story.by_hand();
    story.after(20_000);
    let rounds = story.times("set-status");
    // Another token is a reason for a round, but one is under way.
    let record = TokenRecord { jti: Some("j2".into()), ..TokenRecord::default() };
    story.hears(Event::Order(Order::Token { request: None, slot: TokenSlot(1), record }));
    assert_eq!(story.times("set-status"), rounds);
}

#[test]
fn beside_the_bus_the_status_that_is_under_way_there_is_said_again() {
    let mut story = Story::up();
    story.by_hand();
    story.after(19_000);
    story.busy();
    story.expects("status,");
    let seq = story.core.view().status_seq;
    story.idle();
    story.after(1_000);
    story.expects(&format!("set-status,busy,{seq}"));
    story.expects(&format!("set-ready,true,{seq}"));
}

#[test]
fn an_agent_without_a_process_is_offline_only_when_its_run_ends() {
    let mut story = Story::up();
    story.exits(ExitClass::Refused);
    assert_eq!(story.core.view().process.state, "parked");
    assert_eq!(story.core.view().status, AgentStatus::Idle);
    let mut story = Story::up();
    story.busy();
    story.signal(Signal::Term);
    story.signal(Signal::Quit);
    assert_eq!(story.core.view().status, AgentStatus::Busy, "its process is still there");
    story.exits(ExitClass::Signal);
    assert_eq!(story.core.view().status, AgentStatus::Offline);
}

#[test]
fn a_relay_that_wants_no_heartbeats_hears_those_that_are_configured() {
    let mut story = Story::up();
    story.link_breaks();
    story.waits_to_connect();
    story.opens();
    story.expects("register");
    story.frame(BusFrame::Registered { epoch: 1, cursor: 0, relay: None, heartbeat: Some(0) });
    let then = story.told.len();
    story.after(60_000);
    assert_eq!(story.told_since(then, ",heartbeat,").len(), 2);
}

#[test]
fn a_parked_agent_is_shown_as_parked_by_its_next_run() {
    let mut story = Story::up();
    story.exits(ExitClass::Refused);
    let mut later = story.the_next_run();
    later.boot();
    later.registers();
    assert_eq!(later.core.view().process.state, "parked");
    later.never("spawn(");
}
