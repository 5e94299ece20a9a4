//! How what is handed over reads to an agent.

use super::Handed;
use crate::attachments::AttachedFile;
use crate::monitor::{Key, Line};
use relay_runner_core::event::TakenOffer;
use relay_runner_core::format::{self, Attached};
use relay_runner_core::{Offer, OpId};
use relay_runner_protocol::message::Attachment;
use serde_json::{Value, json};

/// Why nothing is known of an attachment: the message could not be read when its attachments were to be fetched.
const NOT_FETCHED: &str = "it was not fetched";

/// Offers as evidence names them.
pub(crate) fn named<'a>(offers: impl IntoIterator<Item = &'a Offer>) -> Vec<TakenOffer> {
    offers.into_iter().map(|offer| TakenOffer { message: offer.message, nonce: Some(offer.nonce) }).collect()
}

/// One message, with its heading.
pub(crate) fn message(handed: &Handed) -> String {
    format::message(&handed.message, &handed.offer, &all_attached(handed))
}

/// Several are one prompt.
pub(crate) fn batch(offers: &[Handed]) -> String {
    let texts: Vec<String> = offers.iter().map(message).collect();
    format::joined(texts.iter().map(String::as_str))
}

/// Messages as whoever reads the monitor is told of them.
pub(crate) fn monitored(offers: &[Handed]) -> Vec<Line> {
    let line_of = |handed: &Handed| {
        let (message_id, nonce) = (handed.message.id, handed.offer.nonce.to_string());
        let text = monitor_line(&json!({
            "messageId": message_id,
            "nonce": nonce,
            "attempt": handed.offer.attempt,
            "text": message(handed),
            "line": format::line(&handed.message, &handed.offer, &all_attached(handed)),
        }));
        Line { key: Key::Message(message_id), nonce, text }
    };
    offers.iter().map(line_of).collect()
}

/// Words that are no message, said by this operation.
pub(crate) fn words_monitored(op: OpId, text: &str) -> Line {
    let lines: Vec<String> = format::lines(text).collect();
    let said = json!({"words": op.0, "text": text, "line": lines.join("\n")});
    Line { key: Key::Words(op.0), nonce: String::new(), text: monitor_line(&said) }
}

fn monitor_line(said: &Value) -> String {
    let mut line = said.to_string();
    line.push('\n');
    line
}

fn all_attached(Handed { message, files, .. }: &Handed) -> Vec<Attached<'_>> {
    message.attachments.iter().map(|attachment| attached(attachment, files)).collect()
}

pub(crate) fn attached<'a>(said: &'a Attachment, files: &'a [AttachedFile]) -> Attached<'a> {
    let name = &said.name;
    match files.iter().find(|file| file.id == said.id).map(|file| &file.kept) {
        Some(Ok(kept)) => Attached::At { name, path: &kept.path },
        Some(Err(why)) => Attached::Missing { name, why },
        None => Attached::Missing { name, why: NOT_FETCHED },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attachments::Files;
    use relay_runner_core::Offer;
    use relay_runner_core::effect::Repeat;
    use relay_runner_core::ids::Nonce;
    use std::sync::Arc;

    fn parsed(line: &Line) -> Value {
        assert!(line.text.ends_with('\n'), "{line:?}");
        serde_json::from_str(&line.text).unwrap()
    }

    #[test]
    fn the_monitor_has_a_message_whole_and_as_a_line() {
        let said = json!({"id": 7, "from": "alice", "to": "a1", "body": "two\nlines", "createdAt": 0});
        let offer = Offer { message: 7, attempt: 2, nonce: Nonce(31), repeat: Repeat::Ambiguous };
        let message = Arc::new(serde_json::from_value(said).unwrap());
        let lines = monitored(&[Handed { offer, message, files: Files::default() }]);
        let said = parsed(&lines[0]);
        assert_eq!((lines[0].key, &*lines[0].nonce), (Key::Message(7), "00000z"));
        assert_eq!((&said["messageId"], &said["attempt"]), (&json!(7), &json!(2)));
        assert!(said["text"].as_str().unwrap().contains("two\nlines"), "{said}");
        let line = said["line"].as_str().unwrap();
        let whole = "[relay message 7 00000z] from alice, chat | may be a repeat | ";
        assert!(line.starts_with(whole) && line.ends_with("... whole: relay-runner read 7"), "{line}");
    }

    #[test]
    fn words_that_are_no_message_have_a_number_and_may_be_several_lines() {
        let line = words_monitored(OpId(9), "remember\n\nthis\n");
        assert_eq!(line.key, Key::Words(9));
        assert_eq!(parsed(&line), json!({"words": 9, "text": "remember\n\nthis\n", "line": "remember\nthis"}));
    }
}
