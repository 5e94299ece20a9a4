//! What Claude Code does by itself in print mode, as far as an adapter relies on it: a newer one that does otherwise is
//! found here first. The figures are in `docs/claude-provider.md`.

use super::print::{Print, SESSION, Start, uuid};
use crate::installed::Installed;
use crate::model::Model;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;

/// The only one of this type, or of this subtype of what the system says.
#[track_caller]
fn one<'a>(said: &'a [Value], kind: &str) -> &'a Value {
    let of_it = |said: &&Value| said["type"] == kind || (said["type"] == "system" && said["subtype"] == kind);
    let all: Vec<_> = said.iter().filter(of_it).collect();
    let [one] = all[..] else { panic!("one {kind}: {said:#?}") };
    one
}

fn has(said: &[Value], kind: &str) -> bool {
    said.iter().any(|said| said["type"] == kind || said["subtype"] == kind)
}

pub(super) fn a_turn_begins_with_the_receipt_of_our_message_and_ends_with_it(claude: &Installed) {
    let model = Model::start();
    let mut print = Print::start(&claude.program, &model);
    let id = print.send("SAY well");
    print.is(&id, "completed");
    assert_eq!(print.told(0), ["1 queued", "1 started", "completed", "1 completed"]);
    let (init, result) = (one(&print.heard, "init"), one(&print.heard, "result"));
    assert_eq!((&init["session_id"], &init["permissionMode"]), (&json!(SESSION), &json!("default")));
    assert_eq!(init["user_message_uuids"], json!([id]));
    let replayed = one(&print.heard, "user");
    assert_eq!((&replayed["uuid"], &replayed["isReplay"]), (&json!(id), &json!(true)));
    assert_eq!((&result["subtype"], &result["is_error"]), (&json!("success"), &json!(false)));
    assert_eq!((&result["result"], &result["user_message_uuids"]), (&json!("well"), &json!([id])));

    // The same id again is no second message, and nothing but the replay says so.
    let since = print.now();
    print.send_as(&id, "SAY well");
    print.until(since, "the replay", |said| (said["uuid"] == id && said["isReplay"] == true).then_some(()));
    print.turn("SAY more");
    assert_eq!(print.told(since), ["2 queued", "2 started", "completed"]);
    assert_eq!(model.asked().last().unwrap().says("SAY well"), 1);
    assert_eq!(print.ends().code(), Some(0));
}

pub(super) fn initialize_tells_who_it_is_before_any_message(claude: &Installed) {
    let model = Model::start();
    let mut print = Start::new(&claude.program, &model).spawn();
    let about = print.call(&json!({"subtype": "initialize"})).unwrap();
    assert_eq!(about["account"]["apiKeySource"], "ANTHROPIC_API_KEY");
    assert!(about["pid"].is_u64() && about["claude_code_version"].is_string() && about["models"].is_array(), "{about}");
    let commands: Vec<_> = about["commands"].as_array().unwrap().iter().filter_map(|c| c["name"].as_str()).collect();
    assert!(commands.contains(&"compact") && commands.contains(&"clear"), "{commands:?}");
    assert!(model.asked().is_empty());
    let unknown = print.call(&json!({"subtype": "nothing"})).unwrap_err();
    assert_eq!(unknown["error_code"], "unsupported_request");
    let context = print.call(&json!({"subtype": "get_context_usage"})).unwrap();
    assert!(context["totalTokens"].is_u64() && context["maxTokens"].is_u64(), "{context}");
}

pub(super) fn a_message_while_it_speaks_is_a_turn_of_its_own(claude: &Installed) {
    let model = Model::start();
    let mut print = Print::start(&claude.program, &model);
    print.send("HOLD one");
    model.holds("HOLD one");
    let second = print.send("SAY two");
    print.is(&second, "queued");
    model.release("one");
    print.is(&second, "completed");
    let first = ["1 queued", "1 started", "2 queued", "completed", "1 completed"];
    assert_eq!(print.told(0), [&first[..], &["2 started", "completed", "2 completed"]].concat());
}

