//! Agents over HTTP: sessions, presence, deletion.

use std::time::Duration;

use relay_runner_relay::Config;
use serde_json::{Value, json};

use crate::wire::{World, config};

#[tokio::test]
async fn agents_are_registered_listed_and_read() {
    let world = World::new().await;
    let body = json!({"id": "a b/c", "name": "A", "machine": "m", "tags": ["t"], "capabilities": ["chat"], "label": "l",
        "instanceId": "i1", "meta": {"k": 1}});
    let made = world.api.post("/agents", body).await;
    assert_eq!(made.status, 201);
    let read = world.api.get("/agents/a%20b%2Fc").await.ok();
    assert_eq!(read, made.body);
    for (key, value) in [
        ("id", json!("a b/c")),
        ("name", json!("A")),
        ("machine", json!("m")),
        ("tags", json!(["t"])),
        ("capabilities", json!(["chat"])),
        ("label", json!("l")),
        ("instanceId", json!("i1")),
        ("epoch", json!(1)),
        ("ready", json!(false)),
        ("status", json!("idle")),
        ("meta", json!({"k": 1})),
    ] {
        assert_eq!(read[key], value, "{key}");
    }
    world.api.register("b", "i1", json!({})).await;
    let list = world.api.get("/agents").await.ok();
    assert_eq!(list.as_array().unwrap().iter().map(|a| &a["id"]).collect::<Vec<_>>(), ["a b/c", "b"]);
}

#[tokio::test]
async fn status_and_ready_are_ordered_by_their_number() {
    let world = World::new().await;
    let session = world.api.register("a", "i1", json!({})).await;
    for (status, ready, seq, expected) in [
        ("busy", true, 3, json!(["busy", true])),
        ("idle", false, 2, json!(["busy", true])),
        ("idle", false, 4, json!(["idle", false])),
    ] {
        let body = json!({"status": status, "statusSeq": seq, "session": session});
        assert_eq!(world.api.post("/agents/a/status", body).await.ok(), json!({"ok": true}));
        let body = json!({"ready": ready, "statusSeq": seq, "session": session});
        assert_eq!(world.api.post("/agents/a/ready", body).await.ok(), json!({"ok": true}));
        let agent = world.api.get("/agents/a").await.ok();
        assert_eq!(json!([agent["status"], agent["ready"]]), expected);
    }
}

#[tokio::test]
async fn a_new_epoch_counts_statuses_from_its_own_beginning() {
    let world = World::new().await;
    let first = world.api.register("a", "i1", json!({})).await;
    world.api.post("/agents/a/status", json!({"status": "busy", "statusSeq": 900, "session": first})).await.ok();
    let second = world.api.register("a", "i2", json!({})).await;
    world.api.post("/agents/a/status", json!({"status": "online", "statusSeq": 0, "session": second})).await.ok();
    assert_eq!(world.api.get("/agents/a").await.ok()["status"], "online");
}

#[tokio::test]
async fn a_stale_session_is_refused_everywhere() {
    let world = World::new().await;
    let stale = world.api.register("a", "i1", json!({})).await;
    world.api.register("a", "i2", json!({})).await;
    let id = world.api.send("a", json!({"claimable": true})).await;
    let before = world.api.get("/agents/a").await.ok();
    for session in [stale, json!({"instanceId": "i1", "epoch": 2}), json!({"instanceId": "i2", "epoch": 3})] {
        for (path, mut body) in [
            ("/agents/a/status".to_owned(), json!({"status": "busy", "statusSeq": 9})),
            ("/agents/a/ready".into(), json!({"ready": true, "statusSeq": 9})),
            ("/agents/a/heartbeat".into(), json!({})),
            (format!("/messages/{id}/claim"), json!({"agentId": "a"})),
            (format!("/messages/{id}/claim/renew"), json!({"agentId": "a", "fence": 1})),
            (format!("/messages/{id}/claim/release"), json!({"agentId": "a", "fence": 1})),
            (format!("/messages/{id}/read"), json!({"agentId": "a"})),
            (format!("/messages/{id}/delivery"), json!({"agentId": "a", "stage": "held", "attempt": 1})),
        ] {
            body["session"] = session.clone();
            world.api.post(&path, body).await.refused(409, "superseded");
        }
        let query =
            format!("/agents/a?instanceId={}&epoch={}", session["instanceId"].as_str().unwrap(), session["epoch"]);
        world.api.delete(&query).await.refused(409, "superseded");
    }
    assert_eq!(world.api.get("/agents/a").await.ok(), before);
    assert_eq!(world.api.unread("a").await, [id]);
}

