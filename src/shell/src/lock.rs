//! One runner per state folder: an exclusive lock on the file `lock` in it, which holds the owner's process id.
//!
//! The lock goes with the process, however it ends; the file stays.

use crate::error::StartError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Held as long as the runner lives.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

/// A process that is just being started has a copy of the open file until it becomes the other program; giving the lock
/// up by name does not wait for that.
impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::warn!("the lock of the state folder cannot be given up before the process ends: {error}");
        }
    }
}

impl Lock {
    pub(crate) fn take(state_dir: &Path) -> Result<Self, StartError> {
        let path = state_dir.join("lock");
        let failed = |source| StartError::StateDir { doing: "lock", path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StartError::Locked { state_dir: state_dir.to_owned(), owner: owner(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { file })
    }
}

fn owner(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    // Only for the error's words: without the number they still say what is wrong.
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_runner_is_refused_and_told_by_whom() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path()).unwrap();
        let refused = Lock::take(dir.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        Lock::take(dir.path()).unwrap();
    }
}
