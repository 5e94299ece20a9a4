//! Messages: addresses, inboxes, read marks, delivery stages.

use serde_json::json;

use super::subject::{Subject, ids, refused};

#[tokio::test]
async fn a_message_is_read_as_it_was_sent() {
    let subject = Subject::new().await;
    let body = json!({"from": subject.name("s"), "to": subject.name("a"), "kind": "note", "subject": "S",
        "body": "B ü\n\"", "payload": {"deep": [1]}, "priority": "urgent", "replyExpected": true});
    let sent = subject.post("/messages", body.clone()).await.ok();
    let read = subject.get(&format!("/messages/{}", sent["id"])).await.ok();
    for key in body.as_object().unwrap().keys() {
        assert_eq!(read[key], body[key], "{key}");
    }
    assert_eq!((&read["claimable"], &read["readBy"]), (&json!(false), &json!([])));
}

#[tokio::test]
async fn a_message_reaches_whom_its_address_means() {
    let subject = Subject::new().await;
    let word = subject.name("word");
    let (a, b) = (subject.name("a"), subject.name("b"));
    let extra = json!({"label": word, "tags": [word], "capabilities": [word]});
    subject.register(&a, "i1", extra).await;
    subject.register(&b, "i1", json!({"tags": [word]})).await;
    for (to, to_b) in [
        (a.clone(), false),
        (format!("label:{word}"), false),
        (format!("tag:{word}"), true),
        (format!("cap:{word}"), false),
        ("broadcast".to_owned(), true),
    ] {
        let id = subject.send(&to, json!({})).await;
        let has = (subject.unread(&a).await.contains(&id), subject.unread(&b).await.contains(&id));
        assert_eq!(has, (true, to_b), "{to}");
    }
}

#[tokio::test]
async fn the_inbox_is_in_id_order_and_in_pages_and_without_what_was_read() {
    let subject = Subject::new().await;
    let a = subject.name("a");
    let session = subject.register(&a, "i1", json!({})).await;
    let mut sent = Vec::new();
    for _ in 0..4 {
        sent.push(subject.send(&a, json!({})).await);
    }
    assert!(sent.is_sorted());
    let page = subject.get(&format!("/agents/{a}/inbox?unread=true&after={}&limit=2", sent[0])).await.ok();
    assert_eq!(ids(&page, "id"), sent[1..3]);
    for _ in 0..2 {
        let mark = json!({"agentId": a, "session": session});
        subject.post(&format!("/messages/{}/read", sent[1]), mark).await.ok();
    }
    assert_eq!(subject.unread(&a).await, [sent[0], sent[2], sent[3]]);
    assert_eq!(subject.get(&format!("/messages/{}", sent[1])).await.ok()["readBy"], json!([a]));
}

#[tokio::test]
async fn a_sender_sees_how_far_its_message_has_come() {
    let subject = Subject::new().await;
    let a = subject.name("a");
    let session = subject.register(&a, "i1", json!({})).await;
    let id = subject.send(&a, json!({})).await;
    let path = format!("/messages/{id}/delivery");
    for (stage, attempt) in [("held", 1), ("offered", 1), ("offered", 1), ("offered", 2), ("taken", 2)] {
        let body = json!({"agentId": a, "session": session, "stage": stage, "attempt": attempt});
        subject.post(&path, body).await.ok();
    }
    let told = subject.get(&path).await.ok();
    let told: Vec<_> = told.as_array().unwrap().iter().map(|d| json!([d["stage"], d["attempt"]])).collect();
    assert_eq!(told, [json!(["held", 1]), json!(["offered", 1]), json!(["offered", 2]), json!(["taken", 2])]);
    let stale = json!({"agentId": a, "session": {"instanceId": "i1", "epoch": 0}, "stage": "held", "attempt": 1});
    refused(&subject.post(&path, stale).await, 409);
}
