//! Tasks: their messages, reports, and what a release does to them.

use serde_json::{Value, json};

use super::subject::{Subject, refused};

struct Work {
    agent: String,
    session: Value,
    task: u64,
    message: u64,
    fence: Value,
}

async fn claimed(subject: &Subject) -> Work {
    let agent = subject.name("a");
    let session = subject.register(&agent, "i1", json!({})).await;
    let task = subject.post("/tasks", json!({"title": "T", "target": agent})).await.ok();
    let (task, message) = (task["id"].as_u64().unwrap(), task["messageId"].as_u64().unwrap());
    let fence = subject.claim(message, &agent, &session).await["fence"].clone();
    Work { agent, session, task, message, fence }
}

async fn report(subject: &Subject, work: &Work, status: &str, fence: &Value) -> crate::wire::Answer {
    let body = json!({"status": status, "agentId": work.agent, "fence": fence, "body": "said", "metadata": {"k": 1}});
    subject.post(&format!("/tasks/{}/status", work.task), body).await
}

#[tokio::test]
async fn a_task_comes_as_a_claimable_message_and_ends_under_its_fence() {
    let subject = Subject::new().await;
    let work = claimed(&subject).await;
    let message = subject.get(&format!("/messages/{}", work.message)).await.ok();
    assert_eq!((&message["claimable"], &message["payload"]["taskId"]), (&json!(true), &json!(work.task)));
    refused(&report(&subject, &work, "in_progress", &json!(0)).await, 409);
    for status in ["in_progress", "blocked", "in_progress", "done"] {
        assert_eq!(report(&subject, &work, status, &work.fence).await.ok()["status"], status);
    }
    assert_eq!(report(&subject, &work, "done", &work.fence).await.ok()["status"], "done", "told again");
    let task = subject.get(&format!("/tasks/{}", work.task)).await.ok();
    assert_eq!((&task["status"], &task["agentId"]), (&json!("done"), &json!(work.agent)));
    assert_eq!(subject.unread(&work.agent).await, Vec::<u64>::new());
}

#[tokio::test]
async fn a_released_claim_opens_the_task_again() {
    let subject = Subject::new().await;
    let work = claimed(&subject).await;
    report(&subject, &work, "in_progress", &work.fence).await.ok();
    subject.change(work.message, "release", &work.agent, &work.session, &work.fence).await.ok();
    assert_eq!(subject.get(&format!("/tasks/{}", work.task)).await.ok()["status"], "open");
    let again = subject.claim(work.message, &work.agent, &work.session).await;
    refused(&report(&subject, &work, "done", &work.fence).await, 409);
    report(&subject, &work, "done", &again["fence"]).await.ok();
}

#[tokio::test]
async fn the_deletion_of_an_agent_opens_its_tasks_again() {
    let subject = Subject::new().await;
    let work = claimed(&subject).await;
    report(&subject, &work, "in_progress", &work.fence).await.ok();
    let path = format!("/agents/{}?instanceId=i1&epoch={}", work.agent, work.session["epoch"]);
    subject.call("DELETE", &path, Value::Null, None).await.ok();
    assert_eq!(subject.get(&format!("/tasks/{}", work.task)).await.ok()["status"], "open");
}

#[tokio::test]
async fn one_open_task_for_each_dedup_key() {
    let subject = Subject::new().await;
    let body = json!({"title": "T", "target": subject.name("a"), "dedupKey": subject.name("key")});
    let first = subject.post("/tasks", body.clone()).await.ok();
    assert_eq!(subject.post("/tasks", body).await.ok()["id"], first["id"]);
}
