//! The credential.

use relay_runner_core::{Call, Note};

use super::Detector;
use super::messages::is_lost;
use crate::coverage::step::Step;

pub(super) const ALL: &[Detector] = &[
    ("renewed-then-silent", renewed_then_silent),
    ("stale-401", stale_401),
    ("slept-past-expiry", slept_past_expiry),
    ("renewal-races-reconnect", renewal_races_reconnect),
    ("renewal-answer-lost", renewal_answer_lost),
    ("renewal-after-stop", renewal_after_stop),
    ("short-token", short_token),
];

/// There is another credential after one was refused.
fn renewed_then_silent(step: &Step<'_>) -> bool {
    step.before.standing == "refused" && step.uses_another_token()
}

/// A call, or a connection, under an older credential is refused.
fn stale_401(step: &Step<'_>) -> bool {
    step.refusals().any(|in_force| !in_force)
}

/// The clocks jump over the end of the credential.
fn slept_past_expiry(step: &Step<'_>) -> bool {
    let ends = step.before.token_ends.is_some_and(|ends| {
        let ends = ends * 1_000;
        step.before.now.wall < ends && ends <= step.at.wall
    });
    step.notes(|note| matches!(note, Note::ClockJump { millis } if *millis > 0)) && ends
}

/// A renewed credential comes while the link is being opened again.
fn renewal_races_reconnect(step: &Step<'_>) -> bool {
    let renewed = step.answers.iter().any(|answer| matches!(answer.call(), Some(Call::RenewToken { .. })));
    let opens = matches!(step.before.link, "waiting" | "connecting" | "registering");
    renewed && step.uses_another_token() && opens && step.books.registered > 0
}

/// A renewal is asked for again, after one that may have been granted.
fn renewal_answer_lost(step: &Step<'_>) -> bool {
    let asks = step.calls().any(|(_, _, call)| matches!(call, Call::RenewToken { .. }));
    let lost = |answer: &crate::coverage::step::Answered<'_>| {
        matches!(answer.call(), Some(Call::RenewToken { .. })) && is_lost(answer)
    };
    asks && step.books.renewal_lost || step.answers.iter().any(lost)
}

/// The answer comes when the run ends.
fn renewal_after_stop(step: &Step<'_>) -> bool {
    let renewal = step.answers.iter().any(|answer| matches!(answer.call(), Some(Call::RenewToken { .. })));
    renewal && step.before.ends()
}

/// A credential that lives no longer than two minutes is renewed.
fn short_token(step: &Step<'_>) -> bool {
    let asks = step.calls().any(|(_, _, call)| matches!(call, Call::RenewToken { .. }));
    let left = step.before.token_ends.map(|ends| (ends * 1_000).saturating_sub(step.at.wall));
    asks && left.is_some_and(|left| left > 0 && left <= 60_000)
}
