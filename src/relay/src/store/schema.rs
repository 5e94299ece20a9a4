//! The tables, and the opening of the database.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::named;
use crate::error::Error;

/// The version of `TABLES`, kept in the file. A change of the tables raises it and adds a step that brings older files up.
const VERSION: i64 = 1;

/// WAL with `synchronous = NORMAL`: what is committed has been handed to the operating system, so it survives a kill -9
/// of the relay, and nothing waits for the disk between a message and its frame. Only a power cut can take the last
/// moments with it, and what it takes it takes whole: a claim goes with its fence, an event with its message. `FULL`
/// would buy those moments with milliseconds for each frame. The exclusive lock keeps a second relay off the file.
const SETTINGS: &str = "
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA foreign_keys = ON;
";

const TABLES: &str = "
CREATE TABLE agents (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    component_id TEXT NOT NULL,
    machine TEXT NOT NULL,
    tags TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    label TEXT,
    tags_given INTEGER NOT NULL DEFAULT 0,
    label_given INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL,
    ready INTEGER NOT NULL DEFAULT 0,
    status_seq INTEGER NOT NULL DEFAULT -1,
    instance_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    meta TEXT NOT NULL,
    broadcasts_after INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    gone TEXT,
    gone_at INTEGER
);
CREATE INDEX agents_by_component ON agents (component_id);
CREATE TABLE takeovers (
    agent_id TEXT NOT NULL,
    instance_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (agent_id, instance_id)
) WITHOUT ROWID;
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sender TEXT NOT NULL,
    target TEXT NOT NULL,
    resolved_to TEXT,
    kind TEXT NOT NULL,
    subject TEXT,
    body TEXT NOT NULL,
    payload TEXT NOT NULL,
    claimable INTEGER NOT NULL,
    priority TEXT NOT NULL,
    reply_to INTEGER,
    thread_id INTEGER,
    reply_expected INTEGER NOT NULL,
    attachments TEXT NOT NULL,
    task_id INTEGER,
    finished_by TEXT,
    finished_at INTEGER,
    deleted_at INTEGER,
    created_at INTEGER NOT NULL
);
CREATE INDEX messages_by_target ON messages (target, id);
CREATE INDEX messages_by_resolved ON messages (resolved_to, id) WHERE resolved_to IS NOT NULL;
CREATE INDEX messages_by_task ON messages (task_id) WHERE task_id IS NOT NULL;
CREATE TABLE reads (
    message_id INTEGER NOT NULL REFERENCES messages,
    agent_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (message_id, agent_id)
) WITHOUT ROWID;
CREATE TABLE claims (
    message_id INTEGER PRIMARY KEY REFERENCES messages,
    fence INTEGER NOT NULL,
    agent_id TEXT NOT NULL,
    instance_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    held INTEGER NOT NULL
);
CREATE INDEX claims_by_end ON claims (expires_at) WHERE held;
CREATE INDEX claims_by_agent ON claims (agent_id) WHERE held;
CREATE TABLE deliveries (
    message_id INTEGER NOT NULL REFERENCES messages,
    seq INTEGER NOT NULL,
    agent_id TEXT NOT NULL,
    stage TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    reason TEXT,
    at INTEGER NOT NULL,
    PRIMARY KEY (message_id, seq)
) WITHOUT ROWID;
CREATE UNIQUE INDEX deliveries_once ON deliveries (message_id, agent_id, stage, attempt);
CREATE TABLE tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    target TEXT NOT NULL,
    status TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    agent_id TEXT,
    report TEXT,
    metadata TEXT NOT NULL,
    dedup_key TEXT,
    callback_url TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE INDEX tasks_by_dedup ON tasks (dedup_key) WHERE dedup_key IS NOT NULL;
CREATE TABLE commands (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    target TEXT NOT NULL,
    params TEXT NOT NULL,
    status TEXT NOT NULL,
    result TEXT,
    error TEXT,
    acknowledged INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE INDEX commands_waiting ON commands (target, n) WHERE NOT acknowledged;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    data TEXT NOT NULL,
    audience TEXT NOT NULL
);
CREATE TABLE answers (
    key TEXT PRIMARY KEY,
    print TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX answers_by_time ON answers (at);
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counters VALUES ('event', 0), ('fence', 0);
";

/// Opens the file, or a database in memory, and makes the tables when they are not there.
pub(super) fn open(path: Option<&Path>) -> Result<Connection, Error> {
    if let Some(path) = path {
        create_private(path)?;
    }
    let failed = |e: rusqlite::Error| explain(path, &e);
    let mut sql = match path {
        Some(path) => Connection::open(path),
        None => Connection::open_in_memory(),
    }
    .map_err(failed)?;
    // For a predecessor on the same file that is just letting go of it.
    sql.busy_timeout(Duration::from_secs(2)).map_err(failed)?;
    sql.execute_batch(SETTINGS).map_err(failed)?;
    sql.set_prepared_statement_cache_capacity(128);

    let tx = sql.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
    let found: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    match found {
        VERSION => {}
        0 => {
            tx.execute_batch(TABLES).map_err(failed)?;
            tx.pragma_update(None, "user_version", VERSION).map_err(failed)?;
        }
        _ => return Err(Error::DatabaseTooNew { path: named(path), found, known: VERSION }),
    }
    // Which database this is, for runners that have met another one. 53 bits: every JSON reader can hold it.
    tx.execute("INSERT OR IGNORE INTO counters VALUES ('relay', random() & 9007199254740991)", []).map_err(failed)?;
    tx.commit().map_err(failed)?;
    Ok(sql)
}

/// Messages are nobody else's business: a file that is made here is for its owner only. SQLite gives its side files the
/// same mode.
fn create_private(path: &Path) -> Result<(), Error> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(e) => Err(Error::Database { path: path.to_path_buf(), reason: e.to_string() }),
    }
}

fn explain(path: Option<&Path>, error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::DatabaseInUse { path: named(path) },
        _ => Error::Database { path: named(path), reason: error.to_string() },
    }
}
