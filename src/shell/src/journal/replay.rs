//! Running a journal on disk again, line by line, in constant memory: the `replay` verb.

use super::damage::JournalError;
use super::segments::{self, Lines};
use relay_runner_core::journal::{Replay, ReplayError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What was run again, without a difference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplaySummary {
    /// Inputs of the core.
    pub events: u64,
    /// Starts of the program.
    pub runs: u64,
    /// Files.
    pub segments: u64,
    /// Files whose last line was torn, and left out.
    pub torn: Vec<PathBuf>,
    pub elapsed: Duration,
}

/// Runs a journal again: `path` is one of its files, its folder, or an agent's state folder. Strict: the first
/// difference is an error that names file and line and shows both sides.
pub fn replay_path(path: &Path) -> Result<ReplaySummary, JournalError> {
    let began = crate::clock::Clock::start();
    let files = files(path)?;
    let mut replay = Replay::new();
    let mut summary = ReplaySummary::default();
    // Lines of earlier files, and the file before with its own count: a difference may be found one line late.
    let mut before = 0;
    let mut previous: Option<(PathBuf, u64)> = None;
    for file in &files {
        let mut lines = Lines::open(file)?;
        while let Some(text) = lines.next()? {
            if text.starts_with("{\"journal\":") && text.contains("\"start\":{\"Facts\"") {
                summary.runs += 1;
            }
            replay.line(text).map_err(|e| located(file, before, previous.as_ref(), e))?;
        }
        if lines.was_torn() {
            summary.torn.push(file.clone());
        }
        summary.segments += 1;
        before += lines.number();
        previous = Some((file.clone(), lines.number()));
    }
    if before == 0 {
        return Err(JournalError::None { path: path.to_owned() });
    }
    summary.events = replay.events();
    summary.elapsed = began.elapsed();
    Ok(summary)
}

fn located(file: &Path, before: u64, previous: Option<&(PathBuf, u64)>, error: ReplayError) -> JournalError {
    if let (ReplayError::Differs(difference), Some((earlier, lines))) = (&error, previous)
        && difference.line <= before
    {
        return JournalError::replay(earlier, error, |line| (line + lines).saturating_sub(before));
    }
    JournalError::replay(file, error, |line| line.saturating_sub(before))
}

fn files(path: &Path) -> Result<Vec<PathBuf>, JournalError> {
    let is = std::fs::metadata(path).map_err(JournalError::io("look at", path))?;
    if is.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    for folder in [path.to_owned(), super::folder(path)] {
        let segments = segments::list(&folder)?;
        if !segments.is_empty() {
            return Ok(segments.into_iter().map(|s| s.path).collect());
        }
    }
    Err(JournalError::None { path: path.to_owned() })
}
