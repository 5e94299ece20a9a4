//! What codex is asked for, and what it answers.

use super::{Ask, Call, Later, Out, Pending, Phase, Session};
use crate::provider::codex::asking;
use crate::provider::codex::words::{self, ServerRequest};
use relay_runner_core::effect::Decision;
use relay_runner_core::event::{FailureKind, TakenOffer};
use relay_runner_core::{OpId, OpResult, ProviderReport};
use serde_json::{Value, json};

impl Session {
    pub(super) fn asked(&mut self, op: OpId, ask: Ask) {
        if self.phase != Phase::Live || self.stopping {
            let why = if self.stopping { "codex is being stopped" } else { "codex cannot be reached yet" };
            return self.fail(op, FailureKind::NotReady, why);
        }
        match ask {
            Ask::Offer { offers, text } => {
                let client = words::client(&offers);
                self.hand_over(op, client, offers, &text);
            }
            Ask::Prompt { text } => self.hand_over(op, words::FIRST_PROMPT.to_owned(), Vec::new(), &text),
            Ask::Inject { text } => {
                self.call_thread(Call::Inject { op }, "thread/inject_items", words::injected(&text));
            }
            Ask::Interrupt => self.interrupt(Some(op)),
            Ask::Probe => self.call_thread(Call::Probe { op }, "thread/read", json!({})),
            Ask::Compact => self.later.push_back((op, Later::Compact)),
            Ask::Clear => self.later.push_back((op, Later::Clear)),
            Ask::Decide { approval, decision } => self.decide(op, &approval, decision),
        }
        self.go_on();
    }

    pub(super) fn hand_over(&mut self, op: OpId, client: String, offers: Vec<TakenOffer>, text: &str) {
        if self.calls.values().any(|call| matches!(call, Call::Clear { .. })) {
            return self.fail(op, FailureKind::NotReady, "codex is about to begin another thread");
        }
        self.pending.push(Pending { op: Some(op), client: client.clone(), offers, into: None });
        match &self.turn {
            Some(running) => {
                let mut params = words::input(text, &client);
                params["expectedTurnId"] = json!(running.id);
                self.call_thread(Call::Steer { client, text: text.to_owned() }, "turn/steer", params);
            }
            None => self.turn_start(client, text),
        }
    }

    pub(super) fn turn_start(&mut self, client: String, text: &str) {
        let params = words::input(text, &client);
        self.call_thread(Call::Start { client }, "turn/start", params);
    }

    /// Codex answered the call that handed something over. That is no evidence.
    pub(super) fn accepted(&mut self, client: &str, turn: &Value) {
        // Shown already: quicker than its answer.
        let Some(pending) = self.pending.iter_mut().find(|pending| pending.client == client) else { return };
        pending.into = turn.as_str().map(str::to_owned);
        if let Some(op) = pending.op.take() {
            self.answer(op, OpResult::Ok);
        }
    }

    pub(super) fn refused(&mut self, client: &str, kind: FailureKind, why: &str) {
        let Some(at) = self.pending.iter().position(|pending| pending.client == client) else { return };
        if let Some(op) = self.pending.remove(at).op {
            self.fail(op, kind, &format!("codex: {why}"));
        }
    }

    pub(super) fn interrupt(&mut self, op: Option<OpId>) {
        if let Some(running) = &mut self.turn {
            running.stopped_by_us = true;
            let params = json!({"turnId": running.id});
            return self.call_thread(Call::Interrupt { op }, "turn/interrupt", params);
        }
        self.interrupts_next = self.calls.values().any(|call| matches!(call, Call::Start { .. }));
        if let Some(op) = op {
            self.answer(op, OpResult::Ok);
        }
    }

    pub(super) fn probed(&mut self, op: OpId, said: Result<Value, String>) {
        match said {
            Ok(said) if said["thread"]["status"]["type"] == "active" => self.answer(op, OpResult::Ok),
            Ok(said) => {
                let status = said["thread"]["status"]["type"].as_str().unwrap_or("unknown").to_owned();
                self.fail(op, FailureKind::Provider, &format!("codex says that its thread is {status}"));
            }
            Err(why) => self.done(op, Err(why)),
        }
    }

    /// What waited for the end of a turn, one after the other.
    pub(super) fn go_on(&mut self) {
        if self.phase != Phase::Live || self.turn.is_some() || self.compacting.is_some() || self.stopping {
            return;
        }
        if self
            .calls
            .values()
            .any(|call| matches!(call, Call::Start { .. } | Call::Compact { .. } | Call::Clear { .. }))
        {
            return;
        }
        match self.later.pop_front() {
            Some((op, Later::Compact)) => self.call_thread(Call::Compact { op }, "thread/compact/start", json!({})),
            Some((op, Later::Clear)) => {
                let params = words::thread(&self.opening);
                self.call(Call::Clear { op }, "thread/start", &params);
            }
            None => {}
        }
    }

    pub(super) fn cleared(&mut self, op: OpId, said: &Value) {
        let Some(thread) = said["thread"]["id"].as_str() else {
            return self.done(op, Err("it opened a thread without an id".to_owned()));
        };
        self.call_thread(Call::Aside, "thread/unsubscribe", json!({}));
        self.thread = Some(thread.to_owned());
        self.report(ProviderReport::Conversation { id: thread.into() });
        self.report_model(&said["model"], &said["reasoningEffort"]);
        self.answer(op, OpResult::Said(json!({"conversation": thread}).to_string().into()));
        self.go_on();
    }

    pub(super) fn decide(&mut self, op: OpId, approval: &str, decision: Decision) {
        let Some(question) = self.questions.remove(approval) else {
            return self.fail(op, FailureKind::NotFound, "codex does not wait for that any more");
        };
        self.say(question.answer(decision));
        // Not that of a subagent, whose turn is another.
        if decision == Decision::Abort && question.is_of(self.thread.as_deref()) {
            if question.aborts_by_itself() {
                if let Some(running) = &mut self.turn {
                    running.stopped_by_us = true;
                }
            } else {
                self.interrupt(None);
            }
        }
        self.answer(op, OpResult::Ok);
    }

    pub(super) fn requested(&mut self, request: &ServerRequest) {
        match asking::read(self.opening.generation, request) {
            asking::Read::Question { id, request, input, question } => {
                // Asked again on a new connection.
                let again = self.questions.insert(id, question).is_some();
                if !again {
                    self.out.push(Out::Opened { request, input });
                }
            }
            asking::Read::Refused { answer, why } => {
                self.note(true, why);
                self.say(answer);
            }
        }
    }
}
