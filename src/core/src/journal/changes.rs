//! What else might have happened: changes to a recorded run, as JSON lines.
//!
//! `{"drop":12}` leaves record 12 out. `{"change":12,"event":...}` puts another event in its place, at its time.
//! `{"after":12,"ms":50,"event":...}` puts one more behind it, so many milliseconds later.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::Event;
use crate::time::Millis;

/// All changes to one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// By the record that they take the place of, with the line that says so.
    instead: BTreeMap<u64, (u64, Change)>,
    /// By the record that they follow, the earliest first.
    inserted: BTreeMap<u64, Vec<Inserted>>,
}

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Drop,
    Event(Box<Event>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inserted {
    pub(super) line: u64,
    pub(super) ms: Millis,
    pub(super) event: Event,
}

/// Which line of the changes cannot be taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeError {
    /// Counted from 1; 0: none of them, but all.
    pub line: u64,
    pub why: String,
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.why),
            line => write!(f, "line {line}: {}", self.why),
        }
    }
}

impl core::error::Error for ChangeError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineIn {
    drop: Option<u64>,
    change: Option<u64>,
    after: Option<u64>,
    ms: Option<Millis>,
    event: Option<Box<RawValue>>,
}

const FORMS: &str = r#"write {"drop":N}, {"change":N,"event":...} or {"after":N,"ms":M,"event":...}, one on a line"#;

impl Changes {
    /// Reads them. Empty lines are none; no change at all is an error.
    pub fn parse(text: &str) -> Result<Self, ChangeError> {
        let mut changes = Self::default();
        for (n, text) in text.lines().enumerate() {
            if text.trim().is_empty() {
                continue;
            }
            let line = n as u64 + 1;
            changes.add(line, text).map_err(|why| ChangeError { line, why })?;
        }
        for inserted in changes.inserted.values_mut() {
            inserted.sort_by_key(|inserted| inserted.ms);
        }
        if changes.instead.is_empty() && changes.inserted.is_empty() {
            return Err(ChangeError { line: 0, why: format!("there is no change in it; {FORMS}") });
        }
        Ok(changes)
    }

    fn add(&mut self, line: u64, text: &str) -> Result<(), String> {
        let said: LineIn = serde_json::from_str(text).map_err(|e| format!("{e}; {FORMS}"))?;
        match (said.drop, said.change, said.after, said.ms, said.event) {
            (Some(number), None, None, None, None) => self.instead_of(number, line, Change::Drop),
            (None, Some(number), None, None, Some(event)) => {
                self.instead_of(number, line, Change::Event(Box::new(read(&event)?)))
            }
            (None, None, Some(number), ms, Some(event)) => {
                let inserted = Inserted { line, ms: ms.unwrap_or(0), event: read(&event)? };
                self.inserted.entry(number).or_default().push(inserted);
                Ok(())
            }
            _ => Err(FORMS.to_owned()),
        }
    }

    fn instead_of(&mut self, number: u64, line: u64, change: Change) -> Result<(), String> {
        if number == 0 {
            return Err("records are counted from 1".to_string());
        }
        match self.instead.insert(number, (line, change)) {
            None => Ok(()),
            Some((earlier, _)) => Err(format!("line {earlier} drops or changes record {number} already")),
        }
    }

    /// The record behind which the run must begin, at the latest, for all of them to find their place.
    pub fn begin(&self) -> u64 {
        let instead = self.instead.keys().next().map(|number| number - 1);
        let inserted = self.inserted.keys().next().copied();
        instead.into_iter().chain(inserted).min().unwrap_or(0)
    }

    /// Whether they all concern records after `begin`, up to and with `last`.
    pub fn lie_within(&self, begin: u64, last: u64) -> Result<(), ChangeError> {
        let wrong = |line, number, begin: u64| {
            let why = format!("record {number} is not among those that are run, which are {begin} to {last}");
            Err(ChangeError { line, why })
        };
        for (number, (line, _)) in &self.instead {
            if *number <= begin || *number > last {
                return wrong(*line, number, begin + 1);
            }
        }
        for (number, inserted) in &self.inserted {
            if *number < begin || *number > last {
                return wrong(inserted.first().map_or(0, |i| i.line), number, begin);
            }
        }
        Ok(())
    }

    /// What becomes of this record.
    pub(super) fn instead(&mut self, number: u64) -> Option<Change> {
        // Nearly every record is none of these.
        if self.instead.is_empty() {
            return None;
        }
        self.instead.remove(&number).map(|(_, change)| change)
    }

    pub(super) fn behind(&mut self, number: u64) -> Vec<Inserted> {
        if self.inserted.is_empty() {
            return Vec::new();
        }
        self.inserted.remove(&number).unwrap_or_default()
    }
}

fn read(event: &RawValue) -> Result<Event, String> {
    serde_json::from_str(event.get()).map_err(|e| {
        format!("its event cannot be read: {e}; an event is written as in the journal's lines, behind \"ev\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> (u64, String) {
        let error = Changes::parse(text).unwrap_err();
        (error.line, error.to_string())
    }

    #[test]
    fn the_three_forms_are_read() {
        let text = "{\"drop\":7}\n\n{\"change\":9,\"event\":\"Wake\"}\n{\"after\":5,\"event\":\"Wake\"}\n{\"after\":5,\"ms\":3,\"event\":\"Boot\"}";
        let mut changes = Changes::parse(text).unwrap();
        assert_eq!(changes.begin(), 5);
        assert_eq!(changes.lie_within(5, 9), Ok(()));
        assert_eq!(changes.lie_within(5, 8).unwrap_err().line, 3);
        assert_eq!(changes.lie_within(6, 9).unwrap_err().line, 4);
        assert_eq!(changes.lie_within(7, 9).unwrap_err().line, 1);
        assert_eq!((changes.instead(7), changes.instead(7)), (Some(Change::Drop), None));
        assert_eq!(changes.instead(9), Some(Change::Event(Box::new(Event::Wake))));
        let behind: Vec<_> = changes.behind(5).into_iter().map(|i| (i.ms, i.event)).collect();
        assert_eq!(behind, [(0, Event::Wake), (3, Event::Boot)]);
    }

    #[test]
    fn what_is_none_of_them_is_named_by_its_line() {
        for form in [
            "{}",
            "[]",
            "{\"drop\":1,\"change\":2}",
            "{\"drop\":1,\"event\":\"Wake\"}",
            "{\"change\":1}",
            "{\"dorp\":1}",
            "x",
        ] {
            let (line, said) = wrong(&alloc::format!("\n{form}"));
            assert!(line == 2 && said.starts_with("line 2: ") && said.contains("{\"drop\":N}"), "{said}");
        }
        let (_, said) = wrong("{\"after\":1,\"event\":{\"Sleep\":3}}");
        assert!(said.contains("unknown variant `Sleep`") && said.contains("\"ev\""), "{said}");
        assert!(
            wrong("{\"drop\":3}\n{\"change\":3,\"event\":\"Wake\"}").1.contains("line 1 drops or changes record 3")
        );
        assert_eq!(wrong("{\"drop\":0}").0, 1);
        assert_eq!(wrong("\n \n").0, 0);
    }
}
