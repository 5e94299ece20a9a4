//! Link and status.

use relay_runner_core::event::{Event, LinkReport};
use relay_runner_core::{Call, Effect, Frame, Note};

use super::Detector;
use crate::coverage::step::Step;

pub(super) const ALL: &[Detector] = &[
    ("status-lost-in-reconnect", status_lost_in_reconnect),
    ("status-writers-race", status_writers_race),
    ("hung-request", hung_request),
    ("flapping-link", flapping_link),
    ("half-open-link", half_open_link),
    ("clock-jump", clock_jump),
    ("two-runners", two_runners),
];

/// What is shown changes while nothing can be published.
fn status_lost_in_reconnect(step: &Step<'_>) -> bool {
    let changes = (step.before.status, step.before.ready) != (step.after.status, step.after.ready);
    changes && step.books.registered > 0 && step.before.link != "up" && step.after.link != "up"
}

/// One goes out over the bus while another is on its way by HTTP.
fn status_writers_race(step: &Step<'_>) -> bool {
    let by_http =
        |effect: &Effect| matches!(effect, Effect::Http { call: Call::SetStatus { .. } | Call::SetReady { .. }, .. });
    let by_bus = |effect: &Effect| matches!(effect, Effect::Send { frame: Frame::Status { .. }, .. });
    let under_way = || step.books.asked.values().rev().any(|asked| asked.open && by_http(&asked.effect));
    step.fx.effects.iter().any(by_bus) && (step.fx.effects.iter().any(by_http) || under_way())
}

/// A call has met its deadline, in the shell or in the core.
fn hung_request(step: &Step<'_>) -> bool {
    let late = |kind| kind == relay_runner_core::event::FailureKind::TimedOut;
    step.answers.iter().any(|answer| answer.call().is_some() && answer.failure().is_some_and(late))
}

/// The link is lost for the third time within a minute of coming up.
fn flapping_link(step: &Step<'_>) -> bool {
    let lost = step.before.link == "up" && step.after.link == "waiting";
    lost && step.books.flaps >= 2 && step.at.mono < step.books.up_since + 60_000
}

/// Nothing was heard for so long that the connection was given up.
fn half_open_link(step: &Step<'_>) -> bool {
    matches!(step.event, Event::Link(_, LinkReport::Closed(why)) if why.starts_with("nothing was heard"))
}

/// The clocks disagree on how much time has passed.
fn clock_jump(step: &Step<'_>) -> bool {
    step.notes(|note| matches!(note, Note::ClockJump { .. }))
}

/// A newer instance holds the agent.
fn two_runners(step: &Step<'_>) -> bool {
    step.superseded()
}
