//! Commands: handed over until they are acknowledged, and reported on.

use serde_json::{Value, json};

use super::subject::Subject;

#[tokio::test]
async fn a_command_comes_again_until_it_is_acknowledged() {
    let subject = Subject::new().await;
    let a = subject.name("a");
    let mut bus = subject.agent(&a, "i1", json!({})).await;
    let body = json!({"type": "agent.compact", "target": a, "params": {"reason": "r"}});
    let command = subject.post("/commands", body).await.ok();
    let frame = bus.expect("command").await;
    let payload = &frame["payload"];
    assert_eq!(
        json!([payload["commandId"], payload["commandType"], payload["params"]]),
        json!([command["id"], "agent.compact", {"reason": "r"}])
    );
    drop(bus);
    let mut bus = subject.agent(&a, "i1", json!({})).await;
    assert_eq!(bus.expect("command").await, frame);
    bus.send("ack", json!({"frameId": frame["id"]})).await;
    bus.so_far().await;
    drop(bus);
    let mut bus = subject.agent(&a, "i1", json!({})).await;
    assert_eq!(bus.so_far().await, Vec::<Value>::new());

    let path = format!("/commands/{}", command["id"].as_str().unwrap());
    for status in ["accepted", "running"] {
        subject.post(&format!("{path}/status"), json!({"status": status})).await.ok();
    }
    let outcome = json!({"status": "succeeded", "result": {"action": "compact"}});
    subject.post(&format!("{path}/status"), outcome.clone()).await.ok();
    subject.post(&format!("{path}/status"), outcome).await.ok();
    let ended = subject.get(&path).await.ok();
    assert_eq!((&ended["status"], &ended["result"]["action"]), (&json!("succeeded"), &json!("compact")));
}
