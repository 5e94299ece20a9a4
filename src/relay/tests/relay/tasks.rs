//! Tasks: their message, reports under fences, their end.

use std::time::Duration;

use relay_runner_relay::Config;
use serde_json::{Value, json};

use crate::wire::{World, config};

/// A task for `a`, claimed by it: session, task, message, fence.
async fn claimed(world: &World) -> (Value, u64, u64, Value) {
    let session = world.api.register("a", "i1", json!({"tags": ["pool"]})).await;
    let task = world.api.post("/tasks", json!({"title": "T", "body": "B", "target": "tag:pool"})).await.ok();
    let (task, message) = (task["id"].as_u64().unwrap(), task["messageId"].as_u64().unwrap());
    let fence = world.api.claim(message, "a", &session).await["fence"].clone();
    (session, task, message, fence)
}

#[tokio::test]
async fn the_files_of_a_task_go_with_its_message() {
    let world = World::new().await;
    let file = world.api.call("POST", "/artifacts?name=a.txt", &[], "abc").await.ok();
    let task = world.api.post("/tasks", json!({"title": "T", "target": "a", "attachments": [file]})).await.ok();
    let message = world.api.get(&format!("/messages/{}", task["messageId"])).await.ok();
    assert_eq!(message["attachments"], json!([file]));
    let none = json!({"title": "T", "target": "a", "attachments": [{"id": "none", "name": "n"}]});
    world.api.post("/tasks", none).await.refused(422, "invalid");
    world.api.get("/tasks/2").await.refused(404, "not_found");
}

#[tokio::test]
async fn a_task_comes_with_its_claimable_message() {
    let world = World::new().await;
    let mut a = world.agent("a", "i1").await;
    let made = world
        .api
        .post("/tasks", json!({"title": "T", "body": "B", "target": "a", "from": "s", "priority": "urgent"}))
        .await;
    assert_eq!(made.status, 201);
    let message = a.event("message.new").await;
    assert_eq!(
        (&message["kind"], &message["subject"], &message["body"]),
        (&json!("task"), &json!("T"), &json!("T\n\nB"))
    );
    assert_eq!(
        (&message["claimable"], &message["priority"], &message["from"]),
        (&json!(true), &json!("urgent"), &json!("s"))
    );
    assert_eq!(message["payload"], json!({"taskId": made.body["id"]}));
    assert_eq!(made.body["messageId"], message["id"]);
    let event = a.event("task.created").await;
    assert_eq!(event, json!({"taskId": made.body["id"], "messageId": message["id"], "status": "open"}));
    assert_eq!(world.api.get(&format!("/tasks/{}", made.body["id"])).await.ok(), made.body);
    let title_only = world.api.post("/tasks", json!({"title": "only", "target": "a"})).await.ok();
    assert_eq!(world.api.get(&format!("/messages/{}", title_only["messageId"])).await.ok()["body"], "only");
}

#[tokio::test]
async fn the_same_dedup_key_is_the_same_task_until_it_has_ended() {
    let world = World::new().await;
    let new = json!({"title": "T", "target": "a", "dedupKey": "k"});
    let first = world.api.post("/tasks", new.clone()).await.ok();
    assert_eq!(world.api.post("/tasks", new.clone()).await.ok(), first);
    assert_eq!(world.api.get("/tasks").await.ok().as_array().unwrap().len(), 1);
    world.api.report(1, "failed", "operator", &Value::Null).await.ok();
    assert_eq!(world.api.post("/tasks", new).await.ok()["id"], 2);
}

#[tokio::test]
async fn a_report_under_the_fence_moves_the_task_and_is_told() {
    let world = World::new().await;
    let mut sender = world.agent("s", "i1").await;
    let (_, task, message, fence) = claimed(&world).await;
    world
        .api
        .post(
            &format!("/tasks/{task}/status"),
            json!({"status": "in_progress", "agentId": "a", "fence": fence,
        "metadata": {"messageId": message, "completedBy": "runner"}}),
        )
        .await
        .ok();
    let done = json!({"status": "done", "agentId": "a", "fence": fence, "body": "made it", "metadata": {"n": 1}});
    let ended = world.api.post(&format!("/tasks/{task}/status"), done.clone()).await.ok();
    assert_eq!(
        (&ended["status"], &ended["report"], &ended["agentId"]),
        (&json!("done"), &json!("made it"), &json!("a"))
    );
    assert_eq!(ended["metadata"], json!({"messageId": message, "completedBy": "runner", "n": 1}));
    // The same end told again changes nothing; another one is refused.
    assert_eq!(world.api.post(&format!("/tasks/{task}/status"), done).await.ok(), ended);
    world.api.report(task, "failed", "a", &fence).await.refused(409, "task_ended");
    assert_eq!(sender.so_far().await, Vec::<Value>::new());
}

