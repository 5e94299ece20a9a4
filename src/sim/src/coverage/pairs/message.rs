//! Messages on their way into the provider.

mod answers;

use relay_runner_core::event::{Event, Incoming, OpResult, RelayEvent, TakenOffer, TurnEnd};
use relay_runner_core::{Act, Call, MessageId, Note, ProviderReport, TimerKey};
use relay_runner_protocol::Stage;

use super::{Feed, Step, Which};
use crate::coverage::look::Message;
use crate::coverage::step::Answered;

pub(super) fn feed(step: &Step<'_>, feed: &mut Feed) {
    // What was taken over while the provider had it is as good as gone: no state of the table is that.
    for id in &step.books.gone {
        feed.is_unclear("message", Which::Message(*id));
    }
    arrive(step, feed);
    for answer in &step.answers {
        answers::answered(step, answer, feed);
    }
    gate(step, feed);
    provider(step, feed);
    turns(step, feed);
    leaves(step, feed);
    let overdue = step.is_due(TimerKey::Take) || step.is_due(TimerKey::Turnless);
    for (id, message) in &step.before.messages {
        let not_taken = match message.stage {
            Stage::Offered => step.is_due(TimerKey::Take),
            Stage::Taken => step.is_due(TimerKey::Turnless) && message.turn.is_none(),
            _ => overdue,
        };
        if not_taken {
            feed.message(*id, "not taken");
        }
    }
    if overdue {
        step.books.some_over().for_each(|id| feed.message(id, "not taken"));
    }
    if step.is_due(TimerKey::Ambiguous) {
        let alone = step.before.at_stage(Stage::Ambiguous).count() == 1;
        for (id, message) in &step.before.messages {
            if alone || message.stage != Stage::Ambiguous {
                feed.message(*id, "long in doubt");
            }
        }
        step.books.some_over().for_each(|id| feed.message(id, "long in doubt"));
    }
}

fn is_known(step: &Step<'_>, id: MessageId) -> bool {
    step.before.messages.contains_key(&id) || step.books.over.contains_key(&id)
}

fn arrive(step: &Step<'_>, feed: &mut Feed) {
    let mut arrives = |message: &Incoming| {
        // What is not for us, does not fit, or is somebody's already is not taken in.
        if is_known(step, message.id) || step.after.messages.contains_key(&message.id) {
            feed.message(message.id, "arrives");
        }
    };
    if let Some(RelayEvent::MessageNew(message)) = step.relay_event() {
        arrives(message);
    }
    for answer in &step.answers {
        if let (Some(OpResult::Unread { messages, .. }), false) = (answer.result, step.before.ends()) {
            messages.iter().for_each(&mut arrives);
        }
    }
}

/// Nothing keeps the provider from being offered something: that shows by an offer, and where an operation of the
/// adapter is over.
fn gate(step: &Step<'_>, feed: &mut Feed) {
    let offered: Vec<MessageId> = step.offered().collect();
    let frees = |answer: &Answered<'_>| matches!(answer.act(), Some(Act::Compact | Act::Clear | Act::Inject { .. }));
    let free = step.answers.iter().any(frees);
    for (id, message) in &step.before.messages {
        match message.stage {
            Stage::Held | Stage::Claimed => {
                let granted = step.answers.iter().any(|answer| {
                    let granted = matches!(answer.result, Some(OpResult::Granted { .. }));
                    granted && answer.call() == Some(&Call::Claim { message: *id })
                });
                let doubted = step.doubted;
                if offered.contains(id) && !(granted && message.stage == Stage::Held) && !doubted {
                    feed.message(*id, "gate opens");
                } else if offered.contains(id) && doubted {
                    feed.message(*id, "turn doubted");
                }
            }
            _ if free || (!offered.is_empty() && !offered.contains(id)) => feed.message(*id, "gate opens"),
            _ => {}
        }
    }
    if free || !offered.is_empty() {
        step.books.some_over().for_each(|id| feed.message(id, "gate opens"));
    }
}

