//! Fetching: each file is checked while it comes, under a name of its own, and gets its place when it is whole and right. So
//! whatever has a place was right once; before it is handed out again, that is looked at again.

use super::{AttachedFile, Kept, Place, room, too_large};
use crate::clock;
use crate::http::Relay;
use crate::runner_dir::make_private;
use crate::secret::{hex, random_hex};
use futures_util::{StreamExt, stream};
use reqwest::StatusCode;
use reqwest::header::CONTENT_RANGE;
use ring::digest;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

/// Files of one message on their way at a time.
const AT_A_TIME: usize = 4;

/// What is to be done for one message's attachments.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) folder: PathBuf,
    /// By their ids; or why one cannot be had.
    pub(super) wanted: Vec<(String, Result<Wanted, String>)>,
}

/// A file to be fetched, as far as it is known before.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(super) sha256: Option<String>,
    pub(super) size: Option<u64>,
    /// Bytes that are taken at most.
    pub(super) most: u64,
    /// Safe.
    pub(super) name: String,
    /// An earlier run has left the beginning of it, which is this fetch's alone.
    pub(super) is_begun: bool,
}

impl Wanted {
    pub(super) fn place(&self) -> Option<Place> {
        self.sha256.clone().map(|sha256| Place { sha256, name: self.name.clone() })
    }
}

impl Plan {
    /// In the order of the message. What is not there at the deadline is given up.
    pub(crate) async fn carry_out(self, relay: Relay, deadline: Instant) -> Vec<AttachedFile> {
        let began = Instant::now();
        let Self { folder, wanted } = self;
        let files = stream::iter(wanted).map(|(id, wanted)| {
            let (relay, folder) = (relay.clone(), folder.clone());
            async move {
                let kept = match wanted {
                    Ok(wanted) => match tokio::time::timeout_at(deadline, get(&relay, &folder, &id, wanted)).await {
                        Ok(kept) => kept,
                        Err(_) => Err(format!("it did not come within {} s", (deadline - began).as_secs().max(1))),
                    },
                    Err(why) => Err(why),
                };
                AttachedFile { id, kept }
            }
        });
        files.buffered(AT_A_TIME).collect().await
    }
}

async fn get(relay: &Relay, folder: &Path, id: &str, wanted: Wanted) -> Result<Kept, String> {
    if let Some(place) = wanted.place()
        && let Some(bytes) = at_hand(place.within(folder), &wanted).await
    {
        return kept(folder, place, bytes);
    }
    let rest = if wanted.is_begun { the_rest(relay, folder, id, &wanted).await } else { None };
    let Fetched { incoming, sha256, bytes } = match rest {
        Some(whole) => whole,
        None => from_the_start(relay, folder, id, &wanted).await?,
    };
    if wanted.size.is_some_and(|size| size != bytes) {
        return Err(format!("{bytes} bytes came, not the {} that it has", wanted.most));
    }
    if wanted.sha256.as_ref().is_some_and(|said| *said != sha256) {
        return Err("what came has another checksum".to_owned());
    }
    let place = Place { sha256, name: wanted.name };
    let path = place.within(folder);
    // Nothing is awaited from here on: what has got its place is counted, whatever the deadline says.
    path.parent().map_or(Ok(()), make_private).and_then(|()| std::fs::rename(&incoming.0, &path)).map_err(not_kept)?;
    kept(folder, place, bytes)
}

fn kept(folder: &Path, place: Place, bytes: u64) -> Result<Kept, String> {
    match place.within(folder).into_os_string().into_string() {
        Ok(path) => Ok(Kept { place, path, bytes }),
        Err(_) => Err("its path in the state folder cannot be written as text".to_owned()),
    }
}

/// The size of a file that is there already, and still what it was.
async fn at_hand(path: PathBuf, wanted: &Wanted) -> Option<u64> {
    let (sha256, size) = (wanted.sha256.clone()?, wanted.size);
    let look = move || -> std::io::Result<Option<u64>> {
        let about = std::fs::symlink_metadata(&path)?;
        if !about.is_file() || size.is_some_and(|size| size != about.len()) {
            return Ok(None);
        }
        let file = std::fs::File::open(&path)?;
        let is_right = hex(digest_of(&file)?.0.finish().as_ref()) == sha256;
        if is_right {
            // For the next run: what was used last goes last.
            file.set_modified(UNIX_EPOCH + Duration::from_millis(clock::wall()))?;
        }
        Ok(is_right.then_some(about.len()))
    };
    // What cannot be read is fetched again, and that says what is wrong, if anything still is.
    tokio::task::spawn_blocking(look).await.ok()?.ok()?
}

