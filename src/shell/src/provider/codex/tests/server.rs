//! The app-server, played by the test.

use crate::provider::tested::LIMIT;
use crate::runner_dir::CODEX_SOCKET;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::Path;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

pub(super) struct Server(UnixListener);

impl Server {
    pub(super) fn at(runner_dir: &Path) -> Self {
        Self(UnixListener::bind(runner_dir.join(CODEX_SOCKET)).unwrap())
    }

    pub(super) async fn accept(&self) -> Line {
        let accepted = async {
            loop {
                let (stream, _) = self.0.accept().await.unwrap();
                // An attempt that was given up for something that was more urgent is followed by another.
                if let Ok(socket) = accept_async(stream).await {
                    return Line(socket);
                }
            }
        };
        timeout(LIMIT, accepted).await.expect("a connection in time")
    }

    /// Begins a conversation up to the opening of the thread.
    pub(super) async fn greeted(&self) -> Line {
        let mut line = self.accept().await;
        line.reply("initialize", json!({"userAgent": "codex"})).await;
        assert_eq!(line.hear().await, json!({"method": "initialized"}));
        line.reply("account/read", json!({"account": null, "requiresOpenaiAuth": false})).await;
        line
    }

    /// Answers every request for a websocket with nonsense.
    pub(super) async fn talk_nonsense(&self) -> Infallible {
        loop {
            let (stream, _) = self.0.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            // The adapter may give up at any time.
            while stream.read_line(&mut line).await.is_ok_and(|read| read > 2) {
                line.clear();
            }
            let _ = stream.write_all(b"What do you want?\r\n\r\n").await;
        }
    }

    /// Takes every connection, and closes it before anything is said.
    pub(super) async fn hang_up(&self) -> Infallible {
        loop {
            let (stream, _) = self.0.accept().await.unwrap();
            drop(accept_async(stream).await);
        }
    }
}

/// One connection; broken when this is dropped.
pub(super) struct Line(WebSocketStream<UnixStream>);

impl Line {
    pub(super) async fn hear(&mut self) -> Value {
        match timeout(LIMIT, self.0.next()).await.expect("a message in time") {
            Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The next message is a call of this method: its id and parameters.
    pub(super) async fn call(&mut self, method: &str) -> (Value, Value) {
        let mut said = self.hear().await;
        assert_eq!(said["method"], method, "{said}");
        (said["id"].take(), said["params"].take())
    }

    pub(super) async fn reply(&mut self, method: &str, result: Value) -> Value {
        let (id, params) = self.call(method).await;
        self.say(json!({"id": id, "result": result})).await;
        params
    }

    pub(super) async fn refuse(&mut self, method: &str, why: &str) {
        let (id, _) = self.call(method).await;
        self.say(json!({"id": id, "error": {"code": -32600, "message": why}})).await;
    }

    pub(super) async fn send(&mut self, message: Message) {
        timeout(LIMIT, self.0.send(message)).await.expect("sent in time").unwrap();
    }

    pub(super) async fn say(&mut self, value: Value) {
        self.send(Message::text(value.to_string())).await;
    }

    /// The head of a message that is so long; its body never comes.
    pub(super) async fn announce(&mut self, bytes: u64) {
        let mut head = vec![0x81, 127];
        head.extend(bytes.to_be_bytes());
        self.0.get_mut().write_all(&head).await.unwrap();
    }

    pub(super) async fn begin_turn(&mut self, id: &str) {
        let turn = json!({"id": id, "status": "inProgress"});
        self.say(json!({"method": "turn/started", "params": {"threadId": "t", "turn": turn}})).await;
    }

    pub(super) async fn show(&mut self, turn: &str, client: &Value) {
        let params = json!({"threadId": "t", "turnId": turn, "item": {"type": "userMessage", "clientId": client}});
        self.say(json!({"method": "item/started", "params": params})).await;
    }

    pub(super) async fn end_turn(&mut self, id: &str, status: &str, error: Value) {
        let turn = json!({"id": id, "status": status, "error": error});
        self.say(json!({"method": "turn/completed", "params": {"threadId": "t", "turn": turn}})).await;
    }
}
