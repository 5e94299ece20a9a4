//! The published JSON Schema, held against what a live control server takes and answers.

use super::callers::Called;
use super::calling::Call;
use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// The documents as the program prints them.
struct Documents {
    schemas: Schemas,
    by_name: BTreeMap<String, SchemaIndex>,
}

impl Documents {
    fn of(called: &Called) -> Self {
        let all = called.world.ask(&["schema", "--json"]).json();
        let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
        let mut by_name = BTreeMap::new();
        for (name, document) in all.as_object().unwrap() {
            let alone = called.world.ask(&["schema", name]).json();
            assert_eq!(alone, *document, "{name}");
            let url = document["$id"].as_str().unwrap().to_owned();
            assert_eq!(document["$schema"], "https://json-schema.org/draft/2020-12/schema");
            compiler.add_resource(&url, alone).unwrap();
            let parts = document["$defs"].as_object().into_iter().flatten();
            by_name.extend(parts.map(|(part, _)| (format!("{name}/{part}"), format!("{url}#/$defs/{part}"))));
            by_name.insert(name.clone(), url);
        }
        let by_name = by_name
            .into_iter()
            .map(|(name, url)| {
                let index = compiler.compile(&url, &mut schemas).unwrap_or_else(|e| panic!("{name}: {e}"));
                (name, index)
            })
            .collect();
        Self { schemas, by_name }
    }

    #[track_caller]
    fn fits(&self, name: &str, value: &Value) {
        if let Err(why) = self.schemas.validate(value, self.by_name[name]) {
            panic!("{name}: {why:#}\n{value:#}");
        }
    }

    #[track_caller]
    fn refuses(&self, name: &str, value: &Value) {
        assert!(self.schemas.validate(value, self.by_name[name]).is_err(), "{name} takes {value}");
    }
}

