//! A journal while it is run: its files one after the other, and where in them a line stands.

use super::damage::JournalError;
use super::replay::{Found, Otherwise, Place, Progress, Replayed};
use super::seek;
use super::segments::Lines;
use relay_runner_core::journal::{Departure, Difference, Replay, ReplayError, Until, WhatIf, WhatIfError};
use std::path::PathBuf;

/// Lines between two looks at how far it is.
const LOOK_EVERY: u64 = 1 << 14;

/// A journal while it is run.
pub(super) struct Rerun {
    replay: Replay,
    what_if: Option<WhatIf>,
    until: Option<Until>,
    pieces: Vec<Piece>,
    torn: Vec<PathBuf>,
    stopped: bool,
    at: Progress,
}

/// A file that was run, for finding lines again.
struct Piece {
    path: PathBuf,
    /// Lines that were read before it.
    before: u64,
    /// Bytes that were left out behind its header.
    skipped: Option<u64>,
}

impl Rerun {
    pub(super) fn new(replay: Replay, what_if: Option<WhatIf>, until: Option<Until>, of_bytes: u64) -> Self {
        let at = Progress { events: 0, bytes: 0, of_bytes };
        Self { replay, what_if, until, pieces: Vec::new(), torn: Vec::new(), stopped: false, at }
    }

    /// More is recorded than was wanted.
    pub(super) const fn has_stopped(&self) -> bool {
        self.stopped
    }

    pub(super) fn file(&mut self, place: &Place, progress: &mut dyn FnMut(Progress)) -> Result<(), JournalError> {
        let path = &place.segment.path;
        let skipped = place.skip.map(|mark| mark.at);
        self.pieces.push(Piece { path: path.clone(), before: self.replay.lines(), skipped });
        let mut lines = Lines::open(path)?;
        let mut begun = self.at.bytes;
        if let Some(mark) = place.skip {
            // The header says how to read the rest.
            if let Some(header) = lines.next()? {
                let read = self.replay.read(header);
                read.map_err(|e| self.located(e))?;
            }
            lines.skip_to(mark.at)?;
            self.replay.skip_behind(mark.chain);
            begun = begun.wrapping_sub(mark.at);
        }
        while let Some(text) = lines.next().map_err(|e| self.behind_what_was_left_out(e))? {
            if !self.line(text).map_err(|e| self.explained(e))? {
                self.stopped = true;
                return Ok(());
            }
            if self.replay.lines().is_multiple_of(LOOK_EVERY) {
                self.at.bytes = begun.wrapping_add(lines.bytes());
                self.at.events = self.replay.events();
                progress(self.at);
            }
        }
        self.at.bytes = begun.wrapping_add(lines.bytes());
        if lines.was_torn() {
            self.torn.push(path.clone());
        }
        Ok(())
    }

    /// Takes a line, if it is wanted still.
    fn line(&mut self, text: &str) -> Result<bool, WhatIfError> {
        let line = self.replay.read(text)?;
        if self.until.is_some_and(|until| until.is_before(&line)) {
            self.replay.seal(&line)?;
            return Ok(false);
        }
        match &mut self.what_if {
            Some(what_if) => what_if.take(&mut self.replay, line)?,
            None => self.replay.take(line)?,
        }
        Ok(true)
    }

    pub(super) fn end(&mut self) -> Result<(), JournalError> {
        match &mut self.what_if {
            Some(what_if) => what_if.end(&self.replay).map_err(JournalError::Change),
            None => Ok(()),
        }
    }

    pub(super) fn tell(self, replayed: &mut Replayed) -> Result<(), JournalError> {
        replayed.events = self.replay.events();
        replayed.stopped = self.stopped;
        replayed.differences = self.replay.differences();
        for difference in self.replay.found() {
            let (file, line) = self.place(difference.line)?;
            replayed.found.push(Found { file, what: Difference { line, ..difference.clone() } });
        }
        if let Some(what_if) = &self.what_if {
            let mut found = Vec::new();
            for departure in what_if.found() {
                let (file, line) = self.place(departure.line)?;
                found.push(Found { file, what: Departure { line, ..departure.clone() } });
            }
            let core = what_if.core().cloned();
            let otherwise = Otherwise { departures: what_if.departures(), found, woken: what_if.woken(), core };
            replayed.what_if = Some(otherwise);
        }
        let at = self.replay.last().map(|(number, at, _)| (*number, *at));
        let marked = || Some((replayed.from?, self.replay.core()?.now()));
        replayed.last = at.or_else(marked);
        replayed.torn.extend(self.torn);
        replayed.core = self.replay.into_core();
        Ok(())
    }

    fn explained(&self, error: WhatIfError) -> JournalError {
        match error {
            WhatIfError::Replay(error) => self.located(error),
            WhatIfError::Change(error) => JournalError::Change(error),
        }
    }

    fn located(&self, error: ReplayError) -> JournalError {
        let line = match &error {
            ReplayError::Damaged(line, _) => *line,
            ReplayError::Differs(difference) => difference.line,
            ReplayError::Empty => 0,
        };
        match self.place(line) {
            Ok((path, line)) => JournalError::replay(&path, error, |_| line),
            Err(failed) => failed,
        }
    }

    /// An error of the file's reader, which has not seen the lines that were left out.
    fn behind_what_was_left_out(&self, error: JournalError) -> JournalError {
        match (error, self.pieces.last()) {
            (JournalError::Damaged { path, line, damage }, Some(Piece { skipped: Some(bytes), .. })) => {
                match seek::lines_before(&path, *bytes) {
                    Ok(before) => JournalError::Damaged { path, line: line - 1 + before, damage },
                    Err(failed) => failed,
                }
            }
            (error, _) => error,
        }
    }

    /// The file that holds a line, and which of its lines that is.
    fn place(&self, line: u64) -> Result<(PathBuf, u64), JournalError> {
        // Line 0 is no line: something differs before the first.
        let piece = self.pieces.iter().rev().find(|piece| piece.before < line).or(self.pieces.first());
        let Some(piece) = piece else { return Ok((PathBuf::new(), line)) };
        let within = line - piece.before;
        let line = match piece.skipped {
            Some(bytes) if within > 1 => within - 1 + seek::lines_before(&piece.path, bytes)?,
            Some(_) | None => within,
        };
        Ok((piece.path.clone(), line))
    }
}
