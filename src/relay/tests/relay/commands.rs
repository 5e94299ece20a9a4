//! Commands: pushed, acknowledged, reported.

use serde_json::{Value, json};

use crate::wire::World;

async fn issue(world: &World, target: &str) -> Value {
    let body = json!({"type": "agent.restart", "target": target, "params": {"reason": "x"}});
    world.api.post("/commands", body).await.ok()
}

#[tokio::test]
async fn a_command_is_pushed_to_its_agent_and_to_nobody_else() {
    let world = World::new().await;
    let (mut a, mut b) = (world.agent("a", "i1").await, world.agent("b", "i1").await);
    let command = issue(&world, "a").await;
    assert_eq!((&command["status"], &command["type"]), (&json!("pending"), &json!("agent.restart")));
    let frame = a.expect("command").await;
    assert_eq!(frame["id"], format!("c-{}", command["id"].as_str().unwrap()));
    assert_eq!(
        frame["payload"],
        json!({"commandId": command["id"], "commandType": "agent.restart", "target": "a",
        "params": {"reason": "x"}})
    );
    assert_eq!(b.so_far().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_runner_id_is_a_target_too() {
    let world = World::new().await;
    let mut bus = world.bus().await;
    bus.send("register", json!({"role": "provider", "componentId": "runner-1", "agentId": "a", "instanceId": "i"}))
        .await;
    bus.expect("registered").await;
    issue(&world, "runner-1").await;
    let frame = bus.expect("command").await;
    bus.send("ack", json!({"frameId": frame["id"]})).await;
    bus.so_far().await;
    bus.send("register", json!({"role": "provider", "componentId": "runner-1", "agentId": "a", "instanceId": "i"}))
        .await;
    bus.expect("registered").await;
    assert_eq!(bus.so_far().await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again_after_each_registration_and_then_no_more() {
    let world = World::new().await;
    let first = issue(&world, "a").await;
    let second = issue(&world, "a").await;
    for acknowledge in [false, false, true] {
        let mut a = world.agent("a", "i1").await;
        for expected in [&first, &second] {
            let frame = a.expect("command").await;
            assert_eq!(frame["payload"]["commandId"], expected["id"]);
            if acknowledge {
                a.send("ack", json!({"frameId": frame["id"]})).await;
            }
        }
        a.so_far().await;
    }
    assert_eq!(world.agent("a", "i1").await.so_far().await, Vec::<Value>::new());
}

#[tokio::test]
async fn another_agent_cannot_acknowledge_a_command() {
    let world = World::new().await;
    let command = issue(&world, "a").await;
    let mut b = world.agent("b", "i1").await;
    b.send("ack", json!({"frameId": format!("c-{}", command["id"].as_str().unwrap())})).await;
    b.so_far().await;
    world.agent("a", "i1").await.expect("command").await;
}

#[tokio::test]
async fn reports_go_forward_only_and_the_first_outcome_stands() {
    let world = World::new().await;
    let id = issue(&world, "a").await["id"].as_str().unwrap().to_owned();
    let path = format!("/commands/{id}/status");
    world.api.post(&path, json!({"status": "pending"})).await.refused(422, "invalid");
    for (status, expected) in [("running", "running"), ("accepted", "running")] {
        assert_eq!(world.api.post(&path, json!({"status": status})).await.ok()["status"], expected);
    }
    let outcome = json!({"status": "succeeded", "result": {"n": 1}});
    let ended = world.api.post(&path, outcome.clone()).await.ok();
    assert_eq!((&ended["status"], &ended["result"]), (&json!("succeeded"), &json!({"n": 1})));
    assert_eq!(world.api.post(&path, outcome).await.ok(), ended);
    assert_eq!(world.api.post(&path, json!({"status": "running"})).await.ok(), ended);
    world.api.post(&path, json!({"status": "failed", "error": "e"})).await.refused(409, "command_ended");
    assert_eq!(world.api.get(&format!("/commands/{id}")).await.ok(), ended);
    // What was reported on needs no pushing any more.
    assert_eq!(world.agent("a", "i1").await.so_far().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_client_of_the_bus_can_issue_a_command() {
    let world = World::new().await;
    let (mut operator, mut a) = (world.agent("operator", "i1").await, world.agent("a", "i1").await);
    let id = operator.send("command", json!({"commandType": "agent.compact", "target": "a"})).await;
    assert_eq!(operator.expect("ack").await["payload"]["frameId"], id);
    let frame = a.expect("command").await;
    assert_eq!(
        (&frame["payload"]["commandType"], &frame["payload"]["params"]),
        (&json!("agent.compact"), &Value::Null)
    );
}

#[tokio::test]
async fn a_deleted_agent_leaves_no_orders_to_its_successor() {
    let world = World::new().await;
    world.api.register("a", "i1", json!({})).await;
    let command = issue(&world, "a").await;
    world.api.delete("/agents/a?instanceId=i1&epoch=1").await.ok();
    assert_eq!(world.agent("a", "i2").await.so_far().await, Vec::<Value>::new());
    let command = world.api.get(&format!("/commands/{}", command["id"].as_str().unwrap())).await.ok();
    assert_eq!(command["status"], "failed");
    assert!(command["error"].as_str().unwrap().contains("gone"));
}