#[tokio::test]
async fn a_deleted_agent_is_gone_and_nothing_late_brings_it_back() {
    let world = World::new().await;
    let session = world.api.register("a", "i1", json!({})).await;
    let id = world.api.send("a", json!({"claimable": true})).await;
    world.api.claim(id, "a", &session).await;
    assert_eq!(world.api.delete("/agents/a?instanceId=i1&epoch=1").await.ok(), json!({"ok": true}));

    let beat = json!({"session": session});
    assert_eq!(world.api.post("/agents/a/heartbeat", beat).await.ok(), json!({"ok": false}));
    let status = json!({"status": "idle", "statusSeq": 1, "session": session});
    world.api.post("/agents/a/status", status).await.refused(404, "not_found");
    let ready = json!({"ready": true, "statusSeq": 1, "session": session});
    world.api.post("/agents/a/ready", ready).await.refused(404, "not_found");
    world.api.get("/agents/a").await.refused(404, "not_found");
    world.api.delete("/agents/a?instanceId=i1&epoch=1").await.refused(404, "not_found");
    assert_eq!(world.api.get("/agents").await.ok(), json!([]));
    assert_eq!(world.api.get(&format!("/messages/{id}")).await.ok()["claimedBy"], Value::Null);
}

#[tokio::test]
async fn a_deleted_agent_that_registers_again_begins_a_new_epoch() {
    let world = World::new().await;
    let first = world.api.register("a", "i1", json!({})).await;
    world.api.delete("/agents/a?instanceId=i1&epoch=1").await.ok();
    let again = world.api.register("a", "i1", json!({})).await;
    assert_eq!(again["epoch"], 2);
    let late = json!({"status": "busy", "statusSeq": 1, "session": first});
    world.api.post("/agents/a/status", late).await.refused(409, "superseded");
}

#[tokio::test]
async fn frames_of_a_deleted_agent_are_refused_on_its_connection() {
    let world = World::new().await;
    let mut bus = world.agent("a", "i1").await;
    world.api.delete("/agents/a?instanceId=i1&epoch=1").await.ok();
    bus.send("status", json!({"agentStatus": "idle", "statusSeq": 1})).await;
    assert_eq!(bus.expect("error").await["payload"]["code"], "not_registered");
    world.api.send("a", json!({})).await;
    bus.send("heartbeat", json!({"status": "idle"})).await;
    assert_eq!(bus.expect("error").await["payload"]["code"], "not_registered");
    assert_eq!(world.api.get("/agents").await.ok(), json!([]));
}

#[tokio::test]
async fn an_agent_that_is_not_heard_from_is_offline_unless_it_is_connected() {
    let world = World::with(Config { offline_after: Duration::ZERO, ..config() }).await;
    let session = world.api.register("silent", "i1", json!({})).await;
    world.api.post("/agents/silent/ready", json!({"ready": true, "statusSeq": 1, "session": session})).await.ok();
    let mut connected = world.agent("connected", "i1").await;
    connected.send("status", json!({"agentStatus": "idle", "ready": true, "statusSeq": 1})).await;
    connected.expect("ack").await;
    let list = world.api.get("/agents").await.ok();
    let seen = |n: usize| json!([list[n]["id"], list[n]["status"], list[n]["ready"]]);
    assert_eq!(seen(0), json!(["connected", "idle", true]));
    assert_eq!(seen(1), json!(["silent", "offline", false]));
}

#[tokio::test]
async fn an_agent_that_is_silent_for_long_is_forgotten_with_its_claims_and_may_come_back() {
    let world = World::with(Config { prune_after: Duration::from_millis(500), ..config() }).await;
    let mut watcher = world.agent("b", "i1").await;
    let session = world.api.register("a", "i1", json!({"tags": ["t"]})).await;
    watcher.send("subscribe", json!({"events": ["message.claim_released"]})).await;
    watcher.expect("ack").await;
    let id = world.api.send("tag:t", json!({"claimable": true})).await;
    assert_eq!(world.api.claim(id, "a", &session).await["ok"], true);
    assert_eq!(watcher.event("message.claim_released").await, json!({"messageId": id, "agentId": "a"}));
    assert_eq!(world.api.post("/agents/a/heartbeat", json!({"session": session})).await.ok(), json!({"ok": false}));
    world.api.get("/agents/a").await.refused(404, "not_found");
    // Whoever is connected is there, with or without heartbeats.
    world.api.get("/agents/b").await.ok();
    assert_eq!(world.api.register("a", "i1", json!({})).await["epoch"], 1);
}

#[tokio::test]
async fn a_label_and_tags_that_were_given_outlive_a_reconnect_but_not_a_new_instance() {
    let world = World::new().await;
    world.api.register("a", "i1", json!({"label": "old", "tags": ["old"]})).await;
    assert_eq!(world.api.put("/agents/a/label", json!({"label": "new"})).await.ok()["label"], "new");
    assert_eq!(world.api.put("/agents/a/tags", json!({"tags": ["n", "n", "m"]})).await.ok()["tags"], json!(["n", "m"]));
    world.api.register("a", "i1", json!({"label": "old", "tags": ["old"]})).await;
    let agent = world.api.get("/agents/a").await.ok();
    assert_eq!(json!([agent["label"], agent["tags"]]), json!(["new", ["n", "m"]]));
    world.api.register("a", "i2", json!({"label": "old", "tags": ["old"]})).await;
    let agent = world.api.get("/agents/a").await.ok();
    assert_eq!(json!([agent["label"], agent["tags"]]), json!(["old", ["old"]]));
    assert_eq!(world.api.put("/agents/a/label", json!({"label": null})).await.ok()["label"], Value::Null);
    world.api.put("/agents/none/label", json!({"label": "x"})).await.refused(404, "not_found");
}
