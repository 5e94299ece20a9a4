//! Idempotency keys.

use std::time::Duration;

use relay_runner_relay::Config;
use serde_json::{Value, json};

use crate::wire::{World, config};

#[tokio::test]
async fn the_same_call_again_gets_the_first_answer_and_changes_nothing() {
    let world = World::new().await;
    let mut a = world.agent("a", "i1").await;
    let body = json!({"from": "s", "to": "a", "body": "b"});
    let first = world.api.post_once("k", "/messages", body.clone()).await;
    assert_eq!(world.api.post_once("k", "/messages", body).await, first);
    // The order of the keys says nothing.
    let turned = r#"{"to": "a", "body": "b", "from": "s"}"#;
    assert_eq!(world.api.call("POST", "/messages", &[("Idempotency-Key", "k")], turned).await, first);
    a.event("message.new").await;
    assert_eq!(a.so_far().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_key_in_the_message_works_like_the_header() {
    let world = World::new().await;
    let body = json!({"from": "s", "to": "a", "body": "b", "idempotencyKey": "k"});
    let first = world.api.post("/messages", body.clone()).await;
    assert_eq!(world.api.post("/messages", body).await, first);
    let other = json!({"from": "s", "to": "a", "body": "other", "idempotencyKey": "k"});
    world.api.post("/messages", other).await.refused(422, "idempotency_key_reused");
}

#[tokio::test]
async fn the_same_key_for_another_call_is_refused() {
    let world = World::new().await;
    let body = json!({"from": "s", "to": "a", "body": "b"});
    world.api.post_once("k", "/messages", body).await.ok();
    let other = json!({"from": "s", "to": "a", "body": "c"});
    world.api.post_once("k", "/messages", other).await.refused(422, "idempotency_key_reused");
    let elsewhere = json!({"title": "T", "target": "a"});
    world.api.post_once("k", "/tasks", elsewhere).await.refused(422, "idempotency_key_reused");
    assert_eq!(world.api.get("/tasks").await.ok(), json!([]));
}

#[tokio::test]
async fn a_refusal_is_not_kept() {
    let world = World::new().await;
    let command = json!({"status": "accepted"});
    world
        .api
        .post_once("k", "/tasks/1/status", json!({"status": "done", "agentId": "a"}))
        .await
        .refused(404, "not_found");
    world.api.post("/tasks", json!({"title": "T", "target": "a"})).await.ok();
    world.api.post_once("k", "/tasks/1/status", json!({"status": "done", "agentId": "a"})).await.ok();
    world.api.post_once("k2", "/commands/none/status", command).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_claim_asked_for_again_under_its_key_tells_what_is_left_of_the_lease() {
    let world = World::with(Config { lease: Duration::from_millis(100), ..config() }).await;
    let mut a = world.agent("a", "i1").await;
    let id = world.api.send("a", json!({"claimable": true})).await;
    let ask = json!({"agentId": "a", "session": a.session});
    let first = world.api.post_once("k", &format!("/messages/{id}/claim"), ask.clone()).await.ok();
    assert_eq!(first["leaseMs"], 100);
    for event in ["message.new", "message.claimed", "message.claim_released"] {
        a.event(event).await;
    }
    let again = world.api.post_once("k", &format!("/messages/{id}/claim"), ask).await.ok();
    assert_eq!((&again["fence"], &again["claimExpiresAt"]), (&first["fence"], &first["claimExpiresAt"]));
    assert_eq!(again["leaseMs"], 0);
    assert_eq!(world.api.get(&format!("/messages/{id}")).await.ok()["claimedBy"], Value::Null);
}

#[tokio::test]
async fn status_ready_and_heartbeat_take_no_key() {
    let world = World::new().await;
    let session = world.api.register("a", "i1", json!({})).await;
    for (path, body) in [
        ("status", json!({"status": "idle", "statusSeq": 1, "session": session})),
        ("ready", json!({"ready": true, "statusSeq": 1, "session": session})),
        ("heartbeat", json!({"session": session})),
    ] {
        world.api.post_once("k", &format!("/agents/a/{path}"), body).await.ok();
    }
}

#[tokio::test]
async fn a_key_has_bounds() {
    let world = World::new().await;
    let body = json!({"from": "s", "to": "a", "body": "b"});
    for key in ["", &"k".repeat(201)] {
        world.api.post_once(key, "/messages", body.clone()).await.refused(422, "invalid");
    }
}