#[tokio::test]
async fn sender_and_agent_hear_of_a_task() {
    let world = World::new().await;
    let mut s = world.agent("s", "i1").await;
    let mut a = world.agent("a", "i1").await;
    world.api.post("/tasks", json!({"title": "T", "target": "a", "from": "s"})).await.ok();
    world.api.report(1, "blocked", "a", &Value::Null).await.ok();
    for bus in [&mut s, &mut a] {
        bus.event("message.new").await;
        bus.event("task.created").await;
        let event = bus.event("task.updated").await;
        assert_eq!(event, json!({"taskId": 1, "messageId": 1, "status": "blocked", "agentId": "a"}));
    }
}

#[tokio::test]
async fn a_task_that_has_ended_finishes_its_message_and_its_claim() {
    let world = World::new().await;
    let (session, task, message, fence) = claimed(&world).await;
    world.api.report(task, "done", "a", &fence).await.ok();
    assert_eq!(world.api.unread("a").await, Vec::<u64>::new());
    world.api.change(message, "renew", "a", &session, &fence).await.refused(410, "lease_ended");
    let b = world.api.register("b", "i1", json!({"tags": ["pool"]})).await;
    assert_eq!(world.api.claim(message, "b", &b).await, json!({"ok": false, "claimedBy": "a"}));
}

#[tokio::test]
async fn a_read_mark_does_not_end_a_claim_whose_task_goes_on() {
    let world = World::new().await;
    let (session, task, message, fence) = claimed(&world).await;
    world.api.post(&format!("/messages/{message}/read"), json!({"agentId": "a", "session": session})).await.ok();
    assert_eq!(world.api.change(message, "renew", "a", &session, &fence).await.ok()["ok"], true);
    world.api.report(task, "done", "a", &fence).await.ok();
}

#[tokio::test]
async fn a_wrong_fence_and_no_fence_are_refused_while_the_claim_is_held() {
    let world = World::new().await;
    let (_, task, _, fence) = claimed(&world).await;
    world.api.report(task, "done", "a", &json!(77)).await.refused(409, "stale_fence");
    world.api.report(task, "done", "b", &fence).await.refused(409, "stale_fence");
    world.api.report(task, "done", "a", &Value::Null).await.refused(409, "claim_held");
    assert_eq!(world.api.get(&format!("/tasks/{task}")).await.ok()["status"], "open");
}

#[tokio::test]
async fn without_a_claim_anybody_may_set_a_task() {
    let world = World::new().await;
    world.api.post("/tasks", json!({"title": "T", "target": "a"})).await.ok();
    assert_eq!(world.api.report(1, "failed", "operator", &Value::Null).await.ok()["status"], "failed");
    world.api.register("a", "i1", json!({})).await;
    assert_eq!(world.api.unread("a").await, Vec::<u64>::new());
}

#[tokio::test]
async fn after_the_lease_the_right_fence_is_gone_and_an_older_one_stale() {
    let world = World::with(Config { lease: Duration::from_millis(100), ..config() }).await;
    let mut watcher = world.bus().await;
    watcher.register("b", "i1", json!({"tags": ["pool"]})).await;
    let (_, task, message, fence) = claimed(&world).await;
    world.api.report(task, "in_progress", "a", &fence).await.ok();
    for event in ["message.new", "task.created", "message.claimed", "task.updated", "message.claim_released"] {
        watcher.event(event).await;
    }
    // Nobody works on it any more.
    assert_eq!(watcher.event("task.updated").await["status"], "open");
    world.api.report(task, "done", "a", &fence).await.refused(410, "lease_ended");
    let session = watcher.session.clone();
    assert_eq!(world.api.claim(message, "b", &session).await["ok"], true);
    world.api.report(task, "done", "a", &fence).await.refused(409, "stale_fence");
}

