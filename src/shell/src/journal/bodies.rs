//! The words of messages and commands, where they are kept (`--bodies full`): a file beside each segment, in which every
//! body stands once, when it first comes. It goes with its segment, and nothing is ever read from it to go on.

use super::segments;
use relay_runner_core::BodyRef;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Whose words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum BodyOf {
    Message(u64),
    Command(relay_runner_core::Text),
    FirstPrompt(bool),
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    of: &'a BodyOf,
    /// As in the journal's own lines.
    digest: u64,
    body: &'a str,
}

#[derive(Debug)]
pub(super) struct BodyFile {
    path: PathBuf,
    file: Kept,
    written: BTreeSet<(BodyOf, u64)>,
    bytes: u64,
}

#[derive(Debug)]
enum Kept {
    /// Nothing has come yet.
    Nothing,
    Open(File),
    /// It could not be written: the next segment tries again.
    Failed,
}

impl BodyFile {
    /// Beside this segment. Made with the first body.
    pub(super) fn beside(segment: &Path) -> Self {
        Self { path: segments::bodies(segment), file: Kept::Nothing, written: BTreeSet::new(), bytes: 0 }
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Fails once: after that nothing more is written beside this segment.
    pub(super) fn keep(&mut self, of: BodyOf, body: &str) -> Result<(), String> {
        let digest = BodyRef::of(body).digest;
        if matches!(self.file, Kept::Failed) || self.written.contains(&(of.clone(), digest)) {
            return Ok(());
        }
        let written = self.write(&Line { of: &of, digest, body });
        self.written.insert((of, digest));
        written.map_err(|error| {
            self.file = Kept::Failed;
            format!(
                "cannot keep the words of messages in {}: {error}; the run goes on without them",
                self.path.display()
            )
        })
    }

    fn write(&mut self, line: &Line<'_>) -> io::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        if let Kept::Nothing = self.file {
            self.file = Kept::Open(segments::create(&self.path)?);
        }
        if let Kept::Open(file) = &mut self.file {
            file.write_all(text.as_bytes())?;
            self.bytes += text.len() as u64;
        }
        Ok(())
    }
}
