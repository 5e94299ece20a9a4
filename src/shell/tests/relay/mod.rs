//! A relay for tests: it says yes to everything, keeps what it was told, and sends what it is given.

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::serve::ListenerExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{broadcast, watch};

const LIMIT: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct Relay {
    pub(crate) url: String,
    said: watch::Sender<Vec<Said>>,
    frames: broadcast::Sender<Value>,
    messages: Arc<Mutex<BTreeMap<u64, Value>>>,
}

/// What a runner said, over either way.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// `bus register`, or `POST /api/messages/7/read`.
    pub(crate) what: String,
    pub(crate) body: Value,
    pub(crate) token: Option<String>,
    pub(crate) key: Option<String>,
}

impl Relay {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            said: watch::Sender::new(Vec::new()),
            frames: broadcast::Sender::new(64),
            messages: Arc::default(),
        };
        let router = Router::new()
            .route("/api/bus", get(bus))
            .route("/api/messages/{id}", get(message))
            .fallback(any(call))
            .with_state(relay.clone());
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        relay
    }

    /// Sends a frame to every runner.
    pub(crate) fn send(&self, frame: Value) {
        self.frames.send(frame).unwrap();
    }

    /// Keeps a message, and announces it.
    pub(crate) fn message(&self, seq: u64, message: &Value) {
        self.messages.lock().unwrap().insert(message["id"].as_u64().unwrap(), message.clone());
        self.send(json!({"type": "event", "id": format!("e{seq}"),
            "payload": {"seq": seq, "event": "message.new", "data": message}}));
    }

    /// Waits until this was said for the n-th time.
    pub(crate) async fn heard(&self, what: &str, times: usize) -> Said {
        let mut said = self.said.subscribe();
        let found = said.wait_for(|all| all.iter().filter(|s| s.what == what).count() >= times);
        match tokio::time::timeout(LIMIT, found).await {
            Ok(all) => all.unwrap().iter().filter(|s| s.what == what).nth(times - 1).unwrap().clone(),
            Err(late) => panic!("{late}: {what} was not said {times} times, but: {:#?}", self.all()),
        }
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.said.borrow().iter().map(|s| s.what.clone()).collect()
    }

    fn note(&self, said: Said) {
        self.said.send_modify(|all| all.push(said));
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| value.to_str().unwrap().to_owned())
}

async fn bus(State(relay): State<Relay>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let token = header(&headers, "x-agent-relay-token");
    upgrade.on_upgrade(move |socket| serve(relay, token, socket))
}

async fn serve(relay: Relay, token: Option<String>, mut socket: WebSocket) {
    let mut frames = relay.frames.subscribe();
    loop {
        tokio::select! {
            frame = frames.recv() => {
                if socket.send(Message::text(frame.unwrap().to_string())).await.is_err() {
                    return;
                }
            }
            said = socket.recv() => {
                let Some(Ok(said)) = said else { return };
                let Message::Text(text) = said else { continue };
                let frame: Value = serde_json::from_str(&text).unwrap();
                let kind = frame["type"].as_str().unwrap().to_owned();
                let answer = match kind.as_str() {
                    "register" => Some(json!({"type": "registered", "id": frame["id"],
                        "payload": {"agentId": frame["payload"]["agentId"], "epoch": 1, "cursor": 0, "time": 0}})),
                    "resume" => Some(json!({"type": "replayed", "id": frame["id"],
                        "payload": {"from": 0, "to": 0, "gap": false}})),
                    "status" => Some(json!({"type": "ack", "payload": {"frameId": frame["id"]}})),
                    _ => None,
                };
                // Said before it is answered, so that whoever waits for it finds the runner about to go on.
                relay.note(Said { what: format!("bus {kind}"), body: frame["payload"].clone(), token: token.clone(), key: None });
                if let Some(answer) = answer
                    && socket.send(Message::text(answer.to_string())).await.is_err()
                {
                    return;
                }
            }
        }
    }
}

async fn message(State(relay): State<Relay>, Path(id): Path<u64>) -> Response {
    match relay.messages.lock().unwrap().get(&id) {
        Some(message) => axum::Json(message.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn call(State(relay): State<Relay>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let what = format!("{method} {}", uri.path());
    relay.note(Said {
        what,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        token: header(&headers, "x-agent-relay-token"),
        key: header(&headers, "idempotency-key"),
    });
    let answer = if uri.path().ends_with("/inbox") {
        let messages: Vec<Value> = relay.messages.lock().unwrap().values().cloned().collect();
        Value::Array(messages)
    } else {
        json!({"ok": true, "fence": 1, "leaseMs": 60_000, "claimExpiresAt": 0})
    };
    axum::Json(answer).into_response()
}
