//! Writing: one `write` for a record, before its step; a mark now and then; the next segment when one is full.
//!
//! When the disk refuses, the run goes on without a journal, and says so once.

use super::bodies::{BodyFile, BodyOf};
use super::damage::JournalError;
use super::segments::{self, Segment};
use super::{BROKEN, JOURNAL_MOST, MARK_EVERY, SEGMENT_MOST};
use crate::options::Program;
use relay_runner_core::journal::{Composer, Header, KeptBodies, SCHEMA, Start};
use relay_runner_core::{Config, Core, DurableFacts, Effects, Event, Stamp};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    path: PathBuf,
    /// None once it is broken.
    file: Option<Arc<File>>,
    number: u64,
    bytes: u64,
    /// Of the segments before.
    bytes_before: u64,
    limits: Limits,
    header: Header,
    composer: Composer,
    /// The line being written; kept, so that a record allocates none.
    line: String,
    since_mark: u64,
    /// Where words are kept; none where they are not.
    bodies: Option<BodyFile>,
}

/// What a journal is opened with.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) folder: PathBuf,
    pub(crate) program: &'a Program,
    pub(crate) config: &'a Config,
    pub(crate) facts: &'a DurableFacts,
    pub(crate) at: Stamp,
    pub(crate) bodies: KeptBodies,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) segment: u64,
    pub(super) journal: u64,
    pub(super) mark_every: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { segment: SEGMENT_MOST, journal: JOURNAL_MOST, mark_every: MARK_EVERY }
    }
}

impl Journal {
    /// Opens the next segment, with these facts at its head.
    pub(crate) fn open(opening: Opening<'_>) -> Result<Self, JournalError> {
        Self::open_with(opening, Limits::default())
    }

    pub(super) fn open_with(opening: Opening<'_>, limits: Limits) -> Result<Self, JournalError> {
        let Opening { folder, program, config, facts, at, bodies } = opening;
        crate::runner_dir::make_private(&folder).map_err(JournalError::io("make the folder", &folder))?;
        let before = segments::list(&folder)?;
        let number = before.last().map_or(0, |s| s.number) + 1;
        let path = segments::path(&folder, number);
        let file = segments::create(&path).map_err(JournalError::io("create", &path))?;
        let header = Header {
            schema: SCHEMA,
            program: program.version.clone(),
            commit: program.commit.clone(),
            bodies,
            config: config.clone(),
            at,
            start: Start::Facts(Box::new(facts.clone())),
        };
        let mut line = String::with_capacity(4 * 1024);
        let composer = Composer::begin(&header, &mut line);
        if let Err(error) = (&file).write_all(line.as_bytes()) {
            // Nothing begins with half a header. What cannot even be removed is known by that later.
            let _ = std::fs::remove_file(&path);
            return Err(JournalError::io("write", &path)(error));
        }
        drop_oldest(&before, limits.journal);
        Ok(Self {
            folder,
            bodies: (bodies == KeptBodies::Full).then(|| BodyFile::beside(&path)),
            path,
            bytes: line.len() as u64,
            bytes_before: 0,
            file: Some(Arc::new(file)),
            number,
            limits,
            header,
            composer,
            line,
            since_mark: 0,
        })
    }

    /// The segment that is being written.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that this run has written, without the words that are kept beside.
    pub(crate) const fn written(&self) -> u64 {
        self.bytes_before + self.bytes
    }

    /// Writes the record of an event that is about to be stepped.
    pub(crate) fn record(&mut self, at: Stamp, event: &Event) -> Result<(), String> {
        if self.file.is_none() {
            return Ok(());
        }
        self.line.clear();
        self.composer.record(at, event, &mut self.line);
        self.since_mark += 1;
        self.write()
    }

    /// Keeps the words of a message or a command, where words are kept. That this fails is said once a segment, and
    /// changes nothing.
    pub(crate) fn keep_body(&mut self, of: BodyOf, body: &str) {
        if let Some(bodies) = self.bodies.as_mut().filter(|_| self.file.is_some())
            && let Err(why) = bodies.keep(of, body)
        {
            tracing::warn!("{why}");
        }
    }

