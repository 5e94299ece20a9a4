//! `GET /events`: what the log says, and changes of the state, as server-sent events.
//!
//! Ids are `<run>.<number>`. Without `Last-Event-ID` the stream begins now; with one it goes on from there, and with a
//! `gap` first when that cannot be done whole. A reader that is too slow is let go, after a `gap`, and may come back.

use super::routes::{ending, refusal};
use crate::input::{Input, Inputs};
use crate::notes;
use crate::observed::{Ask, Entry, Listening, Resume, Told, What};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use relay_runner_protocol::http::LAST_EVENT_HEADER;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, Interval, interval_at};

/// What a client is asked to wait before it comes back.
const COME_BACK: Duration = Duration::from_secs(1);
/// Between two signs of life: who is gone is found out by them.
const PING_EVERY: Duration = Duration::from_secs(15);

pub(super) async fn events(State(inputs): State<Inputs>, headers: HeaderMap) -> Response {
    let after = headers.get(LAST_EVENT_HEADER).map(|id| id.to_str().unwrap_or_default().to_owned());
    let resume = after.as_deref().map_or(Resume::Now, resume);
    let (answer, answered) = oneshot::channel();
    if !inputs.send(Input::Observe(Ask::Listen(resume, answer))).await {
        return ending();
    }
    let listening = match answered.await {
        Ok(Some(listening)) => listening,
        Ok(None) => {
            let why = "too many listen to this runner already; close one of them, and try again";
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "too_many_listeners", why);
        }
        Err(_) => return ending(),
    };
    let feed = Feed::new(listening, after);
    let body = stream::unfold(feed, async |mut feed| Some((Ok::<_, Infallible>(feed.next().await?), feed)));
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(body)).into_response()
}

/// Where an id says to go on.
fn resume(id: &str) -> Resume {
    let parts = id.trim().split_once('.').and_then(|(run, number)| Some((run.parse().ok()?, number.parse().ok()?)));
    parts.map_or(Resume::Unknown, |(run, number)| Resume::Behind { run, number })
}

/// One client's stream.
struct Feed {
    listening: Listening,
    first: Option<Bytes>,
    /// The id of the last entry that was sent.
    sent: Option<String>,
    over: bool,
    ping: Interval,
}

impl Feed {
    fn new(listening: Listening, after: Option<String>) -> Self {
        let mut first = format!("retry: {}\n: the runner's events\n\n", COME_BACK.as_millis());
        if listening.gap {
            let next = listening.missed.front().map(|entry| id(&listening, entry));
            first.push_str(&gap(after.as_deref(), next.as_deref()));
        }
        let ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        Self { listening, first: Some(first.into()), sent: after, over: false, ping }
    }

    /// None: the stream ends.
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        if let Some(entry) = self.listening.missed.pop_front() {
            return Some(self.entry(&entry));
        }
        tokio::select! {
            told = self.listening.rest.recv() => match told? {
                Told::Entry(entry) => Some(self.entry(&entry)),
                Told::CutOff => {
                    self.over = true;
                    Some(gap(self.sent.as_deref(), None).into())
                }
            },
            _ = self.ping.tick() => Some(Bytes::from_static(b":\n\n")),
        }
    }

    fn entry(&mut self, entry: &Entry) -> Bytes {
        let id = id(&self.listening, entry);
        let (name, data) = shown(entry);
        let text = format!("id: {id}\nevent: {name}\ndata: {data}\n\n");
        self.sent = Some(id);
        text.into()
    }
}

fn id(listening: &Listening, entry: &Entry) -> String {
    format!("{}.{}", listening.run, entry.number)
}

/// What came behind `after`, and before `next`, cannot be had. Without `next`, the stream ends: come back.
fn gap(after: Option<&str>, next: Option<&str>) -> String {
    format!("event: gap\ndata: {}\n\n", json!({"after": after, "next": next}))
}

/// The name of an entry, and what it says.
fn shown(entry: &Entry) -> (&'static str, Value) {
    let (at, event) = (entry.at, entry.event);
    match &entry.what {
        What::Note(note) => ("note", notes::note_json(at, event, note)),
        What::Change { before, now } => ("change", notes::change_json(at, event, before, now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_run_and_a_number() {
        assert_eq!(resume(" 1795.12 "), Resume::Behind { run: 1_795, number: 12 });
        for wrong in ["", "12", "1795.", ".12", "1795.x", "1795.12.3", "-1.2"] {
            assert_eq!(resume(wrong), Resume::Unknown, "{wrong}");
        }
    }
}
