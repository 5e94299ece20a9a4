//! How what is handed over reads to an agent.

use super::Handed;
use crate::attachments::AttachedFile;
use relay_runner_core::format::{self, Attached};
use relay_runner_protocol::message::Attachment;

/// Why nothing is known of an attachment: the message could not be read when its attachments were to be fetched.
const NOT_FETCHED: &str = "it was not fetched";

/// One message, with its heading.
pub(crate) fn message(Handed { offer, message, files }: &Handed) -> String {
    let attached: Vec<_> = message.attachments.iter().map(|attachment| attached(attachment, files)).collect();
    format::message(message, offer, &attached)
}

/// Several are one prompt.
pub(crate) fn batch(offers: &[Handed]) -> String {
    let texts: Vec<String> = offers.iter().map(message).collect();
    format::joined(texts.iter().map(String::as_str))
}

pub(crate) fn attached<'a>(said: &'a Attachment, files: &'a [AttachedFile]) -> Attached<'a> {
    let name = &said.name;
    match files.iter().find(|file| file.id == said.id).map(|file| &file.kept) {
        Some(Ok(kept)) => Attached::At { name, path: &kept.path },
        Some(Err(why)) => Attached::Missing { name, why },
        None => Attached::Missing { name, why: NOT_FETCHED },
    }
}
