//! The server as others meet it; the test itself plays the loop.

mod hooks;

use super::*;
use crate::input::Input;
use relay_runner_core::{Answer, Outcome};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

struct Stage {
    control: Control,
    inputs: Receiver<Input>,
    dir: tempfile::TempDir,
}

fn stage() -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let (inputs, waiting) = Inputs::channel();
    let control = Control::start(dir.path(), &inputs).unwrap();
    Stage { control, inputs: waiting, dir }
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().tls_backend_preconfigured(crate::tls::none().unwrap()).no_proxy().build().unwrap()
}

impl Stage {
    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.control.port)
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        http().get(self.url(path)).bearer_auth(self.control.secret.expose_secret())
    }

    fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        http().post(self.url(path)).bearer_auth(self.control.secret.expose_secret()).body(body)
    }

    fn client(&self) -> crate::client::Client {
        crate::client::Client::new(self.dir.path()).unwrap()
    }
}

async fn refused(request: reqwest::RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert!(!body["error"]["message"].as_str().unwrap().is_empty());
    (status, body["error"]["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn strangers_are_refused_on_the_port() {
    let mut stage = stage();
    let bare = http().get(stage.url("/state"));
    let response = bare.send().await.unwrap();
    assert_eq!(response.status(), 401);
    let body: Value = response.json().await.unwrap();
    assert!(body["error"]["message"].as_str().unwrap().contains("runner.json"), "a hint: {body}");
    assert_eq!(refused(http().get(stage.url("/state")).bearer_auth("wrong")).await.0, 401);
    assert_eq!(refused(stage.get("/state").header("origin", "http://localhost")).await, (403, "foreign_origin".into()));
    assert_eq!(refused(stage.get("/state").header("host", "evil.example")).await, (403, "foreign_host".into()));
    assert!(stage.inputs.try_recv().is_err(), "nothing reached the loop");
}

#[tokio::test]
async fn bad_requests_are_refused_in_one_form_and_change_nothing() {
    let mut stage = stage();
    assert_eq!(refused(stage.get("/nowhere")).await, (404, "not_found".into()));
    assert_eq!(refused(stage.post("/state", "")).await, (405, "method_not_allowed".into()));
    assert_eq!(refused(stage.post("/status", "{")).await, (400, "bad_body".into()));
    assert_eq!(refused(stage.post("/status", "{\"status\":7}")).await, (422, "bad_body".into()));
    assert_eq!(refused(stage.post("/status", "{}")).await, (422, "bad_body".into()));
    assert_eq!(refused(stage.post("/command", "[\"agent.kill\"]")).await, (422, "bad_body".into()));
    assert_eq!(refused(stage.post("/command", "{\"type\":\"dance\"}")).await, (422, "unknown_command".into()));
    let large = format!("{{\"status\":\"idle\",\"label\":\"{}\"}}", "x".repeat(64 * 1024));
    assert_eq!(refused(stage.post("/status", large)).await, (413, "too_large".into()));
    assert!(stage.inputs.try_recv().is_err(), "nothing reached the loop");
}

#[tokio::test]
async fn the_state_is_the_loops_and_readiness_follows_it() {
    let (_, none) = tokio::sync::mpsc::channel(1);
    let mut stage = stage();
    let mut inputs = std::mem::replace(&mut stage.inputs, none);
    let answering = async {
        for ready in [false, false, false, true] {
            let Some(Input::Look(answer)) = inputs.recv().await else { panic!("a look") };
            answer.send(json!({"status": "idle", "ready": ready, "list": [1]}).to_string().into()).unwrap();
        }
    };
    let asking = async {
        let whole: Value = stage.get("/state").send().await.unwrap().json().await.unwrap();
        assert_eq!(whole, json!({"status": "idle", "ready": false, "list": [1]}));
        assert_eq!(stage.client().status().await.unwrap(), json!({"status": "idle", "ready": false}));
        assert_eq!(stage.get("/readyz").send().await.unwrap().status(), 503);
        assert_eq!(stage.get("/readyz").send().await.unwrap().status(), 200);
        assert_eq!(stage.get("/healthz").send().await.unwrap().status(), 200);
    };
    tokio::join!(answering, asking);
}

#[tokio::test]
async fn a_report_is_answered_with_the_busy_reasons() {
    let Stage { control, mut inputs, dir } = stage();
    let client = crate::client::Client::new(dir.path()).unwrap();
    let answering = async {
        let Some(Input::Report { report, answer }) = inputs.recv().await else { panic!("a report") };
        assert_eq!(report.session.as_deref(), Some("p1"));
        answer.send(Answer::Busy(vec!["provider-turn".into()])).unwrap();
        let Some(Input::Report { answer, .. }) = inputs.recv().await else { panic!("a report") };
        answer.send(Answer::Stale).unwrap();
        let Some(Input::Report { answer, .. }) = inputs.recv().await else { panic!("a report") };
        drop(answer);
    };
    let asking = async {
        let body = json!({"status": "busy", "providerSessionId": "p1"});
        assert_eq!(client.post("/status", &body).await.unwrap()["busyReasons"], json!(["provider-turn"]));
        assert!(client.post("/status", &body).await.unwrap_err().to_string().contains("living provider session"));
        assert!(client.post("/status", &body).await.unwrap_err().to_string().contains("ending"));
    };
    tokio::join!(answering, asking);
    control.end().await;
}

#[tokio::test]
async fn a_command_is_held_until_its_outcome() {
    let Stage { control, mut inputs, dir } = stage();
    let client = crate::client::Client::new(dir.path()).unwrap();
    let answering = async {
        let Some(Input::Command { order, answer, .. }) = inputs.recv().await else { panic!("a command") };
        assert_eq!((&*order.name, order.params.reason.as_deref()), ("agent.restart", Some("r")));
        let outcome =
            Outcome::Succeeded { action: "restart".into(), reason: None, provider_result: Some("{\"a\":1}".into()) };
        answer.send(Answer::Command(Arc::new(outcome))).unwrap();
        let Some(Input::Command { answer, .. }) = inputs.recv().await else { panic!("a command") };
        let outcome = Outcome::Failed { message: "no such request".into() };
        answer.send(Answer::Command(Arc::new(outcome))).unwrap();
    };
    let asking = async {
        let Value::Object(params) = json!({"reason": "r"}) else { panic!("an object") };
        let answer = client.command("restart", params).await.unwrap();
        assert_eq!(answer, json!({"ok": true, "action": "restart", "providerResult": {"a": 1}}));
        let refused = client.command("deny", serde_json::Map::new()).await.unwrap_err();
        assert_eq!(refused.to_string(), "no such request");
    };
    tokio::join!(answering, asking);
    control.end().await;
}

#[tokio::test]
async fn a_socket_left_over_is_replaced_and_one_in_use_is_not() {
    let Stage { control, inputs, dir } = stage();
    let (others, _waiting) = Inputs::channel();
    let refused = Control::start(dir.path(), &others).unwrap_err();
    assert!(refused.contains("another runner"), "{refused}");
    drop(inputs);
    control.end().await;
    assert!(!dir.path().join(CONTROL_SOCKET).exists());
    drop(std::os::unix::net::UnixListener::bind(dir.path().join(CONTROL_SOCKET)).unwrap());
    let again = Control::start(dir.path(), &others).unwrap();
    again.end().await;
    let gone = crate::client::Client::new(dir.path()).unwrap().state().await.unwrap_err();
    assert!(gone.to_string().contains("no runner answers"), "{gone}");
}