pub(super) fn a_message_while_it_asks_joins_its_turn(claude: &Installed) {
    for answer in [json!({"behavior": "allow"}), json!({"behavior": "deny", "message": "not today"})] {
        let model = Model::start();
        let mut print = Print::start(&claude.program, &model);
        let first = print.send("RUN touch here");
        let request = print.asks(0);
        let second = print.send("SAY two");
        print.is(&second, "queued");
        print.answer(&request, &answer);
        print.is(&first, "completed");
        let both = ["1 queued", "1 started", "2 queued", "2 started", "2 completed", "completed", "1 completed"];
        assert_eq!(print.told(0), both, "{answer}");
        let result = one(&print.heard, "result");
        assert_eq!((&result["result"], &result["user_message_uuids"]), (&json!("two"), &json!([first, second])));
        assert_eq!(print.made("here"), answer["behavior"] == "allow");
        assert_eq!(result["permission_denials"].as_array().unwrap().is_empty(), print.made("here"));
        let told = model.asked().last().unwrap().body.to_string();
        assert!(told.contains("The user sent a new message while you were working"), "{told}");
        assert_eq!(told.contains("not today"), !print.made("here"));
    }
}

pub(super) fn a_request_names_the_call_and_what_would_allow_more(claude: &Installed) {
    let model = Model::start();
    let mut print = Print::start(&claude.program, &model);
    print.send("RUN touch one\nRUN touch two");
    let asked = print.asks(0);
    let request = &asked["request"];
    assert_eq!((&request["subtype"], &request["tool_name"]), (&json!("can_use_tool"), &json!("Bash")));
    assert_eq!(request["input"]["command"], "touch one");
    assert!(request["tool_use_id"].is_string(), "{request}");
    let suggested = request["permission_suggestions"].as_array().unwrap();
    let where_to: Vec<_> = suggested.iter().map(|one| (&one["type"], &one["destination"])).collect();
    // What is returned as it is writes a file into the project.
    assert!(where_to.contains(&(&json!("addRules"), &json!("localSettings"))), "{request}");
    let rule = json!({"type": "addRules", "behavior": "allow", "destination": "session",
        "rules": [{"toolName": "Bash", "ruleContent": "touch *"}]});
    // Without it the second command would be asked for, and the turn would not end.
    print.answer(&asked, &json!({"behavior": "allow", "updatedPermissions": [rule]}));
    print.result(0);
    assert!(print.made("one") && print.made("two") && !print.made(".claude"), "{:#?}", print.heard);
}

pub(super) fn an_interrupt_cancels_its_turn_and_keeps_what_waits(claude: &Installed) {
    let model = Model::start();
    let mut print = Print::start(&claude.program, &model);
    for (prompt, reason) in [("HOLD on", "aborted_streaming"), ("RUN touch here", "aborted_tools")] {
        let since = print.now();
        let first = print.send(prompt);
        let asked = if reason == "aborted_tools" { Some(print.asks(since)) } else { None };
        if asked.is_none() {
            model.holds(prompt);
        }
        let second = print.send("SAY next");
        print.is(&second, "queued");
        let answer = print.call(&json!({"subtype": "interrupt"})).unwrap();
        assert_eq!(answer["still_queued"], json!([second]));
        print.is(&second, "completed");
        let result = print.result(since);
        assert_eq!((&result["subtype"], &result["is_error"]), (&json!("error_during_execution"), &json!(true)));
        let number = |id: &str| id.trim_start_matches(&uuid(0)[..24]).trim_start_matches('0').to_owned();
        let (first, second) = (number(&first), number(&second));
        let told = [
            format!("{first} queued"),
            format!("{first} started"),
            format!("{second} queued"),
            reason.to_owned(),
            format!("{first} cancelled"),
            format!("{second} started"),
            "completed".to_owned(),
            format!("{second} completed"),
        ];
        assert_eq!(print.told(since), told);
        let withdrawn = print.heard[since..].iter().find(|said| said["type"] == "control_cancel_request");
        assert_eq!(withdrawn.map(|said| &said["request_id"]), asked.as_ref().map(|asked| &asked["request_id"]));
    }
    assert!(!print.made("here"));
    let idle = print.call(&json!({"subtype": "interrupt"})).unwrap();
    assert_eq!(idle["still_queued"], json!([]));
    assert_eq!(print.ends().code(), Some(0));
}

/// The prompt, and the class, the status and the reason that it gives.
const CLASSES: [(&str, &str, u16, &str); 9] = [
    ("FAIL 400", "unknown", 400, "api_error"),
    ("FAIL 401", "authentication_failed", 401, "api_error"),
    ("FAIL 403", "authentication_failed", 403, "api_error"),
    ("FAIL 404", "model_not_found", 404, "api_error"),
    ("FAIL 429", "rate_limit", 429, "api_error"),
    // A usage limit is one only to who is logged in with a plan.
    ("FAIL 429 usage_limit_reached 60", "rate_limit", 429, "api_error"),
    ("FAIL 500", "server_error", 500, "api_error"),
    ("FAIL 503", "server_error", 503, "api_error"),
    ("FAIL 529", "server_error", 529, "api_error"),
];

