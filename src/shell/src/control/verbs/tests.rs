//! The verbs against a small relay that notes what it is asked, and answers what it is told to.

use super::*;
use crate::control::{Beside, Control};
use crate::monitor::Monitor;
use crate::relay_url::RelayUrl;
use axum::body::to_bytes;
use axum::extract::Request;

use relay_runner_core::{Event, Order};
use secrecy::SecretString;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc::Receiver;

#[derive(Debug, Clone)]
struct Asked {
    line: String,
    token: String,
    key: Option<String>,
    body: Value,
}

/// What the relay answers to a first line: status and body.
type Told = (&'static str, u16, Value);

struct Stage {
    control: Control,
    client: crate::client::Client,
    inputs: Receiver<Input>,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// What the relay answers to each that is not found here: 404.
    answers: Arc<Mutex<Vec<Told>>>,
    relay: watch::Sender<Relay>,
    url: RelayUrl,
    dir: tempfile::TempDir,
}

fn relay(url: &RelayUrl, token: &str) -> Relay {
    Relay::new(url, Some(&SecretString::from(token)), "a1".into()).unwrap()
}

async fn stage(answers: &[Told]) -> Stage {
    let (asked, answers) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(answers.to_vec())));
    let (noted, told) = (Arc::clone(&asked), Arc::clone(&answers));
    let serve = async move |request: Request| {
        let (head, body) = request.into_parts();
        let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let line = format!("{} {}", head.method, head.uri.path());
        let body = to_bytes(body, usize::MAX).await.unwrap();
        noted.lock().unwrap().push(Asked {
            line: line.clone(),
            token: header("x-agent-relay-token").unwrap_or_default(),
            key: header("idempotency-key"),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        });
        let told = told.lock().unwrap();
        let (status, answer) = told.iter().find(|(known, ..)| *known == line).map_or_else(
            || (404, json!({"error": {"code": "not_found", "message": "there is none"}})),
            |(_, status, answer)| (*status, answer.clone()),
        );
        (StatusCode::from_u16(status).unwrap(), axum::Json(answer))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = RelayUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(serve)).await.unwrap() });
    let dir = tempfile::tempdir().unwrap();
    let (inputs, waiting) = Inputs::channel();
    let (sender, receiver) = watch::channel(relay(&url, "token-of-now"));
    let beside = Beside {
        relay: receiver,
        monitor: Monitor::new(false).0,
        hooked: crate::hooked::Hooked::new(),
        allows_all: false,
    };
    let control = Control::start(dir.path(), &inputs, &beside).unwrap();
    let client = crate::client::Client::new(dir.path()).unwrap();
    Stage { control, client, inputs: waiting, asked, answers, relay: sender, url, dir }
}

impl Stage {
    async fn verb(&self, verb: &str, body: Value) -> Value {
        self.client.post(&format!("/relay/{verb}"), &body).await.unwrap()
    }

