//! A provider that may not work: at a usage limit, with an end that is known or not, or refused for good. What it
//! had waits, and comes again, marked.

use relay_runner_core::config::Config;
use relay_runner_core::event::{ExitClass, ProviderReport};
use relay_runner_core::flags::{Flag, Flags};
use relay_runner_core::{OpResult, restart};

use crate::story::{Story, config, plain, task};

const HOUR: u64 = 3_600_000;

/// In the middle of the turn that works on message 5 of task 50, in a conversation of its own.
fn in_mid_task(config: Config) -> Story {
    let mut story = Story::holding_a_task_with(config);
    story.provider(ProviderReport::Conversation { id: "thread-1".into() });
    story.hands_over(5).takes(5).busy();
    story
}

fn failed_turns(story: &Story) -> u32 {
    story.core.facts().messages[&5].failed_turns
}

/// Goes on for so long, and each renewal of the lease is granted.
fn renewing(story: &mut Story, millis: u64) -> usize {
    let end = story.now.mono + millis;
    let mut renewals = 0;
    while story.now.mono < end {
        story.after(10_000.min(end - story.now.mono));
        if story.list().contains("renew,m5,f3") {
            let renew = story.expects("renew,m5,f3");
            story.answers(renew, OpResult::Renewed { lease: Some(600_000) });
            renewals += 1;
        }
    }
    renewals
}

/// The next process has it again, marked, in the same conversation, and works it.
#[track_caller]
fn is_worked_by(story: &mut Story, generation: u64, attempt: u32) {
    story.expects(&format!(",g{generation},conversation=thread-1)"));
    story.provider(ProviderReport::Ready);
    assert_eq!(failed_turns(story), 0, "the turn is not held against the message");
    let offer = story.told.iter().rfind(|told| told.contains("offer,m5/")).expect("it is offered").clone();
    assert!(offer.contains(&format!(",g{generation},offer,m5/{attempt}/")) && offer.contains("redelivered"), "{offer}");
    story.works(5);
    story.expects("task,t50,m5,done,f3");
}

#[test]
fn a_task_waits_for_the_end_of_a_usage_limit_with_its_claim() {
    let mut story = in_mid_task(config());
    let until = story.now.wall + 5 * HOUR;
    story.exits(ExitClass::UsageLimit { until: Some(until) });
    let view = story.core.view();
    assert_eq!((view.process.state, view.lifecycle_action, view.ready), ("cooling", Some("restarting"), false));
    assert_eq!(view.process.usage_limit.map(|limit| limit.until), Some(Some(until)), "it can be seen when it ends");
    assert!(story.status_meta()["lifecycleReason"].as_str().unwrap().contains("UsageLimit"));
    assert_eq!(story.stage(5), Some("claimed"), "it is ours, and nobody has it");
    assert!(renewing(&mut story, 5 * HOUR - 1_000) > 20, "the claim is kept");
    story.expects_no("spawn(");
    story.never("release,m5");
    story.after(1_000);
    assert_eq!(story.core.view().process.usage_limit, None);
    is_worked_by(&mut story, 2, 2);
    assert_eq!(story.core.view().process.exits, 0);
}

#[test]
fn a_limit_outlives_its_runner_in_that_the_next_process_meets_it_again() {
    let mut story = in_mid_task(config());
    let until = Some(story.now.wall + HOUR);
    story.exits(ExitClass::UsageLimit { until });
    let mut later = story.the_next_run();
    later.boot();
    later.registers();
    later.expects("conversation=thread-1)");
    later.provider(ProviderReport::Ready);
    later.exits(ExitClass::UsageLimit { until });
    assert_eq!(later.core.view().process.usage_limit.map(|limit| limit.until), Some(until));
    assert_eq!(later.core.view().process.exits, 0);
    later.after(HOUR);
    later.expects("conversation=thread-1)");
}

/// Every process meets the limit at once.
fn meets_it_again_and_again(config: Config, times: usize) -> (Story, Vec<u64>) {
    let mut story = in_mid_task(config);
    let mut waits = Vec::new();
    for _ in 0..times {
        story.exits(ExitClass::UsageLimit { until: None });
        if story.core.view().process.state != "cooling" {
            break;
        }
        assert_eq!(story.core.view().process.usage_limit.map(|limit| limit.until), Some(None));
        let since = story.now.mono;
        while !story.list().contains("spawn(") {
            renewing(&mut story, 500);
        }
        waits.push(story.now.mono - since);
        story.provider_comes_up();
        story.hands_over(5).takes(5).busy();
    }
    (story, waits)
}

