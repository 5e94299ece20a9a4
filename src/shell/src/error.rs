//! Why a run could not begin, or had to be broken off.

use crate::journal::JournalError;
use std::io;
use std::path::PathBuf;

/// Nothing was started, and nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot {doing} {}: {source}; give another state folder, or make this one writable", path.display())]
    StateDir { doing: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "the agent in {} is already run by {}; stop that one first (relay-runner stop), or give this one a state folder of its own",
        state_dir.display(),
        owner.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked { state_dir: PathBuf, owner: Option<u32> },
    #[error("`{url}` is not a relay's URL: {why}")]
    RelayUrl { url: String, why: String },
    #[error("the token cannot be sent in an HTTP header: it must be printable ASCII without spaces at its ends")]
    Token,
    #[error("there is no command to run; give it behind --, for example: relay-runner run command -- ./agent")]
    NoCommand,
    #[error("the operating system gave no randomness: {why}")]
    Randomness { why: String },
    #[error("no folder for the runner's sockets: {why}; set XDG_RUNTIME_DIR to a folder that only you can enter")]
    RunnerDir { why: String },
    #[error("the home of the profile cannot be made: {0}; mend the profile, or choose another with --profile")]
    ProfileHome(#[source] crate::profile::home::HomeError),
    #[error("{0}")]
    Client(String),
    #[error(
        "the journal of the agent's earlier runs cannot be taken up: {0}\nNothing was changed. Start with --fresh to move it aside and forget what it knew"
    )]
    Journal(#[from] JournalError),
    #[error(
        "the journal of this run cannot be begun: {0}\nNothing was started. Make room on the disk, or make the folder writable, or give another state folder (--state-dir)"
    )]
    NoJournal(#[source] JournalError),
}

/// The run was broken off: a fault of the program, not of its surroundings.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(
        "the runner's core panicked ({what}); the provider was stopped. {} holds the input that did it as its last record: `relay-runner replay` shows it, and `--fresh` starts without it",
        journal.display()
    )]
    CorePanicked { what: String, journal: PathBuf },
}
