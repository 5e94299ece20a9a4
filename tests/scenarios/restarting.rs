//! A provider that dies, and one that is started anew: each process is believed in for as long as it lives, and no
//! longer; there is never more than one.

use relay_runner_core::config::OnGiveUp;
use relay_runner_core::event::{ExitClass, ExitReport, FailureKind, ProcessRef, ProviderReport};
use relay_runner_core::{Event, Generation, OpResult};

use crate::story::{Story, config, facts, plain, task};

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
    let mut story = Story::with(config(), facts());
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
    let process = ProcessRef { pid: 7, started: 1, boot: "b".into() };
    story.answers(spawn, OpResult::Spawned(process));
    assert_eq!(story.core.view().process.state, "cooling", "nobody believes in a dead process");
    assert!(!story.core.view().ready);
    story.after(1_000);
    story.provider_comes_up();
    assert_eq!(story.generation(), Generation(3));
    story.message(plain(1));
    story.works(1);
}

#[test]
fn late_exit() {
    let mut story = Story::up();
    story.exits(ExitClass::Crash);
    story.after(500);
    story.provider_comes_up();
    let then = story.told.len();
    let exit = ExitReport { class: ExitClass::Crash, detail: "late".into() };
    story.hears(Event::Provider(Generation(1), ProviderReport::Exit(exit)));
    assert_eq!(story.core.view().process.state, "waiting");
    assert_eq!(story.core.view().process.exits, 1, "it is not counted twice");
    assert_eq!(story.told.len(), then, "nothing follows: {:?}", &story.told[then..]);
}

#[test]
fn early_report() {
    let mut story = Story::with(config(), facts());
    story.boot();
    story.registers();
    // Busy arrives before the spawn is confirmed.
    story.busy();
    story.provider_comes_up();
    assert_eq!(story.core.view().busy_reasons, ["provider-turn"]);
}

#[test]
fn crash_loop() {
    let mut story = Story::holding_a_task();
    for _ in 0..3 {
        story.exits(ExitClass::Crash);
        story.after(2_000);
        story.provider_comes_up();
    }
    story.exits(ExitClass::Crash);
    assert_eq!(story.times("spawn("), 4);
    story.accepts("release,m5,f3");
    // It stays registered, as offline.
    assert_eq!(story.times("set-status,offline"), 1);
    story.never("delete-agent");
    story.expects("finish(70)");
}

#[test]
fn a_parked_agent_says_why_and_is_revived_by_a_restart() {
    let mut parking = config();
    parking.on_give_up = OnGiveUp::Park;
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
fn spawn_fails() {
    // At the start: the run ends, and whoever asked for a restart meanwhile learns why.
    let mut story = Story::with(config(), facts());
    story.boot();
    story.registers();
    story.command("c1", "agent.restart");
    let spawn = story.expects("spawn(");
    story.fails(spawn, FailureKind::Io);
    story.accepts("command,c1,failed,Io");
    assert_eq!(story.status_meta()["lifecycleReason"], "Io");
    story.accepts("delete-agent");
    story.expects("finish(1)");

    // Later: it counts as the exit of its generation, and another try follows.
    let mut story = Story::up();
    story.command("c1", "agent.restart");
    story.exits(ExitClass::Clean);
    let spawn = story.expects("spawn(");
    story.fails(spawn, FailureKind::Io);
    story.expects("command,c1,failed,the%20;new%20;provider%20;process%20;ended%20;while%20;starting%20;%28;SpawnFailed%29;:%20;Io");
    assert_eq!(story.core.view().process.exits, 1);
    let status = story.status_meta();
    assert_eq!((&status["lifecycleAction"], &status["lifecycleReason"]), (&"restarting".into(), &"Io".into()));
    story.after(500);
    story.provider_comes_up();
    assert_eq!(story.status_meta()["lifecycleReason"], serde_json::Value::Null, "that is over");

    // Again and again: given up, with the exit code of that.
    let mut story = Story::up();
    story.exits(ExitClass::Crash);
    for _ in 0..3 {
        story.after(2_000);
        let spawn = story.expects("spawn(");
        story.fails(spawn, FailureKind::Io);
    }
    story.expects("finish(70)");
}

#[test]
fn delivery_during_restart() {
    let mut story = Story::up();
    story.command("c1", "agent.restart");
    story.message(plain(1)).message(task(2, 20));
    // A dying process may still say that it is up, or at work.
    story.provider(ProviderReport::Ready);
    story.busy().idle();
    story.never("offer");
    story.never("claim");
    story.exits(ExitClass::Clean);
    story.never("offer");
    story.provider_comes_up();
    story.grants(2, 1);
    let offer = story.told.iter().find(|t| t.contains("offer,")).expect("the new process gets both");
    assert!(offer.contains("(o") && offer.contains(",g2,offer,m1/1/") && offer.contains(",m2/1/"), "{offer}");
    assert!(!offer.contains("ambiguous") && !offer.contains("redelivered"), "{offer}");
}

#[test]
fn exits_of_long_ago_are_forgotten() {
    let mut story = Story::up();
    for _ in 0..8 {
        story.exits(ExitClass::Crash);
        assert_eq!(story.core.view().process.exits, 1);
        story.after(500);
        story.provider_comes_up();
        // Two minutes in which none lives long: the end of a usage limit is waited for, which counts for nothing.
        let until = Some(story.now.wall + 120_000);
        story.exits(ExitClass::UsageLimit { until });
        story.after(120_000);
        story.provider_comes_up();
    }
}
