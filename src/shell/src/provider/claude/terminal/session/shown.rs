//! What Claude Code shows of itself: its hooks, the lines of its transcript, and the turns that both are about.

use super::typing::What;
use super::{Failing, LIVES_EVERY, Out, Phase, RESTS_AFTER, Session, TOGETHER, Turn};
use crate::provider::claude::failures::{self, Meaning};
use crate::provider::claude::terminal::transcript::Entry;
use relay_runner_core::event::{
    ContextConfidence, ContextReport, ContextSource, ExitClass, FailureKind, ReportStatus, StatusReport, TakenOffer,
    TimelineReport, TurnEnd,
};
use relay_runner_core::format::offers_in;
use relay_runner_core::{OpResult, ProviderReport};
use serde_json::{Map, Value};

impl Session {
    pub(super) fn hook(&mut self, event: &str, payload: &Map<String, Value>) {
        let text = |name: &str| payload.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let turn = text("prompt_id").map(str::to_owned);
        match event {
            "SessionStart" => {
                if let Some(id) = text("session_id") {
                    self.is_in(id);
                }
                if let Some(model) = text("model") {
                    self.uses(model.to_owned(), None);
                }
                if text("source") == Some("clear") {
                    self.has_taken(&What::Clear);
                    if let Some(op) = self.clearing.take() {
                        self.answer(op, OpResult::Ok);
                    }
                }
                if self.phase == Phase::Starting {
                    self.is_ready();
                }
            }
            "UserPromptSubmit" => {
                if self.turn.as_ref().is_some_and(|running| running.failing.is_some() && running.id != turn) {
                    // What is known of it by now is all that can be told before the next begins.
                    self.turn_failed();
                    if self.phase == Phase::Done {
                        return;
                    }
                }
                self.interrupting = false;
                match &mut self.turn {
                    Some(running) if running.id.is_none() || running.id == turn => running.id = turn,
                    Some(_) | None => {
                        self.turn = Some(Turn { id: turn, ..Turn::default() });
                        self.failure = None;
                    }
                }
                let prompt = text("prompt").unwrap_or_default();
                let shown: Vec<_> = offers_in(prompt).collect();
                self.pending.retain(|pending| {
                    let is =
                        |(id, nonce): &(u64, _)| *id == pending.offer.message && Some(*nonce) == pending.offer.nonce;
                    !shown.iter().any(is)
                });
            }
            "Stop" => {
                self.interrupting = false;
                if let Some(turn) = &mut self.turn {
                    turn.rests_at = Some(self.now + RESTS_AFTER);
                }
            }
            "StopFailure" => {
                self.interrupting = false;
                let class = text("error").unwrap_or("unknown").to_owned();
                let running = self.turn.get_or_insert_default();
                running.id = turn.or_else(|| running.id.take());
                let known = self.failure.is_some();
                running.failing = Some(Failing { class, until: self.now + TOGETHER });
                if known {
                    self.turn_failed();
                }
            }
            "PostCompact" => {
                self.has_taken(&What::Compact);
                if let Some(op) = self.compacting.take() {
                    self.answer(op, OpResult::Ok);
                }
            }
            _ => {}
        }
    }

    /// The conversation that it is in: another one after it was cleared.
    pub(super) fn is_in(&mut self, id: &str) {
        if self.conversation != id {
            id.clone_into(&mut self.conversation);
            if self.phase == Phase::Live {
                self.used = None;
                self.out.push(Out::Follow(id.to_owned()));
                self.report(ProviderReport::Conversation { id: id.into() });
            }
        }
    }

    fn uses(&mut self, model: String, effort: Option<String>) {
        let effort = effort.or_else(|| self.model.as_ref().and_then(|(_, effort)| effort.clone()));
        let now = Some((model, effort));
        if self.model != now {
            self.model = now;
            if let Some((model, effort)) = self.model.clone() {
                self.report(ProviderReport::Model { model: model.into(), effort: effort.map(Into::into) });
            }
        }
    }

    pub(super) fn entry(&mut self, entry: Entry) {
        match entry {
            Entry::Prompt { turn, offers } => self.prompt(turn, &offers),
            Entry::Queued { offers } => {
                for pending in self.pending.iter_mut().filter(|pending| offers.contains(&pending.offer)) {
                    pending.lost_at = None;
                }
            }
            Entry::Spoke { model, effort, used, window } => self.spoke(model, effort, used, window),
            Entry::Ended => match &mut self.turn {
                Some(turn) if turn.rests_at.is_some() => self.turn_rests(),
                Some(turn) => turn.ends_at = Some(self.now + TOGETHER),
                None => {}
            },
            Entry::Interrupted { turn } => self.interrupted(turn),
            Entry::Refused { words } => self.refused(&words),
            Entry::Failed(failure) => {
                // Of a turn that was told to have failed already, without its words.
                let Some(running) = &mut self.turn else { return };
                self.failure = Some(failure);
                let hooked = running.failing.is_some();
                running.failing.get_or_insert(Failing { class: String::new(), until: self.now + TOGETHER });
                if hooked {
                    self.turn_failed();
                }
            }
        }
    }

