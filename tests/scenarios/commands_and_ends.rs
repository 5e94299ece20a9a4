//! Commands, signals and ends: one outcome each, nothing orphaned, nothing after the end.

use relay_runner_core::event::{ExitClass, FailureKind, Params, ProviderReport, Signal};
use relay_runner_core::{Event, Generation, OpResult};

use crate::story::{Story, config, plain, task};

fn leaves(story: &mut Story) {
    let delete = story.expects("delete-agent");
    story.answers(delete, OpResult::Ok);
}

#[test]
fn a_shutdown_stops_releases_reports_deletes_and_ends() {
    let mut story = Story::up();
    story.message(task(5, 50));
    story.grants(5, 3);
    let started = story.expects("in_progress");
    story.answers(started, OpResult::Ok);
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
    story.exits(ExitClass::Signal);
    story.expects("command,c1,succeeded");
}

#[test]
fn a_stop_that_fails_ends_the_runner_all_the_same() {
    let mut story = Story::up();
    story.command("c1", "agent.shutdown");
    story.after(10_000);
    let outcome = story.expects("command,c1,failed");
    story.answers(outcome, OpResult::Ok);
    leaves(&mut story);
    story.expects("finish(0)");
}

#[test]
fn shutdown_report_fails() {
    let mut story = Story::up();
    story.command("c1", "agent.shutdown");
    story.exits(ExitClass::Clean);
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
    let outcome = story.expects("command,c1,succeeded");
    story.answers(outcome, OpResult::Ok);
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
    let mut story = Story::with(config(), crate::story::facts());
    story.boot();
    story.registers();
    let spawn = story.expects("spawn(");
    story.command("c1", "agent.shutdown");
    story.expects("stop(g1,Ask)");
    let process = relay_runner_core::event::ProcessRef { pid: 7, started: 1, boot: "b".into() };
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
    let outcome = story.expects("command,c1,succeeded");
    story.answers(outcome, OpResult::Ok);
    leaves(&mut story);
    story.after(60_000);
    story.expects_no("spawn(");
}

#[test]
fn shutdown_during_restart() {
    let mut story = Story::up();
    story.command("c1", "agent.restart");
    story.expects("stop(g1,Ask)");
    story.command("c2", "agent.shutdown");
    story.expects("command,c1,failed");
    story.exits(ExitClass::Clean);
    story.expects_no("spawn(");
    story.expects("command,c2,succeeded");
}

#[test]
fn restart_during_restart() {
    let mut story = Story::up();
    story.command("c1", "agent.restart");
    story.command("c2", "agent.restart");
    story.exits(ExitClass::Clean);
    story.provider_comes_up();
    story.expects("command,c1,succeeded");
    story.expects("command,c2,succeeded");
    assert_eq!(story.times("spawn("), 2);
    assert_eq!(story.core.view().process.exits, 0, "the crash window is not charged");
}

#[test]
fn restart_during_backoff() {
    let mut story = Story::up();
    story.exits(ExitClass::Crash);
    story.command("c1", "agent.restart");
    story.provider_comes_up();
    story.expects("command,c1,succeeded");
    story.after(60_000);
    assert_eq!(story.times("spawn("), 2);
}

#[test]
fn restart_during_first_spawn() {
    let mut story = Story::with(config(), crate::story::facts());
    story.boot();
    story.registers();
    story.command("c1", "agent.restart");
    story.provider_comes_up();
    story.expects("command,c1,succeeded");
    assert_eq!(story.times("spawn("), 1);
}

#[test]
fn restart_during_shutdown() {
    let mut story = Story::up();
    story.command("c1", "agent.shutdown");
    story.command("c2", "agent.restart");
    story.expects("command,c2,failed,the%20;runner%20;is%20;shutting%20;down");
}

#[test]
fn exit_during_restart() {
    let mut story = Story::up();
    story.command("c1", "agent.restart");
    story.exits(ExitClass::Clean);
    let spawn = story.expects("spawn(");
    // The new process dies before its start was confirmed.
    story.exits(ExitClass::Crash);
    story.expects("command,c1,failed");
    let process = relay_runner_core::event::ProcessRef { pid: 7, started: 1, boot: "b".into() };
    story.answers(spawn, OpResult::Spawned(process));
    assert_eq!(story.core.view().process.state, "cooling", "nobody believes in a dead process");
    story.after(1_000);
    story.provider_comes_up();
}

#[test]
fn late_exit() {
    let mut story = Story::up();
    story.exits(ExitClass::Crash);
    story.after(500);
    story.provider_comes_up();
    let exit = relay_runner_core::event::ExitReport { class: ExitClass::Crash, detail: "late".into() };
    story.hears(Event::Provider(Generation(1), ProviderReport::Exit(exit)));
    assert_eq!(story.core.view().process.state, "waiting");
}

#[test]
fn early_report() {
    let mut story = Story::with(config(), crate::story::facts());
    story.boot();
    story.registers();
    // Busy arrives before the spawn is confirmed.
    story.busy();
    story.provider_comes_up();
    assert_eq!(story.core.view().busy_reasons, ["provider-turn"]);
}

