//! What clients may name things, and how much of it.

use std::collections::BTreeSet;

use relay_runner_protocol::Target;
use serde_json::{Map, Value};

use super::columns::json;
use crate::refusal::{Refusal, Result};

/// Characters of an id, a name, a tag.
const MAX_WORD: usize = 200;
/// Tags, and capabilities, of one agent.
const MAX_WORDS: usize = 128;
/// Bytes of an agent's metadata.
const MAX_META: usize = 256 << 10;

/// An agent id must read as one in an address, so `broadcast` or `tag:x` cannot be the id of anybody.
pub(super) fn check_agent_id(id: &str) -> Result<()> {
    check_word("the agent id", id)?;
    match Target::parse(id) {
        Target::Agent(_) => Ok(()),
        _ => Err(Refusal::invalid(format!("{id} is an address of several agents, and cannot be the id of one"))),
    }
}

pub(super) fn check_word(what: &str, word: &str) -> Result<()> {
    if word.is_empty() || word.chars().count() > MAX_WORD || word.chars().any(char::is_control) {
        let message = format!("{what} must have 1 to {MAX_WORD} characters and no control characters");
        return Err(Refusal::invalid(message));
    }
    Ok(())
}

pub(super) fn check_words(what: &str, words: &[String]) -> Result<()> {
    if words.len() > MAX_WORDS {
        return Err(Refusal::invalid(format!("{what}: at most {MAX_WORDS}")));
    }
    words.iter().try_for_each(|word| check_word(what, word))
}

pub(super) fn check_meta(meta: &Map<String, Value>) -> Result<()> {
    if json(meta)?.len() > MAX_META {
        return Err(Refusal::invalid(format!("an agent's metadata may have {MAX_META} bytes")));
    }
    Ok(())
}

/// In the order in which they were first given.
pub(super) fn without_repeats(words: &[String]) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    words.iter().map(String::as_str).filter(|word| seen.insert(*word)).collect()
}
