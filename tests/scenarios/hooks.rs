//! Hooks: posts of the provider's own, over the control server. They may be late, lost, or somebody else's.

use relay_runner_core::event::{ExitClass, ReportStatus, StatusReport, TimelineReport, TurnEnd};

use relay_runner_core::config::{Config, Delivery};
use relay_runner_core::flags::{Flag, Flags};
use serde_json::json;

use crate::story::{Story, config, plain};

fn busy_with(reason: &str, id: &str) -> StatusReport {
    let (reason, id) = (Some(reason.into()), Some(id.into()));
    StatusReport { status: ReportStatus::Busy, reason, id, ..StatusReport::default() }
}

fn idle() -> StatusReport {
    StatusReport::default()
}

/// What the hook was told, and that nothing else came of it.
#[track_caller]
fn is_ignored(story: &mut Story, session: &str, report: StatusReport) {
    let then = story.told.len();
    story.hook(session, report);
    story.expects("stale)");
    assert_eq!(story.told.len(), then + 1, "only the answer: {:?}", &story.told[then..]);
}

#[test]
fn late_hook() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    let session = story.session();
    story.hook(&session, busy_with("provider-turn", "t1"));
    story.expects(",busy,");
    story.exits(ExitClass::Crash);

    // Of the current session, after its exit: the agent is dead, neither at work nor through with it.
    is_ignored(&mut story, &session, busy_with("provider-turn", "t2"));
    is_ignored(&mut story, &session, idle());
    assert!(!story.core.view().ready);

    // Of an old session, while the new one works.
    story.after(500);
    story.provider_comes_up();
    story.hands_over(5);
    story.takes(5);
    let living = story.session();
    story.hook(&living, busy_with("provider-turn", "t1"));
    is_ignored(&mut story, &session, idle());
    is_ignored(&mut story, &session, busy_with("subagent", "s1"));
    assert!(story.core.view().turn.is_some());
    story.never(",done");
    story.hook(&living, idle());
    story.expects("task,t50,m5,done");
}

#[test]
fn an_agent_that_is_gone_for_good_is_not_brought_back_by_a_hook() {
    let mut story = Story::up();
    let session = story.session();
    story.command("c1", "agent.shutdown");
    story.exits(ExitClass::Clean);
    assert_eq!(story.core.view().status.as_str(), "offline");
    is_ignored(&mut story, &session, idle());
    assert_eq!(story.core.view().status.as_str(), "offline");
}

#[test]
fn nested_provider() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    let session = story.session();
    let ours = story.core.view().process.process.expect("it is up").pid;
    let by = |pid: u32, report: StatusReport| StatusReport { pid: Some(pid), ..report };
    story.hook(&session, by(ours, busy_with("provider-turn", "t1")));

    // The agent runs a copy of its provider, which inherits the environment and with it our session.
    let offline = StatusReport { status: ReportStatus::Offline, ..StatusReport::default() };
    is_ignored(&mut story, &session, by(ours + 1, idle()));
    is_ignored(&mut story, &session, by(ours + 1, offline));
    is_ignored(&mut story, &session, by(ours + 1, busy_with("subagent", "s1")));
    assert!(story.core.view().turn.is_some(), "our turn goes on");
    assert_eq!(story.core.view().process.state, "working");
    story.never(",done");

    story.hook(&session, by(ours, StatusReport { id: Some("t1".into()), ..idle() }));
    story.expects("task,t50,m5,done");
}

#[test]
fn session_end_is_not_exit() {
    let mut story = Story::up();
    let session = story.session();
    let then = story.told.len();
    let ends = TimelineReport { status: "session-end".into(), id: None, timestamp: None };
    let begins = TimelineReport { status: "session-clear".into(), id: None, timestamp: None };
    story.hook(&session, StatusReport { status: ReportStatus::Offline, timeline: Some(ends), ..idle() });
    story.hook(&session, StatusReport { timeline: Some(begins), ..idle() });

    assert!(story.core.view().ready, "the process lives, and takes messages");
    assert_eq!(story.core.view().process.state, "waiting");
    story.after(60_000);
    for never in ["offline", "not-ready", "stop(", "spawn("] {
        assert_eq!(story.told_since(then, never), [""; 0]);
    }
    assert_eq!(story.told_since(then, ",idle,ready)").len(), 2, "both are in the timeline that is published");
    story.message(plain(1));
    story.works(1);
}

