//! A plugin's files in a place: put there, brought up to date, taken away. What was put there is noted beside it, with a hash
//! of each file, so that what somebody else wrote or changed is known and kept.

use super::{File, PluginError, files};
use crate::info::write_whole;
use crate::profile::Provider;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

/// What was put there.
const MANIFEST: &str = ".relay-runner-plugin.json";
const START_IT: &str = "start the provider once, make the folder, or name another one";
const CHANGED: &str = "somebody changed it, or put it there; --force writes over it";
const CHANGED_SINCE: &str = "somebody changed it; --force removes it";
const LINKED: &str = "a link is in its place";
const NO_FILE: &str = "it is no plain file";

#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// Also what somebody changed.
    pub force: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    Write,
    Replace,
    Remove,
    /// Nothing was done to it, though it is not as it should be.
    Keep,
}

/// What is done, or would be, to one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Action {
    pub what: What,
    /// Within the place.
    pub path: String,
    /// Why it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
}

impl Action {
    fn new(what: What, path: &str) -> Self {
        Self { what, path: path.to_owned(), why: None }
    }

    fn keep(path: &str, why: &'static str) -> Self {
        Self { what: What::Keep, path: path.to_owned(), why: Some(why) }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Manifest {
    provider: String,
    /// Of the program that wrote it; for people.
    version: String,
    /// The hash of each file as it was written.
    files: BTreeMap<String, String>,
    /// Made for these files, and no longer needed without them.
    folders: BTreeSet<String>,
}

/// Puts a provider's files into a folder that is there, and takes away those that an earlier version put there and this one
/// does not have. Gives what was done; nothing when all stands. What somebody changed, or put there first, is kept without
/// `force`; a skill whose folder is a link always is.
///
/// # Errors
/// When the place is missing or not to be written, when a folder in it is a link, and when its manifest cannot be understood.
pub fn install(dir: &Path, provider: Provider, program: &Path, how: How) -> Result<Vec<Action>, PluginError> {
    put_all(dir, provider, &files(provider, program), how)
}

/// The same with other files than those of a home.
pub(super) fn put_all(dir: &Path, provider: Provider, wanted: &[File], how: How) -> Result<Vec<Action>, PluginError> {
    is_folder(dir)?;
    let known = read(dir, how.force)?;
    let mut next = Manifest {
        provider: provider.name().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        files: BTreeMap::new(),
        folders: known.folders.clone(),
    };
    let mut actions = Vec::new();
    for file in wanted {
        let (action, is_ours) = planned(dir, file, &known, how.force)?;
        if is_ours {
            next.files.insert(file.path.to_owned(), hash(file.text.as_bytes()));
        } else if let Some(hash) = known.files.get(file.path) {
            next.files.insert(file.path.to_owned(), hash.clone());
        }
        actions.extend(action);
    }
    for (path, hash) in known.files.iter().filter(|(path, _)| !wanted.iter().any(|file| file.path == path.as_str())) {
        let action = leaving(dir, path, hash, how.force)?;
        if action.as_ref().is_some_and(|action| action.what == What::Keep) {
            next.files.insert(path.clone(), hash.clone());
        }
        actions.extend(action);
    }
    if how.dry_run {
        return Ok(actions);
    }
    for action in &actions {
        match action.what {
            What::Write | What::Replace => {
                let file = wanted.iter().find(|file| file.path == action.path);
                file.map_or(Ok(()), |file| put(dir, file, &mut next.folders))?;
            }
            What::Remove => take_away(dir, &action.path)?,
            What::Keep => {}
        }
    }
    leave_folders(dir, &mut next);
    if next != known {
        note(dir, &next)?;
    }
    Ok(actions)
}

/// Takes away what [`install`] put there, and the folders that were made for it when nothing else is in them.
///
/// # Errors
/// As [`install`].
pub fn uninstall(dir: &Path, how: How) -> Result<Vec<Action>, PluginError> {
    is_folder(dir)?;
    let known = read(dir, how.force)?;
    let mut next = Manifest { files: BTreeMap::new(), ..known.clone() };
    let mut actions = Vec::new();
    for (path, hash) in &known.files {
        let action = leaving(dir, path, hash, how.force)?;
        if action.as_ref().is_some_and(|action| action.what == What::Keep) {
            next.files.insert(path.clone(), hash.clone());
        }
        actions.extend(action);
    }
    if how.dry_run {
        return Ok(actions);
    }
    for action in actions.iter().filter(|action| action.what == What::Remove) {
        take_away(dir, &action.path)?;
    }
    leave_folders(dir, &mut next);
    if !next.files.is_empty() {
        note(dir, &next)?;
    } else if is_installed(dir) {
        take_away(dir, MANIFEST)?;
    }
    Ok(actions)
}

/// Whether something was put there by [`install`], of whatever version.
pub(super) fn is_installed(dir: &Path) -> bool {
    dir.join(MANIFEST).is_file()
}

/// What has to be done to one file, and whether it is ours afterwards.
fn planned(dir: &Path, file: &File, known: &Manifest, force: bool) -> Result<(Option<Action>, bool), PluginError> {
    if !is_reached(dir, file.path)? {
        return Ok((Some(Action::keep(file.path, LINKED)), false));
    }
    Ok(match there(&dir.join(file.path))? {
        There::Nothing => (Some(Action::new(What::Write, file.path)), true),
        There::File(hashed) if hashed == hash(file.text.as_bytes()) => (None, true),
        There::File(hashed) if force || known.files.get(file.path) == Some(&hashed) => {
            (Some(Action::new(What::Replace, file.path)), true)
        }
        There::File(_) => (Some(Action::keep(file.path, CHANGED)), false),
        // The link goes, and what it leads to stays.
        There::Link if force => (Some(Action::new(What::Replace, file.path)), true),
        There::Link => (Some(Action::keep(file.path, LINKED)), false),
        There::Other => (Some(Action::keep(file.path, NO_FILE)), false),
    })
}

/// What has to be done to a file that is no longer wanted.
fn leaving(dir: &Path, path: &str, hash: &str, force: bool) -> Result<Option<Action>, PluginError> {
    // A manifest that somebody wrote leads nowhere else.
    if !is_plain(path) {
        return Ok(None);
    }
    if !is_reached(dir, path)? {
        return Ok(Some(Action::keep(path, LINKED)));
    }
    Ok(match there(&dir.join(path))? {
        There::Nothing => None,
        There::File(hashed) if force || hashed == hash => Some(Action::new(What::Remove, path)),
        There::File(_) => Some(Action::keep(path, CHANGED_SINCE)),
        There::Link => Some(Action::keep(path, LINKED)),
        There::Other => Some(Action::keep(path, NO_FILE)),
    })
}

enum There {
    Nothing,
    /// Its hash.
    File(String),
    Link,
    Other,
}

fn there(path: &Path) -> Result<There, PluginError> {
    match std::fs::symlink_metadata(path) {
        Ok(is) if is.is_symlink() => Ok(There::Link),
        Ok(is) if is.is_file() => Ok(There::File(hash(&std::fs::read(path).map_err(io_error("read", path))?))),
        Ok(_) => Ok(There::Other),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(There::Nothing),
        Err(error) => Err(io_error("look at", path)(error)),
    }
}

/// Whether a file's own folder is no link. A link further up would hold others' things as well, and is an error.
fn is_reached(dir: &Path, path: &str) -> Result<bool, PluginError> {
    let folders = folders(path);
    for folder in &folders {
        let at = dir.join(folder);
        if std::fs::symlink_metadata(&at).is_ok_and(|is| is.is_symlink()) {
            // The folder of one skill: somebody's own of that name.
            if folders.len() > 1 && folders.last() == Some(folder) {
                return Ok(false);
            }
            return Err(PluginError::Link { path: at });
        }
    }
    Ok(true)
}

/// The folders of a path, outermost first.
fn folders(path: &str) -> Vec<&str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).collect()
}

