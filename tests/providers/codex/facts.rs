//! What codex does by itself, as far as the adapter relies on it: a newer one that does otherwise is found here first.
//! The figures are in `docs/codex-provider.md`.

use super::app_server::{AppServer, configuration};
use crate::installed::Installed;
use crate::model::{Model, Phase};
use serde_json::{Value, json};
use std::net::TcpListener;

/// The only one of this method among what was said.
#[track_caller]
fn one<'a>(said: &'a [Value], method: &str) -> &'a Value {
    let all: Vec<_> = said.iter().filter(|said| said["method"] == method).collect();
    let [one] = all[..] else { panic!("one {method}: {all:#?}") };
    &one["params"]
}

/// What one says of a command that it ran.
#[track_caller]
fn command(said: &[Value]) -> &Value {
    let ends = said.iter().filter(|said| said["method"] == "item/completed").map(|said| &said["params"]["item"]);
    ends.into_iter().find(|item| item["type"] == "commandExecution").unwrap_or_else(|| panic!("a command: {said:#?}"))
}

pub(super) fn a_turn_works_and_the_client_id_of_its_message_comes_back(codex: &Installed) {
    let model = Model::start();
    let mut server = AppServer::start(&codex.program, &model, 0);
    let said = server.turn("SAY well\nsaid");
    assert_eq!(one(&said, "turn/completed")["turn"]["status"], "completed", "{said:#?}");
    let begun: Vec<&Value> = said.iter().filter(|said| said["method"] == "item/started").collect();
    let item = &begun[0]["params"]["item"];
    assert_eq!((&item["type"], &item["clientId"]), (&json!("userMessage"), &json!("SAY well\nsaid")));
    assert_eq!(begun.len(), 2, "{begun:#?}");
    assert_eq!(one(&said, "thread/tokenUsage/updated")["tokenUsage"]["last"]["totalTokens"], 120);
    assert_eq!(model.asked().len(), 1);
    assert_eq!(model.asked()[0].path, "/v1/responses");
    assert!(model.asked()[0].headers.contains(&("authorization".to_owned(), "Bearer a key".to_owned())));
}

pub(super) fn a_command_runs_and_its_output_reaches_the_model(codex: &Installed) {
    let model = Model::start();
    let mut server = AppServer::start(&codex.program, &model, 0);
    let said = server.turn("RUN echo $((6 * 7))");
    let ran = command(&said);
    assert_eq!((&ran["status"], &ran["aggregatedOutput"]), (&json!("completed"), &json!("42\n")));
    let [_, second] = &model.asked()[..] else { panic!("{:#?}", model.asked()) };
    let output = second.body["input"].as_array().unwrap().last().unwrap();
    assert!(output["type"] == "function_call_output" && output["output"].to_string().contains("42"), "{output}");
}

/// The question's answer; whether the command ran, and how the turn ended.
fn asked(codex: &Installed, decision: &str) -> (Value, Value) {
    let model = Model::start();
    let mut server = AppServer::start(&codex.program, &model, 0);
    server.begin("ASK echo done");
    let question = server.until("item/commandExecution/requestApproval");
    let waits = |said: &Value| said["params"]["status"]["activeFlags"] == json!(["waitingOnApproval"]);
    assert!(server.heard.iter().any(waits), "{:#?}", server.heard);
    server.answer(&question, &json!({"decision": decision}));
    server.until("turn/completed");
    let said = &server.heard;
    assert_eq!(one(said, "serverRequest/resolved")["requestId"], question["id"]);
    (command(said)["status"].clone(), one(said, "turn/completed")["turn"]["status"].clone())
}

pub(super) fn a_command_that_asks_waits_for_its_answer(codex: &Installed) {
    assert_eq!(asked(codex, "accept"), (json!("completed"), json!("completed")));
    assert_eq!(asked(codex, "decline"), (json!("declined"), json!("completed")));
    assert_eq!(asked(codex, "cancel"), (json!("declined"), json!("interrupted")));
}

pub(super) fn a_turn_is_held_released_and_interrupted(codex: &Installed) {
    let model = Model::start();
    let mut server = AppServer::start(&codex.program, &model, 0);
    server.begin("HOLD one");
    model.holds("HOLD one");
    server.until("item/agentMessage/delta");
    model.release("one");
    assert_eq!(server.until("turn/completed")["params"]["turn"]["status"], "completed");

    server.heard.clear();
    let turn = server.begin("HOLD two");
    model.holds("HOLD two");
    let thread = server.thread.clone();
    server.call("turn/interrupt", &json!({"threadId": thread, "turnId": turn})).unwrap();
    assert_eq!(server.until("turn/completed")["params"]["turn"]["status"], "interrupted");
    model.until("its client is gone", |asked| {
        asked.iter().any(|asked| asked.prompt() == "HOLD two" && asked.phase == Phase::Gone).then_some(())
    });
}