#[test]
fn crash_loop() {
    let mut story = Story::up();
    story.message(task(5, 50));
    story.grants(5, 3);
    let started = story.expects("in_progress");
    story.answers(started, OpResult::Ok);
    for _ in 0..3 {
        story.exits(ExitClass::Crash);
        story.after(2_000);
        story.provider_comes_up();
    }
    story.exits(ExitClass::Crash);
    let release = story.expects("release,m5,f3");
    story.answers(release, OpResult::Ok);
    // It stays registered, as offline.
    assert_eq!(story.times("set-status,offline"), 1);
    story.never("delete-agent");
    story.expects("finish(70)");
}

#[test]
fn a_parked_agent_says_why_and_is_revived_by_a_restart() {
    let mut parking = config();
    parking.on_give_up = relay_runner_core::config::OnGiveUp::Park;
    let mut story = Story::up_with(parking);
    story.exits(ExitClass::Refused);
    assert_eq!(story.core.view().lifecycle_action, Some("parked"));
    assert_eq!(story.core.view().process.parked, Some("Refused"));
    story.after(600_000);
    story.expects_no("spawn(");
    story.command("c1", "agent.restart");
    story.provider_comes_up();
    story.expects("command,c1,succeeded");
    assert!(story.core.view().ready);
}

#[test]
fn a_usage_limit_is_waited_for_and_not_counted() {
    let mut story = Story::up();
    let until = story.now.wall + 3_600_000;
    story.exits(ExitClass::UsageLimit { until: Some(until) });
    story.after(3_599_000);
    story.expects_no("spawn(");
    story.after(1_000);
    story.expects("spawn(");
    assert_eq!(story.core.view().process.exits, 0);
}

#[test]
fn command_replay() {
    let mut story = Story::up();
    story.command("c1", "agent.restart");
    story.exits(ExitClass::Clean);
    story.provider_comes_up();
    let outcome = story.expects("command,c1,succeeded");
    story.answers(outcome, OpResult::Ok);
    story.command("c1", "agent.restart");
    assert_eq!(story.times("stop("), 1);
    story.expects("command,c1,succeeded");
    // In a later run as well.
    let mut later = Story::with(config(), story.core.facts());
    later.boot();
    later.registers();
    later.provider_comes_up();
    later.command("c1", "agent.restart");
    later.never("stop(");
    later.expects("command,c1,succeeded");
}

#[test]
fn report_unreachable() {
    let mut story = Story::up();
    story.by_hand();
    story.command("c1", "agent.restart");
    let accepted = story.expects("command,c1,accepted");
    story.fails(accepted, FailureKind::Unreachable);
    story.expects("stop(g1,Ask)");
    story.exits(ExitClass::Clean);
    story.provider_comes_up();
    assert!(story.core.view().process.state == "waiting");
}

#[test]
fn an_unknown_command_fails_and_one_for_another_is_ignored() {
    let mut story = Story::up();
    story.command("c1", "agent.dance");
    story.expects("command,c1,failed,unknown%20;command%20;type");
    let order = relay_runner_core::event::CommandOrder {
        id: "c2".into(),
        name: "agent.kill".into(),
        target: Some("somebody".into()),
        params: Params::default(),
    };
    story.frame(relay_runner_core::event::BusFrame::Command { frame: "f".into(), command: Box::new(order) });
    story.never("c2,");
}

#[test]
fn dead_handle() {
    let mut story = Story::up();
    story.exits(ExitClass::Crash);
    story.command("c1", "agent.compact");
    story.expects("command,c1,failed,provider%20;is%20;restarting");
    story.never("compact)");
}

#[test]
fn compact_while_delivering() {
    let mut story = Story::up();
    story.command("c1", "agent.compact");
    let compact = story.expects(",compact)");
    story.message(plain(1));
    story.expects_no("offer");
    story.answers(compact, OpResult::Ok);
    story.expects("command,c1,succeeded");
    story.works(1);
}

#[test]
fn a_reconnect_opens_a_new_transport_and_succeeds_when_registered() {
    let mut story = Story::up();
    story.command("c1", "agent.reconnect");
    story.expects("disconnect(c1)");
    story.expects_no("command,c1,succeeded");
    story.registers();
    story.expects("command,c1,succeeded");
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
    let read = story.expects("read,m1");
    story.answers(read, OpResult::Ok);
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
fn two_runners() {
    let mut story = Story::up();
    story.message(task(5, 50));
    story.grants(5, 3);
    let started = story.expects("in_progress");
    story.answers(started, OpResult::Ok);
    story.frame(relay_runner_core::event::BusFrame::Error {
        code: relay_runner_protocol::ErrorCode::Superseded,
        message: "a newer instance holds the agent".into(),
    });
    story.expects("stop(g1,Ask)");
    story.exits(ExitClass::Clean);
    let release = story.expects("release,m5,f3");
    story.answers(release, OpResult::Ok);
    story.expects("finish(76)");
    story.never("delete-agent");
}

#[test]
fn stepping_aside_keeps_claims_and_registration() {
    let mut story = Story::up();
    story.message(task(5, 50));
    story.grants(5, 3);
    let started = story.expects("in_progress");
    story.answers(started, OpResult::Ok);
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
    story.hears(Event::Order(relay_runner_core::Order::Fault { what: "a task panicked".into() }));
    story.expects("stop(g1,Ask)");
    story.exits(ExitClass::Clean);
    leaves(&mut story);
    story.expects("finish(1)");
}

#[test]
fn a_local_command_is_answered_where_it_was_asked() {
    let mut story = Story::up();
    story.local_command("agent.restart");
    story.exits(ExitClass::Clean);
    story.provider_comes_up();
    story.expects("answer(r1,succeeded,agent.restart");
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
