//! Events: numbered without gaps, kept for a while, and replayed to connections that resume.

use std::collections::BTreeSet;

use axum::extract::ws::Utf8Bytes;
use relay_runner_protocol::Session;
use relay_runner_protocol::frame::{Replayed, ServerFrame};
use rusqlite::params;
use serde::Serialize;

use super::Tx;
use super::columns::{Columns, int, json};
use crate::event::Published;
use crate::hub::ConnId;
use crate::refusal::Result;

/// Events that one step of a replay looks at.
const PAGE: u32 = 200;
/// Bytes after which a step ends early.
const PAGE_BYTES: usize = 4 << 20;

/// One step of a replay.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) frames: Vec<Utf8Bytes>,
    /// Where the next step begins; none when this was the last one.
    pub(crate) next: Option<u64>,
}

impl Tx<'_> {
    /// Writes an event down, and sends it to whom it concerns once this is committed.
    pub(super) fn emit(&mut self, name: &str, data: &impl Serialize, audience: BTreeSet<String>) -> Result<()> {
        let seq = self.next("event")?;
        let data = serde_json::to_value(data)?;
        self.sql
            .prepare_cached("INSERT INTO events (seq, name, data, audience) VALUES (?, ?, ?, ?)")?
            .execute(params![int(seq), name, json(&data)?, json(&audience)?])?;
        self.sql
            .prepare_cached("DELETE FROM events WHERE seq <= ?")?
            .execute([int(seq.saturating_sub(self.rules.keep_events))])?;
        let event = Published::new(seq, name.to_owned(), data, audience);
        self.after_commit(move |hub| hub.publish(&event));
        Ok(())
    }

    /// The next number of a sequence that never repeats one.
    pub(super) fn next(&mut self, counter: &str) -> Result<u64> {
        let mut step =
            self.sql.prepare_cached("UPDATE counters SET value = value + 1 WHERE name = ? RETURNING value")?;
        Ok(step.query_row([counter], |row| row.nat("value"))?)
    }

    /// The position of the newest event; 0 before the first.
    pub(crate) fn newest_event(&self) -> Result<u64> {
        self.counter("event")
    }

    /// Which database this is: drawn once, when it was made.
    pub(crate) fn relay_id(&self) -> Result<String> {
        Ok(format!("{:x}", self.counter("relay")?))
    }

    fn counter(&self, name: &str) -> Result<u64> {
        let mut query = self.sql.prepare_cached("SELECT value FROM counters WHERE name = ?")?;
        Ok(query.query_row([name], |row| row.nat("value"))?)
    }

    /// Announces a replay to the connection, and holds back newer events until it is through. A position that was never
    /// given out (the database is another one, or a power cut took its end) is a gap as well.
    pub(crate) fn resume(
        &mut self,
        connection: ConnId,
        agent: &str,
        session: &Session,
        since: u64,
        frame: String,
    ) -> Result<()> {
        self.guard(agent, session)?;
        let payload = self.kept_after(since)?;
        let announcement = ServerFrame::Replayed { id: frame, payload };
        self.after_commit(move |hub| {
            hub.send(connection, &announcement);
            hub.begin_replay(connection, payload.from - 1);
        });
        Ok(())
    }

    /// What is still there of the events after a position.
    pub(crate) fn kept_after(&self, since: u64) -> Result<Replayed> {
        let to = self.newest_event()?;
        let oldest = to.saturating_sub(self.rules.keep_events).saturating_add(1);
        let gap = since > to || since.saturating_add(1) < oldest;
        let from = if since > to { to + 1 } else { oldest.max(since.saturating_add(1)) };
        Ok(Replayed { from, to, gap })
    }

    /// The events after a position that concern a connection. With the last page the connection is live again: what is
    /// committed later comes after it.
    pub(crate) fn page(&mut self, connection: ConnId, after: u64) -> Result<Page> {
        let form = self.hub.form(connection);
        let mut page = Page { frames: Vec::new(), next: None };
        let mut query = self.sql.prepare_cached("SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?")?;
        let mut rows = query.query(params![int(after), PAGE])?;
        let (mut seen, mut last, mut bytes) = (0, after, 0);
        while let Some(row) = rows.next()? {
            seen += 1;
            last = row.nat("seq")?;
            let name: String = row.get("name")?;
            let audience = row.json_in("audience")?;
            if self.hub.wants(connection, &name, &audience) {
                let frame = Published::new(last, name, row.json_in("data")?, audience).written(form);
                bytes += frame.len();
                page.frames.push(frame);
            }
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        drop(rows);
        drop(query);
        if seen == PAGE || bytes >= PAGE_BYTES {
            page.next = Some(last);
        } else {
            self.after_commit(move |hub| hub.end_replay(connection));
        }
        Ok(page)
    }
}
