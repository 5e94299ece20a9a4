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
    let control = Control::start(dir.path(), &inputs, &nothing_beside()).unwrap();
    Stage { control, inputs: waiting, dir }
}

/// Neither a relay that answers nor a monitor.
fn nothing_beside() -> Beside {
    let url = crate::relay_url::RelayUrl::parse("http://127.0.0.1:1").unwrap();
    let relay = watch::channel(Relay::new(&url, None, "a1".into()).unwrap()).1;
    Beside { relay, monitor: Monitor::new(false).0 }
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
async fn what_the_routes_beside_the_loop_cannot_take_is_refused() {
    let mut stage = stage();
    let large = json!({"messageId": 1, "body": "x".repeat(64 * 1024)}).to_string();
    let many = json!({"messageId": 1, "body": "b", "attachments": vec!["/f"; 65]}).to_string();
    let cases = [
        ("/relay/dance", "{}", 404, "unknown_verb"),
        ("/relay/", "{}", 404, "not_found"),
        ("/relay/%ff", "{}", 404, "unknown_verb"),
        ("/relay/reply", "{", 400, "bad_body"),
        ("/relay/reply", "[]", 422, "bad_body"),
        ("/relay/reply", "{}", 422, "bad_body"),
        ("/relay/reply", "{\"messageId\":\"one\",\"body\":\"b\"}", 422, "bad_body"),
        ("/relay/reply", "{\"messageId\":-1,\"body\":\"b\"}", 422, "bad_body"),
        ("/relay/reply", "{\"messageId\":1}", 422, "bad_body"),
        ("/relay/reply", "{\"messageId\":1,\"body\":\" \"}", 422, "empty_text"),
        ("/relay/reply", "{\"messageId\":1,\"body\":\"b\",\"bodyFile\":\"/f\"}", 422, "bad_body"),
        ("/relay/reply", "{\"messageId\":1,\"body\":\"b\",\"idempotencyKey\":\"\"}", 422, "bad_body"),
        ("/relay/reply", &large, 413, "too_large"),
        ("/relay/message", &many, 422, "bad_body"),
        ("/relay/message", "{\"to\":\"b\",\"bodyFile\":\"relative\"}", 422, "bad_file"),
        ("/relay/message", "{\"to\":\"b\",\"bodyFile\":\"/no/such/file\"}", 422, "bad_file"),
        ("/relay/message", "{\"to\":\"b\",\"bodyFile\":\"/dev/zero\"}", 422, "bad_file"),
        ("/relay/message", "{\"to\":\"b\",\"body\":\"b\",\"attachments\":[\"relative\"]}", 422, "bad_file"),
        ("/relay/message", "{\"to\":\"b\",\"body\":\"b\",\"attachments\":[\"/no/such/file\"]}", 422, "bad_file"),
        ("/relay/message", "{\"to\":\"b\",\"body\":\"b\",\"attachments\":[\"/dev/zero\"]}", 422, "bad_file"),
        ("/relay/message", "{\"to\":\"b\",\"body\":\"b\",\"attachments\":\"/f\"}", 422, "bad_body"),
        ("/relay/react", "{\"messageId\":1}", 422, "bad_body"),
        ("/relay/read", "{\"messageId\":1,\"thread\":\"yes\"}", 422, "bad_body"),
        ("/relay/label", "{}", 422, "bad_body"),
        ("/relay/tags", "{\"tags\":\"a\"}", 422, "bad_body"),
        ("/relay/whoami", "[]", 422, "bad_body"),
        ("/relay/send-claimable", "{\"body\":\"b\"}", 422, "bad_body"),
        ("/relay/pair", "{\"with\":\"a1\"}", 422, "bad_body"),
        ("/relay/pair", "{\"with\":\"broadcast\"}", 422, "bad_body"),
        ("/relay/disconnect", "{\"reason\":1}", 422, "bad_body"),
        ("/monitor", "{}", 405, "method_not_allowed"),
        ("/monitor/ack", "{}", 422, "bad_body"),
        ("/monitor/ack", "{\"ids\":[-1]}", 422, "bad_body"),
        ("/monitor/ack", "{\"ids\":[1]}", 409, "monitor_off"),
    ];
    for (path, body, status, code) in cases {
        let refused = refused(stage.post(path, body.to_owned())).await;
        assert_eq!(refused, (status, code.to_owned()), "{path} {body:.100}");
    }
    assert_eq!(refused(stage.get("/monitor")).await, (409, "monitor_off".into()));
    assert_eq!(refused(stage.get("/monitor?takeover=perhaps")).await, (422, "bad_query".into()));
    assert_eq!(refused(stage.get("/relay/whoami")).await, (405, "method_not_allowed".into()));
    assert!(stage.inputs.try_recv().is_err(), "nothing reached the loop");
    // What can be taken and cannot be done.
    for (path, body) in [
        ("/relay/reply", "{\"messageId\":1,\"body\":\"b\"}"),
        ("/relay/react", "{\"messageId\":1,\"emoji\":\"x\"}"),
        ("/relay/read", "{\"messageId\":1}"),
        ("/relay/message", "{\"to\":\"b\",\"body\":\"b\"}"),
        ("/relay/label", "{\"label\":null}"),
        ("/relay/tags", "{\"tags\":[]}"),
        ("/relay/whoami", "{}"),
        ("/relay/send-claimable", "{\"to\":\"b\",\"body\":\"b\"}"),
        ("/relay/pair", "{\"with\":\"b\"}"),
    ] {
        assert_eq!(refused(stage.post(path, body)).await, (502, "relay_unreachable".into()), "{path}");
    }
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
    let refused = Control::start(dir.path(), &others, &nothing_beside()).unwrap_err();
    assert!(refused.contains("another runner"), "{refused}");
    drop(inputs);
    control.end().await;
    assert!(!dir.path().join(CONTROL_SOCKET).exists());
    drop(std::os::unix::net::UnixListener::bind(dir.path().join(CONTROL_SOCKET)).unwrap());
    let again = Control::start(dir.path(), &others, &nothing_beside()).unwrap();
    again.end().await;
    let gone = crate::client::Client::new(dir.path()).unwrap().state().await.unwrap_err();
    assert!(gone.to_string().contains("no runner answers"), "{gone}");
}
