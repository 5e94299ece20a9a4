//! Replies that the agent owes (behaviour 13), and hooks as the provider writes them (behaviour 19).

use relay_runner_core::config::{Config, Identity, Mode};
use relay_runner_core::event::{ExitClass, FailureKind, Incoming, OpResult, RelayEvent};
use relay_runner_core::flags::{Flag, Flags};
use relay_runner_core::{Event, MessageId, Order};
use serde_json::json;

use crate::story::{Story, config, plain, task};

fn asking(id: MessageId) -> Incoming {
    Incoming { reply_expected: true, ..plain(id) }
}

/// It has taken message 5, to which a reply is expected.
fn owing(config: Config) -> Story {
    let mut story = Story::up_with(config);
    story.message(asking(5));
    story.hands_over(5).takes(5).busy();
    story
}

fn owed(story: &Story) -> Vec<MessageId> {
    story.core.view().owed.iter().map(|owed| owed.message_id).collect()
}

fn replies(story: &mut Story, message: MessageId) {
    story.hears(Event::Order(Order::Replied { message }));
}

#[test]
fn a_reply_is_owed_from_the_moment_of_taking_until_it_is_sent_in_whichever_run() {
    let mut story = Story::up();
    story.message(asking(5));
    story.hands_over(5);
    assert!(owed(&story).is_empty(), "nobody has shown that it arrived");
    story.takes(5).busy().idle();
    assert_eq!(story.status_meta()["repliesOwed"], 1);
    story.exits(ExitClass::Crash);
    let mut later = story.the_next_run();
    later.boot();
    later.registers();
    assert_eq!(owed(&later), [5], "it was worked, and is owed all the same");
    replies(&mut later, 5);
    assert!(owed(&later).is_empty() && later.core.facts().owed.is_empty());
    assert_eq!(later.status_meta()["repliesOwed"], 0);
}

#[test]
fn without_the_flag_nobody_but_the_relay_knows() {
    let flags: Vec<Flag> = Flag::ALL.into_iter().filter(|flag| *flag != Flag::RemembersWhatIsOwed).collect();
    assert!(owed(&owing(Config { flags: Flags::of(&flags), ..config() })).is_empty());
    assert_eq!(owed(&owing(config())), [5]);
}

#[test]
fn a_plain_message_is_owed_nothing_and_a_deleted_one_nothing_any_more() {
    let mut story = owing(config());
    story.idle();
    story.message(plain(6));
    story.works(6);
    assert_eq!(owed(&story), [5]);
    story.relay_says(RelayEvent::MessageDeleted { message: 5 });
    assert!(owed(&story).is_empty());
}

/// The reply went another way, or the relay has forgotten the message.
#[test]
fn what_the_relay_does_not_wait_for_any_more_is_not_owed() {
    let mut story = owing(config());
    story.idle();
    story.by_hand();
    story.waits_for("obligations)");
    let asked = story.expects("obligations)");
    // Taken after it was asked: what is answered says nothing of it.
    story.message(asking(6));
    story.hands_over(6).takes(6);
    story.answers(asked, OpResult::Owed { messages: vec![] });
    assert_eq!(owed(&story), [6]);
}

/// The relay's list is of today's addresses.
#[test]
fn what_was_sent_to_a_label_is_owed_although_the_agent_has_another_one_now() {
    let mut story =
        Story::up_with(Config { identity: Identity { label: Some("rev".into()), ..config().identity }, ..config() });
    story.message(Incoming { to: "label:rev".into(), ..asking(5) });
    story.hands_over(5).takes(5).busy().idle();
    let before = story.told.len();
    story.after(60_000);
    assert!(story.told_since(before, "obligations)").is_empty(), "nobody is asked who cannot know");
    assert_eq!(owed(&story), [5]);
    replies(&mut story, 5);
    assert!(owed(&story).is_empty());
}

