//! `GET /events`: server-sent events and their resuming.

use std::time::Duration;

use relay_runner_relay::Config;
use serde_json::json;
use tokio::time::timeout;

use crate::feed::Feed;
use crate::wire::{Api, PATIENCE, World, config};

async fn ids(feed: &mut Feed, count: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    while ids.len() < count {
        ids.extend(feed.entry().await.id);
    }
    ids
}

#[tokio::test]
async fn what_happens_is_told_under_the_positions_of_the_bus() {
    let world = World::new().await;
    let mut bus = world.agent("a", "i1").await;
    world.api.send("a", json!({})).await;
    bus.event("message.new").await;
    let mut feed = Feed::open(&world.api, "", &[]).await;
    let id = world.api.send("a", json!({"body": "two\nlines"})).await;
    let entry = feed.entry().await;
    let frame = bus.expect("event").await;
    assert_eq!((entry.id, entry.event.as_str()), (frame["payload"]["seq"].as_u64(), "message.new"));
    assert_eq!(entry.data, frame["payload"]["data"]);
    assert_eq!(entry.data["id"], id);
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_event_id() {
    let world = World::new().await;
    for _ in 0..450 {
        world.api.send("a", json!({})).await;
    }
    let mut feed = Feed::open(&world.api, "", &[("Last-Event-ID", "5")]).await;
    world.api.send("a", json!({"body": "while replaying"})).await;
    assert_eq!(ids(&mut feed, 446).await, (6..=451).collect::<Vec<_>>());
    world.api.send("a", json!({"body": "live"})).await;
    let entry = feed.entry().await;
    assert_eq!((entry.id, &entry.data["body"]), (Some(452), &json!("live")));
}

#[tokio::test]
async fn a_stream_that_cannot_go_on_whole_says_so_first() {
    let world = World::with(Config { keep_events: 3, ..config() }).await;
    for _ in 0..5 {
        world.api.send("a", json!({})).await;
    }
    for (since, expected, next) in [
        ("0", Some((2, json!({"from": 3, "to": 5}))), 3),
        ("1", Some((2, json!({"from": 3, "to": 5}))), 3),
        ("2", None, 3),
        // A position that this relay never gave out.
        ("99", Some((5, json!({"from": 6, "to": 5}))), 6),
        ("not a number", Some((6, json!({"from": 7, "to": 6}))), 7),
    ] {
        let mut feed = Feed::open(&world.api, "", &[("Last-Event-ID", since)]).await;
        if let Some((id, data)) = expected {
            let gap = feed.entry().await;
            assert_eq!((gap.id, gap.event.as_str(), gap.data), (Some(id), "gap", data), "since {since}");
        }
        if next > 5 {
            world.api.send("a", json!({})).await;
        }
        assert_eq!(feed.entry().await.id, Some(next), "since {since}");
    }
}

#[tokio::test]
async fn a_stream_may_be_narrowed_to_events_and_scopes() {
    let world = World::new().await;
    let mut feed = Feed::open(&world.api, "?events=message.new,task.*&scopes=a,b", &[]).await;
    world.api.send("c", json!({})).await;
    world.api.register("a", "i1", json!({})).await;
    world.api.put("/agents/a/label", json!({"label": "L"})).await.ok();
    world.api.post("/tasks", json!({"title": "T", "target": "b"})).await.ok();
    assert_eq!(feed.entry().await.event, "message.new");
    assert_eq!(feed.entry().await.event, "task.created");
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive_by_comments() {
    let world = World::with(Config { ping_interval: Duration::from_millis(20), ..config() }).await;
    let mut feed = Feed::open(&world.api, "", &[]).await;
    for _ in 0..3 {
        assert_eq!(feed.block().await.unwrap(), ":");
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let world = World::with(Config { token: Some("t0k".into()), ..config() }).await;
    let short = world.relay.issue_token("operator", Some(Duration::from_secs(1))).await.unwrap();
    let mut feed = Feed::open(&world.api, "", &[("X-Agent-Relay-Token", &short.token)]).await;
    let last = feed.entry().await;
    assert_eq!((last.event.as_str(), &last.data["error"]["code"]), ("error", &json!("expired_token")));
    assert!(feed.next().await.is_none());
}

#[tokio::test]
async fn a_stream_ends_when_the_relay_stops_and_does_not_hold_it_up() {
    let world = World::new().await;
    let mut feed = Feed::open(&world.api, "", &[]).await;
    let stopped = tokio::spawn(world.relay.stop());
    assert!(feed.next().await.is_none());
    timeout(PATIENCE, stopped).await.expect("stopped in time").unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go_and_can_go_on() {
    let world = World::new().await;
    let mut feed = Feed::open(&world.api, "", &[]).await;
    let body = "x".repeat(900_000);
    for _ in 0..40 {
        world.api.send("a", json!({"body": body})).await;
    }
    let mut seen = 0;
    while let Some(entry) = feed.next().await {
        assert_eq!(entry.id, Some(seen + 1));
        seen += 1;
    }
    assert!(seen < 40, "{seen}");
    let again = Api::at(&world.relay.url());
    let mut feed = Feed::open(&again, "", &[("Last-Event-ID", &seen.to_string())]).await;
    assert_eq!(feed.entry().await.id, Some(seen + 1));
}
