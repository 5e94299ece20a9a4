//! Following a journal as it is written: line by line, across its segments and the restarts of its runner, without
//! losing or doubling one. What each event led to is told by today's core, which is fed the recorded events.

use super::damage::JournalError;
use super::runs;
use super::segments::{self, Segment};
use super::{BROKEN, folder};
use crate::input::panic_text;
use relay_runner_core::journal::{Damage, Line, Replay, ReplayError, Start};
use relay_runner_core::time::Wall;
use relay_runner_core::{Event, Glance, Note, Stamp};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Where to begin: always with a whole segment, so with somewhat more than what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With what was recorded since this time.
    Since(Wall),
    /// With the last so many bytes.
    Last(u64),
}

/// Something that a journal tells.
#[derive(Debug)]
pub enum Followed {
    /// A start of the program.
    Run { at: Stamp, program: String, commit: Option<String> },
    /// An event, and what it led to.
    Event { number: u64, at: Stamp, event: Box<Event>, notes: Vec<Note>, change: Option<(Glance, Glance)> },
    /// The core panics upon this event, and the run ended there.
    Panic { number: u64, at: Stamp, what: String },
}

/// A journal that is followed.
#[derive(Debug)]
pub struct Tail {
    folder: PathBuf,
    /// Only this file.
    alone: bool,
    replay: Replay,
    open: Option<Open>,
}

/// The segment that is being read.
#[derive(Debug)]
struct Open {
    number: u64,
    path: PathBuf,
    file: BufReader<File>,
    /// Of a line that may still be being written.
    text: Vec<u8>,
    line: u64,
}

impl Tail {
    /// Of a journal's file, its folder, or an agent's state folder.
    pub fn open(path: &Path, begin: Begin) -> Result<Self, JournalError> {
        let segments = runs::segments_of(path)?;
        let alone = path.is_file();
        let folder = if segments::list(path).is_ok_and(|own| !own.is_empty()) { path.to_owned() } else { folder(path) };
        let mut tail = Self { folder, alone, replay: relaxed(), open: None };
        tail.open = first(&segments, begin)?.map(Open::segment).transpose()?;
        Ok(tail)
    }

    /// How often today's core departed from what was recorded.
    pub fn differences(&self) -> u64 {
        self.replay.differences()
    }

    /// What comes next; none: nothing more is there as yet.
    pub fn follow(&mut self) -> Result<Option<Followed>, JournalError> {
        loop {
            match self.within()? {
                Took::Told(followed) => return Ok(Some(*followed)),
                Took::Silent => continue,
                Took::Nothing if self.alone => return Ok(None),
                Took::Nothing => {}
            }
            let Some(next) = self.following()? else { return Ok(None) };
            // What was written between the two looks comes first.
            match self.within()? {
                Took::Told(followed) => return Ok(Some(*followed)),
                Took::Silent => continue,
                Took::Nothing => {}
            }
            if self.open.as_ref().is_none_or(|open| open.number + 1 != next.number) {
                self.replay = relaxed();
            }
            self.open = Some(Open::segment(&next)?);
        }
    }

    /// Takes the next line of the open segment.
    fn within(&mut self) -> Result<Took, JournalError> {
        let Some(open) = &mut self.open else { return Ok(Took::Nothing) };
        if !open.read()? {
            return Ok(Took::Nothing);
        }
        let text = open.whole()?;
        let line = self.replay.read(text).map_err(|e| JournalError::replay(&open.path, e, |_| open.line));
        let took = line.and_then(|line| {
            take(&mut self.replay, line).map_err(|e| JournalError::replay(&open.path, e, |_| open.line))
        });
        open.text.clear();
        let followed = took?;
        if matches!(followed, Some(Followed::Panic { .. })) {
            // What it knew is half done.
            self.replay = relaxed();
        }
        Ok(followed.map_or(Took::Silent, |followed| Took::Told(Box::new(followed))))
    }

    /// The segment behind the open one; none as long as that is the last.
    fn following(&self) -> Result<Option<Segment>, JournalError> {
        let segments = segments::list(&self.folder)?;
        let behind = self.open.as_ref().filter(|open| open.is_in(&self.folder)).map(|open| open.number);
        // A folder that was moved aside is followed by the one that took its place.
        Ok(segments
            .into_iter()
            .find(|segment| behind.is_none_or(|behind| segment.number > behind))
            .filter(|next| self.open.as_ref().is_none_or(|open| behind.is_some() || !open.is(&next.path))))
    }
}

