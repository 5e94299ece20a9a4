//! Segments: which there are, what opens them, and how their lines are read.

use super::damage::JournalError;
use relay_runner_core::journal::{Line, Reader, Start};
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A file of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// The segments of a folder, oldest first. A folder that does not exist has none.
pub(super) fn list(folder: &Path) -> Result<Vec<Segment>, JournalError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(JournalError::io("read the folder", folder)(error)),
    };
    let mut segments = Vec::new();
    for entry in entries {
        let entry = entry.map_err(JournalError::io("read the folder", folder))?;
        let Some(number) = number(&entry.path()) else { continue };
        let bytes = entry.metadata().map_err(JournalError::io("look at", &entry.path()))?.len();
        segments.push(Segment { number, path: entry.path(), bytes });
    }
    segments.sort_by_key(|s| s.number);
    Ok(segments)
}

pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:06}.jsonl"))
}

fn number(path: &Path) -> Option<u64> {
    if path.extension()? != "jsonl" {
        return None;
    }
    let stem = path.file_stem()?.to_str()?;
    stem.bytes().all(|b| b.is_ascii_digit()).then(|| stem.parse().ok())?
}

/// The lines of a file, one at a time, in one buffer.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    text: Vec<u8>,
    number: u64,
    /// Those before the next line.
    bytes: u64,
    torn: bool,
}

/// Read at once: a journal may be large.
const BUFFER: usize = 128 * 1024;

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        let file = File::open(path).map_err(JournalError::io("open", path))?;
        Ok(Self::of(path, file))
    }

    pub(super) fn of(path: &Path, file: File) -> Self {
        Self {
            path: path.to_owned(),
            file: BufReader::with_capacity(BUFFER, file),
            text: Vec::new(),
            number: 0,
            bytes: 0,
            torn: false,
        }
    }

    /// The next whole line. A last one without its line end is torn: it was being written when everything ended.
    pub(super) fn next(&mut self) -> Result<Option<&str>, JournalError> {
        self.text.clear();
        self.file.read_until(b'\n', &mut self.text).map_err(JournalError::io("read", &self.path))?;
        match self.text.pop() {
            None => return Ok(None),
            Some(b'\n') => {}
            Some(_) => {
                self.torn = true;
                return Ok(None);
            }
        }
        self.number += 1;
        self.bytes += self.text.len() as u64 + 1;
        match std::str::from_utf8(&self.text) {
            Ok(text) => Ok(Some(text)),
            Err(error) => Err(JournalError::Damaged {
                path: self.path.clone(),
                line: self.number,
                damage: relay_runner_core::journal::Damage::Unreadable { why: error.to_string() },
            }),
        }
    }

    /// Goes on at this byte of the file.
    pub(super) fn skip_to(&mut self, byte: u64) -> Result<(), JournalError> {
        self.bytes = byte;
        self.file.seek(SeekFrom::Start(byte)).map(|_| ()).map_err(JournalError::io("read", &self.path))
    }

    /// Where the next line begins.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of the last line, counted from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn was_torn(&self) -> bool {
        self.torn
    }
}

/// Whether a segment was opened by a start of the program; none when it does not even hold its header.
pub(super) fn begins_run(segment: &Segment) -> Result<Option<bool>, JournalError> {
    let mut lines = Lines::open(&segment.path)?;
    let Some(text) = lines.next()? else { return Ok(None) };
    match Reader::new().read(text) {
        Ok(Line::Header(header)) => Ok(Some(matches!(header.start, Start::Facts(_)))),
        Ok(Line::Record { .. } | Line::Mark { .. }) => Ok(Some(false)),
        Err(damage) => Err(JournalError::Damaged { path: segment.path.clone(), line: 1, damage }),
    }
}
