//! Messages: addresses, inboxes, read marks, delivery stages.

use serde_json::{Value, json};

use crate::wire::World;

#[tokio::test]
async fn a_message_is_read_as_it_was_sent() {
    let world = World::new().await;
    let attachment = world.api.call("POST", "/artifacts?name=n", &[("Content-Type", "text/plain")], "abc").await.ok();
    let body = json!({"from": "s", "to": "a", "kind": "note", "subject": "S", "body": "B ü", "payload": {"deep": [1]},
        "priority": "urgent", "replyExpected": true, "attachments": [attachment], "unknown": "ignored"});
    let sent = world.api.post("/messages", body.clone()).await;
    assert_eq!(sent.status, 201);
    for key in ["from", "to", "kind", "subject", "body", "payload", "priority", "replyExpected", "attachments"] {
        assert_eq!(sent.body[key], body[key], "{key}");
    }
    assert_eq!((&sent.body["readBy"], &sent.body["claimable"]), (&json!([]), &json!(false)));
    let id = sent.body["id"].as_u64().unwrap();
    assert_eq!(world.api.get(&format!("/messages/{id}")).await.ok(), sent.body);

    let reply = world.api.post("/messages", json!({"from": "a", "to": "s", "body": "r", "replyTo": id})).await.ok();
    assert_eq!((&reply["replyTo"], &reply["threadId"], &reply["kind"]), (&json!(id), &json!(id), &json!("chat")));
    let second = json!({"from": "s", "to": "a", "body": "rr", "replyTo": reply["id"]});
    assert_eq!(world.api.post("/messages", second).await.ok()["threadId"], json!(id));
}

#[tokio::test]
async fn a_message_waits_for_an_agent_that_comes_later() {
    let world = World::new().await;
    let id = world.api.send("late", json!({})).await;
    world.api.get("/agents/late/inbox").await.refused(404, "not_found");
    world.api.register("late", "i1", json!({})).await;
    assert_eq!(world.api.unread("late").await, [id]);
}

#[tokio::test]
async fn every_kind_of_address_reaches_whom_it_means() {
    let world = World::new().await;
    let mut buses = Vec::new();
    for (agent, extra) in [
        ("a", json!({"meta": {"label": "L", "policyName": "P"}, "tags": ["t"], "capabilities": ["chat"]})),
        ("b", json!({"tags": ["t", "u"], "capabilities": []})),
        ("c", json!({"meta": {"policyName": "P"}, "capabilities": ["chat"]})),
    ] {
        let mut bus = world.bus().await;
        bus.register(agent, "i1", extra).await;
        buses.push(bus);
    }
    for claimable in [false, true] {
        for (to, from, expected) in [
            ("a", "x", vec!["a"]),
            ("broadcast", "x", vec!["a", "b", "c"]),
            ("broadcast", "b", vec!["a", "c"]),
            ("label:L", "x", vec!["a"]),
            ("tag:t", "x", vec!["a", "b"]),
            ("tag:u", "x", vec!["b"]),
            ("cap:chat", "x", vec!["a", "c"]),
            ("policy:P", "x", vec!["a"]),
            ("tag:nobody", "x", vec![]),
            ("policy:nobody", "x", vec![]),
        ] {
            let body = json!({"from": from, "to": to, "body": "b", "claimable": claimable});
            let id = world.api.post("/messages", body).await.ok()["id"].as_u64().unwrap();
            for (bus, agent) in buses.iter_mut().zip(["a", "b", "c"]) {
                let meant = expected.contains(&agent);
                assert_eq!(world.api.unread(agent).await.contains(&id), meant, "{to} {agent}");
                // The sender hears of its message as well, though it does not get it.
                let told: Vec<Value> = bus.so_far().await;
                assert_eq!(told.len(), usize::from(meant || from == agent), "{to} {agent}");
            }
        }
    }
}

#[tokio::test]
async fn whoever_comes_later_finds_what_is_unread_but_no_old_broadcast() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for to in ["tag:t", "label:L", "cap:c", "policy:P", "broadcast"] {
        ids.push(world.api.send(to, json!({})).await);
    }
    let mut bus = world.bus().await;
    let extra = json!({"meta": {"label": "L", "policyName": "P"}, "tags": ["t"], "capabilities": ["c"]});
    let answer = bus.register("late", "i1", extra).await;
    assert_eq!(world.api.unread("late").await, ids[..4]);
    // What was chosen for it just now is news.
    let news = bus.expect("event").await;
    assert_eq!(
        (&news["payload"]["data"]["id"], &news["payload"]["data"]["resolvedToAgent"]),
        (&json!(ids[3]), &json!("late"))
    );
    assert!(news["payload"]["seq"].as_u64() > answer["cursor"].as_u64());
    let later = world.api.send("broadcast", json!({})).await;
    assert_eq!(world.api.unread("late").await.last(), Some(&later));
    // A reconnect does not lose it.
    world.api.register("late", "i1", json!({})).await;
    assert!(world.api.unread("late").await.contains(&later));
}

