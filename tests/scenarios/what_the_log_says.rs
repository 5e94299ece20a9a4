//! What the log says: what went wrong and with what, and the same trouble once in a while only.

use relay_runner_core::event::{
    ApprovalRequest, BusFrame, ExitClass, FailureKind, LinkReport, ProviderReport, ReportStatus, Signal, StatusReport,
};
use relay_runner_core::{Event, Note, OpResult, Stamp};
use relay_runner_protocol::ErrorCode;

use crate::story::{EPOCH, Story, config, plain, task};

/// What failed, each with whether that had been said before.
fn failures(story: &Story) -> Vec<(&'static str, bool)> {
    let failure = |note: &Note| match note {
        Note::Failed { what, said_before, .. } => Some((*what, *said_before)),
        _ => None,
    };
    story.noted.iter().filter_map(failure).collect()
}

fn full(story: &Story) -> Vec<&'static str> {
    let full = |note: &Note| if let Note::Full { what, .. } = note { Some(*what) } else { None };
    story.noted.iter().filter_map(full).collect()
}

fn jumps(story: &Story) -> Vec<i64> {
    let jump = |note: &Note| if let Note::ClockJump { millis } = note { Some(*millis) } else { None };
    story.noted.iter().filter_map(jump).collect()
}

#[test]
fn a_failure_is_said_with_what_failed_and_again_after_a_while() {
    let mut story = Story::up();
    story.message(task(5, 50));
    let begun = story.now.mono;
    while story.now.mono < begun + 300_000 {
        story.waits_for("claim,m5");
        let claim = story.expects("claim,m5");
        story.fails(claim, FailureKind::Server);
    }
    let said = failures(&story);
    assert!(said.len() > 10 && said.iter().all(|(what, _)| *what == "claim"), "{said:?}");
    let new: Vec<_> = (0..said.len()).filter(|n| !said[*n].1).collect();
    assert_eq!(new, [0, said.len() - 1], "five minutes later");
}

#[test]
fn what_was_not_answered_in_time_is_said() {
    let mut story = Story::up();
    story.message(plain(5));
    story.expects("offer,m5");
    story.after(30_000);
    assert!(story.noted.iter().any(|note| matches!(note, Note::TimedOut { what: "offer", .. })));
    assert!(failures(&story).contains(&("offer", false)));
}

#[test]
fn rounds_that_fail_alike_are_one_trouble_whatever_the_relay_says_of_each() {
    let mut story = Story::up();
    story.by_hand();
    story.after(20_000);
    for call in ["set-status", "set-ready", ",heartbeat)", "unread,"] {
        let op = story.expects(call);
        let text = format!("HTTP 500 {call}: another text each time");
        let failure = relay_runner_core::Failure { kind: FailureKind::Server, text: text.into() };
        story.answers(op, OpResult::Failed(failure));
    }
    let said: Vec<_> = failures(&story).into_iter().map(|(_, said_before)| said_before).collect();
    assert_eq!(said, [false, true, true, true]);
}

#[test]
fn an_agent_that_is_gone_when_leave_is_taken_is_no_trouble() {
    for (kind, is_trouble) in [(FailureKind::NotFound, false), (FailureKind::Invalid, true)] {
        let mut story = Story::up();
        story.signal(Signal::Quit);
        story.exits(ExitClass::Signal);
        let farewell = story.expects("delete-agent");
        story.fails(farewell, kind);
        assert_eq!(failures(&story), [("taking leave of the relay", !is_trouble)], "{kind:?}");
    }
    let mut story = Story::up();
    story.message(plain(1));
    story.works(1);
    let read = story.expects("read,m1");
    story.fails(read, FailureKind::NotFound);
    assert_eq!(failures(&story), [("report to the relay", false)], "but a message that is gone is one");
}

#[test]
fn a_jump_of_the_wall_clock_is_said_with_how_far_it_went() {
    let mut story = Story::up();
    story.after(3_600_000);
    assert_eq!(jumps(&story), [0; 0], "both clocks went on alike");
    for (by, said) in [(2_000, None), (2_001, Some(2_001)), (-2_000, None), (-60_000, Some(-60_000))] {
        let before = jumps(&story).len();
        story.now.wall = story.now.wall.saturating_add_signed(by);
        story.busy();
        assert_eq!(jumps(&story)[before..], said.into_iter().collect::<Vec<_>>(), "{by}");
    }
}

