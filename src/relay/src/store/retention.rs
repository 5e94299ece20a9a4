//! How much is kept: what is old, or beyond a number, and done with, goes.
//!
//! A claimable message that is not finished stays, however old, and so does its task: it is work that somebody is owed.
//! A plain one goes when its time has come, read or not. Events have a bound of their own, and fall off as new ones come.
//! A little at a time.

use rusqlite::params;

use super::Tx;
use super::columns::{Columns, int};
use crate::refusal::Result;

/// What belongs to a message.
const PARTS: [&str; 5] = ["reads", "claims", "deliveries", "reactions", "attached"];

impl Tx<'_> {
    /// One step: so many messages, and commands. True: there may be more to do.
    pub(crate) fn retain(&mut self, at_once: u32) -> Result<bool> {
        let messages = self.old_messages(at_once)?;
        for id in &messages {
            self.forget_message(*id)?;
        }
        let commands = self.forget_old_commands(at_once)?;
        Ok(messages.len() == at_once as usize || commands == at_once as usize)
    }

    fn old_messages(&self, at_once: u32) -> Result<Vec<u64>> {
        // Ids and times grow together: one bound for both, so that only what may go is looked at.
        let mut query = self.sql.prepare_cached(
            "SELECT id FROM messages m
             WHERE id <= max(
                 ifnull((SELECT max(id) FROM messages WHERE created_at <= ?1), 0),
                 (SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages') - ?2)
             AND (NOT claimable OR finished_at IS NOT NULL OR deleted_at IS NOT NULL)
             AND NOT EXISTS (
                 SELECT 1 FROM tasks t WHERE t.message_id = m.id AND t.status NOT IN ('done', 'failed'))
             ORDER BY id LIMIT ?3",
        )?;
        let values = params![self.oldest_kept(), int(self.rules.keep_messages), at_once];
        let rows = query.query_map(values, |row| row.nat("id"))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn oldest_kept(&self) -> i64 {
        int(self.now.saturating_sub(self.rules.keep_for))
    }

    fn forget_message(&mut self, id: u64) -> Result<()> {
        for part in PARTS {
            self.sql.prepare_cached(&format!("DELETE FROM {part} WHERE message_id = ?"))?.execute([int(id)])?;
        }
        self.sql.prepare_cached("DELETE FROM tasks WHERE message_id = ?")?.execute([int(id)])?;
        self.sql.prepare_cached("DELETE FROM messages WHERE id = ?")?.execute([int(id)])?;
        Ok(())
    }

    /// An order that is so old is over, whatever its agent last said of it.
    fn forget_old_commands(&mut self, at_once: u32) -> Result<usize> {
        let gone = self
            .sql
            .prepare_cached(
                "DELETE FROM commands WHERE n IN (
                     SELECT n FROM commands WHERE updated_at <= ?1 UNION
                     SELECT n FROM commands WHERE n <= (SELECT max(n) FROM commands) - ?2 AND acknowledged
                     LIMIT ?3)",
            )?
            .execute(params![self.oldest_kept(), int(self.rules.keep_messages), at_once])?;
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use relay_runner_protocol::claim::Claim;
    use serde_json::{from_value, json};

    use super::*;
    use crate::config::Config;
    use crate::store::Store;

    const DAY: u64 = 24 * 60 * 60 * 1000;

    /// Messages 1 to 4: plain and read, claimable and open, claimable and finished, plain and unread; and 5, of a task.
    async fn filled(config: Config) -> Store {
        let store = Store::open(&config).unwrap();
        let fill = |tx: &mut Tx<'_>| {
            let agent: relay_runner_protocol::agent::RegisterAgent = from_value(json!({"id": "a", "instanceId": "i"}))?;
            tx.register(&agent.into())?;
            for claimable in [false, true, true, false] {
                let body = json!({"from": "s", "to": "a", "body": "b", "claimable": claimable});
                tx.send(&from_value(body)?)?;
            }
            tx.create_task(&from_value(json!({"title": "T", "target": "a"}))?)?;
            let claim: Claim = from_value(json!({"agentId": "a", "session": {"instanceId": "i", "epoch": 1}}))?;
            tx.claim(3, &claim)?;
            for id in [1, 3] {
                tx.mark_read(id, &from_value(json!({"agentId": "a"}))?)?;
            }
            tx.react(1, &from_value(json!({"agentId": "a", "emoji": "x"}))?)?;
            tx.issue(&from_value(json!({"type": "agent.compact", "target": "a"}))?)?;
            Ok(())
        };
        store.run(fill).await.unwrap();
        store
    }

    async fn left(store: &Store, later: u64) -> Vec<u64> {
        let retain = move |tx: &mut Tx<'_>| {
            tx.now += later;
            while tx.retain(2)? {}
            let there = (1..=5).filter(|id| tx.message(*id).is_ok()).collect();
            Ok(there)
        };
        store.run(retain).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_old_goes_and_unfinished_work_stays() {
        let store = filled(Config::default()).await;
        assert_eq!(left(&store, 29 * DAY).await, [1, 2, 3, 4, 5]);
        assert_eq!(left(&store, 31 * DAY).await, [2, 5]);
        let task = store.run(|tx| tx.task(1)).await.unwrap();
        assert_eq!(task.message_id, 5);
        let cancelled = store.run(|tx| tx.cancel_task(1)).await.unwrap();
        assert!(cancelled.status.is_final());
        assert_eq!(left(&store, 31 * DAY).await, [2]);
        store.run(|tx| tx.task(1)).await.unwrap_err();
    }

    #[tokio::test]
    async fn what_is_beyond_the_number_goes_and_unfinished_work_stays() {
        let store = filled(Config { keep_messages: 2, ..Config::default() }).await;
        assert_eq!(left(&store, 0).await, [2, 4, 5]);
    }
}
