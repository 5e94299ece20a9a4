//! The folder's room: what lies in it, what is about to, and what goes to make room. Only the loop touches this, so that
//! no two fetches count on the same bytes.

use super::fetch::Wanted;
use super::{Kept, Place, is_sha256};
use crate::clock;
use crate::runner_dir::make_private;
use relay_runner_core::OpId;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use std::{fs, io};

/// What even an empty file takes: so that their number is bounded as well.
const BLOCK: u64 = 4_096;
/// How long a beginning is kept for whoever asks for the rest, in milliseconds: a day.
const BEGUN_MOST: u64 = 24 * 60 * 60 * 1_000;
/// Where downloads lie until they are whole: under their checksums, where those are known before.
const INCOMING: &str = "incoming";

#[derive(Debug)]
pub(super) struct Room {
    folder: PathBuf,
    most: u64,
    /// None until the folder was looked at: an agent without attachments has none.
    files: Option<BTreeMap<Place, Entry>>,
    /// Beginnings of files that an earlier run has left, by their checksums: what they take.
    left: BTreeMap<String, u64>,
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
        Self { folder, most, files: None, left: BTreeMap::new(), reserved: BTreeMap::new(), uses: 0 }
    }

    /// Keeps room for a file until [`Self::fetched`], or says why there is none.
    /// Whoever gets what is left of a file has it alone.
    pub(super) fn reserve(&mut self, op: OpId, wanted: &mut Wanted, in_use: &BTreeSet<&str>) -> Result<(), String> {
        if self.files.is_none() {
            let (found, left) =
                look_into(&self.folder).map_err(|e| format!("the folder of attachments cannot be used: {e}"))?;
            self.uses = found.len() as u64;
            (self.files, self.left) = (Some(found), left);
        }
        let bytes = if self.has(wanted) {
            0
        } else {
            wanted.is_begun = wanted.sha256.as_ref().is_some_and(|sha256| self.left.remove(sha256).is_some());
            cost(wanted.most)
        };
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
        let Self { folder, files: Some(files), left, reserved, .. } = self else { return Ok(()) };
        let reserved_bytes: u64 = reserved.values().map(|reserved| reserved.bytes).sum();
        let mut taken =
            reserved_bytes + left.values().sum::<u64>() + files.values().map(|entry| entry.bytes).sum::<u64>();
        while bytes > 0 && taken + bytes > self.most {
            // A beginning is worth less than a file.
            if let Some((sha256, bytes)) = left.pop_first() {
                remove(&incoming(folder).join(sha256)).map_err(|e| format!("no room can be made for it: {e}"))?;
                taken -= bytes;
                continue;
            }
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

/// The beginnings of files that an earlier run has left: it was killed. Those that nobody has asked for since yesterday,
/// or of which nobody knows what they were to become, are dropped.
fn look_for_begun(incoming: &Path) -> io::Result<BTreeMap<String, u64>> {
    let mut left = BTreeMap::new();
    let entries = match fs::read_dir(incoming) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(left),
        Err(e) => return Err(e),
    };
    let oldest = clock::wall().saturating_sub(BEGUN_MOST);
    for entry in entries {
        let entry = entry?;
        let about = entry.metadata()?;
        let sha256 = entry.file_name().into_string().ok().filter(|name| is_sha256(name));
        let is_new = about.modified()?.duration_since(UNIX_EPOCH).is_ok_and(|at| clock::millis(at) >= oldest);
        match sha256 {
            Some(sha256) if about.is_file() && is_new => {
                left.insert(sha256, cost(about.len()));
            }
            Some(_) | None if about.is_dir() => fs::remove_dir_all(entry.path())?,
            Some(_) | None => fs::remove_file(entry.path())?,
        }
    }
    Ok(left)
}

type Found = (BTreeMap<Place, Entry>, BTreeMap<String, u64>);

/// What an earlier run has left: files, by when they were used, and beginnings of files.
fn look_into(folder: &Path) -> io::Result<Found> {
    make_private(folder)?;
    let left = look_for_begun(&incoming(folder))?;
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
    Ok(((0..).zip(found).map(entry).collect(), left))
}
