//! The file that a runner writes its diagnostics into while its provider has the terminal (behaviour 16).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What one file may take, in bytes.
const MOST: u64 = 10 * 1024 * 1024;
/// Files that are kept besides the one that is written: `.1` is the newest.
const KEPT: u32 = 3;

/// Nothing that goes wrong here keeps the runner from its work: what cannot be written is lost.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    /// None: it could not be opened.
    file: Option<File>,
    len: u64,
    most: u64,
}

impl LogFile {
    /// Goes on where an earlier run ended. With an error, all that is written is lost.
    pub(crate) fn open(path: PathBuf) -> (Self, Option<io::Error>) {
        Self::with_most(path, MOST)
    }

    fn with_most(path: PathBuf, most: u64) -> (Self, Option<io::Error>) {
        let opened = opened(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (len, file, error) = match opened {
            Ok((len, file)) => (len, Some(file), None),
            Err(error) => (0, None, Some(error)),
        };
        (Self { path, file, len, most }, error)
    }

    /// An entry, whole.
    pub(crate) fn write(&mut self, entry: &[u8]) {
        let long = u64::try_from(entry.len()).unwrap_or(u64::MAX);
        if self.len > 0 && self.len.saturating_add(long) > self.most {
            self.rotate();
        }
        if self.file.as_mut().is_some_and(|file| file.write_all(entry).is_ok()) {
            self.len = self.len.saturating_add(long);
        }
    }

    fn rotate(&mut self) {
        for nth in (1..KEPT).rev() {
            // Most of them are not there.
            let _ = fs::rename(numbered(&self.path, nth), numbered(&self.path, nth + 1));
        }
        let moved = fs::rename(&self.path, numbered(&self.path, 1)).and_then(|()| opened(&self.path));
        match moved {
            Ok(file) => self.file = Some(file),
            // Bounded all the same.
            Err(_) if self.file.as_ref().is_some_and(|file| file.set_len(0).is_ok()) => {}
            Err(_) => return,
        }
        self.len = 0;
    }
}

fn opened(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn numbered(path: &Path, nth: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{nth}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_full_makes_room_and_three_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runner-a1.log");
        let mut log = LogFile::with_most(path.clone(), 10).0;
        for entry in ["one 56789\n", "two 56789\n", "three\n", "four\n", "five\n", "six 56789\n", "seven and more\n"] {
            log.write(entry.as_bytes());
        }
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(read(&path), "seven and more\n");
        let kept = [1, 2, 3].map(|nth| read(&numbered(&path, nth)));
        assert_eq!(kept, ["six 56789\n", "four\nfive\n", "three\n"], "the newest first");
        assert!(!numbered(&path, 4).exists());
        // Another run goes on with it.
        let mut log = LogFile::with_most(path.clone(), 100).0;
        log.write(b"eight\n");
        assert_eq!(read(&path), "seven and more\neight\n");
    }

    #[test]
    fn one_that_cannot_be_moved_is_bounded_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runner-a1.log");
        let mut log = LogFile::with_most(path.clone(), 10).0;
        log.write(b"one 56789\n");
        // Somebody has put a folder there.
        fs::create_dir_all(numbered(&path, 1).join("full")).unwrap();
        log.write(b"two\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn what_cannot_be_written_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("logs"), "no folder").unwrap();
        let (mut log, error) = LogFile::open(folder.path().join("logs/runner-a1.log"));
        assert!(error.is_some());
        log.write(b"one\n");
        assert_eq!(fs::read_to_string(folder.path().join("logs")).unwrap(), "no folder");
    }
}