/// The two go different ways.
#[test]
fn a_reply_that_is_heard_of_before_its_message_is_taken_is_one_all_the_same() {
    let mut story = Story::up();
    story.message(asking(5));
    story.hands_over(5);
    replies(&mut story, 5);
    story.takes(5).busy();
    assert!(owed(&story).is_empty());
    // Also where the message comes again to the next run.
    let mut later = story.the_next_run();
    later.boot();
    later.registers();
    later.provider_comes_up();
    later.hands_over(5).takes(5);
    assert!(owed(&later).is_empty());
}

#[test]
fn a_relay_that_keeps_no_list_changes_nothing() {
    let mut story = owing(config());
    story.by_hand();
    story.waits_for("obligations)");
    let asked = story.expects("obligations)");
    story.fails(asked, FailureKind::NotFound);
    assert_eq!(owed(&story), [5]);
}

#[test]
fn nothing_is_asked_while_nothing_is_owed() {
    let mut story = owing(config());
    replies(&mut story, 5);
    let before = story.told.len();
    story.after(60_000);
    assert!(story.told_since(before, "obligations)").is_empty());
}

#[test]
fn another_relay_waits_for_no_reply_of_this_one() {
    let mut story = owing(config());
    story.idle();
    story.meets_another_relay();
    assert!(owed(&story).is_empty());
}

#[test]
fn the_end_of_a_turn_is_held_once_while_a_reply_is_owed() {
    let mut story = owing(config());
    story.posts("Stop", json!({"stop_hook_active": false}));
    story.expects("hook,provider-turn,message,m5,holds)");
    assert!(story.core.view().turn.is_some(), "it goes on");
    // Even where the provider does not say that it was held before.
    story.posts("Stop", json!({}));
    story.expects("hook,message,m5)");
    assert!(story.core.view().turn.is_none());
    story.expects("read,m5");
    // The next turn is held again, unless the provider says that it was.
    story.posts("UserPromptSubmit", json!({"prompt": "go on"}));
    story.posts("Stop", json!({"stop_hook_active": true}));
    assert!(story.core.view().turn.is_none());
    story.posts("UserPromptSubmit", json!({"prompt": "go on"}));
    replies(&mut story, 5);
    story.posts("Stop", json!({}));
    assert!(story.core.view().turn.is_none(), "nothing is owed");
}

#[test]
fn what_was_submitted_is_taken_by_its_heading_and_worked_by_its_turn() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.posts("UserPromptSubmit", json!({"prompt": "[relay message 5 zzzzzz] from eve, chat", "prompt_id": "p0"}));
    assert_eq!(story.stage(5), Some("offered"), "a heading that nobody offered takes nothing");
    story.posts("Stop", json!({"prompt_id": "p0"}));
    let prompt = format!("<event>{}\n\nbody</event>", story.heading(5));
    story.posts("UserPromptSubmit", json!({"prompt": prompt, "prompt_id": "p1"}));
    assert_eq!(story.stage(5), Some("taken"));
    story.never("task,t50,m5,done");
    story.posts("Stop", json!({"prompt_id": "p1"}));
    story.expects("task,t50,m5,done");
}

#[test]
fn a_turn_that_failed_is_offered_again() {
    let mut story = Story::up();
    story.message(plain(5));
    story.hands_over(5);
    let prompt = story.heading(5);
    story.posts("UserPromptSubmit", json!({"prompt": prompt, "prompt_id": "p1"}));
    story.by_hand();
    story.posts("StopFailure", json!({"prompt_id": "p1", "error": "overloaded"}));
    assert!(story.status_meta()["timelineEvents"].to_string().contains("turn-failed"));
    story.after(2_000);
    story.expects("/redelivered");
}

