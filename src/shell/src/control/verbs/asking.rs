//! The calls of the relay that a verb is made of, and what is said when one fails.

use super::super::routes::refusal;
use super::bodies::{TEXT_MOST, too_large};
use crate::clock;
use crate::http::{Asked, Relay};
use crate::secret::{cut, random_id};
use crate::upload::{FileError, Outgoing};
use axum::http::StatusCode;
use axum::response::Response;
use relay_runner_core::event::FailureKind;
use relay_runner_protocol::error::ErrorBody;
use relay_runner_protocol::message::Attachment;
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;

/// How long one call may take (behaviour 11).
const WITHIN: Duration = Duration::from_secs(15);
/// How long a file may take (behaviour 13).
const FILE_WITHIN: Duration = Duration::from_mins(1);
/// Files that go with one message.
const FILES_MOST: usize = 64;
/// Bytes of a caller's idempotency key: those of its files are longer.
const KEY_MOST: usize = 150;
/// Characters of what a relay says.
const SAID_MOST: usize = 1_000;

/// One verb's calls, under one idempotency key.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    relay: &'a Relay,
    key: String,
}

impl<'a> Asking<'a> {
    /// Without a key of the caller's a call that breaks off cannot be asked again safely, but it is still one call.
    #[expect(clippy::result_large_err, reason = "the refusal is the answer, made once and sent at once")]
    pub(super) fn new(relay: &'a Relay, key: Option<&str>) -> Result<Self, Response> {
        let key = match key {
            Some(key) if key.is_empty() || key.len() > KEY_MOST || !key.bytes().all(|b| b.is_ascii_graphic()) => {
                let message = format!("`idempotencyKey` must have 1 to {KEY_MOST} printable ASCII characters");
                return Err(refusal(StatusCode::UNPROCESSABLE_ENTITY, "bad_body", &message));
            }
            Some(key) => key.to_owned(),
            None => {
                random_id().map_err(|e| refusal(StatusCode::INTERNAL_SERVER_ERROR, "randomness", &e.to_string()))?
            }
        };
        Ok(Self { relay, key })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Response> {
        self.ask(Asked { method: Method::GET, path, body: None, key: None }).await
    }

    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Response> {
        self.write(Method::POST, path, body).await
    }

    pub(super) async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Response> {
        self.write(Method::PUT, path, body).await
    }

    async fn write<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Response> {
        let body = serde_json::to_string(body)
            .map_err(|e| refusal(StatusCode::UNPROCESSABLE_ENTITY, "bad_body", &format!("it has no JSON form: {e}")))?;
        if body.len() as u64 > TEXT_MOST {
            return Err(too_large(body.len() as u64));
        }
        self.ask(Asked { method, path, body: Some(body), key: Some(&self.key) }).await
    }

    async fn ask<T: DeserializeOwned>(&self, asked: Asked<'_>) -> Result<T, Response> {
        let what = format!("{} {}", asked.method, asked.path.split('?').next().unwrap_or_default());
        match self.relay.ask(asked, clock::after(WITHIN)).await {
            Ok((status, body)) => self.answer(&what, status, &body),
            Err(failure) if matches!(failure.kind, FailureKind::Unreachable | FailureKind::TimedOut) => {
                Err(self.unreachable(&failure.text))
            }
            Err(failure) => Err(self.odd(&failure.text)),
        }
    }

    #[expect(clippy::result_large_err, reason = "the refusal is the answer, made once and sent at once")]
    fn answer<T: DeserializeOwned>(&self, what: &str, status: u16, body: &[u8]) -> Result<T, Response> {
        if (200..300).contains(&status) {
            let unread = |e: serde_json::Error| self.odd(&format!("{what}: the answer cannot be read: {e}"));
            return serde_json::from_slice(body).map_err(unread);
        }
        let said = serde_json::from_slice::<ErrorBody>(body).ok().map(|body| body.error);
        let (code, words) =
            said.map_or_else(|| (format!("http_{status}"), format!("HTTP {status}")), |said| (said.code, said.message));
        match StatusCode::from_u16(status) {
            Ok(status) if status.as_u16() >= 400 => {
                let words = cut(&self.relay.clean(&words), SAID_MOST);
                Err(refusal(status, &code, &format!("the relay refused {what}: {words}")))
            }
            Ok(_) | Err(_) => Err(self.odd(&format!("{what}: HTTP {status}"))),
        }
    }

    fn unreachable(&self, why: &str) -> Response {
        let message = format!("the relay at {} cannot be reached: {}", self.relay.base(), self.relay.clean(why));
        refusal(StatusCode::BAD_GATEWAY, "relay_unreachable", &message)
    }

    /// Something answers, and not as a relay does.
    fn odd(&self, why: &str) -> Response {
        let message = format!("the relay at {}: {}", self.relay.base(), self.relay.clean(why));
        refusal(StatusCode::BAD_GATEWAY, "relay_answer", &message)
    }

    /// Sends files to the relay; what a message names them by. All of them are looked at before the first one goes.
    pub(super) async fn upload(&self, paths: &[PathBuf]) -> Result<Vec<Attachment>, Response> {
        let bad = |code, why: String| refusal(StatusCode::UNPROCESSABLE_ENTITY, code, &why);
        if paths.len() > FILES_MOST {
            return Err(bad("bad_body", format!("at most {FILES_MOST} files go with a message")));
        }
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            if !path.is_absolute() {
                return Err(bad("bad_file", format!("{}: the path of a file must be absolute", path.display())));
            }
            let file = Outgoing::look(path).await.map_err(|error| match &error {
                FileError::TooLarge { .. } => {
                    refusal(StatusCode::PAYLOAD_TOO_LARGE, "file_too_large", &error.to_string())
                }
                FileError::Unreadable { .. } | FileError::NoFile { .. } => bad("bad_file", error.to_string()),
            })?;
            files.push(file);
        }
        let mut attachments = Vec::with_capacity(files.len());
        for (n, file) in files.iter().enumerate() {
            let what = format!("the upload of {}", file.name);
            let key = format!("{}-f{n}", self.key);
            let (status, body) = self
                .relay
                .upload(file, &key, clock::after(FILE_WITHIN))
                .await
                .map_err(|why| self.unreachable(&format!("{what}: {why}")))?;
            let artifact: Attachment = self.answer(&what, status, &body)?;
            if !file.is(&artifact) {
                return Err(self.odd(&format!("{what}: the relay says that it has something else")));
            }
            attachments.push(artifact);
        }
        Ok(attachments)
    }
}
