//! The machines of the core, as tables: what each hears in each of its states, and what becomes of it.
//!
//! Nothing here decides anything: the tables are for readers, for `relay-runner machines`, and for tests. One test
//! drives the core into every state, feeds it every event, and fails where the core does otherwise than its table, or
//! where a pair of state and event stands in none.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Serialize;

mod approval;
mod boot;
mod claim;
mod command;
mod credential;
mod diagram;
mod ending;
mod lifecycle;
mod link;
mod message;
mod prompt;

/// Every machine, in the order in which a newcomer should meet them.
pub const ALL: [&Machine; 11] = [
    &boot::MACHINE,
    &link::MACHINE,
    &credential::CREDENTIAL,
    &credential::STANDING,
    &lifecycle::MACHINE,
    &prompt::MACHINE,
    &message::MACHINE,
    &claim::MACHINE,
    &command::MACHINE,
    &approval::MACHINE,
    &ending::MACHINE,
];

/// The machine of this name.
pub fn named(name: &str) -> Option<&'static Machine> {
    ALL.into_iter().find(|machine| machine.name == name)
}

/// A machine as a table. Names are unique within it, and stable: tests and reports count by them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    pub name: &'static str,
    /// What it is for, in a sentence.
    pub about: &'static str,
    pub initial: &'static str,
    pub states: &'static [State],
    pub events: &'static [Event],
    pub rows: &'static [Row],
    pub ignored: &'static [Ignored],
}

/// A state, or a group of states: what is said of a group holds for every state in it that says nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct State {
    pub name: &'static str,
    /// The group that it lies in.
    pub within: Option<&'static str>,
    pub about: &'static str,
}

/// What a machine can hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Event {
    pub name: &'static str,
    pub about: &'static str,
}

/// One thing that an event can lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Row {
    pub from: &'static str,
    pub event: &'static str,
    /// A state, or [`STAYS`].
    pub to: &'static str,
    /// The condition, in words; empty where there is none.
    pub note: &'static str,
}

/// Pairs that change nothing and ask for nothing, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ignored {
    pub states: &'static [&'static str],
    pub events: &'static [&'static str],
    pub why: &'static str,
}

/// The state stays, but something is done or remembered.
pub const STAYS: &str = "stays";

/// A state and an event: what a table must have an answer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Pair {
    pub machine: &'static str,
    pub state: &'static str,
    pub event: &'static str,
}

impl Pair {
    /// Its stable name: `machine/state/event`.
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.machine, self.state, self.event)
    }
}

/// What a table says about a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said<'a> {
    /// One of these, each under its condition.
    Leads(Vec<&'a Row>),
    Ignored(&'a Ignored),
    Nothing,
}

impl Machine {
    /// The states that it can be in, without the groups.
    pub fn leaves(&self) -> impl Iterator<Item = &State> {
        self.states.iter().filter(|state| !self.is_group(state.name))
    }

    pub fn is_group(&self, name: &str) -> bool {
        self.states.iter().any(|state| state.within == Some(name))
    }

    /// Every state with every event.
    pub fn pairs(&self) -> impl Iterator<Item = Pair> {
        let machine = self.name;
        self.leaves().flat_map(move |state| {
            self.events.iter().map(move |event| Pair { machine, state: state.name, event: event.name })
        })
    }

    /// What it does in a state with an event: the innermost answer counts, as in the core.
    pub fn says(&self, state: &str, event: &str) -> Said<'_> {
        let mut at = self.states.iter().find(|s| s.name == state);
        while let Some(here) = at {
            let rows: Vec<_> = self.rows.iter().filter(|r| r.from == here.name && r.event == event).collect();
            if !rows.is_empty() {
                return Said::Leads(rows);
            }
            let ignored = self.ignored.iter().find(|i| i.states.contains(&here.name) && i.events.contains(&event));
            if let Some(ignored) = ignored {
                return Said::Ignored(ignored);
            }
            at = here.within.and_then(|group| self.states.iter().find(|s| s.name == group));
        }
        Said::Nothing
    }

    /// Whether a state is this group or lies in it.
    pub fn lies_in(&self, state: &str, group: &str) -> bool {
        let mut at = Some(state);
        while let Some(name) = at {
            if name == group {
                return true;
            }
            at = self.states.iter().find(|s| s.name == name).and_then(|s| s.within);
        }
        false
    }
}

const fn state(name: &'static str, about: &'static str) -> State {
    State { name, within: None, about }
}

const fn inner(within: &'static str, name: &'static str, about: &'static str) -> State {
    State { name, within: Some(within), about }
}

const fn event(name: &'static str, about: &'static str) -> Event {
    Event { name, about }
}

const fn row(from: &'static str, event: &'static str, to: &'static str) -> Row {
    Row { from, event, to, note: "" }
}

const fn when(from: &'static str, event: &'static str, note: &'static str, to: &'static str) -> Row {
    Row { from, event, to, note }
}

const fn ignored(states: &'static [&'static str], events: &'static [&'static str], why: &'static str) -> Ignored {
    Ignored { states, events, why }
}

#[cfg(test)]
mod tests;
