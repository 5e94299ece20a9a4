//! The one place that reads clocks.

use relay_runner_core::Stamp;
use relay_runner_core::time::{Millis, Mono};
use std::future::pending;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep_until};

/// The two clocks of a run: monotonic since the run began, and wall time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn stamp(&self) -> Stamp {
        Stamp::new(millis(self.elapsed()), wall())
    }

    /// How long it has run.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// When the monotonic clock of the run shows this.
    pub(crate) fn at(&self, mono: Mono) -> Instant {
        self.start + Duration::from_millis(mono)
    }
}

/// At this moment; where there is none, never.
pub(crate) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// Milliseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub(crate) fn wall() -> Millis {
    // A clock before 1970 is as good as one at 1970.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

/// The moment that is so far from now.
pub(crate) fn after(span: Duration) -> Instant {
    Instant::now() + span
}

pub(crate) fn millis(span: Duration) -> Millis {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
