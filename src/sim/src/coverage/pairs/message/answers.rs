//! Answers that are about messages.

use relay_runner_core::event::{FailureKind, OpResult};
use relay_runner_core::{Call, MessageId, Note};
use relay_runner_protocol::Stage;

use super::{Feed, Step, Which, is_known, taken_over};
use crate::coverage::step::Answered;

pub(super) fn answered(step: &Step<'_>, answer: &Answered<'_>, feed: &mut Feed) {
    let failure = answer.failure();
    for offer in answer.offers() {
        let event = match failure {
            None => "handed over",
            Some(FailureKind::NotReady) => "not ready",
            Some(FailureKind::TimedOut | FailureKind::Unreachable) => "no answer",
            Some(_) => "offer fails",
        };
        match step.before.messages.get(&offer.message) {
            // Offered again meanwhile: it is about an older offer.
            Some(message) if message.stage == Stage::Offered && message.nonce != offer.nonce => {}
            _ if is_known(step, offer.message) => feed.message(offer.message, event),
            _ => {}
        }
    }
    match answer.call() {
        Some(Call::Claim { message }) => claim_answered(step, *message, answer, feed),
        Some(Call::Renew { message, .. }) if step.before.claims.contains_key(message) => {
            let lost = matches!(answer.result, Some(OpResult::Refused { .. }))
                || matches!(failure, Some(FailureKind::Conflict | FailureKind::NotFound));
            if lost {
                feed.is_unclear("message", Which::Message(*message));
                taken_over(step, *message, feed);
            }
        }
        Some(Call::Task { message, status, .. }) => {
            let claimed = step.before.claims.contains_key(message);
            match failure {
                None => accepted(step, *message, feed),
                Some(FailureKind::Invalid | FailureKind::NotFound) if status.is_final() && claimed => {
                    feed.message(*message, "end refused");
                }
                Some(FailureKind::Conflict) if claimed => taken_over(step, *message, feed),
                Some(_) => may_settle(step, *message, feed),
            }
            others_of_the_task(step, *message, feed);
        }
        Some(Call::Read { message } | Call::Delivery { message, .. } | Call::Release { message, .. }) => {
            if failure.is_none() {
                accepted(step, *message, feed);
            } else {
                may_settle(step, *message, feed);
            }
        }
        _ => {}
    }
}

/// Once a task has ended, its other worked messages may be settled as well.
fn others_of_the_task(step: &Step<'_>, message: MessageId, feed: &mut Feed) {
    let task = step.before.messages.get(&message).and_then(|message| message.task);
    for (id, other) in &step.before.messages {
        if *id != message && other.task == task && task.is_some() && other.stage == Stage::Worked {
            feed.is_unclear("message", Which::Message(*id));
        }
    }
}

fn accepted(step: &Step<'_>, id: MessageId, feed: &mut Feed) {
    let worked = step.before.messages.get(&id).is_some_and(|message| message.stage == Stage::Worked);
    let settled = |note: &Note| matches!(note, Note::Stage { message, stage: Stage::Settled, .. } if *message == id);
    if is_known(step, id) && (!worked || step.notes(settled)) {
        feed.message(id, "accepted");
    }
}

/// A report that the relay refuses for good is given up: what waited for it alone is settled.
fn may_settle(step: &Step<'_>, id: MessageId, feed: &mut Feed) {
    if !step.after.messages.contains_key(&id) {
        feed.is_unclear("message", Which::Message(id));
    }
}

fn claim_answered(step: &Step<'_>, id: MessageId, answer: &Answered<'_>, feed: &mut Feed) {
    let (Some(claim), Some(message)) = (step.before.claims.get(&id), step.before.messages.get(&id)) else { return };
    if claim.state != "asking" || answer.is_followed(step.books) {
        return;
    }
    let final_no = |kind: FailureKind| {
        matches!(
            kind,
            FailureKind::NotFound
                | FailureKind::Superseded
                | FailureKind::Conflict
                | FailureKind::Expired
                | FailureKind::Invalid
        )
    };
    match answer.result {
        Some(OpResult::Granted { .. }) if message.stage == Stage::Held || !step.offered().any(|m| m == id) => {
            feed.message(id, "granted");
        }
        Some(OpResult::Refused { by }) if message.stage == Stage::Worked => {
            // It may be our own, of a task that we ended.
            let ours = by.as_ref() == Some(&step.core.config().identity.agent_id);
            if ours {
                feed.is_unclear("message", Which::Message(id));
            } else {
                taken_over(step, id, feed);
            }
            others_of_the_task(step, id, feed);
        }
        _ if matches!(answer.result, Some(OpResult::Refused { .. })) || answer.failure().is_some_and(final_no) => {
            if claim.granted {
                taken_over(step, id, feed);
            } else {
                feed.message(id, "refused");
            }
        }
        _ => {}
    }
}
