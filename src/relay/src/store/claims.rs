//! Claims: leases on claimable messages, each with a fence.
//!
//! A fence is a number that grows with every claim that is granted, over all messages. Only the newest of a message
//! counts, so that a holder who lost its claim without knowing cannot speak for it.

use relay_runner_protocol::claim::{Claim, ClaimAnswer, ClaimChange};
use relay_runner_protocol::frame::MessageEvent;
use relay_runner_protocol::frame::event::{MESSAGE_CLAIM_RELEASED, MESSAGE_CLAIMED};
use rusqlite::{OptionalExtension, Row, params};

use super::Tx;
use super::columns::{Columns, int};
use crate::refusal::{Refusal, Result};

/// The newest claim on a message, held or ended.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) message_id: u64,
    pub(super) fence: u64,
    pub(super) agent_id: String,
    instance_id: String,
    epoch: u64,
    expires_at: u64,
    /// False: released, or ended with its message.
    held: bool,
}

impl Lease {
    pub(super) fn is_live(&self, now: u64) -> bool {
        self.held && now < self.expires_at
    }
}

impl Tx<'_> {
    /// Grants a claim, or says who has it. The holder that asks again gets its own claim with a full lease: with the same
    /// fence while the lease and the epoch last, with a new one otherwise. A message that is finished or not meant for
    /// the agent is refused as if somebody had it, since there is nothing for the agent in asking again.
    pub(crate) fn claim(&mut self, id: u64, ask: &Claim) -> Result<ClaimAnswer> {
        self.guard(&ask.agent_id, &ask.session)?;
        let message = self.message(id)?;
        if !message.claimable {
            return Err(Refusal::invalid(format!("message {id} is not claimable; read it instead")));
        }
        if let Some(by) = self.finished_by(id)? {
            return Ok(refused(Some(by).filter(|by| !by.is_empty())));
        }
        let before = self.claim_of(id)?;
        match &before {
            Some(c) if c.is_live(self.now) && c.agent_id != ask.agent_id => {
                return Ok(refused(Some(c.agent_id.clone())));
            }
            Some(c) if c.is_live(self.now) && c.epoch == ask.session.epoch => return self.extend(c),
            _ => {}
        }
        if !self.addressee(&ask.agent_id)?.is_meant_by(&message) {
            return Ok(refused(None));
        }
        if let Some(lapsed) = before.filter(|c| c.held && !c.is_live(self.now)) {
            self.free(&lapsed, true)?;
        }
        self.grant(id, ask)
    }

    fn grant(&mut self, id: u64, ask: &Claim) -> Result<ClaimAnswer> {
        let fence = self.next("fence")?;
        let expires_at = self.now.saturating_add(self.rules.lease);
        self.sql
            .prepare_cached(
                "INSERT OR REPLACE INTO claims (message_id, fence, agent_id, instance_id, epoch, expires_at, held)
                 VALUES (?, ?, ?, ?, ?, ?, 1)",
            )?
            .execute(params![
                int(id),
                int(fence),
                ask.agent_id,
                ask.session.instance_id,
                int(ask.session.epoch),
                int(expires_at)
            ])?;
        self.tell(MESSAGE_CLAIMED, id, &ask.agent_id)?;
        Ok(self.granted(fence, expires_at))
    }

    fn extend(&mut self, claim: &Lease) -> Result<ClaimAnswer> {
        let expires_at = self.now.saturating_add(self.rules.lease);
        self.sql
            .prepare_cached("UPDATE claims SET expires_at = ? WHERE message_id = ?")?
            .execute(params![int(expires_at), int(claim.message_id)])?;
        Ok(self.granted(claim.fence, expires_at))
    }

    pub(crate) fn renew(&mut self, id: u64, ask: &ClaimChange) -> Result<ClaimAnswer> {
        self.guard(&ask.agent_id, &ask.session)?;
        let claim = self.claim_under(id, ask)?;
        self.extend(&claim)
    }

    /// Gives a message back. Even a superseded instance may do that with what it still holds.
    pub(crate) fn release(&mut self, id: u64, ask: &ClaimChange) -> Result<ClaimAnswer> {
        let in_force = self.guard(&ask.agent_id, &ask.session);
        if let Err(refusal) = in_force {
            let own = self.claim_of(id)?.is_some_and(|c| {
                let granted_to = (c.agent_id.as_str(), c.instance_id.as_str(), c.epoch, c.fence);
                granted_to == (&ask.agent_id, &ask.session.instance_id, ask.session.epoch, ask.fence)
            });
            if !own {
                return Err(refusal);
            }
        }
        let claim = self.claim_under(id, ask)?;
        self.free(&claim, false)?;
        Ok(ClaimAnswer { ok: true, claim_expires_at: None, lease_ms: None, fence: None, claimed_by: None })
    }

    /// The live claim that a fence stands for: 409 for any other fence, 410 when the lease has ended.
    fn claim_under(&mut self, id: u64, ask: &ClaimChange) -> Result<Lease> {
        self.message(id)?;
        let claim = self.claim_of(id)?.filter(|c| c.fence == ask.fence && c.agent_id == ask.agent_id);
        let claim = claim.ok_or_else(|| Refusal::stale_fence(ask.fence))?;
        if claim.is_live(self.now) { Ok(claim) } else { Err(Refusal::lease_ended(ask.fence)) }
    }

    pub(super) fn claim_of(&self, id: u64) -> Result<Option<Lease>> {
        let mut query = self.sql.prepare_cached("SELECT * FROM claims WHERE message_id = ?")?;
        Ok(query.query_row([int(id)], read).optional()?)
    }

    /// The claim is over, and the message is there for everybody again, and so is its task. Only where a lease ended by
    /// itself does a task that waits for a person go on waiting for one.
    fn free(&mut self, claim: &Lease, lapsed: bool) -> Result<()> {
        self.end_claim(claim.message_id)?;
        self.tell(MESSAGE_CLAIM_RELEASED, claim.message_id, &claim.agent_id)?;
        let message = self.message(claim.message_id)?;
        self.reopen_task(&message, !lapsed)
    }

    pub(super) fn release_all(&mut self, agent: &str) -> Result<()> {
        for claim in self.claims("agent_id = ?", agent)? {
            self.free(&claim, false)?;
        }
        Ok(())
    }

    /// Claims whose lease has ended: their messages are offered again.
    pub(super) fn lapse_all(&mut self) -> Result<()> {
        for claim in self.claims("expires_at <= ?", int(self.now))? {
            self.free(&claim, true)?;
        }
        Ok(())
    }

    fn claims(&self, which: &str, value: impl rusqlite::ToSql) -> Result<Vec<Lease>> {
        let mut query =
            self.sql.prepare_cached(&format!("SELECT * FROM claims WHERE held AND {which} ORDER BY message_id"))?;
        let rows = query.query_map([value], read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    pub(super) fn end_claim(&mut self, id: u64) -> Result<()> {
        self.sql.prepare_cached("UPDATE claims SET held = 0 WHERE message_id = ?")?.execute([int(id)])?;
        Ok(())
    }

    fn tell(&mut self, event: &str, id: u64, agent: &str) -> Result<()> {
        let mut audience = self.audience(&self.message(id)?)?;
        audience.insert(agent.to_owned());
        self.emit(event, &MessageEvent { message_id: id, agent_id: Some(agent.to_owned()) }, audience)
    }

    fn granted(&self, fence: u64, expires_at: u64) -> ClaimAnswer {
        ClaimAnswer {
            ok: true,
            claim_expires_at: Some(expires_at),
            lease_ms: Some(self.rules.lease),
            fence: Some(fence),
            claimed_by: None,
        }
    }
}

fn refused(claimed_by: Option<String>) -> ClaimAnswer {
    ClaimAnswer { ok: false, claim_expires_at: None, lease_ms: None, fence: None, claimed_by }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Lease> {
    Ok(Lease {
        message_id: row.nat("message_id")?,
        fence: row.nat("fence")?,
        agent_id: row.get("agent_id")?,
        instance_id: row.get("instance_id")?,
        epoch: row.nat("epoch")?,
        expires_at: row.nat("expires_at")?,
        held: row.get("held")?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use relay_runner_protocol::task::{NewTask, TaskReport};
    use relay_runner_protocol::{Session, TaskStatus};
    use serde_json::{from_value, json};

    use super::*;
    use crate::config::Config;
    use crate::store::Store;

    /// Without the sweeper, so that nobody else has noticed the end of the lease.
    #[tokio::test]
    async fn whoever_claims_after_a_lease_ended_finds_the_task_open() {
        let store = Store::open(&Config { lease: Duration::from_millis(1), ..Config::default() }).unwrap();
        let ask =
            |agent: &str| Claim { agent_id: agent.into(), session: Session { instance_id: "i".into(), epoch: 1 } };
        let (a, b) = (ask("a"), ask("b"));
        store
            .run(move |tx| {
                for id in ["a", "b"] {
                    let agent: relay_runner_protocol::agent::RegisterAgent =
                        from_value(json!({"id": id, "instanceId": "i", "tags": ["t"]}))?;
                    tx.register(&agent.into())?;
                }
                let task: NewTask = from_value(json!({"title": "T", "target": "tag:t"}))?;
                tx.create_task(&task)?;
                let fence = tx.claim(1, &a)?.fence;
                let report: TaskReport = from_value(json!({"status": "in_progress", "agentId": "a", "fence": fence}))?;
                tx.report_task(1, &report)
            })
            .await
            .unwrap();
        let task = loop {
            let b = b.clone();
            let (granted, task) = store.run(move |tx| Ok((tx.claim(1, &b)?.ok, tx.task(1)?))).await.unwrap();
            if granted {
                break task;
            }
        };
        assert_eq!((task.status, task.agent_id), (TaskStatus::Open, None));
    }
}
