//! What Claude Code is asked for, and what it asks for itself.

use super::asking::{self, Question, Read};
use super::{Ask, Call, Command, Out, Pending, Phase, Session, What};
use crate::provider::claude::stream::words;
use relay_runner_core::effect::Decision;
use relay_runner_core::event::FailureKind;
use relay_runner_core::{OpId, OpResult, ProviderReport};
use serde_json::{Value, json};

impl Session {
    pub(super) fn asked(&mut self, op: OpId, ask: Ask) {
        if self.phase != Phase::Live || self.stopping {
            let why = if self.stopping { "claude is being stopped" } else { "claude cannot be reached" };
            return self.fail(op, FailureKind::NotReady, why);
        }
        match ask {
            Ask::Offer { offers, text } => self.hand_over(op, What::Offers(offers), &text),
            Ask::Prompt { text } => self.hand_over(op, What::Prompt, &text),
            Ask::Tell { text } => self.hand_over(op, What::Told, &words::told(&text)),
            Ask::Interrupt => self.interrupt(Some(op)),
            Ask::Probe => self.call(Call::Probe(op), &json!({"subtype": "get_session_cost"})),
            Ask::Compact => self.later.push_back((op, Command::Compact)),
            Ask::Clear => self.later.push_back((op, Command::Clear)),
            Ask::Decide { approval, decision, reason } => self.decide(op, &approval, decision, reason.as_deref()),
        }
        self.go_on();
    }

    fn hand_over(&mut self, op: OpId, what: What, text: &str) {
        self.write(what, text);
        self.answer(op, OpResult::Ok);
    }

    /// Under an id that no message had: one that Claude Code knows is passed over without a word.
    fn write(&mut self, what: What, text: &str) {
        let uuid = words::uuid(&self.opening.seed, self.next_message);
        self.next_message += 1;
        self.say(words::message(&uuid, text, what == What::Told));
        self.pending.push(Pending { uuid, what });
    }

    pub(super) fn interrupt(&mut self, op: Option<OpId>) {
        if let Some(running) = &mut self.turn {
            running.stopped_by_us = true;
            return self.call(Call::Interrupt(op), &json!({"subtype": "interrupt"}));
        }
        self.interrupts_next = self.pending.iter().any(|pending| pending.what != What::Told);
        if let Some(op) = op {
            self.answer(op, OpResult::Ok);
        }
    }

    /// What waited for the end of a turn, one after the other.
    pub(super) fn go_on(&mut self) {
        if self.phase != Phase::Live || self.turn.is_some() || !self.pending.is_empty() || self.stopping {
            return;
        }
        if let Some((op, command)) = self.later.pop_front() {
            let text = match command {
                Command::Compact => "/compact",
                Command::Clear => "/clear",
            };
            self.write(What::Command(op, command), text);
        }
    }

    fn decide(&mut self, op: OpId, approval: &str, decision: Decision, reason: Option<&str>) {
        let Some(question) = self.questions.remove(approval) else {
            return self.fail(op, FailureKind::NotFound, "claude does not wait for that any more");
        };
        self.say(question.answer(decision, reason));
        // Not that of a subagent, whose work is its own.
        if decision == Decision::Abort
            && !question.is_of_a_subagent()
            && let Some(running) = &mut self.turn
        {
            running.stopped_by_us = true;
        }
        self.answer(op, OpResult::Ok);
    }

    pub(super) fn requested(&mut self, request: String, asked: &Value) {
        match asking::read(request, asked, self.opening.allows_all) {
            Read::Question(question) => self.opens(question),
            Read::Answered { answer, note } => {
                if let Some((warns, text)) = note {
                    self.note(warns, text);
                }
                self.say(answer);
            }
        }
    }

    /// Under a name that no request had.
    pub(super) fn opens(&mut self, question: Question) {
        let id = format!("g{}-{}", self.opening.generation, self.next_question);
        self.next_question += 1;
        let (request, input) = question.shown(&id);
        self.questions.insert(id, question);
        self.out.push(Out::Opened { request, input });
    }

    /// Answered elsewhere, or gone with its turn.
    pub(super) fn withdrawn(&mut self, request: &str) {
        let open = self.questions.iter().find(|(_, question)| question.request() == request);
        if let Some(id) = open.map(|(id, _)| id.clone()) {
            self.questions.remove(&id);
            self.report(ProviderReport::ApprovalClosed { id: id.into() });
        }
    }
}
