//! Agents: registration, sessions, status, deletion.

use serde_json::{Value, json};

use super::subject::{Subject, refused};

#[tokio::test]
async fn an_agent_is_registered_read_listed_and_deleted() {
    let subject = Subject::new().await;
    let id = subject.name("a");
    let session = subject.register(&id, "i1", json!({"tags": ["t"], "capabilities": ["chat"], "label": "l"})).await;
    let agent = subject.get(&format!("/agents/{id}")).await.ok();
    for (key, value) in [("tags", json!(["t"])), ("capabilities", json!(["chat"])), ("label", json!("l"))] {
        assert_eq!(agent[key], value, "{key}");
    }
    let all = subject.get("/agents").await.ok();
    assert!(all.as_array().unwrap().iter().any(|agent| agent["id"] == *id));

    let gone = format!("/agents/{id}?instanceId=i1&epoch={}", session["epoch"]);
    assert_eq!(subject.call("DELETE", &gone, Value::Null, None).await.ok()["ok"], true);
    refused(&subject.get(&format!("/agents/{id}")).await, 404);
    let beat = subject.post(&format!("/agents/{id}/heartbeat"), json!({"session": session})).await.ok();
    assert_eq!(beat["ok"], false, "it is to register again");
}

#[tokio::test]
async fn a_newer_epoch_makes_the_older_ones_stale() {
    let subject = Subject::new().await;
    let id = subject.name("a");
    let old = subject.register(&id, "i1", json!({})).await;
    assert_eq!(subject.register(&id, "i1", json!({})).await, old, "the same instance keeps its epoch");
    let new = subject.register(&id, "i2", json!({})).await;
    assert!(new["epoch"].as_u64() > old["epoch"].as_u64());
    for (part, body) in [
        ("status", json!({"status": "busy", "statusSeq": 9, "session": old})),
        ("ready", json!({"ready": true, "statusSeq": 9, "session": old})),
        ("heartbeat", json!({"session": old})),
    ] {
        refused(&subject.post(&format!("/agents/{id}/{part}"), body).await, 409);
    }
    let gone = format!("/agents/{id}?instanceId=i1&epoch={}", old["epoch"]);
    refused(&subject.call("DELETE", &gone, Value::Null, None).await, 409);
    let beat = subject.post(&format!("/agents/{id}/heartbeat"), json!({"session": new})).await.ok();
    assert_eq!(beat["ok"], true);
}

#[tokio::test]
async fn a_status_with_a_lower_number_is_ignored() {
    let subject = Subject::new().await;
    let id = subject.name("a");
    let session = subject.register(&id, "i1", json!({})).await;
    for (status, seq, shown) in [("busy", 5, "busy"), ("online", 4, "busy"), ("idle", 6, "idle")] {
        let body = json!({"status": status, "statusSeq": seq, "session": session});
        subject.post(&format!("/agents/{id}/status"), body).await.ok();
        assert_eq!(subject.get(&format!("/agents/{id}")).await.ok()["status"], shown);
    }
}

#[tokio::test]
async fn an_agent_is_given_a_label_and_tags() {
    let subject = Subject::new().await;
    let id = subject.name("a");
    subject.register(&id, "i1", json!({})).await;
    let (label, tag) = (subject.name("label"), subject.name("tag"));
    subject.call("PUT", &format!("/agents/{id}/label"), json!({"label": label}), None).await.ok();
    subject.call("PUT", &format!("/agents/{id}/tags"), json!({"tags": [tag]}), None).await.ok();
    let agent = subject.get(&format!("/agents/{id}")).await.ok();
    assert_eq!(json!([agent["label"], agent["tags"]]), json!([label, [tag]]));
    let sent = [
        subject.send(&format!("label:{label}"), json!({})).await,
        subject.send(&format!("tag:{tag}"), json!({})).await,
    ];
    assert_eq!(subject.unread(&id).await, sent);
}
