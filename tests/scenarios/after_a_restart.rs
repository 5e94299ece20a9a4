//! What the next run knows of the one before, neither more nor less than it needs; and what of a relay that is new.

use std::collections::BTreeSet;

use relay_runner_core::OpResult;
use relay_runner_core::event::{BusFrame, ExitClass, ProcessRef, ProviderReport, RelayEvent};

use crate::story::{Story, plain, task};

/// The next run, registered and with a provider.
fn the_run_after_is_up(story: &Story) -> Story {
    let mut later = story.the_next_run();
    later.boot();
    later.registers();
    later.provider_comes_up();
    later
}

#[test]
fn a_message_that_was_deleted_stays_deleted() {
    let mut story = Story::up();
    story.message(plain(3));
    story.hands_over(3);
    story.takes(3);
    story.busy();
    story.relay_says(RelayEvent::MessageDeleted { message: 3 });
    let later = the_run_after_is_up(&story);
    later.never("offer,m3/");
}

#[test]
fn nothing_is_offered_under_a_claim_that_was_not_confirmed() {
    let story = Story::holding_a_task();
    let mut later = story.the_next_run();
    later.boot();
    // The provider is started without a relay.
    later.after(11_000);
    later.provider_comes_up();
    later.never("offer,m5/");
    later.registers();
    later.grants(5, 3);
    later.expects("offer,m5/");
}

#[test]
fn a_runner_that_gave_up_starts_its_provider_at_the_next_start() {
    let mut story = Story::up();
    for _ in 0..3 {
        story.exits(ExitClass::Crash);
        story.after(2_000);
        story.provider_comes_up();
    }
    story.exits(ExitClass::Crash);
    story.expects("finish(70)");
    assert_eq!(story.core.facts().parked, None);
    let mut later = story.the_next_run();
    later.boot();
    later.registers();
    later.after(60_000);
    later.expects("spawn(");
}

#[test]
fn a_command_that_was_cut_short_gets_its_outcome() {
    let mut story = Story::up();
    story.command("c1", "agent.restart");
    let mut later = the_run_after_is_up(&story);
    later.command("c1", "agent.restart");
    let outcome = later.expects("command,c1,");
    later.answers(outcome, OpResult::Ok);
    later.after(120_000);
    later.expects_no("command,c1,");
    later.never("stop(");
}

#[test]
fn a_known_outcome_is_reported_again_under_its_first_key() {
    let mut story = Story::up();
    story.command("c1", "agent.dance");
    let outcome = story.expects("command,c1,failed");
    story.answers(outcome, OpResult::Ok);
    let mut later = the_run_after_is_up(&story);
    later.command("c1", "agent.dance");
    let keys: BTreeSet<_> = [&story, &later]
        .map(|run| run.told.iter().find(|t| t.contains("command,c1,failed")).unwrap().split(',').nth(1).unwrap())
        .into_iter()
        .collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
}

#[test]
fn a_relay_that_began_anew_is_heard_from_its_first_event() {
    let mut story = Story::up();
    for id in 1..=9 {
        story.relay_says(RelayEvent::Other { name: format!("weather-{id}").into() });
    }
    story.link_breaks();
    story.after(1_000);
    story.opens();
    story.expects("register");
    // Its database is new: it counts from the beginning.
    story.frame(BusFrame::Registered { epoch: 1, cursor: 0, relay: None, heartbeat: None });
    let event = RelayEvent::MessageNew(Box::new(plain(1)));
    story.frame(BusFrame::Event { frame: "first".into(), seq: 1, event });
    story.expects("offer,m1/");
}

#[test]
fn another_relay_is_met_as_a_stranger() {
    let mut story = Story::up();
    story.link_breaks();
    story.after(1_000);
    story.opens();
    story.expects("register");
    story.frame(BusFrame::Registered { epoch: 1, cursor: 0, relay: Some("one".into()), heartbeat: None });
    story.message(plain(1));
    story.works(1);
    let read = story.expects("read,m1");
    story.answers(read, OpResult::Ok);
    story.message(plain(2));
    story.works(2);
    story.expects("read,m2");

    // Its first message has the same id as one that was settled on the other; and it hears nothing of those.
    let mut later = story.the_next_run();
    later.boot();
    later.opens();
    later.expects("register");
    later.frame(BusFrame::Registered { epoch: 1, cursor: 50, relay: Some("two".into()), heartbeat: None });
    later.provider_comes_up();
    later.never("read,m2");
    later.never("resume");
    let event = RelayEvent::MessageNew(Box::new(plain(1)));
    later.frame(BusFrame::Event { frame: "e51".into(), seq: 51, event });
    later.works(1);
    later.expects("read,m1");
}

/// A run that is killed with a task taken, a message handed over, one worked but not marked as read, and one settled.
fn killed_at_work() -> Story {
    let mut story = Story::up();
    story.message(plain(1));
    story.works(1);
    story.accepts("read,m1");
    story.message(plain(2));
    story.works(2);
    story.expects("read,m2");
    story.busy();
    story.message(task(5, 50)).message(plain(6));
    story.idle();
    story.grants(5, 3);
    story.accepts("task,t50,m5,in_progress");
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story
}

