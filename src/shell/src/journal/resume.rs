//! What the last run knew: its journal, run again from the last mark, gives the facts for the next.

use super::BROKEN;
use super::damage::JournalError;
use super::segments::{self, Lines, Segment};
use relay_runner_core::DurableFacts;
use relay_runner_core::journal::{Damage, Header, Replay, Start};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The facts at the end of the last run; none when there was none. They must be of this agent.
pub(crate) fn last_facts(folder: &Path, agent: &str) -> Result<Option<DurableFacts>, JournalError> {
    let mut segments = segments::list(folder)?;
    // The first may be gone, by the cap; one in between was taken away.
    for pair in segments.windows(2) {
        if pair[1].number != pair[0].number + 1 {
            let missing = segments::path(folder, pair[0].number + 1);
            return Err(JournalError::Gap { missing, behind: pair[1].path.clone() });
        }
    }
    let mut later: Vec<Segment> = Vec::new();
    while let Some(segment) = segments.pop() {
        // A segment whose head was never written whole: everything ended while it was being opened.
        let Some(header) = segments::header(&segment)? else { continue };
        is_of(agent, &header, &segment)?;
        goes_on(&header, &segment, segments.last())?;
        if let Some(mark) = last_mark(&segment, header.schema)? {
            return facts_from(Some(mark), &segment, &later);
        }
        if matches!(header.start, Start::Facts(_)) {
            return facts_from(None, &segment, &later);
        }
        // Continued, but without the mark that belongs there: the segments before it have one.
        later.insert(0, segment);
    }
    Ok(None)
}

fn is_of(agent: &str, header: &Header, segment: &Segment) -> Result<(), JournalError> {
    let theirs = &*header.config.identity.agent_id;
    if theirs == agent {
        return Ok(());
    }
    let path = segment.path.clone();
    Err(JournalError::OtherAgent { path, theirs: theirs.to_owned(), ours: agent.to_owned() })
}

/// A segment that continues another one continues the one before it.
fn goes_on(header: &Header, segment: &Segment, before: Option<&Segment>) -> Result<(), JournalError> {
    let (Start::Continued { chain }, Some(before)) = (&header.start, before) else { return Ok(()) };
    if segments::last_chain(before)? == Some(*chain) {
        return Ok(());
    }
    let why = format!("it does not go on from the last line of {}", before.path.display());
    Err(JournalError::Damaged { path: segment.path.clone(), line: 1, damage: Damage::OutOfOrder { why } })
}

/// Whether the last run could not write its journal to the end: then what it says is out of date.
pub(crate) fn is_broken(folder: &Path) -> Result<bool, JournalError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(JournalError::io("read the folder", folder)(error)),
    };
    for entry in entries {
        let path = entry.map_err(JournalError::io("read the folder", folder))?.path();
        if path.extension().is_some_and(|ending| ending == BROKEN) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Moves the journal out of the way, to `journal.old-1` and so on. Returns where it is now; none when there was none.
pub(crate) fn move_aside(folder: &Path) -> Result<Option<PathBuf>, JournalError> {
    if !folder.exists() {
        return Ok(None);
    }
    let mut number = 1_u32;
    let mut aside = folder.with_file_name("journal.old-1");
    while aside.exists() {
        number += 1;
        aside = folder.with_file_name(format!("journal.old-{number}"));
    }
    std::fs::rename(folder, &aside).map_err(JournalError::io("move aside", folder))?;
    Ok(Some(aside))
}

fn facts_from(
    mark: Option<LastMark>,
    segment: &Segment,
    later: &[Segment],
) -> Result<Option<DurableFacts>, JournalError> {
    let (mut replay, mut lines, skipped) = match mark {
        Some(mark) => {
            let mut file = File::open(&segment.path).map_err(JournalError::io("open", &segment.path))?;
            file.seek(SeekFrom::Start(mark.at)).map_err(JournalError::io("read", &segment.path))?;
            (Replay::behind(mark.chain, mark.schema).relaxed(0), Lines::of(&segment.path, file), mark.lines_before)
        }
        None => (Replay::new().relaxed(0), Lines::open(&segment.path)?, 0),
    };
    while let Some(text) = lines.next()? {
        replay.line(text).map_err(|e| JournalError::replay(&segment.path, e, |line| line + skipped))?;
    }
    let mut before = lines.number();
    for segment in later {
        let mut lines = Lines::open(&segment.path)?;
        while let Some(text) = lines.next()? {
            replay
                .line(text)
                .map_err(|e| JournalError::replay(&segment.path, e, |line| line.saturating_sub(before)))?;
        }
        before += lines.number();
    }
    if replay.differences() > 0 {
        tracing::warn!(
            "this program decides otherwise than the one that wrote the journal in {} of {} events since its last mark; \
             its facts are as this program would have them (`relay-runner replay` shows the first difference)",
            replay.differences(),
            replay.events()
        );
    }
    Ok(replay.core().map(relay_runner_core::Core::facts))
}

/// Where the last whole mark of a segment begins.
#[derive(Debug, Clone, Copy)]
struct LastMark {
    /// Bytes before it.
    at: u64,
    lines_before: u64,
    /// The chain hash at the end of the line before it.
    chain: u64,
    /// What its segment was written under.
    schema: u32,
}

fn last_mark(segment: &Segment, schema: u32) -> Result<Option<LastMark>, JournalError> {
    let mut lines = Lines::open(&segment.path)?;
    let mut last = None;
    let (mut at, mut lines_before) = (0, 0);
    let mut chain = None;
    while let Some(text) = lines.next()? {
        // Behind a line whose hash cannot be read nothing can begin: the replay from the head will name it.
        if let Some(chain) = chain.filter(|_| text.starts_with("{\"mark\":")) {
            last = Some(LastMark { at, lines_before, chain, schema });
        }
        chain = segments::chain_hash(text);
        at += text.len() as u64 + 1;
        lines_before += 1;
    }
    Ok(last)
}
