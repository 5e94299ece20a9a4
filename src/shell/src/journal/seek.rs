//! Finding a place in a segment without reading all of it.
//!
//! Every line begins with its kind and its number, and no line has a line end in it: so a record is found by halving
//! the file, and the mark before it by looking backwards.

use super::damage::JournalError;
use super::segments::Segment;
use relay_runner_core::journal::Damage;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

const CHUNK: u64 = 64 * 1024;
/// As much of a line as holds its kind and its number.
const HEAD: usize = 40;
/// The digits of the chain hash, and the quote, brace and line end behind them.
const CHAIN: u64 = 16 + 3;
const MARK: &[u8] = b"\n{\"mark\":";

/// A mark in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MarkAt {
    /// Bytes before it.
    pub(super) at: u64,
    /// The last record before it.
    pub(super) number: u64,
    /// The chain hash at the end of the line before it.
    pub(super) chain: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Header,
    Record(u64),
    Mark(u64),
}

/// The last mark that stands behind no later record than this one.
pub(super) fn mark_before(segment: &Segment, number: u64) -> Result<Option<MarkAt>, JournalError> {
    let mut file = Searched::open(&segment.path)?;
    let end = file.first_after(number)?;
    let Some(at) = file.last_mark(end)? else { return Ok(None) };
    let Kind::Mark(number) = file.kind(at)? else { return Ok(None) };
    Ok(file.chain_before(at)?.map(|chain| MarkAt { at, number, chain }))
}

/// Number of the record before the first one: 0 where a run begins; none where nothing follows the header.
pub(super) fn before_first(segment: &Segment) -> Result<Option<u64>, JournalError> {
    let mut file = Searched::open(&segment.path)?;
    let Some(second) = file.next_line(0)? else { return Ok(None) };
    if second >= file.end {
        return Ok(None);
    }
    Ok(match file.kind(second)? {
        Kind::Header => None,
        Kind::Record(number) => Some(number.saturating_sub(1)),
        Kind::Mark(number) => Some(number),
    })
}

/// Number of the last record; none where nothing follows the header.
pub(super) fn last(segment: &Segment) -> Result<Option<u64>, JournalError> {
    let mut file = Searched::open(&segment.path)?;
    let Some(before_end) = file.end.checked_sub(1) else { return Ok(None) };
    let start = file.rfind(b"\n", before_end)?.map_or(0, |at| at + 1);
    Ok(match file.kind(start)? {
        Kind::Header => None,
        Kind::Record(number) | Kind::Mark(number) => Some(number),
    })
}

/// Lines that end before this byte.
pub(super) fn lines_before(path: &Path, end: u64) -> Result<u64, JournalError> {
    let mut file = Searched::open(path)?;
    let (mut at, mut lines) = (0, 0);
    while at < end {
        let bytes = file.read(at, (end - at).min(CHUNK))?;
        lines += bytes.split(|b| *b == b'\n').count() as u64 - 1;
        at += CHUNK;
    }
    Ok(lines)
}

/// A segment that is searched. What follows its last line end is torn, and not looked at.
#[derive(Debug)]
struct Searched {
    path: PathBuf,
    file: File,
    end: u64,
    buffer: Vec<u8>,
}

impl Searched {
    fn open(path: &Path) -> Result<Self, JournalError> {
        let file = File::open(path).map_err(JournalError::io("open", path))?;
        let bytes = file.metadata().map_err(JournalError::io("look at", path))?.len();
        let mut searched = Self { path: path.to_owned(), file, end: bytes, buffer: Vec::new() };
        searched.end = searched.rfind(b"\n", bytes)?.map_or(0, |at| at + 1);
        Ok(searched)
    }

    fn read(&mut self, at: u64, length: u64) -> Result<&[u8], JournalError> {
        let failed = |e| JournalError::io("read", &self.path)(e);
        self.file.seek(SeekFrom::Start(at)).map_err(failed)?;
        self.buffer.clear();
        self.file.by_ref().take(length).read_to_end(&mut self.buffer).map_err(failed)?;
        Ok(&self.buffer)
    }

