//! What the program says about its own work: to standard error, or into a file while a provider has the terminal; as much as
//! `RELAY_RUNNER_LOG` asks for, else as much as the configuration does.

use super::log_file::LogFile;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

const VARIABLE: &str = "RELAY_RUNNER_LOG";
/// What a run says unless it is told otherwise.
pub(crate) const RUN_LEVEL: &str = "info";

type Change = Box<dyn Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error> + Send + Sync>;
/// Puts another filter in the place of the one in force.
static CHANGE: OnceLock<Change> = OnceLock::new();

/// Where all of it goes instead of to standard error.
static FILE: OnceLock<Mutex<LogFile>> = OnceLock::new();

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
    let log = tracing_subscriber::fmt().with_writer(|| Place).with_target(false);
    // Only a second start could fail, and there is none.
    if json {
        let log = log.json().flatten_event(true).with_env_filter(filter).with_filter_reloading();
        let handle = log.reload_handle();
        let _ = CHANGE.set(Box::new(move |filter| handle.reload(filter)));
        let _ = log.try_init();
    } else {
        let log = log.with_ansi(io::stderr().is_terminal());
        let log = log.map_event_format(Uncoloured).with_env_filter(filter).with_filter_reloading();
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

/// From now on into this file, and nothing to standard error: the screen is somebody else's. With an error it is lost.
pub(crate) fn into_file(path: PathBuf) -> Option<io::Error> {
    let (file, error) = LogFile::open(path);
    // Only a second time could fail, and there is none.
    let _ = FILE.set(Mutex::new(file));
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    error
}

/// Where an entry goes, which comes in one piece.
struct Place;

impl Write for Place {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        match FILE.get() {
            Some(file) => {
                file.lock().unwrap_or_else(PoisonError::into_inner).write(entry);
                Ok(entry.len())
            }
            None => io::stderr().write(entry),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if FILE.get().is_some() { Ok(()) } else { io::stderr().flush() }
    }
}

/// Colours are for terminals.
struct Uncoloured<F>(F);

impl<S, N, F> FormatEvent<S, N> for Uncoloured<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if FILE.get().is_some() {
            return self.0.format_event(context, Writer::new(&mut to), event);
        }
        self.0.format_event(context, to, event)
    }
}
