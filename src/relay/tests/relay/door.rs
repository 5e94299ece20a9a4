//! Who is let in, and what bad input gets.

use relay_runner_relay::{Config, Error, Relay};
use serde_json::{Value, json};

use crate::wire::{Bus, World, config};

#[tokio::test]
async fn health_needs_no_token() {
    let world = World::with(Config { token: Some("t0k".into()), ..config() }).await;
    let health = world.api.get("/health").await.ok();
    assert_eq!((&health["ok"], &health["version"]), (&json!(true), &json!(env!("CARGO_PKG_VERSION"))));
    assert!(health["time"].as_u64().unwrap() > 1_600_000_000_000);
}

#[tokio::test]
async fn a_token_is_asked_for_everywhere_and_taken_in_either_header() {
    let world = World::with(Config { token: Some("t0k".into()), ..config() }).await;
    for path in ["/agents", "/messages/1", "/nowhere"] {
        world.api.get(path).await.refused(401, "unauthorized");
        world.api.call("GET", path, &[("X-Agent-Relay-Token", "wrong")], "").await.refused(401, "unauthorized");
    }
    for header in [("X-Agent-Relay-Token", "t0k"), ("Authorization", "Bearer t0k")] {
        assert_eq!(world.api.call("GET", "/agents", &[header], "").await.ok(), json!([]));
    }
    let url = world.relay.url();
    assert!(Bus::connect(&url, &[]).await.is_err_and(|e| e.to_string().contains("401")));
    let mut bus = Bus::connect(&url, &[("x-agent-relay-token", "t0k")]).await.unwrap();
    bus.register("a", "i1", json!({})).await;
}

#[tokio::test]
async fn pages_of_a_browser_are_not_let_in() {
    let world = World::new().await;
    for header in [("Origin", "https://example.org"), ("Origin", "null"), ("Host", "example.org:4850")] {
        world.api.call("POST", "/messages", &[header], "{}").await.refused(403, "foreign_caller");
    }
    let url = world.relay.url();
    assert!(
        Bus::connect(&url, &[("origin", "https://example.org")]).await.is_err_and(|e| e.to_string().contains("403"))
    );
}

#[tokio::test]
async fn an_open_relay_on_the_network_does_not_start() {
    let open = Config { listen: "0.0.0.0:0".parse().unwrap(), ..config() };
    let error = Relay::start(open.clone()).await.unwrap_err();
    assert!(matches!(error, Error::OpenToTheNetwork(_)) && error.to_string().contains("token"), "{error}");
    let empty = Config { token: Some(String::new()), ..open.clone() };
    assert!(matches!(Relay::start(empty).await, Err(Error::OpenToTheNetwork(_))));
    let relay = Relay::start(Config { token: Some("t".into()), ..open }).await.unwrap();
    assert!(relay.url().starts_with("http://127.0.0.1:"), "{}", relay.url());
}

#[tokio::test]
async fn a_port_in_use_and_a_database_that_cannot_be_opened_are_named() {
    let world = World::new().await;
    let error = Relay::start(Config { listen: world.relay.addr(), ..config() }).await.unwrap_err();
    assert!(matches!(error, Error::PortInUse(_)), "{error}");
    assert!(error.to_string().contains(&world.relay.addr().to_string()), "{error}");

    let folder = tempfile::tempdir().unwrap();
    for db in [folder.path().to_path_buf(), folder.path().join("missing/relay.db")] {
        let error = Relay::start(Config { db: Some(db.clone()), ..config() }).await.unwrap_err();
        assert!(error.to_string().contains(db.to_str().unwrap()), "{error}");
    }
    let junk = folder.path().join("junk.db");
    std::fs::write(&junk, "this is not a database, and long enough to be read as one".repeat(20)).unwrap();
    let error = Relay::start(Config { db: Some(junk), ..config() }).await.unwrap_err();
    assert!(matches!(error, Error::Database { .. }), "{error}");
}

