//! Reading on in a transcript that grows.

use super::transcript::{self, Entry};
use crate::provider::claude::launch;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// What is read at a time, in bytes; of one that is taken up, the end.
const READ_MOST: u64 = 8 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Follower {
    home: PathBuf,
    conversation: String,
    /// Found once something was said in the conversation.
    path: Option<PathBuf>,
    /// Read up to here, in bytes: always the beginning of a line.
    at: u64,
}

impl Follower {
    /// From its beginning.
    pub(super) fn of(home: &Path, conversation: &str) -> Self {
        let mut follower = Self { home: home.to_owned(), conversation: conversation.to_owned(), path: None, at: 0 };
        follower.find();
        follower
    }

    /// From its end, as it is now.
    pub(crate) fn at_end(home: &Path, conversation: &str) -> Self {
        let mut follower = Self::of(home, conversation);
        follower.at = follower.length();
        follower
    }

    /// Close to its end, when it is long.
    pub(super) fn near_end(home: &Path, conversation: &str) -> Self {
        let mut follower = Self::of(home, conversation);
        let from = follower.length().saturating_sub(READ_MOST);
        if from > 0 {
            follower.at = from;
            // The rest of a line that began before.
            if let Err(error) = follower.skip_line() {
                tracing::debug!("{}: {error}", follower.home.display());
            }
        }
        follower
    }

    /// Whether something stands before what is read.
    pub(super) const fn is_partial(&self) -> bool {
        self.at > 0
    }

    pub(super) fn is_of(&self, conversation: &str) -> bool {
        self.conversation == conversation
    }

    fn find(&mut self) {
        if self.path.is_none() {
            self.path = launch::transcript(&self.home, &self.conversation);
        }
    }

    fn length(&self) -> u64 {
        self.path.as_ref().and_then(|path| path.metadata().ok()).map_or(0, |is| is.len())
    }

    fn open(&self) -> io::Result<Option<BufReader<File>>> {
        let Some(path) = &self.path else { return Ok(None) };
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(self.at))?;
        Ok(Some(BufReader::new(file)))
    }

    fn skip_line(&mut self) -> io::Result<()> {
        if let Some(mut reader) = self.open()? {
            self.at += reader.skip_until(b'\n')? as u64;
        }
        Ok(())
    }

    /// What was written since; a line without its end is read the next time.
    pub(super) fn read(&mut self) -> Vec<Entry> {
        self.find();
        let mut entries = Vec::new();
        if self.length() > self.at
            && let Err(error) = self.read_into(&mut entries)
        {
            tracing::debug!("the transcript of {} cannot be read: {error}", self.conversation);
        }
        entries
    }

    fn read_into(&mut self, entries: &mut Vec<Entry>) -> io::Result<()> {
        let Some(reader) = self.open()? else { return Ok(()) };
        let mut reader = reader.take(READ_MOST);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                // A line that is longer than all that is read at a time means nothing here.
                if length as u64 == READ_MOST {
                    self.at += READ_MOST;
                    return self.skip_line();
                }
                return Ok(());
            }
            self.at += length as u64;
            if transcript::is_worth_reading(&line) {
                entries.extend(transcript::read(&line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const ENDED: &str = "{\"type\":\"system\",\"subtype\":\"turn_duration\"}";

    #[test]
    fn a_transcript_is_read_on_by_whole_lines() {
        let home = tempfile::tempdir().unwrap();
        let mut follower = Follower::of(home.path(), "c");
        assert_eq!(follower.read(), [], "there is none yet");
        let folder = home.path().join("projects/-a-folder");
        std::fs::create_dir_all(&folder).unwrap();
        let mut file = File::create(folder.join("c.jsonl")).unwrap();
        write!(file, "{ENDED}\n{{\"type\":\"mode\"}}\nnothing\n{ENDED}").unwrap();
        assert_eq!(follower.read(), [Entry::Ended]);
        assert_eq!(follower.read(), [], "its end is missing");
        writeln!(file).unwrap();
        assert_eq!(follower.read(), [Entry::Ended]);
        assert_eq!(follower.read(), []);
        assert_eq!(Follower::at_end(home.path(), "c").read(), []);
        assert_eq!(Follower::near_end(home.path(), "c").read().len(), 2);
        assert!(follower.is_of("c") && !follower.is_of("d"));
    }

    #[test]
    fn a_long_one_is_taken_up_near_its_end_and_a_line_that_is_too_long_is_passed_over() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("projects/-a-folder");
        std::fs::create_dir_all(&folder).unwrap();
        let mut file = File::create(folder.join("c.jsonl")).unwrap();
        let long = vec![b'x'; usize::try_from(READ_MOST).unwrap() + 5];
        writeln!(file, "{ENDED}").unwrap();
        file.write_all(&long).unwrap();
        writeln!(file, "\n{ENDED}").unwrap();
        assert_eq!(Follower::near_end(home.path(), "c").read(), [Entry::Ended]);
        let mut follower = Follower::of(home.path(), "c");
        let read: Vec<Entry> = (0..4).flat_map(|_| follower.read()).collect();
        assert_eq!(read, [Entry::Ended, Entry::Ended]);
    }
}
