//! Whom an address means.
//!
//! An agent id means that agent, registered or not. `label:`, `tag:` and `cap:` mean whoever has it when somebody asks:
//! an agent that comes later finds what is still unread. `broadcast` means who was there when it was sent. `policy:`
//! means one agent, chosen when the message is sent or, when nobody fits, by the first registration that does.

use std::collections::BTreeSet;

use relay_runner_protocol::frame::event::MESSAGE_NEW;
use relay_runner_protocol::{Message, Target};
use rusqlite::{OptionalExtension, params};
use serde_json::Value;

use super::Tx;
use super::bounds::check_word;
use super::columns::{Columns, int};
use crate::refusal::{Refusal, Result};

/// What an agent can be reached by.
pub(super) struct Addressee {
    pub(super) id: String,
    /// Its id, and `label:`, `tag:` and `cap:` with what it has.
    pub(super) addresses: BTreeSet<String>,
    /// Broadcasts up to this message were sent before it was there.
    pub(super) broadcasts_after: u64,
}

impl Addressee {
    pub(super) fn is_meant_by(&self, message: &Message) -> bool {
        match Target::parse(&message.to) {
            Target::Broadcast => message.from != self.id && message.id > self.broadcasts_after,
            Target::Policy(_) => message.resolved_to_agent.as_deref() == Some(self.id.as_str()),
            _ => self.addresses.contains(&message.to),
        }
    }
}

pub(super) fn check_target(to: &str) -> Result<()> {
    check_word("an address", to)?;
    match Target::parse(to) {
        Target::Label("") | Target::Tag("") | Target::Capability("") | Target::Policy("") => {
            Err(Refusal::invalid(format!("{to} names nobody: say which one after the colon")))
        }
        _ => Ok(()),
    }
}

impl Tx<'_> {
    pub(super) fn addressee(&self, agent: &str) -> Result<Addressee> {
        let found = self.addressees("id = ?", &[agent])?.pop();
        found.ok_or_else(|| Refusal::not_found("agent", agent))
    }

    fn addressees(&self, which: &str, values: &[&str]) -> Result<Vec<Addressee>> {
        let mut query = self.sql.prepare_cached(&format!(
            "SELECT id, label, tags, capabilities, broadcasts_after FROM agents WHERE gone IS NULL AND {which} ORDER BY id"
        ))?;
        let rows = query.query_map(rusqlite::params_from_iter(values), |row| {
            let id: String = row.get("id")?;
            let mut addresses = BTreeSet::from([id.clone()]);
            addresses.extend(row.get::<_, Option<String>>("label")?.map(|x| Target::Label(&x).to_string()));
            let tags: Vec<String> = row.json_in("tags")?;
            addresses.extend(tags.iter().map(|x| Target::Tag(x).to_string()));
            let capabilities: Vec<String> = row.json_in("capabilities")?;
            addresses.extend(capabilities.iter().map(|x| Target::Capability(x).to_string()));
            Ok(Addressee { id, addresses, broadcasts_after: row.nat("broadcasts_after")? })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Whom an event about a message concerns: its sender, and everybody who is meant by it.
    pub(super) fn audience(&self, message: &Message) -> Result<BTreeSet<String>> {
        let mut audience = BTreeSet::from([message.from.clone()]);
        audience.extend(message.resolved_to_agent.clone());
        audience.extend(message.claimed_by.clone());
        match Target::parse(&message.to) {
            Target::Agent(id) => {
                audience.insert(id.to_owned());
            }
            Target::Policy(_) => {}
            Target::Broadcast | Target::Label(_) | Target::Tag(_) | Target::Capability(_) => {
                let all = self.addressees("TRUE", &[])?;
                audience.extend(all.into_iter().filter(|a| a.is_meant_by(message)).map(|a| a.id));
            }
        }
        Ok(audience)
    }

    /// The agent that is to have a message for a policy: one that is there and ready before any other, then by id.
    pub(super) fn choose_for(&self, to: &str) -> Result<Option<String>> {
        let Target::Policy(policy) = Target::parse(to) else { return Ok(None) };
        let mut fitting: Vec<_> = self.agents()?.into_iter().filter(|a| has_policy(&a.meta, policy)).collect();
        fitting.sort_by_key(|a| {
            (a.status == relay_runner_protocol::AgentStatus::Offline, !a.ready, a.status, a.id.clone())
        });
        Ok(fitting.into_iter().next().map(|a| a.id))
    }

    /// Messages for the agent's policy that nobody was there for are its own from now on.
    pub(super) fn resolve_waiting_policies(&mut self, agent: &str) -> Result<()> {
        let meta = self.agent(agent)?.meta;
        let Some(policy) = meta.get("policyName").and_then(Value::as_str) else { return Ok(()) };
        let waiting = self.ids(
            "SELECT id FROM messages WHERE target = ? AND resolved_to IS NULL AND finished_at IS NULL
             AND deleted_at IS NULL ORDER BY id",
            &Target::Policy(policy).to_string(),
        )?;
        for id in waiting {
            self.resolve(id, Some(agent))?;
        }
        Ok(())
    }

    /// The agent is gone: what was chosen for it and it has not read goes to another one that fits.
    pub(super) fn resolve_policies_again(&mut self, gone: &str) -> Result<()> {
        let left = self.ids(
            "SELECT id FROM messages WHERE resolved_to = ?1 AND finished_at IS NULL AND deleted_at IS NULL
             AND id NOT IN (SELECT message_id FROM reads WHERE agent_id = ?1) ORDER BY id",
            gone,
        )?;
        for id in left {
            let to = self.message(id)?.to;
            let next = self.choose_for(&to)?;
            self.resolve(id, next.as_deref())?;
        }
        Ok(())
    }

    fn resolve(&mut self, id: u64, agent: Option<&str>) -> Result<()> {
        self.sql
            .prepare_cached("UPDATE messages SET resolved_to = ? WHERE id = ?")?
            .execute(params![agent, int(id)])?;
        if agent.is_some() {
            let message = self.message(id)?;
            let audience = self.audience(&message)?;
            self.emit(MESSAGE_NEW, &message, audience)?;
        }
        Ok(())
    }

    pub(super) fn ids(&self, query: &str, value: &str) -> Result<Vec<u64>> {
        let mut query = self.sql.prepare_cached(query)?;
        let rows = query.query_map([value], |row| row.nat("id"))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The agents of a command's target: the one of that id, or those whose component (the runner) has it.
    pub(super) fn commanded(&self, target: &str) -> Result<Vec<String>> {
        let mut query =
            self.sql.prepare_cached("SELECT id FROM agents WHERE gone IS NULL AND (id = ?1 OR component_id = ?1)")?;
        let rows = query.query_map([target], |row| row.get("id"))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    pub(super) fn component_of(&self, agent: &str) -> Result<Option<String>> {
        let mut query = self.sql.prepare_cached("SELECT component_id FROM agents WHERE id = ?")?;
        Ok(query.query_row([agent], |row| row.get(0)).optional()?)
    }
}

fn has_policy(meta: &serde_json::Map<String, Value>, policy: &str) -> bool {
    meta.get("policyName").and_then(Value::as_str) == Some(policy)
}
