//! A turn that gives no sign of life: probed, and no fact any more when nothing confirms it. It holds nothing up then, and
//! completes nothing.

use relay_runner_core::OpResult;
use relay_runner_core::event::{FailureKind, ProviderReport, ReportStatus, Signal, StatusReport};

use crate::story::{Story, config, plain, task};

const SILENCE: u64 = 10 * 60_000;

fn begins(story: &mut Story, turn: &str) {
    let report = StatusReport { status: ReportStatus::Busy, id: Some(turn.into()), ..StatusReport::default() };
    story.report(report);
}

fn ends(story: &mut Story, turn: &str) {
    story.report(StatusReport { id: Some(turn.into()), ..StatusReport::default() });
}

/// Task 50 is worked on in turn `t1`, whose end nobody reports.
fn at_work() -> Story {
    let mut story = Story::up();
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    // Without an expiry: this story is about other spans.
    story.answers(claim, OpResult::Granted { fence: 3, lease: None });
    let started = story.expects("task,t50,m5,in_progress");
    story.answers(started, OpResult::Ok);
    story.hands_over(5);
    story.takes(5);
    begins(&mut story, "t1");
    story
}

/// It is silent for ten minutes, and the probe cannot tell.
fn silent(story: &mut Story) {
    story.after(SILENCE);
    let probe = story.expects("probe");
    story.fails(probe, FailureKind::Unsupported);
}

#[test]
fn missing_stop() {
    let mut story = at_work();
    story.after(SILENCE - 1);
    story.expects_no("probe");
    assert_eq!(story.core.view().busy_reasons, ["provider-turn", "message", "task"]);
    story.after(1);
    let probe = story.expects("probe");
    story.fails(probe, FailureKind::Unsupported);
    // Shown, with its age, and no longer as a fact.
    assert_eq!(story.core.view().status.as_str(), "idle");
    assert_eq!(story.core.view().busy_reasons, [""; 0]);
    let work = &story.status_meta()["activeWork"][0];
    assert!(work["kind"] == "provider-turn" && work["unverified"] == true && work["since"].is_u64(), "{work}");
    assert_eq!(story.stage(5), Some("ambiguous"));
    // What comes after it does not wait for ever.
    story.message(plain(7));
    story.hands_over(7);
    // It is taken, so the old turn is over; nothing says that it was worked.
    story.takes(7);
    begins(&mut story, "t2");
    ends(&mut story, "t2");
    story.expects("read,m7");
    story.never("done");
    story.expects("offer,m5/2/");
    assert_eq!(story.times("/ambiguous"), 1, "what is offered again says that it may be a repeat");
}

#[test]
fn a_probe_that_confirms_the_turn_leaves_it_a_fact() {
    let mut story = at_work();
    for _ in 0..3 {
        story.after(SILENCE);
        let probe = story.expects("probe");
        story.answers(probe, OpResult::Ok);
        assert!(story.is_busy_for("provider-turn"));
    }
    ends(&mut story, "t1");
    story.expects("task,t50,m5,done");
}

#[test]
fn a_silent_turn_that_shows_itself_again_goes_on() {
    let mut story = at_work();
    silent(&mut story);
    assert_eq!(story.stage(5), Some("ambiguous"));
    story.provider(ProviderReport::SignOfLife);
    assert_eq!(story.stage(5), Some("taken"));
    assert!(story.is_busy_for("task"));
    ends(&mut story, "t1");
    story.expects("task,t50,m5,done");
}

#[test]
fn a_silent_turn_that_ends_after_all_has_worked() {
    let mut story = at_work();
    silent(&mut story);
    ends(&mut story, "t1");
    story.expects("task,t50,m5,done");
}

#[test]
fn a_compaction_whose_end_is_lost_does_not_keep_the_agent_busy() {
    let compacts = |story: &mut Story| {
        let reason = Some("compaction".into());
        story.report(StatusReport { status: ReportStatus::Busy, reason, ..StatusReport::default() });
    };
    // Within a turn: that ends it.
    let mut story = Story::up();
    begins(&mut story, "t1");
    compacts(&mut story);
    ends(&mut story, "t1");
    assert_eq!(story.core.view().busy_reasons, [""; 0]);
    // On its own: after ten silent minutes it is no fact any more.
    compacts(&mut story);
    assert!(story.is_busy_for("compaction"));
    silent(&mut story);
    assert_eq!(story.core.view().status.as_str(), "idle");
}

#[test]
fn a_drain_does_not_wait_for_a_turn_that_nothing_confirms() {
    let mut story = at_work();
    silent(&mut story);
    story.signal(Signal::Term);
    story.expects("Ask");
}

#[test]
fn what_was_taken_for_the_turn_after_a_silent_one_does_not_wait_for_ever() {
    // Handed over while idle, and shown during a turn that it does not belong to.
    let waits = || {
        let mut story = Story::up();
        story.message(plain(7));
        story.hands_over(7);
        begins(&mut story, "t1");
        story.takes(7);
        silent(&mut story);
        assert_eq!(story.stage(7), Some("taken"));
        story
    };
    let mut story = waits();
    story.after(30_000);
    assert_eq!(story.stage(7), Some("ambiguous"));
    // The turn lives after all, so the message goes on waiting for the next one.
    let mut story = waits();
    story.provider(ProviderReport::SignOfLife);
    story.after(60_000);
    assert_eq!(story.stage(7), Some("taken"));
    ends(&mut story, "t1");
    begins(&mut story, "t2");
    ends(&mut story, "t2");
    story.expects("read,m7");
}

#[test]
fn one_probe_at_a_time_is_asked_of_a_process_that_is_not_being_stopped() {
    let mut config = config();
    config.timing.turn_probe = 5_000;
    let mut story = Story::up_with(config.clone());
    story.busy();
    story.after(14_000);
    assert_eq!(story.times("probe"), 1, "until it is answered, or too late");
    let mut story = Story::up_with(config);
    story.busy();
    story.command("c1", "agent.restart");
    story.after(14_000);
    story.never("probe");
}

#[test]
fn a_turn_that_is_reported_busy_again_is_the_same_turn() {
    let mut story = Story::up();
    story.message(plain(1));
    story.hands_over(1);
    story.takes(1);
    story.busy();
    let turn = story.core.view().turn;
    story.busy();
    assert_eq!(story.core.view().turn, turn);
    assert_eq!(story.stage(1), Some("taken"));
}

#[test]
fn who_takes_something_new_has_ended_a_silent_turn_unless_it_takes_it_into_that_turn() {
    for into_turn in [false, true] {
        let mut story = Story::up();
        story.busy();
        let turn = story.core.view().turn;
        story.after(600_000);
        let probe = story.expects("probe");
        story.fails(probe, FailureKind::Unsupported);
        story.message(plain(1));
        story.hands_over(1);
        if into_turn {
            story.takes_into_turn(1);
        } else {
            story.takes(1);
        }
        assert_eq!(story.core.view().turn, turn.filter(|_| into_turn));
    }
}
