//! `/api/artifacts`: upload and download.
//!
//! An upload is the bytes themselves, with `Content-Type` as media type and `?name=`; `?sha256=` has them checked. The
//! answer is what a message names as attachment. A download is the bytes again, with name, type and size in the usual
//! headers and the SHA-256 in one of its own, and always as a file to save: it is not to be shown as a page of the relay.
//! `Range: bytes=N-` gives the rest from byte N on, for whoever has the beginning already; other ranges are ignored, as
//! RFC 9110 allows (14.2).

use std::fmt::Write;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use futures_util::stream;
use relay_runner_protocol::http::{SHA256_HEADER, segment};
use relay_runner_protocol::message::Attachment;
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};

use super::call::{Call, Reply, answered, key_in};
use crate::App;
use crate::artifacts::{Upload, too_large};
use crate::refusal::{Refusal, Result};
use crate::store::{Answer, Asked, Tx};

/// What an upload that does not say is.
const ANYTHING: &str = "application/octet-stream";
/// Characters of a name, and of a media type.
const MAX_NAME: usize = 255;
/// Bytes of a download in memory at once.
const CHUNK: usize = 64 << 10;

#[derive(Deserialize)]
struct Said {
    name: String,
    sha256: Option<String>,
}

pub(super) async fn upload(State(app): State<Arc<App>>, request: Request) -> Reply {
    let query = Query::<Said>::try_from_uri(request.uri());
    let Query(said) = query.map_err(|e| Refusal::invalid(format!("the query cannot be read: {e}")))?;
    check_name("name", &said.name)?;
    let headers = request.headers();
    let media_type = media_type(headers)?;
    let most = app.bounds.artifact_bytes;
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > most) {
        return Err(too_large(most));
    }
    let mut asked = Asked { key: key_in(headers)?, print: format!("POST {} {media_type}", request.uri()) };
    let upload = app.artifacts.receive(request.into_body(), most).await?;
    if said.sha256.is_some_and(|said| !said.eq_ignore_ascii_case(&upload.sha256)) {
        return Err(Refusal::invalid(format!(
            "what came has the SHA-256 {}, not the one that was said",
            upload.sha256
        )));
    }
    let _ = write!(asked.print, " {}", upload.sha256);
    let (sha256, size) = (upload.sha256.clone(), upload.size);
    let new = Attachment { id: String::new(), name: said.name, media_type, size, sha256 };
    // On its own, so that a client that leaves just now does not leave a file behind.
    let kept = tokio::spawn(keep(app, asked, new, upload)).await;
    Ok(answered(kept.map_err(Refusal::internal)??))
}

async fn keep(app: Arc<App>, asked: Asked, new: Attachment, upload: Upload) -> Result<Answer> {
    let _alone = app.artifacts.alone().await;
    let (sha256, size) = (upload.sha256.clone(), upload.size);
    for gone in app.store.run(move |tx| tx.make_room(&sha256, size)).await? {
        app.artifacts.remove(&gone).await;
    }
    app.artifacts.place(&upload).await?;
    let add = move |tx: &mut Tx<'_>| {
        tx.once(&asked, |tx| {
            let body = serde_json::to_string(&tx.add_artifact(&new)?)?;
            Ok(Answer { status: StatusCode::CREATED, body })
        })
    };
    let kept = app.store.run(add).await;
    if kept.is_err() {
        let sha256 = upload.sha256.clone();
        if app.store.run(move |tx| tx.has_content(&sha256)).await.is_ok_and(|has| !has) {
            app.artifacts.remove(&upload.sha256).await;
        }
    }
    kept
}

fn media_type(headers: &HeaderMap) -> Result<String> {
    let Some(said) = headers.get(CONTENT_TYPE) else { return Ok(ANYTHING.to_owned()) };
    let said = said.to_str().map_err(|_| Refusal::invalid("a media type is printable ASCII"))?;
    check_name("the media type", said)?;
    Ok(said.to_owned())
}

fn check_name(what: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        let message = format!("{what} must have 1 to {MAX_NAME} characters and no control characters");
        return Err(Refusal::invalid(message));
    }
    Ok(())
}

pub(super) async fn download(headers: HeaderMap, call: Call) -> Reply {
    let id = call.id.clone();
    let artifact = call.run(move |tx| tx.artifact(&id)).await?;
    let Some(mut file) = call.app.artifacts.open(&artifact.sha256).await? else {
        return Err(Refusal::not_found("file of artifact", &artifact.id));
    };
    let size = artifact.size;
    let from = asked_from(&headers);
    if let Some(from) = from {
        if from >= size {
            let message = format!("the artifact has {size} bytes, and none from byte {from} on");
            return Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "no_such_range", message));
        }
        file.seek(SeekFrom::Start(from)).await.map_err(Refusal::internal)?;
    }
    let mut response = Body::from_stream(chunks(file)).into_response();
    response.headers_mut().extend(about(&artifact)?);
    if let Some(from) = from {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {from}-{}/{size}", size - 1);
        let range = HeaderValue::try_from(range).map_err(Refusal::internal)?;
        response.headers_mut().insert(CONTENT_RANGE, range);
        response.headers_mut().insert(CONTENT_LENGTH, (size - from).into());
    }
    Ok(response)
}

/// The byte that a download is to begin with, where that was said.
fn asked_from(headers: &HeaderMap) -> Option<u64> {
    headers.get(RANGE)?.to_str().ok()?.trim().strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

fn chunks(file: File) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> {
    stream::unfold(Some(file), async |file| {
        let mut file = file?;
        let mut chunk = Vec::with_capacity(CHUNK);
        match (&mut file).take(CHUNK as u64).read_to_end(&mut chunk).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(chunk.into()), Some(file))),
            // Breaks the download off: its length says that something is missing.
            Err(e) => Some((Err(e), None)),
        }
    })
}

fn about(artifact: &Attachment) -> Result<HeaderMap> {
    let value = |text: String| HeaderValue::try_from(text).map_err(Refusal::internal);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, value(artifact.media_type.clone())?);
    headers.insert(CONTENT_LENGTH, artifact.size.into());
    headers.insert(CONTENT_DISPOSITION, value(format!("attachment; filename*=UTF-8''{}", segment(&artifact.name)))?);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(SHA256_HEADER, value(artifact.sha256.clone())?);
    Ok(headers)
}
