//! The bus: registration, events in order, resuming, supersession.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::subject::{Subject, event};

#[tokio::test]
async fn a_registration_is_answered_with_epoch_cursor_pace_and_time() {
    let subject = Subject::new().await;
    let a = subject.name("a");
    let mut bus = subject.bus().await;
    let answer = bus.register(&a, "i1", json!({"tags": ["t"], "meta": {"label": "l"}})).await;
    assert_eq!(answer["agentId"], a);
    for key in ["epoch", "cursor", "heartbeatIntervalMs", "time"] {
        assert!(answer[key].is_u64(), "{key}: {answer}");
    }
    let agent = subject.get(&format!("/agents/{a}")).await.ok();
    assert_eq!(json!([agent["label"], agent["tags"], agent["instanceId"]]), json!(["l", ["t"], "i1"]));
}

#[tokio::test]
async fn a_frame_that_cannot_be_read_is_refused_and_the_connection_stays() {
    let subject = Subject::new().await;
    let a = subject.name("a");
    let mut bus = subject.bus().await;
    bus.send("status", json!({"agentStatus": "idle", "statusSeq": 1})).await;
    assert_eq!(bus.expect("error").await["payload"]["code"], "not_registered");
    bus.register(&a, "i1", json!({})).await;
    for frame in ["no json", r#"{"type":"status","id":"x","payload":{"agentStatus":"flying","statusSeq":1}}"#] {
        bus.raw(Message::text(frame)).await;
        assert_eq!(bus.expect("error").await["payload"]["code"], "invalid_frame");
    }
    let id = bus.send("status", json!({"agentStatus": "busy", "ready": true, "statusSeq": 2})).await;
    assert_eq!(bus.expect("ack").await["payload"]["frameId"], id);
    let agent = subject.get(&format!("/agents/{a}")).await.ok();
    assert_eq!(json!([agent["status"], agent["ready"]]), json!(["busy", true]));
}

#[tokio::test]
async fn events_come_in_order_and_again_after_a_resume() {
    let subject = Subject::new().await;
    let a = subject.name("a");
    let mut bus = subject.agent(&a, "i1", json!({})).await;
    let mut live = Vec::new();
    for n in 0..5 {
        let sent = subject.send(&a, json!({"body": n.to_string()})).await;
        let frame = event(&mut bus, "message.new").await;
        assert_eq!(frame["payload"]["data"]["id"], sent);
        live.push(frame);
    }
    let seqs: Vec<_> = live.iter().map(|frame| frame["payload"]["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
    bus.send("ack", json!({"frameId": live[4]["id"]})).await;
    drop(bus);

    let mut bus = subject.agent(&a, "i1", json!({})).await;
    let id = bus.send("resume", json!({"since": seqs[1]})).await;
    let replayed = bus.expect("replayed").await;
    assert_eq!((&replayed["id"], &replayed["payload"]["gap"]), (&json!(id), &json!(false)));
    for frame in &live[2..] {
        assert_eq!(&event(&mut bus, "message.new").await, frame, "the same to the byte");
    }
}

#[tokio::test]
async fn claims_and_their_ends_are_told() {
    let subject = Subject::new().await;
    let a = subject.name("a");
    let mut bus = subject.agent(&a, "i1", json!({})).await;
    let session = bus.session.clone();
    let id = subject.send(&a, json!({"claimable": true})).await;
    let fence = subject.claim(id, &a, &session).await["fence"].clone();
    let told = event(&mut bus, "message.claimed").await;
    assert_eq!(told["payload"]["data"], json!({"messageId": id, "agentId": a}));
    subject.change(id, "release", &a, &session, &fence).await.ok();
    assert_eq!(event(&mut bus, "message.claim_released").await["payload"]["data"]["messageId"], id);
    subject.call("DELETE", &format!("/messages/{id}"), Value::Null, None).await.ok();
    assert_eq!(event(&mut bus, "message.deleted").await["payload"]["data"]["messageId"], id);
}

#[tokio::test]
async fn another_instance_takes_over_and_the_older_one_is_told() {
    let subject = Subject::new().await;
    let a = subject.name("a");
    let mut old = subject.agent(&a, "i1", json!({})).await;
    let new = subject.agent(&a, "i2", json!({})).await;
    assert!(new.session["epoch"].as_u64() > old.session["epoch"].as_u64());
    assert_eq!(old.expect("error").await["payload"]["code"], "superseded");
    old.closed().await;
}
