//! Commands: carried out once, one outcome each, and none gets in the way of another.

use relay_runner_core::config::{Adapter, Delivery};
use relay_runner_core::event::{BusFrame, CommandOrder, ExitClass, FailureKind, Params, ProviderReport, Signal};
use relay_runner_core::time::MINUTE;
use relay_runner_core::{BodyRef, Call, Config, Effect, OpResult, wire};
use serde_json::json;

use crate::story::{Story, config, plain};

#[test]
fn command_replay() {
    let mut story = Story::up();
    story.command("c1", "agent.restart");
    story.exits(ExitClass::Clean);
    story.provider_comes_up();
    story.accepts("command,c1,succeeded");
    story.command("c1", "agent.restart");
    assert_eq!(story.times("stop("), 1);
    story.expects("command,c1,succeeded");
    // In a later run as well.
    let mut later = Story::with(config(), story.core.facts());
    later.boot();
    later.registers();
    later.provider_comes_up();
    later.command("c1", "agent.restart");
    later.never("stop(");
    later.expects("command,c1,succeeded");
}

#[test]
fn report_unreachable() {
    let mut story = Story::up();
    story.by_hand();
    story.command("c1", "agent.restart");
    let accepted = story.expects("command,c1,accepted");
    story.fails(accepted, FailureKind::Unreachable);
    story.expects("stop(g1,Ask)");
    story.exits(ExitClass::Clean);
    story.provider_comes_up();
    assert!(story.core.view().process.state == "waiting");
}

#[test]
fn an_unknown_command_fails_and_one_for_another_is_ignored() {
    let mut story = Story::up();
    story.command("c1", "agent.dance");
    story.expects("command,c1,failed,unknown%20;command%20;type");
    let order = CommandOrder {
        id: "c2".into(),
        name: "agent.kill".into(),
        target: Some("somebody".into()),
        params: Params::default(),
    };
    story.frame(BusFrame::Command { frame: "f".into(), command: Box::new(order) });
    story.never("c2,");
}

#[test]
fn dead_handle() {
    let commands = ["agent.compact", "agent.clearContext", "agent.injectContext"];
    let content = || Params { content: Some(BodyRef::of("remember this")), ..Params::default() };
    let mut story = Story::up();
    story.exits(ExitClass::Crash);
    for command in commands {
        story.command_with(command, command, content());
        story.expects(&format!("command,{command},failed,provider%20;is%20;restarting"));
    }
    let decision = Params { approval: Some("a1".into()), decision: Some("approve".into()), ..Params::default() };
    story.command_with("c1", "agent.permissionDecision", decision);
    story.expects("command,c1,failed,no%20;such%20;request");

    let mut parked = Story::up();
    parked.exits(ExitClass::Refused);
    for command in commands {
        parked.command_with(command, command, content());
        parked.expects(&format!("command,{command},failed,provider%20;process%20;is%20;unavailable"));
    }
    for story in [story, parked] {
        story.never("provider(");
    }
}

/// A provider whose turn would be broken off by it.
#[test]
fn what_would_break_off_a_turn_waits_for_its_end() {
    let adapter = Adapter { between_turns: true, steer: true, ..config().adapter };
    for (command, act) in [("agent.compact", ",compact)"), ("agent.clearContext", ",clear)")] {
        let mut story = Story::up_with(Config { adapter, delivery: Delivery::Steer, ..config() });
        story.busy();
        story.command("c1", command);
        story.expects_no(act);
        // It holds nothing up while it waits, and has its whole time once it begins.
        story.message(plain(1)).hands_over(1).takes_into_turn(1);
        story.after(6 * MINUTE);
        story.expects_no("command,c1,failed");
        story.idle();
        story.message(plain(2));
        story.expects_no("offer,m2/");
        story.accepts(act).expects("command,c1,succeeded");
        story.hands_over(2);
    }
}

#[test]
fn compact_while_delivering() {
    // The message waits for the compaction ...
    let mut story = Story::up();
    story.command("c1", "agent.compact");
    let compact = story.expects(",compact)");
    story.message(plain(1));
    story.expects_no("offer");
    story.answers(compact, OpResult::Ok);
    story.expects("command,c1,succeeded");
    story.works(1);

    // ... and the compaction for a message that is being handed over.
    let mut story = Story::up();
    story.message(plain(1));
    story.command("c1", "agent.compact");
    story.expects_no(",compact)");
    story.hands_over(1);
    story.accepts(",compact)");
    story.expects("command,c1,succeeded");
    story.takes(1);
    story.busy().idle();
    story.expects("read,m1");
}

