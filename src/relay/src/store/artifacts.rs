//! Artifacts: what is known of each, which messages have it, and which ones are nobody's any more.

use axum::http::StatusCode;
use relay_runner_protocol::message::Attachment;
use rusqlite::{OptionalExtension, Row, params};

use super::columns::{Columns, int};
use super::{Tx, random_id};
use crate::refusal::{Refusal, Result};

/// How long an artifact that no message has is kept, in milliseconds: a day. Whoever uploads one still has to attach it.
const UNATTACHED: u64 = 24 * 60 * 60 * 1000;
/// After this it may have to make room for another, in milliseconds: an hour.
const IN_THE_WAY: u64 = 60 * 60 * 1000;

impl Tx<'_> {
    pub(crate) fn add_artifact(&mut self, new: &Attachment) -> Result<Attachment> {
        let added = Attachment { id: random_id()?, ..new.clone() };
        self.sql
            .prepare_cached(
                "INSERT INTO artifacts (id, sha256, name, media_type, size, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![added.id, added.sha256, added.name, added.media_type, int(added.size), int(self.now)])?;
        Ok(added)
    }

    pub(crate) fn artifact(&self, id: &str) -> Result<Attachment> {
        self.maybe_artifact(id)?.ok_or_else(|| Refusal::not_found("artifact", id))
    }

    fn maybe_artifact(&self, id: &str) -> Result<Option<Attachment>> {
        let mut query = self.sql.prepare_cached("SELECT * FROM artifacts WHERE id = ?")?;
        Ok(query.query_row([id], read).optional()?)
    }

    /// The attachments of a new message, as the relay knows them. What a client says of size and content must be so; what
    /// it leaves out is filled in, and the name is its own choice.
    pub(super) fn known_attachments(&self, said: &[Attachment]) -> Result<Vec<Attachment>> {
        said.iter().map(|said| self.known_attachment(said)).collect()
    }

    fn known_attachment(&self, said: &Attachment) -> Result<Attachment> {
        let Some(known) = self.maybe_artifact(&said.id)? else {
            return Err(Refusal::invalid(format!("attachments: there is no artifact {}; upload it first", said.id)));
        };
        let size_differs = said.size != 0 && said.size != known.size;
        let content_differs = !said.sha256.is_empty() && !said.sha256.eq_ignore_ascii_case(&known.sha256);
        if size_differs || content_differs {
            let message = format!("attachments: artifact {} has another size or content", said.id);
            return Err(Refusal::invalid(message));
        }
        let name = if said.name.is_empty() { known.name } else { said.name.clone() };
        let media_type = if said.media_type.is_empty() { known.media_type } else { said.media_type.clone() };
        Ok(Attachment { name, media_type, ..known })
    }

    pub(super) fn attach(&mut self, message: u64, attachments: &[Attachment]) -> Result<()> {
        let mut insert =
            self.sql.prepare_cached("INSERT OR IGNORE INTO attached (message_id, artifact_id) VALUES (?, ?)")?;
        for attachment in attachments {
            insert.execute(params![int(message), attachment.id])?;
        }
        Ok(())
    }

    /// Makes room for new content, at the cost of artifacts that no message has. The contents that nobody has any more.
    pub(crate) fn make_room(&mut self, sha256: &str, size: u64) -> Result<Vec<String>> {
        let mut gone = Vec::new();
        if self.has_content(sha256)? {
            return Ok(gone);
        }
        while self.bytes_kept()?.saturating_add(size) > self.rules.keep_artifact_bytes {
            let Some((id, content)) = self.oldest_unattached(IN_THE_WAY)? else {
                let message = "the relay has no room for more artifacts until messages go that have some";
                return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "no_room", message));
            };
            gone.extend(self.forget_artifact(&id, content)?);
        }
        Ok(gone)
    }

    /// Forgets some of the artifacts that no message has. The contents that nobody has any more; none when nothing was to
    /// be forgotten.
    pub(crate) fn forget_artifacts(&mut self, at_once: u32) -> Result<Option<Vec<String>>> {
        let mut gone = None;
        for _ in 0..at_once {
            let Some((id, content)) = self.oldest_unattached(UNATTACHED)? else { break };
            gone.get_or_insert_with(Vec::new).extend(self.forget_artifact(&id, content)?);
        }
        Ok(gone)
    }

    fn oldest_unattached(&self, age: u64) -> Result<Option<(String, String)>> {
        let mut query = self.sql.prepare_cached(
            "SELECT id, sha256 FROM artifacts a WHERE created_at <= ?
             AND NOT EXISTS (SELECT 1 FROM attached WHERE artifact_id = a.id) ORDER BY created_at LIMIT 1",
        )?;
        let latest = int(self.now.saturating_sub(age));
        Ok(query.query_row([latest], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
    }

    fn forget_artifact(&mut self, id: &str, content: String) -> Result<Option<String>> {
        self.sql.prepare_cached("DELETE FROM artifacts WHERE id = ?")?.execute([id])?;
        Ok((!self.has_content(&content)?).then_some(content))
    }

    pub(crate) fn has_content(&self, sha256: &str) -> Result<bool> {
        let mut query = self.sql.prepare_cached("SELECT 1 FROM artifacts WHERE sha256 = ?")?;
        Ok(query.exists([sha256])?)
    }

    fn bytes_kept(&self) -> Result<u64> {
        let mut query = self.sql.prepare_cached(
            "SELECT ifnull(sum(size), 0) AS bytes FROM (SELECT DISTINCT sha256, size FROM artifacts)",
        )?;
        Ok(query.query_row([], |row| row.nat("bytes"))?)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Attachment> {
    Ok(Attachment {
        id: row.get("id")?,
        name: row.get("name")?,
        media_type: row.get("media_type")?,
        size: row.nat("size")?,
        sha256: row.get("sha256")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::store::Store;

    fn artifact(content: &str, size: u64) -> Attachment {
        Attachment { id: String::new(), name: "n".into(), media_type: String::new(), size, sha256: content.into() }
    }

    /// Two artifacts of one content, one of another that a message has, and two of one content that nobody has.
    async fn filled() -> Store {
        let store = Store::open(&Config { keep_artifact_bytes: 100, ..Config::default() }).unwrap();
        let fill = |tx: &mut Tx<'_>| {
            for (content, attached) in [("a", true), ("a", false), ("b", true), ("c", false), ("c", false)] {
                let added = tx.add_artifact(&artifact(content, 30))?;
                if attached {
                    let new = serde_json::from_value(serde_json::json!({
                        "from": "s", "to": "a", "body": "b", "attachments": [{"id": added.id, "name": "n"}]
                    }))?;
                    tx.send(&new)?;
                }
            }
            Ok(())
        };
        store.run(fill).await.unwrap();
        store
    }

    #[tokio::test]
    async fn what_no_message_has_makes_room_after_an_hour_and_goes_after_a_day() {
        let store = filled().await;
        let refused = store.run(|tx| tx.make_room("new", 20)).await.unwrap_err();
        assert_eq!((refused.status, refused.code), (StatusCode::PAYLOAD_TOO_LARGE, "no_room"));
        // Content that is there takes no more room.
        assert_eq!(store.run(|tx| tx.make_room("b", 30)).await.unwrap(), Vec::<String>::new());
        let later = |age: u64| {
            move |tx: &mut Tx<'_>| {
                tx.now += age;
                tx.make_room("new", 20)
            }
        };
        assert_eq!(store.run(later(IN_THE_WAY)).await.unwrap(), ["c"]);

        let store = filled().await;
        assert_eq!(store.run(|tx| tx.forget_artifacts(2)).await.unwrap(), None);
        let gone = store.run(|tx| {
            tx.now += UNATTACHED;
            tx.forget_artifacts(9)
        });
        assert_eq!(gone.await.unwrap(), Some(vec!["c".to_owned()]));
        assert_eq!(store.run(|tx| tx.bytes_kept()).await.unwrap(), 60);
    }
}
