//! What is offered, in which order, and what the agent is told of what it had.

use relay_runner_core::config::Delivery;
use relay_runner_core::event::{
    ApprovalRequest, BusFrame, ExitClass, FailureKind, Incoming, ProviderReport, RelayEvent, Signal, TakenOffer,
};
use relay_runner_core::ids::Nonce;
use relay_runner_core::{BodyRef, Config, OpResult};

use crate::story::{Story, config, plain, task};

fn long(id: u64, len: u32) -> Incoming {
    Incoming { body: BodyRef { len, trimmed: len, digest: 1 }, ..plain(id) }
}

fn offers(story: &Story) -> Vec<&str> {
    story.told_since(0, "offer,")
}

#[test]
fn a_batch_is_filled_to_the_byte() {
    // 32 KiB, and 256 bytes around each body.
    for (len, together) in [(16_128, 2), (16_129, 1)] {
        let mut story = Story::up();
        story.busy();
        story.message(long(1, len)).message(long(2, len));
        story.idle();
        assert_eq!(offers(&story)[0].matches(",m").count(), together, "{len}: {:?}", offers(&story));
    }
}

#[test]
fn a_full_batch_goes_before_a_claim_of_a_later_message_and_after_one_of_an_earlier() {
    for (claimable, first) in [(2, "claim,m2"), (4, "offer,m1/1/")] {
        let mut config = config();
        config.limits.batch = 2;
        let mut story = Story::up_with(config);
        story.busy();
        for id in 1..=4 {
            story.message(if id == claimable { task(id, 50) } else { plain(id) });
        }
        let then = story.told.len();
        story.idle();
        let asked = |what: &str| story.told_since(then, what).len();
        assert_eq!(asked("claim,m") + asked("offer,m"), 1, "one of them waits for the other");
        assert_eq!(asked(first), 1, "{claimable}: {:?}", story.told_since(then, ""));
    }
}

#[test]
fn what_was_set_aside_is_not_taken_in_by_a_later_run() {
    let mut story = Story::up();
    story.message(plain(1));
    for _ in 0..8 {
        story.waits_for("offer,m1/");
        let offer = story.expects("offer,m1/");
        story.fails(offer, FailureKind::Provider);
    }
    assert_eq!(story.core.view().set_aside.len(), 1);
    // It is still unread on the relay.
    let mut later = story.the_next_run();
    later.boot();
    later.registers();
    later.provider_comes_up();
    later.message(plain(1));
    later.never("offer,m1");
    assert_eq!(later.core.view().set_aside.len(), 1, "and it is still listed");
}

#[test]
fn a_report_of_a_missed_offer_names_the_offer() {
    let mut story = Story::up();
    story.message(plain(7));
    story.hands_over(7);
    let nonce = story.core.view().messages[0].nonce;
    let missed = |nonce| ProviderReport::Missed { offers: vec![TakenOffer { message: 7, nonce: Some(nonce) }] };
    story.provider(missed(Nonce(nonce.0 ^ 1)));
    assert_eq!(story.stage(7), Some("offered"), "that was another offer");
    story.provider(missed(nonce));
    assert_eq!(story.stage(7), Some("held"));
}

#[test]
fn an_event_that_comes_again_with_its_old_number_changes_nothing() {
    let mut story = Story::up();
    story.by_hand();
    let released = |seq| {
        let event = RelayEvent::ClaimReleased { message: 77 };
        BusFrame::Event { frame: format!("e{seq}").into(), seq, event }
    };
    let then = story.told.len();
    story.frame(released(5));
    story.accepts("unread,");
    story.frame(released(5));
    story.frame(released(4));
    assert_eq!(story.told_since(then, "unread,").len(), 1);
    story.frame(released(6));
    assert_eq!(story.told_since(then, "unread,").len(), 2);
}

#[test]
fn nothing_unread_is_fetched_once_the_run_ends() {
    let mut story = Story::up();
    story.signal(Signal::Term);
    story.link_breaks();
    let then = story.told.len();
    story.after(2_000);
    story.registers();
    assert_eq!(story.told_since(then, "unread,").len(), 0);
}

#[test]
fn a_later_run_knows_what_is_over_and_what_was_had() {
    let mut story = Story::up();
    story.message(plain(1));
    story.works(1);
    story.accepts("read,m1");
    story.message(plain(2));
    story.hands_over(2);
    story.takes(2);
    story.relay_says(RelayEvent::MessageClaimed { message: 2, by: Some("rival".into()) });
    story.busy().idle();
    assert!(story.core.view().messages.is_empty());
    let mut later = story.the_next_run();
    later.boot();
    later.registers();
    later.provider_comes_up();
    later.message(plain(1));
    later.never("offer,m1");
    later.message(plain(2));
    let offer = later.list();
    assert!(offer.contains("offer,m2/2/") && offer.contains("/redelivered"), "{offer}");
}

