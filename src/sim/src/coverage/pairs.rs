//! Which pairs of the machines' tables a step met: what each machine, and each instance of it, heard in its state.
//!
//! Only what is certain counts. What an instance heard follows from the event, from what was due, from what an answer
//! belongs to, and, where the table's event is one of the core's own, from what changed. If more than one event that
//! does something came to an instance in one step, nobody can tell in which state the second found it: none counts.

mod approval;
mod claim;
mod command;
mod ending;
mod link;
mod message;
mod process;
mod restart;

use std::collections::{BTreeMap, BTreeSet};

use relay_runner_core::machines::{self, Machine, Pair, STAYS, Said};
use relay_runner_core::{MessageId, Text};
use relay_runner_protocol::Stage;

use super::books::Books;
use super::look::Look;
use super::step::Step;

pub(super) use restart::restarted;

/// An instance of a machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Which {
    One,
    Message(MessageId),
    Named(Text),
}

/// What instances heard in a step.
#[derive(Debug, Default)]
pub(super) struct Feed {
    heard: BTreeMap<(&'static str, Which), BTreeSet<&'static str>>,
    /// Something came to them that no event of the table is, or that cannot be told apart.
    unclear: BTreeSet<(&'static str, Which)>,
}

impl Feed {
    fn hears(&mut self, machine: &'static str, which: Which, event: &'static str) {
        self.heard.entry((machine, which)).or_default().insert(event);
    }

    fn one(&mut self, machine: &'static str, event: &'static str) {
        self.hears(machine, Which::One, event);
    }

    fn message(&mut self, id: MessageId, event: &'static str) {
        self.hears("message", Which::Message(id), event);
    }

    fn claim(&mut self, id: MessageId, event: &'static str) {
        self.hears("claim", Which::Message(id), event);
    }

    fn named(&mut self, machine: &'static str, name: &Text, event: &'static str) {
        self.hears(machine, Which::Named(name.clone()), event);
    }

    fn is_unclear(&mut self, machine: &'static str, which: Which) {
        self.unclear.insert((machine, which));
    }
}

/// A pair that was met; and what contradicts the table, as text.
#[derive(Debug, Default)]
pub(super) struct Met {
    pub(super) pairs: Vec<Pair>,
    pub(super) odd: Vec<String>,
}

/// The pairs that a step met.
pub(super) fn met(step: &Step<'_>) -> Met {
    let mut met = Met::default();
    if step.mixed {
        return met;
    }
    let mut feed = Feed::default();
    process::feed(step, &mut feed);
    link::feed(step, &mut feed);
    message::feed(step, &mut feed);
    claim::feed(step, &mut feed);
    command::feed(step, &mut feed);
    approval::feed(step, &mut feed);
    ending::feed(step, &mut feed);
    let before = States { look: step.before, books: step.books, step: None };
    let after = States { look: step.after, books: step.books, step: Some(step) };
    judge(&feed, &before, &after, &mut met);
    met
}

/// The states of all instances at a time.
struct States<'a> {
    look: &'a Look,
    books: &'a Books,
    /// What changed since the books were written.
    step: Option<&'a Step<'a>>,
}

impl States<'_> {
    fn of(&self, machine: &str, which: &Which) -> &'static str {
        match which {
            Which::One => self.single(machine),
            Which::Message(id) if machine == "claim" => self.look.claims.get(id).map_or("none", |claim| claim.state),
            Which::Message(id) => self.message(*id),
            Which::Named(name) if machine == "approval" => self.approval(name),
            Which::Named(id) => self.command(id),
        }
    }

    fn single(&self, machine: &str) -> &'static str {
        match machine {
            "boot" => self.look.boot,
            "link" => self.look.link,
            "credential" => self.look.renewal,
            "standing" => self.look.standing,
            "lifecycle" => self.look.process,
            "prompt" => self.look.prompt,
            _ => self.look.ending,
        }
    }

    fn message(&self, id: MessageId) -> &'static str {
        if let Some(message) = self.look.messages.get(&id) {
            return if message.stage == Stage::SetAside { "set aside" } else { message.stage.as_str() };
        }
        if self.look.set_aside.contains(&id) {
            return "set aside";
        }
        let settled = |note: &relay_runner_core::Note| matches!(note, relay_runner_core::Note::Stage { message, stage: Stage::Settled, .. } if *message == id);
        match self.step {
            Some(step) if step.another_relay => "none",
            Some(step) if step.notes(settled) => "settled",
            _ => self.books.over.get(&id).copied().unwrap_or("none"),
        }
    }

    fn command(&self, id: &Text) -> &'static str {
        if let Some(order) = self.look.commands.iter().find(|order| order.id.as_ref() == Some(id)) {
            return order.state;
        }
        let notes = self.step.map_or(&[][..], |step| &step.fx.notes);
        let outcome = notes.iter().find_map(|note| match note {
            relay_runner_core::Note::Command { id: of, what: what @ ("succeeded" | "failed"), .. } if of == id => {
                Some(*what)
            }
            _ => None,
        });
        outcome.or_else(|| self.books.concluded.get(id).copied()).unwrap_or("new")
    }

    fn approval(&self, name: &str) -> &'static str {
        let open = self.look.approvals.get(name);
        open.or_else(|| self.look.approvals_over.get(name)).copied().unwrap_or("new")
    }

    /// Every instance that may have another state than in this other look.
    fn differing<'b>(&'b self, other: &'b Look) -> impl Iterator<Item = (&'static str, Which)> + 'b {
        let singles = ["boot", "link", "credential", "standing", "lifecycle", "prompt", "ending"];
        let messages = self
            .look
            .messages
            .iter()
            .filter(|(id, message)| other.messages.get(id).is_none_or(|other| other.stage != message.stage));
        let claims = self
            .look
            .claims
            .iter()
            .filter(|(id, claim)| other.claims.get(id).is_none_or(|other| other.state != claim.state));
        let commands = self.look.commands.iter().filter_map(|order| Some(("command", Which::Named(order.id.clone()?))));
        let approvals = self.look.approvals.keys().map(|id| ("approval", Which::Named(id.as_str().into())));
        let messages = messages.map(|(id, _)| ("message", Which::Message(*id)));
        let claims = claims.map(|(id, _)| ("claim", Which::Message(*id)));
        singles
            .into_iter()
            .map(|name| (name, Which::One))
            .chain(messages)
            .chain(claims)
            .chain(commands)
            .chain(approvals)
    }
}