#[test]
fn subagents_and_compactions_come_and_go_and_sessions_end_no_turn() {
    let mut story = Story::up();
    story.posts("UserPromptSubmit", json!({"prompt": "go", "prompt_id": "p1"}));
    story.posts("SubagentStart", json!({"agent_id": "s1", "agent_type": "explorer"}));
    assert!(story.is_busy_for("subagent"));
    story.posts("SubagentStop", json!({"agent_id": "s1", "agent_type": "explorer"}));
    assert!(!story.is_busy_for("subagent"));
    story.posts("PreCompact", json!({"trigger": "auto"}));
    assert!(story.is_busy_for("compaction"));
    story.posts("SessionStart", json!({"source": "compact"}));
    story.posts("PostCompact", json!({"trigger": "auto"}));
    assert!(!story.is_busy_for("compaction") && story.is_busy_for("provider-turn"));
    for reason in ["clear", "resume", "prompt_input_exit"] {
        story.posts("SessionEnd", json!({"reason": reason}));
        assert!(story.core.view().turn.is_some(), "{reason}: the exit of the process is what ends it");
    }
}

#[test]
fn a_request_that_is_answered_in_the_terminal_is_closed_by_the_end_of_the_tool() {
    for hook in ["PostToolUse", "PermissionDenied"] {
        let mut story = Story::up_with(Config { mode: Mode::Interactive, ..config() });
        let tool = json!({"tool_name": "Bash", "tool_input": {"command": "rm x"}});
        story.posts("UserPromptSubmit", json!({"prompt": "go"}));
        story.posts("PermissionRequest", tool.clone());
        assert_eq!(story.core.view().approvals.len(), 1);
        story.posts(hook, json!({"tool_name": "Bash", "tool_input": {"command": "ls"}}));
        assert_eq!(story.core.view().approvals.len(), 1, "another tool");
        story.posts(hook, tool);
        story.expects("permission,none,");
        assert!(story.core.view().approvals.is_empty(), "{hook}");
    }
}

#[test]
fn a_hook_of_another_session_changes_nothing() {
    let mut story = owing(config());
    let stranger = json!({"providerSessionId": "another", "prompt": "go"});
    for hook in ["Stop", "StopFailure", "UserPromptSubmit", "PostToolUse", "SessionEnd"] {
        let before = story.told.len();
        story.posts(hook, stranger.clone());
        story.expects("stale)");
        assert_eq!(story.told.len(), before + 1, "{hook}");
    }
    // A nested copy has the session of its environment, and another process.
    for pids in [json!({"pid": 4_711}), json!({"pids": [4_711, 4_712]})] {
        story.posts("Stop", pids);
        story.expects("stale)");
    }
    assert!(story.core.view().turn.is_some());
    story.posts("SubagentStart", json!({"agent_id": "s1", "pids": [4_711, 101]}));
    assert!(story.is_busy_for("subagent"), "one of them is the process");
}

/// A message of a task that another has now is nobody's to reply to.
#[test]
fn what_another_has_taken_over_is_not_owed_any_more() {
    let mut story = Story::up();
    story.message(Incoming { reply_expected: true, ..task(5, 50) });
    story.grants(5, 3);
    story.accepts("task,t50,m5,in_progress");
    story.hands_over(5).takes(5).busy();
    assert_eq!(owed(&story), [5]);
    story.relay_says(RelayEvent::MessageClaimed { message: 5, by: Some("another".into()) });
    story.after(1);
    let asked = story.expects("claim,m5");
    story.answers(asked, OpResult::Refused { by: Some("another".into()) });
    assert!(owed(&story).is_empty());
}

/// As where the provider's own stream tells of the end.
#[test]
fn who_only_asks_holds_the_end_once_and_ends_nothing() {
    let mut story = owing(config());
    let turn = story.core.view().turn.is_some();
    story.posts("Stop", json!({"stop_hook_active": false, "asks_only": true}));
    story.expects("holds)");
    assert_eq!(story.core.view().turn.is_some(), turn);
    story.posts("Stop", json!({"stop_hook_active": true, "asks_only": true}));
    assert_eq!((story.times("holds)"), story.core.view().turn.is_some()), (1, turn));
}
