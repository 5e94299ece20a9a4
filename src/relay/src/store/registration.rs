//! Registration: epochs, and the taking over of an agent by another instance.

use relay_runner_protocol::Agent;
use relay_runner_protocol::agent::RegisterAgent;
use relay_runner_protocol::frame::{Register, Registered, ServerFrame};
use rusqlite::{OptionalExtension, params};
use serde_json::{Map, Value};

use super::Tx;
use super::bounds::{check_agent_id, check_meta, check_word, check_words, without_repeats};
use super::columns::{Columns, int, json};
use crate::hub::ConnId;
use crate::refusal::{Refusal, Result};

/// Why an agent is gone, as its row says it.
pub(super) const DELETED: &str = "deleted";
pub(super) const PRUNED: &str = "pruned";

/// What a registration says, whichever way it came.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) agent: String,
    pub(crate) component: String,
    pub(crate) name: Option<String>,
    pub(crate) instance: String,
    pub(crate) machine: String,
    pub(crate) tags: Vec<String>,
    pub(crate) capabilities: Vec<String>,
    pub(crate) label: Option<String>,
    pub(crate) meta: Map<String, Value>,
}

impl From<Register> for Registration {
    fn from(frame: Register) -> Self {
        let label = frame.meta.get("label").and_then(Value::as_str).map(str::to_owned);
        Self {
            agent: frame.agent_id.unwrap_or_else(|| frame.component_id.clone()),
            component: frame.component_id,
            name: None,
            instance: frame.instance_id,
            machine: frame.machine,
            tags: frame.tags,
            capabilities: frame.capabilities,
            label,
            meta: frame.meta,
        }
    }
}

impl From<RegisterAgent> for Registration {
    fn from(body: RegisterAgent) -> Self {
        Self {
            component: body.id.clone(),
            agent: body.id,
            name: body.name,
            instance: body.instance_id,
            machine: body.machine,
            tags: body.tags,
            capabilities: body.capabilities,
            label: body.label,
            meta: body.meta,
        }
    }
}

/// The row as it was before a registration.
struct Before {
    instance: String,
    epoch: u64,
    gone: Option<String>,
    last_seen: u64,
}

