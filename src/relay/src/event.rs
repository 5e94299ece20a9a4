//! An event on its way out, in the form of either stream: a frame of the bus, or an entry of `GET /events`.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use axum::extract::ws::Utf8Bytes;
use relay_runner_protocol::frame::{Event, Replayed, ServerFrame};
use serde_json::Value;

use crate::outbox::text;

/// How a connection is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Frames,
    /// Server-sent events.
    Entries,
}

/// An event with all that decides who gets it. It is written out once for each form that somebody wants.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) name: String,
    pub(crate) audience: BTreeSet<String>,
    seq: u64,
    data: Value,
    frame: OnceCell<Utf8Bytes>,
    entry: OnceCell<Utf8Bytes>,
}

impl Published {
    pub(crate) fn new(seq: u64, name: String, data: Value, audience: BTreeSet<String>) -> Self {
        Self { name, audience, seq, data, frame: OnceCell::new(), entry: OnceCell::new() }
    }

    pub(crate) fn written(&self, form: Form) -> Utf8Bytes {
        let written = match form {
            Form::Frames => self.frame.get_or_init(|| self.to_frame()),
            Form::Entries => self.entry.get_or_init(|| entry(self.seq, &self.name, &self.data)),
        };
        written.clone()
    }

    /// The id is derived from the position, so that a frame sent again is the same to the byte.
    fn to_frame(&self) -> Utf8Bytes {
        let payload = Event { seq: self.seq, event: self.name.clone(), data: self.data.clone() };
        text(&ServerFrame::Event { id: format!("e{}", self.seq), payload })
    }
}

/// Says on `GET /events` that events before `from` are gone. It has an id too: whoever comes back goes on after it.
pub(crate) fn gap(replayed: Replayed) -> Utf8Bytes {
    let data = serde_json::json!({ "from": replayed.from, "to": replayed.to });
    entry(replayed.from.saturating_sub(1), "gap", &data)
}

/// Compact JSON has no line breaks, so that it is one line of data.
fn entry(id: u64, name: &str, data: &Value) -> Utf8Bytes {
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_line_of_data_whatever_is_in_it() {
        let event = Published::new(7, "message.new".into(), serde_json::json!({"body": "a\nb\r\n"}), BTreeSet::new());
        let entry = event.written(Form::Entries);
        assert_eq!(entry.as_str(), "id: 7\nevent: message.new\ndata: {\"body\":\"a\\nb\\r\\n\"}\n\n");
        assert!(event.written(Form::Frames).contains("\"e7\""));
    }
}
