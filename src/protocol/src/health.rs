//! Whether a relay is there.

use alloc::string::String;
use serde::{Deserialize, Serialize};

/// `GET /health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub ok: bool,
    pub version: String,
    /// The relay's clock, in milliseconds since the epoch.
    pub time: u64,
}
