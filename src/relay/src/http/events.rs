//! `GET /api/events`: what happens, as server-sent events.
//!
//! Ids are the positions of the bus. Without `Last-Event-ID` the stream begins now; with one it goes on from there, and
//! with a `gap` first when that cannot be done whole. `?events=` and `?scopes=` choose as `subscribe` does on the bus
//! (lists with commas); without them everything comes. A client that is too slow is let go, and resumes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::ws::Utf8Bytes;
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use relay_runner_protocol::frame::{Replayed, Subscribe};
use relay_runner_protocol::http::LAST_EVENT_HEADER;
use serde::Deserialize;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, Interval, interval_at};

use crate::App;
use crate::credential::Credential;
use crate::event::{Form, gap};
use crate::hub::ConnId;
use crate::outbox::{Out, Queue, queue};
use crate::refusal::{Refusal, Result};

/// What a client is asked to wait before it comes back, in milliseconds.
const COME_BACK: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Choice {
    events: Option<String>,
    scopes: Option<String>,
}

pub(super) async fn stream(
    State(app): State<Arc<App>>,
    Extension(credential): Extension<Credential>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response> {
    let Query(choice) =
        Query::<Choice>::try_from_uri(&uri).map_err(|e| Refusal::invalid(format!("the query cannot be read: {e}")))?;
    let since = headers.get(LAST_EVENT_HEADER).map(|id| id.to_str().ok().and_then(|id| id.parse().ok()));
    // An id that this relay cannot have given out is one it cannot go on from.
    let watch = open(app, credential, choice.into(), since.map(|id| id.unwrap_or(u64::MAX))).await?;
    let body = stream::unfold(watch, async |mut watch| Some((Ok::<_, Infallible>(watch.next().await?), watch)));
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(body)).into_response())
}

async fn open(app: Arc<App>, credential: Credential, what: Subscribe, since: Option<u64>) -> Result<Watch> {
    let (outbox, queue) = queue();
    let (alive, closed) = oneshot::channel();
    let id = app
        .store
        .with_hub(move |hub| {
            let id = hub.open(outbox, alive, Form::Entries);
            hub.subscribe(id, what);
            // Until the replay is through, what is new is left to it.
            if since.is_some() {
                hub.hold(id);
            }
            id
        })
        .await?;
    let mut first = format!("retry: {}\n: the relay's events\n\n", COME_BACK.as_millis());
    let pace = app.pace.ping_interval;
    let ping = interval_at(Instant::now() + pace, pace);
    let stopping = app.stopping.clone();
    // From here on the connection is let go with the value.
    let mut watch =
        Watch { app, credential, id, queue, closed, stopping, ping, first: None, replay: None, over: false };
    if let Some(since) = since {
        let found: Replayed = watch.app.store.run(move |tx| tx.kept_after(since)).await?;
        watch.replay = Some(found.from - 1);
        if found.gap {
            first.push_str(&gap(found));
        }
    }
    watch.first = Some(first.into());
    Ok(watch)
}

impl From<Choice> for Subscribe {
    fn from(choice: Choice) -> Self {
        let list = |text: Option<String>| -> Vec<String> {
            text.iter().flat_map(|text| text.split(',')).map(|word| word.trim().to_owned()).collect()
        };
        let events = choice.events.map_or_else(|| vec!["*".to_owned()], |events| list(Some(events)));
        Self { events, scopes: list(choice.scopes) }
    }
}

/// One client's stream.
struct Watch {
    app: Arc<App>,
    credential: Credential,
    id: ConnId,
    queue: Queue,
    closed: oneshot::Receiver<()>,
    stopping: watch::Receiver<bool>,
    ping: Interval,
    first: Option<Bytes>,
    replay: Option<u64>,
    over: bool,
}

impl Watch {
    /// None: the stream ends.
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        while let Some(after) = self.replay {
            let id = self.id;
            let page = self.app.store.run(move |tx| tx.page(id, after)).await.ok()?;
            self.replay = page.next;
            if !page.frames.is_empty() {
                return Some(page.frames.iter().map(Utf8Bytes::as_str).collect::<String>().into());
            }
        }
        tokio::select! {
            out = self.queue.next() => match out? {
                Out::Frame(entry) => Some(entry.into()),
                Out::Replay(_) | Out::Last(..) => None,
            },
            // Too slow, or the relay is gone.
            _ = &mut self.closed => None,
            _ = self.stopping.wait_for(|stopping| *stopping) => None,
            refusal = self.credential.end() => {
                self.over = true;
                Some(format!("event: error\ndata: {}\n\n", serde_json::json!(refusal.body())).into())
            }
            _ = self.ping.tick() => Some(Bytes::from_static(b":\n\n")),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.app.store.let_go(self.id);
    }
}
