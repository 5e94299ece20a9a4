//! Odd figures of others, and odd clocks: nothing overflows, nothing grows without end, nothing spins.

use relay_runner_core::config::Config;
use relay_runner_core::event::{BusFrame, ExitClass, FailureKind, RelayEvent};
use relay_runner_core::flags::{Flag, Flags};
use relay_runner_core::{Event, OpResult, Stamp};
use relay_runner_protocol::ErrorCode;

use crate::story::{Story, config, plain, task};

#[test]
fn a_usage_limit_that_is_over_already_does_not_spin() {
    let flags: Vec<Flag> = Flag::ALL.into_iter().filter(|flag| *flag != Flag::WaitsForLimitsWithoutEnd).collect();
    let mut counting = Story::up_with(Config { flags: Flags::of(&flags), ..config() });
    let mut story = Story::up();
    for n in 1..=3_u32 {
        // Just now, and some time ago.
        let ago = 1_000 * u64::from(n - 1);
        for (story, exits, wait) in
            [(&mut story, 0, 60_000 << (n - 1)), (&mut counting, n as usize, 500 * u64::from(n))]
        {
            story.exits(ExitClass::UsageLimit { until: Some(story.now.wall - ago) });
            assert_eq!(story.core.view().process.exits, exits);
            assert_eq!(story.waits_for("spawn("), wait);
            story.provider_comes_up();
        }
    }
}

#[test]
fn a_usage_limit_without_end_is_left_by_a_restart() {
    let mut story = Story::up();
    story.exits(ExitClass::UsageLimit { until: Some(u64::MAX) });
    story.after(3_600_000);
    story.expects_no("spawn(");
    story.command("c1", "agent.restart");
    story.provider_comes_up();
    story.expects("command,c1,succeeded");
}

#[test]
fn no_time_is_too_late() {
    let mut story = Story::up();
    story.now = Stamp::new(u64::MAX, u64::MAX);
    story.hears(Event::Wake);
    story.message(plain(1));
    assert!(story.stage(1).is_some());
}

#[test]
fn no_span_is_too_long() {
    let mut config = config();
    config.timing.offer_deadline = u64::MAX;
    let mut story = Story::up_with(config);
    story.message(plain(1));
    story.works(1);
}

#[test]
fn a_retry_without_a_wait_does_not_spin() {
    let mut config = config();
    config.timing.claim_retry = 0;
    let mut story = Story::up_with(config);
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Granted { fence: 3, lease: Some(10_000) });
    let started = story.expects("task,t50,m5,in_progress");
    story.answers(started, OpResult::Ok);
    story.works(5);
    let done = story.expects("task,t50,m5,done");
    story.sleeps(60_000);
    story.fails(done, FailureKind::Unreachable);
    story.after(2_000);
    // Its lease is over: first the claim, then the report.
    story.expects_no("task,t50");
    story.expects("claim,m5");
}

#[test]
fn a_lease_shorter_than_a_round_trip_does_not_spin() {
    let mut story = Story::up();
    story.message(task(5, 50));
    let mut fence = 0;
    for _ in 0..10_000 {
        if story.list().contains("claim,m5") {
            fence += 1;
            let claim = story.expects("claim,m5");
            story.answers(claim, OpResult::Granted { fence, lease: Some(0) });
        }
        story.after(1);
    }
    assert!(story.times("claim,m5") <= 20, "{} claims in 10 s", story.times("claim,m5"));
}

#[test]
fn a_relay_that_keeps_forgetting_us_is_not_flooded() {
    let mut story = Story::up();
    for _ in 0..50 {
        story.frame(BusFrame::Error { code: ErrorCode::NotRegistered, message: "who are you".into() });
    }
    assert!(story.times("register") <= 3, "{} registrations at once", story.times("register"));
}

#[test]
fn what_waits_for_the_relay_is_bounded() {
    let mut story = Story::up();
    story.by_hand();
    for n in 0..3_000 {
        story.command(&format!("c{n}"), "agent.dance");
    }
    let (waiting, most) = (story.core.view().reports_waiting, story.core.config().limits.reports);
    assert!(waiting <= most, "{waiting} reports wait, of {most}");
}

#[test]
fn as_many_ids_of_each_kind_are_remembered_as_the_limit_says() {
    let limited = || {
        let mut config = config();
        config.limits.settled = 2;
        Story::up_with(config)
    };
    // Settled.
    let mut story = limited();
    for id in 1..=3 {
        story.message(plain(id));
        story.works(id);
        story.accepts(&format!("read,m{id}"));
    }
    assert_eq!(story.core.facts().settled.into_iter().collect::<Vec<_>>(), [2, 3]);
    // Set aside.
    let mut story = limited();
    for id in 1..=3 {
        story.message(plain(id));
        for _ in 0..8 {
            let offer = format!("offer,m{id}/");
            story.waits_for(&offer);
            let offer = story.expects(&offer);
            story.fails(offer, FailureKind::Provider);
        }
    }
    assert_eq!(story.core.facts().set_aside.into_keys().collect::<Vec<_>>(), [2, 3]);
    // Offered once, and gone before the agent had them; of what was never offered there is nothing to remember.
    let mut story = limited();
    for id in 1..=3 {
        story.message(plain(id));
        let offer = story.expects(&format!("offer,m{id}/"));
        story.fails(offer, FailureKind::Provider);
        story.relay_says(RelayEvent::MessageClaimed { message: id, by: Some("rival".into()) });
    }
    assert_eq!(story.core.facts().had.into_keys().collect::<Vec<_>>(), [2, 3]);
    story.busy();
    story.message(plain(4));
    story.relay_says(RelayEvent::MessageDeleted { message: 4 });
    assert_eq!(story.core.facts().had.into_keys().collect::<Vec<_>>(), [2, 3]);
}
