//! Commands.

use relay_runner_core::event::{Event, Order, ReportStatus};
use relay_runner_core::{Call, Note, ProviderReport, Text};

use super::Detector;
use crate::coverage::step::Step;

pub(super) const ALL: &[Detector] = &[
    ("command-replay", command_replay),
    ("report-unreachable", report_unreachable),
    ("shutdown-report-fails", shutdown_report_fails),
    ("lifecycle-clobber", lifecycle_clobber),
    ("ready-flip", ready_flip),
    ("ghost-agent", ghost_agent),
];

/// The relay says a command whose id was heard.
fn command_replay(step: &Step<'_>) -> bool {
    step.order.as_ref().is_some_and(|ordered| ordered.known)
}

/// Commands whose reports fail.
fn unreported<'a>(step: &'a Step<'_>) -> impl Iterator<Item = &'a Text> {
    step.answers.iter().filter(|answer| answer.failure().is_some()).filter_map(|answer| match answer.call() {
        Some(Call::Command { id, .. }) => Some(id),
        _ => None,
    })
}

/// What is said of a command does not get to the relay.
fn report_unreachable(step: &Step<'_>) -> bool {
    unreported(step).next().is_some()
}

/// The same of one that asked for the end.
fn shutdown_report_fails(step: &Step<'_>) -> bool {
    let ends =
        |id: &Text| step.books.heard.get(id).is_some_and(|name| matches!(&**name, "agent.shutdown" | "agent.kill"));
    step.before.ends() && unreported(step).any(ends)
}

/// A command has its outcome while a restart, or the end, that another asked for goes on.
fn lifecycle_clobber(step: &Step<'_>) -> bool {
    let outcome = step.notes(|note| matches!(note, Note::Command { what: "succeeded" | "failed", .. }));
    let goes_on = |name: &str| step.before.waits(name) && step.after.waits(name);
    outcome && ["agent.restart", "agent.shutdown", "agent.kill"].into_iter().any(goes_on)
}

/// Something that makes an agent look ready comes while it goes down.
fn ready_flip(step: &Step<'_>) -> bool {
    let down = step.before.ends() || step.before.is_stopping();
    let ready = matches!(step.report(), Some(ProviderReport::Ready)) || step.turn_report(ReportStatus::Idle).is_some();
    down && (ready || step.registered())
}

/// Leave was taken, and the link, the relay or somebody here says something all the same.
fn ghost_agent(step: &Step<'_>) -> bool {
    let heard = match step.event {
        Event::Link(..) | Event::Bus(..) => true,
        Event::Order(order) => matches!(order, Order::Command { .. } | Order::Token { .. }),
        Event::Boot | Event::Wake | Event::Provider(..) | Event::Done(..) => false,
    };
    step.before.ending == "leaving" && heard
}
