//! What a provider says about itself: the conversation that the next process goes on with, how full its context is, and
//! which model it uses.

use relay_runner_core::config::{Adapter, Config};
use relay_runner_core::event::{
    ContextConfidence, ContextReport, ContextSource, ExitClass, FailureKind, ProcessRef, ProviderReport, ReportStatus,
    StatusReport,
};
use relay_runner_core::{DurableFacts, Event, Frame, Generation, OpResult};
use serde_json::{Value, json};

use crate::story::{Story, config, facts, plain};

fn is_in(story: &mut Story, conversation: &str) {
    story.provider(ProviderReport::Conversation { id: conversation.into() });
}

fn context(used: u64, window: u64) -> ProviderReport {
    let (source, confidence) = (ContextSource::Api, ContextConfidence::Exact);
    ProviderReport::Context(ContextReport { used, window, source, confidence })
}

fn model(model: &str, effort: Option<&str>) -> ProviderReport {
    ProviderReport::Model { model: model.into(), effort: effort.map(Into::into) }
}

/// What the next heartbeat would say besides the status.
fn heartbeat(story: &Story) -> Value {
    let frame = Frame::Heartbeat { status: story.core.view().status };
    let text = relay_runner_core::wire::frame(&story.core, &frame);
    let frame: Value = serde_json::from_str(&text).expect("a frame is JSON");
    frame["payload"]["meta"].clone()
}

fn resumes(story: &Story) -> Vec<&str> {
    story.told.iter().map(String::as_str).filter(|told| told.starts_with("spawn(")).collect()
}

fn adoptable() -> Config {
    let adapter = Adapter { adoptable: true, ..config().adapter };
    Config { adapter, ..config() }
}

#[test]
fn the_next_process_goes_on_with_the_conversation() {
    let mut story = Story::up();
    story.synced = false;
    is_in(&mut story, "thread-1");
    assert!(story.synced, "whoever comes next needs it");
    assert_eq!(story.core.view().process.conversation, Some("thread-1"));
    story.exits(ExitClass::Crash);
    assert_eq!(story.core.view().process.conversation, Some("thread-1"), "it is waited with");
    story.after(500);
    story.expects(",g2,conversation=thread-1)");
    // It is so without another word of the provider, and after a failed start as well.
    story.provider(ProviderReport::Ready);
    story.exits(ExitClass::Signal);
    story.after(1_000);
    assert!(resumes(&story).last().unwrap().ends_with(",g3,conversation=thread-1)"), "{:?}", resumes(&story));
    // A restart that was asked for goes on with it too.
    story.provider_comes_up();
    story.command("c1", "agent.restart");
    story.exits(ExitClass::Clean);
    assert!(resumes(&story).last().unwrap().ends_with(",g4,conversation=thread-1)"), "{:?}", resumes(&story));
}

#[test]
fn what_was_never_said_is_not_asked_for() {
    let mut story = Story::up();
    story.exits(ExitClass::Crash);
    story.after(500);
    assert_eq!(resumes(&story).len(), 2);
    assert!(resumes(&story).iter().all(|spawn| !spawn.contains("conversation")), "{:?}", resumes(&story));
}

#[test]
fn another_conversation_takes_the_place_of_the_last() {
    let mut story = Story::up();
    is_in(&mut story, "thread-1");
    story.provider(context(10, 100));
    story.command("c1", "agent.clearContext");
    let clear = story.expects("clear");
    is_in(&mut story, "thread-2");
    assert_eq!(heartbeat(&story).get("context"), None, "the figures were of the other one");
    story.answers(clear, OpResult::Ok);
    story.exits(ExitClass::Crash);
    story.after(500);
    story.expects("conversation=thread-2)");

    // The same one again is nothing new.
    story.provider(ProviderReport::Ready).provider(context(20, 100));
    story.synced = false;
    is_in(&mut story, "thread-2");
    assert!(!story.synced);
    assert_eq!(heartbeat(&story)["context"]["utilization"], 0.2);
}

#[test]
fn it_outlives_a_runner_that_is_killed_and_not_one_that_begins_anew() {
    let mut story = Story::up();
    is_in(&mut story, "thread/1 \"x\"");
    let mut later = story.the_next_run();
    assert_eq!(later.core.view().process.conversation, Some("thread/1 \"x\""));
    later.boot();
    later.registers();
    later.expects(",g2,conversation=thread/1%20;%22;x%22;)");

    let mut anew = Story::with(config(), facts());
    anew.boot();
    anew.registers();
    assert!(!resumes(&anew)[0].contains("conversation"), "{:?}", resumes(&anew));
}

