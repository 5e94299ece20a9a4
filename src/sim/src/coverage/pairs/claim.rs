//! Claims.

use relay_runner_core::event::{FailureKind, OpResult, RelayEvent};
use relay_runner_core::{Call, MessageId, Note, TimerKey};
use relay_runner_protocol::Stage;

use super::{Feed, Step, Which};
use crate::coverage::step::Answered;

pub(super) fn feed(step: &Step<'_>, feed: &mut Feed) {
    for (_, _, call) in step.calls() {
        if let Call::Claim { message } = call
            && !step.before.claims.contains_key(message)
            && step.after.claims.contains_key(message)
        {
            feed.claim(*message, "wanted");
        }
    }
    for answer in &step.answers {
        match answer.call() {
            Some(Call::Claim { message }) => asked(step, *message, answer, feed),
            Some(Call::Renew { message, .. }) => renewed(step, *message, answer, feed),
            Some(Call::Task { message, status, .. }) => match answer.failure() {
                Some(FailureKind::Conflict) => feed.claim(*message, "report refused"),
                Some(FailureKind::Expired) => feed.claim(*message, "report expired"),
                Some(FailureKind::Invalid | FailureKind::NotFound) if status.is_final() => {
                    // The end of its task is refused for good, and its claim is forgotten.
                    feed.is_unclear("claim", Which::Message(*message));
                }
                _ => {}
            },
            _ => {}
        }
    }
    due(step, feed);
    relay(step, feed);
    settled(step, feed);
    if step.gives_back {
        step.before.claims.keys().for_each(|id| feed.claim(*id, "given back"));
    }
}

fn asked(step: &Step<'_>, id: MessageId, answer: &Answered<'_>, feed: &mut Feed) {
    let event = match answer.result {
        Some(OpResult::Granted { .. }) => "granted",
        Some(OpResult::Refused { by }) => {
            // It may be our own, of a task that we ended.
            if by.as_ref() == Some(&step.core.config().identity.agent_id) {
                feed.is_unclear("claim", Which::Message(id));
            }
            "refused"
        }
        _ => match answer.failure() {
            Some(
                FailureKind::NotFound
                | FailureKind::Superseded
                | FailureKind::Conflict
                | FailureKind::Expired
                | FailureKind::Invalid,
            ) => "refused",
            _ => "no answer",
        },
    };
    let asking = step.before.claims.get(&id).is_some_and(|claim| claim.state == "asking");
    if !asking || !answer.is_followed(step.books) {
        feed.claim(id, event);
    }
}

fn renewed(step: &Step<'_>, id: MessageId, answer: &Answered<'_>, feed: &mut Feed) {
    let event = match (answer.result, answer.failure()) {
        (Some(OpResult::Renewed { .. }), _) => "renewed",
        (Some(OpResult::Refused { .. }), _) | (_, Some(FailureKind::Conflict | FailureKind::NotFound)) => {
            "renewal refused"
        }
        (_, Some(FailureKind::Expired)) => "renewal expired",
        _ => "not renewed",
    };
    let renewing = step.before.claims.get(&id).is_some_and(|claim| claim.state == "renewing");
    if !renewing || !answer.is_followed(step.books) {
        feed.claim(id, event);
    }
}

/// Which of them were due is the core's to know: it shows by what became of them.
fn due(step: &Step<'_>, feed: &mut Feed) {
    // A renewal that fails has all of them looked at.
    let renewal =
        |answer: &Answered<'_>| matches!(answer.call(), Some(Call::Renew { .. })) && answer.failure().is_some();
    if !step.is_due(TimerKey::Claims) && !step.answers.iter().any(renewal) {
        return;
    }
    for (id, before) in &step.before.claims {
        let after = step.after.claims.get(id).map(|claim| claim.state);
        let due = matches!(
            (before.state, after),
            ("held", Some("renewing" | "asking" | "lapsed"))
                | ("renewing", Some("asking" | "lapsed"))
                | ("lapsed", Some("asking"))
        );
        let answered = step
            .answers
            .iter()
            .any(|answer| matches!(answer.call(), Some(Call::Renew { message, .. }) if message == id));
        if due && !answered {
            feed.claim(*id, "due");
        }
    }
}

fn relay(step: &Step<'_>, feed: &mut Feed) {
    match step.relay_event() {
        Some(RelayEvent::MessageClaimed { message, by: Some(by) })
            if *by != step.core.config().identity.agent_id && step.before.claims.contains_key(message) =>
        {
            feed.claim(*message, "claimed by another");
        }
        Some(RelayEvent::MessageDeleted { message } | RelayEvent::Task { message, cancelled: true, .. })
            if step.before.claims.contains_key(message) =>
        {
            feed.claim(*message, "taken over");
        }
        _ => {}
    }
    if step.another_relay {
        step.before.claims.keys().for_each(|id| feed.claim(*id, "another relay"));
    } else if step.registered() && !step.before.ends() {
        step.before.claims.keys().for_each(|id| feed.claim(*id, "registered again"));
    }
}

/// All that is owed is accepted: the claim is forgotten.
fn settled(step: &Step<'_>, feed: &mut Feed) {
    let accepted = step.answers.iter().any(|answer| answer.call().is_some() && answer.failure().is_none());
    for (id, message) in &step.before.messages {
        if !step.before.claims.contains_key(id) || step.after.claims.contains_key(id) {
            continue;
        }
        let settled = |note: &Note| matches!(note, Note::Stage { message, stage: Stage::Settled, .. } if message == id);
        if step.notes(settled) || accepted && matches!(message.stage, Stage::Worked | Stage::SetAside) {
            feed.claim(*id, "settled");
        } else if matches!(message.stage, Stage::Worked | Stage::SetAside) && !step.gives_back && !step.another_relay {
            // What was owed was given up.
            let taken_over = |note: &Note| matches!(note, Note::TakenOver { message, .. } if message == id);
            if !step.notes(taken_over) {
                feed.is_unclear("claim", Which::Message(*id));
            }
        }
    }
}
