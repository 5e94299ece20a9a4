//! What ends a turn and what does not, when ends are lost or late, or are somebody else's.

use relay_runner_core::event::{ReportStatus, StatusReport, TurnEnd};

use crate::story::Story;

fn busy_with(story: &mut Story, turn: &str) {
    story.report(StatusReport { status: ReportStatus::Busy, id: Some(turn.into()), ..StatusReport::default() });
}

fn idle_after(story: &mut Story, turn: &str, end: TurnEnd) {
    story.report(StatusReport { id: Some(turn.into()), end, ..StatusReport::default() });
}

#[test]
fn missing_stop() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    busy_with(&mut story, "t1");
    // The end of t1 never came, so nobody knows how it ended.
    busy_with(&mut story, "t2");
    idle_after(&mut story, "t2", TurnEnd::Normal);
    assert!(story.core.view().busy_reasons.iter().all(|reason| *reason != "provider-turn"));
    story.never(",done");
    let again = story.told.iter().find(|t| t.contains("offer,m5/2/")).expect("it is offered again");
    assert!(again.contains("/redelivered") || again.contains("/ambiguous"), "{again}");
}

#[test]
fn the_late_end_of_an_earlier_turn_ends_nothing() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    busy_with(&mut story, "t1");
    busy_with(&mut story, "t2");
    idle_after(&mut story, "t1", TurnEnd::Failed { error: "overloaded".into() });
    assert!(story.core.view().turn.is_some(), "t2 runs");
    idle_after(&mut story, "t2", TurnEnd::Normal);
    assert!(story.core.view().turn.is_none());
    story.never(",done");
}

#[test]
fn an_error_of_a_subagent_is_no_end_of_the_turn() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    let status = ReportStatus::Error;
    let error = StatusReport { status, reason: Some("subagent".into()), id: Some("x".into()), ..Default::default() };
    story.report(error);
    assert!(story.core.view().turn.is_some());
    story.idle();
    story.expects("task,t50,m5,done,f3");
}
