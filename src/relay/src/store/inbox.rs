//! The inbox of an agent: what it is meant by, in the order in which it was sent.

use relay_runner_protocol::Message;
use rusqlite::params;
use serde::Deserialize;

use super::Tx;
use super::columns::{int, json};
use super::messages::{MESSAGE, read};
use crate::refusal::Result;

/// Messages in one answer, when the caller does not say and at most.
pub(super) const USUAL: u32 = 100;
pub(super) const MOST: u32 = 1000;

/// Which messages `m` an agent is meant by: `?2` are its addresses, `?3` is its id, and `?4` the message after which it
/// has broadcasts.
pub(super) const MEANT: &str = "(m.target IN (SELECT value FROM json_each(?2)) OR m.resolved_to = ?3
    OR (m.target = 'broadcast' AND m.id > ?4 AND m.sender <> ?3))";

/// The query of `GET /agents/{id}/inbox`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(crate) struct InboxQuery {
    unread: bool,
    after: u64,
    limit: Option<u32>,
}

impl Tx<'_> {
    /// Unread is what the agent has not read, nobody has finished, and no other holds under a live lease.
    pub(crate) fn inbox(&self, agent: &str, query: InboxQuery) -> Result<Vec<Message>> {
        let me = self.addressee(agent)?;
        let mut select = self.sql.prepare_cached(&format!(
            "{MESSAGE}
             WHERE m.id > ?5 AND m.deleted_at IS NULL AND {MEANT}
             AND (NOT ?6 OR (
                 m.finished_at IS NULL
                 AND (c.agent_id IS NULL OR c.agent_id = ?3)
                 AND NOT EXISTS (SELECT 1 FROM reads r WHERE r.message_id = m.id AND r.agent_id = ?3)))
             ORDER BY m.id LIMIT ?7"
        ))?;
        let values = params![
            int(self.now),
            json(&me.addresses)?,
            me.id,
            int(me.broadcasts_after),
            int(query.after),
            query.unread,
            query.limit.unwrap_or(USUAL).clamp(1, MOST),
        ];
        let rows = select.query_map(values, read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
