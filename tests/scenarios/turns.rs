//! Turns: which are shown, which are silent, and what their errors say of messages.

use relay_runner_core::Config;
use relay_runner_core::config::Delivery;
use relay_runner_core::event::{FailureKind, ProviderReport, ReportStatus, StatusReport};

use crate::story::{Story, config, plain};

/// A report of the provider's on something other than its turn.
fn reports(story: &mut Story, status: ReportStatus, reason: &str, id: Option<&str>) {
    let (reason, id) = (Some(reason.into()), id.map(Into::into));
    story.report(StatusReport { status, reason, id, ..StatusReport::default() });
}

#[test]
fn a_turn_after_a_silent_one_is_shown_as_what_it_is() {
    let mut story = Story::up();
    let begins = |story: &mut Story, id: &str| reports(story, ReportStatus::Busy, "provider-turn", Some(id));
    begins(&mut story, "t1");
    let first = story.core.view().turn;
    story.after(600_000);
    let probe = story.expects("probe");
    story.fails(probe, FailureKind::Unsupported);
    begins(&mut story, "t1");
    assert_eq!(story.core.view().turn, first, "it was only silent");
    story.after(600_000);
    let probe = story.expects("probe");
    story.fails(probe, FailureKind::Unsupported);
    begins(&mut story, "t2");
    assert_ne!(story.core.view().turn, first);
    assert!(story.is_busy_for("provider-turn"));
    let work = &story.status_meta()["activeWork"];
    assert_eq!((work[0]["id"].as_str(), work.as_array().map(Vec::len)), (Some("t2"), Some(1)), "{work}");
}

#[test]
fn turns_of_a_later_run_are_other_turns() {
    let mut story = Story::up();
    story.busy().idle();
    story.busy();
    let turn = story.core.view().turn;
    let mut later = story.the_next_run();
    later.boot();
    later.registers();
    later.provider_comes_up();
    later.busy();
    assert!(later.core.view().turn > turn, "{:?} after {turn:?}", later.core.view().turn);
}

#[test]
fn an_idle_provider_is_not_probed() {
    let mut story = Story::up();
    story.provider(ProviderReport::SignOfLife);
    story.busy().idle();
    story.provider(ProviderReport::SignOfLife);
    story.after(3_600_000);
    story.never("probe");
}

#[test]
fn an_error_of_the_turn_is_its_failure_and_one_of_a_subagent_is_not() {
    let mut story = Story::up();
    story.message(plain(5));
    story.hands_over(5);
    story.takes(5);
    story.busy();
    reports(&mut story, ReportStatus::Busy, "subagent", Some("s1"));
    reports(&mut story, ReportStatus::Error, "subagent", Some("s1"));
    assert_eq!(story.core.view().busy_reasons, ["provider-turn", "message"]);
    assert_eq!(story.stage(5), Some("taken"));
    story.report(StatusReport { status: ReportStatus::Error, ..StatusReport::default() });
    story.expects("offer,m5/2/");
    story.never("read,m5");
}

#[test]
fn a_subagent_without_a_name_ends_with_its_turn() {
    let mut story = Story::up();
    story.busy();
    reports(&mut story, ReportStatus::Busy, "subagent", None);
    assert!(story.is_busy_for("subagent"));
    story.idle();
    assert!(!story.is_busy_for("subagent"));
}

#[test]
fn a_sign_of_life_says_nothing_of_what_was_never_taken() {
    let mut story = Story::up_with(Config { delivery: Delivery::Queue, ..config() });
    story.message(plain(5));
    story.hands_over(5);
    story.after(30_000);
    assert_eq!(story.stage(5), Some("ambiguous"));
    story.busy();
    story.after(600_000);
    let probe = story.expects("probe");
    story.fails(probe, FailureKind::Unsupported);
    story.provider(ProviderReport::SignOfLife);
    assert_eq!(story.stage(5), Some("ambiguous"));
}

#[test]
fn what_was_silent_and_shows_itself_is_a_fact_again() {
    let mut story = Story::up();
    story.busy();
    story.after(600_000);
    let probe = story.expects("probe");
    story.fails(probe, FailureKind::Unsupported);
    assert!(!story.is_busy_for("provider-turn"));
    story.provider(ProviderReport::SignOfLife);
    assert!(story.is_busy_for("provider-turn"));
    assert_eq!(story.status_meta()["activeWork"][0]["unverified"], false);
}