#[test]
fn a_reconnect_opens_a_new_transport_and_succeeds_when_registered() {
    let mut story = Story::up();
    story.command("c1", "agent.reconnect");
    story.expects("disconnect(c1)");
    story.expects_no("command,c1,succeeded");
    story.registers();
    story.expects("command,c1,succeeded");
}

#[test]
fn a_local_command_is_answered_where_it_was_asked() {
    let mut story = Story::up();
    story.local_command("agent.restart");
    story.exits(ExitClass::Clean);
    story.provider_comes_up();
    story.expects("answer(r1,succeeded,agent.restart");
}

#[test]
fn lifecycle_clobber() {
    // A reconnect that ends during a restart leaves the restart what it is.
    let mut story = Story::up();
    story.command("c1", "agent.restart");
    story.command("c2", "agent.reconnect");
    story.registers();
    story.expects("command,c2,succeeded");
    assert_eq!(story.core.view().lifecycle_action, Some("restarting"));
    story.exits(ExitClass::Clean);
    story.provider_comes_up();
    assert_eq!(story.core.view().lifecycle_action, None);

    // So does the operation of the provider that dies in it.
    let mut story = Story::up();
    story.command("c1", "agent.compact");
    story.command("c2", "agent.restart");
    story.exits(ExitClass::Clean);
    story.expects("command,c1,failed");
    assert_eq!(story.core.view().lifecycle_action, Some("restarting"));

    // The restarts that a shutdown ends do not end the shutdown; a kill takes it over.
    let mut story = Story::up();
    story.command("c1", "agent.restart");
    story.command("c2", "agent.shutdown");
    story.expects("command,c1,failed");
    assert_eq!(story.core.view().lifecycle_action, Some("shutting-down"));
    story.command("c3", "agent.restart");
    story.expects("command,c3,failed");
    assert_eq!(story.core.view().lifecycle_action, Some("shutting-down"));
    story.command("c4", "agent.kill");
    assert_eq!(story.core.view().lifecycle_action, Some("killing"));
    story.command("c5", "agent.shutdown");
    assert_eq!(story.core.view().lifecycle_action, Some("killing"));
}

/// Everything that could make it look ready, while it goes down.
fn is_shaken(story: &mut Story) {
    story.provider(ProviderReport::Ready);
    story.busy().idle();
    story.command("shaking", "agent.reconnect");
    story.registers();
    story.after(1_000);
    story.link_breaks();
    story.after(2_000);
    story.registers();
}

#[test]
fn ready_flip() {
    for goes_down in ["agent.shutdown", "agent.kill", "agent.restart"] {
        let mut story = Story::up();
        let then = story.told.len();
        story.command("c1", goes_down);
        is_shaken(&mut story);
        assert!(!story.told_since(then, ",not-ready)").is_empty(), "{goes_down}: it is said at once");
        assert!(story.told_since(then, ",ready)").is_empty(), "{goes_down}: {:#?}", story.told_since(then, "status,"));
        assert!(story.told_since(then, "set-ready,true").is_empty(), "{goes_down}");
    }
    // In a drain as well.
    let mut story = Story::up();
    story.busy();
    let then = story.told.len();
    story.signal(Signal::Term);
    story.provider(ProviderReport::Ready);
    story.command("shaking", "agent.reconnect");
    story.registers();
    story.after(21_000);
    assert!(story.told_since(then, ",ready)").is_empty());
    assert!(story.told_since(then, "set-ready,true").is_empty());
    assert!(!story.told_since(then, "set-ready,false").is_empty(), "the rounds go on");
}

/// The report of this command's outcome, as it goes to the relay.
fn reported(story: &Story, id: &str) -> serde_json::Value {
    let outcome = story.open.iter().find_map(|effect| match effect {
        Effect::Http { call: call @ Call::Command { id: of, .. }, key, epoch, .. } if **of == *id => {
            wire::request(&story.core, *key, *epoch, call).body
        }
        _ => None,
    });
    serde_json::from_str(&outcome.unwrap_or_else(|| panic!("no outcome of {id} in {}", story.list()))).expect("JSON")
}

