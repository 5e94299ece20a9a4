//! Which runs of the program a journal holds, and which segments each of them has.
//!
//! Runs are counted from 1, the oldest that is still there. Records are counted within a run.

use super::damage::{Asked, JournalError};
use super::seek;
use super::segments::{self, Lines, Segment};
use relay_runner_core::Stamp;
use relay_runner_core::journal::{Line, Reader, Start, Until};
use std::path::{Path, PathBuf};

/// The runs of one journal, oldest first.
#[derive(Debug)]
pub(super) struct Runs {
    path: PathBuf,
    pub(super) all: Vec<RecordedRun>,
    /// Files that end within their header: a start of the program that got no further.
    pub(super) unbegun: Vec<PathBuf>,
    /// Files that could not be written to their end. They are no part of it, and can be run by themselves.
    pub(super) broken: Vec<PathBuf>,
}

/// What one start of the program wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordedRun {
    pub(super) number: u64,
    pub(super) segments: Vec<Segment>,
    /// When its first segment that is still there was opened.
    pub(super) begun: Stamp,
}

impl Runs {
    /// Those of a journal's file, its folder, or an agent's state folder.
    pub(super) fn of(path: &Path) -> Result<Self, JournalError> {
        let mut runs = Self { path: path.to_owned(), all: Vec::new(), unbegun: Vec::new(), broken: Vec::new() };
        for segment in segments_of(path)? {
            runs.add(segment)?;
        }
        if let Some(folder) = runs.all.first().and_then(|run| run.segments.first()?.path.parent())
            && !path.is_file()
        {
            runs.broken = broken(folder)?;
        }
        Ok(runs)
    }

    fn add(&mut self, segment: Segment) -> Result<(), JournalError> {
        let Some((begins, at)) = opening(&segment)? else {
            if segment.bytes > 0 {
                self.unbegun.push(segment.path);
            }
            return Ok(());
        };
        match self.all.last_mut() {
            Some(run) if !begins => {
                let before = run.segments.last().map_or(0, |before| before.number);
                if segment.number != before + 1 {
                    let missing = segments::path(segment.path.parent().unwrap_or(&self.path), before + 1);
                    return Err(JournalError::Gap { missing, behind: segment.path });
                }
                run.segments.push(segment);
            }
            Some(_) | None => {
                let number = self.all.len() as u64 + 1;
                self.all.push(RecordedRun { number, segments: vec![segment], begun: at });
            }
        }
        Ok(())
    }

    /// The run of this number; without one, the last that had begun at the wall time that is asked for, or the last.
    pub(super) fn choose(&self, number: Option<u64>, until: Option<Until>) -> Result<&RecordedRun, JournalError> {
        let (Some(first), Some(last)) = (self.all.first(), self.all.last()) else {
            return Err(JournalError::None { path: self.path.clone() });
        };
        let run = match (number, until) {
            (Some(number), _) => {
                usize::try_from(number).ok().and_then(|n| self.all.get(n.checked_sub(1)?)).ok_or_else(|| {
                    let have = if self.all.len() == 1 {
                        "only run 1".to_owned()
                    } else {
                        format!("runs 1 to {}", self.all.len())
                    };
                    self.no_such(Asked::Run, format!("there is no run {number}: it holds {have}"))
                })?
            }
            (None, Some(Until::Wall(wall))) => {
                self.all.iter().rev().find(|run| run.begun.wall <= wall).unwrap_or(first)
            }
            (None, Some(Until::Record(_) | Until::Mono(_)) | None) => last,
        };
        if let Some(Until::Wall(wall)) = until
            && run.begun.wall > wall
        {
            return Err(JournalError::TooEarly { path: self.path.clone(), run: run.number, begins: run.begun.wall });
        }
        Ok(run)
    }

    pub(super) fn no_such(&self, asked: Asked, why: String) -> JournalError {
        JournalError::NoSuch { path: self.path.clone(), asked, why }
    }

    /// Whether the run has this record; 0 is its beginning.
    pub(super) fn holds(&self, run: &RecordedRun, number: u64, records: (u64, u64)) -> Result<(), JournalError> {
        let (before, last) = records;
        if number >= before && number <= last {
            return Ok(());
        }
        let have = match last - before {
            0 => "it has no records".to_owned(),
            _ => format!("its records are {} to {last}", before + 1),
        };
        let gone = if number < before { "; what came before went with older files" } else { "" };
        Err(self.no_such(Asked::Record, format!("run {} has no record {number}: {have}{gone}", run.number)))
    }
}

impl RecordedRun {
    /// The records that are still there: the number before the first, and the last.
    pub(super) fn records(&self) -> Result<(u64, u64), JournalError> {
        let before = match self.segments.first() {
            Some(first) => seek::before_first(first)?.unwrap_or(0),
            None => 0,
        };
        for segment in self.segments.iter().rev() {
            if let Some(last) = seek::last(segment)? {
                return Ok((before, last.max(before)));
            }
        }
        Ok((before, before))
    }
}

/// Whether a segment was opened by a start of the program, and when; none when its header is not there or is torn.
fn opening(segment: &Segment) -> Result<Option<(bool, Stamp)>, JournalError> {
    let mut lines = Lines::open(&segment.path)?;
    let Some(text) = lines.next()? else { return Ok(None) };
    match Reader::new().read(text) {
        Ok(Line::Header(header)) => Ok(Some((matches!(header.start, Start::Facts(_)), header.at))),
        // The replay says what is wrong with it.
        Ok(Line::Record { .. } | Line::Mark { .. }) => Ok(Some((false, Stamp::default()))),
        Err(damage) => Err(JournalError::Damaged { path: segment.path.clone(), line: 1, damage }),
    }
}

pub(super) fn segments_of(path: &Path) -> Result<Vec<Segment>, JournalError> {
    let is = std::fs::metadata(path).map_err(JournalError::io("look at", path))?;
    if is.is_file() {
        return Ok(vec![Segment { number: 1, path: path.to_owned(), bytes: is.len() }]);
    }
    for folder in [path.to_owned(), super::folder(path)] {
        let segments = segments::list(&folder)?;
        if !segments.is_empty() {
            return Ok(segments);
        }
    }
    Err(JournalError::None { path: path.to_owned() })
}

fn broken(folder: &Path) -> Result<Vec<PathBuf>, JournalError> {
    let mut broken = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(JournalError::io("read the folder", folder))? {
        let path = entry.map_err(JournalError::io("read the folder", folder))?.path();
        if path.extension().is_some_and(|ending| ending == super::BROKEN) {
            broken.push(path);
        }
    }
    broken.sort();
    Ok(broken)
}
