//! The folder's room: what lies in it, what is about to, and what goes to make room. Only the loop touches this, so that
//! no two fetches count on the same bytes.

use super::fetch::Wanted;
use super::{Kept, Place, is_sha256};
use crate::runner_dir::make_private;
use relay_runner_core::OpId;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What even an empty file takes: so that their number is bounded as well.
const BLOCK: u64 = 4_096;
/// Where downloads lie until they are whole.
const INCOMING: &str = "incoming";

#[derive(Debug)]
pub(super) struct Room {
    folder: PathBuf,
    most: u64,
    /// None until the folder was looked at: an agent without attachments has none.
    files: Option<BTreeMap<Place, Entry>>,
    reserved: BTreeMap<OpId, Reserved>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    bytes: u64,
    /// Larger: used later.
    used: u64,
}

/// What a fetch under way counts on.
#[derive(Debug, Default)]
struct Reserved {
    bytes: u64,
    contents: BTreeSet<String>,
}

impl Room {
    pub(super) fn new(folder: PathBuf, most: u64) -> Self {
        Self { folder, most, files: None, reserved: BTreeMap::new(), uses: 0 }
    }

    /// Keeps room for a file until [`Self::fetched`], or says why there is none.
    pub(super) fn reserve(&mut self, op: OpId, wanted: &Wanted, in_use: &BTreeSet<&str>) -> Result<(), String> {
        if self.files.is_none() {
            let found =
                look_into(&self.folder).map_err(|e| format!("the folder of attachments cannot be used: {e}"))?;
            self.uses = found.len() as u64;
            self.files = Some(found);
        }
        let bytes = if self.has(wanted) { 0 } else { cost(wanted.most) };
        self.make_room(bytes, wanted, in_use)?;
        let reserved = self.reserved.entry(op).or_default();
        reserved.bytes += bytes;
        reserved.contents.extend(wanted.sha256.clone());
        Ok(())
    }

    /// The fetch is over, and these are there.
    pub(super) fn fetched<'a>(&mut self, op: OpId, kept: impl Iterator<Item = &'a Kept>) {
        self.reserved.remove(&op);
        let Some(files) = &mut self.files else { return };
        for file in kept {
            self.uses += 1;
            files.insert(file.place.clone(), Entry { bytes: cost(file.bytes), used: self.uses });
        }
    }

    fn has(&self, wanted: &Wanted) -> bool {
        let (Some(place), Some(files)) = (wanted.place(), &self.files) else { return false };
        files.get(&place).is_some_and(|entry| wanted.size.is_none_or(|size| cost(size) == entry.bytes))
    }

    fn make_room(&mut self, bytes: u64, wanted: &Wanted, in_use: &BTreeSet<&str>) -> Result<(), String> {
        let Self { folder, files: Some(files), reserved, .. } = self else { return Ok(()) };
        let reserved_bytes: u64 = reserved.values().map(|reserved| reserved.bytes).sum();
        let mut taken = reserved_bytes + files.values().map(|entry| entry.bytes).sum::<u64>();
        while bytes > 0 && taken + bytes > self.most {
            let is_free = |place: &Place| {
                let sha256 = &place.sha256;
                wanted.sha256.as_ref() != Some(sha256)
                    && !in_use.contains(&**sha256)
                    && !reserved.values().any(|reserved| reserved.contents.contains(sha256))
            };
            let oldest = files.iter().filter(|(place, _)| is_free(place)).min_by_key(|(_, entry)| entry.used);
            let Some(oldest) = oldest.map(|(place, _)| place.clone()) else {
                return Err("there is no room for it: the attachments of messages at work take all of it".to_owned());
            };
            remove(&oldest.within(folder)).map_err(|e| format!("no room can be made for it: {e}"))?;
            taken -= files.remove(&oldest).map_or(0, |entry| entry.bytes);
        }
        Ok(())
    }
}

/// What a file of so many bytes is counted as.
fn cost(bytes: u64) -> u64 {
    bytes.max(BLOCK)
}

pub(super) fn incoming(folder: &Path) -> PathBuf {
    folder.join(INCOMING)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    if let Some(folder) = file.parent() {
        // It stays when it holds the same content under another name.
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

/// What an earlier run has left, by when it was used; downloads that it did not finish are dropped.
fn look_into(folder: &Path) -> io::Result<BTreeMap<Place, Entry>> {
    make_private(folder)?;
    match fs::remove_dir_all(incoming(folder)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let mut found = Vec::new();
    for content in fs::read_dir(folder)? {
        let content = content?;
        // Whatever else lies here is not ours to count, or to remove.
        let Some(sha256) = content.file_name().into_string().ok().filter(|name| is_sha256(name)) else { continue };
        if !content.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(content.path())? {
            let file = file?;
            let (Ok(name), about) = (file.file_name().into_string(), file.metadata()?) else { continue };
            if about.is_file() {
                found.push((about.modified()?, Place { sha256: sha256.clone(), name }, about.len()));
            }
        }
    }
    found.sort();
    let entry = |(n, (_, place, bytes))| (place, Entry { bytes: cost(bytes), used: n });
    Ok((0..).zip(found).map(entry).collect())
}
