//! Stories that the simulator found (`src/sim`), in their shortest form; docs/decisions/0019 says what was mended.

use relay_runner_core::Given;
use relay_runner_core::config::Config;
use relay_runner_core::event::{
    ApprovalRequest, BusFrame, ExitClass, FailureKind, OpResult, ProviderReport, RelayEvent, ReportStatus, Signal,
    StatusReport,
};
use relay_runner_core::flags::Flags;
use relay_runner_protocol::ErrorCode;

use crate::story::{Story, config, facts, plain, task};

fn is_superseded(story: &mut Story) {
    story.frame(BusFrame::Error { code: ErrorCode::Superseded, message: "a newer instance holds the agent".into() });
}

fn registered(story: &mut Story, epoch: u64, cursor: u64, relay: &str) {
    story.frame(BusFrame::Registered { epoch, cursor, relay: Some(relay.into()), heartbeat: None });
}

fn turn(status: ReportStatus, id: &str) -> StatusReport {
    StatusReport { status, id: Some(id.into()), ..StatusReport::default() }
}

/// A relay's answer that came twice was taken for the answer of another relay, and everything was offered again.
#[test]
fn a_registration_that_is_said_again_is_of_the_same_relay() {
    let mut story = Story::with(config(), facts());
    story.boot();
    story.opens();
    registered(&mut story, 1, 0, "one");
    story.provider_comes_up();
    story.message(plain(5));
    story.hands_over(5).takes(5);
    registered(&mut story, 1, 0, "one");
    assert_eq!(story.stage(5), Some("taken"));
}

/// What was asked since the journal was last forced to the disk is not known to the next run: the same numbers stood for
/// other requests, and the relay ignored statuses that counted lower.
#[test]
fn a_run_that_goes_on_leaves_a_gap_in_its_numbers() {
    let numbers = |config: Config| {
        let before = Story::up_with(config.clone()).core.facts();
        let mut story = Story::with(config, before.clone());
        story.boot();
        story.registers();
        let after = story.core.facts();
        (after.next_op.0 - before.next_op.0, after.status_seq - before.status_seq)
    };
    let (operations, statuses) = numbers(config());
    assert!(operations > 1 << 20 && statuses > 1 << 20, "{operations} {statuses}");
    // A journal without the flag has none.
    let (operations, statuses) = numbers(Config { flags: Flags::none(), ..config() });
    assert!(operations < 100 && statuses < 100, "{operations} {statuses}");
}

/// The beginning of its turn was lost, and so the next turn completed what this one had failed.
#[test]
fn what_waits_for_its_turn_is_not_of_the_turn_after_the_one_that_ended_unseen() {
    let mut story = Story::up();
    story.message(plain(5));
    story.hands_over(5).takes(5);
    let end = relay_runner_core::event::TurnEnd::Failed { error: "the model's service is down".into() };
    story.report(StatusReport { end, ..turn(ReportStatus::Idle, "t1") });
    assert_eq!(story.stage(5), Some("ambiguous"));
    story.report(turn(ReportStatus::Busy, "t2")).report(turn(ReportStatus::Idle, "t2"));
    story.never("read,m5");
    // The same end again says nothing new about what was taken since.
    story.message(plain(6));
    story.hands_over(6).takes(6);
    story.report(turn(ReportStatus::Idle, "t2"));
    assert_eq!(story.stage(6), Some("taken"));
}

#[test]
fn without_its_flag_what_waits_for_its_turn_is_of_the_next_one() {
    let mut story = Story::up_with(Config { flags: Flags::none(), ..config() });
    story.message(plain(5));
    story.hands_over(5).takes(5);
    story.report(turn(ReportStatus::Idle, "t1"));
    assert_eq!(story.stage(5), Some("taken"));
    story.report(turn(ReportStatus::Busy, "t2")).report(turn(ReportStatus::Idle, "t2"));
    story.expects("read,m5");
}

/// It came back to the same process as if the turn had failed, although it may have worked it.
#[test]
fn what_a_turn_had_whose_end_was_not_seen_comes_again_as_a_doubt() {
    let mut story = Story::up();
    story.message(plain(5));
    story.hands_over(5).takes(5);
    story.report(turn(ReportStatus::Busy, "t1"));
    story.report(turn(ReportStatus::Busy, "t2")).report(turn(ReportStatus::Idle, "t2"));
    let again = story.told.iter().rev().find(|text| text.contains("offer,m5/2/")).expect("it is offered again");
    assert!(again.ends_with("/ambiguous)"), "{again}");
}

