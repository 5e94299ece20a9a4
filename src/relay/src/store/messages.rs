//! Messages: sending, reading, and how they end.
//!
//! A message that is finished is offered to nobody any more, though it can still be read. A plain one never is: each of
//! its readers marks it for itself. A claimable one is finished by the read mark of whoever holds its claim or, when it
//! carries a task, by the end of that task.

use relay_runner_protocol::Message;
use relay_runner_protocol::agent::Ok as Done;
use relay_runner_protocol::frame::MessageEvent;
use relay_runner_protocol::frame::event::{MESSAGE_DELETED, MESSAGE_NEW};
use relay_runner_protocol::message::{MarkRead, NewMessage};
use rusqlite::{OptionalExtension, Row, params};

use super::Tx;
use super::bounds::check_word;
use super::columns::{Columns, int, json, word};
use super::targets::check_target;
use crate::refusal::{Refusal, Result};

/// Attachments of one message.
const MAX_ATTACHMENTS: usize = 64;

/// All that a [`Message`] is read from; `?1` is the present. A claim shows while its lease lasts.
pub(super) const MESSAGE: &str = "
    SELECT m.*, c.agent_id AS claimed_by, c.expires_at AS claim_expires_at,
        (SELECT json_group_array(r.agent_id) FROM reads r WHERE r.message_id = m.id) AS read_by
    FROM messages m LEFT JOIN claims c ON c.message_id = m.id AND c.held AND c.expires_at > ?1
";

impl Tx<'_> {
    pub(crate) fn send(&mut self, new: &NewMessage) -> Result<Message> {
        self.check_message(new)?;
        let resolved_to = self.choose_for(&new.to)?;
        let attachments = self.known_attachments(&new.attachments)?;
        let thread = new.reply_to.map(|id| self.message(id)).transpose()?.map(|m| m.thread_id.unwrap_or(m.id));
        self.sql
            .prepare_cached(
                "INSERT INTO messages (sender, target, resolved_to, kind, subject, body, payload, claimable, priority,
                     reply_to, thread_id, reply_expected, attachments, task_id, created_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                new.from,
                new.to,
                resolved_to,
                new.kind,
                new.subject,
                new.body,
                json(&new.payload)?,
                new.claimable,
                word(&new.priority)?,
                new.reply_to.map(int),
                thread.map(int),
                new.reply_expected,
                json(&attachments)?,
                relay_runner_protocol::message::task_id(&new.payload).map(int),
                int(self.now),
            ])?;
        let message = self.message(u64::try_from(self.sql.last_insert_rowid()).unwrap_or(0))?;
        self.attach(message.id, &attachments)?;
        let audience = self.audience(&message)?;
        self.emit(MESSAGE_NEW, &message, audience)?;
        Ok(message)
    }

    fn check_message(&self, new: &NewMessage) -> Result<()> {
        check_word("from", &new.from)?;
        check_target(&new.to)?;
        check_word("kind", &new.kind)?;
        if new.attachments.len() > MAX_ATTACHMENTS {
            return Err(Refusal::invalid(format!("a message may have {MAX_ATTACHMENTS} attachments")));
        }
        match new.reply_to {
            Some(id) if self.maybe_message(id)?.is_none() => {
                Err(Refusal::invalid(format!("replyTo: there is no message {id}")))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn message(&self, id: u64) -> Result<Message> {
        self.maybe_message(id)?.ok_or_else(|| Refusal::not_found("message", id))
    }

    fn maybe_message(&self, id: u64) -> Result<Option<Message>> {
        let mut query = self.sql.prepare_cached(&format!("{MESSAGE} WHERE m.id = ?2 AND m.deleted_at IS NULL"))?;
        Ok(query.query_row(params![int(self.now), int(id)], read).optional()?)
    }

    /// Who finished a message: none while it is not finished, and an empty name when that was no agent.
    pub(super) fn finished_by(&self, id: u64) -> Result<Option<String>> {
        let mut query = self
            .sql
            .prepare_cached("SELECT ifnull(finished_by, '') FROM messages WHERE id = ? AND finished_at IS NOT NULL")?;
        Ok(query.query_row([int(id)], |row| row.get(0)).optional()?)
    }

    /// Marks a message as read by an agent. By the holder of its claim this finishes a claimable message, unless a task
    /// goes with it that is not done yet.
    pub(crate) fn mark_read(&mut self, id: u64, mark: &MarkRead) -> Result<Done> {
        check_word("agentId", &mark.agent_id)?;
        if let Some(session) = &mark.session {
            self.guard(&mark.agent_id, session)?;
        }
        let message = self.message(id)?;
        self.sql
            .prepare_cached("INSERT OR IGNORE INTO reads (message_id, agent_id, at) VALUES (?, ?, ?)")?
            .execute(params![int(id), mark.agent_id, int(self.now)])?;
        let holds = message.claimed_by.as_deref() == Some(mark.agent_id.as_str());
        if holds && !self.carries_open_task(&message)? {
            self.finish(id, Some(&mark.agent_id))?;
        }
        Ok(Done { ok: true })
    }

    /// Ends a message, and the claim on it.
    pub(super) fn finish(&mut self, id: u64, by: Option<&str>) -> Result<()> {
        self.sql
            .prepare_cached(
                "UPDATE messages SET finished_by = ?, finished_at = ? WHERE id = ? AND finished_at IS NULL",
            )?
            .execute(params![by, int(self.now), int(id)])?;
        self.end_claim(id)
    }

    /// Takes a message back. What it carried is cancelled, a claim on it ends, and it is not found from then on.
    pub(crate) fn delete_message(&mut self, id: u64) -> Result<Done> {
        let message = self.message(id)?;
        let audience = self.audience(&message)?;
        if let Some(task) = self.open_task_of(&message)?.filter(|task| task.message_id == id) {
            self.cancel(&task, "its message was deleted")?;
        }
        self.finish(id, None)?;
        self.sql
            .prepare_cached("UPDATE messages SET deleted_at = ? WHERE id = ?")?
            .execute(params![int(self.now), int(id)])?;
        self.emit(MESSAGE_DELETED, &MessageEvent { message_id: id, agent_id: None }, audience)?;
        Ok(Done { ok: true })
    }
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: row.nat("id")?,
        from: row.get("sender")?,
        to: row.get("target")?,
        resolved_to_agent: row.get("resolved_to")?,
        kind: row.get("kind")?,
        subject: row.get("subject")?,
        body: row.get("body")?,
        payload: row.json_in("payload")?,
        claimable: row.get("claimable")?,
        priority: row.word_in("priority")?,
        claimed_by: row.get("claimed_by")?,
        claim_expires_at: row.maybe_nat("claim_expires_at")?,
        reply_to: row.maybe_nat("reply_to")?,
        thread_id: row.maybe_nat("thread_id")?,
        reply_expected: row.get("reply_expected")?,
        attachments: row.json_in("attachments")?,
        read_by: row.json_in("read_by")?,
        created_at: row.nat("created_at")?,
    })
}
