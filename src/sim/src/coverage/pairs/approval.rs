//! Questions of the provider.

use relay_runner_core::event::{Event, Order};
use relay_runner_core::{Act, Effect, ProviderReport, Text, TimerKey};

use super::{Feed, Step};

pub(super) fn feed(step: &Step<'_>, feed: &mut Feed) {
    let approval = "approval";
    if let Some(ProviderReport::ApprovalOpened(request)) = step.report() {
        feed.named(approval, &request.id, "is asked");
    }
    if let Event::Order(Order::Permission { ask, .. }) = step.event {
        feed.named(approval, &ask.approval.id, "is asked");
    }
    if step.orders("agent.permissionDecision")
        && let Some(ordered) = &step.order
        && let Some(id) = &ordered.order.params.approval
    {
        feed.named(approval, id, "decision");
    }
    for answer in &step.answers {
        if let Some(Act::Decide { approval: id, .. }) = answer.act() {
            feed.named(approval, id, if answer.failure().is_some() { "not confirmed" } else { "confirmed" });
        }
    }
    if let Some(ProviderReport::ApprovalClosed { id }) = step.report() {
        feed.named(approval, id, "answered elsewhere");
    }
    let open: Vec<Text> = step.before.approvals.keys().map(|id| id.as_str().into()).collect();
    let over: Vec<Text> = step.before.approvals_over.keys().map(|id| id.as_str().into()).collect();
    let becomes = |id: &Text, how: &str| step.after.approvals_over.get(&**id).is_some_and(|is| *is == how);
    // Whose turn it was is the core's to know.
    if step.ended.is_some() && !step.exits {
        let of_turn = open.iter().filter(|id| becomes(id, "turn ended"));
        of_turn.chain(&over).for_each(|id| feed.named(approval, id, "turn ends"));
    }
    if step.exits {
        open.iter().chain(&over).for_each(|id| feed.named(approval, id, "exit"));
    }
    if step.is_due(TimerKey::Approvals) {
        let held = |id: &Text| step.before.approvals.get(&**id) == Some(&"held");
        let about = open.iter().filter(|id| !held(id) || becomes(id, "late"));
        about.chain(&over).for_each(|id| feed.named(approval, id, "time over"));
    }
    is_stopped(step, feed, &open);
}

/// A process that cannot be stopped counts as gone: its questions are over, and no exit was heard.
fn is_stopped(step: &Step<'_>, feed: &mut Feed, open: &[Text]) {
    let failed = step.is_due(TimerKey::Stop) && step.before.process == "killing";
    let ends = step.fx.effects.iter().any(|effect| matches!(effect, Effect::Finish { .. }));
    if failed || ends {
        for id in open {
            feed.is_unclear("approval", super::Which::Named(id.clone()));
        }
    }
}
