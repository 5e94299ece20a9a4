//! The conversation with Claude Code in its print mode, without any I/O: what is heard and asked goes in, what is to be
//! said, reported and answered comes out.
//!
//! It is a function of its inputs alone, so that a recorded conversation gives the same outputs again
//! (`tests/providers`). That a message was written is no evidence: it is taken when Claude Code says that it has started
//! the message with our id, and lost where it says of that id that it never will.

mod asked;
mod asking;
mod shown;

use super::words::{self, Failing, Heard};
use crate::provider::claude::failures;
use crate::provider::oddities::Oddities;
use asking::Question;
use relay_runner_core::effect::Decision;
use relay_runner_core::event::{ApprovalRequest, ExitClass, Failure, FailureKind, TakenOffer};
use relay_runner_core::{OpId, OpResult, ProviderReport};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

/// What a conversation is begun with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Opening {
    /// Names the approvals of a process.
    pub(super) generation: u64,
    /// The conversation that the process is started in.
    pub(super) conversation: String,
    /// A uuid that was never used: the ids of messages are made of it, as one that Claude Code knows is passed over.
    pub(super) seed: String,
    /// Nobody is to be asked.
    pub(super) allows_all: bool,
}

/// What can be asked of Claude Code, in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Ask {
    Offer {
        offers: Vec<TakenOffer>,
        text: String,
    },
    Prompt {
        text: String,
    },
    /// The model is told, and not asked for anything.
    Tell {
        text: String,
    },
    Interrupt,
    Probe,
    Compact,
    Clear,
    Decide {
        approval: String,
        decision: Decision,
        reason: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum In {
    /// The process runs, and nothing was said yet.
    Started,
    Asked {
        op: OpId,
        ask: Ask,
    },
    Heard(Value),
    /// Something that is no JSON, or too long.
    Garbage {
        bytes: usize,
    },
    /// The process is to be stopped: what runs is interrupted.
    Stopping,
    /// The process is over.
    Over,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Out {
    Say(Value),
    Report(ProviderReport),
    /// Claude Code asks for a permission. What for stands beside it, and in no journal.
    Opened {
        request: ApprovalRequest,
        input: Option<String>,
    },
    /// Behind what was said last in the same step: once that is written.
    Answer(OpId, OpResult),
    /// Nothing runs any more: its input can be closed.
    Quiet,
    /// This process is of no use: it is to be ended, for this reason.
    End {
        class: ExitClass,
        detail: String,
    },
    Note {
        warns: bool,
        text: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Hello,
    Settings,
    Live,
    Done,
}

/// A message of ours that was written, and of which Claude Code has not said yet that it has started.
#[derive(Debug)]
struct Pending {
    uuid: String,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Offers(Vec<TakenOffer>),
    Prompt,
    Told,
    Command(OpId, Command),
}

/// Commands of Claude Code's own, which are messages to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Compact,
    Clear,
}

#[derive(Debug)]
struct Running {
    id: String,
    /// What was only told: the model is not asked, and nobody need know of it.
    is_silent: bool,
    /// We asked for its end.
    stopped_by_us: bool,
    /// The last that the model was reported to have failed with.
    failing: Option<Failing>,
    /// Tokens in the context with the last answer.
    used: Option<u64>,
    command: Option<(OpId, Command)>,
    /// What the command is for was done.
    commanded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Initialize,
    Settings,
    /// None: nobody waits for the answer.
    Interrupt(Option<OpId>),
    Probe(OpId),
}

#[derive(Debug)]
pub(super) struct Session {
    opening: Opening,
    phase: Phase,
    conversation: String,
    model: Option<String>,
    effort: Option<String>,
    turn: Option<Running>,
    next_call: u64,
    next_message: u64,
    calls: BTreeMap<u64, Call>,
    pending: Vec<Pending>,
    /// Commands that wait for the end of the turn.
    later: VecDeque<(OpId, Command)>,
    questions: BTreeMap<String, Question>,
    next_question: u64,
    /// Subagents that work, and whether they do it in the background.
    subagents: BTreeMap<String, bool>,
    compacting: bool,
    /// The last that is known of how much fits into the context.
    window: Option<u64>,
    /// Seconds since the epoch at which the usage limit that is in force ends.
    limit_ends: Option<u64>,
    stopping: bool,
    /// What is about to begin is to be interrupted.
    interrupts_next: bool,
    oddities: Oddities,
    out: Vec<Out>,
}

impl Session {
    pub(super) fn new(opening: Opening) -> Self {
        let conversation = opening.conversation.clone();
        Self {
            opening,
            phase: Phase::Hello,
            conversation,
            model: None,
            effort: None,
            turn: None,
            next_call: 1,
            next_message: 1,
            calls: BTreeMap::new(),
            pending: Vec::new(),
            later: VecDeque::new(),
            questions: BTreeMap::new(),
            next_question: 0,
            subagents: BTreeMap::new(),
            compacting: false,
            window: None,
            limit_ends: None,
            stopping: false,
            interrupts_next: false,
            oddities: Oddities::default(),
            out: Vec::new(),
        }
    }

    /// What it is about, for whoever waits in vain.
    pub(super) const fn waits_for(&self) -> Option<&'static str> {
        match self.phase {
            Phase::Hello => Some("did not answer `initialize`"),
            Phase::Settings => Some("did not answer `get_settings`"),
            Phase::Live | Phase::Done => None,
        }
    }

    /// Claude Code owes an answer.
    pub(super) fn awaits_an_answer(&self) -> bool {
        !self.calls.is_empty()
    }

    pub(super) fn step(&mut self, input: In) -> Vec<Out> {
        match input {
            In::Started => self.call(Call::Initialize, &json!({"subtype": "initialize"})),
            In::Asked { op, ask } => self.asked(op, ask),
            In::Heard(value) if self.phase != Phase::Done => self.heard(value),
            In::Heard(_) => {}
            In::Garbage { bytes } => {
                self.odd(format!("a line of {bytes} bytes that is no JSON, or too long to be read"));
            }
            In::Stopping => self.stop(),
            In::Over => self.over(),
        }
        std::mem::take(&mut self.out)
    }

    fn say(&mut self, value: Value) {
        self.out.push(Out::Say(value));
    }

    fn report(&mut self, report: ProviderReport) {
        self.out.push(Out::Report(report));
    }

    fn answer(&mut self, op: OpId, result: OpResult) {
        self.out.push(Out::Answer(op, result));
    }

    fn fail(&mut self, op: OpId, kind: FailureKind, text: &str) {
        self.answer(op, OpResult::Failed(Failure { kind, text: text.into() }));
    }

    fn note(&mut self, warns: bool, text: String) {
        self.out.push(Out::Note { warns, text });
    }

    fn odd(&mut self, reason: String) {
        let Some(reason) = self.oddities.worth_saying(reason) else { return };
        self.report(ProviderReport::Malformed { reason: reason.into() });
    }

    fn end(&mut self, class: ExitClass, detail: String) {
        if self.phase != Phase::Done {
            self.phase = Phase::Done;
            self.out.push(Out::End { class, detail });
        }
    }

    fn call(&mut self, call: Call, request: &Value) {
        let id = self.next_call;
        self.next_call += 1;
        self.calls.insert(id, call);
        self.say(words::call(id, request));
    }

    fn heard(&mut self, value: Value) {
        match words::heard(value) {
            Heard::Answer { id, result } => self.answered(id, result),
            Heard::Request { id, request } => self.requested(id, &request),
            Heard::Withdrawn { request } => self.withdrawn(&request),
            Heard::Odd(reason) => self.odd(reason),
            other => self.showed(other),
        }
    }

    fn answered(&mut self, id: u64, result: Result<Value, String>) {
        let Some(call) = self.calls.remove(&id) else {
            return self.odd("an answer to nothing that was asked".to_owned());
        };
        match (call, result) {
            (Call::Initialize, Ok(said)) => self.greeted(&said),
            (Call::Initialize, Err(why)) => {
                let why = format!("claude refused `initialize`: {why}; another version may not");
                self.end(ExitClass::Refused, why);
            }
            (Call::Settings, said) => self.has_settings(said),
            (Call::Interrupt(op), said) => {
                if let Some(op) = op {
                    self.done(op, said.map(|_| OpResult::Ok));
                }
            }
            // Any answer shows that it lives; whether it works is known here.
            (Call::Probe(op), _) if self.turn.is_some() => self.answer(op, OpResult::Ok),
            (Call::Probe(op), _) => self.fail(op, FailureKind::Provider, "claude answers, and works on nothing"),
        }
    }

    fn done(&mut self, op: OpId, result: Result<OpResult, String>) {
        match result {
            Ok(result) => self.answer(op, result),
            Err(why) => self.fail(op, FailureKind::Provider, &format!("claude: {why}")),
        }
    }

    fn greeted(&mut self, said: &Value) {
        if let Some(version) = said["claude_code_version"].as_str() {
            self.note(false, format!("claude is Claude Code {version}"));
        }
        let account = &said["account"];
        // Who pays another has no source of a token at all.
        if account["tokenSource"] == "none" && account["apiKeySource"].as_str().is_none_or(|source| source == "none") {
            return self.end(ExitClass::Refused, format!("claude is not logged in: {}", failures::LOG_IN));
        }
        self.phase = Phase::Settings;
        self.call(Call::Settings, &json!({"subtype": "get_settings"}));
    }

    fn has_settings(&mut self, said: Result<Value, String>) {
        self.phase = Phase::Live;
        self.report(ProviderReport::Conversation { id: self.conversation.as_str().into() });
        match said {
            Ok(said) => {
                let applied = &said["applied"];
                self.effort = applied["effort"].as_str().map(str::to_owned);
                self.uses(applied["model"].as_str());
            }
            Err(why) => self.note(false, format!("claude does not say which model it uses: {why}")),
        }
        self.report(ProviderReport::Ready);
        self.go_on();
    }

    fn stop(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        if self.turn.is_some() {
            self.interrupt(None);
        } else if self.pending.is_empty() {
            self.out.push(Out::Quiet);
        }
    }

    fn over(&mut self) {
        self.phase = Phase::Done;
        let called = std::mem::take(&mut self.calls).into_values().filter_map(|call| match call {
            Call::Interrupt(op) => op,
            Call::Probe(op) => Some(op),
            Call::Initialize | Call::Settings => None,
        });
        let commanded = self.turn.take().and_then(|turn| turn.command).map(|(op, _)| op);
        let handed = self.pending.drain(..).filter_map(|pending| match pending.what {
            What::Command(op, _) => Some(op),
            What::Offers(_) | What::Prompt | What::Told => None,
        });
        let unanswered: Vec<OpId> = called.chain(commanded).chain(handed).collect();
        for op in unanswered {
            self.fail(op, FailureKind::Unreachable, "claude ended before it answered");
        }
        for (op, _) in std::mem::take(&mut self.later) {
            self.fail(op, FailureKind::NotReady, "claude ended before it was asked");
        }
    }
}

#[cfg(test)]
mod tests;