/// Its list of what is unread came before the new relay had said that it is another one.
#[test]
fn what_came_of_another_relay_before_it_said_so_is_not_offered_again_unmarked() {
    let mut story = Story::with(config(), facts());
    story.boot();
    story.opens();
    registered(&mut story, 1, 0, "one");
    story.provider_comes_up();
    story.message(plain(5));
    story.hands_over(5).takes(5);
    story.link_breaks();
    story.waits_to_connect();
    story.opens();
    registered(&mut story, 1, 0, "two");
    assert_eq!(story.stage(5), None);
    story.busy().idle();
    story.message(plain(5));
    let again = story.told.iter().rev().find(|text| text.contains("offer,m5/")).expect("it is offered");
    assert!(again.ends_with("/ambiguous)"), "{again}");
}

#[test]
fn a_superseded_runner_renews_nothing_asks_for_nothing_and_says_nothing_again() {
    let mut story = Story::holding_a_task();
    story.by_hand();
    story.hands_over(5).takes(5).busy().idle();
    let read = story.expects("delivery,m5");
    is_superseded(&mut story);
    let then = story.told.len();
    story.fails(read, FailureKind::TimedOut);
    story.after(600_000);
    for call in ["renew,", "claim,", "delivery,", "task,", "read,"] {
        assert_eq!(story.told_since(then, call), [""; 0]);
    }
}

/// What it had worked stayed worked for ever when it took the agent back: busy with it, and unread on the relay.
#[test]
fn what_a_superseded_run_could_not_say_is_said_by_the_one_that_has_the_agent_back() {
    let mut story = Story::up();
    story.message(plain(5));
    story.by_hand();
    story.hands_over(5).takes(5).busy().idle();
    is_superseded(&mut story);
    story.exits(ExitClass::Clean);
    let mut later = story.the_next_run();
    later.boot();
    later.registers();
    later.accepts("read,m5");
    assert_eq!(later.stage(5), None);
}

/// A kill from this machine made it delete the agent that another holds.
#[test]
fn a_superseded_runner_that_is_killed_leaves_the_agent_alone() {
    let mut story = Story::up();
    is_superseded(&mut story);
    story.local_command("agent.kill");
    story.exits(ExitClass::Signal);
    story.expects("finish(76)");
    story.never("delete-agent");
}

#[test]
fn leave_that_was_refused_is_not_taken_again_once_another_has_the_agent() {
    let mut story = Story::up();
    story.by_hand();
    story.signal(Signal::Quit);
    story.exits(ExitClass::Signal);
    let farewell = story.expects("delete-agent");
    story.fails(farewell, FailureKind::Busy { retry_after: None });
    is_superseded(&mut story);
    story.after(10_000);
    story.expects_no("delete-agent");
    story.expects("finish(0)");
}

/// A relay that has forgotten the agent knows none of what is said in its name. That was believed to be about the message,
/// which stayed unread for ever.
#[test]
fn a_read_mark_is_said_again_to_a_relay_that_had_forgotten_the_agent() {
    let mut story = Story::up();
    story.by_hand();
    story.message(plain(5));
    story.hands_over(5).takes(5).busy().idle();
    story.accepts("delivery,m5,offered");
    story.accepts("delivery,m5,worked");
    let then = story.told.len();
    let read = story.expects("read,m5");
    story.fails(read, FailureKind::NotFound);
    assert_eq!(story.told_since(then, ",heartbeat)").len(), 1);
    let heartbeat = story.expects(",heartbeat)");
    story.answers(heartbeat, OpResult::Pruned);
    story.frame(BusFrame::Registered { epoch: 1, cursor: 1, relay: None, heartbeat: None });
    story.after(1_000);
    story.accepts("read,m5");
    assert_eq!(story.stage(5), None);
}

#[test]
fn without_its_flag_a_read_mark_of_which_the_relay_knows_nothing_is_over() {
    let mut story = Story::up_with(Config { flags: Flags::none(), ..config() });
    story.message(plain(5));
    story.works(5);
    let read = story.expects("read,m5");
    story.fails(read, FailureKind::NotFound);
    story.after(20_000);
    assert_eq!((story.stage(5), story.times("read,m5")), (None, 1));
}