#[test]
fn another_kind_of_provider_cannot_go_on_with_it() {
    let mut story = Story::up();
    is_in(&mut story, "thread-1");
    let mut other = config();
    other.identity.provider = "claude".into();
    let mut later = Story::with(other, story.core.facts());
    later.boot();
    later.registers();
    assert!(!resumes(&later)[0].contains("conversation"), "{:?}", resumes(&later));
    assert_eq!(later.core.facts().conversation, None);
}

#[test]
fn whoever_takes_the_process_up_is_told_and_the_process_may_say_otherwise() {
    let mut story = Story::up_with(adoptable());
    is_in(&mut story, "thread-1");
    let mut later = story.the_next_run();
    later.boot();
    let adopt = later.expects(",g1,p101,conversation=thread-1)");
    later.answers(adopt, OpResult::Spawned(ProcessRef { pid: 101, started: 1, boot: "boot".into() }));
    is_in(&mut later, "thread-2");
    later.provider(ProviderReport::Ready);
    later.registers();
    later.exits(ExitClass::Crash);
    later.after(500);
    later.expects(",g2,conversation=thread-2)");

    // Nothing is left of the process: the next one goes on.
    let mut gone = story.the_next_run();
    gone.boot();
    let adopt = gone.expects("adopt(");
    gone.fails(adopt, FailureKind::NotFound);
    gone.registers();
    gone.expects(",g2,conversation=thread-1)");
}

#[test]
fn what_an_older_process_says_of_itself_changes_nothing() {
    let mut story = Story::up();
    is_in(&mut story, "thread-1");
    story.exits(ExitClass::Crash);
    story.after(500);
    story.provider_comes_up();
    let known = story.core.clone();
    for report in [ProviderReport::Conversation { id: "old".into() }, context(90, 100), model("old", Some("low"))] {
        story.hears(Event::Provider(Generation(1), report));
        assert_eq!(story.core, known);
    }
}

#[test]
fn an_id_that_cannot_be_one_is_not_believed() {
    let mut story = Story::up();
    is_in(&mut story, "thread-1");
    for id in [String::new(), "x".repeat(257)] {
        is_in(&mut story, &id);
    }
    assert_eq!(story.core.view().process.conversation, Some("thread-1"));
    assert_eq!(story.core.view().malformed, 2);
}

#[test]
fn facts_and_marks_without_it_are_as_they_always_were() {
    let mut story = Story::up();
    let silent = story.core.to_mark();
    assert!(!silent.contains("\"about\"") && !silent.contains("conversation"), "{silent}");
    let written = serde_json::to_string(&story.core.facts()).unwrap();
    assert!(!written.contains("conversation"), "{written}");
    is_in(&mut story, "thread-1");
    let written = serde_json::to_string(&story.core.facts()).unwrap();
    assert_eq!(serde_json::from_str::<DurableFacts>(&written).unwrap(), story.core.facts());
    assert_eq!(relay_runner_core::Core::from_mark(&story.core.to_mark()).unwrap(), story.core);
    assert!(!serde_json::to_string(&Adapter::default()).unwrap().contains("attach"));
}

#[test]
fn the_context_is_shown_while_the_process_lives() {
    let mut story = Story::up();
    assert_eq!(heartbeat(&story).get("context"), None);
    assert_eq!(heartbeat(&story)["providerCapabilities"]["context"].get("stats"), None);
    story.provider(context(12_345, 272_000));
    let said = heartbeat(&story);
    let expected = json!({"utilization": 0.045, "lifecycleState": "active", "source": "api", "confidence": "exact"});
    assert_eq!(said["context"], expected);
    let stats = json!({"source": "api", "confidence": "exact"});
    assert_eq!(said["providerCapabilities"]["context"]["stats"], stats);
    assert_eq!(said["providerCapabilities"]["context"]["compact"], true, "what it can do is still said");

    let compaction = |status| StatusReport { status, reason: Some("compaction".into()), ..StatusReport::default() };
    story.report(compaction(ReportStatus::Busy));
    assert_eq!(heartbeat(&story)["context"]["lifecycleState"], "compacting");
    story.report(compaction(ReportStatus::Idle));
    assert_eq!(heartbeat(&story)["context"]["lifecycleState"], "active");

    // More than fits is full, and a window of nothing says nothing.
    story.provider(context(u64::MAX, 272_000)).provider(context(1, 0));
    assert_eq!(heartbeat(&story)["context"]["utilization"], 1.0);
    story.provider(context(u64::MAX, u64::MAX)).provider(context(0, 0));
    assert_eq!(story.core.view().context.map(|context| context.permille), Some(1_000));

    story.exits(ExitClass::Crash);
    assert_eq!(heartbeat(&story).get("context"), None);
    assert_eq!(story.core.view().context, None);
    story.after(500);
    story.provider_comes_up();
    assert_eq!(heartbeat(&story).get("context"), None, "the next one has not said yet");
}

