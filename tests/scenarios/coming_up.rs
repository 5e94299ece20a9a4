//! Coming up: control server, info file, bus, provider; and what goes wrong there.

use relay_runner_core::event::{BusFrame, ExitClass, Failure, FailureKind, LinkReport};
use relay_runner_core::{Event, OpResult};

use crate::story::{Story, config, facts, plain};

#[test]
fn a_runner_comes_up_in_order() {
    let mut story = Story::with(config(), facts());
    story.by_hand().boot();
    story.expects_no("connect");
    let control = story.expects("control(");
    story.answers(control, OpResult::Ok);
    story.expects("info(");
    story.expects_no("spawn(");
    story.registers();
    story.expects("spawn(");
    story.expects("send(c1,status,2,idle,not-ready)");
}

#[test]
fn a_control_server_that_cannot_start_is_fatal() {
    let mut story = Story::with(config(), facts());
    story.by_hand().boot();
    let control = story.expects("control(");
    story.fails(control, FailureKind::Io);
    story.expects("finish(1)");
    story.never("connect");
}

#[test]
fn an_info_file_that_cannot_be_written_is_a_warning() {
    let mut story = Story::with(config(), facts());
    story.by_hand().boot();
    let control = story.expects("control(");
    story.answers(control, OpResult::Ok);
    let info = story.expects("info(");
    story.fails(info, FailureKind::Io);
    story.registers();
    story.expects("spawn(");
}

#[test]
fn without_a_relay_the_provider_is_started_after_ten_seconds() {
    let mut story = Story::with(config(), facts());
    story.boot();
    let failure = || Failure { kind: FailureKind::Unreachable, text: "connection refused".into() };
    for attempt in 1..=3 {
        story.expects("connect(");
        story.hears(Event::Link(attempt, LinkReport::Failed(failure())));
        story.after(1_500);
    }
    story.expects_no("spawn(");
    story.after(10_000);
    story.provider_comes_up();
    assert!(!story.core.view().ready, "not ready without a registration");
}

#[test]
fn attempts_to_connect_back_off_and_are_said_once() {
    let mut story = Story::with(config(), facts());
    story.boot();
    let mut waits = Vec::new();
    for attempt in 1..=10 {
        story.expects("connect(");
        let failure = Failure { kind: FailureKind::Unreachable, text: "connection refused".into() };
        let before = story.now.mono;
        story.hears(Event::Link(attempt, LinkReport::Failed(failure)));
        story.waits_to_connect();
        waits.push(story.now.mono - before);
    }
    assert!(
        waits[0] <= 550 && waits[1] <= 1_050 && waits.iter().all(|wait| (200..=30_100).contains(wait)),
        "{waits:?}"
    );
    assert!(waits[9] > 10_000, "{waits:?}");
}

#[test]
fn fail_fast_ends_with_69() {
    let mut config = config();
    config.fail_fast = true;
    config.timing.start_without_relay = 600_000;
    let mut story = Story::with(config, facts());
    story.boot();
    story.after(60_000);
    story.expects("finish(69)");
}

#[test]
fn a_credential_refused_at_the_first_registration_ends_with_77() {
    let mut story = Story::with(config(), facts());
    story.boot();
    story.expects("connect(");
    let failure = Failure { kind: FailureKind::Unauthorized, text: "HTTP 401".into() };
    story.hears(Event::Link(1, LinkReport::Failed(failure)));
    story.expects("finish(77)");
}

#[test]
fn a_command_that_cannot_be_started_is_fatal_at_start() {
    let mut story = Story::with(config(), facts());
    story.boot();
    story.registers();
    let spawn = story.expects("spawn(");
    story.fails(spawn, FailureKind::Io);
    let delete = story.expects("delete-agent");
    story.answers(delete, OpResult::Ok);
    story.expects("finish(1)");
}

#[test]
fn a_provider_that_never_comes_up_is_stopped_and_started_again() {
    let mut story = Story::with(config(), facts());
    story.boot();
    story.registers();
    story.spawns();
    story.after(60_000);
    story.expects("stop(g1,Kill)");
    story.exits(ExitClass::Signal);
    story.after(500);
    story.expects("spawn(");
    assert_eq!(story.generation().0, 2);
}

#[test]
fn the_first_prompt_goes_before_any_message_and_only_once() {
    let mut with_prompt = config();
    with_prompt.first_prompt = Some(relay_runner_core::BodyRef::of("begin"));
    let mut story = Story::with(with_prompt.clone(), facts());
    story.boot();
    story.registers();
    story.message(plain(1));
    story.provider_comes_up();
    story.expects_no("offer");
    let prompt = story.expects("prompt");
    story.answers(prompt, OpResult::Ok);
    story.busy().idle();
    story.expects("offer,m1/");

    // In a later run it is remembered.
    let mut later = Story::with(with_prompt, story.core.facts());
    later.boot();
    later.registers();
    later.provider_comes_up();
    later.never("prompt");
}

#[test]
fn malformed_and_unknown_frames_are_counted_and_ignored() {
    let mut story = Story::up();
    story.frame(BusFrame::Malformed { reason: "Syntax error at column 1".into() });
    story.frame(BusFrame::Unknown { kind: "weather".into() });
    assert_eq!(story.core.view().malformed, 1);
    story.message(plain(1));
    story.works(1);
}

#[test]
fn frames_and_reports_of_an_older_connection_change_nothing() {
    let mut story = Story::up();
    story.link_breaks();
    story.after(1_000);
    story.registers();
    story.hears(Event::Bus(1, BusFrame::Malformed { reason: "late".into() }));
    story.hears(Event::Link(1, LinkReport::Closed("late".into())));
    assert_eq!(story.core.view().malformed, 0);
    assert_eq!(story.core.view().link.state, "up");
}

#[test]
fn the_info_file_is_written_at_the_start_and_after_every_spawn() {
    let mut story = Story::with(config(), facts());
    story.boot();
    assert_eq!(story.times("info("), 1);
    story.registers();
    story.provider_comes_up();
    assert_eq!(story.times("info("), 2);
    story.command("c1", "agent.restart");
    story.exits(ExitClass::Clean);
    story.provider_comes_up();
    assert_eq!(story.times("info("), 3);
}

#[test]
fn before_the_first_process_messages_and_operations_wait_for_it() {
    let mut story = Story::with(config(), facts());
    story.boot();
    story.registers();
    story.command("c1", "agent.compact");
    story.message(plain(1));
    story.expects_no("command,c1,");
    story.provider_comes_up();
    story.accepts(",compact)");
    story.expects("command,c1,succeeded");
    story.works(1);
}

#[test]
fn what_waits_for_a_first_process_that_never_comes_has_its_outcome() {
    let mut story = Story::with(config(), facts());
    story.boot();
    story.registers();
    story.command("c1", "agent.compact");
    let spawn = story.expects("spawn(");
    story.fails(spawn, FailureKind::Io);
    story.accepts("command,c1,failed,the%20;provider%20;process%20;ended:%20;Io");

    let mut story = Story::with(config(), facts());
    story.boot();
    story.local_command("agent.compact");
    story.local_command("agent.shutdown");
    story.expects("answer(r1,failed");
    story.expects("answer(r2,succeeded");
}
