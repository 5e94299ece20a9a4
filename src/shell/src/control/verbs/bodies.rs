//! The bodies of the agent's verbs. Names are the wire's; what is not known is ignored.

use super::super::routes::refusal;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Bytes of a message's text: what a relay takes in one body (1 MiB).
pub(super) const TEXT_MOST: u64 = 1 << 20;

/// What a message says, and what goes with it. One body of the control server has 64 KiB: a longer text comes in a file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TextBody {
    #[serde(default)]
    body: Option<String>,
    /// A file of this machine that holds the text.
    #[serde(default)]
    body_file: Option<PathBuf>,
    /// Files of this machine, by their absolute paths.
    #[serde(default)]
    pub(super) attachments: Vec<PathBuf>,
    #[serde(default)]
    pub(super) idempotency_key: Option<String>,
}

impl TextBody {
    pub(super) fn of(body: String) -> Self {
        Self { body: Some(body), ..Self::default() }
    }

    /// The text. Fails when there is none, or more than a relay takes.
    pub(super) async fn words(&self) -> Result<String, Response> {
        let bad = |code, why: String| refusal(StatusCode::UNPROCESSABLE_ENTITY, code, &why);
        let words = match (&self.body, &self.body_file) {
            (Some(body), None) => body.clone(),
            (None, Some(file)) => text_of(file).await?,
            (None, None) => return Err(bad("bad_body", "there is no `body`: what the message is to say".to_owned())),
            (Some(_), Some(_)) => {
                return Err(bad("bad_body", "`body` and `bodyFile` exclude each other".to_owned()));
            }
        };
        if words.trim().is_empty() {
            return Err(bad("empty_text", "`body` is empty; say what the message is to say".to_owned()));
        }
        Ok(words)
    }
}

async fn text_of(file: &Path) -> Result<String, Response> {
    let bad = |why: String| {
        refusal(StatusCode::UNPROCESSABLE_ENTITY, "bad_file", &format!("the text in {}: {why}", file.display()))
    };
    if !file.is_absolute() {
        return Err(bad("its path must be absolute".to_owned()));
    }
    let about = tokio::fs::metadata(file).await.map_err(|e| bad(e.to_string()))?;
    if !about.is_file() {
        return Err(bad("it is not a file".to_owned()));
    }
    if about.len() > TEXT_MOST {
        return Err(too_large(about.len()));
    }
    tokio::fs::read_to_string(file).await.map_err(|e| bad(e.to_string()))
}

pub(super) fn too_large(bytes: u64) -> Response {
    let message = format!(
        "the message has {bytes} bytes, and a relay takes {TEXT_MOST} in one; send the text as a file that goes with a \
         short message (`attachments`, --attach)"
    );
    refusal(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &message)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplyBody {
    pub(super) message_id: u64,
    #[serde(default)]
    pub(super) reply_expected: bool,
    #[serde(flatten)]
    pub(super) text: TextBody,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReactBody {
    pub(super) message_id: u64,
    pub(super) emoji: String,
    #[serde(default)]
    pub(super) idempotency_key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReadBody {
    pub(super) message_id: u64,
    /// All messages of its thread as well.
    #[serde(default)]
    pub(super) thread: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageBody {
    pub(super) to: String,
    #[serde(default)]
    pub(super) subject: Option<String>,
    #[serde(default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) claimable: bool,
    #[serde(default)]
    pub(super) reply_expected: bool,
    #[serde(default)]
    pub(super) urgent: bool,
    #[serde(default)]
    pub(super) payload: Value,
    #[serde(flatten)]
    pub(super) text: TextBody,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SendClaimableBody {
    pub(super) to: String,
    #[serde(default)]
    pub(super) title: Option<String>,
    #[serde(default)]
    pub(super) urgent: bool,
    #[serde(flatten)]
    pub(super) text: TextBody,
}

/// Null takes the label away.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LabelBody {
    // Not left out by oversight.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) label: Option<String>,
    #[serde(default)]
    pub(super) idempotency_key: Option<String>,
}

/// The whole set, or what is to change in it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TagsBody {
    #[serde(default)]
    pub(super) tags: Option<Vec<String>>,
    #[serde(default)]
    pub(super) add: Vec<String>,
    #[serde(default)]
    pub(super) remove: Vec<String>,
    #[serde(default)]
    pub(super) idempotency_key: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct NoBody {}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PairBody {
    pub(super) with: String,
    #[serde(default)]
    pub(super) body: Option<String>,
    #[serde(default)]
    pub(super) idempotency_key: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct DisconnectBody {
    #[serde(default)]
    pub(super) reason: Option<String>,
}
