//! How full the context of a provider is, and how it is known (behaviour 14).

use serde::{Deserialize, Serialize};

/// How much of its context a provider has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextReport {
    /// Tokens in the context.
    pub used: u64,
    /// Tokens that fit into it; a report of 0 says nothing, and is ignored.
    pub window: u64,
    pub source: ContextSource,
    pub confidence: ContextConfidence,
}

impl ContextReport {
    /// How much of the window is used, in thousandths: 1000 at most.
    pub fn permille(self) -> u16 {
        let used = u128::from(self.used.min(self.window)) * 1_000;
        u16::try_from(used / u128::from(self.window.max(1))).unwrap_or(1_000)
    }
}

/// Where the figures of the context come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ContextSource {
    /// The provider's programming interface.
    Api,
    /// Its status line.
    Statusline,
    /// One of its hooks.
    Hook,
    /// They are made out of what it reads and writes.
    Estimate,
}

impl ContextSource {
    pub const ALL: [Self; 4] = [Self::Api, Self::Statusline, Self::Hook, Self::Estimate];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Statusline => "statusline",
            Self::Hook => "hook",
            Self::Estimate => "estimate",
        }
    }
}

/// How far the figures of the context can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ContextConfidence {
    /// Counted.
    Exact,
    /// As the provider says, which may be a while ago.
    Reported,
    Estimated,
}

impl ContextConfidence {
    pub const ALL: [Self; 3] = [Self::Exact, Self::Reported, Self::Estimated];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Reported => "reported",
            Self::Estimated => "estimated",
        }
    }
}
