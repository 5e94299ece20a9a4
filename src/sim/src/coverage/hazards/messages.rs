//! Messages, claims, tasks.

use std::collections::BTreeSet;

use relay_runner_core::event::{FailureKind, OpResult, RelayEvent, ReportStatus};
use relay_runner_core::{Act, Call, Effect, MessageId, Note, ProviderReport};
use relay_runner_protocol::{Stage, TaskStatus};

use super::Detector;
use crate::coverage::step::{Answered, Step};

pub(super) const ALL: &[Detector] = &[
    ("mark-read-fails", mark_read_fails),
    ("reconnect-replay", reconnect_replay),
    ("already-read-replay", already_read_replay),
    ("busy-delivery", busy_delivery),
    ("idle-before-delivery", idle_before_delivery),
    ("died-with-task", died_with_task),
    ("died-with-message", died_with_message),
    ("failed-turn", failed_turn),
    ("double-idle", double_idle),
    ("done-report-fails", done_report_fails),
    ("same-task-twice", same_task_twice),
    ("lapsed-lease", lapsed_lease),
    ("lost-lease", lost_lease),
    ("short-lease", short_lease),
    ("renewal-revives-claim", renewal_revives_claim),
    ("claim-answer-lost", claim_answer_lost),
    ("claim-then-fail", claim_then_fail),
    ("taken-over", taken_over),
    ("poison-message", poison_message),
    ("flood", flood),
    ("delivery-hangs", delivery_hangs),
    ("inject-while-delivering", inject_while_delivering),
    ("compact-while-delivering", compact_while_delivering),
    ("first-prompt-race", first_prompt_race),
    ("delivery-during-restart", delivery_during_restart),
    ("shutdown-with-claims", shutdown_with_claims),
    ("lost-subagent-stop", lost_subagent_stop),
    ("lost-post-compact", lost_post_compact),
    ("missing-stop", missing_stop),
    ("id-mismatch", id_mismatch),
];

/// A call of this kind was asked for, and failed.
fn call_fails(step: &Step<'_>, is: impl Fn(&Call) -> bool) -> bool {
    step.answers.iter().any(|answer| answer.failure().is_some() && answer.call().is_some_and(&is))
}

/// The relay does not take the mark.
fn mark_read_fails(step: &Step<'_>) -> bool {
    call_fails(step, |call| matches!(call, Call::Read { .. }))
}

/// Messages that come in this step.
fn arrive(step: &Step<'_>) -> BTreeSet<MessageId> {
    let mut ids = BTreeSet::new();
    if let Some(RelayEvent::MessageNew(message)) = step.relay_event() {
        ids.insert(message.id);
    }
    for answer in &step.answers {
        if let Some(OpResult::Unread { messages, .. }) = answer.result {
            ids.extend(messages.iter().map(|message| message.id));
        }
    }
    ids
}

/// After a further registration something comes that is here, and is with the provider or was.
fn reconnect_replay(step: &Step<'_>) -> bool {
    let here = |id: &MessageId| step.before.messages.get(id).is_some_and(|message| message.attempt > 0);
    step.books.registered > 1 && arrive(step).iter().any(here)
}

/// Something comes that was worked, and that the relay knows to be read by us.
fn already_read_replay(step: &Step<'_>) -> bool {
    arrive(step).iter().any(|id| step.books.over.get(id) == Some(&"settled"))
}

/// A turn ends normally while a message with a task is handed over that it did not have.
fn busy_delivery(step: &Step<'_>) -> bool {
    let other =
        step.before.with_provider().any(|(_, message)| message.task.is_some() && message.turn != step.before.turn);
    step.ended == Some("normally") && step.before.turn.is_some() && other
}

/// The same, and it is only claimed, or being claimed.
fn idle_before_delivery(step: &Step<'_>) -> bool {
    let claimed = step
        .before
        .waiting()
        .any(|(id, message)| message.task.is_some() && message.attempt == 0 && step.before.claims.contains_key(&id));
    step.ended == Some("normally") && claimed
}

/// The process ends, and had a message with a task, or may have had it.
fn died_with_task(step: &Step<'_>) -> bool {
    step.exits && step.before.with_provider().any(|(_, message)| message.task.is_some())
}

/// The same with a message that has none.
fn died_with_message(step: &Step<'_>) -> bool {
    step.exits && step.before.with_provider().any(|(_, message)| message.task.is_none())
}

/// A turn that had a message was interrupted, or failed by itself.
fn failed_turn(step: &Step<'_>) -> bool {
    let had =
        step.before.with_provider().any(|(_, message)| message.turn.is_some() && message.turn == step.before.turn);
    matches!(step.ended, Some("failed" | "interrupted")) && !step.began && !step.exits && had
}

/// The end of a turn is said by a process whose turn has ended.
fn double_idle(step: &Step<'_>) -> bool {
    let ended = step.books.turn_ended == Some(step.before.generation);
    step.turn_report(ReportStatus::Idle).is_some_and(|report| !report.begins_a_session())
        && step.before.turn.is_none()
        && ended
}

/// The end of a task is not accepted.
fn done_report_fails(step: &Step<'_>) -> bool {
    call_fails(step, |call| matches!(call, Call::Task { status: TaskStatus::Done, .. }))
}

/// Two messages of one task are here.
fn same_task_twice(step: &Step<'_>) -> bool {
    let mut tasks = BTreeSet::new();
    let on_its_way = step.after.messages.values().filter(|message| message.attempt > 0);
    on_its_way.filter_map(|message| message.task).any(|task| !tasks.insert(task))
}

