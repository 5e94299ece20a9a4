//! The bus: one websocket per agent.
//!
//! A connection has two halves that never wait for each other. The reader carries frames out, the writer writes what is
//! queued; a client that sends without reading fills its own queue, and is disconnected. It resumes on a new connection.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use relay_runner_protocol::frame::{Ack, BusError, ClientFrame, Register, ServerFrame, Subscribe};
use relay_runner_protocol::{ErrorCode, Session, command::NewCommand};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::App;
use crate::credential::Credential;
use crate::event::Form;
use crate::hub::ConnId;
use crate::outbox::{Out, Outbox, Queue, queue, text};
use crate::rate::Caller;
use crate::refusal::{Refusal, Result};
use crate::store::Store;

/// What a client has to take in the last frame and say goodbye.
const FAREWELL: Duration = Duration::from_secs(2);
/// Bytes of one frame of a client: as for a body over HTTP.
const MAX_FRAME: usize = crate::http::MAX_BODY;

/// `GET /api/bus`.
pub(crate) async fn upgrade(
    State(app): State<Arc<App>>,
    Extension(credential): Extension<Credential>,
    Extension(caller): Extension<Caller>,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    match socket {
        Ok(socket) => {
            socket.max_message_size(MAX_FRAME).on_upgrade(move |socket| serve(socket, app, credential, caller))
        }
        Err(rejection) => {
            let message = format!("the bus is a websocket: {rejection}");
            Refusal::new(StatusCode::UPGRADE_REQUIRED, "not_a_websocket", message).into_response()
        }
    }
}

async fn serve(socket: WebSocket, app: Arc<App>, credential: Credential, caller: Caller) {
    let (outbox, queue) = queue();
    let (alive, closed) = oneshot::channel::<()>();
    let ours = outbox.clone();
    let Ok(id) = app.store.with_hub(move |hub| hub.open(ours, alive, Form::Frames)).await else { return };
    let (sink, stream) = socket.split();
    let last_words = outbox.clone();
    let mut reader = Reader { id, app: &app, credential: &credential, caller: &caller, outbox, stream, speaker: None };
    tokio::select! {
        () = reader.read() => {}
        () = write(id, &app, queue, sink) => {}
        () = expire(&credential, &last_words) => {}
        // The hub let go of it: too slow, replaced, or the relay stops.
        _ = closed => {}
    }
    let speaker = reader.speaker.take();
    // Fails only when the relay stops, and then nobody asks any more.
    let _ = app
        .store
        .run(move |tx| {
            tx.disconnected(id, speaker.as_ref().map(|s| (s.agent.as_str(), &s.session)));
            Ok(())
        })
        .await;
}

/// Whom a connection speaks for.
struct Speaker {
    agent: String,
    session: Session,
}

struct Reader<'a> {
    id: ConnId,
    app: &'a App,
    credential: &'a Credential,
    caller: &'a Caller,
    outbox: Outbox,
    stream: SplitStream<WebSocket>,
    speaker: Option<Speaker>,
}

impl Reader<'_> {
    /// Until the client leaves, is silent for too long, or does not take what it is sent.
    async fn read(&mut self) {
        let register_by = Instant::now() + self.app.pace.register_within;
        loop {
            let next = match self.speaker {
                None => timeout_at(register_by, self.stream.next()).await,
                Some(_) => timeout(self.app.pace.dead_after, self.stream.next()).await,
            };
            let goes_on = match next {
                Ok(Some(Ok(Message::Text(frame)))) => self.take(&frame).await,
                Ok(Some(Ok(Message::Binary(_)))) => self.refuse(None, ErrorCode::InvalidFrame, "frames are text"),
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => true,
                Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) | Err(_) => false,
            };
            if !goes_on {
                return;
            }
        }
    }

    /// False: this connection is over.
    async fn take(&mut self, text: &str) -> bool {
        let frame: ClientFrame = match serde_json::from_str(text) {
            Ok(frame) => frame,
            Err(error) => return self.refuse(id_in(text), ErrorCode::InvalidFrame, &error.to_string()),
        };
        let id = id_of(&frame);
        let acknowledge =
            matches!(frame, ClientFrame::Status { .. } | ClientFrame::Subscribe { .. } | ClientFrame::Command { .. });
        match self.carry_out(frame).await {
            Ok(()) if acknowledge => {
                let payload = Ack { frame_id: id.unwrap_or_default() };
                self.outbox.frame(&ServerFrame::Ack { payload })
            }
            Ok(()) => true,
            Err(refusal) => match refusal.on_the_bus() {
                Some(code) => self.refuse(id, code, &refusal.message),
                None => false,
            },
        }
    }

    async fn carry_out(&mut self, frame: ClientFrame) -> Result<()> {
        self.credential.check()?;
        self.app.rate.count(self.caller)?;
        if let ClientFrame::Register { id, payload } = frame {
            return self.register(id, payload).await;
        }
        let Some(Speaker { agent, session }) = &self.speaker else {
            let message = "register first: this connection speaks for no agent yet";
            return Err(Refusal::new(StatusCode::NOT_FOUND, "not_registered", message));
        };
        let (connection, agent, session) = (self.id, agent.clone(), session.clone());
        let store = &self.app.store;
        match frame {
            ClientFrame::Subscribe { payload, .. } => self.subscribe(payload).await,
            ClientFrame::Heartbeat { payload } => {
                store.run(move |tx| tx.bus_heartbeat(&agent, &session, &payload)).await
            }
            ClientFrame::Status { payload, .. } => store.run(move |tx| tx.bus_status(&agent, &session, &payload)).await,
            ClientFrame::Ack { payload } => {
                store.run(move |tx| tx.acknowledge(&agent, &session, &payload.frame_id)).await
            }
            ClientFrame::Resume { id, payload } => {
                store.run(move |tx| tx.resume(connection, &agent, &session, payload.since, id)).await
            }
            ClientFrame::Command { payload, .. } => {
                let new =
                    NewCommand { command_type: payload.command_type, target: payload.target, params: payload.params };
                store.run(move |tx| tx.issue(&new).map(drop)).await
            }
            ClientFrame::Register { .. } => Ok(()),
        }
    }

    async fn register(&mut self, frame: String, payload: Register) -> Result<()> {
        let (connection, every) = (self.id, self.app.pace.heartbeat_interval_ms);
        let instance_id = payload.instance_id.clone();
        let answer =
            self.app.store.run(move |tx| tx.register_on_bus(&payload.into(), connection, frame, every)).await?;
        let session = Session { instance_id, epoch: answer.epoch };
        self.speaker = Some(Speaker { agent: answer.agent_id, session });
        Ok(())
    }

    async fn subscribe(&self, subscription: Subscribe) -> Result<()> {
        let connection = self.id;
        let fits = self.app.store.with_hub(move |hub| hub.subscribe(connection, subscription)).await?;
        if fits { Ok(()) } else { Err(Refusal::invalid("too many subscriptions on one connection")) }
    }

    /// Says why; after `superseded` and `expired_token` there is nothing more to say, and the writer closes the connection.
    fn refuse(&self, id: Option<String>, code: ErrorCode, message: &str) -> bool {
        let frame = ServerFrame::Error { id, payload: BusError { code, message: message.to_owned() } };
        match code {
            ErrorCode::Superseded | ErrorCode::ExpiredToken => self.outbox.push(Out::Last(text(&frame), None)),
            _ => self.outbox.frame(&frame),
        }
    }
}

