//! What codex shows of itself: turns, their items, and the evidence that is in them.

use super::{Out, Pending, Running, Session};
use crate::provider::codex::asking::Question;
use crate::provider::codex::words::{self, Ended, Item, Notice, Turn};
use relay_runner_core::OpResult;
use relay_runner_core::ProviderReport;
use relay_runner_core::event::{
    ContextConfidence, ContextReport, ContextSource, ExitClass, FailureKind, ReportStatus, StatusReport,
    TimelineReport, TurnEnd,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl Session {
    pub(super) fn noticed(&mut self, notice: Notice) {
        // Subagents have threads of their own, and ask as well.
        let of_another = notice.thread.is_some() && notice.thread != self.thread;
        if of_another && !matches!(notice.what, words::What::Resolved { .. }) {
            return;
        }
        match notice.what {
            words::What::TurnStarted(turn) | words::What::TurnCompleted(turn) if self.has_ended(&turn.id) => {}
            words::What::TurnStarted(turn) => self.turn_started(&turn.id),
            words::What::TurnCompleted(turn) => {
                self.turn_started(&turn.id);
                self.turn_ended(&turn);
                self.go_on();
            }
            words::What::Item { turn, item, ended } => self.item(&turn, item, ended),
            words::What::Context { used, window } => self.report(ProviderReport::Context(ContextReport {
                used,
                window,
                source: ContextSource::Api,
                confidence: ContextConfidence::Exact,
            })),
            words::What::Limit { ends } => self.limit_ends = ends,
            words::What::Resolved { request } => self.resolved(&request),
            words::What::Settings { model, effort } => self.report_model(&model, &effort),
            words::What::ThreadClosed => {
                self.end(ExitClass::Crash, "codex closed the agent's thread".to_owned());
            }
            words::What::BrokenConfig(why) => self.end(
                ExitClass::Refused,
                format!("codex cannot read its config.toml and would go on without it: {why}; mend it, then `relay-runner restart`"),
            ),
            words::What::Trouble { warns, text } => {
                self.note(warns, format!("codex: {text}"));
                if self.turn.is_some() {
                    self.report(ProviderReport::SignOfLife);
                }
            }
            words::What::Nothing => {}
        }
    }

    pub(super) fn turn_started(&mut self, id: &str) {
        if self.turn.as_ref().is_some_and(|running| running.id == id) {
            return;
        }
        self.unseen_end();
        self.turn = Some(Running { id: id.to_owned(), stopped_by_us: false, compacted: false });
        let report = StatusReport { status: ReportStatus::Busy, id: Some(id.into()), ..StatusReport::default() };
        self.report(ProviderReport::Status(Box::new(report)));
        if self.stopping || std::mem::take(&mut self.interrupts_next) {
            self.interrupt(None);
        }
    }

    fn has_ended(&self, turn: &str) -> bool {
        self.ended.as_deref() == Some(turn)
    }

    /// A turn is over, and nobody saw how.
    pub(super) fn unseen_end(&mut self) {
        if let Some(Running { id, .. }) = &self.turn {
            let error = json!({"message": "the turn is over, and codex did not say how it ended"});
            let turn = Turn::failed(id.clone(), error);
            self.turn_ended(&turn);
        }
    }

    pub(super) fn turn_ended(&mut self, turn: &Turn) {
        let running = self.turn.take();
        self.ended = Some(turn.id.clone());
        let (stopped_by_us, compacted) = running.map_or((false, false), |r| (r.stopped_by_us, r.compacted));
        let ended = turn.ended(stopped_by_us);
        match &ended {
            Ended::Limit { why } => {
                let until = self.limit_ends.map(|seconds| seconds.saturating_mul(1_000));
                return self.end(ExitClass::UsageLimit { until }, why.clone());
            }
            Ended::Refused { why } => {
                let why = format!(
                    "{why}; log in with `codex login`, or mend the key of codex's model provider (a variable for it is let \
                     through by environment.allow); then `relay-runner restart`"
                );
                return self.end(ExitClass::Refused, why);
            }
            Ended::Turn(_) => {}
        }
        self.close_questions();
        let Ended::Turn(end) = ended else { return };
        if let Some(op) = self.compacting.take_if(|_| compacted || end != TurnEnd::Normal) {
            match &end {
                TurnEnd::Normal => self.answer(op, OpResult::Ok),
                TurnEnd::Failed { error } => self.fail(op, FailureKind::Provider, error),
                TurnEnd::Interrupted { .. } => {
                    self.fail(op, FailureKind::Provider, "the compaction was interrupted");
                }
            }
        }
        let report = StatusReport {
            status: ReportStatus::Idle,
            id: Some(turn.id.as_str().into()),
            end,
            ..StatusReport::default()
        };
        self.report(ProviderReport::Status(Box::new(report)));
        self.lose(|pending| pending.into.as_deref() == Some(turn.id.as_str()));
        if self.stopping {
            self.out.push(Out::Quiet);
        }
    }

    /// Accepted, and never shown: codex lost it.
    pub(super) fn lose(&mut self, which: impl Fn(&Pending) -> bool) {
        let (lost, kept) = std::mem::take(&mut self.pending).into_iter().partition(which);
        self.pending = kept;
        let lost: Vec<Pending> = lost;
        let mut offers = Vec::new();
        for pending in lost {
            match pending.op {
                // Not even that: it is handed over again like any offer that failed.
                Some(op) => self.fail(op, FailureKind::NotReady, "codex did not get it"),
                None => offers.extend(pending.offers),
            }
        }
        if !offers.is_empty() {
            self.report(ProviderReport::Missed { offers });
        }
    }

    pub(super) fn item(&mut self, turn: &str, item: Item, ended: bool) {
        match item {
            Item::UserMessage { client: Some(client) } => {
                self.turn_started(turn);
                self.showed(&client);
            }
            Item::Compaction { id } => {
                if let Some(running) = self.turn.as_mut().filter(|running| running.id == turn) {
                    running.compacted = true;
                }
                self.work("compaction", &id, None, ended, if ended { "compacted" } else { "compacting" });
            }
            Item::Subagent { id, label, over } => {
                self.work("subagent", &id, label, over, if over { "subagent-ended" } else { "subagent-started" });
            }
            Item::UserMessage { client: None } | Item::Other => self.report(ProviderReport::SignOfLife),
        }
    }

    pub(super) fn work(&mut self, kind: &str, id: &str, label: Option<String>, over: bool, said: &str) {
        let report = StatusReport {
            status: if over { ReportStatus::Idle } else { ReportStatus::Busy },
            reason: Some(kind.into()),
            id: Some(id.into()),
            label: label.map(Into::into),
            timeline: Some(TimelineReport { status: said.into(), id: Some(id.into()), timestamp: None }),
            ..StatusReport::default()
        };
        self.report(ProviderReport::Status(Box::new(report)));
    }

    /// The evidence: a user message with our id. Both its start and its end show it.
    pub(super) fn showed(&mut self, client: &str) {
        while let Some(at) = self.pending.iter().position(|one| words::covers(client, &one.client, &one.offers)) {
            let pending = self.pending.remove(at);
            self.shown(pending);
        }
    }

    pub(super) fn shown(&mut self, pending: Pending) {
        if let Some(op) = pending.op {
            self.answer(op, OpResult::Ok);
        }
        if !pending.offers.is_empty() {
            self.report(ProviderReport::Taken { offers: pending.offers, into_turn: true });
        }
    }

    pub(super) fn resolved(&mut self, request: &Value) {
        let answered = self.questions.iter().find(|(_, question)| question.request() == request);
        if let Some(id) = answered.map(|(id, _)| id.clone()) {
            self.questions.remove(&id);
            self.report(ProviderReport::ApprovalClosed { id: id.into() });
        }
    }

    pub(super) fn close_questions(&mut self) {
        let thread = self.thread.clone();
        let (over, open) = std::mem::take(&mut self.questions)
            .into_iter()
            .partition(|(_, question)| question.is_of(thread.as_deref()));
        self.questions = open;
        let over: BTreeMap<String, Question> = over;
        for id in over.into_keys() {
            self.report(ProviderReport::ApprovalClosed { id: id.into() });
        }
    }
}
