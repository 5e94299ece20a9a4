//! What the world of a plan is made of, in a line.

use super::span;
use crate::plan::Setup;

pub(super) fn setup(setup: &Setup) -> String {
    let runners = match setup.runners {
        0 | 1 => "one runner".to_owned(),
        runners => format!("{runners} runners"),
    };
    let adapter = &setup.adapter;
    let can = these(&[
        (adapter.restartable, "be restarted"),
        (adapter.adoptable, "be adopted"),
        (adapter.typed, "be typed to"),
        (adapter.evidence, "show what it took"),
        (adapter.steer, "be steered"),
        (adapter.interrupt, "be interrupted"),
        (adapter.compact, "compact"),
        (adapter.clear, "clear its context"),
        (adapter.inject, "take in context"),
    ]);
    let ways = these(&[
        (setup.hooks, "it reports by hooks"),
        (setup.names_turns, "its reports name their turn"),
        (setup.first_prompt, "it begins with a prompt"),
        (setup.fail_fast, "the runner fails fast"),
    ]);
    let token = match setup.token {
        0 => "no token is needed".to_owned(),
        seconds => format!("tokens live {seconds} s"),
    };
    format!(
        "{runners}; the provider can: {can}; special: {ways}; {}; delivery {}, marked as read when {}, on giving up {}; \
         at most {} messages held and {} claims, {} fetched at a time; leases of {}; {token}; at most {} on the way, and {} \
         for a turn",
        word(setup.mode),
        word(setup.delivery),
        word(setup.mark_read),
        word(setup.on_give_up),
        setup.held,
        setup.claims,
        setup.fetch,
        span(setup.lease),
        span(setup.way),
        span(setup.turn),
    )
}

/// Those that are so.
fn these(all: &[(bool, &'static str)]) -> String {
    let so: Vec<&str> = all.iter().filter(|(so, _)| *so).map(|(_, words)| *words).collect();
    if so.is_empty() { "nothing".to_owned() } else { so.join(", ") }
}

/// A setting as it is written.
fn word(setting: impl std::fmt::Debug) -> String {
    format!("{setting:?}").to_lowercase()
}