fn judge(feed: &Feed, before: &States<'_>, after: &States<'_>, met: &mut Met) {
    for (instance, heard) in &feed.heard {
        if !feed.unclear.contains(instance) {
            judge_one(instance, heard, before, after, met);
        }
    }
    // What heard nothing stays what it is.
    for instance in before.differing(after.look).chain(after.differing(before.look)) {
        if before.of(instance.0, &instance.1) != after.of(instance.0, &instance.1)
            && !feed.heard.contains_key(&instance)
            && !feed.unclear.contains(&instance)
        {
            judge_one(&instance, &BTreeSet::new(), before, after, met);
        }
    }
}

fn judge_one(
    (name, which): &(&'static str, Which),
    heard: &BTreeSet<&'static str>,
    before: &States<'_>,
    after: &States<'_>,
    met: &mut Met,
) {
    let Some(machine) = machines::named(name) else { return };
    let (from, to) = (before.of(name, which), after.of(name, which));
    let (does, ignored): (Vec<&'static str>, Vec<_>) =
        heard.iter().partition(|event| matches!(machine.says(from, event), Said::Leads(_)));
    match does[..] {
        [] if from == to => {
            met.pairs.extend(ignored.into_iter().map(|event| Pair { machine: machine.name, state: from, event }));
        }
        [] => met.odd.push(format!("{name}/{from}: {to} after {ignored:?}")),
        [event] if leads(machine, from, event, to) => {
            met.pairs.push(Pair { machine: machine.name, state: from, event });
        }
        [event] => met.odd.push(format!("{name}/{from}/{event}: {to}")),
        // What came first is not known.
        _ => {}
    }
}

/// Whether the table has it so.
fn leads(machine: &Machine, from: &str, event: &str, to: &str) -> bool {
    match machine.says(from, event) {
        Said::Leads(rows) => rows.iter().any(|row| row.to == to || row.to == STAYS && from == to),
        Said::Ignored(_) => from == to,
        Said::Nothing => false,
    }
}