#[test]
fn runner_killed() {
    let mut later = killed_at_work().the_next_run();
    later.boot();
    // What the process had is shown, the claim is confirmed before anything, and the provider is a new one.
    later.registers();
    later.provider_comes_up();
    assert_eq!(later.generation().0, 2);
    later.expects("read,m2");
    later.expects_no("task,");
    // The relay still lists all that is not marked as read.
    later.message(plain(2)).message(task(5, 50)).message(plain(6));
    // Message 6 was handed over, and nobody saw it taken.
    let offer = later.told.iter().find(|t| t.contains("offer,")).expect("the plain one needs no claim").clone();
    assert!(offer.contains(",m6/2/") && offer.contains("/ambiguous") && !offer.contains(",m5/"), "{offer}");
    later.works(6);
    later.grants(5, 4);
    let offer = later.told.iter().rfind(|t| t.contains("offer,")).unwrap().clone();
    assert!(offer.contains(",m5/2/") && offer.ends_with("/redelivered)"), "{offer}");
    later.works(5);
    later.accepts("task,t50,m5,done,f4");
    later.never("offer,m1");
    later.never("offer,m2");
    assert_eq!(later.times("offer,m5"), 1);
}

#[test]
fn what_a_killed_run_held_and_another_has_by_now_is_dropped() {
    let mut later = killed_at_work().the_next_run();
    later.boot();
    later.registers();
    let claim = later.expects("claim,m5");
    later.answers(claim, OpResult::Refused { by: Some("rival".into()) });
    later.provider_comes_up();
    later.after(60_000);
    later.never("offer,m5");
    later.never("task,t50");
    assert!(later.core.view().claims.is_empty());
}

#[test]
fn what_a_killed_run_held_is_released_by_one_that_ends_at_once() {
    let mut later = killed_at_work().the_next_run();
    later.boot();
    later.registers();
    later.command("c1", "agent.shutdown");
    later.grants(5, 4);
    later.spawns();
    later.exits(ExitClass::Clean);
    later.accepts("release,m5,f4");
}

#[test]
fn a_relay_that_says_neither_who_nor_where_it_is_may_be_the_same() {
    let meets = |cursor| {
        let mut story = Story::up();
        story.busy();
        for id in 1..=3 {
            story.message(plain(id));
        }
        story.link_breaks();
        story.waits_to_connect();
        story.opens();
        story.expects("register");
        story.frame(BusFrame::Registered { epoch: 1, cursor, relay: None, heartbeat: None });
        story.core.view().messages.len()
    };
    assert_eq!(meets(3), 3, "it is where it was");
    assert_eq!(meets(0), 3, "it does not say");
    assert_eq!(meets(1), 0, "it began anew");
}

#[test]
fn a_task_whose_end_was_accepted_is_settled_by_the_next_run_without_a_claim() {
    let mut story = Story::holding_a_task();
    story.works(5);
    story.accepts("task,t50,m5,done");
    // The runner dies before the read mark is accepted.
    story.expects("read,m5");
    let mut later = the_run_after_is_up(&story);
    later.expects_no("claim,m5");
    later.accepts("read,m5");
    assert_eq!(later.times("delivery,m5,settled"), 1);
}

#[test]
fn a_task_whose_end_was_accepted_unheard_is_settled_by_the_next_run() {
    let mut story = Story::holding_a_task();
    story.works(5);
    // Accepted, and the runner dies before it hears of it.
    story.expects("task,t50,m5,done");
    let mut later = the_run_after_is_up(&story);
    let claim = later.expects("claim,m5");
    later.answers(claim, OpResult::Refused { by: Some("a1".into()) });
    later.accepts("read,m5");
    assert_eq!(later.times("delivery,m5,settled"), 1);
    later.never("task,t50,m5,done");
    later.never("offer,m5");
}

#[test]
fn a_stage_that_may_have_been_told_keeps_its_key_for_itself() {
    let mut adoptable = crate::story::config();
    adoptable.adapter.adoptable = true;
    let mut before = Story::up_with(adoptable);
    before.by_hand();
    before.message(plain(3));
    before.hands_over(3);
    // Told, and the runner dies before it hears the answer.
    before.expects("delivery,m3,offered");
    let mut story = before.the_next_run();
    story.boot();
    let adopt = story.expects("adopt(");
    story.answers(adopt, OpResult::Spawned(ProcessRef { pid: 101, started: 1, boot: "boot".into() }));
    story.takes(3);
    story.busy();
    story.provider(ProviderReport::Ready);
    story.registers();
    story.idle();
    story.accepts("read,m3");
    assert_eq!(story.times("delivery,m3,settled"), 1);
    let key = |text: &String| text.split(',').nth(1).map(str::to_owned);
    let told =
        |story: &Story, what: &str| story.told.iter().filter(|text| text.contains(what)).map(key).collect::<Vec<_>>();
    let first = told(&before, "delivery,m3,offered");
    for stage in ["ambiguous", "taken", "worked", "settled"] {
        let later = told(&story, &format!("delivery,m3,{stage}"));
        assert!(!later.contains(&first[0]), "{stage} under the key of another stage: {later:?}");
    }
}
