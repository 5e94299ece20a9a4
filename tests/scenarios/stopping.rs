//! Stopping: by a command, a signal, or because nothing else is left. The provider goes first, then what it held, then
//! the agent on the relay; nothing is orphaned, and nothing follows the end.

use relay_runner_core::event::{ExitClass, FailureKind, Params, ProcessRef, ProviderReport, Signal};
use relay_runner_core::{Event, OpResult, Order};

use crate::story::{Story, config, facts, plain};

fn leaves(story: &mut Story) {
    story.accepts("delete-agent");
}

#[test]
fn a_shutdown_stops_releases_reports_deletes_and_ends() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.command("c1", "agent.shutdown");
    assert!(!story.core.view().ready, "not ready at once");
    story.expects("stop(g1,Ask)");
    story.expects_no("release");
    story.exits(ExitClass::Clean);
    let release = story.expects("release,m5,f3");
    let outcome = story.expects("command,c1,succeeded,agent.shutdown");
    story.expects_no("delete-agent");
    story.answers(release, OpResult::Ok);
    story.answers(outcome, OpResult::Ok);
    leaves(&mut story);
    story.expects("disconnect");
    story.expects("finish(0)");
    assert_eq!(story.core.next_deadline(), None, "nothing is armed after the end");
}

#[test]
fn graceful_stop_hangs() {
    let mut story = Story::up();
    story.command("c1", "agent.shutdown");
    story.expects("stop(g1,Ask)");
    story.after(5_000);
    story.expects("stop(g1,Terminate)");
    story.after(2_500);
    story.expects("stop(g1,Kill)");
    story.expects_no("command,c1,");
    story.exits(ExitClass::Signal);
    story.expects("command,c1,succeeded");
}

#[test]
fn a_stop_that_fails_ends_the_runner_all_the_same() {
    let mut story = Story::up();
    story.command("c1", "agent.shutdown");
    story.after(10_000);
    story.accepts("command,c1,failed");
    leaves(&mut story);
    story.expects("finish(0)");
}

#[test]
fn shutdown_report_fails() {
    let mut story = Story::up();
    story.by_hand();
    story.command("c1", "agent.shutdown");
    let accepted = story.expects("command,c1,accepted");
    story.fails(accepted, FailureKind::Unreachable);
    story.expects("stop(g1,Ask)");
    story.by_routine();
    story.exits(ExitClass::Clean);
    story.expects_no("finish");
    story.after(1_000);
    for _ in 0..2 {
        let outcome = story.expects("command,c1,succeeded");
        story.fails(outcome, FailureKind::Unreachable);
        story.after(2_100);
    }
    story.after(60_000);
    story.expects("finish(0)");
}

#[test]
fn ghost_agent() {
    let mut story = Story::up();
    story.command("c1", "agent.shutdown");
    story.exits(ExitClass::Clean);
    story.accepts("command,c1,succeeded");
    let delete = story.expects("delete-agent");
    let before = story.told.len();
    story.after(5_000);
    assert_eq!(story.told.len(), before, "nothing is said once leave was taken: {:?}", &story.told[before..]);
    story.answers(delete, OpResult::Ok);
    story.expects("finish(0)");
    let before = story.told.len();
    story.link_breaks();
    story.message(plain(9));
    story.after(600_000);
    assert_eq!(story.told.len(), before);
}

#[test]
fn kill_during_shutdown() {
    let mut story = Story::up();
    story.command("c1", "agent.shutdown");
    story.expects("stop(g1,Ask)");
    story.command("c2", "agent.kill");
    story.expects("stop(g1,Kill)");
    story.exits(ExitClass::Signal);
    story.expects("command,c1,succeeded,agent.shutdown,%7b;%22;escalated");
    story.expects("command,c2,succeeded,agent.kill");
}

#[test]
fn shutdown_during_spawn() {
    let mut story = Story::with(config(), facts());
    story.boot();
    story.registers();
    let spawn = story.expects("spawn(");
    story.command("c1", "agent.shutdown");
    story.expects("stop(g1,Ask)");
    let process = ProcessRef { pid: 7, started: 1, boot: "b".into() };
    story.answers(spawn, OpResult::Spawned(process));
    story.provider(ProviderReport::Ready);
    story.expects_no("spawn(");
    story.after(7_500);
    story.expects("stop(g1,Kill)");
    story.exits(ExitClass::Signal);
    story.expects("command,c1,succeeded");
    story.expects_no("spawn(");
}

#[test]
fn shutdown_during_backoff() {
    let mut story = Story::up();
    story.exits(ExitClass::Crash);
    story.command("c1", "agent.shutdown");
    story.accepts("command,c1,succeeded");
    leaves(&mut story);
    story.expects("finish(0)");
    story.after(60_000);
    assert_eq!(story.times("spawn("), 1);
}

#[test]
fn shutdown_during_restart() {
    let mut story = Story::up();
    story.command("c1", "agent.restart");
    story.expects("stop(g1,Ask)");
    story.command("c2", "agent.shutdown");
    story.expects("command,c1,failed,superseded");
    story.exits(ExitClass::Clean);
    story.accepts("command,c2,succeeded");
    story.after(60_000);
    story.expects("finish(0)");
    assert_eq!(story.times("spawn("), 1);
}

