//! What can be wrong with a journal on disk: each error names the file, and the way on.

use relay_runner_core::journal::{Damage, ReplayError};
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
    Differs { path: PathBuf, difference: Box<relay_runner_core::journal::Difference>, text: Box<str> },
    #[error("{}: there is no journal here; name a journal's file, its folder, or an agent's state folder", path.display())]
    None { path: PathBuf },
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
                (difference.recorded, difference.today) = around(&difference.recorded, &difference.today);
                let text = ReplayError::Differs(difference.clone()).to_string().into();
                Self::Differs { path: path.to_owned(), difference, text }
            }
            ReplayError::Empty => Self::None { path: path.to_owned() },
        }
    }
}

/// Both sides, near the place where they part: whole cores are long.
fn around(recorded: &str, today: &str) -> (String, String) {
    const WHOLE: usize = 2_000;
    const BEFORE: usize = 200;
    const LENGTH: usize = 600;
    if recorded.len() <= WHOLE && today.len() <= WHOLE {
        return (recorded.to_owned(), today.to_owned());
    }
    let same = recorded.chars().zip(today.chars()).take_while(|(a, b)| a == b).count();
    let part = |text: &str| {
        let part: String = text.chars().skip(same.saturating_sub(BEFORE)).take(LENGTH).collect();
        format!("...{part}...")
    };
    if recorded == today {
        let said = "(the same text: they differ in something that is not written)".to_owned();
        return (said.clone(), said);
    }
    (part(recorded), part(today))
}

#[cfg(test)]
mod tests {
    use super::around;

    #[test]
    fn long_sides_are_shown_where_they_part() {
        let long = "x".repeat(5_000);
        let (recorded, today) = around(&format!("{long}one{long}"), &format!("{long}two{long}"));
        assert!(recorded.contains("one") && today.contains("two") && recorded.len() < 1_000);
        assert_eq!(around("a", "b"), ("a".to_owned(), "b".to_owned()));
        assert!(around(&long, &long).0.contains("same text"));
    }
}