    /// A command was entered, and comes to nothing: no hook says so.
    fn refused(&mut self, words: &str) {
        for what in [What::Compact, What::Clear] {
            self.has_taken(&what);
        }
        if let Some(op) = self.compacting.take() {
            self.fail(op, FailureKind::Provider, words);
            self.status(StatusReport { reason: Some("compaction".into()), ..StatusReport::default() });
        }
        if let Some(op) = self.clearing.take() {
            self.fail(op, FailureKind::Provider, words);
        }
    }

    /// A prompt that is in the transcript was said by its hook before; if not, that was lost.
    fn prompt(&mut self, turn: Option<String>, offers: &[TakenOffer]) {
        // An end that stands before it was that of an earlier turn: it is written after the hook of that, and read late.
        if let Some(running) = &mut self.turn {
            running.ends_at = None;
        }
        let (shown, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|pending| offers.contains(&pending.offer));
        self.pending = kept;
        let is_known =
            turn.is_none() || turn == self.last || self.turn.as_ref().is_some_and(|running| running.id == turn);
        if shown.is_empty() {
            // One that a person queued begins a turn without any hook.
            if !is_known {
                self.begin(turn);
            }
            return;
        }
        self.begin(turn);
        let offers = shown.into_iter().map(|pending| pending.offer).collect();
        self.report(ProviderReport::Taken { offers, into_turn: true });
    }

    pub(super) fn begin(&mut self, id: Option<String>) {
        self.status(StatusReport {
            status: ReportStatus::Busy,
            id: id.as_deref().map(Into::into),
            ..StatusReport::default()
        });
        self.failure = None;
        self.turn = Some(Turn { id, ..Turn::default() });
    }

    pub(super) fn spoke(&mut self, model: String, effort: Option<String>, used: u64, window: u64) {
        if !model.starts_with('<') {
            self.uses(model, effort);
            if used > 0 && self.used != Some((used, window)) {
                self.used = Some((used, window));
                let (source, confidence) = (ContextSource::Estimate, ContextConfidence::Reported);
                self.report(ProviderReport::Context(ContextReport { used, window, source, confidence }));
            }
        }
        if let Some(turn) = &mut self.turn {
            turn.rests_at = None;
        }
        if self.turn.is_some() && self.now >= self.lived_at + LIVES_EVERY {
            self.lived_at = self.now;
            self.report(ProviderReport::SignOfLife);
        }
    }

    fn interrupted(&mut self, turn: Option<String>) {
        let by_person = !std::mem::take(&mut self.interrupting);
        let running = self.turn.take();
        let id = turn.or_else(|| running.as_ref().and_then(|running| running.id.clone()));
        // The next may have begun before this is read.
        let next = running.filter(|running| running.id.is_some() && running.id != id);
        self.turn = Some(Turn { id, ..Turn::default() });
        self.turn_over(TurnEnd::Interrupted { by_person });
        self.turn = next;
        self.escaped();
    }

    pub(super) fn turn_over(&mut self, end: TurnEnd) {
        let id = self.turn.take().and_then(|turn| turn.id);
        self.last.clone_from(&id);
        self.watched_until = self.now + TOGETHER;
        self.failure = None;
        let timeline = matches!(end, TurnEnd::Failed { .. }).then(|| TimelineReport {
            status: "turn-failed".into(),
            id: None,
            timestamp: None,
        });
        self.status(StatusReport {
            status: ReportStatus::Idle,
            id: id.as_deref().map(Into::into),
            end,
            timeline,
            ..StatusReport::default()
        });
    }

    /// Its end was said, and is in the transcript. A prompt that waited may begin another at once.
    pub(super) fn turn_rests(&mut self) {
        self.last = self.turn.take().and_then(|turn| turn.id);
        self.watched_until = self.now + TOGETHER;
    }

    /// All is known of a failed turn that will be: its hook, its line in the transcript, or one of them.
    pub(super) fn turn_failed(&mut self) {
        let class = self.turn.as_mut().and_then(|turn| turn.failing.take()).map(|failing| failing.class);
        let failure = self.failure.take().unwrap_or_default();
        let class = class.filter(|class| !class.is_empty()).unwrap_or_else(|| failure.class.clone());
        let kind = failure.limit.map(|_| failures::USAGE_LIMIT);
        match failures::meaning(&failure.words, Some(&class), kind) {
            Meaning::Turn(end) => self.turn_over(end),
            // Whoever sits before it sees what it says, and it goes on by itself or by them.
            Meaning::Limit { why } | Meaning::Refused { why } if !self.opening.typed => {
                self.turn_over(TurnEnd::Failed { error: why.into() });
            }
            Meaning::Limit { why } => {
                let ends = failure.limit.and_then(|limit| limit.ends);
                let until = ends.map(|seconds| seconds.saturating_mul(1_000));
                self.end(ExitClass::UsageLimit { until }, why);
            }
            Meaning::Refused { why } => self.end(ExitClass::Refused, why),
        }
    }
}
