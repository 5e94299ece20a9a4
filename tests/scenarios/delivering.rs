//! Messages on their way into the provider.

use relay_runner_core::event::RelayEvent;
use relay_runner_core::event::{ExitClass, FailureKind, ProviderReport, TakenOffer};
use relay_runner_core::ids::Nonce;
use relay_runner_core::{Call, Effect, OpResult};

use crate::story::{Story, config, plain, task};

#[test]
fn a_plain_message_is_offered_taken_worked_and_marked_as_read() {
    let mut story = Story::up();
    story.message(plain(7));
    story.hands_over(7);
    assert_eq!(story.stage(7), Some("offered"));
    story.takes(7);
    story.expects_no("read,m7");
    story.busy();
    assert_eq!(story.stage(7), Some("taken"));
    story.idle();
    let read = story.expects("read,m7");
    assert_eq!(story.stage(7), Some("worked"));
    story.answers(read, OpResult::Ok);
    assert_eq!(story.stage(7), None, "settled and forgotten");
    assert!(story.times("delivery,m7,settled") == 1);
}

#[test]
fn urgent_messages_go_first_then_by_id() {
    let mut story = Story::up();
    story.busy();
    for id in [3, 1, 2] {
        story.message(plain(id));
    }
    let mut urgent = plain(9);
    urgent.urgent = true;
    story.message(urgent);
    story.idle();
    let offer = story.told.iter().find(|t| t.contains("offer,")).unwrap();
    let order: Vec<_> = [9, 1, 2, 3].iter().map(|id| offer.find(&format!(",m{id}/")).unwrap()).collect();
    assert!(order.is_sorted(), "{offer}");
}

#[test]
fn nothing_is_offered_while_a_turn_runs() {
    let mut story = Story::up();
    story.busy();
    story.message(plain(1)).message(task(2, 20));
    story.never("offer");
    story.never("claim,m2");
    story.idle();
    story.grants(2, 1);
    story.expects("offer,m1/");
}

#[test]
fn a_batch_is_bounded_by_number_and_by_bytes() {
    let mut story = Story::up();
    story.busy();
    for id in 1..=12 {
        story.message(plain(id));
    }
    story.idle();
    let offer = story.told.iter().find(|t| t.contains("offer,")).unwrap().clone();
    assert_eq!(offer.matches(",m").count(), 10, "{offer}");

    let mut story = Story::up();
    story.busy();
    for id in 1..=3 {
        let mut long = plain(id);
        long.body = relay_runner_core::BodyRef { len: 20_000, trimmed: 20_000, digest: 1 };
        story.message(long);
    }
    story.idle();
    let offer = story.told.iter().find(|t| t.contains("offer,")).unwrap().clone();
    assert_eq!(offer.matches(",m").count(), 1, "{offer}");
}

#[test]
fn an_offer_that_is_not_taken_is_ambiguous_and_the_rest_flows_on() {
    let mut story = Story::up();
    story.message(plain(1));
    story.hands_over(1);
    story.message(plain(2));
    story.expects_no("offer,m2");
    story.after(30_000);
    assert_eq!(story.stage(1), Some("ambiguous"));
    story.works(2);
    // Evidence may still come.
    story.takes(1);
    assert_eq!(story.stage(1), Some("taken"));
}

#[test]
fn evidence_with_a_wrong_nonce_is_no_evidence() {
    let mut story = Story::up();
    story.message(plain(1));
    story.hands_over(1);
    let offers = vec![TakenOffer { message: 1, nonce: Some(Nonce(1)) }];
    story.provider(ProviderReport::Taken { offers, into_turn: false });
    assert_eq!(story.stage(1), Some("offered"));
    let nonce = story.core.view().messages[0].nonce;
    story.provider(ProviderReport::Taken {
        offers: vec![TakenOffer { message: 1, nonce: Some(nonce) }],
        into_turn: false,
    });
    assert_eq!(story.stage(1), Some("taken"));
}

#[test]
fn a_provider_that_is_not_ready_is_waited_for_and_not_blamed() {
    let mut story = Story::up();
    story.message(plain(1));
    for _ in 0..20 {
        let offer = story.expects("offer,m1/1/");
        story.fails(offer, FailureKind::NotReady);
        story.after(1_000);
    }
    story.works(1);
}

#[test]
fn poison_message() {
    let mut story = Story::up();
    story.message(task(1, 10));
    story.grants(1, 5);
    let started = story.expects("task,t10,m1,in_progress");
    story.answers(started, OpResult::Ok);
    for try_ in 1..=8 {
        story.waits_for("offer,m1/");
        let offer = story.expects(&format!("offer,m1/{try_}/"));
        story.fails(offer, FailureKind::Provider);
    }
    story.after(120_000);
    story.expects_no("offer,m1");
    story.expects("task,t10,m1,failed,f5");
    assert_eq!(story.stage(1), Some("setAside"));
    story.message(plain(2));
    story.works(2);
}

