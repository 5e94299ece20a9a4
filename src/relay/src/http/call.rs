//! One HTTP call, taken apart: every refusal of its parts is said in the relay's own words.

use std::sync::Arc;

use axum::RequestExt;
use axum::body::Bytes;
use axum::extract::{FromRequest, Query, RawPathParams, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use relay_runner_protocol::http::IDEMPOTENCY_HEADER;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use super::MAX_BODY;
use crate::App;
use crate::credential::Credential;
use crate::refusal::{Refusal, Result};
use crate::store::{Answer, Asked, Tx};

/// The answer of a handler.
pub(super) type Reply = Result<Response>;

pub(super) struct Call {
    pub(super) app: Arc<App>,
    method: Method,
    uri: Uri,
    /// The `{id}` of the path, decoded; empty where there is none.
    pub(super) id: String,
    pub(super) credential: Credential,
    /// An idempotency key: the header's, or what a handler takes from the body.
    pub(super) key: Option<String>,
    body: Bytes,
}

impl FromRequest<Arc<App>> for Call {
    type Rejection = Refusal;

    async fn from_request(mut request: Request, app: &Arc<App>) -> Result<Self> {
        let params = request.extract_parts::<RawPathParams>().await;
        let params = params.map_err(|e| Refusal::invalid(format!("the path cannot be read: {e}")))?;
        let id = params.iter().next().map(|(_, id)| id.to_owned()).unwrap_or_default();
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let key = key_in(request.headers())?;
        let credential = request.extensions().get::<Credential>().cloned();
        let credential = credential.ok_or_else(|| Refusal::internal("a call came in past the door"))?;
        let body = Bytes::from_request(request, app).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let message = format!("a body has at most {MAX_BODY} bytes; send what is larger as an artifact");
                Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
            }
            _ => Refusal::invalid(format!("the body cannot be read: {rejection}")),
        })?;
        // The relay may have been told to stop while the body came.
        app.check_up()?;
        Ok(Self { app: Arc::clone(app), method, uri, id, credential, key, body })
    }
}

pub(super) fn key_in(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(key) = headers.get(IDEMPOTENCY_HEADER) else { return Ok(None) };
    let key = key.to_str().map_err(|_| Refusal::invalid("an idempotency key is printable ASCII"))?;
    Ok(Some(key.to_owned()))
}

pub(super) fn answered(Answer { status, body }: Answer) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

impl Call {
    /// The `{id}` of a message or a task.
    pub(super) fn number(&self) -> Result<u64> {
        self.id.parse().map_err(|_| Refusal::invalid(format!("{} is not an id: a whole number is", self.id)))
    }

    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|e| Refusal::invalid(format!("the body cannot be read: {e}")))
    }

    pub(super) fn query<T: DeserializeOwned>(&self) -> Result<T> {
        let query = Query::try_from_uri(&self.uri);
        query.map(|Query(query)| query).map_err(|e| Refusal::invalid(format!("the query cannot be read: {e}")))
    }

    pub(super) async fn read<T: Serialize + Send + 'static>(
        self,
        op: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Reply {
        Ok(axum::Json(self.run(op).await?).into_response())
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        op: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.app.store.run(op).await
    }

    /// A write that may be asked for again under its idempotency key.
    pub(super) async fn write<T: Serialize>(
        self,
        status: StatusCode,
        op: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Reply {
        let asked = self.asked("");
        let answer = self.run(move |tx| {
            tx.once(&asked, |tx| {
                let body = serde_json::to_string(&op(tx)?)?;
                Ok(Answer { status, body })
            })
        });
        Ok(answered(answer.await?))
    }

    /// The call as idempotency keys see it. `whose` is empty, or whose key it is when another one may use the same.
    pub(super) fn asked(&self, whose: &str) -> Asked {
        let print = self.key.as_ref().map(|_| format!("{}{whose}", self.print()));
        Asked { key: self.key.clone(), print: print.unwrap_or_default() }
    }

    /// Stands for what is asked for. The body counts by what it says: key order and white space do not matter.
    fn print(&self) -> String {
        let body = serde_json::from_slice::<Value>(&self.body)
            .map_or_else(|_| self.body.to_vec(), |body| body.to_string().into());
        let path = self.uri.path_and_query().map_or("", |path| path.as_str());
        format!("{} {path} {:032x}", self.method, xxh3_128(&body))
    }
}
