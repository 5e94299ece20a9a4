//! Between SQLite's columns and the wire's values.
//!
//! SQLite has signed 64-bit integers; ids, times and fences are unsigned and far below that bound. One that a client
//! makes up beyond it becomes the largest there is, which matches nothing.

use rusqlite::Row;
use rusqlite::types::Type;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::refusal::Result;

pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn nat(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(super) fn json(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(value)?)
}

/// The word that an enum of the wire stands for.
pub(super) fn word(value: &impl Serialize) -> Result<String> {
    match serde_json::to_value(value)? {
        Value::String(word) => Ok(word),
        other => Ok(other.to_string()),
    }
}

/// Reads columns by name into the wire's types.
pub(super) trait Columns {
    fn nat(&self, column: &str) -> rusqlite::Result<u64>;
    fn maybe_nat(&self, column: &str) -> rusqlite::Result<Option<u64>>;
    fn json_in<T: DeserializeOwned>(&self, column: &str) -> rusqlite::Result<T>;
    fn word_in<T: DeserializeOwned>(&self, column: &str) -> rusqlite::Result<T>;
}

impl Columns for Row<'_> {
    fn nat(&self, column: &str) -> rusqlite::Result<u64> {
        self.get(column).map(nat)
    }

    fn maybe_nat(&self, column: &str) -> rusqlite::Result<Option<u64>> {
        Ok(self.get::<_, Option<i64>>(column)?.map(nat))
    }

    fn json_in<T: DeserializeOwned>(&self, column: &str) -> rusqlite::Result<T> {
        let text: String = self.get(column)?;
        serde_json::from_str(&text).map_err(|e| unreadable(self, column, e))
    }

    fn word_in<T: DeserializeOwned>(&self, column: &str) -> rusqlite::Result<T> {
        let word: String = self.get(column)?;
        serde_json::from_value(Value::String(word)).map_err(|e| unreadable(self, column, e))
    }
}

fn unreadable(row: &Row<'_>, column: &str, error: serde_json::Error) -> rusqlite::Error {
    let index = row.as_ref().column_index(column).unwrap_or(0);
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
}