#[tokio::test]
async fn a_message_for_a_policy_goes_to_one_agent_and_on_when_that_one_is_gone() {
    let world = World::new().await;
    let policy = json!({"meta": {"policyName": "P"}});
    world.api.register("a", "i1", policy.clone()).await;
    let b = world.api.register("b", "i1", policy).await;
    world.api.post("/agents/b/ready", json!({"ready": true, "statusSeq": 1, "session": b})).await.ok();
    let id = world.api.send("policy:P", json!({})).await;
    // The one that is ready comes first.
    assert_eq!(world.api.get(&format!("/messages/{id}")).await.ok()["resolvedToAgent"], "b");
    assert_eq!((world.api.unread("a").await, world.api.unread("b").await), (vec![], vec![id]));
    world.api.delete("/agents/b?instanceId=i1&epoch=1").await.ok();
    assert_eq!(world.api.unread("a").await, [id]);
}

#[tokio::test]
async fn the_inbox_is_in_order_and_in_pages() {
    let world = World::new().await;
    let session = world.api.register("a", "i1", json!({})).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(world.api.send("a", json!({})).await);
    }
    let mark = json!({"agentId": "a", "session": session});
    world.api.post(&format!("/messages/{}/read", ids[1]), mark).await.ok();
    let page = async |query: &str| -> Vec<u64> {
        let list = world.api.get(&format!("/agents/a/inbox?{query}")).await.ok();
        list.as_array().unwrap().iter().map(|m| m["id"].as_u64().unwrap()).collect()
    };
    assert_eq!(page("").await, ids);
    assert_eq!(page("unread=true").await, [ids[0], ids[2], ids[3], ids[4]]);
    assert_eq!(page(&format!("unread=true&after={}&limit=2", ids[0])).await, ids[2..4]);
    assert_eq!(world.api.get(&format!("/messages/{}", ids[1])).await.ok()["readBy"], json!(["a"]));
}

#[tokio::test]
async fn a_plain_message_is_read_by_each_for_itself() {
    let world = World::new().await;
    for agent in ["a", "b"] {
        world.api.register(agent, "i1", json!({"tags": ["t"]})).await;
    }
    let id = world.api.send("tag:t", json!({})).await;
    world.api.post(&format!("/messages/{id}/read"), json!({"agentId": "a"})).await.ok();
    world.api.post(&format!("/messages/{id}/read"), json!({"agentId": "a"})).await.ok();
    assert_eq!((world.api.unread("a").await, world.api.unread("b").await), (vec![], vec![id]));
}

#[tokio::test]
async fn a_deleted_message_is_gone_and_those_it_was_for_are_told() {
    let world = World::new().await;
    let mut a = world.agent("a", "i1").await;
    let id = world.api.send("a", json!({"claimable": true})).await;
    a.event("message.new").await;
    let session = a.session.clone();
    let fence = world.api.claim(id, "a", &session).await["fence"].clone();
    a.event("message.claimed").await;
    world.api.delete(&format!("/messages/{id}")).await.ok();
    assert_eq!(a.event("message.deleted").await, json!({"messageId": id}));
    assert_eq!(world.api.unread("a").await, Vec::<u64>::new());
    world.api.get(&format!("/messages/{id}")).await.refused(404, "not_found");
    world.api.change(id, "renew", "a", &session, &fence).await.refused(404, "not_found");
}

#[tokio::test]
async fn delivery_stages_are_a_history_without_repeats() {
    let world = World::new().await;
    let session = world.api.register("a", "i1", json!({})).await;
    let id = world.api.send("a", json!({})).await;
    let path = format!("/messages/{id}/delivery");
    for (stage, attempt, reason) in [
        ("held", 1, Value::Null),
        ("offered", 1, Value::Null),
        ("offered", 1, json!("again")),
        ("offered", 2, json!("second try")),
        ("setAside", 2, json!("no use")),
    ] {
        let body = json!({"agentId": "a", "session": session, "stage": stage, "attempt": attempt, "reason": reason});
        assert_eq!(world.api.post(&path, body).await.ok(), json!({"ok": true}));
    }
    let history = world.api.get(&path).await.ok();
    let told: Vec<Value> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|d| json!([d["seq"], d["agentId"], d["stage"], d["attempt"], d["reason"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!([1, "a", "held", 1, null]),
            json!([2, "a", "offered", 1, null]),
            json!([3, "a", "offered", 2, "second try"]),
            json!([4, "a", "setAside", 2, "no use"]),
        ]
    );
}
