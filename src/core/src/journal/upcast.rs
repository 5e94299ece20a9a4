//! Journals of older schemas, turned into today's shape before they are read.
//!
//! Each upcast turns the lines of one schema into those of the next, as JSON: the shapes that the lines had are nowhere
//! else any more. Hashes are of the text as it was written, and are checked before. What a run *decided* is not an
//! upcast's business but that of [`Flags`](crate::flags::Flags). One more upcast is a function and its row here.

use alloc::string::String;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

type Object = Map<String, Value>;
type Upcast = fn(Part, &mut Object);

/// Which line it is. Of a header, the object inside is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Header,
    Record,
    Mark,
}

/// From schema 1 on, each to the next.
const UPCASTS: [Upcast; 1] = [flags_are_configuration];

/// The number of the journal's form. A reader refuses a higher one.
#[expect(clippy::cast_possible_truncation, reason = "there are few")]
pub const SCHEMA: u32 = 1 + UPCASTS.len() as u32;

/// Reads the text of a line that was written under this schema, from 1 to today's.
pub(super) fn read<T: DeserializeOwned>(part: Part, schema: u32, text: &str) -> Result<T, serde_json::Error> {
    if schema == SCHEMA {
        return serde_json::from_str(text);
    }
    let mut line: Object = serde_json::from_str(text)?;
    lift(&UPCASTS, part, schema, &mut line);
    serde_json::from_value(Value::Object(line))
}

fn lift(upcasts: &[Upcast], part: Part, schema: u32, line: &mut Object) {
    for upcast in upcasts.iter().skip(schema.saturating_sub(1) as usize) {
        upcast(part, line);
    }
}

/// 1 to 2: the flags are part of what the core is run with, and the header says what was kept of bodies.
fn flags_are_configuration(part: Part, line: &mut Object) {
    match part {
        Part::Header => {
            let flags = line.remove("flags").unwrap_or_else(|| json!([]));
            set(line, &["config"], "flags", flags);
            line.insert("bodies".into(), json!("Hash"));
        }
        Part::Mark => set(line, &["core", "config"], "flags", json!([])),
        Part::Record => {}
    }
}

/// Sets a key of the object at this path. Where there is no such object, whoever reads the line will say so.
fn set(line: &mut Object, path: &[&str], key: &str, value: Value) {
    let mut at = line;
    for step in path {
        let Some(Value::Object(inner)) = at.get_mut(*step) else { return };
        at = inner;
    }
    at.insert(key.into(), value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renames(part: Part, line: &mut Object) {
        if part == Part::Record
            && let Some(old) = line.remove("old")
        {
            line.insert("new".into(), old);
        }
    }

    fn doubles(part: Part, line: &mut Object) {
        let (Part::Record | Part::Mark) = part else { return };
        if let Some(n) = line.get("new").and_then(Value::as_u64) {
            line.insert("new".into(), json!(2 * n));
        }
    }

    fn lifted(part: Part, schema: u32, line: Value) -> Value {
        let Value::Object(mut line) = line else { panic!("an object") };
        lift(&[renames, doubles], part, schema, &mut line);
        Value::Object(line)
    }

    #[test]
    fn a_line_goes_through_all_upcasts_that_came_after_it_and_through_no_other() {
        assert_eq!(lifted(Part::Record, 1, json!({"old": 2})), json!({"new": 4}));
        assert_eq!(lifted(Part::Record, 2, json!({"new": 2})), json!({"new": 4}));
        assert_eq!(lifted(Part::Record, 3, json!({"new": 2})), json!({"new": 2}));
        assert_eq!(lifted(Part::Mark, 1, json!({"old": 2})), json!({"old": 2}));
        assert_eq!(lifted(Part::Header, 1, json!({"old": 2})), json!({"old": 2}));
    }
}
