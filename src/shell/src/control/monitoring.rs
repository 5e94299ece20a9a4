//! `GET /monitor` and `POST /monitor/ack` (protocol 4): what is offered, as lines for whoever listens.

use super::routes::{ending, read, refusal};
use crate::monitor::{Connected, Key, Monitor};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;

/// A blank line comes after so much silence, so that either end sees that the other is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Lines acknowledged in one call.
const IDS_MOST: usize = 1_024;

pub(super) fn routes<S: Clone + Send + Sync + 'static>(monitor: &Monitor) -> Router<S> {
    Router::new().route("/monitor", get(listen)).route("/monitor/ack", post(acknowledge)).with_state(monitor.clone())
}

#[derive(Debug, Deserialize)]
struct Listening {
    /// False: only if nobody listens.
    #[serde(default = "yes")]
    takeover: bool,
}

const fn yes() -> bool {
    true
}

fn is_off() -> Response {
    let message =
        "the messages of this runner go to its provider's standard input; `run --offers monitor` sends them here";
    refusal(StatusCode::CONFLICT, "monitor_off", message)
}

/// One JSON line for each message that is offered, blank lines in between.
async fn listen(State(monitor): State<Monitor>, uri: Uri) -> Response {
    let Ok(Query(Listening { takeover })) = Query::try_from_uri(&uri) else {
        let message = "the query cannot be read; known is takeover=true or takeover=false";
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, "bad_query", message);
    };
    if !monitor.is_on() {
        return is_off();
    }
    let lines = match monitor.connect(takeover).await {
        Connected::Lines(lines) => lines,
        Connected::Taken => {
            let message = "another monitor is connected; without takeover=false this one takes its place";
            return refusal(StatusCode::CONFLICT, "monitor_taken", message);
        }
        Connected::Over => return ending(),
    };
    // The first blank line says that it is connected.
    let lines = stream::unfold((lines, true), async |(mut lines, is_new)| {
        let line = if is_new {
            Some("\n".to_owned())
        } else {
            tokio::time::timeout(HEARTBEAT, lines.recv()).await.unwrap_or_else(|_| Some("\n".to_owned()))
        };
        line.map(|line| (Ok::<_, Infallible>(line), (lines, false)))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

#[derive(Debug, Deserialize)]
struct Acknowledged {
    /// Of messages.
    ids: Vec<u64>,
    /// Of lines that are none.
    #[serde(default)]
    words: Vec<u64>,
}

/// What was read; messages that nobody was told of change nothing.
async fn acknowledge(State(monitor): State<Monitor>, body: Result<Bytes, BytesRejection>) -> Response {
    let Acknowledged { ids, words } = match read(body) {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    if ids.len() + words.len() > IDS_MOST {
        let message = format!("at most {IDS_MOST} ids at a time");
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, "bad_body", &message);
    }
    if !monitor.is_on() {
        return is_off();
    }
    let keys = ids.into_iter().map(Key::Message).chain(words.into_iter().map(Key::Words)).collect();
    if monitor.acknowledge(keys).await { axum::Json(json!({"ok": true})).into_response() } else { ending() }
}
