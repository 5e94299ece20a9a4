//! What a step changes of the books.

use relay_runner_core::event::{FailureKind, ReportStatus};
use relay_runner_core::{Act, Call, Effect, Generation, MessageId, Note, OpId, Text};
use relay_runner_protocol::Stage;

use crate::coverage::step::Step;

#[derive(Debug, Default)]
pub(in crate::coverage) struct Changes {
    pub(super) closed: Vec<OpId>,
    pub(super) exited: Option<Generation>,
    pub(super) another_relay: bool,
    pub(super) settled: Vec<MessageId>,
    pub(super) gone: Vec<MessageId>,
    pub(super) heard: Vec<(Text, Text)>,
    pub(super) concluded: Vec<(Text, &'static str)>,
    pub(super) effects: Vec<Effect>,
    pub(super) hard: bool,
    pub(super) comes_up: bool,
    pub(super) turn_began: bool,
    pub(super) turn_ended: bool,
    /// What the turn that runs is called, where that was said.
    pub(super) turn_id: Option<Text>,
    pub(super) doubted: bool,
    pub(super) alive: bool,
    pub(super) interrupts: bool,
    pub(super) side: Option<(bool, bool)>,
    pub(super) registered: bool,
    pub(super) jumped: bool,
    pub(super) renewal_lost: Option<bool>,
}

impl Changes {
    pub(in crate::coverage) fn of(step: &Step<'_>) -> Self {
        let mut changes = Self {
            closed: step.answers.iter().map(|answer| answer.op).collect(),
            exited: step.exits.then_some(step.before.generation),
            another_relay: step.another_relay,
            effects: step.fx.effects.clone(),
            hard: step.is_hard(),
            comes_up: step.comes_up,
            turn_began: step.began,
            turn_ended: step.ended.is_some(),
            doubted: step.doubted,
            alive: step.shows_life(),
            registered: step.registered(),
            jumped: step.jumped,
            ..Self::default()
        };
        for note in &step.fx.notes {
            match note {
                Note::Stage { message, stage: Stage::Settled, .. } => changes.settled.push(*message),
                Note::TakenOver { message, .. } => changes.gone.push(*message),
                Note::Command { id, what: what @ ("succeeded" | "failed"), .. } => {
                    changes.concluded.push((id.clone(), what));
                }
                _ => {}
            }
        }
        if let Some(ordered) = step.order.as_ref().filter(|ordered| !ordered.here) {
            changes.heard.push((ordered.order.id.clone(), ordered.order.name.clone()));
        }
        for answer in &step.answers {
            if matches!(answer.call(), Some(Call::RenewToken { .. })) {
                let lost = |kind| matches!(kind, FailureKind::TimedOut | FailureKind::Unreachable);
                changes.renewal_lost = Some(answer.failure().is_some_and(lost));
            }
        }
        changes.interrupts = step.acts().any(|(_, act)| matches!(act, Act::Interrupt));
        if let Some(report) = step.status() {
            let begins = report.status == ReportStatus::Busy;
            match report.reason.as_deref() {
                None if step.began || (begins && report.id.is_some()) => changes.turn_id.clone_from(&report.id),
                Some("subagent") => changes.side = Some((false, begins)),
                Some("compaction") => changes.side = Some((true, begins)),
                _ => {}
            }
        }
        changes
    }
}
