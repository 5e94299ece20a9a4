//! Health, document, credential, errors.

use serde_json::{Value, json};

use super::subject::{Subject, refused};

#[tokio::test]
async fn health_is_told_with_version_and_time_and_without_a_token() {
    let subject = Subject::new().await;
    let health = subject.api.get("/health").await.ok();
    assert_eq!(health["ok"], true);
    assert!(health["version"].is_string() && health["time"].as_u64().unwrap() > 1_600_000_000_000, "{health}");
}

#[tokio::test]
async fn there_is_an_openapi_document() {
    let subject = Subject::new().await;
    let document = subject.get("/spec").await.ok();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", document["openapi"]);
    assert!(document["paths"].is_object());
}

#[tokio::test]
async fn a_wrong_token_is_refused_where_one_is_needed() {
    let subject = Subject::new().await;
    if subject.token.is_none() {
        return eprintln!("not shown: the relay needs no token");
    }
    for headers in [vec![], vec![("x-agent-relay-token", "wrong")]] {
        let answer = subject.api.call("GET", "/agents", &headers, "").await;
        refused(&answer, 401);
        assert!(answer.body["error"]["code"].is_string(), "{}", answer.body);
    }
}

#[tokio::test]
async fn what_is_unknown_or_cannot_be_read_is_refused_in_the_shape_of_errors() {
    let subject = Subject::new().await;
    refused(&subject.get(&format!("/agents/{}", subject.name("nobody"))).await, 404);
    refused(&subject.get("/messages/9007199254740991").await, 404);
    refused(&subject.get(&format!("/commands/{}", subject.name("none"))).await, 404);
    for body in [json!([]), json!({"from": "s"}), json!({"from": 1, "to": "a", "body": "b"})] {
        refused(&subject.post("/messages", body).await, 422);
    }
}

#[tokio::test]
async fn the_same_key_gives_the_same_answer_and_for_another_call_a_refusal() {
    let subject = Subject::new().await;
    let (to, key) = (subject.name("a"), subject.name("key"));
    let body = json!({"from": "s", "to": to, "body": "b"});
    let first = subject.call("POST", "/messages", body.clone(), Some(&key)).await.ok();
    let again = subject.call("POST", "/messages", body, Some(&key)).await.ok();
    assert_eq!(first["id"], again["id"]);
    let other = json!({"from": "s", "to": to, "body": "other"});
    refused(&subject.call("POST", "/messages", other, Some(&key)).await, 422);

    let body = json!({"from": "s", "to": to, "body": "b", "idempotencyKey": subject.name("in-body")});
    let first: Value = subject.post("/messages", body.clone()).await.ok();
    assert_eq!(subject.post("/messages", body).await.ok()["id"], first["id"]);
}
