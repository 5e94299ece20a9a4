//! A provider that outlives its runner is taken up by the next one, in the middle of what it does; so an upgrade of the
//! runner, or its death, does not cost a turn.

use relay_runner_core::config::Config;
use relay_runner_core::effect::Repeat;
use relay_runner_core::event::{
    BusFrame, ExitClass, FailureKind, ProcessRef, ProviderReport, RelayEvent, Signal, TakenOffer,
};
use relay_runner_core::{BodyRef, Event, Generation, OpResult, Order};
use relay_runner_protocol::ErrorCode;

use crate::story::{Story, config, plain, task};

fn adoptable() -> Config {
    let mut config = config();
    config.adapter.adoptable = true;
    config
}

/// A run whose provider can be taken up, in the middle of the turn that works on message 5 of task 50.
fn in_mid_task() -> Story {
    let mut story = Story::up_with(adoptable());
    story.message(task(5, 50));
    story.grants(5, 3);
    story.accepts("task,t50,m5,in_progress");
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story
}

/// The next run found the process alive, and asks it what it knows.
fn asks(before: &Story) -> Story {
    let mut story = before.the_next_run();
    story.boot();
    let adopt = story.expects("adopt(");
    story.answers(adopt, OpResult::Spawned(process()));
    story
}

fn process() -> ProcessRef {
    ProcessRef { pid: 101, started: 1, boot: "boot".into() }
}

fn ready(story: &mut Story) {
    story.provider(ProviderReport::Ready);
}

fn missed(story: &mut Story, message: u64) {
    story.provider(ProviderReport::Missed { offers: vec![TakenOffer { message, nonce: None }] });
}

#[test]
fn a_turn_goes_on_while_the_runner_is_gone_and_its_end_counts() {
    let mut story = asks(&in_mid_task());
    // It says again what it has and does.
    story.takes(5);
    story.busy();
    ready(&mut story);
    story.registers();
    assert_eq!(story.stage(5), Some("taken"));
    assert_eq!(story.core.view().process.state, "working");
    story.idle();
    // Nothing is said under a claim that the relay has not confirmed.
    story.expects_no("task,t50,m5,done");
    story.grants(5, 4);
    story.expects("task,t50,m5,done,f4");
    story.never("spawn(");
    story.never("offer,m5");
}

#[test]
fn a_turn_that_ended_meanwhile_has_ended() {
    let mut story = asks(&in_mid_task());
    story.takes(5);
    story.busy();
    story.idle();
    ready(&mut story);
    story.registers();
    story.grants(5, 4);
    story.expects("task,t50,m5,done,f4");
}

#[test]
fn the_end_of_one_turn_is_not_taken_for_that_of_another() {
    let mut before = Story::up_with(adoptable());
    before.message(plain(3));
    before.hands_over(3);
    before.takes(3);
    before.busy();
    before.idle();
    before.accepts("read,m3");
    before.message(plain(4));
    before.hands_over(4);
    before.takes(4);
    before.message(plain(6));
    let mut story = asks(&before);
    // Of a turn that the run before has seen the end of, nothing is left to be ended.
    story.busy();
    story.idle();
    assert_eq!(story.stage(4), Some("ambiguous"));
    story.takes(4);
    story.busy();
    ready(&mut story);
    assert_eq!(story.stage(4), Some("taken"));
    story.idle();
    story.registers();
    story.expects("read,m4");
    story.never("read,m6");
}

#[test]
fn what_the_process_never_got_is_offered_again() {
    let mut before = Story::up_with(adoptable());
    before.message(plain(3));
    before.expects("offer,m3/1");
    let mut story = asks(&before);
    missed(&mut story, 3);
    ready(&mut story);
    story.registers();
    story.after(10_000);
    story.expects("offer,m3/2");
}

