//! Idempotency keys: the same call again gets its first answer again, and changes nothing.
//!
//! An answer is kept in the transaction that did the work, so that there is never one without the other. Only answers
//! that say that something was done are kept: a refused call may be asked again.

use axum::http::StatusCode;
use rusqlite::{OptionalExtension, params};
use serde_json::Value;

use super::Tx;
use super::columns::int;
use crate::refusal::{Refusal, Result};

/// How long an answer is kept, in milliseconds.
const KEPT: u64 = 24 * 60 * 60 * 1000;
/// Bytes of a key.
const MAX_KEY: usize = 200;

/// What was answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
}

/// Under which key a call is made, if any.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) key: Option<String>,
    /// Stands for all that is asked for; not needed without a key.
    pub(crate) print: String,
}

impl Tx<'_> {
    /// Does `op` once per key; something else under the same key is refused.
    pub(crate) fn once(&mut self, asked: &Asked, op: impl FnOnce(&mut Self) -> Result<Answer>) -> Result<Answer> {
        let Asked { key: Some(key), print } = asked else { return op(self) };
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(Refusal::invalid(format!("an idempotency key has 1 to {MAX_KEY} bytes")));
        }
        if let Some(known) = self.known_answer(key, print)? {
            return Ok(known);
        }
        let answer = op(self)?;
        self.sql
            .prepare_cached("INSERT OR REPLACE INTO answers (key, print, status, body, at) VALUES (?, ?, ?, ?, ?)")?
            .execute(params![key, print, answer.status.as_u16(), answer.body, int(self.now)])?;
        Ok(answer)
    }

    fn known_answer(&self, key: &str, print: &str) -> Result<Option<Answer>> {
        let mut query = self.sql.prepare_cached("SELECT print, status, body FROM answers WHERE key = ? AND at > ?")?;
        let oldest = int(self.now.saturating_sub(KEPT));
        let known: Option<(String, u16, String)> = query
            .query_row(params![key, oldest], |row| Ok((row.get("print")?, row.get("status")?, row.get("body")?)))
            .optional()?;
        match known {
            None => Ok(None),
            Some((first, ..)) if first != print => {
                let message = "this idempotency key was used for another call; use a new key for a new call";
                Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", message))
            }
            Some((_, status, body)) => {
                let status = StatusCode::from_u16(status).map_err(Refusal::internal)?;
                Ok(Some(Answer { status, body: with_what_is_left(body, self.now) }))
            }
        }
    }

    pub(super) fn forget_answers(&mut self) -> Result<()> {
        let oldest = int(self.now.saturating_sub(KEPT));
        self.sql.prepare_cached("DELETE FROM answers WHERE at <= ?")?.execute([oldest])?;
        Ok(())
    }
}

/// A lease is counted from the moment of asking, so that an answer given again tells how much is left of it: with the
/// first figure, whoever asked twice would believe in a claim that has ended.
fn with_what_is_left(body: String, now: u64) -> String {
    let Ok(Value::Object(mut answer)) = serde_json::from_str(&body) else { return body };
    match (answer.contains_key("leaseMs"), answer.get("claimExpiresAt").and_then(Value::as_u64)) {
        (true, Some(end)) => {
            answer.insert("leaseMs".into(), end.saturating_sub(now).into());
            Value::Object(answer).to_string()
        }
        _ => body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_told_again_is_what_is_left_of_it() {
        let first = r#"{"claimExpiresAt":1500,"fence":3,"leaseMs":1000,"ok":true}"#;
        let left =
            |now| serde_json::from_str::<Value>(&with_what_is_left(first.into(), now)).unwrap()["leaseMs"].clone();
        assert_eq!(left(600), 900);
        assert_eq!(left(2000), 0);
        assert_eq!(with_what_is_left("[1]".into(), 0), "[1]");
    }
}
