//! Threads, reactions, replies owed.

use serde_json::{Value, json};

use crate::wire::World;

async fn owed(world: &World, agent: &str) -> Vec<u64> {
    let list = world.api.get(&format!("/agents/{agent}/obligations")).await.ok();
    list.as_array().unwrap().iter().map(|o| o["messageId"].as_u64().unwrap()).collect()
}

async fn reply(world: &World, from: &str, to: u64) -> u64 {
    let body = json!({"from": from, "to": "sender", "body": "r", "replyTo": to});
    world.api.post("/messages", body).await.ok()["id"].as_u64().unwrap()
}

#[tokio::test]
async fn a_thread_is_read_from_any_of_its_messages() {
    let world = World::new().await;
    let root = world.api.send("a", json!({})).await;
    let first = reply(&world, "a", root).await;
    let other = world.api.send("a", json!({})).await;
    let second = reply(&world, "sender", first).await;
    let thread = async |id: u64, query: &str| -> Vec<u64> {
        let list = world.api.get(&format!("/messages/{id}/thread{query}")).await.ok();
        list.as_array().unwrap().iter().map(|m| m["id"].as_u64().unwrap()).collect()
    };
    for id in [root, first, second] {
        assert_eq!(thread(id, "").await, [root, first, second]);
    }
    assert_eq!(thread(other, "").await, [other]);
    assert_eq!(thread(root, &format!("?after={root}&limit=1")).await, [first]);
    world.api.delete(&format!("/messages/{root}")).await.ok();
    assert_eq!(thread(second, "").await, [first, second]);
    world.api.get(&format!("/messages/{root}/thread")).await.refused(404, "not_found");
}

#[tokio::test]
async fn the_cursor_is_where_the_relay_stands() {
    let world = World::new().await;
    assert_eq!(world.api.get("/messages/cursor").await.ok(), json!({"cursor": 0, "eventCursor": 0}));
    world.api.send("a", json!({})).await;
    let last = world.api.send("a", json!({})).await;
    assert_eq!(world.api.get("/messages/cursor").await.ok(), json!({"cursor": last, "eventCursor": 2}));
    // A message that was taken back has had its id all the same.
    world.api.delete(&format!("/messages/{last}")).await.ok();
    assert_eq!(world.api.get("/messages/cursor").await.ok(), json!({"cursor": last, "eventCursor": 3}));
}

#[tokio::test]
async fn a_reaction_is_there_once_and_the_sender_hears_of_it() {
    let world = World::new().await;
    let mut sender = world.agent("sender", "i1").await;
    let id = world.api.send("a", json!({})).await;
    sender.event("message.new").await;
    let path = format!("/messages/{id}/reactions");
    for (agent, emoji) in [("a", "👍"), ("a", "👍"), ("b", "👍"), ("a", "🧑‍🚀")] {
        let body = json!({"agentId": agent, "emoji": emoji});
        assert_eq!(world.api.post(&path, body).await.ok(), json!({"ok": true}));
    }
    let list = world.api.get(&path).await.ok();
    let mut there: Vec<Value> = list.as_array().unwrap().iter().map(|r| json!([r["agentId"], r["emoji"]])).collect();
    there.sort_by_key(ToString::to_string);
    assert_eq!(there, [json!(["a", "👍"]), json!(["a", "🧑‍🚀"]), json!(["b", "👍"])]);
    for (agent, emoji) in [("a", "👍"), ("b", "👍"), ("a", "🧑‍🚀")] {
        let told = json!({"messageId": id, "agentId": agent, "emoji": emoji});
        assert_eq!(sender.event("message.reaction").await, told);
    }
    assert_eq!(sender.so_far().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_reply_is_owed_until_it_is_sent() {
    let world = World::new().await;
    world.api.register("a", "i1", json!({"tags": ["t"]})).await;
    world.api.register("b", "i1", json!({"tags": ["t"]})).await;
    let plain = world.api.send("a", json!({})).await;
    let extra = json!({"replyExpected": true, "subject": "S", "payload": {"dueAt": 99}});
    let asked = world.api.send("a", extra).await;
    let both = world.api.send("tag:t", json!({"replyExpected": true})).await;
    let own = world.api.send("broadcast", json!({"replyExpected": true, "from": "a"})).await;
    let since = world.api.get(&format!("/messages/{asked}")).await.ok()["createdAt"].clone();
    let list = world.api.get("/agents/a/obligations").await.ok();
    assert_eq!(list[0], json!({"messageId": asked, "from": "sender", "subject": "S", "since": since, "dueAt": 99}));
    assert_eq!((list[1].get("dueAt"), list[1].get("subject")), (None, Some(&Value::Null)));
    assert_eq!(owed(&world, "a").await, [asked, both]);
    assert_eq!(owed(&world, "b").await, [both, own]);

    // Neither a read mark, nor a reaction, nor somebody else's reply is one.
    world.api.post(&format!("/messages/{asked}/read"), json!({"agentId": "a"})).await.ok();
    world.api.post(&format!("/messages/{asked}/reactions"), json!({"agentId": "a", "emoji": "👍"})).await.ok();
    reply(&world, "b", asked).await;
    reply(&world, "a", plain).await;
    assert_eq!(owed(&world, "a").await, [asked, both]);
    reply(&world, "a", asked).await;
    assert_eq!((owed(&world, "a").await, owed(&world, "b").await), (vec![both], vec![both, own]));
    world.api.delete(&format!("/messages/{both}")).await.ok();
    assert_eq!(owed(&world, "a").await, Vec::<u64>::new());
    world.api.get("/agents/none/obligations").await.refused(404, "not_found");
}

#[tokio::test]
async fn of_a_pool_the_one_that_took_a_message_owes_the_reply() {
    let world = World::new().await;
    let a = world.api.register("a", "i1", json!({"tags": ["t"]})).await;
    world.api.register("b", "i1", json!({"tags": ["t"]})).await;
    let id = world.api.send("tag:t", json!({"claimable": true, "replyExpected": true})).await;
    assert_eq!((owed(&world, "a").await, owed(&world, "b").await), (vec![], vec![]));
    world.api.claim(id, "a", &a).await;
    assert_eq!((owed(&world, "a").await, owed(&world, "b").await), (vec![id], vec![]));
    // Also when the work is done.
    world.api.post(&format!("/messages/{id}/read"), json!({"agentId": "a", "session": a})).await.ok();
    assert_eq!((owed(&world, "a").await, owed(&world, "b").await), (vec![id], vec![]));
    reply(&world, "a", id).await;
    assert_eq!(owed(&world, "a").await, Vec::<u64>::new());
}

#[tokio::test]
async fn an_agent_is_told_of_the_label_and_the_tags_it_is_given() {
    let world = World::new().await;
    let mut a = world.agent("a", "i1").await;
    world.api.put("/agents/a/label", json!({"label": "L"})).await.ok();
    world.api.put("/agents/a/tags", json!({"tags": ["t"]})).await.ok();
    assert_eq!(a.event("agent.updated").await, json!({"agentId": "a", "label": "L", "tags": []}));
    assert_eq!(a.event("agent.updated").await, json!({"agentId": "a", "label": "L", "tags": ["t"]}));
}