fn provider(step: &Step<'_>, feed: &mut Feed) {
    let evidence = |offers: &[TakenOffer], event: &'static str, feed: &mut Feed| {
        for offer in offers {
            match step.before.messages.get(&offer.message) {
                Some(Message { stage: Stage::Offered | Stage::Ambiguous, nonce, .. })
                    if offer.nonce.is_some_and(|named| named != *nonce) => {}
                _ if is_known(step, offer.message) => feed.message(offer.message, event),
                _ => {}
            }
        }
    };
    match step.report() {
        Some(ProviderReport::Taken { offers, .. }) => evidence(offers, "taken", feed),
        Some(ProviderReport::Missed { offers }) => evidence(offers, "missed", feed),
        _ => {}
    }
    let probed = |answer: &Answered<'_>| matches!(answer.act(), Some(Act::Probe)) && answer.failure().is_none();
    if step.answers.iter().any(probed) || matches!(step.report(), Some(ProviderReport::SignOfLife)) {
        all(step, "sign of life", feed, |_| true);
    } else if step.shows_life() && step.books.unverified {
        // Whatever else it says brings back what its turn had.
        all(step, "sign of life", feed, |message| {
            message.stage == Stage::Ambiguous && message.turn == step.before.turn
        });
    }
}

/// Everything that there is, and what is over, hears it.
fn all(step: &Step<'_>, event: &'static str, feed: &mut Feed, about: impl Fn(&Message) -> bool) {
    let here = step.before.messages.iter().filter(|(_, message)| about(message));
    here.for_each(|(id, _)| feed.message(*id, event));
    step.books.some_over().for_each(|id| feed.message(id, event));
}

fn turns(step: &Step<'_>, feed: &mut Feed) {
    if step.exits {
        return;
    }
    let of_turn = |message: &Message| message.turn.is_some() && message.turn == step.before.turn;
    let has = |message: &Message| matches!(message.stage, Stage::Taken | Stage::Ambiguous);
    if let Some(how) = step.ended {
        let by_person = step.status().is_some_and(|report| report.end == TurnEnd::Interrupted { by_person: true });
        let event = match how {
            "normally" => "turn ends",
            "interrupted" if by_person => "interrupted",
            _ if step.books.interrupting => "makes way",
            _ => "turn fails",
        };
        if step.began {
            // The end of the one before was not seen.
            let seen = |message: &Message| message.stage == Stage::Taken && of_turn(message);
            all(step, event, feed, |message| has(message) && seen(message));
        } else {
            let heard = |message: &Message| of_turn(message) || event == "turn ends" || message.stage != Stage::Taken;
            all(step, event, feed, heard);
        }
    }
    if step.began {
        let before = |message: &Message| step.ended.is_some() && message.stage == Stage::Taken && of_turn(message);
        all(step, "turn begins", feed, |message| !before(message));
    }
    if step.doubted {
        all(step, "turn doubted", feed, |message| !matches!(message.stage, Stage::Held | Stage::Claimed));
    }
}

fn taken_over(step: &Step<'_>, id: MessageId, feed: &mut Feed) {
    let noted = |note: &Note| matches!(note, Note::TakenOver { message, .. } if *message == id);
    if step.notes(noted) {
        feed.message(id, "taken over");
    }
}

/// What takes messages away from here, or from the provider.
fn leaves(step: &Step<'_>, feed: &mut Feed) {
    match step.relay_event() {
        Some(RelayEvent::MessageDeleted { message }) if is_known(step, *message) => feed.message(*message, "deleted"),
        Some(RelayEvent::Task { message, cancelled: true, .. }) if is_known(step, *message) => {
            feed.message(*message, "taken over");
        }
        Some(RelayEvent::MessageClaimed { message, .. }) => taken_over(step, *message, feed),
        _ => {}
    }
    if step.another_relay {
        all(step, "another relay", feed, |_| true);
    }
    let failed = step.is_due(TimerKey::Stop) && step.before.process == "killing";
    if step.gives_back {
        all(step, "given back", feed, |_| true);
    } else if step.exits {
        all(step, "exit", feed, |_| true);
    } else if failed && step.before.ends() {
        // It counts as gone.
        step.before.messages.keys().for_each(|id| feed.is_unclear("message", Which::Message(*id)));
    }
    if matches!(step.event, Event::Boot) {
        step.before.messages.keys().for_each(|id| feed.is_unclear("message", Which::Message(*id)));
    }
}