fn relaxed() -> Replay {
    Replay::new().relaxed(0)
}

/// What became of the next line.
#[derive(Debug)]
enum Took {
    /// There is none, or it has no end as yet.
    Nothing,
    /// It tells nothing.
    Silent,
    Told(Box<Followed>),
}

/// What a line tells.
fn take(replay: &mut Replay, line: Line) -> Result<Option<Followed>, ReplayError> {
    let (number, at) = match &line {
        Line::Header(header) => {
            let run = matches!(header.start, Start::Facts(_)).then(|| Followed::Run {
                at: header.at,
                program: header.program.clone(),
                commit: header.commit.clone(),
            });
            replay.take(line)?;
            return Ok(run);
        }
        Line::Mark { .. } => {
            replay.take(line)?;
            return Ok(None);
        }
        Line::Record { number, at, .. } => (*number, *at),
    };
    let before = replay.core().map(relay_runner_core::Core::glance);
    match catch_unwind(AssertUnwindSafe(|| replay.take(line))) {
        Ok(took) => took?,
        Err(panic) => return Ok(Some(Followed::Panic { number, at, what: panic_text(&*panic) })),
    }
    let now = replay.core().map(relay_runner_core::Core::glance);
    let change = before.zip(now).filter(|(before, now)| before != now);
    let notes = replay.effects().notes.clone();
    let event = replay.last().map(|(.., event)| event.clone());
    Ok(event.map(|event| Followed::Event { number, at, event: Box::new(event), notes, change }))
}

/// The segment to begin with: one that can be begun with.
fn first(segments: &[Segment], begin: Begin) -> Result<Option<&Segment>, JournalError> {
    let mut bytes = 0;
    let mut best = None;
    for segment in segments.iter().rev() {
        let Some(header) = segments::header(segment)? else { continue };
        if matches!(header.start, Start::Continued { .. }) && !has_mark(segment)? {
            continue;
        }
        best = Some(segment);
        bytes += segment.bytes;
        let enough = match begin {
            // What was recorded in the millisecond in which it was opened may stand before it.
            Begin::Since(wall) => header.at.wall < wall,
            Begin::Last(most) => bytes >= most,
        };
        if enough {
            break;
        }
    }
    Ok(best)
}

/// Whether the mark stands behind the header with which a further segment begins.
fn has_mark(segment: &Segment) -> Result<bool, JournalError> {
    let mut lines = segments::Lines::open(&segment.path)?;
    lines.next()?;
    Ok(lines.next()?.is_some_and(|line| line.starts_with("{\"mark\":")))
}

impl Open {
    fn segment(segment: &Segment) -> Result<Self, JournalError> {
        let file = File::open(&segment.path).map_err(JournalError::io("open", &segment.path))?;
        let (number, path) = (segment.number, segment.path.clone());
        Ok(Self { number, path, file: BufReader::new(file), text: Vec::new(), line: 0 })
    }

    /// Reads on. False: the line has no end as yet.
    fn read(&mut self) -> Result<bool, JournalError> {
        self.file.read_until(b'\n', &mut self.text).map_err(JournalError::io("read", &self.path))?;
        let whole = self.text.ends_with(b"\n");
        self.line += u64::from(whole);
        Ok(whole)
    }

    /// The line that was read, without its end.
    fn whole(&self) -> Result<&str, JournalError> {
        let text = self.text.strip_suffix(b"\n").unwrap_or(&self.text);
        std::str::from_utf8(text).map_err(|error| JournalError::Damaged {
            path: self.path.clone(),
            line: self.line,
            damage: Damage::Unreadable { why: error.to_string() },
        })
    }

    /// Whether the segment still lies in the folder, under its own name or as one that could not be written to its end.
    fn is_in(&self, folder: &Path) -> bool {
        let path = segments::path(folder, self.number);
        // One that went by the cap is followed by a later one all the same.
        let replaced = !self.is(&path) && path.exists();
        let gone = !path.exists() && !self.is(&path.with_extension(BROKEN));
        let later = || segments::list(folder).is_ok_and(|all| all.iter().any(|segment| segment.number > self.number));
        !replaced && (!gone || later())
    }

    fn is(&self, path: &Path) -> bool {
        let (Ok(ours), Ok(there)) = (self.file.get_ref().metadata(), std::fs::metadata(path)) else { return false };
        (ours.dev(), ours.ino()) == (there.dev(), there.ino())
    }
}
