//! The tables (as SQL, one file for each step of their history), and the opening of the database.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::named;
use crate::error::Error;

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

/// What brings a file from each version to the next. A change of the tables is a new step; a step is never changed.
const STEPS: [&str; 4] = [
    include_str!("schema/1-first.sql"),
    include_str!("schema/2-tokens.sql"),
    include_str!("schema/3-replies-and-artifacts.sql"),
    include_str!("schema/4-retention.sql"),
];

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
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let missing = usize::try_from(found).ok().and_then(|done| STEPS.get(done..));
    let Some(missing) = missing else {
        return Err(Error::DatabaseTooNew { path: named(path), found, known });
    };
    for step in missing {
        tx.execute_batch(step).map_err(failed)?;
    }
    if found != known {
        tx.pragma_update(None, "user_version", known).map_err(failed)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_any_version_is_brought_up_and_keeps_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        for version in 1..=STEPS.len() {
            let path = folder.path().join(format!("{version}.db"));
            let old = Connection::open(&path).unwrap();
            STEPS[..version].iter().for_each(|step| old.execute_batch(step).unwrap());
            old.pragma_update(None, "user_version", i64::try_from(version).unwrap()).unwrap();
            old.execute_batch("UPDATE counters SET value = 7 WHERE name = 'fence'").unwrap();
            drop(old);
            let new = open(Some(&path)).unwrap();
            let version: i64 = new.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            let fence: i64 =
                new.query_row("SELECT value FROM counters WHERE name = 'fence'", [], |r| r.get(0)).unwrap();
            assert_eq!((usize::try_from(version), fence), (Ok(STEPS.len()), 7));
        }
    }

    #[test]
    fn a_file_of_a_newer_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("newer.db");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
        assert!(matches!(open(Some(&path)), Err(Error::DatabaseTooNew { found: 999, .. })));
    }
}
