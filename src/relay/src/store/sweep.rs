//! What time does by itself: leases end, agents that are gone for good are forgotten, old answers are thrown away.

use rusqlite::params;

use super::Tx;
use super::columns::int;
use super::registration::PRUNED;
use crate::refusal::Result;

/// How long the row of an agent that is gone is kept for its epoch's sake, in milliseconds: 30 days.
const TOMBSTONE: u64 = 30 * 24 * 60 * 60 * 1000;

impl Tx<'_> {
    pub(crate) fn sweep(&mut self) -> Result<()> {
        self.lapse_all()?;
        self.prune()?;
        self.give_up_old_commands()?;
        self.forget_answers()?;
        self.forget_tokens()?;
        let since = |age: u64| int(self.now.saturating_sub(age));
        self.sql.prepare_cached("DELETE FROM takeovers WHERE at <= ?")?.execute([since(self.rules.takeover_pause)])?;
        self.sql.prepare_cached("DELETE FROM agents WHERE gone_at <= ?")?.execute([since(TOMBSTONE)])?;
        Ok(())
    }

    /// A relay that was down itself has not listened meanwhile: it gives everybody the full time from its start.
    fn prune(&mut self) -> Result<()> {
        let Some(latest) = self.now.checked_sub(self.rules.prune_after) else { return Ok(()) };
        if self.rules.started > latest {
            return Ok(());
        }
        let silent: Vec<String> = {
            let mut query =
                self.sql.prepare_cached("SELECT id FROM agents WHERE gone IS NULL AND last_seen <= ? ORDER BY id")?;
            let rows = query.query_map(params![int(latest)], |row| row.get("id"))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        for agent in silent {
            if !self.hub.is_connected(&agent) {
                tracing::info!(agent, "not heard from for long: forgotten until it registers again");
                self.dismiss(&agent, PRUNED)?;
            }
        }
        Ok(())
    }
}
