//! A relay with just enough of one for a runner to be at work, so that nothing but the runner is measured.

use std::net::SocketAddr;
use std::sync::mpsc as threads;

use axum::extract::State;
use axum::extract::ws::{Message as Frame, WebSocket, WebSocketUpgrade};
use axum::http::Uri;
use axum::response::IntoResponse;
use axum::routing::any;
use axum::{Json, Router};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};

pub(crate) struct Bus {
    /// What is to be said on the bus.
    pub(crate) say: Mutex<mpsc::UnboundedReceiver<String>>,
    /// Told of each message that is settled.
    pub(crate) settled: threads::Sender<()>,
    /// Told of each registration.
    pub(crate) registered: threads::Sender<()>,
    /// Told of each status that says ready.
    pub(crate) ready: threads::Sender<()>,
}

/// A relay with just enough of one for a runner to be at work.
pub(crate) fn relay(bus: Bus) -> SocketAddr {
    let (told, addr) = threads::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            told.send(listener.local_addr().expect("an address")).expect("somebody waits");
            let app = Router::new()
                .route("/api/bus", any(upgrade))
                .fallback(any(answer))
                .with_state(std::sync::Arc::new(bus));
            axum::serve(
                axum::serve::ListenerExt::tap_io(listener, |tcp| {
                    let _ = tcp.set_nodelay(true);
                }),
                app,
            )
            .await
            .expect("it serves");
        });
    });
    addr.recv().expect("the relay listens")
}

async fn upgrade(ws: WebSocketUpgrade, State(bus): State<std::sync::Arc<Bus>>) -> impl IntoResponse {
    ws.on_upgrade(|socket| converse(socket, bus))
}

async fn converse(mut socket: WebSocket, bus: std::sync::Arc<Bus>) {
    let mut say = bus.say.lock().await;
    loop {
        tokio::select! {
            Some(text) = say.recv() => {
                if socket.send(Frame::Text(text.into())).await.is_err() {
                    return;
                }
            }
            frame = socket.next() => {
                let Some(Ok(frame)) = frame else { return };
                let Frame::Text(text) = frame else { continue };
                let frame: Value = serde_json::from_str(&text).expect("frames are JSON");
                let reply = match frame["type"].as_str() {
                    Some("register") => {
                        let _ = bus.registered.send(());
                        json!({"type": "registered", "id": frame["id"],
                            "payload": {"agentId": "a1", "epoch": 1, "cursor": 0, "heartbeatIntervalMs": 30_000, "time": 0}})
                    }
                    Some("status") => {
                        if frame["payload"]["ready"] == true {
                            let _ = bus.ready.send(());
                        }
                        json!({"type": "ack", "payload": {"frameId": frame["id"]}})
                    }
                    _ => continue,
                };
                if socket.send(Frame::Text(reply.to_string().into())).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn answer(State(bus): State<std::sync::Arc<Bus>>, uri: Uri, body: String) -> Json<Value> {
    if uri.path().ends_with("/delivery") && body.contains("\"settled\"") {
        let _ = bus.settled.send(());
    }
    Json(if uri.path().ends_with("/inbox") { json!([]) } else { json!({"ok": true}) })
}
