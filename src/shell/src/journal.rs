//! The journal on disk (behaviour 17): the folder `journal/` of the agent, in segments `000001.jsonl` and so on.
//!
//! Each start of the program opens a new segment, and so does a full one. Written ahead: a record is handed to the
//! system before the core steps, in one `write`. What the lines say is the core's business ([`relay_runner_core::journal`]).

mod bodies;
mod damage;
mod replay;
mod rerun;
mod resume;
mod runs;
mod seek;
mod segments;
mod tail;
mod writer;

pub(crate) use bodies::BodyOf;
pub use damage::{Asked, JournalError};
pub use replay::{Found, Otherwise, Progress, ReplayPlan, Replayed, replay, replay_path};
pub(crate) use resume::{is_broken, last_facts, move_aside};
pub use tail::{Begin, Followed, Tail};
pub(crate) use writer::{Journal, Opening};

use std::path::{Path, PathBuf};

/// The journal folder of an agent's state folder.
pub fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("journal")
}

/// The name's ending of a segment that could not be written to its end.
pub(crate) const BROKEN: &str = "broken";

/// A full segment is followed by the next.
pub(crate) const SEGMENT_MOST: u64 = 64 * 1024 * 1024;
/// Old segments beyond this go.
pub(crate) const JOURNAL_MOST: u64 = 1024 * 1024 * 1024;
/// Records between two marks.
pub(crate) const MARK_EVERY: u64 = 4_096;

#[cfg(test)]
mod tests;
