//! The words of messages and commands that the core knows by their ids only: the newest of them, bounded by bytes.
//!
//! What has fallen out of here is asked of the relay again when an offer needs it.

use relay_runner_core::Text;
use relay_runner_protocol::Message;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Bytes of words kept.
const BYTES_MOST: usize = 16 * 1024 * 1024;
/// Contents of commands kept.
const CONTENTS_MOST: usize = 64;

#[derive(Debug)]
pub(crate) struct Bodies {
    messages: BTreeMap<u64, Kept>,
    /// Message ids by when they were last used.
    by_use: BTreeMap<u64, u64>,
    uses: u64,
    bytes: usize,
    most: usize,
    contents: VecDeque<(Text, Arc<str>)>,
}

#[derive(Debug)]
struct Kept {
    message: Arc<Message>,
    bytes: usize,
    used: u64,
}

impl Default for Bodies {
    fn default() -> Self {
        Self::bounded(BYTES_MOST)
    }
}

impl Bodies {
    fn bounded(most: usize) -> Self {
        Self { messages: BTreeMap::new(), by_use: BTreeMap::new(), uses: 0, bytes: 0, most, contents: VecDeque::new() }
    }

    pub(crate) fn keep(&mut self, message: Arc<Message>) {
        self.forget(message.id);
        let bytes = size(&message);
        self.uses += 1;
        self.by_use.insert(self.uses, message.id);
        self.messages.insert(message.id, Kept { message, bytes, used: self.uses });
        self.bytes += bytes;
        while self.bytes > self.most && self.messages.len() > 1 {
            let Some((_, oldest)) = self.by_use.first_key_value() else { break };
            self.forget(*oldest);
        }
    }

    pub(crate) fn message(&mut self, id: u64) -> Option<Arc<Message>> {
        let kept = self.messages.get_mut(&id)?;
        self.by_use.remove(&kept.used);
        self.uses += 1;
        kept.used = self.uses;
        self.by_use.insert(self.uses, id);
        Some(Arc::clone(&kept.message))
    }

    fn forget(&mut self, id: u64) {
        if let Some(kept) = self.messages.remove(&id) {
            self.by_use.remove(&kept.used);
            self.bytes -= kept.bytes;
        }
    }

    /// What a command wants to be injected.
    pub(crate) fn keep_content(&mut self, command: Text, content: Arc<str>) {
        self.contents.retain(|(id, _)| *id != command);
        self.contents.push_back((command, content));
        if self.contents.len() > CONTENTS_MOST {
            self.contents.pop_front();
        }
    }

    pub(crate) fn content(&self, command: &str) -> Option<Arc<str>> {
        self.contents.iter().find(|(id, _)| &**id == command).map(|(_, content)| Arc::clone(content))
    }
}

/// Roughly what a message takes; its payload as much as its text.
fn size(message: &Message) -> usize {
    const REST: usize = 512;
    REST + message.body.len() + message.subject.as_ref().map_or(0, String::len) + payload_size(&message.payload)
}

fn payload_size(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    const NODE: usize = 32;
    NODE + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(payload_size).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + payload_size(value)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(id: u64, body: usize) -> Arc<Message> {
        let message = json!({"id": id, "from": "a", "to": "b", "body": "x".repeat(body), "createdAt": 0});
        Arc::new(serde_json::from_value(message).unwrap())
    }

    #[test]
    fn what_was_used_last_stays() {
        let mut bodies = Bodies::bounded(5_000);
        bodies.keep(message(1, 1_000));
        bodies.keep(message(2, 1_000));
        bodies.keep(message(3, 1_000));
        assert!(bodies.message(1).is_some());
        bodies.keep(message(4, 1_000));
        assert!(bodies.message(2).is_none(), "the one that was not used for longest goes");
        assert!(bodies.message(1).is_some() && bodies.message(3).is_some() && bodies.message(4).is_some());
    }

    #[test]
    fn the_same_message_again_takes_no_more_room_and_a_huge_one_is_still_kept() {
        let mut bodies = Bodies::bounded(2_000);
        for _ in 0..10 {
            bodies.keep(message(1, 100));
        }
        assert_eq!(bodies.messages.len(), 1);
        assert_eq!(bodies.bytes, size(&message(1, 100)));
        bodies.keep(message(2, 9_000));
        assert!(bodies.message(2).is_some() && bodies.message(1).is_none());
    }

    #[test]
    fn contents_are_found_by_their_command_and_bounded() {
        let mut bodies = Bodies::default();
        for n in 0..100 {
            bodies.keep_content(format!("c{n}").into(), "words".into());
        }
        assert!(bodies.content("c0").is_none());
        assert_eq!(bodies.content("c99").as_deref(), Some("words"));
    }
}
