//! Attachments: fetched before their message is offered, and kept as files that the agent can read (behaviour 6, 13).
//!
//! They lie in `attachments/` of the state folder, as `<sha256>/<safe name>`. The loop alone decides what stays and what
//! makes room ([`room`]); what has to be fetched is fetched by a task, one per message ([`fetch`]). Nothing here fails: what
//! cannot be had is said in the message. A download that breaks off is dropped; one that was under way when the runner was
//! killed is taken up by the next run where the relay can send the rest of it (`Range`), and dropped otherwise.

pub(crate) mod fetch;
mod name;
mod room;

use fetch::{Plan, Wanted};
use relay_runner_core::OpId;
use relay_runner_protocol::Message;
use relay_runner_protocol::message::Attachment;
use room::Room;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// In the state folder.
const FOLDER: &str = "attachments";
const MIB: u64 = 1 << 20;
/// Bytes of one attachment.
const EACH_MOST: u64 = crate::upload::FILE_MOST;
/// Bytes of all of them.
const TOGETHER_MOST: u64 = 1_024 * MIB;
/// Attachments of one message that are fetched.
const OF_ONE_MOST: usize = 64;

/// What became of the attachments of one message.
pub(crate) type Files = Arc<[AttachedFile]>;

/// What became of an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AttachedFile {
    /// As the message names it.
    pub(crate) id: String,
    /// Or why it could not be had.
    pub(crate) kept: Result<Kept, String>,
}

/// A file that is there, and has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) place: Place,
    pub(crate) path: String,
    pub(crate) bytes: u64,
}

/// Where in the folder a file lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) sha256: String,
    /// Safe as the name of a file.
    pub(crate) name: String,
}

impl Place {
    fn within(&self, folder: &Path) -> PathBuf {
        folder.join(&self.sha256).join(&self.name)
    }
}

/// Where an attachment lies that was fetched for the agent of this state folder, and is still there.
pub fn kept_at(state_dir: &Path, attachment: &Attachment) -> Option<PathBuf> {
    let place = wanted_of(attachment, u64::MAX).ok()?.place()?;
    Some(place.within(&state_dir.join(FOLDER))).filter(|path| path.is_file())
}

/// The attachments of an agent's messages.
#[derive(Debug)]
pub(crate) struct Attachments {
    folder: PathBuf,
    each_most: u64,
    room: Room,
    /// By message, for as long as the core holds it.
    of: BTreeMap<u64, Files>,
}

impl Attachments {
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self::bounded(state_dir.join(FOLDER), EACH_MOST, TOGETHER_MOST)
    }

    fn bounded(folder: PathBuf, each_most: u64, together_most: u64) -> Self {
        Self { room: Room::new(folder.clone(), together_most), folder, each_most, of: BTreeMap::new() }
    }

    /// What is to be done for the attachments of this message, with room made for them. [`Self::fetched`] is to follow.
    /// Files of messages that are still held are never removed.
    pub(crate) fn plan(&mut self, op: OpId, message: &Message, is_held: impl Fn(u64) -> bool) -> Plan {
        self.of.retain(|id, _| is_held(*id));
        let in_use: BTreeSet<&str> = self.of.values().flat_map(|files| files.iter().filter_map(content)).collect();
        let mut wanted = Vec::with_capacity(message.attachments.len().min(OF_ONE_MOST));
        for (n, attachment) in message.attachments.iter().enumerate() {
            let may = if n < OF_ONE_MOST {
                wanted_of(attachment, self.each_most)
                    .and_then(|mut wanted| self.room.reserve(op, &mut wanted, &in_use).map(|()| wanted))
            } else {
                Err(format!("only the first {OF_ONE_MOST} attachments of a message are fetched"))
            };
            wanted.push((attachment.id.clone(), may));
        }
        Plan { folder: self.folder.clone(), wanted }
    }

    /// What a plan has come to.
    pub(crate) fn fetched(&mut self, op: OpId, message: u64, files: Vec<AttachedFile>) {
        self.room.fetched(op, files.iter().filter_map(|file| file.kept.as_ref().ok()));
        self.of.insert(message, files.into());
    }

    /// Empty when nothing is known of them.
    pub(crate) fn of(&self, message: u64) -> Files {
        self.of.get(&message).cloned().unwrap_or_default()
    }
}

fn content(file: &AttachedFile) -> Option<&str> {
    file.kept.as_ref().ok().map(|kept| &*kept.place.sha256)
}

fn wanted_of(said: &Attachment, most: u64) -> Result<Wanted, String> {
    // A path cannot name these.
    if matches!(&*said.id, "" | "." | "..") {
        return Err("it has no id that the relay could be asked for".to_owned());
    }
    if said.size > most {
        return Err(too_large(most));
    }
    let sha256 = match &*said.sha256 {
        "" => None,
        sha256 if is_sha256(sha256) => Some(sha256.to_ascii_lowercase()),
        _ => return Err("its checksum is no SHA-256".to_owned()),
    };
    // A relay that does not say the size leaves it out, which reads as zero.
    let size = (said.size > 0).then_some(said.size);
    Ok(Wanted { sha256, size, most: size.unwrap_or(most), name: name::safe(&said.name), is_begun: false })
}

fn too_large(most: u64) -> String {
    if most >= MIB {
        format!("it is larger than {} MiB", most / MIB)
    } else {
        format!("it is larger than {most} bytes")
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests;