#[test]
fn what_the_process_does_not_account_for_is_in_doubt_and_the_rest_flows_on() {
    let mut before = Story::up_with(adoptable());
    before.message(plain(3));
    before.hands_over(3);
    let mut story = asks(&before);
    ready(&mut story);
    story.registers();
    assert_eq!(story.times("delivery,m3,ambiguous"), 1);
    story.message(plain(4));
    story.hands_over(4);
    story.never("offer,m3");
    // It shows itself after all.
    story.takes(3);
    assert_eq!(story.stage(3), Some("taken"));
}

#[test]
fn one_that_is_gone_is_followed_by_a_new_one_and_what_it_had_is_marked() {
    for relay_first in [true, false] {
        let mut story = in_mid_task().the_next_run();
        story.boot();
        let adopt = story.expects("adopt(");
        if relay_first {
            story.registers();
            story.grants(5, 4);
            story.never("spawn(");
        }
        story.fails(adopt, FailureKind::NotFound);
        if !relay_first {
            story.never("spawn(");
            story.registers();
            story.grants(5, 4);
        }
        assert_eq!(story.generation(), Generation(2));
        story.provider_comes_up();
        story.expects("offer,m5/2");
        assert_eq!(story.core.view().messages[0].repeat, Repeat::Redelivered, "it is known to have had it");
        assert!(story.core.facts().exits.is_empty(), "nobody saw how it ended, and it is not held against it");
    }
}

#[test]
fn one_that_is_gone_is_followed_by_a_new_one_without_a_relay_too() {
    let mut story = in_mid_task().the_next_run();
    story.boot();
    let adopt = story.expects("adopt(");
    story.after(11_000);
    story.fails(adopt, FailureKind::NotFound);
    story.expects("spawn(");
}

#[test]
fn a_process_that_cannot_be_reached_is_killed_and_replaced() {
    let mut story = asks(&in_mid_task());
    story.after(60_000);
    story.expects("stop(g1,Kill)");
    story.exits(ExitClass::Signal);
    story.after(2_000);
    story.expects("spawn(");
    assert_eq!(story.generation(), Generation(2));
}

#[test]
fn a_runner_that_is_killed_again_and_again_does_not_forget_the_process() {
    let mut story = in_mid_task();
    for _ in 0..3 {
        story = story.the_next_run();
        assert_eq!(story.core.facts().provider.and_then(|left| left.process), Some(process()));
        story.boot();
    }
    let mut story = asks(&story);
    story.takes(5);
    story.busy();
    ready(&mut story);
    story.idle();
    story.registers();
    story.grants(5, 4);
    story.expects("task,t50,m5,done,f4");
}

#[test]
fn stepping_aside_leaves_the_provider_in_its_turn() {
    let mut story = in_mid_task();
    story.signal(Signal::Usr2);
    story.never("stop(");
    story.never("release");
    assert_eq!(story.times("set-status,offline"), 1);
    story.expects("finish(75)");
    let mut later = asks(&story);
    later.takes(5);
    later.busy();
    later.idle();
    ready(&mut later);
    later.registers();
    later.grants(5, 4);
    later.expects("task,t50,m5,done,f4");
}

#[test]
fn a_provider_that_cannot_be_taken_up_may_end_its_turn_before_the_runner_steps_aside() {
    let mut story = Story::up();
    story.message(plain(3));
    story.hands_over(3);
    story.takes(3);
    story.busy();
    story.signal(Signal::Usr2);
    story.never("stop(");
    story.idle();
    story.accepts("read,m3");
    story.expects("stop(g1,Ask)");
    story.exits(ExitClass::Clean);
    assert_eq!(story.times("set-status,offline"), 1);
    story.expects("finish(75)");
}

#[test]
fn a_shutdown_stops_a_provider_that_was_to_be_left() {
    for (command, step) in [("agent.shutdown", "stop(g1,Ask)"), ("agent.kill", "stop(g1,Kill)")] {
        let mut story = in_mid_task();
        // A report holds up the end.
        story.by_hand();
        story.command("c1", "agent.dance");
        story.signal(Signal::Usr2);
        story.never("stop(");
        story.local_command(command);
        story.expects(step);
        story.by_routine();
        story.exits(ExitClass::Signal);
        story.expects("release,m5");
        story.never("finish(75)");
    }
}