#[test]
fn every_offer_has_a_nonce_of_its_own_that_six_letters_can_say() {
    let mut story = Story::up();
    story.busy();
    for id in 1..=8 {
        story.message(plain(id));
    }
    story.idle();
    let nonces: std::collections::BTreeSet<u32> = story.core.view().messages.iter().map(|m| m.nonce.0).collect();
    assert_eq!(nonces.len(), 8, "{nonces:?}");
    assert!(nonces.iter().all(|nonce| *nonce < 1 << 30), "{nonces:?}");
}

#[test]
fn an_urgent_task_is_not_claimed_beyond_the_limit() {
    let mut story = Story::up_with(Config { delivery: Delivery::Interrupt, ..config() });
    story.message(task(5, 50));
    story.grants(5, 3);
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.message(Incoming { urgent: true, ..task(8, 80) });
    story.never("claim,m8");
    story.idle();
    story.expects("claim,m8");
}

#[test]
fn who_watches_hears_whether_a_message_of_a_dead_process_was_taken() {
    for (taken, stage) in [(true, "held"), (false, "ambiguous")] {
        let mut story = Story::up();
        story.message(plain(5));
        story.hands_over(5);
        if taken {
            story.takes(5);
        }
        story.exits(ExitClass::Crash);
        assert_eq!(story.times(&format!("delivery,m5,{stage},1,the%20;provider%20;process%20;ended")), 1);
    }
}

#[test]
fn only_what_is_in_doubt_is_blocked_after_half_an_hour() {
    let mut story = Story::up();
    story.message(plain(7));
    story.hands_over(7);
    story.after(30_000);
    assert_eq!(story.stage(7), Some("ambiguous"));
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Granted { fence: 3, lease: None });
    story.accepts("task,t50,m5,in_progress");
    story.hands_over(5);
    story.takes(5);
    story.busy();
    for _ in 0..20 {
        story.after(120_000);
        story.provider(ProviderReport::SignOfLife);
    }
    story.never("blocked");
    story.idle();
    story.expects("task,t50,m5,done");
}

#[test]
fn a_claim_that_is_under_way_for_nothing_holds_nothing_up() {
    let mut story = Story::up();
    story.message(task(5, 50));
    story.expects("claim,m5");
    story.message(plain(6));
    story.expects_no("offer,m6");
    story.relay_says(RelayEvent::MessageDeleted { message: 5 });
    story.expects("offer,m6");
}

#[test]
fn what_was_never_offered_is_in_no_doubt() {
    let mut story = Story::up();
    for id in [5, 6] {
        story.message(task(id, id * 10));
    }
    story.grants(5, 3);
    story.hands_over(5);
    story.takes(5);
    story.after(29_999);
    assert_eq!(story.stage(6), Some("held"));
    story.after(1);
    assert_eq!(story.stage(5), Some("ambiguous"), "no turn began");
    assert_eq!(story.stage(6), Some("held"));
}

#[test]
fn the_agent_is_told_of_everything_that_it_has_and_of_nothing_that_it_may_not_have() {
    let mut story = Story::up();
    story.busy();
    story.message(plain(1)).message(plain(2)).message(plain(3));
    story.idle();
    story.hands_over(1);
    story.takes(1).takes(2);
    story.after(30_000);
    assert_eq!(story.stage(3), Some("ambiguous"));
    story.busy();
    for message in 1..=3 {
        story.relay_says(RelayEvent::MessageDeleted { message });
    }
    story.idle();
    story.accepts("tell,m1");
    story.accepts("tell,m2");
    story.never("tell,m3");
}

#[test]
fn what_was_taken_and_then_doubted_is_told_of_all_the_same() {
    let mut story = Story::up();
    story.message(plain(1));
    story.hands_over(1);
    story.takes(1);
    story.after(30_000);
    assert_eq!(story.stage(1), Some("ambiguous"));
    story.relay_says(RelayEvent::MessageDeleted { message: 1 });
    story.expects("tell,m1");
}

#[test]
fn the_agent_is_told_nothing_while_it_compacts() {
    let mut story = Story::up();
    story.message(plain(1));
    story.hands_over(1);
    story.takes(1);
    story.busy().idle();
    story.message(plain(2));
    story.hands_over(2);
    story.takes(2);
    story.command("c1", "agent.compact");
    let compact = story.expects(",compact)");
    story.relay_says(RelayEvent::MessageDeleted { message: 2 });
    story.expects_no("tell,m2");
    story.answers(compact, OpResult::Ok);
    story.expects("tell,m2");
}

#[test]
fn an_open_question_keeps_a_word_from_the_agent_only_where_words_are_typed() {
    for (typed, asks, told) in [(true, false, 1), (false, true, 1), (true, true, 0)] {
        let mut config = config();
        config.adapter.typed = typed;
        let mut story = Story::up_with(config);
        story.message(plain(1));
        story.hands_over(1);
        story.takes(1);
        if asks {
            let request = ApprovalRequest { id: "p1".into(), kind: "tool".into(), tool: None, reason: None };
            story.provider(ProviderReport::ApprovalOpened(Box::new(request)));
        }
        story.relay_says(RelayEvent::MessageDeleted { message: 1 });
        assert_eq!(story.times("tell,m1"), told, "typed: {typed}, asks: {asks}");
    }
}