/// When the token that the connection was opened with expires, the client is told so, and the writer closes the
/// connection. Comes back only when that cannot be told.
async fn expire(credential: &Credential, outbox: &Outbox) {
    let refusal = credential.end().await;
    let payload = BusError { code: ErrorCode::ExpiredToken, message: refusal.message };
    if outbox.push(Out::Last(text(&ServerFrame::Error { id: None, payload }), None)) {
        std::future::pending::<()>().await;
    }
}

/// Writes what is queued, in order, and pings. Ends when the connection is to be closed.
async fn write(id: ConnId, app: &App, mut queue: Queue, mut sink: SplitSink<WebSocket, Message>) {
    let mut ping = tokio::time::interval_at(Instant::now() + app.pace.ping_interval, app.pace.ping_interval);
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let written = tokio::select! {
            out = queue.next() => match out {
                Some(Out::Frame(frame)) => sink.send(Message::Text(frame)).await.is_ok(),
                Some(Out::Replay(since)) => replay(id, &app.store, since, &mut sink).await,
                Some(Out::Last(frame, alive)) => {
                    say_goodbye(frame, &mut sink).await;
                    drop(alive);
                    false
                }
                None => false,
            },
            _ = ping.tick() => sink.send(Message::Ping(axum::body::Bytes::new())).await.is_ok(),
        };
        if !written {
            return;
        }
    }
}

/// Fetched page by page, so that a long history is never in memory as a whole. False: the connection is broken.
async fn replay(id: ConnId, store: &Store, since: u64, sink: &mut SplitSink<WebSocket, Message>) -> bool {
    let mut next = Some(since);
    while let Some(after) = next {
        let Ok(page) = store.run(move |tx| tx.page(id, after)).await else { return false };
        for frame in page.frames {
            if sink.feed(Message::Text(frame)).await.is_err() {
                return false;
            }
        }
        if sink.flush().await.is_err() {
            return false;
        }
        next = page.next;
    }
    true
}

/// The client closes first if it can: a socket that is closed with something unread in it would throw the frame away.
async fn say_goodbye(frame: Utf8Bytes, sink: &mut SplitSink<WebSocket, Message>) {
    let _ = timeout(FAREWELL, async {
        sink.send(Message::Text(frame)).await?;
        sink.send(Message::Close(None)).await?;
        // The reader's half ends when the client has closed, and this with it.
        std::future::pending::<Result<(), axum::Error>>().await
    })
    .await;
}

fn id_of(frame: &ClientFrame) -> Option<String> {
    match frame {
        ClientFrame::Register { id, .. }
        | ClientFrame::Status { id, .. }
        | ClientFrame::Subscribe { id, .. }
        | ClientFrame::Resume { id, .. }
        | ClientFrame::Command { id, .. } => Some(id.clone()),
        ClientFrame::Heartbeat { .. } | ClientFrame::Ack { .. } => None,
    }
}

/// The id of a frame that cannot be read otherwise.
fn id_in(text: &str) -> Option<String> {
    let frame: serde_json::Value = serde_json::from_str(text).ok()?;
    frame.get("id")?.as_str().map(str::to_owned)
}
