//! How far something is that takes its time: one line on standard error, for a person at a terminal only.

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
