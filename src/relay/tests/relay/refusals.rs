//! Every operation with wrong types, unknown ids, stale sessions and fences, and too large bodies: the status that the
//! protocol says, and nothing has changed. The cases are drawn from the document, so that no route is left out.

use std::collections::BTreeSet;

use relay_runner_relay::Config;
use serde_json::{Map, Value, json};

use crate::document::{Document, Operation};
use crate::wire::{World, config};

const ROOT: &str = "t0k";

/// A relay with one of everything, and what a good call of each operation says.
struct Full {
    world: World,
    document: Document,
    session: Value,
    command: Value,
    artifact: Value,
    runtime: String,
}

impl Full {
    async fn new() -> Self {
        let world = World::with(Config { token: Some(ROOT.into()), artifact_bytes: 100, ..config() }).await;
        let runtime = world.relay.issue_token("provider-agent", None).await.unwrap().token;
        let mut full = Self {
            world,
            document: Document::own(),
            session: Value::Null,
            command: Value::Null,
            artifact: Value::Null,
            runtime,
        };
        full.ok("POST", "/agents", json!({"id": "a", "instanceId": "i0"})).await;
        let agent = full.ok("POST", "/agents", json!({"id": "a", "instanceId": "i1"})).await;
        full.session = json!({"instanceId": "i1", "epoch": agent["epoch"]});
        full.ok("POST", "/messages", json!({"from": "s", "to": "a", "body": "b", "claimable": true})).await;
        full.ok("POST", "/messages/1/claim", json!({"agentId": "a", "session": full.session})).await;
        full.ok("POST", "/tasks", json!({"title": "T", "target": "a"})).await;
        full.ok("POST", "/messages/2/claim", json!({"agentId": "a", "session": full.session})).await;
        full.command =
            full.ok("POST", "/commands", json!({"type": "agent.compact", "target": "a"})).await["id"].clone();
        full.artifact = full.call("POST", "/artifacts?name=n", "abc").await.1["id"].clone();
        full
    }

    async fn call(&self, method: &str, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let token = if path.ends_with("/renew") && path.starts_with("/tokens") { &self.runtime } else { ROOT };
        let answer = self.world.api.call(method, path, &[("X-Agent-Relay-Token", token)], body).await;
        (answer.status, answer.body)
    }