    /// Where these bytes begin for the last time, wholly before `end`.
    fn rfind(&mut self, wanted: &[u8], end: u64) -> Result<Option<u64>, JournalError> {
        let mut upper = end;
        while upper > 0 {
            let lower = upper.saturating_sub(CHUNK);
            // They may begin in this chunk and end in the next.
            let reach = (upper + wanted.len() as u64 - 1).min(end);
            let bytes = self.read(lower, reach - lower)?;
            if let Some(at) = bytes.windows(wanted.len()).rposition(|window| window == wanted) {
                return Ok(Some(lower + at as u64));
            }
            upper = lower;
        }
        Ok(None)
    }

    /// Where the line after the one that holds this byte begins.
    fn next_line(&mut self, from: u64) -> Result<Option<u64>, JournalError> {
        let mut at = from;
        while at < self.end {
            let length = (self.end - at).min(CHUNK);
            let bytes = self.read(at, length)?;
            if let Some(n) = bytes.iter().position(|b| *b == b'\n') {
                return Ok(Some(at + n as u64 + 1));
            }
            at += length;
        }
        Ok(None)
    }

    /// Where the first line begins that belongs to a later record than this one; else the end.
    fn first_after(&mut self, number: u64) -> Result<u64, JournalError> {
        // A line begins at `low` that is not later. None begins between `high` and one that is later, or the end.
        let (mut low, mut high) = (0, self.end);
        while high - low > CHUNK {
            let middle = low + (high - low) / 2;
            match self.next_line(middle)?.filter(|line| *line < high) {
                None => high = middle,
                Some(line) if self.is_after(line, number)? => high = line,
                Some(line) => low = line,
            }
        }
        while low < self.end {
            if self.is_after(low, number)? {
                return Ok(low);
            }
            low = self.next_line(low)?.unwrap_or(self.end);
        }
        Ok(self.end)
    }

    fn is_after(&mut self, line: u64, number: u64) -> Result<bool, JournalError> {
        Ok(match self.kind(line)? {
            Kind::Header => false,
            Kind::Record(n) | Kind::Mark(n) => n > number,
        })
    }

    /// Where the last mark begins that ends before `end`, which is the beginning of a line or the end.
    fn last_mark(&mut self, end: u64) -> Result<Option<u64>, JournalError> {
        Ok(self.rfind(MARK, end)?.map(|at| at + 1))
    }

    fn kind(&mut self, line: u64) -> Result<Kind, JournalError> {
        let head = self.read(line, HEAD as u64)?;
        if let Some(kind) = kind(head) {
            return Ok(kind);
        }
        let line = lines_before(&self.path, line)? + 1;
        let damage = Damage::Unreadable { why: "it begins like none".to_owned() };
        Err(JournalError::Damaged { path: self.path.clone(), line, damage })
    }

    /// The chain hash at the end of the line before this one.
    fn chain_before(&mut self, line: u64) -> Result<Option<u64>, JournalError> {
        let Some(at) = line.checked_sub(CHAIN) else { return Ok(None) };
        let digits = &self.read(at, 16)?;
        Ok(std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok()))
    }
}

fn kind(head: &[u8]) -> Option<Kind> {
    if head.starts_with(b"{\"journal\":") {
        return Some(Kind::Header);
    }
    let number = |prefix: &[u8]| {
        let digits = head.strip_prefix(prefix)?;
        let end = digits.iter().position(|b| *b == b',')?;
        std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
    };
    number(b"{\"n\":").map(Kind::Record).or_else(|| number(b"{\"mark\":").map(Kind::Mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_known_by_its_head() {
        assert_eq!(kind(b"{\"journal\":{\"schema\":1"), Some(Kind::Header));
        assert_eq!(kind(b"{\"n\":12,\"at\":[1,2],"), Some(Kind::Record(12)));
        assert_eq!(kind(b"{\"mark\":18446744073709551615,\"fx\":\"\","), Some(Kind::Mark(u64::MAX)));
        for wrong in [&b""[..], b"{\"n\":", b"{\"n\":x,", b"{\"n\":1", b"{\"mark\":-1,", b"hello"] {
            assert_eq!(kind(wrong), None, "{wrong:?}");
        }
    }
}
