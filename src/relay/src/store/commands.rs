//! Commands: orders to one agent, and what became of them.

use relay_runner_protocol::command::{Command, CommandReport, CommandStatus, NewCommand};
use relay_runner_protocol::frame::{CommandOrder, ServerFrame};
use relay_runner_protocol::{Session, Target};
use rusqlite::{OptionalExtension, Row, params};

use super::bounds::check_word;
use super::columns::{Columns, int, json};
use super::{Tx, random_id};
use crate::refusal::{Refusal, Result};

/// Commands handed over at one registration, oldest first; what is beyond comes with the next one.
const AT_ONCE: u32 = 256;
/// An order that nobody took for so long is not carried out any more: a shutdown of yesterday must not end the agent
/// that comes up today. Milliseconds.
const MAX_WAIT: u64 = 24 * 60 * 60 * 1000;
/// How the id of a command's frame begins.
const FRAME_PREFIX: &str = "c-";

impl Tx<'_> {
    pub(crate) fn issue(&mut self, new: &NewCommand) -> Result<Command> {
        check_word("type", &new.command_type)?;
        check_word("target", &new.target)?;
        if !matches!(Target::parse(&new.target), Target::Agent(_)) {
            return Err(Refusal::invalid("a command goes to one agent: target must be an agent or runner id"));
        }
        let id = random_id()?;
        self.sql
            .prepare_cached(
                "INSERT INTO commands (id, type, target, params, status, created_at, updated_at)
                 VALUES (?1, ?2, ?3, ?4, 'pending', ?5, ?5)",
            )?
            .execute(params![id, new.command_type, new.target, json(&new.params)?, int(self.now)])?;
        let command = self.command(&id)?;
        let order = Order::from(command.clone()).into_frame();
        for agent in self.commanded(&new.target)? {
            let order = order.clone();
            self.after_commit(move |hub| hub.send_to_agent(&agent, &order));
        }
        Ok(command)
    }

    pub(crate) fn command(&self, id: &str) -> Result<Command> {
        let mut query = self.sql.prepare_cached("SELECT * FROM commands WHERE id = ?")?;
        query.query_row([id], read).optional()?.ok_or_else(|| Refusal::not_found("command", id))
    }

    /// Only forward: what was overtaken is taken as said and changes nothing, and so does an outcome told again.
    pub(crate) fn report_command(&mut self, id: &str, report: &CommandReport) -> Result<Command> {
        let command = self.command(id)?;
        if report.status == CommandStatus::Pending {
            return Err(Refusal::invalid("a report says accepted, running, succeeded or failed"));
        }
        if command.status.is_final() && report.status.is_final() && command.status != report.status {
            let message = format!("command {id} has {} and stays so", command.status.as_str());
            return Err(Refusal::conflict("command_ended", message));
        }
        if command.status.is_final() || report.status <= command.status {
            return Ok(command);
        }
        let result = report.result.as_ref().map(json).transpose()?;
        self.sql
            .prepare_cached(
                "UPDATE commands SET status = ?2, result = ifnull(?3, result), error = ifnull(?4, error),
                     acknowledged = 1, updated_at = ?5 WHERE id = ?1",
            )?
            .execute(params![id, report.status.as_str(), result, report.error, int(self.now)])?;
        self.command(id)
    }

    /// What was not acknowledged, for an agent that registers.
    pub(super) fn waiting_commands(&self, agent: &str, component: &str) -> Result<Vec<Order>> {
        let mut query = self.sql.prepare_cached(
            "SELECT * FROM commands WHERE target IN (?1, ?2) AND NOT acknowledged AND created_at > ?3
             ORDER BY n LIMIT ?4",
        )?;
        let oldest = int(self.now.saturating_sub(MAX_WAIT));
        let rows = query.query_map(params![agent, component, oldest, AT_ONCE], read)?;
        rows.map(|command| Ok(Order::from(command?))).collect()
    }

    /// An `ack` of a frame. Those of events need no memory: where to go on is the client's own to say.
    pub(crate) fn acknowledge(&mut self, agent: &str, session: &Session, frame: &str) -> Result<()> {
        self.guard(agent, session)?;
        let Some(id) = frame.strip_prefix(FRAME_PREFIX) else { return Ok(()) };
        let component = self.component_of(agent)?;
        self.sql
            .prepare_cached("UPDATE commands SET acknowledged = 1 WHERE id = ? AND target IN (?, ?)")?
            .execute(params![id, agent, component])?;
        Ok(())
    }

    /// The agent is gone: what it never took is not for a later one of that name.
    pub(super) fn give_up_commands(&mut self, agent: &str) -> Result<()> {
        self.fail_waiting("target = ?3", "the agent was gone before it took the command", agent)
    }

    pub(super) fn give_up_old_commands(&mut self) -> Result<()> {
        let oldest = int(self.now.saturating_sub(MAX_WAIT));
        self.fail_waiting("created_at <= ?3", "no agent took the command within 24 h", oldest)
    }

    fn fail_waiting(&mut self, which: &str, why: &str, value: impl rusqlite::ToSql) -> Result<()> {
        self.sql
            .prepare_cached(&format!(
                "UPDATE commands SET status = 'failed', error = ?1, acknowledged = 1, updated_at = ?2
                 WHERE NOT acknowledged AND {which}"
            ))?
            .execute(params![why, int(self.now), value])?;
        Ok(())
    }
}

/// A command on its way to its agent.
#[derive(Debug)]
pub(super) struct Order(CommandOrder);

impl From<Command> for Order {
    fn from(command: Command) -> Self {
        Self(CommandOrder {
            command_id: command.id,
            command_type: command.command_type,
            target: command.target,
            params: command.params,
        })
    }
}

impl Order {
    pub(super) fn into_frame(self) -> ServerFrame {
        ServerFrame::Command { id: format!("{FRAME_PREFIX}{}", self.0.command_id), payload: self.0 }
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Command> {
    let result = match row.get::<_, Option<String>>("result")? {
        Some(_) => Some(row.json_in("result")?),
        None => None,
    };
    Ok(Command {
        id: row.get("id")?,
        command_type: row.get("type")?,
        target: row.get("target")?,
        params: row.json_in("params")?,
        status: row.word_in("status")?,
        result,
        error: row.get("error")?,
        created_at: row.nat("created_at")?,
        updated_at: row.nat("updated_at")?,
    })
}
