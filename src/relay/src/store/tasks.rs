//! Tasks: the tracked work that messages carry.

use relay_runner_protocol::Message;
use relay_runner_protocol::frame::TaskEvent;
use relay_runner_protocol::frame::event::{TASK_CANCELLED, TASK_CREATED, TASK_UPDATED};
use relay_runner_protocol::message::NewMessage;
use relay_runner_protocol::task::{NewTask, Task, TaskReport, TaskStatus};
use rusqlite::{OptionalExtension, Row, params};
use serde::Deserialize;
use serde_json::json;

use super::Tx;
use super::bounds::check_word;
use super::claims::Lease;
use super::columns::{Columns, int, json};
use super::targets::check_target;
use crate::refusal::{Refusal, Result};

/// Who sends a task's message when nobody is named.
const NOBODY: &str = "relay";
/// Characters of a title.
const MAX_TITLE: usize = 500;
/// Tasks in one answer, when the caller does not say and at most.
const USUAL: u32 = 100;
const MOST: u32 = 1000;

/// The query of `GET /tasks`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TaskQuery {
    status: Option<TaskStatus>,
    after: u64,
    limit: Option<u32>,
}

impl Tx<'_> {
    /// Makes a task and its claimable message. While a task with the same `dedupKey` is not done or failed, that one is
    /// the answer.
    pub(crate) fn create_task(&mut self, new: &NewTask) -> Result<Task> {
        if new.title.trim().is_empty() || new.title.chars().count() > MAX_TITLE {
            return Err(Refusal::invalid(format!("a title has 1 to {MAX_TITLE} characters")));
        }
        check_target(&new.target)?;
        if let Some(key) = &new.dedup_key {
            check_word("dedupKey", key)?;
            if let Some(known) = self.open_task_for(key)? {
                return Ok(known);
            }
        }
        let status = TaskStatus::Open;
        self.sql
            .prepare_cached(
                "INSERT INTO tasks (title, body, target, status, message_id, metadata, dedup_key, callback_url,
                     created_at, updated_at)
                 VALUES (?1, ?2, ?3, ?4, 0, '{}', ?5, ?6, ?7, ?7)",
            )?
            .execute(params![
                new.title,
                new.body,
                new.target,
                status.as_str(),
                new.dedup_key,
                new.callback_url,
                int(self.now)
            ])?;
        let id = u64::try_from(self.sql.last_insert_rowid()).unwrap_or(0);
        let message = self.send(&message_of(id, new))?;
        self.sql
            .prepare_cached("UPDATE tasks SET message_id = ? WHERE id = ?")?
            .execute(params![int(message.id), int(id)])?;
        let task = self.task(id)?;
        self.tell_task(TASK_CREATED, &task)?;
        Ok(task)
    }

    fn open_task_for(&self, dedup_key: &str) -> Result<Option<Task>> {
        let mut query =
            self.sql.prepare_cached("SELECT * FROM tasks WHERE dedup_key = ? AND status NOT IN ('done', 'failed')")?;
        Ok(query.query_row([dedup_key], read).optional()?)
    }

    pub(crate) fn task(&self, id: u64) -> Result<Task> {
        let mut query = self.sql.prepare_cached("SELECT * FROM tasks WHERE id = ?")?;
        query.query_row([int(id)], read).optional()?.ok_or_else(|| Refusal::not_found("task", id))
    }

    pub(crate) fn tasks(&self, query: TaskQuery) -> Result<Vec<Task>> {
        let mut select = self
            .sql
            .prepare_cached("SELECT * FROM tasks WHERE id > ?1 AND (?2 IS NULL OR status = ?2) ORDER BY id LIMIT ?3")?;
        let limit = query.limit.unwrap_or(USUAL).clamp(1, MOST);
        let values = params![int(query.after), query.status.map(TaskStatus::as_str), limit];
        let rows = select.query_map(values, read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Takes a report in. With a fence it must be the one of a claim on a message that carries the task; without, nobody
    /// may hold one. The same end told again changes nothing; a task that has ended does not change any more.
    pub(crate) fn report_task(&mut self, id: u64, report: &TaskReport) -> Result<Task> {
        check_word("agentId", &report.agent_id)?;
        let task = self.task(id)?;
        let claims = self.claims_on_task(id)?;
        let held = self.check_report(&task, &claims, report)?;
        if task.status.is_final() {
            return told_again(task, report);
        }
        let mut metadata = task.metadata;
        metadata.extend(report.metadata.clone());
        let agent = (report.status != TaskStatus::Open).then_some(&report.agent_id);
        self.sql
            .prepare_cached(
                "UPDATE tasks SET status = ?2, agent_id = ?3, report = ifnull(?4, report), metadata = ?5,
                     updated_at = ?6 WHERE id = ?1",
            )?
            .execute(params![int(id), report.status.as_str(), agent, report.body, json(&metadata)?, int(self.now)])?;
        let task = self.task(id)?;
        self.tell_task(TASK_UPDATED, &task)?;
        if task.status.is_final() {
            self.finish_messages_of(&task, held.then_some(report.agent_id.as_str()))?;
        }
        Ok(task)
    }

    /// Whether the report comes from the holder of a claim.
    fn check_report(&self, task: &Task, claims: &[Lease], report: &TaskReport) -> Result<bool> {
        let Some(fence) = report.fence else {
            return match claims.iter().find(|c| c.is_live(self.now)) {
                Some(c) if !task.status.is_final() => {
                    let message = format!("{} holds the claim of task {}: its fence is needed", c.agent_id, task.id);
                    Err(Refusal::conflict("claim_held", message))
                }
                _ => Ok(false),
            };
        };
        let claim = claims.iter().find(|c| c.fence == fence && c.agent_id == report.agent_id);
        let claim = claim.ok_or_else(|| Refusal::stale_fence(fence))?;
        // A claim that ended with its task: the report may be the one that ended it, sent again.
        if claim.is_live(self.now) || task.status.is_final() {
            return Ok(true);
        }
        Err(Refusal::lease_ended(fence))
    }

    /// `DELETE /tasks/{id}`: nobody is to work on it any more, whoever holds it now.
    pub(crate) fn cancel_task(&mut self, id: u64) -> Result<Task> {
        let task = self.task(id)?;
        if !task.status.is_final() {
            self.cancel(&task, "cancelled")?;
        }
        self.task(id)
    }

    pub(super) fn cancel(&mut self, task: &Task, why: &str) -> Result<()> {
        self.sql
            .prepare_cached("UPDATE tasks SET status = 'failed', report = ?, updated_at = ? WHERE id = ?")?
            .execute(params![why, int(self.now), int(task.id)])?;
        let task = self.task(task.id)?;
        self.tell_task(TASK_CANCELLED, &task)?;
        self.finish_messages_of(&task, None)
    }

    /// The task that goes with a message and has not ended.
    pub(super) fn open_task_of(&self, message: &Message) -> Result<Option<Task>> {
        let Some(id) = message.task_id() else { return Ok(None) };
        let mut query = self.sql.prepare_cached("SELECT * FROM tasks WHERE id = ?")?;
        let task = query.query_row([int(id)], read).optional()?;
        Ok(task.filter(|task| !task.status.is_final()))
    }

    pub(super) fn carries_open_task(&self, message: &Message) -> Result<bool> {
        Ok(self.open_task_of(message)?.is_some())
    }

    /// The claim on a message has ended: its task is open again, if it is not already, and unless somebody else holds it
    /// by another message. A blocked one only if `also_blocked`.
    pub(super) fn reopen_task(&mut self, message: &Message, also_blocked: bool) -> Result<()> {
        let Some(task) = self.open_task_of(message)? else { return Ok(()) };
        let stays = match task.status {
            TaskStatus::InProgress => false,
            TaskStatus::Blocked => !also_blocked,
            TaskStatus::Open | TaskStatus::Done | TaskStatus::Failed => true,
        };
        if stays || self.claims_on_task(task.id)?.iter().any(|c| c.is_live(self.now)) {
            return Ok(());
        }
        self.sql
            .prepare_cached("UPDATE tasks SET status = 'open', agent_id = NULL, updated_at = ? WHERE id = ?")?
            .execute(params![int(self.now), int(task.id)])?;
        let task = self.task(task.id)?;
        self.tell_task(TASK_UPDATED, &task)
    }

    /// The newest claim on each message that carries the task.
    fn claims_on_task(&self, id: u64) -> Result<Vec<Lease>> {
        let mut claims = Vec::new();
        for message in self.messages_of(id)? {
            claims.extend(self.claim_of(message)?);
        }
        Ok(claims)
    }

    fn messages_of(&self, task: u64) -> Result<Vec<u64>> {
        let mut query =
            self.sql.prepare_cached("SELECT id FROM messages WHERE task_id = ? AND deleted_at IS NULL ORDER BY id")?;
        let rows = query.query_map([int(task)], |row| row.nat("id"))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn finish_messages_of(&mut self, task: &Task, by: Option<&str>) -> Result<()> {
        for message in self.messages_of(task.id)? {
            self.finish(message, by)?;
        }
        Ok(())
    }

    fn tell_task(&mut self, event: &str, task: &Task) -> Result<()> {
        let mut audience = self.audience(&self.message(task.message_id)?)?;
        audience.extend(task.agent_id.clone());
        let data = TaskEvent {
            task_id: task.id,
            message_id: task.message_id,
            status: task.status,
            agent_id: task.agent_id.clone(),
        };
        self.emit(event, &data, audience)
    }
}

fn told_again(task: Task, report: &TaskReport) -> Result<Task> {
    if task.status == report.status {
        return Ok(task);
    }
    let message = format!("task {} is {} and stays so", task.id, task.status.as_str());
    Err(Refusal::conflict("task_ended", message))
}

fn message_of(id: u64, new: &NewTask) -> NewMessage {
    let body = if new.body.is_empty() { new.title.clone() } else { format!("{}\n\n{}", new.title, new.body) };
    NewMessage {
        from: new.from.clone().unwrap_or_else(|| NOBODY.into()),
        to: new.target.clone(),
        kind: "task".into(),
        subject: Some(new.title.clone()),
        body,
        payload: json!({ "taskId": id }),
        claimable: true,
        priority: new.priority,
        reply_expected: false,
        reply_to: None,
        attachments: new.attachments.clone(),
        idempotency_key: None,
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Task> {
    Ok(Task {
        id: row.nat("id")?,
        title: row.get("title")?,
        body: row.get("body")?,
        target: row.get("target")?,
        status: row.word_in("status")?,
        message_id: row.nat("message_id")?,
        agent_id: row.get("agent_id")?,
        report: row.get("report")?,
        metadata: row.json_in("metadata")?,
        created_at: row.nat("created_at")?,
        updated_at: row.nat("updated_at")?,
    })
}