#[test]
fn after_a_failed_batch_messages_are_offered_singly() {
    let mut story = Story::up();
    story.busy();
    story.message(plain(1)).message(plain(2));
    story.idle();
    let offer = story.expects("offer,m1/1/");
    story.fails(offer, FailureKind::Provider);
    story.after(1_000);
    let single = story.told.iter().rfind(|t| t.contains("offer,")).unwrap().clone();
    assert!(single.contains(",m1/2/") && !single.contains(",m2/"), "{single}");
}

#[test]
fn delivery_hangs() {
    let mut story = Story::up();
    story.message(plain(1));
    story.expects("offer,m1/");
    story.after(31_000);
    assert_eq!(story.stage(1), Some("ambiguous"));
    story.message(plain(2));
    story.works(2);
    // It hangs again, and a restart does not wait for it: the next process gets both.
    story.message(plain(3));
    story.expects("offer,m3/");
    story.command("c1", "agent.restart");
    story.exits(ExitClass::Signal);
    story.provider_comes_up();
    story.expects("command,c1,succeeded");
    let offer = story.told.iter().rfind(|t| t.contains("offer,")).unwrap().clone();
    assert!(offer.contains("m1/2/") && offer.contains("m3/2/"), "{offer}");
    assert_eq!(offer.matches("/ambiguous").count(), 2, "{offer}");
    story.hands_over(1);
    story.takes(1).takes(3);
    story.busy().idle();
    story.expects("read,m1");
    story.expects("read,m3");
}

#[test]
fn mark_read_fails() {
    let mut story = Story::up();
    story.message(plain(1));
    story.works(1);
    for _ in 0..5 {
        let read = story.expects("read,m1");
        story.fails(read, FailureKind::Unreachable);
        // The relay still lists it as unread.
        story.message(plain(1));
        story.after(30_000);
    }
    assert_eq!(story.times("offer,m1/"), 1);
    // Nor does a later run deliver it.
    let mut later = Story::with(config(), story.core.facts());
    later.boot();
    later.registers();
    later.provider_comes_up();
    later.message(plain(1));
    later.never("offer");
    later.expects("read,m1");
}

#[test]
fn reconnect_replay() {
    let mut story = Story::up();
    story.message(plain(1));
    story.works(1);
    let read = story.expects("read,m1");
    story.answers(read, OpResult::Ok);
    story.link_breaks();
    story.after(1_000);
    story.registers();
    story.expects("resume,1");
    story.message(plain(1));
    assert_eq!(story.times("offer,m1/"), 1);
}

#[test]
fn already_read_replay() {
    let mut story = Story::up();
    let mut read = plain(1);
    read.read = true;
    story.message(read);
    story.never("offer");
}

#[test]
fn only_messages_for_us_are_taken_in() {
    let mut story = Story::up();
    let to = |id, to: &str| relay_runner_core::event::Incoming { to: to.into(), ..plain(id) };
    story.busy();
    for message in [
        to(1, "other"),
        to(2, "label:other"),
        to(3, "tag:other"),
        to(4, "cap:other"),
        to(5, "policy:p"),
        relay_runner_core::event::Incoming { from: "a1".into(), ..to(6, "broadcast") },
        relay_runner_core::event::Incoming { resolved: Some("other".into()), ..to(7, "label:dev") },
    ] {
        story.message(message);
    }
    assert!(story.core.view().messages.is_empty());
    for message in [
        to(11, "a1"),
        to(12, "label:dev"),
        to(13, "tag:rust"),
        to(14, "cap:chat"),
        to(15, "broadcast"),
        relay_runner_core::event::Incoming { resolved: Some("a1".into()), ..to(16, "policy:p") },
    ] {
        story.message(message);
    }
    assert_eq!(story.core.view().messages.len(), 6);
}

#[test]
fn flood() {
    let mut config = config();
    config.limits.held = 10;
    config.limits.fetch = 4;
    let mut story = Story::up_with(config);
    story.by_hand();
    story.busy();
    for id in 1..=30 {
        story.message(plain(id));
    }
    assert_eq!(story.core.view().messages.len(), 10);
    assert!(story.core.view().inbox_overflow);
    story.by_routine();
    // Newer ones are not taken in before the older ones were fetched.
    story.idle();
    let offers: Vec<_> = story.told.iter().filter(|t| t.contains("offer,")).cloned().collect();
    assert_eq!(offers.len(), 1);
    assert!(offers[0].contains(",m10/") && !offers[0].contains(",m11/"));
    story.by_hand();
    story.hands_over(1);
    for id in 1..=10 {
        story.takes(id);
    }
    story.busy().idle();
    for id in 1..=10 {
        while story.list().contains(&format!("delivery,m{id},")) {
            let stage = story.expects(&format!("delivery,m{id},"));
            story.answers(stage, OpResult::Ok);
        }
        let read = story.expects(&format!("read,m{id}"));
        story.answers(read, OpResult::Ok);
    }
    let unread = story.expects("unread,0,4");
    story.answers(unread, OpResult::Unread { messages: (11..=14).map(plain).collect(), full: true });
    let unread = story.expects("unread,14,4");
    story.answers(unread, OpResult::Unread { messages: (15..=18).map(plain).collect(), full: true });
    assert_eq!(story.core.view().messages.first().map(|m| m.id), Some(11));
}

