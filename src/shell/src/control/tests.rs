//! The server as others meet it; the test itself plays the loop.

mod hooks;

use super::*;
use crate::input::Input;
use crate::observed::{Ask, Observed};
use relay_runner_core::config::Identity;
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
    stage_with(&nothing_beside())
}

fn stage_with(beside: &Beside) -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let (inputs, waiting) = Inputs::channel();
    let control = Control::start(dir.path(), &inputs, beside).unwrap();
    Stage { control, inputs: waiting, dir }
}

/// Neither a relay that answers nor a monitor.
fn nothing_beside() -> Beside {
    let url = crate::relay_url::RelayUrl::parse("http://127.0.0.1:1").unwrap();
    let relay = watch::channel(Relay::new(&url, None, "a1".into()).unwrap()).1;
    Beside { relay, monitor: Monitor::new(false).0, hooked: Hooked::new(), allows_all: false }
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

#[tokio::test]
async fn what_the_loop_tells_is_passed_on_and_an_end_is_said() {
    let (_, none) = tokio::sync::mpsc::channel(1);
    let mut stage = stage();
    let mut inputs = std::mem::replace(&mut stage.inputs, none);
    let paths = ["/why", "/metrics", "/terminal", "/events"];
    let answering = async {
        let Some(Input::Observe(Ask::Why(answer))) = inputs.recv().await else { panic!("why") };
        answer.send(json!({"a": 1})).unwrap();
        let Some(Input::Observe(Ask::Metrics(answer))) = inputs.recv().await else { panic!("metrics") };
        answer.send("x 1\n".to_owned()).unwrap();
        for session in [None, Some("work")] {
            let Some(Input::Observe(Ask::Terminal(answer))) = inputs.recv().await else { panic!("terminal") };
            let identity = Identity { tmux_session: session.map(Into::into), ..Identity::default() };
            answer.send(terminal::Terminal::of(&identity)).unwrap();
        }
        let Some(Input::Observe(Ask::Listen(_, answer))) = inputs.recv().await else { panic!("listen") };
        answer.send(None).unwrap();
        // The run ends while each of them is being asked for.
        for _ in paths {
            drop(inputs.recv().await);
        }
        drop(inputs);
    };
    let asking = async {
        assert_eq!(stage.client().get("/why").await.unwrap(), json!({"a": 1}));
        let metrics = stage.get("/metrics").send().await.unwrap();
        assert_eq!(metrics.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        assert_eq!(metrics.text().await.unwrap(), "x 1\n");
        assert_eq!(refused(stage.get("/terminal")).await, (409, "no_terminal".into()));
        assert_eq!(stage.client().get("/terminal").await.unwrap()["session"], "work");
        assert_eq!(refused(stage.get("/events")).await, (503, "too_many_listeners".into()));
        for path in paths {
            assert_eq!(refused(stage.get(path)).await, (503, "ending".into()), "{path}");
        }
    };
    tokio::join!(answering, asking);
    for path in paths {
        assert_eq!(refused(stage.get(path)).await, (503, "ending".into()), "{path}");
        assert_eq!(refused(stage.post(path, "{}")).await, (405, "method_not_allowed".into()), "{path}");
        assert_eq!(refused(http().get(stage.url(path))).await.0, 401, "{path}");
    }
}

/// The next blocks of a stream of events, up to its end or so many.
async fn blocks(response: &mut reqwest::Response, most: usize) -> Vec<String> {
    let mut read = String::new();
    while read.matches("\n\n").count() < most {
        let Some(chunk) = response.chunk().await.unwrap() else { break };
        read.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    read.split_terminator("\n\n").map(str::to_owned).collect()
}

#[tokio::test]
async fn events_go_on_where_they_were_left_and_a_gap_is_said() {
    let (_, none) = tokio::sync::mpsc::channel(1);
    let mut stage = stage();
    let mut inputs = std::mem::replace(&mut stage.inputs, none);
    let at = relay_runner_core::Stamp::new(0, 5);
    let glance = |link| {
        let status = relay_runner_protocol::AgentStatus::Idle;
        relay_runner_core::Glance {
            status,
            ready: false,
            lifecycle_action: None,
            lifecycle: "idle",
            link,
            approvals: 0,
            owed: 0,
        }
    };
    let mut observed = Observed::new(at, glance("down"), 7);
    let other = [relay_runner_core::Note::OtherRelay];
    let step = |observed: &mut Observed, link, notes: &[relay_runner_core::Note]| {
        observed.stepped(at, "w", Duration::ZERO, glance(link), notes);
    };
    step(&mut observed, "up", &other);

    let mut listen = async |observed: &mut Observed, stage: &Stage, last: Option<&str>| {
        let mut request = stage.get("/events");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let answering = async {
            let Some(Input::Observe(Ask::Listen(resume, answer))) = inputs.recv().await else { panic!("listen") };
            answer.send(observed.listen(&resume)).unwrap();
        };
        let (response, ()) = tokio::join!(request.send(), answering);
        let response = response.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
        response
    };

    // From now on.
    let mut now = listen(&mut observed, &stage, None).await;
    assert_eq!(blocks(&mut now, 1).await, ["retry: 1000\n: the runner's events"]);
    step(&mut observed, "waiting", &[]);
    let heard = blocks(&mut now, 1).await.remove(0);
    assert!(heard.starts_with("id: 7.3\nevent: change\ndata: {"), "{heard}");
    assert!(heard.contains(r#""text":"relay up -> waiting""#), "{heard}");
    // From where it was left.
    let mut later = listen(&mut observed, &stage, Some("7.1")).await;
    let heard = blocks(&mut later, 3).await;
    assert!(heard[1].starts_with("id: 7.2\nevent: change") && heard[2].starts_with("id: 7.3\n"), "{heard:?}");
    // Of another run.
    let mut foreign = listen(&mut observed, &stage, Some("6.9")).await;
    let heard = blocks(&mut foreign, 3).await;
    assert_eq!(heard[1], "event: gap\ndata: {\"after\":\"6.9\",\"next\":\"7.1\"}");
    assert!(heard[2].starts_with("id: 7.1\nevent: note\ndata: {"), "{heard:?}");

    // Two who do not keep up: the loop is not held up by them, and they are told.
    let mut slow = listen(&mut observed, &stage, None).await;
    for _ in 0..2_000 {
        step(&mut observed, "waiting", &other);
    }
    assert_eq!(observed.listeners(), 0, "nobody could keep up, since nobody could read meanwhile");
    let heard = blocks(&mut slow, usize::MAX).await;
    let last = heard.len() - 1;
    assert_eq!(
        heard[last],
        format!("event: gap\ndata: {{\"after\":\"7.{}\",\"next\":null}}", last + 2),
        "{}",
        heard[last - 1]
    );
    // The end of the run is the end of the stream.
    let mut late = listen(&mut observed, &stage, None).await;
    observed.end();
    assert_eq!(blocks(&mut late, usize::MAX).await.len(), 1);
}
