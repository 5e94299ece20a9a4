//! How the relay says no: one value for the HTTP answer and for the bus.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use relay_runner_protocol::error::{ErrorBody, ErrorCode, ErrorDetail};

pub(crate) type Result<T, E = Refusal> = std::result::Result<T, E>;

/// A call or a frame that was not carried out; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// Seconds after which it may be tried again; said with 429 and 503.
    pub(crate) retry_after: u64,
}

/// The code of a stale session, over HTTP the same word as on the bus.
pub(crate) const SUPERSEDED: &str = "superseded";

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: 1 }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message)
    }

    pub(crate) fn not_found(what: &str, id: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no {what} {id}"))
    }

    pub(crate) fn superseded(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, SUPERSEDED, message)
    }

    pub(crate) fn stale_fence(fence: u64) -> Self {
        let message = format!("fence {fence} is not the one in force; claim the message again");
        Self::new(StatusCode::CONFLICT, "stale_fence", message)
    }

    pub(crate) fn lease_ended(fence: u64) -> Self {
        let message = format!("the lease of fence {fence} has ended; claim the message again");
        Self::new(StatusCode::GONE, "lease_ended", message)
    }

    pub(crate) fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    pub(crate) fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "the relay could not carry out a call");
        let message = format!("the relay failed: {cause}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    pub(crate) fn too_often(wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let message = format!("too many calls: the next one in {seconds} s");
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message);
        Self { retry_after: seconds, ..refusal }
    }

    pub(crate) fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the relay is going down; try again in a moment")
    }

    pub(crate) fn body(&self) -> ErrorBody {
        ErrorBody { error: ErrorDetail { code: self.code.into(), message: self.message.clone() } }
    }

    /// The same refusal in the words of the bus; none when the connection should rather be closed and made anew.
    pub(crate) fn on_the_bus(&self) -> Option<ErrorCode> {
        match self.status {
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE => Some(ErrorCode::InvalidFrame),
            StatusCode::NOT_FOUND => Some(ErrorCode::NotRegistered),
            StatusCode::TOO_MANY_REQUESTS => Some(ErrorCode::RateLimited),
            StatusCode::UNAUTHORIZED => Some(ErrorCode::ExpiredToken),
            StatusCode::CONFLICT if self.code == SUPERSEDED => Some(ErrorCode::Superseded),
            _ => None,
        }
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::internal(error)
    }
}

/// Only for JSON that the relay itself wrote; what a client sent is refused as invalid where it is read.
impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let retry = matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        let mut response = (self.status, Json(self.body())).into_response();
        if retry {
            response.headers_mut().insert(axum::http::header::RETRY_AFTER, self.retry_after.into());
        }
        response
    }
}