#[test]
fn an_outcome_says_whose_it_is_and_what_came_of_it() {
    let mut labelled = config();
    labelled.identity.policy_name = Some("night".into());
    labelled.identity.spawn_request_id = Some("s-7".into());
    let mut story = Story::up_with(labelled);
    let params = Params {
        content: Some(BodyRef::of("remember this")),
        memory_ids: vec!["m1".into(), "m2".into()],
        reason: Some("asked".into()),
        ..Params::default()
    };
    story.command_with("c1", "agent.injectContext", params);
    story.accepts(",inject,c1)");
    let expected = json!({
        "action": "agent.injectContext", "agentId": "a1", "runnerId": "r1", "policyName": "night",
        "spawnRequestId": "s-7", "reason": "asked",
        "providerResult": {"memoryIds": ["m1", "m2"], "injectedMemoryCount": 2},
    });
    let report = reported(&story, "c1");
    assert_eq!((&report["status"], &report["result"]), (&json!("succeeded"), &expected));

    story.command("c2", "agent.injectContext");
    let report = reported(&story, "c2");
    assert_eq!((&report["status"], &report["error"]), (&json!("failed"), &json!("content required")));
}

#[test]
fn a_command_is_ours_by_agent_by_runner_or_without_a_target() {
    let mut story = Story::up();
    for (id, target) in [("c1", Some("a1")), ("c2", Some("r1")), ("c3", None), ("c4", Some("a2"))] {
        let (name, target) = ("agent.dance".into(), target.map(Into::into));
        let order = CommandOrder { id: id.into(), name, target, params: Params::default() };
        story.frame(BusFrame::Command { frame: format!("f-{id}").into(), command: Box::new(order) });
        // It has arrived in any case.
        assert_eq!(story.times(&format!("ack,f-{id})")), 1);
    }
    for ours in ["c1", "c2", "c3"] {
        story.expects(&format!("command,{ours},failed"));
    }
    story.never("command,c4");
}

#[test]
fn one_operation_is_asked_of_the_provider_at_a_time() {
    let mut story = Story::up();
    story.command("c1", "agent.compact");
    story.command("c2", "agent.clearContext");
    let compact = story.expects(",compact)");
    story.expects_no(",clear)");
    story.answers(compact, OpResult::Ok);
    story.expects(",clear)");
}

#[test]
fn nothing_but_white_space_is_no_content() {
    let mut story = Story::up();
    let blank = Params { content: Some(BodyRef::of(" \n\t")), ..Params::default() };
    story.command_with("c1", "agent.injectContext", blank);
    story.expects("command,c1,failed,content%20;required");
}

#[test]
fn a_command_that_changes_nothing_of_what_is_shown_publishes_nothing() {
    let mut story = Story::up();
    let then = story.told.len();
    story.command("c1", "agent.compact");
    let compact = story.expects(",compact)");
    story.answers(compact, OpResult::Ok);
    story.expects("command,c1,succeeded");
    assert_eq!(story.told_since(then, ",status,"), [""; 0]);
}

#[test]
fn what_is_asked_of_the_provider_waits_for_the_first_process_and_for_no_other() {
    // The first process has yet to come up.
    let mut story = Story::with(config(), crate::story::facts());
    story.boot();
    story.registers();
    story.command("c1", "agent.compact");
    story.never("command,c1,failed");
    story.provider_comes_up();
    story.expects(",compact)");
    // A later one is being started.
    story.exits(ExitClass::Crash);
    story.command("c2", "agent.compact");
    story.expects("command,c2,failed,provider%20;is%20;restarting");
    story.waits_for("spawn(");
    story.command("c3", "agent.compact");
    story.expects("command,c3,failed,provider%20;is%20;restarting");
    // The first one died before it was up, and another is waited for.
    let mut story = Story::with(config(), crate::story::facts());
    story.boot();
    story.registers();
    story.spawns();
    story.exits(ExitClass::Crash);
    story.command("c4", "agent.compact");
    story.expects("command,c4,failed,provider%20;is%20;restarting");
}

#[test]
fn what_the_provider_refuses_says_nothing_of_the_token() {
    let mut story = Story::up();
    story.command("c1", "agent.compact");
    let compact = story.expects(",compact)");
    story.fails(compact, FailureKind::Unauthorized);
    assert_eq!(story.core.view().credential.standing, "good");
}
