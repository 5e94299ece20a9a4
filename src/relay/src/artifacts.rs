//! The bytes of artifacts: files named by their SHA-256, in a folder beside the database.
//!
//! What is uploaded is written under a name of its own, and gets its place when it is whole, so that whatever has a place
//! is complete. Which artifacts there are says the database; a file without a row is found again when the same content is
//! uploaded. Nothing is touched before the first upload.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use futures_util::StreamExt;
use ring::digest;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use tokio::time::timeout;

use crate::clock;
use crate::refusal::{Refusal, Result};
use crate::store::random_id;
use crate::token::hex;

/// A client that sends nothing for so long has gone.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(crate) struct Artifacts {
    folder: PathBuf,
    /// The folder is ours alone, and goes when the relay does.
    temporary: bool,
    ready: OnceCell<()>,
    /// Held while a file and its row appear or disappear together.
    gate: Mutex<()>,
}

/// An upload that has come whole, and has no place yet.
#[derive(Debug)]
pub(crate) struct Upload {
    file: Incoming,
    pub(crate) sha256: String,
    pub(crate) size: u64,
}

/// A file on its way in. It goes when this does, unless it has got its place.
#[derive(Debug)]
struct Incoming(PathBuf);

impl Drop for Incoming {
    fn drop(&mut self) {
        // An error says that the file has moved on, or was never made.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Artifacts {
    /// Beside the database, or in the system's folder for temporary files when the database is in memory.
    pub(crate) fn beside(db: Option<&Path>) -> Self {
        let (folder, temporary) = match db {
            Some(db) => {
                let mut folder = db.as_os_str().to_owned();
                folder.push(".artifacts");
                (folder.into(), false)
            }
            None => {
                (std::env::temp_dir().join(format!("relay-artifacts-{}-{}", std::process::id(), clock::now())), true)
            }
        };
        Self { folder, temporary, ready: OnceCell::new(), gate: Mutex::new(()) }
    }

    /// Takes an upload in, up to `most` bytes.
    pub(crate) async fn receive(&self, body: Body, most: u64) -> Result<Upload> {
        self.ready.get_or_try_init(|| self.prepare()).await.map_err(failed)?;
        let file = Incoming(self.incoming().join(random_id()?));
        let (sha256, size) = write(body, &file.0, most).await?;
        Ok(Upload { file, sha256, size })
    }

    async fn prepare(&self) -> io::Result<()> {
        // What a predecessor left unfinished.
        match fs::remove_dir_all(self.incoming()).await {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut private = fs::DirBuilder::new();
        private.recursive(true);
        #[cfg(unix)]
        private.mode(0o700);
        private.create(self.incoming()).await
    }

    /// While this is held, no file and no row of an artifact comes or goes by anybody else.
    pub(crate) async fn alone(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().await
    }

    /// Gives an upload its place. The same content may be there already: then it is the same file.
    pub(crate) async fn place(&self, upload: &Upload) -> Result<()> {
        fs::rename(&upload.file.0, self.file(&upload.sha256)).await.map_err(failed)
    }

    /// None: the file is gone, whoever took it away.
    pub(crate) async fn open(&self, sha256: &str) -> Result<Option<File>> {
        match File::open(self.file(sha256)).await {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(e)),
        }
    }

    pub(crate) async fn remove(&self, sha256: &str) {
        if let Err(error) = fs::remove_file(self.file(sha256)).await {
            tracing::warn!(%error, sha256, "the file of an artifact stays, though nobody needs it any more");
        }
    }

    fn incoming(&self) -> PathBuf {
        self.folder.join("incoming")
    }

    fn file(&self, sha256: &str) -> PathBuf {
        self.folder.join(sha256)
    }
}

impl Drop for Artifacts {
    fn drop(&mut self) {
        if self.temporary && self.ready.initialized() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// The SHA-256 and the size of what was written.
async fn write(body: Body, path: &Path, most: u64) -> Result<(String, u64)> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    let mut file = options.open(path).await.map_err(failed)?;
    let mut chunks = body.into_data_stream();
    let (mut hash, mut size) = (digest::Context::new(&digest::SHA256), 0);
    while let Some(chunk) = next(&mut chunks).await? {
        size += chunk.len() as u64;
        if size > most {
            return Err(too_large(most));
        }
        hash.update(&chunk);
        file.write_all(&chunk).await.map_err(failed)?;
    }
    // Its name promises the content: after a power cut as well.
    file.sync_all().await.map_err(failed)?;
    Ok((hex(hash.finish().as_ref()), size))
}

async fn next(chunks: &mut axum::body::BodyDataStream) -> Result<Option<Bytes>> {
    let chunk = timeout(PATIENCE, chunks.next()).await.map_err(|_| {
        Refusal::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "the upload stood still for a minute; send it again")
    })?;
    chunk.transpose().map_err(|e| Refusal::invalid(format!("the upload broke off: {e}")))
}

pub(crate) fn too_large(most: u64) -> Refusal {
    let message = format!("an artifact has at most {most} bytes");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` calls")]
fn failed(error: io::Error) -> Refusal {
    Refusal::internal(format_args!("the folder of artifacts: {error}"))
}
