//! What others are told of the agent: status, heartbeat and timeline.

use relay_runner_core::config::{Approval, Mode};
use relay_runner_core::event::{BusFrame, ExitClass, ProviderReport, ReportStatus, Signal, StatusReport, TokenRecord};
use relay_runner_core::{Config, Event, Frame, Order, wire};
use relay_runner_protocol::ErrorCode;

use crate::story::{Story, config, plain};

/// A report of the provider's on something other than its turn.
fn reports(story: &mut Story, status: ReportStatus, reason: &str, id: Option<&str>) {
    let (reason, id) = (Some(reason.into()), id.map(Into::into));
    story.report(StatusReport { status, reason, id, ..StatusReport::default() });
}

#[test]
fn a_restart_is_one_entry_of_the_timeline_however_often_it_was_asked_for() {
    let mut story = Story::up();
    story.by_hand();
    for command in ["c1", "c2"] {
        story.command(command, "agent.restart");
        let meta = story.status_meta();
        let entries = meta["timelineEvents"].as_array().map_or(0, |entries| {
            entries.iter().filter(|entry| entry["status"] == "restarting" && entry["id"] == "restarting-1").count()
        });
        assert_eq!(entries, 1, "{command}: {meta}");
    }
}

#[test]
fn an_end_is_named_and_a_drain_is_no_shutdown_yet() {
    let mut story = Story::up();
    assert_eq!(story.core.view().ending, None);
    story.busy();
    story.signal(Signal::Term);
    assert_eq!(story.core.view().ending, Some("signal"));
    assert_eq!(story.core.view().lifecycle_action, None, "its turn may end");
    assert!(!story.core.view().ready);
    story.idle();
    assert_eq!(story.core.view().lifecycle_action, Some("shutting-down"));
    for (command, why) in [("agent.shutdown", "shutdown"), ("agent.kill", "kill")] {
        let mut story = Story::up();
        story.command("c1", command);
        assert_eq!(story.core.view().ending, Some(why));
    }
}

#[test]
fn a_superseded_instance_says_nothing_of_what_happens_to_it() {
    let mut story = Story::up();
    story.message(plain(1));
    story.hands_over(1);
    story.takes(1);
    story.busy();
    story.frame(BusFrame::Error { code: ErrorCode::Superseded, message: "another".into() });
    let then = story.told.len();
    story.idle();
    story.exits(ExitClass::Clean);
    assert_eq!(story.told_since(then, "http("), [""; 0]);
    story.expects("finish(76)");
}

#[test]
fn who_may_do_what_is_shown_as_configured() {
    let shown = |change: fn(&mut Config)| {
        let mut config = config();
        change(&mut config);
        let story = Story::up_with(config);
        let text = wire::frame(&story.core, &Frame::Heartbeat { status: story.core.view().status });
        let frame: serde_json::Value = serde_json::from_str(&text).expect("a frame is JSON");
        frame["payload"]["meta"]["providerCapabilities"].clone()
    };
    let open = shown(|_| {});
    assert_eq!(open["session"]["approvalMode"], "open", "{open}");
    assert_eq!(open["session"]["fileWrite"], true);
    assert_eq!(open["lifecycle"]["restartHard"], true);
    let cautious = shown(|config| config.identity.approval = Approval::ReadOnly);
    assert_eq!(cautious["session"]["approvalMode"], "read-only", "{cautious}");
    assert_eq!(cautious["session"]["fileWrite"], false);
    let at_a_terminal = shown(|config| {
        config.identity.provider = "claude".into();
        config.mode = Mode::Interactive;
    });
    assert_eq!(at_a_terminal["lifecycle"]["restartHard"], false, "{at_a_terminal}");
}

#[test]
fn the_credential_is_shown_by_its_record() {
    let record =
        TokenRecord { jti: Some("j1".into()), profile: Some("provider-agent".into()), expires_at: Some(2_000_000_000) };
    let story = Story::up_with(Config { credential: Some(record), ..config() });
    let auth = &story.status_meta()["auth"];
    assert_eq!((&auth["jti"], &auth["profileId"]), (&"j1".into(), &"provider-agent".into()), "{auth}");
    assert_eq!(auth["expiresAt"], 2_000_000_000_u64);
}

