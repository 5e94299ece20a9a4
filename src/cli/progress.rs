//! How far something is that takes its time, on standard error: one line for a person at a terminal; for what may take
//! hours, a line in a log now and then.

use std::io::{IsTerminal, Write};
use std::time::Duration;
use tokio::time::Instant;

/// What is over sooner says nothing.
const PATIENCE: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) struct Progress {
    next: Instant,
    terminal: bool,
    shown: bool,
}

impl Progress {
    pub(crate) fn begin() -> Self {
        Self { next: Instant::now() + PATIENCE, terminal: std::io::stderr().is_terminal(), shown: false }
    }

    /// So much of so much, and what that is.
    pub(crate) fn at(&mut self, done: u64, of: u64, what: std::fmt::Arguments<'_>) {
        if !self.terminal || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + AGAIN;
        self.shown = true;
        let percent = done.saturating_mul(100).checked_div(of).unwrap_or(0).min(100);
        // A closed standard error leaves nobody to tell.
        let _ = write!(std::io::stderr().lock(), "\r{percent:3} %, {what} ");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            // Back to the beginning of the line, and the rest of it away.
            let _ = write!(std::io::stderr().lock(), "\r\u{1b}[K");
        }
    }
}

/// A line about something without a known end.
#[derive(Debug)]
pub(crate) struct Beat {
    next: Instant,
    terminal: bool,
    /// Nobody reads it: what is said is for programs.
    silent: bool,
    shown: bool,
}

const EACH_SECOND: Duration = Duration::from_secs(1);
/// Where nothing takes the last line away.
const IN_A_LOG: Duration = Duration::from_secs(10);

impl Beat {
    pub(crate) fn begin(json: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let mut beat = Self { next: Instant::now(), terminal, silent: json && !terminal, shown: false };
        beat.next += beat.pause();
        beat
    }

    const fn pause(&self) -> Duration {
        if self.terminal { EACH_SECOND } else { IN_A_LOG }
    }

    /// Says it when it is time to.
    pub(crate) fn at(&mut self, what: impl FnOnce() -> String) {
        if self.silent || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + self.pause();
        let mut out = std::io::stderr().lock();
        // A closed standard error leaves nobody to tell.
        let _ = if self.terminal { write!(out, "\r{}\u{1b}[K", what()) } else { writeln!(out, "{}", what()) };
        self.shown = self.terminal;
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr().lock(), "\r\u{1b}[K");
        }
    }
}
