//! What messages are answered with: threads of replies, replies that are owed, reactions.

use std::collections::BTreeSet;

use relay_runner_protocol::Message;
use relay_runner_protocol::agent::Ok as Done;
use relay_runner_protocol::frame::ReactionEvent;
use relay_runner_protocol::frame::event::MESSAGE_REACTION;
use relay_runner_protocol::message::Cursor;
use relay_runner_protocol::reply::{Obligation, React, Reaction};
use rusqlite::params;
use serde::Deserialize;
use serde_json::Value;

use super::Tx;
use super::bounds::check_word;
use super::columns::{Columns, int, json};
use super::inbox::{MEANT, MOST, USUAL};
use super::messages::{MESSAGE, read};
use crate::refusal::{Refusal, Result};

/// Reactions to one message.
const MAX_REACTIONS: u64 = 1000;
/// Characters of a reaction: an emoji may be made of several.
const MAX_EMOJI: usize = 64;

/// The query of `GET /messages/{id}/thread`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ThreadQuery {
    after: u64,
    limit: Option<u32>,
}

impl Tx<'_> {
    /// The thread that a message belongs to, in the order in which it was sent; the message alone when nobody replied.
    pub(crate) fn thread(&self, id: u64, query: ThreadQuery) -> Result<Vec<Message>> {
        let root = self.message(id)?.thread_id.unwrap_or(id);
        let mut select = self.sql.prepare_cached(&format!(
            "{MESSAGE} WHERE (m.id = ?2 OR m.thread_id = ?2) AND m.id > ?3 AND m.deleted_at IS NULL
             ORDER BY m.id LIMIT ?4"
        ))?;
        let limit = query.limit.unwrap_or(USUAL).clamp(1, MOST);
        let rows = select.query_map(params![int(self.now), int(root), int(query.after), limit], read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    pub(crate) fn message_cursor(&self) -> Result<Cursor> {
        // From the sequence: the newest message may be gone already.
        let mut query =
            self.sql.prepare_cached("SELECT ifnull(max(seq), 0) AS id FROM sqlite_sequence WHERE name = 'messages'")?;
        let cursor = query.query_row([], |row| row.nat("id"))?;
        Ok(Cursor { cursor, event_cursor: self.newest_event()? })
    }

    /// What was sent to the agent, expects a reply, and has none from it. A claimable message that several may have is
    /// owed a reply by whoever has it, or has finished it. When it is due, the sender may say in `payload.dueAt`.
    pub(crate) fn obligations(&self, agent: &str) -> Result<Vec<Obligation>> {
        let me = self.addressee(agent)?;
        let mut select = self.sql.prepare_cached(&format!(
            "SELECT m.id, m.sender, m.subject, m.created_at, m.payload
             FROM messages m LEFT JOIN claims c ON c.message_id = m.id AND c.held AND c.expires_at > ?1
             WHERE m.reply_expected AND m.deleted_at IS NULL AND m.sender <> ?3 AND {MEANT}
                 AND (m.finished_at IS NULL OR m.finished_by IS NOT NULL)
                 AND (NOT m.claimable OR ?3 IN (m.target, m.resolved_to, c.agent_id, m.finished_by))
                 AND NOT EXISTS (
                     SELECT 1 FROM messages r WHERE r.reply_to = m.id AND r.sender = ?3 AND r.deleted_at IS NULL)
             ORDER BY m.id LIMIT {MOST}"
        ))?;
        let values = params![int(self.now), json(&me.addresses)?, me.id, int(me.broadcasts_after)];
        let rows = select.query_map(values, |row| {
            let payload: Value = row.json_in("payload")?;
            Ok(Obligation {
                message_id: row.nat("id")?,
                from: row.get("sender")?,
                subject: row.get("subject")?,
                since: row.nat("created_at")?,
                due_at: payload.get("dueAt").and_then(Value::as_u64),
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The same reaction of the same agent is there once. It ends no obligation: that takes a reply.
    pub(crate) fn react(&mut self, id: u64, new: &React) -> Result<Done> {
        check_word("agentId", &new.agent_id)?;
        check_emoji(&new.emoji)?;
        if let Some(session) = &new.session {
            self.guard(&new.agent_id, session)?;
        }
        let message = self.message(id)?;
        let there: i64 = self
            .sql
            .prepare_cached("SELECT count(*) FROM reactions WHERE message_id = ?")?
            .query_row([int(id)], |row| row.get(0))?;
        if there >= int(MAX_REACTIONS) {
            return Err(Refusal::invalid(format!("a message may have {MAX_REACTIONS} reactions")));
        }
        let added = self
            .sql
            .prepare_cached("INSERT OR IGNORE INTO reactions (message_id, agent_id, emoji, at) VALUES (?, ?, ?, ?)")?
            .execute(params![int(id), new.agent_id, new.emoji, int(self.now)])?;
        if added > 0 {
            let event = ReactionEvent { message_id: id, agent_id: new.agent_id.clone(), emoji: new.emoji.clone() };
            self.emit(MESSAGE_REACTION, &event, BTreeSet::from([message.from, new.agent_id.clone()]))?;
        }
        Ok(Done { ok: true })
    }

    pub(crate) fn reactions(&self, id: u64) -> Result<Vec<Reaction>> {
        self.message(id)?;
        let mut query = self.sql.prepare_cached(
            "SELECT agent_id, emoji, at FROM reactions WHERE message_id = ? ORDER BY at, agent_id, emoji",
        )?;
        let rows = query.query_map([int(id)], |row| {
            Ok(Reaction { agent_id: row.get("agent_id")?, emoji: row.get("emoji")?, at: row.nat("at")? })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

fn check_emoji(emoji: &str) -> Result<()> {
    if emoji.is_empty() || emoji.chars().count() > MAX_EMOJI || emoji.chars().any(char::is_control) {
        let message = format!("emoji has 1 to {MAX_EMOJI} characters and no control characters");
        return Err(Refusal::invalid(message));
    }
    Ok(())
}
