//! The file for a program's own output. It is a file, not a pipe, so that the program can outlive the runner.

use crate::clock;
use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::future::pending;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;
use tokio::time::interval_at;

/// In the state folder.
pub(crate) const NAME: &str = "provider.log";
/// What the program's own output may take on disk.
const MOST: u64 = 10 * 1024 * 1024;
const LOOKED_AT_EVERY: Duration = Duration::from_mins(1);
/// Where the last words are looked for.
const TAIL: u64 = 8 * 1024;

pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path)?;
    if file.metadata()?.len() > MOST {
        file.set_len(0)?;
    }
    Ok(file)
}

/// Empties the file, where there is one, whenever it has grown too long; never returns by itself.
pub(crate) async fn bound(file: Option<File>) -> Infallible {
    let Some(file) = file else { return pending().await };
    let mut looks = interval_at(clock::after(LOOKED_AT_EVERY), LOOKED_AT_EVERY);
    loop {
        looks.tick().await;
        let emptied = file.metadata().and_then(|is| if is.len() > MOST { file.set_len(0) } else { Ok(()) });
        if let Err(error) = emptied {
            tracing::debug!("the provider's log cannot be bounded: {error}");
        }
    }
}

/// What a program has printed since the file had this length; of much, the end.
pub(crate) fn since(mut file: &File, from: u64) -> io::Result<String> {
    let long = file.metadata()?.len();
    // Emptied meanwhile.
    let from = if from > long { 0 } else { from };
    file.seek(SeekFrom::Start(from.max(long.saturating_sub(TAIL))))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