    async fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, body) = self.call(method, path, body.to_string()).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {body}");
        body
    }

    /// All that can be seen of the state.
    async fn state(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let command = format!("/commands/{}", self.command.as_str().unwrap());
        for path in ["/agents", "/agents/a/inbox", "/agents/a/obligations", "/tasks", "/messages/cursor", &command] {
            all.push(self.call("GET", path, "").await.1);
        }
        for id in 1..=2 {
            for part in ["delivery", "reactions", "thread"] {
                all.push(self.call("GET", &format!("/messages/{id}/{part}"), "").await.1);
            }
        }
        // When the agent was last heard from may change: a call that was refused later was a sign of life.
        all[0][0]["lastSeen"] = Value::Null;
        all
    }

    /// The path of an operation with an id that is there.
    fn path(&self, operation: &Operation) -> String {
        let id = match operation.path.split('/').nth(1) {
            Some("agents") => "a",
            Some("commands") => self.command.as_str().unwrap(),
            Some("artifacts") => self.artifact.as_str().unwrap(),
            _ => "1",
        };
        operation.path.replace("{id}", id)
    }

    /// A body that is as the document wants it.
    fn body(&self, operation: &Operation) -> Option<Map<String, Value>> {
        let reference = operation.value["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str()?;
        let body = match reference.rsplit('/').next().unwrap() {
            "RegisterAgent" => json!({"id": "b", "instanceId": "i"}),
            "SetStatus" => json!({"status": "busy", "statusSeq": 5, "session": self.session}),
            "SetReady" => json!({"ready": true, "statusSeq": 5, "session": self.session}),
            "Heartbeat" => json!({"session": self.session}),
            "SetLabel" => json!({"label": "l"}),
            "SetTags" => json!({"tags": ["t"]}),
            "NewMessage" => json!({"from": "s", "to": "a", "body": "b"}),
            "Claim" | "MarkRead" => json!({"agentId": "a", "session": self.session}),
            "ClaimChange" => json!({"agentId": "a", "session": self.session, "fence": 1}),
            "DeliveryReport" => json!({"agentId": "a", "session": self.session, "stage": "held", "attempt": 1}),
            "React" => json!({"agentId": "a", "emoji": "x", "session": self.session}),
            "NewTask" => json!({"title": "T", "target": "a"}),
            "TaskReport" => json!({"status": "blocked", "agentId": "a", "fence": 2}),
            "NewCommand" => json!({"type": "agent.compact", "target": "a"}),
            "CommandReport" => json!({"status": "running"}),
            "NewToken" => json!({"profileId": "p"}),
            other => panic!("say what a good {other} is"),
        };
        body.as_object().cloned()
    }

    /// Makes a call that must be refused with this status.
    async fn refused(&self, operation: &Operation, path: &str, body: impl Into<reqwest::Body>, status: u16, why: &str) {
        let (got, said) = self.call(&operation.method, path, body).await;
        assert_eq!(got, status, "{} {path}, {why}: {said}", operation.method);
        let fault = self.document.fault_in_answer(operation, got, &said);
        assert_eq!(fault, None, "{} {path}, {why}", operation.method);
    }

    fn properties(&self, operation: &Operation) -> Map<String, Value> {
        let schema = &operation.value["requestBody"]["content"]["application/json"]["schema"];
        let name = schema["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        self.document.value["components"]["schemas"][name]["properties"].as_object().unwrap().clone()
    }

    fn required(&self, operation: &Operation) -> BTreeSet<String> {
        let schema = &operation.value["requestBody"]["content"]["application/json"]["schema"];
        let name = schema["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        let required = self.document.value["components"]["schemas"][name]["required"].as_array().unwrap().clone();
        required.iter().map(|key| key.as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn bodies_of_another_shape_are_refused_by_every_route_and_change_nothing() {
    let full = Full::new().await;
    let before = full.state().await;
    for operation in full.document.operations() {
        let (path, Some(good)) = (full.path(&operation), full.body(&operation)) else { continue };
        for text in ["", "no json", "[]", "null", "\"text\"", "{\"a\":", "\u{0}"] {
            // A label may be left out, and is then taken away.
            full.refused(&operation, &path, text, 422, "not an object").await;
        }
        for (key, schema) in full.properties(&operation) {
            let mut missing = good.clone();
            missing.remove(&key);
            if full.required(&operation).contains(&key) {
                full.refused(&operation, &path, Value::from(missing).to_string(), 422, &format!("without {key}")).await;
            }
            if schema == json!({}) {
                continue;
            }
            // Nothing in the protocol may be either of these and something else.
            for wrong in [json!(-1.5), json!([[1]])] {
                let mut body = good.clone();
                body.insert(key.clone(), wrong.clone());
                full.refused(&operation, &path, Value::from(body).to_string(), 422, &format!("{key} = {wrong}")).await;
            }
        }
    }
    assert_eq!(full.state().await, before);
}

#[tokio::test]
async fn unknown_ids_are_refused_by_every_route_and_change_nothing() {
    let full = Full::new().await;
    let before = full.state().await;
    for operation in full.document.operations().into_iter().filter(|o| o.path.contains("{id}")) {
        let body = full.body(&operation).map(|body| Value::from(body).to_string()).unwrap_or_default();
        let query = if operation.method == "DELETE" { "?instanceId=i1&epoch=2" } else { "" };
        let is_number = operation.path.starts_with("/messages") || operation.path.starts_with("/tasks");
        let unknown = operation.path.replace("{id}", "999999") + query;
        if operation.path == "/agents/{id}/heartbeat" {
            assert_eq!(full.call("POST", &unknown, body).await, (200, json!({"ok": false})));
            continue;
        }
        full.refused(&operation, &unknown, body.clone(), 404, "an unknown id").await;
        for odd in ["x", "-1", "1.5", "18446744073709551616", "%20"] {
            let path = operation.path.replace("{id}", odd) + query;
            // Any text may be the id of an agent; of a message, whole numbers may.
            full.refused(&operation, &path, body.clone(), if is_number { 422 } else { 404 }, "an odd id").await;
        }
        let path = operation.path.replace("{id}", "%ff") + query;
        full.refused(&operation, &path, body, 422, "not text").await;
    }
    assert_eq!(full.state().await, before);
}

#[tokio::test]
async fn stale_sessions_and_fences_are_refused_by_every_route_that_has_them_and_change_nothing() {
    let full = Full::new().await;
    let before = full.state().await;
    let mut with_session = 0;
    for operation in full.document.operations() {
        let (path, Some(good)) = (full.path(&operation), full.body(&operation)) else { continue };
        if good.contains_key("session") {
            with_session += 1;
            let stale = [("i0", 1), ("i0", 2), ("i1", 1), ("i1", 3), ("i2", 9)];
            for (instance, epoch) in stale {
                let mut body = good.clone();
                body.insert("session".into(), json!({"instanceId": instance, "epoch": epoch}));
                let why = format!("{instance} in epoch {epoch}");
                full.refused(&operation, &path, Value::from(body).to_string(), 409, &why).await;
            }
        }
        for fence in good.get("fence").map(|_| [0, 2, 3, u64::MAX]).into_iter().flatten() {
            let mut body = good.clone();
            // 2 is the fence of the task's message, and none of the other one's.
            let fence = if path.starts_with("/tasks") && fence == 2 { 1 } else { fence };
            body.insert("fence".into(), fence.into());
            full.refused(&operation, &path, Value::from(body).to_string(), 409, &format!("fence {fence}")).await;
        }
    }
    assert_eq!(with_session, 9);
    for (instance, epoch) in [("i0", 1), ("i1", 1), ("i1", 3)] {
        let path = format!("/agents/a?instanceId={instance}&epoch={epoch}");
        assert_eq!(full.call("DELETE", &path, "").await.0, 409);
    }
    assert_eq!(full.state().await, before);
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused_by_every_route_and_change_nothing() {
    let full = Full::new().await;
    let before = full.state().await;
    for operation in full.document.operations() {
        if operation.value.get("requestBody").is_none() {
            continue;
        }
        let name = if operation.path == "/artifacts" { "?name=n" } else { "" };
        let path = full.path(&operation) + name;
        full.refused(&operation, &path, vec![b'x'; (1 << 20) + 1], 413, "too large").await;
    }
    assert_eq!(full.state().await, before);
}

#[tokio::test]
async fn no_route_is_open_without_a_token_and_no_other_method_is_served() {
    let full = Full::new().await;
    let before = full.state().await;
    let paths: BTreeSet<String> = full.document.operations().into_iter().map(|o| o.path).collect();
    for pattern in paths {
        let path = pattern.replace("{id}", "1");
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let operation = full.document.operation(method, &path);
            if pattern != "/health" {
                full.world.api.call(method, &path, &[], "").await.refused(401, "unauthorized");
            }
            if operation.is_none() {
                let (status, said) = full.call(method, &path, "").await;
                assert_eq!((status, &said["error"]["code"]), (405, &json!("method_not_allowed")), "{method} {path}");
            }
        }
    }
    assert_eq!(full.state().await, before);
}