#[test]
fn term_lets_the_running_turn_end() {
    let mut story = Story::up();
    story.message(plain(1));
    story.hands_over(1);
    story.takes(1);
    story.busy();
    story.signal(Signal::Term);
    story.message(plain(2));
    story.after(20_000);
    story.expects_no("stop(");
    story.idle();
    story.expects("stop(g1,Ask)");
    story.never("offer,m2");
    story.exits(ExitClass::Clean);
    story.accepts("read,m1");
    leaves(&mut story);
    story.expects("finish(0)");
}

#[test]
fn a_turn_that_does_not_end_is_not_waited_for_longer_than_the_drain() {
    let mut story = Story::up();
    story.busy();
    story.signal(Signal::Term);
    story.after(30_000);
    story.expects("stop(g1,Ask)");
}

#[test]
fn a_second_term_stops_now() {
    let mut story = Story::up();
    story.busy();
    story.signal(Signal::Term);
    story.signal(Signal::Term);
    story.expects("stop(g1,Kill)");
}

#[test]
fn stepping_aside_keeps_claims_and_registration() {
    let mut story = Story::holding_a_task();
    story.signal(Signal::Usr2);
    story.exits(ExitClass::Clean);
    assert_eq!(story.times("set-status,offline"), 1);
    story.expects("finish(75)");
    story.never("release");
    let facts = story.core.facts();
    let mut next = Story::with(config(), facts);
    next.boot();
    next.registers();
    next.provider_comes_up();
    // Nothing is offered under a claim that the relay has not confirmed.
    next.never("offer");
    next.grants(5, 4);
    next.expects("offer,m5/");
}

#[test]
fn a_fault_of_the_shell_stops_the_provider_and_ends_with_1() {
    let mut story = Story::up();
    story.hears(Event::Order(Order::Fault { what: "a task panicked".into() }));
    story.expects("stop(g1,Ask)");
    story.exits(ExitClass::Clean);
    leaves(&mut story);
    story.expects("finish(1)");
}

#[test]
fn an_interactive_runner_ends_with_its_provider() {
    let mut interactive = config();
    interactive.mode = relay_runner_core::config::Mode::Interactive;
    for (class, code) in [(ExitClass::Clean, "finish(0)"), (ExitClass::Crash, "finish(1)")] {
        let mut story = Story::up_with(interactive.clone());
        story.exits(class);
        leaves(&mut story);
        story.expects(code);
    }
}

#[test]
fn a_shutdown_takes_ten_seconds_unless_told_otherwise_and_a_minute_at_most() {
    for (given, steps) in [
        (None, [5_000, 2_500, 2_500]),
        (Some(0), [5_000, 2_500, 2_500]),
        (Some(2_000), [1_000, 500, 500]),
        (Some(3_600_000), [30_000, 15_000, 15_000]),
    ] {
        let mut story = Story::up();
        story.command_with("c1", "agent.shutdown", Params { timeout: given, ..Params::default() });
        let mut waits = vec![];
        for step in ["Terminate", "Kill"] {
            waits.push(story.waits_for(&format!("stop(g1,{step})")));
        }
        waits.push(story.waits_for("command,c1,failed"));
        assert_eq!(waits, steps, "{given:?}");
    }
}

#[test]
fn the_agent_is_shown_as_alive_while_it_drains() {
    let mut story = Story::up();
    story.busy();
    story.signal(Signal::Term);
    let then = story.told.len();
    story.after(29_000);
    assert_eq!(story.told_since(then, ",heartbeat)").len(), 1, "over HTTP");
    story.message(plain(1));
    story.never("offer");
    story.expects_no("stop(");
    story.after(1_000);
    story.expects("stop(g1,Ask)");
}

#[test]
fn a_done_that_is_not_accepted_by_the_end_is_left_to_lapse_and_not_given_back() {
    let mut story = Story::holding_a_task();
    story.works(5);
    story.command("c1", "agent.shutdown");
    story.exits(ExitClass::Clean);
    story.accepts("command,c1,succeeded");
    for _ in 0..3 {
        story.waits_for("task,t50,m5,done");
        let done = story.expects("task,t50,m5,done");
        story.fails(done, FailureKind::Unreachable);
    }
    story.expects_no("delete-agent");
    story.waits_for("delete-agent");
    story.accepts("delete-agent");
    story.expects("finish(0)");
    story.never("release");
}

#[test]
fn the_same_shutdown_again_neither_hastens_the_end_nor_kills() {
    let mut story = Story::up();
    story.command("c1", "agent.shutdown");
    story.after(1_000);
    story.command("c2", "agent.shutdown");
    story.never("Kill");
    story.after(3_999);
    story.never("Terminate");
    story.after(1);
    story.expects("stop(g1,Terminate)");
    story.after(2_500);
    story.expects("stop(g1,Kill)");
    story.exits(ExitClass::Signal);
    story.expects("command,c1,succeeded");
    story.expects("command,c2,succeeded");
}

#[test]
fn a_kill_has_all_of_its_time() {
    let mut story = Story::up();
    let params = Params { timeout: Some(8_000), ..Params::default() };
    story.command_with("c1", "agent.kill", params);
    story.expects("stop(g1,Kill)");
    story.after(7_999);
    story.expects_no("command,c1,failed");
    story.after(1);
    story.expects("command,c1,failed");
}
