//! Chains of bases: a profile says what differs from its base.

use super::{Profile, ProfileError};
use serde_json::{Map, Value};

/// The longest chain of bases.
const DEEPEST: usize = 16;
/// Lists of these are joined, the base's items first; those of objects by their names.
const JOINED: [&str; 5] = ["append", "tags", "capabilities", "skills", "plugins"];

/// A profile, and the names of the chain that it was made from, itself first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    pub profile: Profile,
    pub names: Vec<String>,
}

/// Reads a document with its bases, which `find` gives by name.
///
/// # Errors
/// When one of them is not sound, when `find` fails, and when a chain leads back to itself or is longer than 16.
pub fn resolve(document: &Value, mut find: impl FnMut(&str) -> Result<Value, String>) -> Result<Chain, ProfileError> {
    let own = Profile::read(document)?;
    let mut names = vec![own.name.clone()];
    let (mut documents, mut next) = (vec![document.clone()], own.base.clone());
    while let Some(base) = next {
        let chain = || [names.as_slice(), std::slice::from_ref(&base)].concat().join(" -> ");
        if names.contains(&base) {
            return Err(ProfileError::Cycle { chain: chain() });
        }
        if names.len() == DEEPEST {
            return Err(ProfileError::Base(format!("base: {}: more than {DEEPEST} profiles", chain())));
        }
        let found = find(&base).map_err(|why| ProfileError::Base(format!("base: `{base}`: {why}")))?;
        let read = Profile::read(&found)
            .map_err(|error| ProfileError::Base(format!("base: `{base}` is not in order: {error}")))?;
        next = read.base;
        names.push(base);
        documents.push(found);
    }
    let mut merged = Value::Object(Map::new());
    for document in documents.into_iter().rev() {
        merge(&mut merged, document);
    }
    // The chain ends here: what a base was based on is not what this one is.
    if let Value::Object(fields) = &mut merged {
        match own.base {
            Some(base) => fields.insert("base".to_owned(), base.into()),
            None => fields.remove("base"),
        };
    }
    Ok(Chain { profile: Profile::read(&merged)?, names })
}

/// What is said over what the base says.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                match base.get_mut(&key) {
                    Some(Value::Array(items)) if JOINED.contains(&key.as_str()) => join(items, value),
                    // A server is one thing: half of one and half of another would be neither.
                    Some(Value::Object(servers)) if key == "servers" => {
                        if let Value::Object(more) = value {
                            servers.extend(more);
                        }
                    }
                    Some(known) => merge(known, value),
                    None => {
                        base.insert(key, value);
                    }
                }
            }
        }
        (base, over) => *base = over,
    }
}

fn join(items: &mut Vec<Value>, more: Value) {
    let Value::Array(more) = more else { return };
    for item in more {
        let name = item.get("name");
        match items.iter_mut().find(|known| name.is_some() && known.get("name") == name) {
            Some(known) => *known = item,
            None => items.push(item),
        }
    }
}