/// The messages that are offered here and not handed over yet.
fn offered(story: &Story) -> Vec<u64> {
    let offer = story.open.iter().map(ToString::to_string).find(|text| text.contains("offer,"));
    let ids = |offer: String| {
        let parts = offer.split(',').filter_map(|part| part.strip_prefix('m')?.split_once('/'));
        parts.map(|(id, _)| id.parse().expect("an id")).collect()
    };
    offer.map(ids).unwrap_or_default()
}

#[test]
fn a_flood_is_worked_in_order_and_none_is_lost() {
    let mut config = config();
    config.limits.held = 10;
    config.limits.fetch = 4;
    let mut story = Story::up_with(config);
    story.busy();
    for id in 1..=40 {
        story.message(plain(id));
    }
    story.idle();
    let (mut unread, mut worked): (Vec<u64>, Vec<u64>) = ((1..=40).collect(), vec![]);
    // The relay marks as read, and lists what is unread; the provider works on what it is offered.
    while worked.len() < 40 {
        let batch = offered(&story);
        if let Some(first) = batch.first() {
            story.hands_over(*first);
            story.by_hand();
            for id in &batch {
                story.takes(*id);
            }
            story.busy().idle();
            worked.extend(&batch);
        }
        while let Some(effect) = story.open.iter().find(|e| matches!(e, Effect::Http { .. })).cloned() {
            let Effect::Http { op, call, .. } = effect else { unreachable!("it is a call") };
            story.open.retain(|e| !matches!(e, Effect::Http { op: o, .. } if *o == op));
            let result = match call {
                Call::Read { message } => {
                    unread.retain(|id| *id != message);
                    OpResult::Ok
                }
                Call::Unread { after, limit } => {
                    let most = usize::try_from(limit).unwrap();
                    let page: Vec<_> =
                        unread.iter().filter(|id| **id > after).take(most).map(|id| plain(*id)).collect();
                    OpResult::Unread { full: page.len() == most, messages: page }
                }
                _ => OpResult::Ok,
            };
            story.answers(op, result);
        }
        assert!(story.core.view().messages.len() <= 10);
        story.after(1_000);
    }
    assert_eq!(worked, (1..=40).collect::<Vec<_>>());
    assert!(unread.is_empty(), "{unread:?}");
}

#[test]
fn taken_over() {
    let mut story = Story::up();
    story.busy();
    story.message(plain(1)).message(task(2, 20)).message(plain(3));
    story.relay_says(RelayEvent::MessageDeleted { message: 1 });
    story.relay_says(RelayEvent::MessageClaimed { message: 2, by: Some("rival".into()) });
    story.idle();
    story.never("offer,m1");
    story.never("claim,m2");
    story.hands_over(3);
    story.takes(3);
    story.busy();
    // While it is worked: nothing more is reported for it.
    story.relay_says(RelayEvent::MessageDeleted { message: 3 });
    story.idle();
    story.never("read,m3");
    assert!(story.core.view().messages.is_empty());
}

#[test]
fn a_stage_that_waits_in_line_is_overtaken_by_a_later_one() {
    let mut story = Story::up();
    story.by_hand();
    story.message(plain(1));
    // Held and offered in one step: the relay hears of the offer.
    let offered = story.expects("delivery,m1,offered,1");
    story.hands_over(1);
    story.takes(1);
    story.busy();
    story.idle();
    story.expects_no("delivery");
    story.answers(offered, OpResult::Ok);
    story.expects("delivery,m1,worked,1");
    story.never("delivery,m1,taken");
}

#[test]
fn a_new_message_does_not_overtake_those_that_did_not_fit() {
    let mut config = config();
    config.limits.held = 4;
    config.limits.batch = 1;
    let mut story = Story::up_with(config);
    story.busy();
    for id in 1..=6 {
        story.message(plain(id));
    }
    story.idle();
    story.works(1);
    story.accepts("read,m1");
    // There is room, but 5 and 6 wait on the relay.
    assert_eq!(story.core.view().messages.len(), 3);
    story.message(plain(7));
    assert_eq!(story.stage(7), None);
}

#[test]
fn what_failed_together_is_offered_one_by_one_and_what_came_later_together_again() {
    let mut story = Story::up();
    story.busy();
    for id in 1..=3 {
        story.message(plain(id));
    }
    story.idle();
    let batch = story.expects("offer,m1/1/");
    story.fails(batch, FailureKind::Provider);
    story.waits_for("offer,m1/2/");
    for id in 1..=3 {
        let alone = story.list();
        assert_eq!(alone.matches(",m").count(), 1 + alone.matches("read,m").count(), "{id}: {alone}");
        if id == 3 {
            story.message(plain(4)).message(plain(5));
        }
        story.works(id);
    }
    let together = story.told_since(0, "offer,m4/");
    assert!(together.len() == 1 && together[0].contains(",m5/"), "{together:?}");
}
