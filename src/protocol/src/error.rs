//! How the relay says no.

use alloc::string::String;
use serde::{Deserialize, Serialize};

/// `{"error": {"code", "message"}}`: the body of every HTTP status that is not 2xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    pub code: String,
    pub message: String,
}

/// Codes of the bus frame `error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    Unauthorized,
    ExpiredToken,
    /// A newer instance holds the agent.
    Superseded,
    InvalidFrame,
    RateLimited,
    NotRegistered,
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::ExpiredToken => "expired_token",
            Self::Superseded => "superseded",
            Self::InvalidFrame => "invalid_frame",
            Self::RateLimited => "rate_limited",
            Self::NotRegistered => "not_registered",
            Self::Unknown => "unknown",
        }
    }
}
