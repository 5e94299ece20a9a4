//! Claims: one holder at a time, leases, fences.

use std::time::Duration;

use relay_runner_relay::Config;
use serde_json::{Value, json};

use crate::wire::{World, config};

/// Two agents that a message to `tag:pool` is meant for, and that message.
async fn pool(config: Config) -> (World, Value, Value, u64) {
    let world = World::with(config).await;
    let a = world.api.register("a", "i1", json!({"tags": ["pool"]})).await;
    let b = world.api.register("b", "i1", json!({"tags": ["pool"]})).await;
    let id = world.api.send("tag:pool", json!({"claimable": true})).await;
    (world, a, b, id)
}

#[tokio::test]
async fn a_claim_held_by_another_is_refused() {
    let (world, a, b, id) = pool(config()).await;
    let granted = world.api.claim(id, "a", &a).await;
    assert_eq!((&granted["ok"], &granted["leaseMs"]), (&json!(true), &json!(600_000)));
    assert!(granted["fence"].as_u64().unwrap() > 0);
    let message = world.api.get(&format!("/messages/{id}")).await.ok();
    assert_eq!(message["claimedBy"], "a");
    assert_eq!(message["claimExpiresAt"], granted["claimExpiresAt"]);
    assert_eq!(world.api.claim(id, "b", &b).await, json!({"ok": false, "claimedBy": "a"}));
    assert_eq!((world.api.unread("a").await, world.api.unread("b").await), (vec![id], vec![]));
}

#[tokio::test]
async fn the_holder_that_asks_again_gets_its_claim_with_the_same_fence() {
    let (world, a, _, id) = pool(config()).await;
    let first = world.api.claim(id, "a", &a).await;
    let again = world.api.claim(id, "a", &a).await;
    assert_eq!((&again["ok"], &again["fence"]), (&json!(true), &first["fence"]));
}

#[tokio::test]
async fn under_a_newer_epoch_the_holder_gets_a_higher_fence_and_the_older_one_is_stale() {
    let (world, a, _, id) = pool(config()).await;
    let first = world.api.claim(id, "a", &a).await;
    let newer = world.api.register("a", "i2", json!({"tags": ["pool"]})).await;
    let second = world.api.claim(id, "a", &newer).await;
    assert!(second["fence"].as_u64() > first["fence"].as_u64());
    world.api.change(id, "renew", "a", &newer, &first["fence"]).await.refused(409, "stale_fence");
    assert_eq!(world.api.change(id, "renew", "a", &newer, &second["fence"]).await.ok()["ok"], true);
}

#[tokio::test]
async fn a_renewal_lengthens_the_lease_for_the_right_fence_only() {
    let (world, a, b, id) = pool(config()).await;
    let granted = world.api.claim(id, "a", &a).await;
    let renewed = world.api.change(id, "renew", "a", &a, &granted["fence"]).await.ok();
    assert_eq!(renewed["leaseMs"], 600_000);
    assert!(renewed["claimExpiresAt"].as_u64() >= granted["claimExpiresAt"].as_u64());
    world.api.change(id, "renew", "a", &a, &json!(99)).await.refused(409, "stale_fence");
    world.api.change(id, "renew", "b", &b, &granted["fence"]).await.refused(409, "stale_fence");
    world.api.change(id, "release", "b", &b, &granted["fence"]).await.refused(409, "stale_fence");
}

#[tokio::test]
async fn a_lease_that_ends_frees_the_message_and_says_so() {
    let (world, a, b, id) = pool(Config { lease: Duration::from_millis(100), ..config() }).await;
    let mut watcher = world.bus().await;
    watcher.register("b", "i1", json!({"tags": ["pool"]})).await;
    let first = world.api.claim(id, "a", &a).await;
    watcher.event("message.claimed").await;
    assert_eq!(watcher.event("message.claim_released").await, json!({"messageId": id, "agentId": "a"}));

    world.api.change(id, "renew", "a", &a, &first["fence"]).await.refused(410, "lease_ended");
    world.api.change(id, "release", "a", &a, &first["fence"]).await.refused(410, "lease_ended");
    assert_eq!(world.api.unread("b").await, [id]);
    let second = world.api.claim(id, "b", &b).await;
    assert!(second["fence"].as_u64() > first["fence"].as_u64());
    world.api.change(id, "renew", "a", &a, &first["fence"]).await.refused(409, "stale_fence");
}