#[test]
fn a_limit_without_an_end_is_waited_for_longer_each_time_and_never_given_up() {
    let (mut story, waits) = meets_it_again_and_again(config(), 8);
    let minutes: Vec<u64> = waits.iter().map(|wait| wait / 60_000).collect();
    assert_eq!(minutes, [1, 2, 4, 8, 16, 30, 30, 30]);
    assert_eq!(story.core.view().process.exits, 0);
    assert_eq!(failed_turns(&story), 0);
    story.never("release,m5");
    story.idle();
    story.expects("task,t50,m5,done,f3");

    // One that could work for a while begins with the shortest wait.
    renewing(&mut story, 30_000);
    story.exits(ExitClass::UsageLimit { until: None });
    assert_eq!(story.waits_for("spawn("), restart::retry_of_limit(0, &config().timing));
    story.provider_comes_up();
    // And so does one after an exit of another kind.
    story.exits(ExitClass::UsageLimit { until: None });
    assert_eq!(story.waits_for("spawn("), 120_000);
    story.provider_comes_up();
    story.exits(ExitClass::Crash);
    assert_eq!(story.core.view().process.usage_limit, None, "that is a crash");
    story.after(500);
    story.provider_comes_up();
    story.exits(ExitClass::UsageLimit { until: None });
    assert_eq!(story.waits_for("spawn("), 60_000);
}

#[test]
fn without_the_flag_it_counts_like_a_crash_and_the_provider_is_given_up() {
    let flags: Vec<Flag> = Flag::ALL.into_iter().filter(|flag| *flag != Flag::WaitsForLimitsWithoutEnd).collect();
    let mut story = in_mid_task(Config { flags: Flags::of(&flags), ..config() });
    for wait in [500, 1_000, 1_500] {
        story.exits(ExitClass::UsageLimit { until: None });
        assert_eq!(story.core.view().process.usage_limit, None);
        assert_eq!(story.waits_for("spawn("), wait);
        story.provider_comes_up();
    }
    story.exits(ExitClass::UsageLimit { until: None });
    story.accepts("release,m5,f3");
    story.expects("finish(70)");
}

#[test]
fn who_does_not_wait_for_limits_counts_them_whether_they_end_or_not() {
    let mut story = Story::up_with(Config { wait_for_usage_limit: false, ..config() });
    for exits in 1..=3 {
        story.exits(ExitClass::UsageLimit { until: None });
        assert_eq!(story.core.view().process.exits, exits);
        story.waits_for("spawn(");
        story.provider_comes_up();
    }
    story.exits(ExitClass::UsageLimit { until: None });
    story.expects("finish(70)");
}

#[test]
fn a_restart_leaves_a_limit_without_an_end() {
    let mut story = in_mid_task(config());
    story.exits(ExitClass::UsageLimit { until: None });
    story.command("c1", "agent.restart");
    is_worked_by(&mut story, 2, 2);
    story.expects("command,c1,succeeded");
}

#[test]
fn what_a_refused_provider_had_waits_for_the_restart_and_comes_once() {
    let mut story = in_mid_task(config());
    story.exits(ExitClass::Refused);
    let view = story.core.view();
    assert_eq!((view.process.state, view.lifecycle_action, view.ready), ("parked", Some("parked"), false));
    assert_eq!(story.status_meta()["lifecycleReason"], "Refused");
    // Others may have it meanwhile. Nobody took it: it is still unread, and held.
    story.accepts("release,m5,f3");
    story.message(task(5, 50));
    assert_eq!(story.stage(5), Some("held"));
    story.after(HOUR);
    story.expects_no("spawn(");
    story.never("task,t50,m5,failed");
    story.command("c1", "agent.restart");
    story.expects("conversation=thread-1)");
    story.provider(ProviderReport::Ready);
    story.expects("command,c1,succeeded");
    story.grants(5, 4);
    story.accepts("task,t50,m5,in_progress,f4");
    assert_eq!(failed_turns(&story), 0);
    let offers: Vec<_> = story.told.iter().filter(|told| told.contains("offer,m5/")).collect();
    assert_eq!(offers.len(), 2, "{offers:?}");
    assert!(offers[1].contains(",g2,offer,m5/2/") && offers[1].contains("redelivered"), "{offers:?}");
    story.works(5);
    story.expects("task,t50,m5,done,f4");
    story.after(600_000);
    assert_eq!(story.times("offer,m5/"), 2, "and not again");
}

#[test]
fn a_plain_message_stays_with_a_parked_agent() {
    let mut story = Story::up();
    story.message(plain(1));
    story.hands_over(1).takes(1).busy();
    story.exits(ExitClass::Refused);
    assert_eq!(story.stage(1), Some("held"));
    story.after(HOUR);
    story.never("read,m1");
    story.command("c1", "agent.restart");
    story.provider_comes_up();
    assert_eq!(story.times("offer,m1/2/"), 1);
    assert!(story.told.iter().any(|told| told.contains("offer,m1/2/") && told.contains("redelivered")));
    story.works(1);
    story.expects("read,m1");
}