#[test]
fn the_first_time_that_is_heard_is_no_jump() {
    let mut story = Story::with(config(), crate::story::facts());
    story.now = Stamp::new(1_000, EPOCH + 3_600_000);
    story.boot();
    assert_eq!(jumps(&story), [0; 0]);
}

#[test]
fn what_is_full_is_said_once() {
    let mut config = config();
    config.limits.held = 1;
    config.limits.approvals = 1;
    let mut story = Story::up_with(config);
    story.busy();
    for id in 1..=3 {
        story.message(plain(id));
        let id = format!("p{id}").into();
        let request = ApprovalRequest { id, kind: "tool".into(), tool: None, reason: None };
        story.provider(ProviderReport::ApprovalOpened(Box::new(request)));
    }
    assert_eq!(full(&story), ["inbox", "approvals"]);
}

#[test]
fn work_that_is_not_shown_any_more_is_said() {
    let mut config = config();
    config.limits.work = 2;
    let mut story = Story::up_with(config);
    for id in ["s1", "s2"] {
        opens(&mut story, id);
    }
    assert_eq!(full(&story), [""; 0]);
    opens(&mut story, "s3");
    assert_eq!(full(&story), ["work"]);
}

fn opens(story: &mut Story, id: &str) {
    let (reason, id) = (Some("subagent".into()), Some(id.into()));
    story.report(StatusReport { status: ReportStatus::Busy, reason, id, ..StatusReport::default() });
}

#[test]
fn bad_frames_and_errors_of_the_relay_are_said_once() {
    let mut story = Story::up();
    for n in 1..=2 {
        story.frame(BusFrame::Malformed { reason: "no JSON".into() });
        story.frame(BusFrame::Error { code: ErrorCode::RateLimited, message: "slowly".into() });
        let said = |is_it: fn(&Note) -> bool| story.noted.iter().filter(|note| is_it(note)).count();
        assert_eq!(said(|note| matches!(note, Note::Malformed { what: "frame", .. })), 1, "{n}");
        assert_eq!(said(|note| matches!(note, Note::RelaySays { .. })), 1, "{n}");
    }
    assert_eq!(story.core.view().malformed, 2, "but counted");
}

#[test]
fn what_comes_after_the_end_is_said_to_be_stale_and_a_wake_is_not() {
    let mut story = Story::up();
    story.signal(Signal::Quit);
    story.exits(ExitClass::Signal);
    story.accepts("delete-agent");
    assert!(story.core.view().over);
    let then = story.noted.len();
    story.hears(Event::Wake);
    assert_eq!(story.noted[then..], []);
    story.hears(Event::Link(1, LinkReport::Closed("reset".into())));
    assert_eq!(story.noted[then..], [Note::Stale { what: "event after the end", number: 0 }]);
}

#[test]
fn what_is_overdue_when_the_core_is_woken_late_is_said_all_the_same() {
    let mut story = Story::up();
    story.message(plain(5));
    story.expects("offer,m5");
    story.now.mono += 120_000;
    story.now.wall += 120_000;
    story.hears(Event::Wake);
    assert!(failures(&story).contains(&("offer", false)), "{:?}", failures(&story));
    let why = |note: &Note| if let Note::Failed { failure, .. } = note { Some(failure.text.clone()) } else { None };
    assert!(story.noted.iter().filter_map(why).all(|why| &*why == "no answer within the deadline"));
}

#[test]
fn a_relay_that_does_not_know_us_while_we_register_is_no_reason_to_register_again() {
    let mut story = Story::up();
    story.link_breaks();
    story.waits_to_connect();
    story.opens();
    story.expects("register");
    story.frame(BusFrame::Error { code: ErrorCode::NotRegistered, message: "who?".into() });
    story.expects_no("register");
    assert!(story.noted.iter().any(|note| matches!(note, Note::RelaySays { code: "not_registered", .. })));
}
