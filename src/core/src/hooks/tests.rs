use super::*;
use crate::ids::Nonce;
use serde_json::json;

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("an object") };
    map
}

fn report(hook: &str, payload: Value) -> HookReport {
    let Some(Posted::Report(report)) = read(hook, &object(payload)) else { panic!("{hook} is a report") };
    *report
}

#[test]
fn each_hook_says_what_the_contract_says() {
    let turns = report("UserPromptSubmit", json!({"prompt": "[relay message 7 00000z] from alice", "prompt_id": "p1"}));
    assert_eq!(turns.taken, [TakenOffer { message: 7, nonce: Nonce::parse("00000z") }]);
    let busy = turns.report.unwrap();
    assert_eq!((busy.status, busy.id.as_deref()), (ReportStatus::Busy, Some("p1")));

    let begins = report("SessionStart", json!({"source": "resume", "providerSessionId": "s1", "pid": 12}));
    assert_eq!((begins.session.as_deref(), &*begins.pids), (Some("s1"), &[12][..]));
    let several = report("Stop", json!({"pids": [12, "x", 14]}));
    assert_eq!(several.pids, [12, 14]);
    assert!(begins.report.as_ref().unwrap().begins_a_session());
    assert_eq!(begins.report.unwrap().timeline.unwrap().status.as_ref(), "session-resume");

    let stop =
        json!({"stop_hook_active": true, "last_assistant_message": "done", "background_tasks": [{"id": "b1"}, "b2"]});
    let stop = report("Stop", stop);
    assert_eq!(stop.held_before, Some(true));
    let idle = stop.report.unwrap();
    assert_eq!((idle.status, &idle.end), (ReportStatus::Idle, &TurnEnd::Normal));
    assert_eq!(idle.still_running.iter().map(|id| &**id).collect::<Vec<_>>(), ["b1", "b2"]);
    assert!(idle.metadata.unwrap().starts_with("{\"lastMessage\":\""), "a digest, not the words");

    let failed = report("StopFailure", json!({"error": "overloaded"})).report.unwrap();
    assert_eq!(failed.end, TurnEnd::Failed { error: "overloaded".into() });
    assert_eq!(failed.timeline.unwrap().status.as_ref(), "turn-failed");

    for (hook, status) in [("SubagentStart", ReportStatus::Busy), ("SubagentStop", ReportStatus::Idle)] {
        let subagent = report(hook, json!({"agent_id": "a1", "agent_type": "explorer"})).report.unwrap();
        assert_eq!((subagent.status, subagent.reason.as_deref()), (status, Some("subagent")));
        assert_eq!((subagent.id.as_deref(), subagent.label.as_deref()), (Some("a1"), Some("explorer")));
    }
    for (hook, status, entry) in
        [("PreCompact", ReportStatus::Busy, "compacting"), ("PostCompact", ReportStatus::Idle, "compacted")]
    {
        let compaction = report(hook, json!({})).report.unwrap();
        assert_eq!((compaction.status, compaction.reason.as_deref()), (status, Some("compaction")));
        assert_eq!(compaction.timeline.unwrap().status.as_ref(), entry);
    }
    let end = report("SessionEnd", json!({"reason": "clear"})).report.unwrap();
    assert_eq!(end.status, ReportStatus::Offline);
    assert!(!end.begins_a_session() || end.status != ReportStatus::Idle);
    for hook in ["PreToolUse", "Notification"] {
        assert_eq!(report(hook, json!({})), HookReport::default(), "{hook}: no more than a sign of life");
    }
    assert!(read("Dance", &Map::new()).is_none());
    for hook in HOOKS.into_iter().chain([SESSION_END]) {
        assert!(read(hook, &Map::new()).is_some(), "{hook}");
    }
}

#[test]
fn the_end_of_a_tool_closes_the_request_that_was_made_for_it() {
    let tool = json!({"tool_name": "Bash", "tool_input": {"command": "rm x", "description": "d"}});
    let Some(Posted::Permission { ask, input }) = read("PermissionRequest", &object(tool.clone())) else {
        panic!("a request")
    };
    assert_eq!(ask.approval.tool.as_deref(), Some("Bash"));
    assert_eq!(input.as_deref(), Some(r#"{"command":"rm x","description":"d"}"#));
    for hook in ["PostToolUse", "PostToolUseFailure", "PermissionDenied"] {
        assert_eq!(report(hook, tool.clone()).answered, Some(ask.approval.id.clone()), "{hook}");
        assert_ne!(
            report(hook, json!({"tool_name": "Bash", "tool_input": {}})).answered,
            Some(ask.approval.id.clone())
        );
    }
}

#[test]
fn a_hook_that_was_made_slim_says_the_same() {
    let words = "x".repeat(100_000);
    let prompt = format!("{words} [relay message 7 00000z] from alice\n{words}");
    let payloads = [
        ("UserPromptSubmit", json!({"prompt": prompt, "prompt_id": "p1", "cwd": words})),
        ("PostToolUse", json!({"tool_name": "Bash", "tool_input": {"command": words}, "tool_response": words})),
        ("PermissionRequest", json!({"tool_name": "Bash", "tool_input": {"command": words}, "pid": 7})),
        ("SubagentStop", json!({"agent_id": "a1", "agent_type": "explorer", "last_assistant_message": words})),
        ("Stop", json!({"stop_hook_active": false, "background_tasks": ["b1"], "prompt_id": "p1"})),
        (
            "Stop",
            json!({"last_assistant_message": "\u{1}".repeat(50_000), "background_tasks": [{"id": "b1", "log": words}]}),
        ),
        ("StopFailure", json!({"error": words})),
        ("SessionEnd", json!({"reason": words, "pids": [1, "x", 2]})),
    ];
    for (hook, payload) in payloads {
        let whole = object(payload);
        let slim = slim(&whole, 1_000);
        assert!(Value::Object(slim.clone()).to_string().len() < 4_000, "{hook}");
        match (read(hook, &whole).unwrap(), read(hook, &slim).unwrap()) {
            (Posted::Report(whole), Posted::Report(slim)) => assert_eq!(whole, slim, "{hook}"),
            (Posted::Permission { ask: whole, .. }, Posted::Permission { ask: slim, input }) => {
                assert_eq!(whole, slim, "{hook}");
                assert!(input.unwrap().len() < 1_100);
            }
            other => panic!("{hook}: {other:?}"),
        }
    }
}

#[test]
fn what_is_of_the_wrong_type_counts_as_absent() {
    let odd = json!({"prompt": 7, "prompt_id": {}, "pid": -1, "providerSessionId": [], "tool_name": 1, "tool_input": "x",
        "stop_hook_active": "yes", "background_tasks": 3, "agent_id": "", "error": null, "source": true, "reason": 1});
    for hook in HOOKS.into_iter().chain([SESSION_END]) {
        let Some(Posted::Report(report)) = read(hook, &object(odd.clone())) else { continue };
        assert_eq!((report.session, report.pids.len(), report.taken.len()), (None, 0, 0), "{hook}");
    }
}