/// The prompt, the class of the failure, and words that are in what codex says of it.
fn classes() -> Vec<(&'static str, Value, &'static str)> {
    let http = |status: u16| json!({"httpConnectionFailed": {"httpStatusCode": status}});
    let tries = |status: u16| json!({"responseTooManyFailedAttempts": {"httpStatusCode": status}});
    vec![
        ("FAIL 400", json!("other"), "told to fail"),
        ("FAIL 401", http(401), "unexpected status 401 Unauthorized"),
        ("FAIL 403", http(403), "unexpected status 403 Forbidden"),
        ("FAIL 404", http(404), "unexpected status 404 Not Found"),
        ("FAIL 429", tries(429), "exceeded retry limit, last status: 429"),
        ("FAIL 429 rate_limit_exceeded 1", tries(429), "exceeded retry limit, last status: 429"),
        ("FAIL 429 usage_limit_reached 60", json!("usageLimitExceeded"), "usage limit"),
        ("FAIL 500", json!("internalServerError"), "high demand"),
        ("FAIL 503", http(503), "unexpected status 503"),
        ("FAIL 400 context_length_exceeded", json!("contextWindowExceeded"), "ran out of room"),
        ("FAIL 200 context_length_exceeded", json!("contextWindowExceeded"), "ran out of room"),
        ("FAIL 200 rate_limit_exceeded", json!("rateLimitExceeded"), "Please try again in 1s"),
        ("FAIL 200 server_error", json!("other"), "stream disconnected before completion"),
        ("BREAK", json!("other"), "stream disconnected before completion"),
    ]
}

pub(super) fn a_failed_turn_names_its_class(codex: &Installed) {
    let model = Model::start();
    let mut server = AppServer::start(&codex.program, &model, 0);
    for (prompt, class, words) in classes() {
        let said = server.turn(prompt);
        let error = one(&said, "error");
        assert_eq!((&error["willRetry"], &error["error"]["codexErrorInfo"]), (&json!(false), &class), "{prompt}");
        let turn = &one(&said, "turn/completed")["turn"];
        assert_eq!((&turn["status"], &turn["error"]), (&json!("failed"), &error["error"]), "{prompt}");
        assert!(error["error"]["message"].as_str().unwrap().contains(words), "{prompt}: {error}");
        if prompt.contains("usage_limit_reached") {
            let limit = &one(&said, "account/rateLimits/updated")["rateLimits"]["primary"];
            assert!(limit["usedPercent"] == 100 && limit["resetsAt"].is_u64(), "{limit}");
        }
    }
    assert_eq!(one(&server.turn("SAY well"), "turn/completed")["turn"]["status"], "completed");
}

pub(super) fn what_is_tried_again_says_so(codex: &Installed) {
    let model = Model::start();
    let mut server = AppServer::start(&codex.program, &model, 1);
    let said = server.turn("FAIL 401");
    let errors: Vec<_> = said.iter().filter(|said| said["method"] == "error").map(|said| &said["params"]).collect();
    let [again, last] = errors[..] else { panic!("{errors:#?}") };
    assert_eq!((&again["willRetry"], &last["willRetry"]), (&json!(true), &json!(false)));
    assert_eq!(again["error"]["codexErrorInfo"], json!({"responseStreamDisconnected": {"httpStatusCode": 401}}));
    assert_eq!(model.asked().len(), 2);
}

pub(super) fn what_is_steered_during_a_question_is_lost_by_an_interrupt(codex: &Installed) {
    let model = Model::start();
    let mut server = AppServer::start(&codex.program, &model, 0);
    let turn = server.begin("ASK echo done");
    server.until("item/commandExecution/requestApproval");
    let (thread, input) = (server.thread.clone(), json!([{"type": "text", "text": "SAY steered"}]));
    let steer = json!({"threadId": thread, "expectedTurnId": turn, "input": input, "clientUserMessageId": "steered"});
    server.call("turn/steer", &steer).unwrap();
    server.call("turn/interrupt", &json!({"threadId": thread, "turnId": turn})).unwrap();
    assert_eq!(server.until("turn/completed")["params"]["turn"]["status"], "interrupted");
    let taken = |said: &Value| said["method"] == "item/started" && said["params"]["item"]["clientId"] == "steered";
    assert!(!server.heard.iter().any(taken), "{:#?}", server.heard);
    server.turn("SAY next");
    assert_eq!(model.asked().last().unwrap().says("SAY steered"), 0);
}

pub(super) fn compaction_is_a_turn_with_an_item_of_its_own(codex: &Installed) {
    let model = Model::start();
    let mut server = AppServer::start(&codex.program, &model, 0);
    server.turn("SAY one");
    let thread = server.thread.clone();
    server.call("thread/compact/start", &json!({"threadId": thread})).unwrap();
    server.until("turn/completed");
    let compactions = |method: &str| {
        let of_it = |said: &&Value| said["method"] == method && said["params"]["item"]["type"] == "contextCompaction";
        server.heard.iter().filter(of_it).count()
    };
    assert_eq!((compactions("item/started"), compactions("item/completed")), (1, 1), "{:#?}", server.heard);
}

/// Whatever the numbers of tries are: it is no failed try.
pub(super) fn who_does_not_listen_is_waited_for(codex: &Installed) {
    // Who listens at this port later is the model.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = AppServer::with(&codex.program, &configuration(&format!("http://127.0.0.1:{port}"), 0));
    server.begin("SAY hello");
    let error = &server.until("error")["params"];
    assert_eq!(error["willRetry"], true);
    assert_eq!(error["error"]["message"], "Reconnecting... waiting for network");
    assert_eq!(error["error"]["codexErrorInfo"], json!({"responseStreamDisconnected": {"httpStatusCode": null}}));
    let model = Model::at(port);
    assert_eq!(server.until("turn/completed")["params"]["turn"]["status"], "completed");

    drop(model);
    server.heard.clear();
    let turn = server.begin("SAY hello again");
    server.until("error");
    let thread = server.thread.clone();
    server.call("turn/interrupt", &json!({"threadId": thread, "turnId": turn})).unwrap();
    assert_eq!(server.until("turn/completed")["params"]["turn"]["status"], "interrupted");
}