    /// Status, code and words of a refusal.
    async fn refused(&self, verb: &str, body: Value) -> (u16, String, String) {
        match self.client.post(&format!("/relay/{verb}"), &body).await.unwrap_err() {
            crate::client::ClientError::Refused { status, code, message } => (status, code, message),
            other => panic!("{other:?}"),
        }
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

fn a_message(id: u64, from: &str, to: &str) -> Value {
    json!({"id": id, "from": from, "to": to, "createdAt": 0})
}

fn an_agent() -> Value {
    json!({"id": "a1", "name": "a1", "status": "idle", "instanceId": "i", "epoch": 1, "lastSeen": 0, "createdAt": 0,
           "tags": ["one", "two"], "label": "builder"})
}

#[tokio::test]
async fn a_reply_goes_to_the_sender_with_the_callers_key_and_the_core_learns_of_it() {
    let answers = [
        ("GET /api/messages/12", 200, a_message(12, "alice", "a1")),
        ("POST /api/messages", 201, a_message(40, "a1", "alice")),
    ];
    let mut stage = stage(&answers).await;
    let answer = stage.verb("reply", json!({"messageId": 12, "body": "yes", "idempotencyKey": "k1"})).await;
    assert_eq!(answer, json!({"messageId": 40, "replyTo": 12, "to": "alice"}));
    let asked = stage.asked();
    let sent = &asked[1];
    assert_eq!((sent.line.as_str(), sent.key.as_deref()), ("POST /api/messages", Some("k1")));
    let said = ["from", "to", "body", "replyTo", "kind"].map(|key| sent.body[key].clone());
    assert_eq!(said, [json!("a1"), json!("alice"), json!("yes"), json!(12), json!("chat")]);
    learnt_of_a_reply(&mut stage.inputs, 12);
}

/// Once and of this message.
fn learnt_of_a_reply(inputs: &mut Receiver<Input>, message: u64) {
    match inputs.try_recv() {
        Ok(Input::Event(Event::Order(Order::Replied { message: replied }))) => assert_eq!(replied, message),
        other => panic!("{other:?}"),
    }
    assert!(inputs.try_recv().is_err(), "it learns nothing else");
}

#[tokio::test]
async fn a_word_more_to_ones_own_message_goes_where_that_one_went() {
    let answers = [
        ("GET /api/messages/12", 200, a_message(12, "a1", "bob")),
        ("POST /api/messages", 201, a_message(40, "a1", "bob")),
    ];
    let stage = stage(&answers).await;
    assert_eq!(stage.verb("reply", json!({"messageId": 12, "body": "and"})).await["to"], "bob");
    assert_eq!(stage.asked()[1].body["to"], "bob");
}

#[tokio::test]
async fn every_call_is_made_with_the_newest_token() {
    let stage = stage(&[("GET /api/messages/12", 200, a_message(12, "alice", "a1"))]).await;
    stage.verb("read", json!({"messageId": 12})).await;
    stage.relay.send_replace(relay(&stage.url, "token-of-later"));
    stage.verb("read", json!({"messageId": 12})).await;
    let tokens: Vec<String> = stage.asked().into_iter().map(|asked| asked.token).collect();
    assert_eq!(tokens, ["token-of-now", "token-of-later"]);
}

#[tokio::test]
async fn what_the_relay_refuses_comes_through_without_its_secrets() {
    let mut stage = stage(&[]).await;
    let (status, code, message) = stage.refused("reply", json!({"messageId": 12, "body": "b"})).await;
    assert_eq!((status, code.as_str()), (404, "not_found"));
    assert!(message.contains("GET /api/messages/12") && message.contains("there is none"), "{message}");
    let error = |code: &str, message: &str| json!({"error": {"code": code, "message": message}});
    for (status, answer, is) in [
        (401, error("expired_token", "token-of-now has ended"), (401, "expired_token")),
        (409, error("superseded", "another holds it"), (409, "superseded")),
        (429, error("rate_limited", "later"), (429, "rate_limited")),
        (503, json!("down"), (503, "http_503")),
        (302, json!({}), (502, "relay_answer")),
        (200, json!({"id": "twelve"}), (502, "relay_answer")),
    ] {
        *stage.answers.lock().unwrap() = vec![("GET /api/messages/12", status, answer)];
        let (status, code, message) = stage.refused("read", json!({"messageId": 12})).await;
        assert_eq!((status, code.as_str()), is, "{message}");
        assert!(!message.contains("token-of-now"), "{message}");
    }
    assert!(stage.inputs.try_recv().is_err(), "the core hears of nothing");
}

#[tokio::test]
async fn what_is_too_large_for_a_relay_is_not_sent() {
    let stage = stage(&[("GET /api/messages/12", 200, a_message(12, "alice", "a1"))]).await;
    let file = stage.dir.path().join("text");
    std::fs::write(&file, "x".repeat(1 << 20)).unwrap();
    let (status, code, message) = stage.refused("message", json!({"to": "bob", "bodyFile": file})).await;
    assert_eq!((status, code.as_str()), (413, "too_large"));
    assert!(message.contains("--attach"), "{message}");
    std::fs::write(&file, "x".repeat((1 << 20) + 1)).unwrap();
    assert_eq!(stage.refused("message", json!({"to": "bob", "bodyFile": file})).await.0, 413);
    let large = std::fs::File::create(&file).unwrap();
    large.set_len(crate::upload::FILE_MOST + 1).unwrap();
    let body = json!({"to": "bob", "body": "b", "attachments": [file]});
    assert_eq!(stage.refused("message", body).await.1, "file_too_large");
    assert!(stage.asked().is_empty(), "nobody was asked");
}

#[tokio::test]
async fn files_go_first_and_an_answer_about_another_file_is_not_believed() {
    let artifact = |sha256: &str| json!({"id": "f1", "name": "a.txt", "size": 3, "sha256": sha256});
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let answers =
        [("POST /api/artifacts", 201, artifact(abc)), ("POST /api/messages", 201, a_message(40, "a1", "bob"))];
    let stage = stage(&answers).await;
    let file = stage.dir.path().join("a.txt");
    std::fs::write(&file, "abc").unwrap();
    let body = json!({"to": "bob", "body": "b", "attachments": [file], "idempotencyKey": "k1"});
    stage.verb("message", body.clone()).await;
    let asked = stage.asked();
    assert_eq!((asked[0].line.as_str(), asked[0].key.as_deref()), ("POST /api/artifacts", Some("k1-f0")));
    assert_eq!(asked[1].body["attachments"][0]["id"], "f1");
    stage.answers.lock().unwrap()[0].2 = artifact(&"0".repeat(64));
    assert_eq!(stage.refused("message", body).await.1, "relay_answer");
    assert_eq!(stage.lines(), ["POST /api/artifacts"], "and no message went");
}

#[tokio::test]
async fn tags_and_label_are_set_for_the_agent_itself() {
    let answers = [
        ("GET /api/agents/a1", 200, an_agent()),
        ("PUT /api/agents/a1/tags", 200, an_agent()),
        ("PUT /api/agents/a1/label", 200, an_agent()),
    ];
    let stage = stage(&answers).await;
    assert_eq!(stage.verb("tags", json!({"add": ["three"], "remove": ["one"]})).await["tags"], json!(["one", "two"]));
    assert_eq!(stage.asked()[1].body, json!({"tags": ["two", "three"]}));
    stage.verb("tags", json!({"tags": ["x"]})).await;
    assert_eq!(stage.asked()[0].body, json!({"tags": ["x"]}));
    for (given, is) in [(json!("builder"), json!("builder")), (json!(""), Value::Null), (Value::Null, Value::Null)] {
        assert_eq!(stage.verb("label", json!({"label": given})).await["label"], "builder");
        assert_eq!(stage.asked()[0].body, json!({"label": is}));
    }
}

#[tokio::test]
async fn whoever_disconnects_is_answered_once_the_shutdown_has_begun() {
    let Stage { control, client, mut inputs, dir: _dir, .. } = stage(&[]).await;
    let looked = async |inputs: &mut Receiver<Input>| {
        let Some(Input::Look(answer)) = inputs.recv().await else { panic!("a look") };
        answer.send("{}".into()).unwrap();
    };
    let answering = async {
        // Its outcome is not waited for.
        let Some(Input::Command { order, answer, .. }) = inputs.recv().await else { panic!("a command") };
        assert_eq!((&*order.name, order.params.reason.as_deref()), ("agent.shutdown", Some("done")));
        looked(&mut inputs).await;
        drop(answer);
        // Unless it is there at once.
        let Some(Input::Command { answer, .. }) = inputs.recv().await else { panic!("a command") };
        let outcome = Outcome::Failed { message: "too many commands wait already".into() };
        answer.send(Answer::Command(Arc::new(outcome))).unwrap();
        looked(&mut inputs).await;
    };
    let asking = async {
        let answer = client.post("/relay/disconnect", &json!({"reason": "done"})).await.unwrap();
        assert_eq!(answer, json!({"agentId": "a1", "accepted": true}));
        let refused = client.post("/relay/disconnect", &json!({})).await.unwrap_err();
        assert_eq!(refused.to_string(), "too many commands wait already");
    };
    tokio::join!(answering, asking);
    control.end().await;
}