#[test]
fn a_run_that_ends_before_it_took_the_process_up_stops_it() {
    let mut story = in_mid_task().the_next_run();
    story.by_hand();
    story.boot();
    story.never("adopt(");
    story.signal(Signal::Term);
    story.expects("adopt(");
    story.expects("stop(g1,Ask)");
}

#[test]
fn a_first_prompt_that_the_process_has_is_not_said_again() {
    let mut with_prompt = adoptable();
    with_prompt.first_prompt = Some(BodyRef::of("begin"));
    let mut before = Story::with(with_prompt, crate::story::facts());
    before.boot();
    before.registers();
    before.provider_comes_up();
    let said = before.expects("prompt");
    before.answers(said, OpResult::Ok);
    let mut story = asks(&before);
    ready(&mut story);
    story.registers();
    story.message(plain(3));
    story.never("prompt");
    story.never("offer,m3");
    story.busy();
    story.idle();
    story.after(10_000);
    story.never("prompt");
    story.expects("offer,m3/1");
    // A process that has gone takes it along.
    let mut story = before.the_next_run();
    story.boot();
    let adopt = story.expects("adopt(");
    story.fails(adopt, FailureKind::NotFound);
    story.registers();
    story.provider_comes_up();
    story.expects("prompt");
}

#[test]
fn what_is_still_in_doubt_after_it_was_taken_up_blocks_its_task_after_a_while() {
    let mut story = Story::up_with(adoptable());
    story.message(task(5, 50));
    story.grants(5, 3);
    story.accepts("task,t50,m5,in_progress");
    story.hands_over(5);
    // It is asked about this one, and does not account for it.
    let mut story = asks(&story);
    assert!(story.told[..].iter().any(|told| told.starts_with("adopt(") && told.contains(",m5.")), "{:?}", story.told);
    ready(&mut story);
    story.registers();
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Granted { fence: 4, lease: None });
    story.after(30 * 60_000 - 1);
    story.never("blocked");
    story.after(1);
    story.expects("task,t50,m5,blocked,f4");
}

#[test]
fn an_answer_that_does_not_come_leaves_no_process() {
    let mut story = in_mid_task().the_next_run();
    story.boot();
    let adopt = story.expects("adopt(");
    story.fails(adopt, FailureKind::TimedOut);
    story.expects("stop(g1,Kill)");
    story.never("spawn(");
    story.exits(ExitClass::Signal);
    story.after(2_000);
    story.expects("spawn(");
}

#[test]
fn only_a_process_that_is_there_and_stays_is_left() {
    // It was asked for, and whether it came to be is not known yet.
    let mut story = Story::with(adoptable(), crate::story::facts());
    story.boot();
    story.registers();
    story.expects("spawn(");
    story.signal(Signal::Usr2);
    story.expects("stop(g1,Ask)");
    // It is on its way out for a restart.
    let mut story = Story::up_with(adoptable());
    story.local_command("agent.restart");
    story.signal(Signal::Usr2);
    story.exits(ExitClass::Clean);
    story.never("spawn(op2");
    assert_eq!(story.core.facts().provider, None);
    story.expects("finish(75)");
}

#[test]
fn a_signal_to_end_stops_a_provider_that_was_to_be_left() {
    let mut story = in_mid_task();
    story.by_hand();
    story.command("c1", "agent.dance");
    story.signal(Signal::Usr2);
    story.never("stop(");
    story.signal(Signal::Term);
    story.expects("stop(g1,Kill)");
    story.by_routine();
    story.exits(ExitClass::Signal);
    story.expects("release,m5");
    story.never("finish(75)");
}

#[test]
fn whoever_ends_a_run_that_steps_aside_ends_it_for_good() {
    let mut story = Story::up();
    story.message(task(5, 50));
    story.grants(5, 3);
    story.accepts("task,t50,m5,in_progress");
    story.by_hand();
    story.command("c1", "agent.dance");
    story.signal(Signal::Usr2);
    story.exits(ExitClass::Clean);
    story.never("release");
    story.command("c2", "agent.shutdown");
    story.by_routine();
    for owed in ["command,c1,failed", "command,c2,succeeded", "release,m5"] {
        story.accepts(owed);
    }
    story.accepts("delete-agent");
    story.expects("finish(0)");
}