/// A lease may be over, and the claim is asked for again.
fn lapsed_lease(step: &Step<'_>) -> bool {
    step.after.claims.iter().any(|(id, after)| {
        let before = step.before.claims.get(id).map(|claim| claim.state);
        let lapses = matches!(before, Some("held" | "renewing" | "lapsed")) && after.state == "asking";
        lapses && after.granted
    })
}

/// It is another's by now.
fn lost_lease(step: &Step<'_>) -> bool {
    step.notes(|note| matches!(note, Note::ClaimLost { .. }))
}

/// A lease of some seconds is made longer before its end.
fn short_lease(step: &Step<'_>) -> bool {
    step.answers.iter().any(|answer| matches!(answer.result, Some(OpResult::Renewed { lease: Some(1..=15_000) })))
}

/// A renewal succeeds, and there is no claim any more that it could be of.
fn renewal_revives_claim(step: &Step<'_>) -> bool {
    step.answers.iter().any(|answer| match (answer.call(), answer.result) {
        (Some(Call::Renew { message, .. }), Some(OpResult::Renewed { .. })) => {
            !step.before.claims.contains_key(message)
        }
        _ => false,
    })
}

/// A claim is asked for under a key under which it was asked for before.
fn claim_answer_lost(step: &Step<'_>) -> bool {
    step.calls().any(|(_, key, call)| match call {
        Call::Claim { message } => step.books.claim_keys.get(message) == Some(&key),
        _ => false,
    })
}

/// A message is claimed, and cannot be handed over.
fn claim_then_fail(step: &Step<'_>) -> bool {
    let fails = |answer: &Answered<'_>| {
        let offered = |message: &MessageId| step.before.claims.contains_key(message);
        answer.failure().is_some() && answer.offers().iter().any(|offer| offered(&offer.message))
    };
    step.answers.iter().any(fails)
}

/// Another took it, or it is gone.
fn taken_over(step: &Step<'_>) -> bool {
    step.notes(|note| matches!(note, Note::TakenOver { .. }))
}

/// An offer that fails is the last one.
fn poison_message(step: &Step<'_>) -> bool {
    let fails = step.answers.iter().any(|answer| answer.failure().is_some() && !answer.offers().is_empty());
    fails && step.notes(|note| matches!(note, Note::Stage { stage: Stage::SetAside, .. }))
}

/// What does not fit waits on the relay.
fn flood(step: &Step<'_>) -> bool {
    !step.before.overflow && step.after.overflow && step.after.messages.len() >= step.core.config().limits.held
}

/// An offer had no answer.
fn delivery_hangs(step: &Step<'_>) -> bool {
    step.answers.iter().any(|answer| answer.result.is_none() && !answer.offers().is_empty())
}

fn is_handing_over(step: &Step<'_>) -> bool {
    let offer = |effect: &Effect| matches!(effect, Effect::Provider { act: Act::Offer { .. }, .. });
    step.books.asked.values().any(|asked| asked.open && offer(&asked.effect))
}

/// An injection is asked for while an offer is handed over.
fn inject_while_delivering(step: &Step<'_>) -> bool {
    step.orders("agent.injectContext") && is_handing_over(step) && step.core.config().adapter.inject
}

/// A compaction is asked for while an offer is handed over.
fn compact_while_delivering(step: &Step<'_>) -> bool {
    step.orders("agent.compact") && is_handing_over(step) && step.core.config().adapter.compact
}

/// Messages wait, or an operation does, while the first prompt is said.
fn first_prompt_race(step: &Step<'_>) -> bool {
    let waits =
        step.after.waiting().next().is_some() || step.after.commands.iter().any(|order| order.state == "queued");
    matches!(step.after.prompt, "saying" | "said") && step.after.is_up() && waits
}

/// Something waits to be offered while the process is being stopped for a restart.
fn delivery_during_restart(step: &Step<'_>) -> bool {
    let waits = step.after.waiting().next().is_some();
    step.after.is_stopping() && step.after.waits("agent.restart") && waits
}

/// The run's end is asked for while something is claimed.
fn shutdown_with_claims(step: &Step<'_>) -> bool {
    let granted = step.before.claims.values().any(|claim| claim.granted);
    !step.before.ends() && step.after.ends() && step.after.why != Some("step aside") && granted
}

/// A turn, or its process, ends with an agent that it has begun and not ended.
fn lost_subagent_stop(step: &Step<'_>) -> bool {
    step.books.subagent && (step.ended.is_some() || step.exits)
}

/// The same with a compaction.
fn lost_post_compact(step: &Step<'_>) -> bool {
    step.books.compaction && (step.ended.is_some() || step.exits)
}

/// A turn begins, or something new is taken, and the end of the turn before was not seen; or a turn cannot be confirmed.
fn missing_stop(step: &Step<'_>) -> bool {
    let taken = matches!(step.report(), Some(ProviderReport::Taken { .. }));
    step.doubted || (step.ended == Some("failed") && (step.began || taken))
}

/// A turn that has an id is ended by an idle that has none.
fn id_mismatch(step: &Step<'_>) -> bool {
    let nameless = step.turn_report(ReportStatus::Idle).is_some_and(|report| report.id.is_none());
    nameless && step.ended.is_some() && step.books.turn_id.is_some()
}

/// Whether a failure leaves open what became of the call.
pub(super) fn is_lost(answer: &Answered<'_>) -> bool {
    answer.failure().is_some_and(FailureKind::is_unknown)
}