#[test]
fn a_lifecycle_action_is_shown_with_the_moment_it_began() {
    let mut story = Story::up();
    assert!(story.status_meta()["lifecycleActionAt"].is_null());
    story.exits(ExitClass::Crash);
    let began = story.now.wall;
    assert_eq!(story.status_meta()["lifecycleActionAt"], began);
    story.after(200);
    story.link_breaks();
    assert_eq!(story.status_meta()["lifecycleActionAt"], began, "as long as it lasts");
    story.after(300);
    story.provider_comes_up();
    assert!(story.status_meta()["lifecycleActionAt"].is_null());
}

#[test]
fn a_heartbeat_says_what_the_provider_can_do_and_where_its_terminal_is() {
    let heartbeat = |story: &Story| -> serde_json::Value {
        let text = wire::frame(&story.core, &Frame::Heartbeat { status: story.core.view().status });
        serde_json::from_str(&text).expect("a frame is JSON")
    };
    let frame = heartbeat(&Story::up());
    let meta = &frame["payload"]["meta"];
    assert_eq!(meta["providerCapabilities"]["context"]["compact"], true, "{frame}");
    assert!(meta.get("tmuxSession").is_none(), "what is not known is missing: {frame}");
    let mut config = config();
    config.identity.tmux_session = Some("work".into());
    let frame = heartbeat(&Story::up_with(config));
    assert_eq!(frame["payload"]["meta"]["tmuxSession"], "work");
}

#[test]
fn what_a_report_says_of_its_work_is_passed_on() {
    let mut story = Story::up();
    let said = |text: &str| Some(text.into());
    story.report(StatusReport {
        status: ReportStatus::Busy,
        metadata: said(r#"{"depth":2}"#),
        provider_state: said(r#"{"model":"m"}"#),
        ..StatusReport::default()
    });
    let meta = story.status_meta();
    assert_eq!(meta["activeWork"][0]["metadata"]["depth"], 2);
    assert_eq!(meta["providerState"]["model"], "m");
    // That of a subagent is not the provider's.
    let mut story = Story::up();
    story.report(StatusReport {
        status: ReportStatus::Busy,
        reason: said("subagent"),
        provider_state: said(r#"{"model":"m"}"#),
        ..StatusReport::default()
    });
    assert!(story.status_meta()["providerState"].is_null());
}

#[test]
fn whatever_is_shown_is_published_when_it_changes() {
    let mut story = Story::up();
    let published = |story: &mut Story, what: &dyn Fn(&mut Story)| {
        let then = story.told.len();
        what(story);
        story.told_since(then, "status,").len()
    };
    assert_eq!(
        published(&mut story, &|story| {
            story.busy();
        }),
        1
    );
    let opens = |story: &mut Story| reports(story, ReportStatus::Busy, "subagent", Some("s1"));
    assert_eq!(published(&mut story, &opens), 1, "more work");
    let ends = |story: &mut Story| reports(story, ReportStatus::Idle, "subagent", Some("s1"));
    assert_eq!(published(&mut story, &ends), 1, "less work");
    assert_eq!(published(&mut story, &ends), 0, "it was over already");
    assert_eq!(published(&mut story, &opens), 1);
    let all_end = |story: &mut Story| reports(story, ReportStatus::Idle, "subagent", None);
    assert_eq!(published(&mut story, &all_end), 1, "all of a kind");
    let breaks = |story: &mut Story| {
        story.hears(Event::Order(Order::JournalBroken { why: "full".into() }));
    };
    assert_eq!(published(&mut story, &breaks), 1, "the journal");
    assert_eq!(story.status_meta()["journal"], "broken");
    assert_eq!(story.core.view().journal_broken, Some("full"));
}

#[test]
fn messages_are_counted_by_stage_and_bad_lines_of_the_provider_are_counted() {
    let mut story = Story::up();
    story.busy();
    story.message(plain(1)).message(plain(2)).message(plain(3));
    assert_eq!(story.core.view().stages.get("held"), Some(&3));
    for _ in 0..2 {
        story.provider(ProviderReport::Malformed { reason: "no JSON".into() });
    }
    assert_eq!(story.core.view().malformed, 2);
}