pub(super) fn a_failed_turn_names_its_class_and_the_session_lives(claude: &Installed) {
    let model = Model::start();
    let mut print = Print::start(&claude.program, &model);
    for (prompt, class, status, reason) in CLASSES {
        let since = print.now();
        let id = print.send(prompt);
        print.is(&id, "cancelled");
        let result = print.result(since);
        assert_eq!((&result["subtype"], &result["is_error"]), (&json!("success"), &json!(true)), "{prompt}");
        assert_eq!(result["api_error_status"], status, "{prompt}");
        assert_eq!(result["terminal_reason"], reason, "{prompt}");
        let said = one(&print.heard[since..], "assistant");
        assert_eq!((&said["error"], &said["api_error_status"]), (&json!(class), &json!(status)), "{prompt}");
        assert_eq!(said["is_api_error_message"], true);
        assert!(!has(&print.heard[since..], "rate_limit_event"), "{prompt}");
    }
    assert_eq!(print.turn("SAY well").1["is_error"], false);
    assert_eq!(print.ends().code(), Some(0));
    // How the last turn went is its exit code.
    let mut print = Print::start(&claude.program, &model);
    print.turn("FAIL 400");
    assert_eq!(print.ends().code(), Some(1));
}

pub(super) fn a_usage_limit_of_a_plan_says_when_it_ends(claude: &Installed) {
    let model = Model::start();
    let mut start = Start::new(&claude.program, &model);
    start.login = ["CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-a-token"];
    let mut print = start.print();
    let (said, result) = print.turn("FAIL 429 usage_limit_reached 60");
    let limit = &one(&said, "rate_limit_event")["rate_limit_info"];
    assert_eq!((&limit["status"], &limit["rateLimitType"]), (&json!("rejected"), &json!("five_hour")));
    assert!(limit["resetsAt"].is_u64(), "{limit}");
    let failed = one(&said, "assistant");
    assert_eq!((&failed["error"], &failed["api_error"]), (&json!("rate_limit"), &json!("usage_limit_reached")));
    assert_eq!((&result["is_error"], &result["api_error_status"]), (&json!(true), &json!(429)));
    assert_eq!(model.asked().len(), 1);
}

pub(super) fn what_is_tried_again_says_so(claude: &Installed) {
    let model = Model::start();
    let mut start = Start::new(&claude.program, &model);
    start.tries = 1;
    let mut print = start.print();
    for (prompt, class, status) in [("FAIL 529", "overloaded", 529), ("FAIL 429", "rate_limit", 429)] {
        let asked = model.asked().len();
        let (said, result) = print.turn(prompt);
        let again = one(&said, "api_retry");
        assert_eq!((&again["error"], &again["error_status"]), (&json!(class), &json!(status)));
        assert_eq!((&again["attempt"], &again["max_retries"]), (&json!(1), &json!(1)));
        assert!(again["retry_delay_ms"].is_u64() && result["is_error"] == true, "{again}");
        assert_eq!(model.asked().len(), asked + 2, "{prompt}");
    }
}

pub(super) fn a_connection_that_breaks_fails_the_turn(claude: &Installed) {
    let model = Model::start();
    let mut print = Print::start(&claude.program, &model);
    let (_, result) = print.turn("BREAK");
    assert_eq!((&result["is_error"], &result["api_error"]), (&json!(true), &json!("connection_failed")), "{result}");
    assert_eq!(print.turn("SAY well").1["is_error"], false);
}

pub(super) fn who_does_not_listen_fails_the_turn(claude: &Installed) {
    let url = Model::start().url();
    let model = Model::start();
    let mut print = Start { url, ..Start::new(&claude.program, &model) }.print();
    let (said, result) = print.turn("SAY well");
    let failed = one(&said, "assistant");
    assert_eq!((&failed["error"], &failed["api_error"]), (&json!("server_error"), &json!("connection_failed")));
    assert_eq!((&result["is_error"], &result["api_error_status"]), (&json!(true), &Value::Null));
}

