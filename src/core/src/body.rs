//! Bodies as handles: the bytes stay in the shell, the core knows size and digest.

use serde::{Deserialize, Serialize};

/// What the core knows of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyRef {
    /// Bytes.
    pub len: u32,
    /// Bytes without leading and trailing white space.
    pub trimmed: u32,
    /// XXH3 of the bytes: enough to see that two bodies are the same, and nothing to keep a secret with.
    pub digest: u64,
}

impl BodyRef {
    pub fn of(text: &str) -> Self {
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            len: clamp(text.len()),
            trimmed: clamp(text.trim().len()),
            digest: xxhash_rust::xxh3::xxh3_64(text.as_bytes()),
        }
    }

    pub const fn is_blank(self) -> bool {
        self.trimmed == 0
    }
}
