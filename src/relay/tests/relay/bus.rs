//! The bus: registration, frames, events in order, and their resuming.

use std::time::Duration;

use relay_runner_relay::Config;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::wire::{Bus, PATIENCE, World, config, seqs};

#[tokio::test]
async fn a_registration_is_answered_with_epoch_cursor_and_pace() {
    let world = World::new().await;
    let mut bus = world.bus().await;
    let answer = bus.register("a", "i1", json!({"meta": {"label": "dev"}, "tags": ["x", "y", "x"]})).await;
    assert_eq!(answer["agentId"], "a");
    assert_eq!(answer["epoch"], 1);
    assert_eq!(answer["cursor"], 0);
    assert_eq!(answer["heartbeatIntervalMs"], 30_000);
    assert!(answer["time"].as_u64().unwrap() > 1_600_000_000_000);
    let agent = world.api.get("/agents/a").await.ok();
    assert_eq!(
        (&agent["label"], &agent["tags"], &agent["status"]),
        (&json!("dev"), &json!(["x", "y"]), &json!("idle"))
    );
}

#[tokio::test]
async fn without_an_agent_id_the_component_is_the_agent() {
    let world = World::new().await;
    let mut bus = world.bus().await;
    bus.send("register", json!({"role": "integration", "componentId": "tool", "instanceId": "i"})).await;
    assert_eq!(bus.expect("registered").await["payload"]["agentId"], "tool");
}

#[tokio::test]
async fn a_frame_before_register_is_refused_and_the_connection_stays() {
    let world = World::new().await;
    let mut bus = world.bus().await;
    let id = bus.send("status", json!({"agentStatus": "idle", "statusSeq": 1})).await;
    let error = bus.expect("error").await;
    assert_eq!((&error["id"], &error["payload"]["code"]), (&json!(id), &json!("not_registered")));
    bus.register("a", "i1", json!({})).await;
}

