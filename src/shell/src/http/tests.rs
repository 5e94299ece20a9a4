//! Against a small server that answers when it is told to.

use super::*;
use axum::Router;
use axum::extract::{Request as Asked, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::{mpsc, oneshot};

const LIMIT: Duration = Duration::from_secs(20);

struct Stage {
    http: Http,
    answers: mpsc::Receiver<Input>,
    /// What was asked, with the way to answer it.
    asked: mpsc::UnboundedReceiver<(String, Option<String>, oneshot::Sender<Response>)>,
}

type Askers = mpsc::UnboundedSender<(String, Option<String>, oneshot::Sender<Response>)>;

async fn stage() -> Stage {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = RelayUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let (asks, asked) = mpsc::unbounded_channel();
    let router = Router::new().fallback(hold).with_state(asks);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let (inputs, answers) = Inputs::channel();
    let token = SecretString::from("the-token");
    let relay = Relay::new(&url, Some(&token), "a1".into()).unwrap();
    Stage { http: Http::new(relay, inputs), answers, asked }
}

async fn hold(State(asks): State<Askers>, request: Asked) -> Response {
    assert_eq!(request.headers()["x-agent-relay-token"], "the-token");
    let key = request.headers().get("idempotency-key").map(|k| k.to_str().unwrap().to_owned());
    let (answer, answered) = oneshot::channel();
    asks.send((request.uri().path().to_owned(), key, answer)).unwrap();
    // Dropped without an answer: the server holds the request for ever.
    answered.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

impl Stage {
    fn read(&mut self, op: u64, message: u64, deadline: Duration) {
        let request = Request {
            method: Method::Post,
            path: format!("/api/messages/{message}/read?op={op}"),
            body: Some("{}".to_owned()),
            idempotency_key: Some(format!("k{op}")),
        };
        self.http.ask(Job { op: OpId(op), call: Call::Read { message }, request, deadline: clock::after(deadline) });
    }

    async fn asked(&mut self) -> (String, Option<String>, oneshot::Sender<Response>) {
        tokio::time::timeout(LIMIT, self.asked.recv()).await.unwrap().unwrap()
    }

    async fn answer(&mut self) -> (OpId, OpResult) {
        match tokio::time::timeout(LIMIT, self.answers.recv()).await.unwrap().unwrap() {
            Input::Answered { lane, op, result, .. } => {
                self.http.answered(&lane);
                (op, result)
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_lane_keeps_its_order_and_lanes_are_independent() {
    let mut stage = stage().await;
    stage.read(1, 7, LIMIT);
    stage.read(2, 7, LIMIT);
    stage.read(3, 8, LIMIT);
    let first = stage.asked().await;
    let other = stage.asked().await;
    assert_eq!((first.1.as_deref(), other.1.as_deref()), (Some("k1"), Some("k3")), "the second waits for the first");
    other.2.send(axum::Json(serde_json::json!({"ok": true})).into_response()).unwrap();
    assert_eq!(stage.answer().await, (OpId(3), OpResult::Ok));
    assert!(stage.asked.try_recv().is_err());
    first.2.send(axum::Json(serde_json::json!({"ok": true})).into_response()).unwrap();
    assert_eq!(stage.answer().await.0, OpId(1));
    assert_eq!(stage.asked().await.1.as_deref(), Some("k2"));
}

#[tokio::test]
async fn many_lanes_share_a_bounded_number_of_requests_and_all_are_answered() {
    let mut stage = stage().await;
    for n in 0..100 {
        stage.read(n, n, LIMIT);
    }
    assert_eq!(stage.http.running, AT_A_TIME);
    for _ in 0..100 {
        let (_, _, answer) = stage.asked().await;
        answer.send(StatusCode::OK.into_response()).unwrap();
        stage.answer().await;
    }
    assert!(stage.http.lanes.is_empty() && stage.http.running == 0);
}

#[tokio::test]
async fn a_deadline_holds_for_what_waits_as_well() {
    let mut stage = stage().await;
    stage.read(1, 7, Duration::from_millis(50));
    stage.read(2, 7, Duration::from_millis(50));
    let _held = stage.asked().await;
    for op in [1, 2] {
        let (answered, OpResult::Failed(failure)) = stage.answer().await else { panic!("failed") };
        assert_eq!((answered, failure.kind), (OpId(op), FailureKind::TimedOut));
        assert_eq!(&*failure.text, "POST /api/messages/7/read: no answer within the deadline");
    }
}

#[tokio::test]
async fn what_the_relay_refuses_is_said_without_the_token() {
    let mut stage = stage().await;
    stage.read(1, 7, LIMIT);
    let (_, _, answer) = stage.asked().await;
    let body = serde_json::json!({"error": {"code": "busy", "message": "the-token is busy"}});
    let refusal = (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "3")], axum::Json(body));
    answer.send(refusal.into_response()).unwrap();
    let (_, OpResult::Failed(failure)) = stage.answer().await else { panic!("failed") };
    assert_eq!(failure.kind, FailureKind::Busy { retry_after: Some(3_000) });
    assert_eq!(&*failure.text, "HTTP 503 busy: [secret] is busy");
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_it() {
    let mut stage = stage().await;
    stage.read(1, 7, LIMIT);
    let (_, _, answer) = stage.asked().await;
    answer.send("x".repeat(ANSWER_MOST + 1).into_response()).unwrap();
    let (_, OpResult::Failed(failure)) = stage.answer().await else { panic!("failed") };
    assert_eq!(failure.kind, FailureKind::Server);
}

#[tokio::test]
async fn nobody_there_is_unreachable_with_the_cause() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = RelayUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let relay = Relay::new(&url, None, "a1".into()).unwrap();
    let failure = relay.message(7).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert!(failure.text.starts_with("GET /api/messages/7: ") && failure.text.contains("refused"), "{}", failure.text);
}
