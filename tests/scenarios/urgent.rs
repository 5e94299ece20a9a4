//! Urgent messages that interrupt a turn, and offers that the adapter knows were missed.

use relay_runner_core::config::Delivery;
use relay_runner_core::event::{Incoming, ProviderReport, StatusReport, TakenOffer, TurnEnd};
use relay_runner_core::{Config, OpResult};

use crate::story::{Story, config, plain, task};

fn interrupting() -> Story {
    let mut story = Story::up_with(Config { delivery: Delivery::Interrupt, ..config() });
    story.message(plain(5));
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story
}

fn urgent(id: u64) -> Incoming {
    Incoming { urgent: true, ..plain(id) }
}

fn breaks_off(story: &mut Story) {
    let end = TurnEnd::Interrupted { by_person: false };
    story.report(StatusReport { end, ..StatusReport::default() });
}

#[test]
fn an_urgent_message_interrupts_the_turn_once_and_goes_first() {
    let mut story = interrupting();
    story.message(plain(6));
    story.expects_no("interrupt");
    story.message(urgent(9));
    let interrupt = story.expects("interrupt");
    story.answers(interrupt, OpResult::Ok);
    story.message(urgent(10));
    story.after(60_000);
    assert_eq!(story.times(",interrupt)"), 1, "once for a turn");
    breaks_off(&mut story);
    let offer = story.told_since(0, "offer,").last().map(ToString::to_string).unwrap_or_default();
    let place = |id: u64| offer.find(&format!("m{id}/"));
    assert!(place(9) < place(10) && place(10) < place(5) && place(5) < place(6), "{offer}");
    assert!(offer.contains("m5/2/") && offer.contains("/redelivered"), "what made way says so: {offer}");
}

#[test]
fn a_message_that_makes_way_again_and_again_is_not_given_up() {
    let mut story = interrupting();
    for id in 10..18 {
        story.message(urgent(id));
        story.expects(",interrupt)");
        breaks_off(&mut story);
        let batch = story.expects("offer,m1");
        story.answers(batch, OpResult::Ok);
        for had in (10..=id).chain([5]) {
            story.takes(had);
        }
        story.busy();
    }
    story.idle();
    story.expects("read,m5");
    assert!(story.core.view().set_aside.is_empty());
}

#[test]
fn an_urgent_task_is_claimed_before_it_interrupts() {
    let mut story = interrupting();
    story.message(Incoming { urgent: true, ..task(8, 80) });
    story.expects_no(",interrupt)");
    let claim = story.expects("claim,m8");
    story.answers(claim, OpResult::Refused { by: Some("rival".into()) });
    story.never(",interrupt)");
    story.message(Incoming { urgent: true, ..task(9, 90) });
    story.grants(9, 1);
    story.expects(",interrupt)");
}

#[test]
fn without_the_will_or_the_way_an_urgent_message_waits() {
    let deaf = relay_runner_core::config::Adapter { interrupt: false, ..config().adapter };
    for config in [config(), Config { delivery: Delivery::Interrupt, adapter: deaf, ..config() }] {
        let mut story = Story::up_with(config);
        story.busy();
        story.message(urgent(9));
        story.never(",interrupt)");
        story.idle();
        story.hands_over(9);
    }
}

fn missed(story: &mut Story, id: u64) {
    story.provider(ProviderReport::Missed { offers: vec![TakenOffer { message: id, nonce: None }] });
}

#[test]
fn an_offer_that_the_adapter_knows_was_missed_is_made_again() {
    let mut story = Story::up();
    story.message(plain(7));
    story.hands_over(7);
    missed(&mut story, 7);
    story.after(1_000);
    story.hands_over(7);
    story.never("ambiguous");
    story.takes(7);
    story.busy();
    // What it has shown that it has is not missed.
    missed(&mut story, 7);
    story.idle();
    story.expects("read,m7");
}

#[test]
fn an_offer_that_is_missed_for_ever_is_set_aside() {
    let mut story = Story::up();
    story.message(plain(7));
    for _ in 0..8 {
        story.hands_over(7);
        missed(&mut story, 7);
        story.after(60_000);
    }
    story.expects_no("offer,m7");
    assert_eq!(story.core.view().set_aside.len(), 1);
}