fn is_plain(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

fn put(dir: &Path, file: &File, made: &mut BTreeSet<String>) -> Result<(), PluginError> {
    for folder in folders(file.path) {
        let at = dir.join(folder);
        match DirBuilder::new().mode(0o700).create(&at) {
            Ok(()) => {
                made.insert(folder.to_owned());
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io_error("make the folder", &at)(error)),
        }
    }
    let path = dir.join(file.path);
    write_whole(&path, &file.text).map_err(io_error("write", &path))
}

fn take_away(dir: &Path, path: &str) -> Result<(), PluginError> {
    let path = dir.join(path);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error("remove", &path)(error)),
        _ => Ok(()),
    }
}

/// Removes the folders that were made here and that nothing lies in any more, innermost first.
fn leave_folders(dir: &Path, manifest: &mut Manifest) {
    let in_use = |folder: &str| manifest.files.keys().any(|path| path.starts_with(&format!("{folder}/")));
    let empty: Vec<String> = manifest.folders.iter().rev().filter(|folder| !in_use(folder)).cloned().collect();
    for folder in empty {
        if is_plain(&folder) {
            // One that others use as well stays, and is theirs.
            let _ = std::fs::remove_dir(dir.join(&folder));
        }
        manifest.folders.remove(&folder);
    }
}

fn is_folder(dir: &Path) -> Result<(), PluginError> {
    match std::fs::metadata(dir) {
        Ok(is) if is.is_dir() => Ok(()),
        Ok(_) => Err(io_error("use", dir)(io::Error::new(ErrorKind::NotADirectory, "it is not a folder"))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(PluginError::NoHome { path: dir.to_owned(), hint: START_IT })
        }
        Err(error) => Err(io_error("look at", dir)(error)),
    }
}

fn read(dir: &Path, force: bool) -> Result<Manifest, PluginError> {
    let path = dir.join(MANIFEST);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Manifest::default()),
        Err(error) => return Err(io_error("read", &path)(error)),
    };
    match serde_json::from_str(&text) {
        Ok(manifest) => Ok(manifest),
        Err(_) if force => Ok(Manifest::default()),
        Err(error) => Err(PluginError::Manifest { path, why: error.to_string() }),
    }
}

fn note(dir: &Path, manifest: &Manifest) -> Result<(), PluginError> {
    let path = dir.join(MANIFEST);
    let text = serde_json::to_string_pretty(manifest).map_err(io::Error::other);
    text.and_then(|text| write_whole(&path, &(text + "\n"))).map_err(io_error("write", &path))
}

fn hash(bytes: &[u8]) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(bytes))
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PluginError + use<> {
    let path: PathBuf = path.to_owned();
    move |source| PluginError::Io { doing, path, source }
}
