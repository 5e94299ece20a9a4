//! What can be wrong with a journal on disk: each error names the file, and the way on.

use relay_runner_core::journal::{ChangeError, Damage, Difference, ReplayError};
use relay_runner_core::time::Wall;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot {doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{}, line {line}: {damage}", path.display())]
    Damaged { path: PathBuf, line: u64, damage: Damage },
    #[error(
        "{}, {text}\nThis program does not do what the recorded one did: it is another version (the journal's first line names the one that wrote it), or the journal was changed",
        path.display()
    )]
    Differs { path: PathBuf, difference: Box<Difference>, text: Box<str> },
    #[error(
        "{} is of the agent `{theirs}`, and this is `{ours}`; give this one a state folder of its own (--state-dir), or the id of that one (--agent-id)",
        path.display()
    )]
    OtherAgent { path: PathBuf, theirs: String, ours: String },
    #[error("{}: there is no journal here; name a journal's file, its folder, or an agent's state folder", path.display())]
    None { path: PathBuf },
    #[error(
        "{} is missing: {} goes on where it ended. Nothing can be run across the gap: name files on one side of it, or bring it back",
        missing.display(), behind.display()
    )]
    Gap { missing: PathBuf, behind: PathBuf },
    #[error("{}: {why}", path.display())]
    NoSuch { path: PathBuf, asked: Asked, why: String },
    #[error(
        "{}: the time that is asked for comes before run {run}, which begins at {begins} ms since 1970",
        path.display()
    )]
    TooEarly { path: PathBuf, run: u64, begins: Wall },
    /// Of the changes that a what-if is about.
    #[error(transparent)]
    Change(ChangeError),
}

/// What was asked for in a journal, and is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Run,
    Record,
}

impl JournalError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// An error of the core's replay, whose lines are counted over all that it was given; `line` turns such a number
    /// into one of this file.
    pub(crate) fn replay(path: &Path, error: ReplayError, line: impl Fn(u64) -> u64) -> Self {
        match error {
            ReplayError::Damaged(at, damage) => Self::Damaged { path: path.to_owned(), line: line(at), damage },
            ReplayError::Differs(mut difference) => {
                difference.line = line(difference.line);
                let text = ReplayError::Differs(difference.clone()).to_string().into();
                Self::Differs { path: path.to_owned(), difference, text }
            }
            ReplayError::Empty => Self::None { path: path.to_owned() },
        }
    }
}
