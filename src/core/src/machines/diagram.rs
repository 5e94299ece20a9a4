//! A machine as a Mermaid diagram. What it leads to is drawn; what it ignores stands in the table only.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
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
        for state in self.states.iter().filter(|state| id(state.name) != state.name) {
            writeln!(out, "  state \"{}\" as {}", state.name, id(state.name))?;
        }
        for state in self.states.iter().filter(|state| state.within.is_none() && self.is_group(state.name)) {
            self.draw_group(out, state.name, 1)?;
        }
        writeln!(out, "  [*] --> {}", id(self.initial))?;
        for (from, to, labels) in self.arrows() {
            writeln!(out, "  {} --> {}: {}", id(from), id(to), wrapped(&labels))?;
        }
        Ok(())
    }

    fn draw_group(&self, out: &mut String, group: &str, depth: usize) -> fmt::Result {
        let margin = "  ".repeat(depth);
        writeln!(out, "{margin}state {} {{", id(group))?;
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
    fn arrows(&self) -> Vec<(&str, &str, Vec<String>)> {
        let mut arrows: Vec<(&str, &str, Vec<String>)> = Vec::new();
        let mut places = BTreeMap::new();
        for row in self.rows {
            let to = if row.to == STAYS { row.from } else { row.to };
            let at = *places.entry((row.from, to)).or_insert_with(|| {
                arrows.push((row.from, to, Vec::new()));
                arrows.len() - 1
            });
            arrows[at].2.push(label(row));
        }
        arrows
    }
}

fn label(row: &Row) -> String {
    if row.note.is_empty() { row.event.to_string() } else { format!("{} ({})", row.event, row.note) }
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