fn digest_of(mut file: &std::fs::File) -> std::io::Result<(digest::Context, u64)> {
    let mut hash = digest::Context::new(&digest::SHA256);
    let (mut chunk, mut bytes) = (vec![0; 1 << 16], 0);
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok((hash, bytes));
        }
        bytes += read as u64;
        hash.update(&chunk[..read]);
    }
}

/// A file that has come, and has no place yet.
struct Fetched {
    incoming: Incoming,
    sha256: String,
    bytes: u64,
}

/// What has come of a file so far.
struct Part {
    file: File,
    hash: digest::Context,
    bytes: u64,
}

async fn from_the_start(relay: &Relay, folder: &Path, id: &str, wanted: &Wanted) -> Result<Fetched, String> {
    let response = relay.artifact(id).await?;
    let (incoming, file) = Incoming::new(folder, wanted.sha256.as_deref())?;
    let part = Part { file: File::from_std(file), hash: digest::Context::new(&digest::SHA256), bytes: 0 };
    let (sha256, bytes) = take_in(response, part, wanted).await?;
    Ok(Fetched { incoming, sha256, bytes })
}

/// Goes on where an earlier run was killed. None: that cannot be done, or what came of it is not what was attached; then
/// the beginning is dropped, and all of it is fetched.
async fn the_rest(relay: &Relay, folder: &Path, id: &str, wanted: &Wanted) -> Option<Fetched> {
    let said = wanted.sha256.as_deref()?;
    let incoming = Incoming(room::incoming(folder).join(said));
    let path = incoming.0.clone();
    let begun = move || -> std::io::Result<Part> {
        let file = std::fs::OpenOptions::new().read(true).append(true).open(path)?;
        let (hash, bytes) = digest_of(&file)?;
        Ok(Part { file: File::from_std(file), hash, bytes })
    };
    let part = tokio::task::spawn_blocking(begun).await.ok()?.ok()?;
    // All of it may have come; only its place was missing.
    let (sha256, bytes) = if wanted.size == Some(part.bytes) {
        (hex(part.hash.finish().as_ref()), part.bytes)
    } else {
        let response = relay.artifact_from(id, part.bytes).await.ok()?;
        let begins = format!("bytes {}-", part.bytes);
        let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
        if response.status() != StatusCode::PARTIAL_CONTENT || !range.is_some_and(|range| range.starts_with(&begins)) {
            return None;
        }
        take_in(response, part, wanted).await.ok()?
    };
    (sha256 == said).then_some(Fetched { incoming, sha256, bytes })
}

/// Checksum and size of what is there with what comes.
async fn take_in(mut response: reqwest::Response, part: Part, wanted: &Wanted) -> Result<(String, u64), String> {
    let Part { mut file, mut hash, mut bytes } = part;
    let too_much = || match wanted.size {
        Some(size) => format!("it is larger than the {size} bytes that it has"),
        None => too_large(wanted.most),
    };
    if response.content_length().is_some_and(|length| bytes.saturating_add(length) > wanted.most) {
        return Err(too_much());
    }
    while let Some(chunk) =
        response.chunk().await.map_err(|e| format!("it broke off: {}", crate::causes(&e.without_url())))?
    {
        bytes += chunk.len() as u64;
        if bytes > wanted.most {
            return Err(too_much());
        }
        hash.update(&chunk);
        file.write_all(&chunk).await.map_err(not_kept)?;
    }
    // Not synced: a file that a power cut has spoilt is found out before it is used again.
    file.flush().await.map_err(not_kept)?;
    Ok((hex(hash.finish().as_ref()), bytes))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` calls")]
fn not_kept(error: std::io::Error) -> String {
    format!("it cannot be written to the state folder: {error}")
}

/// A file on its way in. It goes when this does, unless it has got its place.
#[derive(Debug)]
struct Incoming(PathBuf);

impl Incoming {
    /// A new file. Under its checksum, so that a later run knows what it was to become; but one that has that name already
    /// is somebody else's, who fetches the same.
    fn new(folder: &Path, sha256: Option<&str>) -> Result<(Self, std::fs::File), String> {
        let incoming = room::incoming(folder);
        make_private(&incoming).map_err(not_kept)?;
        let open = |name: &str| {
            let path = incoming.join(name);
            let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            Ok::<_, std::io::Error>((Self(path), file))
        };
        match sha256.map(open) {
            Some(Ok(begun)) => return Ok(begun),
            Some(Err(error)) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(not_kept(error)),
            Some(Err(_)) | None => {}
        }
        open(&random_hex::<8>().map_err(|e| e.to_string())?).map_err(not_kept)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // An error says that the file has moved on, or was never made.
        let _ = std::fs::remove_file(&self.0);
    }
}