#[tokio::test]
async fn bad_input_is_refused_with_a_reason_and_changes_nothing() {
    let world = World::new().await;
    let session = world.api.register("a", "i1", json!({})).await;
    world.api.send("a", json!({"claimable": true})).await;
    world.api.post("/tasks", json!({"title": "T", "target": "a"})).await.ok();
    let state = async || {
        let mut all = Vec::new();
        for path in ["/agents/a", "/agents", "/agents/a/inbox", "/tasks", "/messages/1/delivery"] {
            all.push(world.api.get(path).await.ok());
        }
        all
    };
    let before = state().await;
    let long = "x".repeat(201);
    let bodies: Vec<(&str, &str, Value, u16)> = vec![
        ("POST", "/messages", json!({"from": "s", "to": "a"}), 422),
        ("POST", "/messages", json!({"from": 1, "to": "a", "body": "b"}), 422),
        ("POST", "/messages", json!({"from": "", "to": "a", "body": "b"}), 422),
        ("POST", "/messages", json!({"from": "s", "to": "", "body": "b"}), 422),
        ("POST", "/messages", json!({"from": "s", "to": "tag:", "body": "b"}), 422),
        ("POST", "/messages", json!({"from": "s", "to": long, "body": "b"}), 422),
        ("POST", "/messages", json!({"from": "s", "to": "a", "body": "b", "priority": "whenever"}), 422),
        ("POST", "/messages", json!({"from": "s", "to": "a", "body": "b", "replyTo": 99}), 422),
        ("POST", "/messages", json!([]), 422),
        ("POST", "/agents", json!({"id": "broadcast", "instanceId": "i"}), 422),
        ("POST", "/agents", json!({"id": "tag:x", "instanceId": "i"}), 422),
        ("POST", "/agents", json!({"id": "a\nb", "instanceId": "i"}), 422),
        ("POST", "/agents", json!({"id": "x"}), 422),
        ("POST", "/agents", json!({"id": "x", "instanceId": "i", "tags": "t"}), 422),
        ("POST", "/agents", json!({"id": "x", "instanceId": "i", "tags": vec!["t"; 129]}), 422),
        ("POST", "/agents", json!({"id": "x", "instanceId": "i", "meta": {"m": "x".repeat(300_000)}}), 422),
        ("POST", "/agents/a/status", json!({"status": "flying", "statusSeq": 1, "session": session}), 422),
        ("POST", "/agents/a/status", json!({"status": "idle", "statusSeq": -1, "session": session}), 422),
        ("POST", "/agents/a/status", json!({"status": "idle", "statusSeq": 1}), 422),
        ("POST", "/agents/none/status", json!({"status": "idle", "statusSeq": 1, "session": session}), 404),
        ("POST", "/agents/a/heartbeat", json!({"session": "s"}), 422),
        ("PUT", "/agents/a/tags", json!({"tags": [1]}), 422),
        ("PUT", "/agents/a/tags", json!({"tags": [""]}), 422),
        ("DELETE", "/agents/a", Value::Null, 422),
        ("DELETE", "/agents/a?instanceId=i1&epoch=x", Value::Null, 422),
        ("DELETE", "/agents/none?instanceId=i1&epoch=1", Value::Null, 404),
        ("GET", "/agents/a/inbox?limit=many", Value::Null, 422),
        ("GET", "/agents/a/inbox?after=-1", Value::Null, 422),
        ("GET", "/agents/%ff", Value::Null, 422),
        ("GET", "/messages/abc", Value::Null, 422),
        ("GET", "/messages/-1", Value::Null, 422),
        ("GET", "/messages/99", Value::Null, 404),
        ("GET", "/messages/18446744073709551615", Value::Null, 404),
        ("GET", "/messages/99999999999999999999", Value::Null, 422),
        ("GET", "/tasks?status=lost", Value::Null, 422),
        ("POST", "/messages/1/claim", json!({"agentId": "a"}), 422),
        ("POST", "/messages/1/claim", json!({"agentId": "none", "session": session}), 404),
        ("POST", "/messages/1/claim/renew", json!({"agentId": "a", "session": session, "fence": "1"}), 422),
        ("POST", "/messages/1/claim/renew", json!({"agentId": "a", "session": session, "fence": u64::MAX}), 409),
        ("POST", "/messages/99/read", json!({"agentId": "a"}), 404),
        ("POST", "/messages/1/read", json!({}), 422),
        (
            "POST",
            "/messages/1/delivery",
            json!({"agentId": "a", "session": session, "stage": "lost", "attempt": 1}),
            422,
        ),
        ("POST", "/tasks", json!({"title": " ", "target": "a"}), 422),
        ("POST", "/tasks", json!({"title": "T"}), 422),
        ("POST", "/tasks/1/status", json!({"status": "paused", "agentId": "a"}), 422),
        ("POST", "/tasks/9/status", json!({"status": "done", "agentId": "a"}), 404),
        ("POST", "/commands", json!({"type": "agent.kill"}), 422),
        ("POST", "/commands", json!({"type": "agent.kill", "target": "broadcast"}), 422),
        ("POST", "/commands/none/status", json!({"status": "accepted"}), 404),
        ("GET", "/nowhere", Value::Null, 404),
        ("PATCH", "/messages/1", json!({}), 405),
        ("GET", "/bus", Value::Null, 426),
    ];
    for (method, path, body, expected) in bodies {
        let answer =
            world.api.call(method, path, &[], if body.is_null() { String::new() } else { body.to_string() }).await;
        assert_eq!(
            answer.status,
            expected,
            "{method} {path} {} -> {}",
            body.to_string().get(..90).unwrap_or_default(),
            answer.body
        );
        let error = &answer.body["error"];
        assert!(error["code"].is_string() && error["message"].is_string(), "{method} {path}: {}", answer.body);
    }
    for text in ["", "no json", "{\"from\":\"s\"", "\u{0}", "nul"] {
        world.api.call("POST", "/messages", &[], text).await.refused(422, "invalid");
    }
    world.api.call("POST", "/messages", &[], vec![0xff, 0xfe]).await.refused(422, "invalid");
    let huge = json!({"from": "s", "to": "a", "body": "x".repeat(2 << 20)});
    world.api.post("/messages", huge).await.refused(413, "too_large");
    assert_eq!(state().await, before);
}