#[test]
fn a_newer_instance_ends_even_a_provider_that_was_to_be_left_and_does_so_once() {
    let superseded = |story: &mut Story| {
        let message = "a newer instance holds the agent".into();
        story.frame(BusFrame::Error { code: ErrorCode::Superseded, message });
    };
    let mut story = in_mid_task();
    story.by_hand();
    story.command("c1", "agent.dance");
    story.signal(Signal::Usr2);
    superseded(&mut story);
    story.expects("stop(g1,Ask)");
    // A stop that failed is not begun again.
    let mut story = in_mid_task();
    story.by_hand();
    story.command("c1", "agent.kill");
    story.after(11_000);
    let stops = story.times("stop(");
    assert_eq!(story.core.view().ending_phase, "reporting");
    superseded(&mut story);
    assert_eq!(story.times("stop("), stops);
}

#[test]
fn a_message_that_is_deleted_before_the_process_was_heard_is_told_of_once_it_shows_that_it_has_it() {
    let mut before = Story::up_with(adoptable());
    before.message(plain(3));
    before.hands_over(3);
    before.takes(3);
    before.busy();
    let mut story = asks(&before);
    story.registers();
    story.relay_says(RelayEvent::MessageDeleted { message: 3 });
    story.never("tell");
    story.takes(3);
    story.busy();
    ready(&mut story);
    story.idle();
    story.expects("tell,m3");
    story.never("read,m3");
    story.never("offer,m3");
}

#[test]
fn a_first_prompt_that_may_have_arrived_is_not_said_again() {
    let mut with_prompt = adoptable();
    with_prompt.first_prompt = Some(BodyRef::of("begin"));
    let mut before = Story::with(with_prompt, crate::story::facts());
    before.boot();
    before.registers();
    before.provider_comes_up();
    before.expects("prompt");
    let mut story = asks(&before);
    ready(&mut story);
    story.never("prompt");
}

#[test]
fn a_restart_replaces_a_process_that_is_being_taken_up() {
    let mut story = asks(&in_mid_task());
    story.registers();
    story.local_command("agent.restart");
    story.expects("stop(g1,Ask)");
    story.exits(ExitClass::Clean);
    story.expects("spawn(");
    story.never("answer(r1,succeeded");
}

#[test]
fn a_shutdown_wins_over_stepping_aside_to_the_last() {
    let mut story = in_mid_task();
    story.by_hand();
    story.signal(Signal::Usr2);
    let reports: Vec<_> = ["delivery", "task"].into_iter().filter(|what| story.times(what) > 0).collect();
    assert!(!reports.is_empty());
    while story.core.view().ending_phase == "reporting" {
        story.after(5_000);
    }
    assert_eq!(story.core.view().ending_phase, "leaving");
    story.local_command("agent.shutdown");
    story.expects("stop(g1,Ask)");
    story.by_routine();
    story.exits(ExitClass::Clean);
    story.never("finish(75)");
}

#[test]
fn a_provider_that_ends_while_the_runner_steps_aside_is_not_started_again() {
    let mut story = in_mid_task();
    story.by_hand();
    story.command("c1", "agent.dance");
    story.signal(Signal::Usr2);
    story.exits(ExitClass::Crash);
    story.after(2_000);
    story.never("spawn(op2");
    assert_eq!(story.times("spawn("), 1);
    assert_eq!(story.core.facts().provider, None);
}

#[test]
fn nothing_is_left_by_a_run_whose_journal_is_broken() {
    let mut story = in_mid_task();
    story.hears(Event::Order(Order::JournalBroken { why: "no space left".into() }));
    story.signal(Signal::Usr2);
    story.idle();
    story.accepts("task,t50,m5,done");
    story.expects("stop(g1,Ask)");
}
