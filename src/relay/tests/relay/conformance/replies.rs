//! Threads, replies owed, reactions.

use serde_json::json;

use super::subject::{Subject, ids};

#[tokio::test]
async fn a_reply_is_owed_until_it_is_sent_and_is_found_in_the_thread() {
    let subject = Subject::new().await;
    let a = subject.name("a");
    subject.register(&a, "i1", json!({})).await;
    let asked = subject.send(&a, json!({"replyExpected": true, "subject": "S"})).await;
    subject.send(&a, json!({})).await;
    let owed = async || subject.get(&format!("/agents/{a}/obligations")).await.ok();
    let list = owed().await;
    assert_eq!(ids(&list, "messageId"), [asked]);
    assert_eq!((&list[0]["from"], &list[0]["subject"]), (&json!(subject.name("sender")), &json!("S")));
    let reaction = json!({"agentId": a, "emoji": "👍"});
    subject.post(&format!("/messages/{asked}/reactions"), reaction).await.ok();
    assert_eq!(ids(&owed().await, "messageId"), [asked], "a reaction is no reply");

    let body = json!({"from": a, "to": subject.name("sender"), "body": "r", "replyTo": asked});
    let reply = subject.post("/messages", body).await.ok();
    assert_eq!(owed().await, json!([]));
    for id in [asked, reply["id"].as_u64().unwrap()] {
        let thread = subject.get(&format!("/messages/{id}/thread")).await.ok();
        assert_eq!(ids(&thread, "id"), [asked, reply["id"].as_u64().unwrap()]);
    }
}