#[tokio::test]
async fn a_claim_asked_for_again_after_its_end_has_a_new_fence() {
    let (world, a, _, id) = pool(Config { lease: Duration::from_millis(100), ..config() }).await;
    let mut watcher = world.bus().await;
    watcher.register("b", "i1", json!({"tags": ["pool"]})).await;
    let first = world.api.claim(id, "a", &a).await;
    watcher.event("message.claimed").await;
    watcher.event("message.claim_released").await;
    let second = world.api.claim(id, "a", &a).await;
    assert!(second["fence"].as_u64() > first["fence"].as_u64());
}

#[tokio::test]
async fn a_released_message_is_there_for_the_others_again() {
    let (world, a, b, id) = pool(config()).await;
    let mut watcher = world.bus().await;
    watcher.register("b", "i1", json!({"tags": ["pool"]})).await;
    let granted = world.api.claim(id, "a", &a).await;
    assert_eq!(watcher.event("message.claimed").await, json!({"messageId": id, "agentId": "a"}));
    assert_eq!(world.api.change(id, "release", "a", &a, &granted["fence"]).await.ok(), json!({"ok": true}));
    assert_eq!(watcher.event("message.claim_released").await, json!({"messageId": id, "agentId": "a"}));
    world.api.change(id, "renew", "a", &a, &granted["fence"]).await.refused(410, "lease_ended");
    assert_eq!(world.api.unread("b").await, [id]);
    assert_eq!(world.api.claim(id, "b", &b).await["ok"], true);
}

#[tokio::test]
async fn a_superseded_instance_may_still_release_what_it_holds_and_nothing_else() {
    let (world, a, _, id) = pool(config()).await;
    let granted = world.api.claim(id, "a", &a).await;
    world.api.register("a", "i2", json!({"tags": ["pool"]})).await;
    world.api.change(id, "renew", "a", &a, &granted["fence"]).await.refused(409, "superseded");
    world.api.change(id, "release", "a", &a, &json!(99)).await.refused(409, "superseded");
    let foreign = json!({"instanceId": "i9", "epoch": 1});
    world.api.change(id, "release", "a", &foreign, &granted["fence"]).await.refused(409, "superseded");
    assert_eq!(world.api.change(id, "release", "a", &a, &granted["fence"]).await.ok(), json!({"ok": true}));
}

#[tokio::test]
async fn the_read_mark_of_the_holder_finishes_a_message() {
    let (world, a, b, id) = pool(config()).await;
    let granted = world.api.claim(id, "a", &a).await;
    world.api.post(&format!("/messages/{id}/read"), json!({"agentId": "b", "session": b})).await.ok();
    assert_eq!(world.api.unread("a").await, [id], "another's mark finishes nothing");
    world.api.post(&format!("/messages/{id}/read"), json!({"agentId": "a", "session": a})).await.ok();
    world.api.change(id, "renew", "a", &a, &granted["fence"]).await.refused(410, "lease_ended");
    assert_eq!(world.api.claim(id, "b", &b).await, json!({"ok": false, "claimedBy": "a"}));
    assert_eq!(world.api.claim(id, "a", &a).await["ok"], false);
    let c = world.api.register("c", "i1", json!({"tags": ["pool"]})).await;
    assert_eq!(world.api.unread("c").await, Vec::<u64>::new());
    assert_eq!(world.api.claim(id, "c", &c).await["ok"], false);
}

#[tokio::test]
async fn only_those_a_message_is_meant_for_can_claim_it_and_only_if_it_is_claimable() {
    let (world, a, _, id) = pool(config()).await;
    let stranger = world.api.register("stranger", "i1", json!({})).await;
    assert_eq!(world.api.claim(id, "stranger", &stranger).await, json!({"ok": false}));
    let plain = world.api.send("a", json!({})).await;
    let ask = json!({"agentId": "a", "session": a});
    world.api.post(&format!("/messages/{plain}/claim"), ask.clone()).await.refused(422, "invalid");
    world.api.post("/messages/99/claim", ask).await.refused(404, "not_found");
}

#[tokio::test]
async fn of_many_that_ask_at_once_one_gets_the_claim() {
    let (world, ..) = pool(config()).await;
    let id = world.api.send("tag:pool", json!({"claimable": true})).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..8 {
        let api = world.api.clone();
        tasks.spawn(async move {
            let agent = format!("p{n}");
            let session = api.register(&agent, "i1", json!({"tags": ["pool"]})).await;
            api.claim(id, &agent, &session).await["ok"] == true
        });
    }
    let granted = tasks.join_all().await;
    assert_eq!(granted.into_iter().filter(|ok| *ok).count(), 1);
}