pub(super) fn compaction_and_a_cleared_context_are_turns_without_a_reason(claude: &Installed) {
    let model = Model::start();
    let mut print = Print::start(&claude.program, &model);
    print.turn("SAY one");
    let (said, result) = print.turn("/compact");
    let boundary = &one(&said, "compact_boundary")["compact_metadata"];
    assert_eq!(boundary["trigger"], "manual");
    assert!(boundary["pre_tokens"].is_u64() && boundary["post_tokens"].is_u64(), "{boundary}");
    let states: Vec<_> = said.iter().filter(|said| said["subtype"] == "status").map(|said| &said["status"]).collect();
    assert_eq!(states, [&json!("compacting"), &Value::Null]);
    assert_eq!((&result["is_error"], result.get("terminal_reason")), (&json!(false), None));
    assert_eq!(result["session_id"], SESSION);

    let (said, result) = print.turn("/clear");
    assert!(has(&said, "conversation_reset"), "{said:#?}");
    let session = result["session_id"].as_str().unwrap().to_owned();
    // Another session: the one that is to be resumed from now on.
    assert_ne!(session, SESSION);
    assert_eq!(print.turn("SAY two").1["session_id"], session);
    assert_eq!(model.asked().last().unwrap().says("SAY one"), 0);
}

pub(super) fn a_subagent_has_a_task_and_a_turn_follows_its_end(claude: &Installed) {
    let model = Model::start();
    let mut print = Print::start(&claude.program, &model);
    let task = json!({"description": "a part", "prompt": "RUN touch part", "subagent_type": "general-purpose"});
    print.send(&format!("USE Task {task}"));
    let asked = print.asks(0);
    let started = one(&print.heard, "task_started").clone();
    assert_eq!(asked["request"]["agent_id"], started["task_id"]);
    print.answer(&asked, &json!({"behavior": "allow"}));
    let ended =
        print.until(0, "the end of the task", |said| (said["subtype"] == "task_notification").then(|| said.clone()));
    assert_eq!((&ended["task_id"], &ended["status"]), (&started["task_id"], &json!("completed")));
    // That turn is nobody's message.
    let after = print.until(0, "the turn that it begins", |said| {
        (said["type"] == "result" && said["origin"]["kind"] == "task-notification").then(|| said.clone())
    });
    assert_eq!(after.get("user_message_uuids"), None);
    assert!(print.made("part"));
}

pub(super) fn who_was_killed_in_its_turn_is_resumed_under_its_id(claude: &Installed) {
    let model = Model::start();
    let mut print = Print::start(&claude.program, &model);
    print.turn("SAY one");
    print.send("HOLD two");
    model.holds("HOLD two");
    let home = print.home();
    assert_eq!(print.signal(Signal::KILL).signal(), Some(9));
    let again = |session| Start { session, home: Some(Arc::clone(&home)), ..Start::new(&claude.program, &model) };
    let mut resumed = again(["--resume", SESSION]).print();
    // The ids of its messages are known to the session: what has one of them is passed over as done.
    let asked = model.asked().len();
    resumed.send_as(&uuid(1), "SAY once more");
    resumed.is(&uuid(1), "completed");
    assert_eq!((resumed.told(0), model.asked().len()), (vec!["1 completed".to_owned()], asked));
    resumed.messages = 2;
    let (said, result) = resumed.turn("SAY three");
    assert_eq!((&one(&said, "init")["session_id"], &result["result"]), (&json!(SESSION), &json!("three")));
    // What it was killed in may be lost: it is written down a moment after it was taken.
    assert_eq!(model.asked().last().unwrap().says("SAY one"), 1);

    // Nothing keeps a second one from the same session.
    let mut second = again(["--resume", SESSION]).print();
    second.messages = 3;
    assert_eq!(second.turn("SAY four").1["session_id"], SESSION);
    assert_eq!(again(["--session-id", SESSION]).spawn().ends().code(), Some(1));
    let mut unknown = again(["--resume", "5a2d3f8e-1b1c-4d6e-9f00-00000000dead"]).spawn();
    let errors = unknown.result(0)["errors"].to_string();
    assert!(errors.contains("No conversation found"), "{errors}");
    assert_eq!(unknown.ends().code(), Some(1));
}

pub(super) fn it_ends_by_its_input_by_a_signal_and_by_what_it_cannot_read(claude: &Installed) {
    let model = Model::start();
    let mut print = Print::start(&claude.program, &model);
    print.send("HOLD one");
    model.holds("HOLD one");
    assert_eq!(print.signal(Signal::TERM).code(), Some(143));

    // The end of its input is no interrupt: its turn goes on, but what asks is refused.
    let mut print = Print::start(&claude.program, &model);
    print.send("RUN touch here");
    print.asks(0);
    assert_eq!(print.ends().code(), Some(0));
    assert!(!print.made("here"));
    print.result(0);

    let mut print = Print::start(&claude.program, &model);
    print.write("this is no JSON");
    assert_eq!(print.ends().code(), Some(1));
}