/// That it was taken was never shown, and the end of the turn was lost: what came after it waited for ever.
#[test]
fn what_was_handed_over_before_a_turn_that_cannot_be_confirmed_is_waited_for_no_more() {
    let mut story = Story::up();
    story.message(plain(5));
    story.hands_over(5).busy();
    story.message(plain(6));
    story.by_hand();
    story.after(600_000);
    let probe = story.expects("probe");
    story.fails(probe, FailureKind::Provider);
    story.after(31_000);
    assert_eq!(story.stage(5), Some("ambiguous"));
    story.expects("offer,m6");
}

/// The provider said so by itself; it was started again, and the end never came.
#[test]
fn a_provider_that_ends_with_a_start_timeout_while_it_is_stopped_is_not_started_again() {
    let mut story = Story::up();
    let generation = story.core.view().process.generation;
    story.signal(Signal::Quit);
    story.exits(ExitClass::StartTimeout);
    story.accepts("delete-agent");
    story.expects("finish(0)");
    assert_eq!(story.core.view().process.generation, generation);
}

/// The agent's task was ended while it worked on the rest of it.
#[test]
fn a_task_whose_end_waits_in_line_is_not_ended_when_another_message_of_it_comes() {
    let mut story = Story::holding_a_task();
    story.by_hand();
    story.hands_over(5).takes(5).busy().idle();
    // Stages are on their way, and the end waits behind them.
    story.expects_no("task,t50,m5,done");
    story.message(task(6, 50));
    story.by_routine();
    while let Some(at) = story.open.iter().position(|effect| effect.to_string().contains("delivery,m5")) {
        let text = story.open[at].to_string();
        story.accepts(&text);
    }
    story.never("task,t50,m5,done");
    story.grants(6, 4);
    story.works(6);
    assert_eq!(story.times(",done,f"), 1);
    story.expects("task,t50,m6,done,f4");
}

/// A newer event came before those that were to be replayed, and they were taken for old ones.
#[test]
fn events_that_come_before_the_replay_do_not_hide_what_is_replayed() {
    let mut story = Story::up();
    story.message(plain(5));
    story.busy();
    story.message(plain(6));
    story.link_breaks();
    story.waits_to_connect();
    story.registers();
    let event = |seq: u64, event: RelayEvent| BusFrame::Event { frame: format!("e{seq}").into(), seq, event };
    let deleted = RelayEvent::MessageDeleted { message: 6 };
    story.frame(event(4, RelayEvent::Other { name: "newer".into() }));
    story.frame(BusFrame::Replayed { from: 2, to: 4, gap: false });
    story.frame(event(3, deleted));
    assert_eq!(story.stage(6), None);
    story.frame(event(4, RelayEvent::Other { name: "newer".into() }));
    assert_eq!(story.core.view().link.position, 4);
}

/// Under another registration the relay knows only what was registered.
#[test]
fn a_label_that_was_given_ends_with_the_registration_it_was_given_under() {
    let mut story = Story::up();
    story.relay_says(RelayEvent::AgentUpdated(Box::new(Given { label: None, tags: Vec::new(), epoch: None })));
    story.message(task(5, 50));
    assert_eq!(story.stage(5), None, "it has no label now");
    let mut later = story.the_next_run();
    later.boot();
    later.opens();
    later.frame(BusFrame::Registered { epoch: 2, cursor: 2, relay: None, heartbeat: None });
    later.provider_comes_up();
    later.message(task(6, 60));
    assert_ne!(later.stage(6), None);
}

/// It stayed open when its turn was over, and kept the provider's time to take what it was offered from running.
#[test]
fn a_question_that_comes_just_before_its_turn_is_of_that_turn() {
    let mut story = Story::up();
    let request = ApprovalRequest { id: "p1".into(), kind: "shell".into(), tool: None, reason: None };
    story.provider(ProviderReport::ApprovalOpened(Box::new(request)));
    story.busy().idle();
    assert!(story.core.view().approvals.is_empty());
}

#[test]
fn nothing_is_renewed_while_leave_is_taken() {
    let mut story = Story::holding_a_task();
    story.by_hand();
    story.hands_over(5).takes(5).busy().idle();
    story.signal(Signal::Quit);
    story.exits(ExitClass::Signal);
    story.after(30_000);
    let left = story.told.iter().position(|text| text.contains("delete-agent")).expect("leave is taken");
    assert_eq!(story.told_since(left, "renew,"), [""; 0]);
}