#[tokio::test]
async fn a_release_and_a_deletion_open_the_task_again() {
    let world = World::new().await;
    let (session, task, message, fence) = claimed(&world).await;
    let status = async || world.api.get(&format!("/tasks/{task}")).await.ok()["status"].clone();
    for reported in ["in_progress", "blocked"] {
        let fence = world.api.claim(message, "a", &session).await["fence"].clone();
        assert_eq!(world.api.report(task, reported, "a", &fence).await.ok()["status"], reported);
        world.api.change(message, "release", "a", &session, &fence).await.ok();
        assert_eq!(status().await, "open");
    }
    world.api.report(task, "done", "a", &fence).await.refused(409, "stale_fence");
    let fence = world.api.claim(message, "a", &session).await["fence"].clone();
    world.api.report(task, "in_progress", "a", &fence).await.ok();
    world.api.delete("/agents/a?instanceId=i1&epoch=1").await.ok();
    let task = world.api.get(&format!("/tasks/{task}")).await.ok();
    assert_eq!((&task["status"], &task["agentId"]), (&json!("open"), &Value::Null));
}

#[tokio::test]
async fn two_messages_with_one_task_end_with_it() {
    let world = World::new().await;
    let (session, task, first, _) = claimed(&world).await;
    let second = world.api.send("a", json!({"claimable": true, "payload": {"taskId": task}})).await;
    let fence = world.api.claim(second, "a", &session).await["fence"].clone();
    // The task is still held by the first message's claim when the second is given back.
    world.api.report(task, "in_progress", "a", &fence).await.ok();
    world.api.change(second, "release", "a", &session, &fence).await.ok();
    assert_eq!(world.api.get(&format!("/tasks/{task}")).await.ok()["status"], "in_progress");
    let fence = world.api.claim(second, "a", &session).await["fence"].clone();
    world.api.report(task, "done", "a", &fence).await.ok();
    assert_eq!(world.api.unread("a").await, Vec::<u64>::new());
    assert_eq!(world.api.claim(first, "a", &session).await["ok"], false);
}

#[tokio::test]
async fn a_cancelled_task_takes_its_message_and_the_claim_with_it() {
    let world = World::new().await;
    let mut a = world.agent("a", "i1").await;
    let (session, task, message, fence) = {
        let task = world.api.post("/tasks", json!({"title": "T", "target": "a"})).await.ok();
        let message = task["messageId"].as_u64().unwrap();
        let fence = world.api.claim(message, "a", &a.session.clone()).await["fence"].clone();
        (a.session.clone(), task["id"].as_u64().unwrap(), message, fence)
    };
    for event in ["message.new", "task.created", "message.claimed"] {
        a.event(event).await;
    }
    assert_eq!(world.api.delete(&format!("/tasks/{task}")).await.ok()["status"], "failed");
    assert_eq!(a.event("task.cancelled").await, json!({"taskId": task, "messageId": message, "status": "failed"}));
    world.api.report(task, "done", "a", &fence).await.refused(409, "task_ended");
    world.api.change(message, "renew", "a", &session, &fence).await.refused(410, "lease_ended");
    assert_eq!(world.api.unread("a").await, Vec::<u64>::new());
}

#[tokio::test]
async fn tasks_are_listed_by_status_and_in_pages() {
    let world = World::new().await;
    for n in 0..4 {
        world.api.post("/tasks", json!({"title": format!("T{n}"), "target": "a"})).await.ok();
    }
    world.api.report(2, "done", "a", &Value::Null).await.ok();
    let ids = async |query: &str| -> Vec<u64> {
        let list = world.api.get(&format!("/tasks{query}")).await.ok();
        list.as_array().unwrap().iter().map(|t| t["id"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids("").await, [1, 2, 3, 4]);
    assert_eq!(ids("?status=open").await, [1, 3, 4]);
    assert_eq!(ids("?status=open&after=1&limit=1").await, [3]);
}