    /// Keeps what the step did.
    pub(crate) fn stepped(&mut self, fx: &Effects) {
        self.composer.stepped(fx);
    }

    /// The file to be synced before the effects are carried out; none when it is broken.
    pub(crate) fn to_sync(&self) -> Option<Arc<File>> {
        self.file.clone()
    }

    /// To be called after a step: writes a mark, or opens the next segment, when it is time.
    pub(crate) fn tidy(&mut self, at: Stamp, core: &Core) -> Result<(), String> {
        if self.file.is_none() {
            return Ok(());
        }
        if self.bytes + self.bodies.as_ref().map_or(0, BodyFile::bytes) >= self.limits.segment {
            return self.next_segment(at, core);
        }
        if self.since_mark >= self.limits.mark_every {
            return self.mark(core);
        }
        Ok(())
    }

    /// A mark of the core as it is now: after so many records, and at a clean end.
    pub(crate) fn mark(&mut self, core: &Core) -> Result<(), String> {
        if self.file.is_none() {
            return Ok(());
        }
        self.line.clear();
        self.composer.mark(core, &mut self.line);
        self.since_mark = 0;
        self.write()
    }

    fn next_segment(&mut self, at: Stamp, core: &Core) -> Result<(), String> {
        let path = segments::path(&self.folder, self.number + 1);
        let file = match segments::create(&path) {
            Ok(file) => file,
            Err(error) => return Err(self.give_up("create", &path, &error)),
        };
        self.header.at = at;
        self.header.start = Start::Continued { chain: self.composer.chain() };
        // Header and mark in one write, so that a segment hardly ever has the one without the other.
        self.line.clear();
        self.composer.header(&self.header, &mut self.line);
        self.composer.mark(core, &mut self.line);
        self.since_mark = 0;
        self.number += 1;
        self.bodies = self.bodies.take().map(|_| BodyFile::beside(&path));
        self.path = path;
        self.bytes_before += std::mem::take(&mut self.bytes);
        self.file = Some(Arc::new(file));
        self.write()?;
        match segments::list(&self.folder) {
            Ok(all) => drop_oldest(&all[..all.len().saturating_sub(1)], self.limits.journal),
            Err(error) => tracing::warn!("old parts of the journal stay: {error}"),
        }
        Ok(())
    }

    /// Goes on writing there.
    #[cfg(test)]
    pub(super) fn write_to(&mut self, file: File) {
        self.file = Some(Arc::new(file));
    }

    fn write(&mut self) -> Result<(), String> {
        let Some(file) = &self.file else { return Ok(()) };
        match (&**file).write_all(self.line.as_bytes()) {
            Ok(()) => {
                self.bytes += self.line.len() as u64;
                Ok(())
            }
            Err(error) => {
                let path = self.path.clone();
                Err(self.give_up("write", &path, &error))
            }
        }
    }

    /// Nothing is written any more: a journal with a hole is worse than one that ends. The segment is given another
    /// name, which takes no room on a full disk: the next start must not take up what was known in the middle of a run.
    pub(crate) fn give_up(&mut self, doing: &str, path: &Path, error: &io::Error) -> String {
        self.file = None;
        if let Err(error) = std::fs::rename(&self.path, self.path.with_extension(BROKEN)) {
            tracing::error!("{} cannot be marked as broken: {error}", self.path.display());
        }
        format!("cannot {doing} {}: {error}; the run goes on without a journal, and cannot be resumed", path.display())
    }
}

/// Takes the oldest away until the rest fits.
fn drop_oldest(segments: &[Segment], most: u64) {
    let mut all: u64 = segments.iter().map(|s| s.bytes).sum();
    for segment in segments {
        if all <= most {
            return;
        }
        let words = match std::fs::remove_file(segments::bodies(&segment.path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        };
        match words.and_then(|()| std::fs::remove_file(&segment.path)) {
            Ok(()) => all -= segment.bytes,
            Err(error) => {
                tracing::warn!("cannot remove the old journal segment {}: {error}", segment.path.display());
                return;
            }
        }
    }
}
