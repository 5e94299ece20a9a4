//! The bus: a websocket of the relay, one task per connection.
//!
//! A connection is alive as long as something is heard on it: pings go out every 15 s, and after 45 s of silence it
//! is closed. Whoever drops it hears nothing more of it; what was handed to it before is still sent.

mod connect;

use crate::clock;
use crate::input::{Input, Inputs, Task};
use crate::relay_url::RelayUrl;
use crate::secret::{Redactor, cut};
use connect::Stream;
use futures_util::{SinkExt, StreamExt};
use relay_runner_core::event::{BusFrame, LinkReport};
use relay_runner_core::ids::Conn;
use relay_runner_core::wire::{self, Words};
use relay_runner_core::{Event, Text};
use secrecy::SecretString;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message as Wire, Utf8Bytes};

/// Frames that wait to be sent; a relay that does not read them is as good as gone.
const WAITING_MOST: usize = 1_024;
/// The largest frame that is taken.
const FRAME_MOST: usize = 8 * 1024 * 1024;
/// How long the last frames may take once nobody wants the connection any more.
const FAREWELL: Duration = Duration::from_secs(1);

/// The spans of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BusTiming {
    pub(crate) connect: Duration,
    pub(crate) ping: Duration,
    pub(crate) silence: Duration,
}

impl Default for BusTiming {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), ping: Duration::from_secs(15), silence: Duration::from_secs(45) }
    }
}

/// Where to, and as whom.
#[derive(Debug, Clone)]
pub(crate) struct BusTarget {
    pub(crate) relay: RelayUrl,
    pub(crate) token: Option<SecretString>,
    pub(crate) agent_id: Text,
    pub(crate) timing: BusTiming,
}

/// A connection, or the attempt at one.
#[derive(Debug)]
pub(crate) struct Bus {
    pub(crate) conn: Conn,
    out: mpsc::Sender<String>,
    task: Task,
}

impl Bus {
    pub(crate) fn connect(conn: Conn, target: BusTarget, inputs: &Inputs) -> Self {
        let (out, waiting) = mpsc::channel(WAITING_MOST);
        let to = inputs.clone();
        let task = Task::start("the bus", inputs, async move {
            let link = Link { conn, to, waiting };
            link.run(target).await;
        });
        Self { conn, out, task }
    }

    /// Lost silently when the connection is, or when too much waits already: then the relay does not read, and
    /// silence will end the connection.
    pub(crate) fn send(&self, frame: String) {
        if self.out.try_send(frame).is_err() {
            tracing::debug!(conn = self.conn, "a frame was lost with its connection");
        }
    }

    /// Sends what waits, says goodbye, and is gone.
    pub(crate) fn close(self) -> impl Future<Output = ()> + Send {
        let Self { out, task, .. } = self;
        drop(out);
        task.end_within(FAREWELL)
    }
}

struct Link {
    conn: Conn,
    to: Inputs,
    waiting: mpsc::Receiver<String>,
}

impl Link {
    async fn run(mut self, target: BusTarget) {
        let stream = tokio::select! {
            stream = connect::open(&target) => stream,
            () = dropped(&mut self.waiting) => return,
        };
        match stream {
            Err(failure) => self.report(LinkReport::Failed(failure)).await,
            Ok(stream) => {
                self.report(LinkReport::Opened).await;
                if let Some(reason) = self.converse(stream, &target).await {
                    self.report(LinkReport::Closed(reason.into())).await;
                }
            }
        }
    }

    async fn report(&self, report: LinkReport) {
        self.to.event(Event::Link(self.conn, report)).await;
    }

    /// Until the connection is over; the reason, unless it was we who wanted no more of it.
    async fn converse(&mut self, mut socket: WebSocketStream<Stream>, target: &BusTarget) -> Option<String> {
        let BusTiming { ping, silence, .. } = target.timing;
        let redactor = Redactor::new(target.token.clone());
        let mut pings = interval_at(clock::after(ping), ping);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard: Instant = clock::after(Duration::ZERO);
        loop {
            tokio::select! {
                frame = self.waiting.recv() => {
                    let Some(frame) = frame else {
                        // Everything that waited is sent; a peer that is gone need not hear goodbye.
                        let _ = socket.close(None).await;
                        return None;
                    };
                    if let Some(reason) = within(silence, socket.send(Wire::text(frame))).await {
                        return Some(reason);
                    }
                }
                frame = socket.next() => {
                    heard = clock::after(Duration::ZERO);
                    match frame {
                        None => return Some("the relay closed the connection".to_owned()),
                        Some(Err(error)) => return Some(format!("the connection broke: {error}")),
                        Some(Ok(frame)) => if let Some(reason) = self.take(frame, &target.agent_id, &redactor).await {
                            return Some(reason);
                        },
                    }
                }
                _ = pings.tick() => {
                    if let Some(reason) = within(silence, socket.send(Wire::Ping(Vec::new().into()))).await {
                        return Some(reason);
                    }
                }
                () = sleep_until(heard + silence) => {
                    return Some(format!("nothing was heard for {} s", silence.as_secs_f32()));
                }
            }
        }
    }

    /// Why the connection is over with this frame, if it is.
    async fn take(&self, frame: Wire, us: &str, redactor: &Redactor) -> Option<String> {
        match frame {
            Wire::Text(text) => {
                let (frame, words) = read(&text, us, redactor);
                let input = Input::Bus { conn: self.conn, frame, words };
                (!self.to.send(input).await).then(|| "the run is over".to_owned())
            }
            Wire::Binary(_) => {
                let frame = BusFrame::Malformed { reason: "a binary frame".into() };
                self.to.send(Input::Bus { conn: self.conn, frame, words: Words::default() }).await;
                None
            }
            Wire::Close(close) => Some(close.map_or_else(
                || "the relay closed the connection".to_owned(),
                |c| cut(&redactor.clean(&format!("the relay closed the connection: {} {}", c.code, c.reason)), 200),
            )),
            // Pings are answered by the library; that something came is all that counts.
            Wire::Ping(_) | Wire::Pong(_) | Wire::Frame(_) => None,
        }
    }
}

/// Waits for the sender to be dropped. Frames that come before there is a connection are lost with it.
async fn dropped(waiting: &mut mpsc::Receiver<String>) {
    while waiting.recv().await.is_some() {}
}

/// A write that the relay does not take is silence as well.
async fn within<E: std::fmt::Display>(limit: Duration, sending: impl Future<Output = Result<(), E>>) -> Option<String> {
    match tokio::time::timeout(limit, sending).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("the connection broke: {error}")),
        Err(_) => Some(format!("the relay took nothing for {} s", limit.as_secs_f32())),
    }
}

fn read(text: &Utf8Bytes, us: &str, redactor: &Redactor) -> (BusFrame, Words) {
    let (mut frame, words) = wire::read_frame(text, us);
    if let BusFrame::Error { message, .. } = &mut frame {
        // A relay may quote the token that it refuses.
        *message = redactor.clean(message).into();
    }
    (frame, words)
}

#[cfg(test)]
mod tests;