#[test]
fn answers_of_a_live_runner_are_as_the_schema_says() {
    let called = Called::with(&[
        "--tmux-session",
        "work",
        "--tmux-socket",
        "/run/tmux",
        "--approval-timeout",
        "1s",
        "--model",
        "m-1",
    ]);
    let documents = Documents::of(&called);
    let world = &called.world;
    let get = |path: &str| {
        let (status, answer) = called.call(&Call::get(path));
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    };
    world.task("to be worked on");
    world.notes("notes", 1);
    let session = world.notes("sessions", 1)[0].clone();
    let ask = json!({"approvalId": "p1", "providerSessionId": session}).to_string();
    documents.fits("permission", &serde_json::from_str(&ask).unwrap());
    let (status, decided) = called.call(&Call::post("/permission", &ask));
    assert_eq!(status, 200);
    documents.fits("permission-answer", &decided);
    documents.fits("state", &get("/state"));
    documents.fits("state", &world.ask(&["status", "--json"]).json());
    documents.fits("why", &get("/why"));
    documents.fits("why", &world.ask(&["why", "--json"]).json());
    documents.fits("terminal", &get("/terminal"));
    documents.fits("obligations", &get("/obligations"));
    let hook = json!({"hook_event_name": "SessionStart", "source": "startup", "providerSessionId": session});
    let (status, answer) = called.call(&Call::post("/hook/SessionStart", &hook.to_string()));
    assert_eq!(status, 200, "{answer}");
    documents.fits("hook-answer", &answer);
    let info = fs::read_to_string(called.socket().with_file_name("runner.json")).unwrap();
    documents.fits("info", &serde_json::from_str(&info).unwrap());
    world.go();
    let (status, answer) = called.call(&Call::post("/command", r#"{"type":"reconnect","params":{"reason":"r"}}"#));
    assert_eq!(status, 200, "{answer}");
    documents.fits("command-answer", &answer);
    documents.fits("state", &get("/state"));
    for (name, data) in events(&called) {
        documents.fits("event", &data);
        assert_eq!(data.get("note").is_some(), name == "note", "{data}");
    }
    for (call, expected) in [
        (Call::get("/nowhere"), 404),
        (Call::post("/state", "{}"), 405),
        (Call::post("/status", "{"), 400),
        (Call::post("/status", r#"{"status":"idle","providerSessionId":"another"}"#), 409),
        (Call::post("/token", r#"{"token":""}"#), 422),
    ] {
        let (status, answer) = called.call(&call);
        assert_eq!(status, expected, "{call:?}: {answer}");
        documents.fits("error", &answer);
    }
    // It could fail.
    let mut state = get("/state");
    state["ready"] = json!("yes");
    documents.refuses("state", &state);
    documents.refuses("why", &json!({"agentId": "a1"}));
    documents.refuses("terminal", &json!({"kind": "tmux"}));
    called.ends();
}

/// What was told so far: each entry's name and data.
fn events(called: &Called) -> Vec<(String, Value)> {
    let mut stream = UnixStream::connect(called.socket()).unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 0.0\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(super::world::LIMIT)).unwrap();
    let (mut text, mut chunk) = (String::new(), [0; 4_096]);
    // The gap, and all that the ring holds: there are more than these.
    while text.matches("\ndata: ").count() < 20 {
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0, "the stream ended: {text}");
        text.push_str(&String::from_utf8_lossy(&chunk[..read]));
    }
    let blocks = text.split("\n\n").filter(|block| block.contains("\nid: ") || block.contains("event: "));
    let line = |block: &str, name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    // The last one may not be whole.
    let mut entries: Vec<_> =
        blocks.filter_map(|block| Some((line(block, "event: ")?, line(block, "data: ")?))).collect();
    entries.pop();
    entries.into_iter().map(|(name, data)| (name, serde_json::from_str(&data).unwrap())).collect()
}

#[test]
fn bodies_are_taken_as_the_schema_says() {
    let called = Called::new();
    let documents = Documents::of(&called);
    let session = called.world.notes("sessions", 1)[0].clone();
    let report = |mut body: Value| {
        body["providerSessionId"] = json!(session);
        body
    };
    let taken = [
        ("report", "/status", report(json!({"status": "busy"}))),
        ("report", "/status", report(json!({"status": "idle", "clear": ["subagent"], "unknown": 1, "label": null}))),
        (
            "report",
            "/status",
            report(json!({"status": "idle", "timeline": {"status": "x", "timestamp": 7}, "metadata": [1]})),
        ),
        ("command", "/command", json!({"type": "agent.reconnect"})),
        ("command", "/command", json!({"type": "reconnect", "params": null})),
        ("token", "/token", json!({"token": "t1", "record": {"jti": "j", "expiresAt": 4_000_000_000_u64}})),
        ("token", "/token", json!({"token": "t2", "profileId": "p"})),
    ];
    for (name, path, body) in taken {
        documents.fits(name, &body);
        let (status, answer) = called.call(&Call::post(path, &body.to_string()));
        assert_eq!(status, 200, "{path} {body}: {answer}");
        if name == "report" {
            documents.fits("report-answer", &answer);
        }
    }
    let refused = [
        ("report", "/status", json!({})),
        ("report", "/status", json!([])),
        ("report", "/status", json!({"status": "dancing"})),
        ("report", "/status", json!({"status": "busy", "pid": "seven"})),
        ("report", "/status", json!({"status": "busy", "pid": -1})),
        ("report", "/status", json!({"status": "busy", "clear": "compaction"})),
        ("report", "/status", json!({"status": "busy", "timeline": {}})),
        ("command", "/command", json!({"type": "dance"})),
        ("command", "/command", json!({"params": {}})),
        ("command", "/command", json!({"type": "restart", "params": []})),
        ("permission", "/permission", json!({"tool": "rm"})),
        ("permission", "/permission", json!({"approvalId": ""})),
        ("permission", "/permission", json!({"approvalId": 7})),
        ("token", "/token", json!({"token": ""})),
        ("token", "/token", json!({"token": 7})),
        ("token", "/token", json!({"token": "t", "record": {"expiresAt": "soon"}})),
    ];
    for (name, path, body) in refused {
        documents.refuses(name, &body);
        let (status, answer) = called.call(&Call::post(path, &body.to_string()));
        assert_eq!(status, 422, "{path} {body}: {answer}");
        documents.fits("error", &answer);
    }
    called.ends();
}

#[test]
fn the_agents_verbs_take_and_answer_what_the_schema_says() {
    let called = Called::new();
    let documents = Documents::of(&called);
    let world = &called.world;
    let from = json!({"from": "operator", "to": "a1", "body": "how far is it?", "replyExpected": true});
    let (_, question) = world.call("POST", "/messages", &from.to_string());
    let question = &question["id"];
    let text = world.path("text");
    fs::write(&text, "a long one").unwrap();
    let taken = [
        ("reply", json!({"messageId": question, "body": "ten miles", "attachments": [text]})),
        ("reply", json!({"messageId": question, "bodyFile": text, "body": null, "replyExpected": true})),
        ("react", json!({"messageId": question, "emoji": "👍", "idempotencyKey": "k1"})),
        ("read", json!({"messageId": question})),
        ("read", json!({"messageId": question, "thread": true})),
        ("message", json!({"to": "operator", "body": "b", "subject": null, "urgent": true, "payload": {"x": [1]}})),
        ("send-claimable", json!({"to": "tag:command", "body": "b", "title": "t"})),
        ("label", json!({"label": "l1"})),
        ("label", json!({"label": null})),
        ("tags", json!({"add": ["t1"], "remove": []})),
        ("tags", json!({"tags": ["t1", "t2"]})),
        ("whoami", json!({})),
    ];
    for (verb, body) in taken {
        documents.fits(&format!("verbs/{verb}"), &body);
        let (status, answer) = called.call(&Call::post(&format!("/relay/{verb}"), &body.to_string()));
        assert_eq!(status, 200, "{verb} {body}: {answer}");
        documents.fits(&format!("verbs/{verb}-answer"), &answer);
    }
    let refused = [
        ("reply", json!({"messageId": question})),
        ("reply", json!({"messageId": "12", "body": "b"})),
        ("reply", json!({"messageId": question, "body": "b", "bodyFile": text})),
        ("reply", json!({"messageId": question, "body": " "})),
        ("react", json!({"messageId": question})),
        ("read", json!({"messageId": -1})),
        ("read", json!({"messageId": question, "thread": "yes"})),
        ("message", json!({"body": "b"})),
        ("message", json!({"to": "operator", "body": "b", "attachments": "x.png"})),
        ("send-claimable", json!({"to": "operator", "body": 7})),
        ("label", json!({})),
        ("label", json!({"label": 7})),
        ("tags", json!({"add": "t1"})),
        ("pair", json!({"with": 7})),
        ("disconnect", json!({"reason": 7})),
    ];
    for (verb, body) in refused {
        documents.refuses(&format!("verbs/{verb}"), &body);
        let (status, answer) = called.call(&Call::post(&format!("/relay/{verb}"), &body.to_string()));
        assert_eq!(status, 422, "{verb} {body}: {answer}");
        documents.fits("error", &answer);
    }
    for (body, fits) in [(json!({"ids": [1]}), true), (json!({"ids": ["1"]}), false), (json!({}), false)] {
        let (status, answer) = called.call(&Call::post("/monitor/ack", &body.to_string()));
        assert_eq!(status, if fits { 409 } else { 422 }, "its messages go another way: {answer}");
        if fits {
            documents.fits("monitor-ack", &body);
        } else {
            documents.refuses("monitor-ack", &body);
        }
    }
    documents.fits("verbs/pair", &json!({"with": "bob"}));
    documents.fits("verbs/disconnect", &json!({"reason": "enough"}));
    let (status, answer) = called.call(&Call::post("/relay/disconnect", "{}"));
    assert_eq!(status, 200, "{answer}");
    documents.fits("verbs/disconnect-answer", &answer);
}

#[test]
fn a_schema_that_is_not_there_is_refused_with_the_names_of_those_that_are() {
    let called = Called::new();
    let said = called.world.ask(&["schema", "dance", "--json"]);
    assert_eq!((said.code, said.error_code().as_str()), (Some(2), "unknown_schema"), "{said:?}");
    assert!(said.err.contains("report, ") && said.err.contains("error"), "{said:?}");
    assert!(called.world.ask(&["schema"]).out.lines().any(|line| line.starts_with("state ")));
    called.ends();
}
