//! Who may speak for an agent: the session guard.

use relay_runner_protocol::Session;
use rusqlite::OptionalExtension;

use super::Tx;
use super::columns::Columns;
use crate::refusal::{Refusal, Result};

/// What an agent's row says about its holder.
pub(super) struct Holder {
    pub(super) instance_id: String,
    pub(super) epoch: u64,
    pub(super) gone: bool,
}

impl Tx<'_> {
    pub(super) fn holder(&self, agent: &str) -> Result<Option<Holder>> {
        let mut query = self.sql.prepare_cached("SELECT instance_id, epoch, gone FROM agents WHERE id = ?")?;
        let holder = query.query_row([agent], |row| {
            Ok(Holder {
                instance_id: row.get("instance_id")?,
                epoch: row.nat("epoch")?,
                gone: row.get::<_, Option<String>>("gone")?.is_some(),
            })
        });
        Ok(holder.optional()?)
    }

    /// Refuses a session that is not the one in force. A stale epoch is refused as such even when the agent is gone: an
    /// older instance must not take the absence of a newer one for its own.
    pub(super) fn guard(&self, agent: &str, session: &Session) -> Result<()> {
        let Some(holder) = self.holder(agent)? else { return Err(Refusal::not_found("agent", agent)) };
        if session.epoch < holder.epoch {
            let message = format!("epoch {} of {agent} is over; epoch {} is in force", session.epoch, holder.epoch);
            return Err(Refusal::superseded(message));
        }
        if holder.gone {
            return Err(Refusal::not_found("agent", agent));
        }
        if session.epoch > holder.epoch || session.instance_id != holder.instance_id {
            let message = format!("{agent} is held by another instance, in epoch {}", holder.epoch);
            return Err(Refusal::superseded(message));
        }
        Ok(())
    }

    pub(super) fn must_exist(&self, agent: &str) -> Result<()> {
        match self.holder(agent)? {
            Some(holder) if !holder.gone => Ok(()),
            _ => Err(Refusal::not_found("agent", agent)),
        }
    }
}
