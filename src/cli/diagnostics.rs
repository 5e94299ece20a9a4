//! What the program says about its own work: to standard error, as much as `RELAY_RUNNER_LOG` asks for, else as much as the
//! configuration does.

use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;

const VARIABLE: &str = "RELAY_RUNNER_LOG";
/// What a run says unless it is told otherwise.
pub(crate) const RUN_LEVEL: &str = "info";

type Change = Box<dyn Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error> + Send + Sync>;
/// Puts another filter in the place of the one in force.
static CHANGE: OnceLock<Change> = OnceLock::new();

/// From now on. With `json` each entry is a line of JSON, like errors.
pub(crate) fn start(level: &str, json: bool) {
    let filter = match std::env::var(VARIABLE) {
        Ok(asked) if !asked.trim().is_empty() => EnvFilter::try_new(&asked).unwrap_or_else(|error| {
            super::say::aside(format_args!(
                "relay-runner: {VARIABLE}={asked} cannot be read ({error}); {level} is used"
            ));
            EnvFilter::new(level)
        }),
        _ => EnvFilter::new(level),
    };
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false);
    // Only a second start could fail, and there is none.
    if json {
        let log = log.json().flatten_event(true).with_env_filter(filter).with_filter_reloading();
        let handle = log.reload_handle();
        let _ = CHANGE.set(Box::new(move |filter| handle.reload(filter)));
        let _ = log.try_init();
    } else {
        let log = log.with_ansi(std::io::stderr().is_terminal()).with_env_filter(filter).with_filter_reloading();
        let handle = log.reload_handle();
        let _ = CHANGE.set(Box::new(move |filter| handle.reload(filter)));
        let _ = log.try_init();
    }
}

/// From now on this much is said.
pub(crate) fn set(level: &str) {
    if let Some(change) = CHANGE.get()
        && let Err(error) = change(EnvFilter::new(level))
    {
        tracing::warn!("what is logged cannot be changed: {error}");
    }
}
