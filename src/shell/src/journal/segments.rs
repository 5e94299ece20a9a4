//! Segments: which there are, what opens them, and how their lines are read.

use super::damage::JournalError;
use relay_runner_core::journal::{Damage, Header, Line, Reader};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// With the words that are kept beside it.
    pub(super) bytes: u64,
}

/// The segments of a folder, oldest first. A folder that does not exist has none.
pub(super) fn list(folder: &Path) -> Result<Vec<Segment>, JournalError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(JournalError::io("read the folder", folder)(error)),
    };
    let mut segments = Vec::new();
    for entry in entries {
        let entry = entry.map_err(JournalError::io("read the folder", folder))?;
        let Some(number) = number(&entry.path()) else { continue };
        let own = entry.metadata().map_err(JournalError::io("look at", &entry.path()))?.len();
        // Mostly there are none.
        let words = std::fs::metadata(bodies(&entry.path())).map_or(0, |words| words.len());
        segments.push(Segment { number, path: entry.path(), bytes: own + words });
    }
    segments.sort_by_key(|s| s.number);
    Ok(segments)
}

/// Where the words are kept that first came in this segment.
pub(super) fn bodies(segment: &Path) -> PathBuf {
    segment.with_extension("bodies")
}

/// A file of the journal, for its owner only.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
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
                damage: Damage::Unreadable { why: error.to_string() },
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

/// What opens a segment; none when it does not even hold that whole.
pub(super) fn header(segment: &Segment) -> Result<Option<Header>, JournalError> {
    let mut lines = Lines::open(&segment.path)?;
    let Some(text) = lines.next()? else { return Ok(None) };
    match Reader::new().read(text) {
        Ok(Line::Header(header)) => Ok(Some(*header)),
        Ok(Line::Record { .. } | Line::Mark { .. }) => {
            let why = "a part of a journal begins with a header".to_owned();
            Err(JournalError::Damaged { path: segment.path.clone(), line: 1, damage: Damage::OutOfOrder { why } })
        }
        Err(damage) => Err(JournalError::Damaged { path: segment.path.clone(), line: 1, damage }),
    }
}

/// The chain hash of a segment's last line; none when that is torn.
pub(super) fn last_chain(segment: &Segment) -> Result<Option<u64>, JournalError> {
    const TAIL: u64 = "0123456789abcdef\"}\n".len() as u64;
    let mut file = File::open(&segment.path).map_err(JournalError::io("open", &segment.path))?;
    let read = |file: &mut File| {
        let bytes = file.metadata()?.len();
        file.seek(SeekFrom::Start(bytes.saturating_sub(TAIL)))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        Ok(tail)
    };
    let tail = read(&mut file).map_err(JournalError::io("read", &segment.path))?;
    Ok(tail.strip_suffix(b"\n").and_then(|line| chain_hash(std::str::from_utf8(line).ok()?)))
}

/// The 16 hexadecimal digits that end every line: `...,"h":"0123456789abcdef"}`.
pub(super) fn chain_hash(line: &str) -> Option<u64> {
    let start = line.len().checked_sub(18)?;
    u64::from_str_radix(line.get(start..start + 16)?, 16).ok()
}
