//! What is kept no longer.

use std::time::Duration;

use relay_runner_relay::Config;
use serde_json::json;
use tokio::time::timeout;

use crate::wire::{PATIENCE, World, config};

#[tokio::test]
async fn what_is_done_with_goes_by_itself_and_work_stays() {
    let world = World::with(Config { keep_for: Duration::from_millis(100), ..config() }).await;
    world.api.register("a", "i1", json!({})).await;
    let work = world.api.send("a", json!({"claimable": true})).await;
    let old = world.api.send("a", json!({})).await;
    world.api.post(&format!("/messages/{old}/reactions"), json!({"agentId": "a", "emoji": "x"})).await.ok();
    let gone = async || {
        while world.api.get(&format!("/messages/{old}")).await.status != 404 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone()).await.expect("it goes");
    assert_eq!(world.api.unread("a").await, [work]);
    // Its id is not given out again.
    assert!(world.api.send("a", json!({})).await > old);
}
