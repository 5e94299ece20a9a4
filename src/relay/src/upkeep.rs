//! What the relay does by itself, as time passes.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::App;
use crate::refusal::{Refusal, Result};

/// How often time is looked after, at least and at most: a lease's end is noticed within a quarter of a lease.
const SWEEP_EVERY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How often it is looked for what is to be kept no longer.
const RETAIN_EVERY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_mins(1));

/// What goes in one step: whoever sends a message just now waits for it.
const AT_ONCE: u32 = 20;

/// Until the store is closed.
pub(crate) async fn look_after(app: Arc<App>, lease: Duration, keep_for: Duration) {
    let mut sweep = every((lease / 4).clamp(SWEEP_EVERY.0, SWEEP_EVERY.1));
    let mut retain = every((keep_for / 4).clamp(RETAIN_EVERY.0, RETAIN_EVERY.1));
    loop {
        let done = tokio::select! {
            _ = sweep.tick() => sweep_up(&app).await,
            _ = retain.tick() => forget(&app).await,
        };
        if let Err(Refusal { status: StatusCode::SERVICE_UNAVAILABLE, .. }) = done {
            return;
        }
    }
}

fn every(pause: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + pause, pause);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn sweep_up(app: &App) -> Result<()> {
    app.store
        .run(|tx| {
            tx.sweep()?;
            Ok(())
        })
        .await
}

async fn forget(app: &App) -> Result<()> {
    while app.store.run(|tx| tx.retain(AT_ONCE)).await? {}
    let _alone = app.artifacts.alone().await;
    while let Some(gone) = app.store.run(|tx| tx.forget_artifacts(AT_ONCE)).await? {
        for sha256 in gone {
            app.artifacts.remove(&sha256).await;
        }
    }
    Ok(())
}
