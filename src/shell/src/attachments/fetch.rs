//! Fetching: each file is checked while it comes, under a name of its own, and gets its place when it is whole and right. So
//! whatever has a place was right once; before it is handed out again, that is looked at again.

use super::{AttachedFile, Kept, Place, room, too_large};
use crate::clock;
use crate::http::Relay;
use crate::runner_dir::make_private;
use crate::secret::{hex, random_hex};
use futures_util::{StreamExt, stream};
use ring::digest;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use tokio::fs::OpenOptions;
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
    let response = relay.artifact(id).await?;
    let incoming = Incoming::new(folder)?;
    let (sha256, bytes) = take_in(response, &incoming.0, &wanted).await?;
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
        let is_right = hash_of(&file)? == sha256;
        if is_right {
            // For the next run: what was used last goes last.
            file.set_modified(UNIX_EPOCH + Duration::from_millis(clock::wall()))?;
        }
        Ok(is_right.then_some(about.len()))
    };
    // What cannot be read is fetched again, and that says what is wrong, if anything still is.
    tokio::task::spawn_blocking(look).await.ok()?.ok()?
}

fn hash_of(mut file: &std::fs::File) -> std::io::Result<String> {
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut chunk = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(hex(hash.finish().as_ref()));
        }
        hash.update(&chunk[..read]);
    }
}

/// Checksum and size of what came.
async fn take_in(mut response: reqwest::Response, path: &Path, wanted: &Wanted) -> Result<(String, u64), String> {
    let too_much = || match wanted.size {
        Some(size) => format!("it is larger than the {size} bytes that it has"),
        None => too_large(wanted.most),
    };
    if response.content_length().is_some_and(|length| length > wanted.most) {
        return Err(too_much());
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).await.map_err(not_kept)?;
    let (mut hash, mut bytes) = (digest::Context::new(&digest::SHA256), 0);
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
    fn new(folder: &Path) -> Result<Self, String> {
        let incoming = room::incoming(folder);
        make_private(&incoming).map_err(not_kept)?;
        Ok(Self(incoming.join(random_hex::<8>().map_err(|e| e.to_string())?)))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // An error says that the file has moved on, or was never made.
        let _ = std::fs::remove_file(&self.0);
    }
}
