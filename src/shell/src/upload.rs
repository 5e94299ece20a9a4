//! A file on its way to the relay, as an artifact that a message can name (protocol 3): looked at once before it goes, so
//! that the relay can check that what came is what was meant.

use crate::secret::hex;
use axum::body::Bytes;
use http_body::{Body, Frame, SizeHint};
use relay_runner_protocol::http::{IDEMPOTENCY_HEADER, checked_upload};
use relay_runner_protocol::message::Attachment;
use reqwest::header::CONTENT_TYPE;
use ring::digest;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

/// Bytes of one file (behaviour 13): 64 MiB.
pub(crate) const FILE_MOST: u64 = 64 << 20;
/// Bytes in memory at a time.
const CHUNK: usize = 64 << 10;
/// Characters of a name.
const NAME_MOST: usize = 255;

/// Media types by the ending of a name. What is not here is bytes.
const TYPES: [(&str, &str); 16] = [
    ("csv", "text/csv"),
    ("diff", "text/x-diff"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("md", "text/markdown"),
    ("patch", "text/x-diff"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain"),
    ("zip", "application/zip"),
];

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is not a file", path.display())]
    NoFile { path: PathBuf },
    #[error("{} has {bytes} bytes; a file that goes with a message has at most {FILE_MOST}", path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
}

/// A file that is to be sent, as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    path: PathBuf,
    pub name: String,
    pub media_type: &'static str,
    pub size: u64,
    /// In lower-case hexadecimal digits.
    pub sha256: String,
}

impl Outgoing {
    /// Looks at a file: at most 64 MiB, and nothing but a file, since reading from a pipe may never end.
    pub async fn look(path: &Path) -> Result<Self, FileError> {
        let at = path.to_owned();
        let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
        tokio::task::spawn_blocking(move || look(at)).await.map_err(|error| unreadable(io::Error::other(error)))?
    }

    /// The request that sends it. `base` is the relay's URL; the relay's token is the caller's to add.
    pub async fn request(
        &self,
        client: &reqwest::Client,
        base: &str,
        key: &str,
    ) -> Result<reqwest::RequestBuilder, String> {
        let file = tokio::fs::File::open(&self.path)
            .await
            .map_err(|error| format!("cannot read {}: {error}", self.path.display()))?;
        Ok(client
            .post(format!("{base}{}", checked_upload(&self.name, &self.sha256)))
            .header(IDEMPOTENCY_HEADER, key)
            .header(CONTENT_TYPE, self.media_type)
            .body(reqwest::Body::wrap(Content::of(file, self.size))))
    }

    /// Whether this is what the relay says it has.
    pub fn is(&self, artifact: &Attachment) -> bool {
        artifact.size == self.size && artifact.sha256.eq_ignore_ascii_case(&self.sha256)
    }
}

fn look(path: PathBuf) -> Result<Outgoing, FileError> {
    let looked = (|| {
        let about = std::fs::metadata(&path)?;
        if !about.is_file() || about.len() > FILE_MOST {
            return Ok((about, None));
        }
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut file = std::fs::File::open(&path)?.take(FILE_MOST + 1);
        let (mut chunk, mut size) = (vec![0; CHUNK], 0);
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok((about, Some((hex(hash.finish().as_ref()), size)))),
                read => {
                    size += read as u64;
                    hash.update(&chunk[..read]);
                }
            }
        }
    })();
    let (about, content) = match looked {
        Ok(looked) => looked,
        Err(source) => return Err(FileError::Unreadable { path, source }),
    };
    match content {
        _ if !about.is_file() => Err(FileError::NoFile { path }),
        Some((sha256, size)) if size <= FILE_MOST => {
            Ok(Outgoing { name: name(&path), media_type: media_type(&path), size, sha256, path })
        }
        Some((_, bytes)) => Err(FileError::TooLarge { path, bytes }),
        None => Err(FileError::TooLarge { bytes: about.len(), path }),
    }
}

/// As a relay takes it.
fn name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let plain: String = name.chars().map(|c| if c.is_control() { '_' } else { c }).take(NAME_MOST).collect();
    if plain.is_empty() { "file".to_owned() } else { plain }
}

fn media_type(path: &Path) -> &'static str {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    TYPES.iter().find(|(known, _)| *known == ending).map_or("application/octet-stream", |(_, kind)| kind)
}

/// The bytes of a file as a request's body: read as they go.
struct Content {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    rest: u64,
}

impl Content {
    /// Of so many bytes. A file that has become shorter breaks the request off.
    fn of(file: tokio::fs::File, size: u64) -> Self {
        let (to, chunks) = mpsc::channel(2);
        // It ends with the request: nobody takes the next chunk then.
        tokio::spawn(async move {
            let mut file = file.take(size);
            let mut rest = size;
            while rest > 0 {
                let mut chunk = Vec::with_capacity(CHUNK);
                let read = (&mut file).take(CHUNK as u64).read_to_end(&mut chunk).await;
                let chunk = match read {
                    Ok(0) => Err(io::Error::other("the file has become shorter while it was sent")),
                    Ok(read) => {
                        rest -= read as u64;
                        Ok(chunk.into())
                    }
                    Err(error) => Err(error),
                };
                let failed = chunk.is_err();
                if to.send(chunk).await.is_err() || failed {
                    return;
                }
            }
        });
        Self { chunks, rest: size }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.chunks.poll_recv(cx).map(|chunk| {
            Some(chunk?.map(|bytes| {
                self.rest = self.rest.saturating_sub(bytes.len() as u64);
                Frame::data(bytes)
            }))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_looked_at_whole_before_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a\u{7}.TXT");
        std::fs::write(&path, "abc").unwrap();
        let file = Outgoing::look(&path).await.unwrap();
        assert_eq!((&*file.name, file.media_type, file.size), ("a_.TXT", "text/plain", 3));
        assert_eq!(file.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[tokio::test]
    async fn what_is_no_file_or_too_large_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let look = async |name: &str| Outgoing::look(&dir.path().join(name)).await.unwrap_err();
        assert!(matches!(look("none").await, FileError::Unreadable { .. }));
        assert!(matches!(look(".").await, FileError::NoFile { .. }));
        let pipe = std::process::Command::new("mkfifo").arg(dir.path().join("pipe")).status().unwrap();
        assert!(pipe.success());
        assert!(matches!(look("pipe").await, FileError::NoFile { .. }));
        // A sparse file takes no room.
        let large = std::fs::File::create(dir.path().join("large")).unwrap();
        large.set_len(FILE_MOST + 1).unwrap();
        assert!(matches!(look("large").await, FileError::TooLarge { bytes, .. } if bytes == FILE_MOST + 1));
    }
}
