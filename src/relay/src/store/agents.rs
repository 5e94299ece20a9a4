//! Agents: what is known of each, and how they come to be gone.

use std::collections::BTreeSet;

use relay_runner_protocol::Session;
use relay_runner_protocol::agent::{Agent, AgentStatus, Ok as Done, SetReady, SetStatus};
use relay_runner_protocol::frame::event::AGENT_UPDATED;
use relay_runner_protocol::frame::{AgentEvent, BusHeartbeat, BusStatus};
use rusqlite::{OptionalExtension, Row, params};
use serde_json::{Map, Value};

use super::Tx;
use super::bounds::{check_meta, check_word, check_words, without_repeats};
use super::columns::{Columns, int, json};
use super::registration::DELETED;
use crate::hub::ConnId;
use crate::refusal::{Refusal, Result};

impl Tx<'_> {
    pub(crate) fn agents(&self) -> Result<Vec<Agent>> {
        let connected = self.hub.connected();
        let mut query = self.sql.prepare_cached("SELECT * FROM agents WHERE gone IS NULL ORDER BY id")?;
        let rows = query.query_map([], read)?;
        rows.map(|agent| Ok(self.seen(agent?, &connected))).collect()
    }

    pub(crate) fn agent(&self, id: &str) -> Result<Agent> {
        let mut query = self.sql.prepare_cached("SELECT * FROM agents WHERE id = ? AND gone IS NULL")?;
        let agent = query.query_row([id], read).optional()?.ok_or_else(|| Refusal::not_found("agent", id))?;
        Ok(self.seen(agent, &self.hub.connected()))
    }

    /// An agent that was not heard from is offline, whatever it said last.
    fn seen(&self, mut agent: Agent, connected: &BTreeSet<String>) -> Agent {
        if !connected.contains(&agent.id) && !self.is_recent(agent.last_seen) {
            agent.status = AgentStatus::Offline;
            agent.ready = false;
        }
        agent
    }

    pub(super) fn is_present(&self, agent: &str, last_seen: u64) -> bool {
        self.hub.is_connected(agent) || self.is_recent(last_seen)
    }

    fn is_recent(&self, last_seen: u64) -> bool {
        self.now < last_seen.saturating_add(self.rules.offline_after)
    }

    /// A status with a number that is not above the last one is ignored: it was overtaken on its way.
    pub(crate) fn set_status(&mut self, agent: &str, body: &SetStatus) -> Result<Done> {
        self.guard(agent, &body.session)?;
        self.heard(agent)?;
        self.sql
            .prepare_cached("UPDATE agents SET status = ?2, status_seq = ?3 WHERE id = ?1 AND status_seq < ?3")?
            .execute(params![agent, body.status.as_str(), int(body.status_seq)])?;
        Ok(Done { ok: true })
    }

    /// Goes with a status of the same number, so that an equal one counts.
    pub(crate) fn set_ready(&mut self, agent: &str, body: &SetReady) -> Result<Done> {
        self.guard(agent, &body.session)?;
        self.heard(agent)?;
        self.sql
            .prepare_cached("UPDATE agents SET ready = ?2, status_seq = ?3 WHERE id = ?1 AND status_seq <= ?3")?
            .execute(params![agent, body.ready, int(body.status_seq)])?;
        Ok(Done { ok: true })
    }

    /// `ok: false`: the agent is not known here, and registers again. A stale session is refused all the same.
    pub(crate) fn heartbeat(&mut self, agent: &str, session: &Session) -> Result<Done> {
        match self.guard(agent, session) {
            Err(refusal) if refusal.status == axum::http::StatusCode::NOT_FOUND => Ok(Done { ok: false }),
            Err(refusal) => Err(refusal),
            Ok(()) => {
                self.heard(agent)?;
                Ok(Done { ok: true })
            }
        }
    }

    pub(crate) fn bus_heartbeat(&mut self, agent: &str, session: &Session, beat: &BusHeartbeat) -> Result<()> {
        self.guard(agent, session)?;
        self.heard(agent)?;
        self.sql
            .prepare_cached("UPDATE agents SET status = ? WHERE id = ?")?
            .execute(params![beat.status.as_str(), agent])?;
        self.merge_meta(agent, beat.meta.as_ref())
    }

    /// The whole status is sent again after each registration, so that an equal number counts.
    pub(crate) fn bus_status(&mut self, agent: &str, session: &Session, status: &BusStatus) -> Result<()> {
        self.guard(agent, session)?;
        self.heard(agent)?;
        let newer = self
            .sql
            .prepare_cached(
                "UPDATE agents SET status = ?2, ready = ifnull(?3, ready), status_seq = ?4
                 WHERE id = ?1 AND status_seq <= ?4",
            )?
            .execute(params![agent, status.agent_status.as_str(), status.ready, int(status.status_seq)])?;
        if newer == 0 {
            return Ok(());
        }
        self.merge_meta(agent, status.meta.as_ref())
    }

    /// A connection is over. Until now its agent was there, whether or not it sent heartbeats.
    pub(crate) fn disconnected(&mut self, connection: ConnId, speaker: Option<(&str, &Session)>) {
        self.after_commit(move |hub| hub.close(connection));
        if let Some((agent, session)) = speaker
            && self.guard(agent, session).is_ok()
            && let Err(refusal) = self.heard(agent)
        {
            tracing::warn!(agent, ?refusal, "when the agent was last there is not written down");
        }
    }

    fn heard(&mut self, agent: &str) -> Result<()> {
        self.sql
            .prepare_cached("UPDATE agents SET last_seen = ? WHERE id = ?")?
            .execute(params![int(self.now), agent])?;
        Ok(())
    }

    /// Key by key: what is not named stays, what is null is null from then on.
    fn merge_meta(&mut self, agent: &str, news: Option<&Map<String, Value>>) -> Result<()> {
        let Some(news) = news.filter(|news| !news.is_empty()) else { return Ok(()) };
        let mut meta = self.agent(agent)?.meta;
        meta.extend(news.clone());
        check_meta(&meta)?;
        self.sql.prepare_cached("UPDATE agents SET meta = ? WHERE id = ?")?.execute(params![json(&meta)?, agent])?;
        Ok(())
    }

    pub(crate) fn set_label(&mut self, agent: &str, label: Option<&str>) -> Result<Agent> {
        label.map_or(Ok(()), |label| check_word("label", label))?;
        self.must_exist(agent)?;
        self.sql
            .prepare_cached("UPDATE agents SET label = ?, label_given = 1 WHERE id = ?")?
            .execute(params![label, agent])?;
        self.tell_agent(agent)
    }

    pub(crate) fn set_tags(&mut self, agent: &str, tags: &[String]) -> Result<Agent> {
        check_words("tags", tags)?;
        self.must_exist(agent)?;
        self.sql
            .prepare_cached("UPDATE agents SET tags = ?, tags_given = 1 WHERE id = ?")?
            .execute(params![json(&without_repeats(tags))?, agent])?;
        self.tell_agent(agent)
    }

    /// An agent learns by an event what it was given: from then on it is meant by other addresses.
    fn tell_agent(&mut self, id: &str) -> Result<Agent> {
        let agent = self.agent(id)?;
        let data = AgentEvent { agent_id: agent.id.clone(), label: agent.label.clone(), tags: agent.tags.clone() };
        self.emit(AGENT_UPDATED, &data, BTreeSet::from([agent.id.clone()]))?;
        Ok(agent)
    }

    pub(crate) fn delete_agent(&mut self, agent: &str, session: &Session) -> Result<Done> {
        self.guard(agent, session)?;
        self.dismiss(agent, DELETED)?;
        Ok(Done { ok: true })
    }

    /// The agent is gone, and what it held is free again. The row stays for its epoch's sake.
    pub(super) fn dismiss(&mut self, agent: &str, why: &str) -> Result<()> {
        self.sql.prepare_cached("UPDATE agents SET gone = ?, gone_at = ? WHERE id = ?")?.execute(params![
            why,
            int(self.now),
            agent
        ])?;
        self.release_all(agent)?;
        self.give_up_commands(agent)?;
        self.resolve_policies_again(agent)?;
        let agent = agent.to_owned();
        self.after_commit(move |hub| hub.forget(&agent));
        Ok(())
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Agent> {
    let meta: Map<String, Value> = row.json_in("meta")?;
    let lifted = |key: &str| meta.get(key).filter(|value| !value.is_null()).cloned();
    Ok(Agent {
        id: row.get("id")?,
        name: row.get("name")?,
        machine: row.get("machine")?,
        tags: row.json_in("tags")?,
        capabilities: row.json_in("capabilities")?,
        label: row.get("label")?,
        status: row.word_in("status")?,
        ready: row.get("ready")?,
        instance_id: row.get("instance_id")?,
        epoch: row.nat("epoch")?,
        provider_capabilities: lifted("providerCapabilities"),
        context: lifted("context"),
        meta,
        last_seen: row.nat("last_seen")?,
        created_at: row.nat("created_at")?,
    })
}
