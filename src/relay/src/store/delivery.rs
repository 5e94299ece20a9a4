//! Delivery stages: how far a message has come on its way into an agent, for its sender to see.

use relay_runner_protocol::agent::Ok as Done;
use relay_runner_protocol::message::{Delivery, DeliveryReport};
use rusqlite::params;

use super::Tx;
use super::columns::{Columns, int, word};
use crate::refusal::Result;

impl Tx<'_> {
    /// Adds to the history. The same stage of the same attempt of the same agent is there once, as it was first told.
    pub(crate) fn report_delivery(&mut self, id: u64, report: &DeliveryReport) -> Result<Done> {
        self.guard(&report.agent_id, &report.session)?;
        self.message(id)?;
        self.sql
            .prepare_cached(
                "INSERT OR IGNORE INTO deliveries (message_id, seq, agent_id, stage, attempt, reason, at)
                 VALUES (?1, 1 + (SELECT ifnull(max(seq), 0) FROM deliveries WHERE message_id = ?1), ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                int(id),
                report.agent_id,
                word(&report.stage)?,
                report.attempt,
                report.reason,
                int(self.now)
            ])?;
        Ok(Done { ok: true })
    }

    pub(crate) fn deliveries(&self, id: u64) -> Result<Vec<Delivery>> {
        self.message(id)?;
        let mut query = self.sql.prepare_cached("SELECT * FROM deliveries WHERE message_id = ? ORDER BY seq")?;
        let rows = query.query_map([int(id)], |row| {
            Ok(Delivery {
                seq: row.nat("seq")?,
                agent_id: row.get("agent_id")?,
                stage: row.word_in("stage")?,
                attempt: row.get("attempt")?,
                reason: row.get("reason")?,
                at: row.nat("at")?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
