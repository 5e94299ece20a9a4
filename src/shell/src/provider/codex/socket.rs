//! The connection to an app-server: a websocket over its unix socket, of text messages that are JSON each.

use crate::clock;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::{interval_at, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Between two attempts to connect: a socket that does not exist yet gives no event to wait for.
const CONNECT_EVERY: Duration = Duration::from_millis(20);
/// How long the handshake of one connection may take.
const UPGRADE_WITHIN: Duration = Duration::from_secs(5);
/// How long a message may take to be said: an app-server that reads nothing is none.
const SAID_WITHIN: Duration = Duration::from_secs(2);
/// The longest message that is read: a page of whole turns.
const MESSAGE_MOST: usize = 64 * 1024 * 1024;
/// The library's own 128 KiB are much for a runner that waits.
const BUFFER: usize = 8 * 1024;

#[derive(Debug)]
pub(super) struct Socket(WebSocketStream<UnixStream>);

/// What came over it.
#[derive(Debug)]
pub(super) enum Came {
    Json(Value),
    /// So many bytes that are no JSON.
    Garbage(usize),
    /// It broke, or was closed.
    End(String),
}

/// Tries again and again, from then on; the last reason is left in `why`.
pub(super) async fn connect(path: &Path, after: Duration, why: &mut String) -> Socket {
    let mut attempts = interval_at(clock::after(after), CONNECT_EVERY);
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_MOST))
        .max_frame_size(Some(MESSAGE_MOST));
    loop {
        attempts.tick().await;
        let stream = match UnixStream::connect(path).await {
            Ok(stream) => stream,
            Err(error) => {
                *why = error.to_string();
                continue;
            }
        };
        // The host is not looked at.
        let upgraded = client_async_with_config("ws://localhost/", stream, Some(config));
        match timeout(UPGRADE_WITHIN, upgraded).await {
            Ok(Ok((socket, _))) => return Socket(socket),
            Ok(Err(error)) => *why = format!("it does not speak websocket there: {error}"),
            Err(_) => "it does not answer there".clone_into(why),
        }
    }
}

impl Socket {
    /// What comes next. Pings are answered by the way.
    pub(super) async fn next(&mut self) -> Came {
        loop {
            let bytes = match self.0.next().await {
                Some(Ok(Message::Text(text))) => text.into(),
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(_))) | None => return Came::End("it was closed".to_owned()),
                Some(Err(error)) => return Came::End(error.to_string()),
            };
            return serde_json::from_slice(&bytes).map_or_else(|_| Came::Garbage(bytes.len()), Came::Json);
        }
    }

    pub(super) async fn say(&mut self, value: &Value) -> Result<(), String> {
        match timeout(SAID_WITHIN, self.0.send(Message::text(value.to_string()))).await {
            Ok(said) => said.map_err(|error| error.to_string()),
            Err(_) => Err("it reads nothing".to_owned()),
        }
    }
}