#[test]
fn lost_subagent_stop() {
    let mut story = Story::up();
    let session = story.session();
    story.hook(&session, busy_with("provider-turn", "t1"));
    story.hook(&session, busy_with("subagent", "lost"));
    story.hook(&session, busy_with("subagent", "running"));
    // The stop of one never comes; the end of the turn names the other as still running.
    story.hook(&session, StatusReport { still_running: vec!["running".into()], ..idle() });
    assert_eq!(story.core.view().busy_reasons, ["subagent"]);
    assert_eq!(story.status_meta()["activeSubagents"][0]["id"], "running");
    assert_eq!(story.status_meta()["activeSubagentCount"], 1);
    // Nor does its own, and the process ends.
    story.exits(ExitClass::Crash);
    assert_eq!(story.core.view().busy_reasons, [""; 0]);

    let mut story = Story::up();
    let session = story.session();
    story.hook(&session, busy_with("provider-turn", "t1"));
    story.hook(&session, busy_with("subagent", "lost"));
    story.hook(&session, idle());
    assert_eq!(story.core.view().busy_reasons, [""; 0], "nothing is left of the turn");
    assert_eq!(story.core.view().status.as_str(), "idle");
}

#[test]
fn lost_post_compact() {
    let mut story = Story::up();
    let session = story.session();
    story.hook(&session, busy_with("compaction", "c1"));
    assert_eq!(story.core.view().busy_reasons, ["compaction"]);
    // Whoever knows that it is over says so ...
    story.hook(&session, StatusReport { clear: vec!["compaction".into()], ..idle() });
    assert_eq!(story.core.view().busy_reasons, [""; 0]);
    // ... or the process that was at it ends.
    story.hook(&session, busy_with("compaction", "c2"));
    story.exits(ExitClass::Crash);
    assert_eq!(story.core.view().busy_reasons, [""; 0]);
    story.after(500);
    story.provider_comes_up();
    assert!(story.core.view().ready && !story.is_busy_for("compaction"));
}

#[test]
fn a_turn_that_is_cleared_is_not_worked() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    let session = story.session();
    story.hook(&session, busy_with("provider-turn", "t1"));
    let clears = StatusReport { reason: Some("session".into()), clear: vec!["provider-turn".into()], ..idle() };
    story.hook(&session, clears);
    story.never(",done");
    story.expects("offer,m5/2/");
    assert_eq!(story.times("/redelivered"), 1);
}

#[test]
fn a_hook_says_how_its_turn_ended() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    let session = story.session();
    story.hook(&session, busy_with("provider-turn", "t1"));
    story.hook(&session, StatusReport { end: TurnEnd::Interrupted { by_person: true }, ..idle() });
    story.never(",done");
    story.expects("task,t50,m5,blocked,f3,interrupted");
}

#[test]
fn a_session_that_begins_in_mid_turn_ends_no_turn() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    let session = story.session();
    story.hook(&session, busy_with("provider-turn", "t1"));
    // As after a compaction that the provider makes by itself.
    let begins = TimelineReport { status: "session-compact".into(), id: None, timestamp: None };
    story.hook(&session, StatusReport { timeline: Some(begins), ..idle() });
    assert!(story.core.view().turn.is_some());
    story.never(",done");
    story.hook(&session, idle());
    story.expects("task,t50,m5,done");
}

/// A turn runs that the provider named, and message 6 is handed over into it.
fn steered_into_a_turn(flags: &[Flag]) -> Story {
    let mut steering = Config { delivery: Delivery::Steer, flags: Flags::of(flags), ..config() };
    steering.adapter.steer = true;
    let mut story = Story::up_with(steering);
    story.posts("UserPromptSubmit", json!({"prompt": "of a person", "prompt_id": "p1"}));
    story.message(plain(6));
    story.hands_over(6);
    let prompt = story.heading(6);
    story.posts("UserPromptSubmit", json!({"prompt": prompt, "prompt_id": "p1"}));
    story.posts("Stop", json!({"prompt_id": "p1"}));
    story
}

#[test]
fn what_a_hook_shows_in_the_turn_that_runs_is_worked_by_it() {
    let mut story = steered_into_a_turn(&Flag::ALL);
    story.expects("read,m6");
}

#[test]
fn without_the_flag_what_a_hook_shows_in_a_turn_waits_for_the_next() {
    let flags: Vec<Flag> = Flag::ALL.into_iter().filter(|flag| *flag != Flag::JoinsTheTurnOfItsHook).collect();
    let mut story = steered_into_a_turn(&flags);
    assert_eq!(story.stage(6), Some("taken"), "it is believed to wait");
    story.posts("UserPromptSubmit", json!({"prompt": "another", "prompt_id": "p2"}));
    story.posts("Stop", json!({"prompt_id": "p2"}));
    story.expects("read,m6");
}