#[test]
fn every_word_about_the_context_is_the_contracts() {
    let sources = ContextSource::ALL.map(ContextSource::as_str);
    let confidences = ContextConfidence::ALL.map(ContextConfidence::as_str);
    assert_eq!(sources, ["api", "statusline", "hook", "estimate"]);
    assert_eq!(confidences, ["exact", "reported", "estimated"]);
}

#[test]
fn the_model_is_what_was_configured_until_the_provider_says_which() {
    let of = |story: &Story| heartbeat(story)["providerCapabilities"]["model"].clone();
    let started = 4711;
    let mut none = config();
    none.identity.started_at = started;
    let mut story = Story::up_with(none.clone());
    let unknown = json!({
        "provider": "command", "alias": null, "id": null, "effort": null,
        "source": "runtime", "confidence": "unknown", "lastUpdatedAt": started,
    });
    assert_eq!(of(&story), unknown);
    story.provider(model("m-1.5", None));
    let at = story.now.wall;
    let probed = json!({
        "provider": "command", "alias": "m-1.5", "id": "m-1.5", "effort": null,
        "source": "provider", "confidence": "reported", "lastUpdatedAt": at,
    });
    assert_eq!(of(&story), probed);

    let mut configured = none;
    configured.identity.model = Some("large".into());
    configured.identity.effort = Some("high".into());
    let mut story = Story::up_with(configured);
    let said = json!({
        "provider": "command", "alias": "large", "id": "large", "effort": "high",
        "source": "runtime", "confidence": "reported", "lastUpdatedAt": started,
    });
    assert_eq!(of(&story), said);
    story.after(1_000).provider(model("m-2", Some("medium")));
    let probed = json!({
        "provider": "command", "alias": "large", "id": "m-2", "effort": "medium",
        "source": "provider", "confidence": "reported", "lastUpdatedAt": story.now.wall,
    });
    assert_eq!(of(&story), probed);
    // The next process is likely to use the same.
    story.exits(ExitClass::Crash);
    assert_eq!(of(&story), probed);
}

#[test]
fn a_terminal_is_announced_where_one_can_be_attached() {
    let of = |story: &Story| heartbeat(story)["providerCapabilities"].get("terminal").cloned();
    assert_eq!(of(&Story::up()), None);
    let adapter = Adapter { attach: true, ..config().adapter };
    let attach = json!({"attach": {"create": true, "read": true, "write": true, "detach": true}});
    assert_eq!(of(&Story::up_with(Config { adapter, ..config() })), Some(attach));
}

/// They are neither work nor a turn.
#[test]
fn nothing_else_follows_from_what_it_says_of_itself() {
    let mut story = Story::up();
    story.message(plain(1));
    story.hands_over(1).takes(1).busy();
    let then = story.told.len();
    is_in(&mut story, "thread-1");
    story.provider(context(1, 2)).provider(model("m", None));
    assert_eq!(story.told_since(then, ""), Vec::<&str>::new());
    story.idle();
    assert_eq!(story.stage(1), Some("worked"));
}

#[test]
fn what_is_shown_of_it_is_as_the_published_schema_says() {
    let document = relay_runner_shell::schema::named("state").expect("it is published").text;
    let (mut compiler, mut schemas) = (boon::Compiler::new(), boon::Schemas::new());
    compiler.add_resource("urn:state", serde_json::from_str(document).unwrap()).unwrap();
    let state = compiler.compile("urn:state", &mut schemas).unwrap();
    let fits = |story: &Story| {
        let view = serde_json::to_value(story.core.view()).unwrap();
        schemas.validate(&view, state).unwrap_or_else(|why| panic!("{why:#}\n{view:#}"));
        view
    };
    let mut story = Story::up();
    let view = fits(&story);
    let unknown = json!([null, null, null]);
    assert_eq!(json!([view["model"], view["context"], view["process"]["conversation"]]), unknown);
    is_in(&mut story, "thread-1");
    story.provider(context(92_000, 272_000)).provider(model("m-1", Some("high")));
    let view = fits(&story);
    assert_eq!(view["model"], json!({"id": "m-1", "effort": "high", "probedAt": story.now.wall}));
    let shown = json!({
        "used": 92_000, "window": 272_000, "permille": 338, "compacting": false, "source": "api", "confidence": "exact",
    });
    assert_eq!((&view["context"], &view["process"]["conversation"]), (&shown, &json!("thread-1")));
    assert_eq!(view["process"]["usageLimit"], Value::Null);
    let until = story.now.wall + 60_000;
    for until in [Some(until), None] {
        story.exits(ExitClass::UsageLimit { until });
        assert_eq!(fits(&story)["process"]["usageLimit"], json!({"until": until}));
        story.after(60_000);
        story.provider_comes_up();
    }
}
