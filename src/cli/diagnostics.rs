//! What the program says about its own work: to standard error, as much as `RELAY_RUNNER_LOG` asks for.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

const VARIABLE: &str = "RELAY_RUNNER_LOG";

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
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Only a second start could fail, and there is none.
    let _ = if json {
        log.json().flatten_event(true).try_init()
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
}
