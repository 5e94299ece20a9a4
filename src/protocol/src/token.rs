//! Runtime tokens: what an agent shows to the relay, for a while.

use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

/// The profiles whose tokens may be renewed.
pub const RENEWABLE_PROFILES: [&str; 2] = ["provider-agent", "provider-interactive"];

/// What is known of a runtime token besides itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenRecord {
    pub jti: String,
    pub profile_id: String,
    /// Seconds since the epoch.
    pub expires_at: u64,
}

/// The answer of `POST /tokens/runtime/renew`, which has no body; and of `POST /tokens/runtime`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenAnswer {
    pub token: String,
    pub record: TokenRecord,
}

/// The same answer, as a client reads it: what a relay leaves out of the record is not known.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenGiven {
    pub token: String,
    #[serde(default)]
    pub record: RecordGiven,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordGiven {
    pub jti: Option<String>,
    pub profile_id: Option<String>,
    /// Seconds since the epoch.
    pub expires_at: Option<u64>,
}

/// Without the token, as below.
impl fmt::Debug for TokenGiven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenGiven").field("record", &self.record).finish_non_exhaustive()
    }
}

/// Without the token: it must not reach a log by way of `{:?}`.
impl fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAnswer").field("record", &self.record).finish_non_exhaustive()
    }
}

/// `POST /tokens/runtime`: an operator has the relay make a token. Ours, and only for the relay's own token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewToken {
    pub profile_id: String,
    /// None: as long as the relay's tokens usually last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_printed() {
        let record = TokenRecord { jti: "j".into(), profile_id: "provider-agent".into(), expires_at: 1 };
        let answer = TokenAnswer { token: "planted-secret".into(), record };
        let printed = alloc::format!("{answer:?}");
        assert!(printed.contains("provider-agent") && !printed.contains("planted-secret"));
    }
}
