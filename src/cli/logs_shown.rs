//! What `logs` prints of a journal, for people and for programs.

use super::failure::Failure;
use super::{moment, say};
use relay_runner_core::{Event, Glance, Note, Stamp};
use relay_runner_shell::journal::Followed;
use relay_runner_shell::notes::{self, Words};
use serde_json::{Value, json};

/// Of an event, for people.
const EVENT: usize = 300;

#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) json: bool,
    pub(super) verbose: bool,
}

impl Shown {
    /// One line for each thing that it tells.
    pub(super) fn lines(self, followed: &Followed) -> Result<Vec<String>, Failure> {
        match followed {
            Followed::Run { at, program, commit } => {
                let commit = commit.as_deref().map(|c| format!(", {}", c.get(..12).unwrap_or(c))).unwrap_or_default();
                let text = format!("--- a run begins (relay-runner {program}{commit})");
                Ok(vec![self.one(*at, 0, "info", &text, |line| line["kind"] = json!("run"))])
            }
            Followed::Panic { number, at, what } => {
                let text = format!("the runner's core panicked upon this event, and the run ended: {what}");
                Ok(vec![self.one(*at, *number, "error", &text, |line| line["kind"] = json!("panic"))])
            }
            Followed::Event { number, at, event, notes, change } => {
                let mut lines = Vec::new();
                if self.verbose {
                    lines.push(self.event(*at, *number, event)?);
                }
                lines.extend(notes.iter().filter_map(|note| self.note(*at, *number, note)));
                if let Some((before, now)) = change {
                    lines.push(self.change(*at, *number, before, now));
                }
                Ok(lines)
            }
        }
    }

    fn event(self, at: Stamp, number: u64, event: &Event) -> Result<String, Failure> {
        let record = serde_json::to_value(event)
            .map_err(|e| Failure::failed("output", format!("event {number} has no JSON form: {e}")))?;
        let text = if self.json {
            event.words().to_owned()
        } else {
            let shown = record.to_string();
            let cut = if shown.chars().count() > EVENT { "..." } else { "" };
            let shown: String = shown.chars().take(EVENT).collect();
            format!("{}: {shown}{cut}", event.words())
        };
        Ok(self.one(at, number, "event", &text, |line| {
            line["kind"] = json!("event");
            line["level"] = json!("debug");
            line["record"] = record;
        }))
    }

    fn note(self, at: Stamp, number: u64, note: &Note) -> Option<String> {
        let level = notes::level_name(note);
        if level == "debug" && !self.verbose {
            return None;
        }
        Some(self.one(at, number, level, &Words(note).to_string(), |line| {
            line["kind"] = json!("note");
            line["note"] = notes::note_json(at.wall, number, note)["note"].take();
        }))
    }

    fn change(self, at: Stamp, number: u64, before: &Glance, now: &Glance) -> String {
        self.one(at, number, "info", &notes::change(before, now), |line| {
            line["kind"] = json!("change");
            line["before"] = json!(before);
            line["now"] = json!(now);
        })
    }

    /// `more` is told besides, to programs.
    fn one(self, at: Stamp, event: u64, level: &str, text: &str, more: impl FnOnce(&mut Value)) -> String {
        let time = moment::shown(at.wall);
        if !self.json {
            return format!("{time} {event:>6} {level:<5} {}", say::plain(text));
        }
        let mut line = json!({"time": time, "at": at.wall, "event": event, "level": level, "text": text});
        more(&mut line);
        line.to_string()
    }
}
