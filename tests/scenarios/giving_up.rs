//! A provider that cannot be kept alive: when that is, and what is left of the agent.

use relay_runner_core::Config;
use relay_runner_core::config::{Mode, OnGiveUp};
use relay_runner_core::event::ExitClass;

use crate::story::{Story, config};

fn crashes(story: &mut Story) {
    story.exits(ExitClass::Crash);
    story.after(2_000);
    if story.list().contains("spawn(") {
        story.provider_comes_up();
    }
}

#[test]
fn crashes_of_the_run_before_count() {
    let mut story = Story::up();
    crashes(&mut story);
    crashes(&mut story);
    let mut later = story.the_next_run();
    later.boot();
    later.registers();
    later.provider_comes_up();
    crashes(&mut later);
    later.expects_no("finish");
    crashes(&mut later);
    later.expects("finish(70)");
}

#[test]
fn crashes_that_are_long_ago_do_not() {
    let mut story = Story::up();
    for _ in 0..3 {
        crashes(&mut story);
    }
    story.after(120_000);
    crashes(&mut story);
    assert_eq!(story.core.view().process.state, "waiting");
}

#[test]
fn a_provider_that_lived_for_half_a_minute_is_never_given_up() {
    let mut story = Story::up();
    for _ in 0..20 {
        story.after(30_000);
        crashes(&mut story);
        if story.list().contains("spawn(") || story.core.view().process.state == "cooling" {
            story.waits_for("spawn(");
            story.provider_comes_up();
        }
    }
    story.never("finish");
}

#[test]
fn a_given_up_agent_that_is_to_park_stays_and_is_revived() {
    let mut parking = config();
    parking.on_give_up = OnGiveUp::Park;
    let mut story = Story::up_with(parking);
    for _ in 0..4 {
        crashes(&mut story);
    }
    let then = story.told.len();
    assert_eq!(story.core.view().lifecycle_action, Some("parked"));
    let status = story.status_meta();
    assert!(status["lifecycleReason"].as_str().is_some_and(|why| why.starts_with("gave up after 4 exits")), "{status}");
    story.after(600_000);
    story.never("finish");
    story.never("delete-agent");
    assert!(story.told_since(then, "heartbeat").len() > 10, "it stays registered");
    assert!(story.told_since(then, "set-ready,true").is_empty());
    story.command("c1", "agent.restart");
    story.provider_comes_up();
    story.expects("command,c1,succeeded");
    assert!(story.core.view().ready);
}

#[test]
fn an_agent_that_was_refused_is_still_parked_in_the_next_run() {
    let mut story = Story::up();
    story.exits(ExitClass::Refused);
    let mut later = story.the_next_run();
    later.boot();
    later.registers();
    later.after(600_000);
    later.never("spawn(");
    assert_eq!(later.core.view().process.parked, Some("Refused"));
    assert!(!later.core.view().ready);
    later.command("c1", "agent.restart");
    later.provider_comes_up();
    later.expects("command,c1,succeeded");
}

#[test]
fn whatever_ends_a_headless_provider_unasked_is_followed_by_another() {
    for class in [ExitClass::Clean, ExitClass::Crash, ExitClass::Signal, ExitClass::Hang, ExitClass::StartTimeout] {
        let mut story = Story::up();
        story.exits(class);
        assert_eq!(story.waits_for("spawn("), 500, "{class:?}");
    }
    // With a person there the runner ends instead.
    let mut interactive = config();
    interactive.mode = Mode::Interactive;
    let mut story = Story::up_with(interactive);
    story.exits(ExitClass::Signal);
    story.accepts("delete-agent");
    story.expects("finish(1)");
    assert_eq!(story.times("spawn("), 1);
}

#[test]
fn a_provider_that_may_not_be_started_anew_is_parked() {
    let mut once = config();
    once.adapter.restartable = false;
    let mut story = Story::up_with(once);
    story.exits(ExitClass::Crash);
    story.after(600_000);
    assert_eq!(story.core.view().lifecycle_action, Some("parked"));
    assert_eq!(story.times("spawn("), 1);
}

#[test]
fn a_usage_limit_that_ended_while_the_machine_slept_is_over() {
    let mut story = Story::up();
    let until = Some(story.now.wall + 3_600_000);
    story.exits(ExitClass::UsageLimit { until });
    story.after(60_000);
    story.expects_no("spawn(");
    story.sleeps(2 * 3_600_000).after(15_000);
    story.expects("spawn(");
}

#[test]
fn a_usage_limit_need_not_be_waited_for() {
    let mut story = Story::up_with(Config { wait_for_usage_limit: false, ..config() });
    let until = Some(story.now.wall + 3_600_000);
    story.exits(ExitClass::UsageLimit { until });
    story.after(500);
    story.expects("spawn(");
    assert_eq!(story.core.view().process.exits, 1, "it counts like any other exit");
}