#[tokio::test]
async fn a_frame_that_cannot_be_read_is_refused_and_the_connection_stays() {
    let world = World::new().await;
    let mut bus = world.agent("a", "i1").await;
    for (frame, id) in [
        ("no json", Value::Null),
        ("[]", Value::Null),
        (r#"{"type":"dance","id":"x1","payload":{}}"#, json!("x1")),
        (r#"{"type":"status","id":"x2","payload":{"agentStatus":"flying","statusSeq":1}}"#, json!("x2")),
        (r#"{"type":"status","id":"x3","payload":{"agentStatus":"idle","statusSeq":-1}}"#, json!("x3")),
        (r#"{"type":"resume","id":"x4","payload":{"since":"now"}}"#, json!("x4")),
        (r#"{"type":"status","payload":{"agentStatus":"idle","statusSeq":1}}"#, Value::Null),
        (r#"{"type":"command","id":"x5","payload":{"commandType":"agent.kill","target":"broadcast"}}"#, json!("x5")),
        (
            r#"{"type":"register","id":"x6","payload":{"role":"provider","componentId":"tag:x","instanceId":"i"}}"#,
            json!("x6"),
        ),
    ] {
        bus.raw(Message::text(frame)).await;
        let error = bus.expect("error").await;
        assert_eq!((&error["payload"]["code"], &error["id"]), (&json!("invalid_frame"), &id), "{frame}");
    }
    bus.raw(Message::binary(vec![1, 2, 3])).await;
    assert_eq!(bus.expect("error").await["payload"]["code"], "invalid_frame");
    assert_eq!(bus.so_far().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_status_is_acknowledged_and_an_older_one_changes_nothing() {
    let world = World::new().await;
    let mut bus = world.agent("a", "i1").await;
    for (status, ready, seq, expected) in
        [("busy", true, 5, ("busy", true)), ("idle", false, 4, ("busy", true)), ("online", false, 6, ("online", false))]
    {
        let payload = json!({"agentStatus": status, "ready": ready, "statusSeq": seq, "meta": {"n": seq}});
        let id = bus.send("status", payload).await;
        assert_eq!(bus.expect("ack").await["payload"]["frameId"], id);
        let agent = world.api.get("/agents/a").await.ok();
        assert_eq!((agent["status"].as_str().unwrap(), agent["ready"].as_bool().unwrap()), expected);
    }
    assert_eq!(world.api.get("/agents/a").await.ok()["meta"]["n"], 6);
}

#[tokio::test]
async fn a_heartbeat_merges_metadata_key_by_key() {
    let world = World::new().await;
    let mut bus = world.bus().await;
    bus.register("a", "i1", json!({"meta": {"kept": 1, "changed": 1}})).await;
    let meta = json!({"changed": 2, "providerCapabilities": {"x": true}, "context": {"utilization": 0.5}});
    bus.send("heartbeat", json!({"status": "busy", "meta": meta})).await;
    bus.so_far().await;
    let agent = world.api.get("/agents/a").await.ok();
    assert_eq!((&agent["meta"]["kept"], &agent["meta"]["changed"]), (&json!(1), &json!(2)));
    assert_eq!(agent["status"], "busy");
    assert_eq!(agent["providerCapabilities"], json!({"x": true}));
    assert_eq!(agent["context"], json!({"utilization": 0.5}));
}

#[tokio::test]
async fn the_same_instance_keeps_its_epoch_and_its_older_connection_is_closed_without_a_word() {
    let world = World::new().await;
    let mut first = world.agent("a", "i1").await;
    let mut second = world.bus().await;
    assert_eq!(second.register("a", "i1", json!({})).await["epoch"], 1);
    assert_eq!(first.next().await, Value::Null);
    world.api.send("a", json!({})).await;
    second.event("message.new").await;
}

#[tokio::test]
async fn another_instance_takes_over_and_the_older_one_is_told_so_and_closed() {
    let world = World::new().await;
    let mut first = world.agent("a", "i1").await;
    let mut second = world.bus().await;
    assert_eq!(second.register("a", "i2", json!({})).await["epoch"], 2);
    assert_eq!(first.expect("error").await["payload"]["code"], "superseded");
    first.closed().await;
    world.api.send("a", json!({})).await;
    second.event("message.new").await;
}

#[tokio::test]
async fn two_instances_do_not_evict_each_other_for_ever() {
    let world = World::new().await;
    let _first = world.agent("a", "i1").await;
    let _second = world.agent("a", "i2").await;
    let mut third = world.agent("a", "i1").await;
    assert_eq!(third.session["epoch"], 3);

    let mut fourth = world.bus().await;
    let refused = fourth.try_register("a", "i2", json!({})).await;
    assert_eq!(refused["payload"]["code"], "superseded");
    fourth.closed().await;
    world.api.post("/agents", json!({"id": "a", "instanceId": "i2"})).await.refused(409, "superseded");

    assert_eq!(world.api.get("/agents/a").await.ok()["epoch"], 3);
    assert_eq!(third.so_far().await, Vec::<Value>::new());
    // A third party is not part of that quarrel.
    assert_eq!(world.agent("a", "i3").await.session["epoch"], 4);
}

#[tokio::test]
async fn an_instance_may_take_over_again_after_the_pause() {
    let world = World::with(Config { takeover_pause: Duration::ZERO, ..config() }).await;
    for (turn, instance) in ["i1", "i2", "i1", "i2", "i1"].into_iter().enumerate() {
        assert_eq!(world.agent("a", instance).await.session["epoch"], turn as u64 + 1);
    }
}

#[tokio::test]
async fn a_message_reaches_its_agent_at_once_and_others_not() {
    let world = World::new().await;
    let (mut a, mut b) = (world.agent("a", "i1").await, world.agent("b", "i1").await);
    let sent = world.api.post("/messages", json!({"from": "b", "to": "a", "body": "hi"})).await.ok();
    let frame = a.expect("event").await;
    assert_eq!(frame["payload"], json!({"seq": 1, "event": "message.new", "data": sent}));
    assert_eq!(frame["id"], "e1");
    // The sender hears of its own message too.
    assert_eq!(b.event("message.new").await["id"], sent["id"]);
    world.api.send("c", json!({})).await;
    assert_eq!(a.so_far().await, Vec::<Value>::new());
    assert_eq!(b.so_far().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_resume_replays_what_came_after_in_order_under_the_same_ids() {
    let world = World::new().await;
    let mut a = world.agent("a", "i1").await;
    let mut live = Vec::new();
    for n in 0..500 {
        world.api.send(if n % 5 == 0 { "other" } else { "a" }, json!({})).await;
    }
    while live.len() < 400 {
        live.push(a.expect("event").await);
    }
    drop(a);

    let mut again = world.bus().await;
    assert_eq!(again.register("a", "i1", json!({})).await["cursor"], 500);
    let since = live[99]["payload"]["seq"].as_u64().unwrap();
    let id = again.send("resume", json!({"since": since})).await;
    let replayed = again.expect("replayed").await;
    assert_eq!(replayed["id"], id);
    assert_eq!(replayed["payload"], json!({"from": since + 1, "to": 500, "gap": false}));
    world.api.send("a", json!({"body": "while replaying"})).await;
    for expected in &live[100..] {
        assert_eq!(&again.expect("event").await, expected);
    }
    assert_eq!(again.event("message.new").await["body"], "while replaying");
    assert_eq!(again.so_far().await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_acknowledged_event_comes_again_when_the_resume_asks_for_it() {
    let world = World::new().await;
    let mut a = world.agent("a", "i1").await;
    world.api.send("a", json!({})).await;
    let frame = a.expect("event").await;
    a.send("ack", json!({"frameId": frame["id"]})).await;
    a.send("resume", json!({"since": 0})).await;
    a.expect("replayed").await;
    assert_eq!(a.expect("event").await, frame);
}

#[tokio::test]
async fn two_resumes_at_once_end_live_and_miss_nothing() {
    let world = World::new().await;
    let mut a = world.agent("a", "i1").await;
    for _ in 0..300 {
        world.api.send("a", json!({})).await;
    }
    assert_eq!(seqs(&a.so_far().await).len(), 300);
    a.send("resume", json!({"since": 0})).await;
    a.send("resume", json!({"since": 290})).await;
    world.api.send("a", json!({})).await;
    let mut seen = Vec::new();
    while seen.last() != Some(&301) || seen.len() < 310 {
        seen.extend(a.next().await["payload"]["seq"].as_u64());
    }
    assert_eq!(seen[..300], (1..=300).collect::<Vec<_>>());
    world.api.send("a", json!({})).await;
    assert_eq!(seqs(&a.so_far().await), vec![302]);
}

#[tokio::test]
async fn a_resume_from_before_what_is_kept_says_that_there_is_a_gap() {
    let world = World::with(Config { keep_events: 3, ..config() }).await;
    let mut a = world.agent("a", "i1").await;
    for _ in 0..5 {
        world.api.send("a", json!({})).await;
    }
    a.so_far().await;
    for (since, expected, events) in [
        (0, json!({"from": 3, "to": 5, "gap": true}), vec![3, 4, 5]),
        (1, json!({"from": 3, "to": 5, "gap": true}), vec![3, 4, 5]),
        (2, json!({"from": 3, "to": 5, "gap": false}), vec![3, 4, 5]),
        (5, json!({"from": 6, "to": 5, "gap": false}), vec![]),
        // A position that this relay never gave out.
        (99, json!({"from": 6, "to": 5, "gap": true}), vec![]),
    ] {
        a.send("resume", json!({"since": since})).await;
        let frames = a.so_far().await;
        assert_eq!(frames[0]["payload"], expected, "since {since}");
        assert_eq!(seqs(&frames[1..]), events, "since {since}");
    }
}

#[tokio::test]
async fn other_events_come_by_subscription_within_its_scopes() {
    let world = World::new().await;
    let mut watcher = world.agent("watcher", "i1").await;
    let mut channel = world.agent("channel-watcher", "i1").await;
    watcher.send("subscribe", json!({"events": ["message.*"], "scopes": ["a"]})).await;
    watcher.expect("ack").await;
    channel.send("subscribe", json!({"events": ["message.new"], "scopes": ["channel:dev"]})).await;
    channel.expect("ack").await;
    let to_a = world.api.send("a", json!({})).await;
    world.api.send("b", json!({})).await;
    let to_channel = world.api.send("channel:dev", json!({})).await;
    assert_eq!(watcher.event("message.new").await["id"], to_a);
    assert_eq!(watcher.so_far().await, Vec::<Value>::new());
    assert_eq!(channel.event("message.new").await["id"], to_channel);
    assert_eq!(channel.so_far().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_client_that_sends_without_reading_is_let_go() {
    let world = World::new().await;
    let mut bus = world.agent("a", "i1").await;
    // Nobody reads here; the answers fill first the socket and then the queue.
    let body = "x".repeat(900_000);
    for _ in 0..40 {
        world.api.send("a", json!({"body": body})).await;
    }
    let mut received = 0;
    loop {
        let frame = bus.next().await;
        if frame.is_null() {
            break;
        }
        received += 1;
    }
    assert!(received < 40, "{received}");
    // And what it missed is there when it comes back.
    let mut again = world.agent("a", "i1").await;
    again.send("resume", json!({"since": received})).await;
    again.expect("replayed").await;
    assert_eq!(again.expect("event").await["payload"]["seq"], received + 1);
}

#[tokio::test]
async fn stopping_closes_the_connections() {
    let world = World::new().await;
    let mut bus: Bus = world.agent("a", "i1").await;
    world.relay.stop().await;
    bus.closed().await;
}

#[tokio::test]
async fn a_connection_that_does_not_register_is_closed() {
    let world = World::with(Config { register_within: Duration::from_millis(50), ..config() }).await;
    let mut silent = world.bus().await;
    silent.closed().await;
    // And one that only talks is closed as well.
    let mut talker = world.bus().await;
    talker.send("heartbeat", json!({"status": "idle"})).await;
    talker.closed().await;
}

#[tokio::test]
async fn a_connection_that_answers_pings_lives_and_a_silent_one_is_dead() {
    let pace = Config {
        ping_interval: Duration::from_millis(20),
        dead_after: Duration::from_millis(200),
        offline_after: Duration::ZERO,
        ..config()
    };
    let world = World::with(pace).await;
    let mut awake = world.agent("awake", "i1").await;
    // Nobody reads this one, so that nobody answers its pings.
    let _asleep = world.agent("asleep", "i1").await;
    let mut watch = async || loop {
        awake.pinged().await;
        if world.api.get("/agents/asleep").await.ok()["status"] == "offline" {
            return;
        }
    };
    timeout(PATIENCE, watch()).await.expect("a silent connection is noticed");
    assert_eq!(world.api.get("/agents/awake").await.ok()["status"], "idle");
    assert_eq!(awake.so_far().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_frame_that_is_too_large_ends_the_connection_and_changes_nothing() {
    let world = World::new().await;
    let mut bus = world.agent("a", "i1").await;
    let meta = json!({"big": "x".repeat(2 << 20)});
    bus.send("heartbeat", json!({"status": "busy", "meta": meta})).await;
    bus.closed().await;
    assert_eq!(world.api.get("/agents/a").await.ok()["status"], "idle");
}

#[tokio::test]
async fn many_large_events_are_replayed_whole() {
    let world = World::new().await;
    let mut a = world.agent("a", "i1").await;
    let body = "x".repeat(900_000);
    for _ in 0..12 {
        world.api.send("a", json!({"body": body})).await;
        a.event("message.new").await;
    }
    a.send("resume", json!({"since": 0})).await;
    a.expect("replayed").await;
    for seq in 1..=12 {
        assert_eq!(a.expect("event").await["payload"]["seq"], seq);
    }
    world.api.send("a", json!({})).await;
    assert_eq!(a.event("message.new").await["id"], 13);
}

#[tokio::test]
async fn a_superseded_connection_cannot_take_its_agent_back() {
    let world = World::new().await;
    let mut first = world.agent("a", "i1").await;
    let mut second = world.agent("a", "i2").await;
    assert_eq!(first.expect("error").await["payload"]["code"], "superseded");
    first.send("register", json!({"role": "provider", "componentId": "a", "instanceId": "i1"})).await;
    first.closed().await;
    assert_eq!(world.api.get("/agents/a").await.ok()["epoch"], 2);
    assert_eq!(second.so_far().await, Vec::<Value>::new());
}
