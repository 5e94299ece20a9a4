//! The HTTP side: requests are kept, answers are streamed, and who goes away in the middle is noticed.

use super::script::{Failure, Step};
use super::{Asked, Phase, Shared, anthropic, openai};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Response, StatusCode, Uri, header};
use axum::routing::{get, post};
use futures_util::stream;
use serde_json::{Value, json};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// What a prompt of a person is to one of the two APIs, and how an answer looks there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    pub(super) prompts: fn(&Value) -> Vec<String>,
    /// The step that is next.
    pub(super) next: fn(&Value) -> Step,
    /// The events of an answer, in order: those before a hold or a break, and those after it.
    pub(super) events: fn(usize, &Value, &Step) -> [Vec<Value>; 2],
    pub(super) failure: fn(&Failure) -> Response<Body>,
}

pub(super) fn start(port: u16, shared: Arc<Shared>) -> (u16, oneshot::Sender<()>, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (end, ended) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            tokio::select! {
                served = async { axum::serve(listener, routes(shared)).await } => served.unwrap(),
                _ = ended => {}
            }
        });
    });
    (port, end, thread)
}

fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        // Who checks that somebody is there asks for this.
        .route("/", get(async || ""))
        .route("/v1/models", get(async || axum::Json(json!({"object": "list", "data": [], "models": []}))))
        .route("/v1/responses", post(responses))
        .route("/v1/messages", post(messages))
        .route("/v1/messages/count_tokens", post(async || axum::Json(json!({"input_tokens": 100}))))
        .layer(DefaultBodyLimit::disable())
        .with_state(shared)
}

async fn responses(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    answer(&shared, openai::DIALECT, &uri, &headers, &body)
}

async fn messages(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    answer(&shared, anthropic::DIALECT, &uri, &headers, &body)
}

fn answer(shared: &Arc<Shared>, dialect: Dialect, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Response<Body> {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return json_response(400, &json!({"error": {"message": "this is no JSON"}}));
    };
    let headers = headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let mut step = (dialect.next)(&body);
    if shared.open.borrow().healed && matches!(step, Step::Fail(_) | Step::Break) {
        step = Step::Say("It is well again.".to_owned());
    }
    let prompts = (dialect.prompts)(&body);
    let asked = Asked { path: uri.path().to_owned(), headers, body, prompts, phase: Phase::Answering };
    let body = asked.body.clone();
    let number = shared.keep(asked);
    let failure = match &step {
        Step::Fail(failure) if failure.status != 200 => Some((dialect.failure)(failure)),
        _ => None,
    };
    if let Some(failure) = failure {
        shared.is(number, Phase::Answered);
        return failure;
    }
    let [first, then] = (dialect.events)(number, &body, &step);
    let answering = Answering { shared: Arc::clone(shared), number, ended: false };
    if body["stream"] == false && step != Step::Break {
        return whole(answering, &first, &then);
    }
    let streamed = stream::unfold((answering, 0), move |(mut answering, part)| {
        let (first, then, step) = (first.clone(), then.clone(), step.clone());
        async move {
            match (part, &step) {
                (0, _) => Some((Ok(lines(&first)), (answering, 1))),
                (1, Step::Break) => Some((Err(io::Error::other("cut, as the prompt wants it")), (answering, 2))),
                (1, _) => {
                    if let Step::Hold(name) = &step {
                        answering.shared.is(answering.number, Phase::Held);
                        let mut open = answering.shared.open.subscribe();
                        open.wait_for(|open| open.released.contains(name)).await.ok()?;
                    }
                    // Before its last byte, or the provider acts on it before it is known to be over.
                    answering.ends();
                    Some((Ok(lines(&then)), (answering, 2)))
                }
                _ => None,
            }
        }
    });
    let response = Response::builder().header(header::CONTENT_TYPE, "text/event-stream");
    response.body(Body::from_stream(streamed)).unwrap()
}

/// An answer in one piece, for who does not want a stream: its last event has it.
fn whole(mut answering: Answering, first: &[Value], then: &[Value]) -> Response<Body> {
    answering.ends();
    let last = then.last().or(first.last()).cloned().unwrap_or_default();
    json_response(200, last.get("response").or(last.get("message")).unwrap_or(&last))
}

/// Dropped with its stream: when that was not told to its end, the client is gone.
struct Answering {
    shared: Arc<Shared>,
    number: usize,
    ended: bool,
}

impl Answering {
    fn ends(&mut self) {
        self.ended = true;
        self.shared.is(self.number, Phase::Answered);
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.is(self.number, Phase::Gone);
        }
    }
}

fn lines(events: &[Value]) -> Bytes {
    let line = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default());
    events.iter().map(line).collect::<String>().into()
}

pub(super) fn json_response(status: u16, body: &Value) -> Response<Body> {
    let status = StatusCode::from_u16(status).unwrap();
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    response.body(Body::from(body.to_string())).unwrap()
}
