//! Commands of the relay. Those of this machine have no id to be told apart by.

use std::collections::BTreeSet;

use relay_runner_core::event::FailureKind;
use relay_runner_core::{Act, Text, TimerKey};

use super::{Feed, Step};
use crate::coverage::step::Answered;

pub(super) fn feed(step: &Step<'_>, feed: &mut Feed) {
    let command = "command";
    let came = step.order.as_ref().filter(|ordered| !ordered.here).map(|ordered| &ordered.order.id);
    if let Some(id) = came {
        feed.named(command, id, "arrives");
    }
    let open = step.before.commands.iter().filter_map(|order| order.id.clone());
    let all: BTreeSet<Text> = open.chain(step.books.some_concluded().cloned()).filter(|id| came != Some(id)).collect();
    let mut others = |event: &'static str| all.iter().for_each(|id| feed.named(command, id, event));
    if step.comes_up {
        others("provider up");
    }
    if step.exits {
        others("exit");
    }
    if step.is_due(TimerKey::Stop) && step.before.process == "killing" {
        others("stop failed");
    }
    if step.registered() {
        others("registered");
    }
    for name in ["restart", "shutdown", "kill"] {
        let event = match name {
            "restart" => "restart comes",
            "shutdown" => "shutdown comes",
            _ => "kill comes",
        };
        if step.orders(&format!("agent.{name}")) {
            others(event);
        }
    }
    is_free(step, feed, &all);
    is_answered(step, feed);
}

/// An operation of the provider is over; what waits for it may begin.
fn is_free(step: &Step<'_>, feed: &mut Feed, all: &BTreeSet<Text>) {
    let frees = |answer: &Answered<'_>| match answer.act() {
        Some(Act::Offer { .. } | Act::Prompt | Act::Tell { .. } | Act::Compact | Act::Clear | Act::Inject { .. }) => {
            true
        }
        Some(Act::Interrupt | Act::Probe | Act::Decide { .. }) | None => false,
    };
    if step.comes_up || !step.answers.iter().any(frees) {
        return;
    }
    for id in all {
        let state = |look: &crate::coverage::look::Look| {
            look.commands.iter().find(|order| order.id.as_ref() == Some(id)).map(|order| order.state)
        };
        match state(step.before) {
            Some("queued") if state(step.after) == Some("queued") => {}
            // Its own answer comes to it.
            Some("at provider") if state(step.after).is_none() => {}
            _ => feed.named("command", id, "turn free"),
        }
    }
}

fn is_answered(step: &Step<'_>, feed: &mut Feed) {
    for answer in step.answers.iter().chain(&step.late) {
        if let Some(id) = &answer.asked.command {
            let event = match answer.failure() {
                None => "done",
                Some(FailureKind::TimedOut) => "no answer",
                Some(_) => "refused",
            };
            feed.named("command", id, event);
        } else if matches!(answer.act(), Some(Act::Decide { .. } | Act::Compact | Act::Clear | Act::Inject { .. })) {
            // Whose it was cannot be told.
            for order in step.before.commands.iter().filter(|order| order.state == "at provider") {
                if let Some(id) = &order.id {
                    feed.is_unclear("command", super::Which::Named(id.clone()));
                }
            }
        }
    }
}
