//! The link, the credential, and its standing.

use relay_runner_core::event::{BusFrame, Event, FailureKind, LinkReport, OpResult, Order};
use relay_runner_core::{Call, Effect, TimerKey};
use relay_runner_protocol::ErrorCode;

use super::{Feed, Step};
use crate::coverage::step::Answered;

pub(super) fn feed(step: &Step<'_>, feed: &mut Feed) {
    link(step, feed);
    credential(step, feed);
    standing(step, feed);
}

fn link(step: &Step<'_>, feed: &mut Feed) {
    let (before, after) = (step.before, step.after);
    let link = "link";
    if is_control_up(step) {
        feed.one(link, "control up");
    }
    reports(step, feed);
    let forgotten = |answer: &Answered<'_>| answer.result == Some(&OpResult::Pruned);
    if step.answers.iter().any(forgotten) {
        feed.one(link, "pruned");
    }
    if step.superseded() {
        feed.one(link, "superseded");
    }
    if step.is_due(TimerKey::Register) {
        feed.one(link, "overdue");
    }
    if step.is_due(TimerKey::Reconnect) {
        feed.one(link, "retry");
    }
    if step.orders("agent.reconnect") {
        feed.one(link, "reconnect");
    }
    if step.uses_another_token() {
        feed.one(link, "new credential");
    }
    if renewal(step).is_some_and(|answer| answer.failure().is_some()) && before.standing != "good" {
        feed.one(link, "renewal failed");
    }
    let leaves = !matches!(before.ending, "leaving" | "over") && matches!(after.ending, "leaving" | "over");
    if before.ending != "over" && (after.ending == "over" || leaves && before.link != "up") {
        feed.one(link, "end");
    }
}

/// The control server listens, and the run goes on.
fn is_control_up(step: &Step<'_>) -> bool {
    let up = |answer: &Answered<'_>| {
        matches!(answer.asked.effect, Effect::StartControl { .. }) && answer.failure().is_none()
    };
    step.answers.iter().any(up)
}

fn reports(step: &Step<'_>, feed: &mut Feed) {
    let link = "link";
    // Where there is no connection, whatever is said is about none.
    let none = matches!(step.before.link, "down" | "waiting" | "closed");
    let report = match step.event {
        Event::Link(_, report) if none => Some(report),
        _ => step.link_report(),
    };
    match report {
        Some(LinkReport::Opened) => feed.one(link, "opened"),
        Some(LinkReport::Failed(failure)) if failure.kind == FailureKind::Unauthorized => feed.one(link, "refused"),
        Some(LinkReport::Failed(_)) => feed.one(link, "failed"),
        Some(LinkReport::Closed(_)) => feed.one(link, "broke"),
        None => {}
    }
    let frame = match step.event {
        Event::Bus(_, frame) if none => Some(frame),
        _ => step.frame(),
    };
    match frame {
        Some(BusFrame::Registered { .. }) => feed.one(link, "registered"),
        Some(BusFrame::Error { code: ErrorCode::NotRegistered, .. }) => feed.one(link, "not registered"),
        Some(BusFrame::Error { code: ErrorCode::Unauthorized | ErrorCode::ExpiredToken, .. }) => {
            feed.one(link, "refused");
        }
        Some(BusFrame::Error { code: ErrorCode::Superseded, .. }) if none => feed.one(link, "superseded"),
        _ => {}
    }
}

/// The answer to the renewal that is waited for.
fn renewal<'a>(step: &'a Step<'_>) -> Option<&'a Answered<'a>> {
    let is = |answer: &&Answered<'_>| matches!(answer.call(), Some(Call::RenewToken { .. }));
    let answer = step.answers.iter().find(is)?;
    let newest = answer.asked.credential == step.books.credential && step.before.renewal == "renewing";
    newest.then_some(answer)
}

fn credential(step: &Step<'_>, feed: &mut Feed) {
    let (before, after) = (step.before, step.after);
    let credential = "credential";
    if is_control_up(step) {
        feed.one(credential, "boot");
    }
    let doubted = step.refusals().any(|in_force| in_force);
    let renews = step.calls().any(|(_, _, call)| matches!(call, Call::RenewToken { .. }));
    if step.is_due(TimerKey::Renewal) || (step.is_due(TimerKey::Tick) && renews && !doubted) {
        feed.one(credential, "due");
    }
    if doubted {
        feed.one(credential, "doubted");
    }
    for answer in &step.answers {
        if let Some(Call::RenewToken { .. }) = answer.call() {
            let about = renewal(step).is_some() || before.renewal != "renewing";
            match answer.result {
                _ if !about => {}
                Some(OpResult::Token { .. }) => feed.one(credential, "renewed"),
                Some(_) | None => feed.one(credential, "renewal failed"),
            }
        }
    }
    if let Event::Order(Order::Token { .. }) = step.event {
        feed.one(credential, "handed in");
    }
    if !matches!(before.ending, "leaving" | "over") && matches!(after.ending, "leaving" | "over") {
        feed.one(credential, "run leaves");
    }
}

fn standing(step: &Step<'_>, feed: &mut Feed) {
    let standing = "standing";
    for in_force in step.refusals() {
        feed.one(standing, if in_force { "doubted" } else { "late refusal" });
    }
    if step.uses_another_token() {
        feed.one(standing, "new credential");
    }
    if renewal(step).is_some_and(|answer| answer.failure().is_some()) {
        feed.one(standing, "renewal failed");
    }
    if step.registered() && step.books.conn >= step.books.first_conn {
        feed.one(standing, "registered");
    }
}
