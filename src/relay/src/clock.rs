//! The one place where the relay reads a clock.
//!
//! Leases, presence and idempotency outlive a restart of the relay, so they are counted in wall-clock milliseconds. A
//! clock that is set back makes them last longer by as much; fences, not times, are what keeps a stale holder out.

use std::time::{Duration, UNIX_EPOCH};

/// Milliseconds since the epoch.
pub(crate) fn now() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the relay's one clock read; everything else gets the time from here"
    )]
    let now = std::time::SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, millis)
}

/// A duration in whole milliseconds; what does not fit is cut off at the top.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
