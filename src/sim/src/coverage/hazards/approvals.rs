//! Approvals.

use super::Detector;
use crate::coverage::step::Step;

pub(super) const ALL: &[Detector] = &[("stale-approval", stale_approval), ("two-answers", two_answers)];

/// What a decision is about, as it stands before it: its state, or what became of it.
fn decided<'a>(step: &'a Step<'_>) -> Option<&'a str> {
    let ordered = step.order.as_ref().filter(|ordered| ordered.is("agent.permissionDecision"))?;
    let id = ordered.order.params.approval.as_deref()?;
    let open = step.before.approvals.get(id).or_else(|| step.before.approvals_over.get(id));
    Some(open.copied().unwrap_or("new"))
}

/// Nobody asks that any more: its turn or process is over, its time is, or it was answered in the provider.
fn stale_approval(step: &Step<'_>) -> bool {
    matches!(decided(step), Some("turn ended" | "process ended" | "late" | "elsewhere"))
}

/// One decision was made already.
fn two_answers(step: &Step<'_>) -> bool {
    matches!(decided(step), Some("decided" | "deciding"))
}
