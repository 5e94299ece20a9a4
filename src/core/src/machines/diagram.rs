//! A machine as a Mermaid diagram. What leads elsewhere is drawn; what stays and what is ignored stands in the table.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use super::{Machine, Row, STAYS};

/// Labels longer than this begin a new line.
const WIDE: usize = 40;

impl Machine {
    /// A `stateDiagram-v2`. Ends with a newline.
    pub fn mermaid(&self) -> String {
        let mut text = String::new();
        self.draw(&mut text).expect("a string takes whatever is written");
        text
    }

    fn draw(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "stateDiagram-v2")?;
        for state in self.leaves().filter(|state| id(state.name) != state.name) {
            writeln!(out, "  state \"{}\" as {}", state.name, id(state.name))?;
        }
        for state in self.states.iter().filter(|state| state.within.is_none() && self.is_group(state.name)) {
            self.draw_group(out, state.name, 1)?;
        }
        writeln!(out, "  [*] --> {}", id(self.initial))?;
        for arrow in self.arrows() {
            writeln!(out, "  {} --> {}: {}", id(arrow.from), id(arrow.to), wrapped(&arrow.labels()))?;
        }
        Ok(())
    }

    fn draw_group(&self, out: &mut String, group: &str, depth: usize) -> fmt::Result {
        let margin = "  ".repeat(depth);
        if id(group) == group {
            writeln!(out, "{margin}state {group} {{")?;
        } else {
            writeln!(out, "{margin}state \"{group}\" as {} {{", id(group))?;
        }
        for state in self.states.iter().filter(|state| state.within == Some(group)) {
            if self.is_group(state.name) {
                self.draw_group(out, state.name, depth + 1)?;
            } else {
                writeln!(out, "{margin}  {}", id(state.name))?;
            }
        }
        writeln!(out, "{margin}}}")
    }

    /// One arrow for all that leads from one state to another, in the order of the table.
    fn arrows(&self) -> Vec<Arrow<'_>> {
        let mut arrows: Vec<Arrow<'_>> = Vec::new();
        for row in self.rows.iter().filter(|row| row.to != STAYS && !self.is_said_of_its_group(row)) {
            let at = arrows.iter().position(|arrow| (arrow.from, arrow.to) == (row.from, row.to));
            let at = at.unwrap_or_else(|| {
                arrows.push(Arrow { from: row.from, to: row.to, events: Vec::new() });
                arrows.len() - 1
            });
            arrows[at].add(row);
        }
        arrows
    }

    fn is_said_of_its_group(&self, row: &Row) -> bool {
        let same = |r: &&Row| (r.event, r.to, r.note) == (row.event, row.to, row.note) && r.from != row.from;
        self.rows.iter().filter(same).any(|r| self.lies_in(row.from, r.from))
    }
}

struct Arrow<'a> {
    from: &'a str,
    to: &'a str,
    /// By their condition.
    events: Vec<(&'a str, Vec<&'a str>)>,
}

impl<'a> Arrow<'a> {
    fn add(&mut self, row: &'a Row) {
        match self.events.iter_mut().find(|(note, _)| *note == row.note) {
            Some((_, events)) => events.push(row.event),
            None => self.events.push((row.note, Vec::from([row.event]))),
        }
    }

    fn labels(&self) -> Vec<String> {
        let label = |(note, events): &(&str, Vec<&str>)| {
            let events = events.join(", ");
            if note.is_empty() { events } else { format!("{events} ({note})") }
        };
        self.events.iter().map(label).collect()
    }
}

fn wrapped(labels: &[String]) -> String {
    let mut text = String::new();
    let mut line = 0;
    for label in labels {
        if line > 0 {
            let breaks = line + label.len() > WIDE;
            text.push_str(if breaks { ",<br/>" } else { ", " });
            line = if breaks { 0 } else { line + 2 };
        }
        text.push_str(label);
        line += label.len();
    }
    text
}

/// Mermaid's ids have no spaces.
fn id(name: &str) -> String {
    name.replace(' ', "_")
}