impl Tx<'_> {
    /// Registers the agent that a connection speaks for: answers, hands over the commands that nobody acknowledged, and
    /// lets events through from then on, in this order.
    pub(crate) fn register_on_bus(
        &mut self,
        new: &Registration,
        connection: ConnId,
        frame: String,
        heartbeat_interval_ms: u64,
    ) -> Result<Registered> {
        // Replaced or superseded a moment ago: what it still says must not take the agent back.
        if !self.hub.is_open(connection) {
            return Err(Refusal::unavailable());
        }
        let (epoch, superseded) = self.enter(new)?;
        let payload = Registered {
            agent_id: new.agent.clone(),
            epoch,
            cursor: self.newest_event()?,
            relay_id: Some(self.relay_id()?),
            heartbeat_interval_ms: Some(heartbeat_interval_ms),
            time: self.now,
        };
        let answer = ServerFrame::Registered { id: frame, payload: payload.clone() };
        let commands = self.waiting_commands(&new.agent, &new.component)?;
        let agent = new.agent.clone();
        self.after_commit(move |hub| {
            hub.send(connection, &answer);
            for command in commands {
                hub.send(connection, &command.into_frame());
            }
            hub.bind(connection, &agent, superseded);
        });
        self.resolve_waiting_policies(&new.agent)?;
        Ok(payload)
    }

    /// `POST /agents`: for clients without a bus.
    pub(crate) fn register(&mut self, new: &Registration) -> Result<Agent> {
        let (_, superseded) = self.enter(new)?;
        if superseded {
            let agent = new.agent.clone();
            self.after_commit(move |hub| hub.unbind(&agent, None, true));
        }
        self.resolve_waiting_policies(&new.agent)?;
        self.agent(&new.agent)
    }

    /// Gives out the epoch, and says whether that ends the epoch of somebody who is there. The same instance keeps its
    /// epoch; any other gets the next one. An instance that deleted its agent and comes back gets the next one too, so
    /// that what it sent before the deletion and arrives after it stays without effect.
    fn enter(&mut self, new: &Registration) -> Result<(u64, bool)> {
        check(new)?;
        let before = self.before(&new.agent)?;
        let (epoch, is_new) = match &before {
            None => (1, true),
            Some(b) if b.instance == new.instance && b.gone.as_deref() != Some(DELETED) => (b.epoch, false),
            Some(b) => (b.epoch + 1, true),
        };
        let superseded = match &before {
            Some(b) if is_new && b.gone.is_none() => {
                self.take_over(new, b)?;
                true
            }
            _ => false,
        };
        let came_back = before.is_some_and(|b| b.gone.as_deref() == Some(DELETED));
        self.write_agent(new, epoch, is_new, came_back)?;
        Ok((epoch, superseded))
    }

    fn before(&self, agent: &str) -> Result<Option<Before>> {
        let mut query =
            self.sql.prepare_cached("SELECT instance_id, epoch, gone, last_seen FROM agents WHERE id = ?")?;
        let row = query.query_row([agent], |row| {
            Ok(Before {
                instance: row.get("instance_id")?,
                epoch: row.nat("epoch")?,
                gone: row.get("gone")?,
                last_seen: row.nat("last_seen")?,
            })
        });
        Ok(row.optional()?)
    }

    /// Two runners for one agent must not evict each other for ever: an instance takes over once per pause. An agent
    /// that nobody answers for any more may be taken at any time.
    fn take_over(&mut self, new: &Registration, before: &Before) -> Result<()> {
        if !self.is_present(&new.agent, before.last_seen) {
            return Ok(());
        }
        let last: Option<i64> = self
            .sql
            .prepare_cached("SELECT at FROM takeovers WHERE agent_id = ? AND instance_id = ?")?
            .query_row(params![new.agent, new.instance], |row| row.get(0))
            .optional()?;
        if last.is_some_and(|at| int(self.now) < at.saturating_add(int(self.rules.takeover_pause))) {
            let message = format!(
                "this instance has taken {} over a moment ago, and another one has taken it back; two runners for one \
                 agent would evict each other for ever, so this one is refused for {} s",
                new.agent,
                self.rules.takeover_pause / 1000
            );
            return Err(Refusal::superseded(message));
        }
        self.sql
            .prepare_cached("INSERT OR REPLACE INTO takeovers (agent_id, instance_id, at) VALUES (?, ?, ?)")?
            .execute(params![new.agent, new.instance, int(self.now)])?;
        Ok(())
    }

    /// A registration tells all about an agent. What outlives it within an epoch: status and readiness with their
    /// number, and the label and tags that somebody gave the agent since.
    fn write_agent(&mut self, new: &Registration, epoch: u64, is_new: bool, came_back: bool) -> Result<()> {
        self.sql
            .prepare_cached(
                "INSERT INTO agents (id, name, component_id, machine, tags, capabilities, label, status, instance_id,
                     epoch, meta, broadcasts_after, last_seen, created_at)
                 VALUES (:id, :name, :component, :machine, :tags, :capabilities, :label, 'idle', :instance, :epoch,
                     :meta, (SELECT ifnull(max(id), 0) FROM messages), :now, :now)
                 ON CONFLICT (id) DO UPDATE SET
                     name = :name, component_id = :component, machine = :machine,
                     tags = iif(tags_given AND NOT :is_new, tags, :tags), tags_given = tags_given AND NOT :is_new,
                     capabilities = :capabilities, label = iif(label_given AND NOT :is_new, label, :label),
                     label_given = label_given AND NOT :is_new,
                     instance_id = :instance, epoch = :epoch, meta = :meta, last_seen = :now,
                     status = iif(:is_new OR gone IS NOT NULL, 'idle', status),
                     ready = iif(:is_new OR gone IS NOT NULL, 0, ready),
                     status_seq = iif(:is_new, -1, status_seq),
                     broadcasts_after = iif(:came_back, excluded.broadcasts_after, broadcasts_after),
                     created_at = iif(:came_back, :now, created_at),
                     gone = NULL, gone_at = NULL",
            )?
            .execute(rusqlite::named_params! {
                ":id": new.agent,
                ":name": new.name.as_deref().unwrap_or(&new.agent),
                ":component": new.component,
                ":machine": new.machine,
                ":tags": json(&without_repeats(&new.tags))?,
                ":capabilities": json(&without_repeats(&new.capabilities))?,
                ":label": new.label,
                ":instance": new.instance,
                ":epoch": int(epoch),
                ":meta": json(&new.meta)?,
                ":now": int(self.now),
                ":is_new": is_new,
                ":came_back": came_back,
            })?;
        Ok(())
    }
}

fn check(new: &Registration) -> Result<()> {
    check_agent_id(&new.agent)?;
    check_word("componentId", &new.component)?;
    check_word("instanceId", &new.instance)?;
    check_words("tags", &new.tags)?;
    check_words("capabilities", &new.capabilities)?;
    if let Some(label) = &new.label {
        check_word("label", label)?;
    }
    check_meta(&new.meta)
}
