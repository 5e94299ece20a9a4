//! The conversation with an app-server, without any I/O: what is heard and asked goes in, what is to be said, reported
//! and answered comes out.
//!
//! It is a function of its inputs alone, so that a recorded conversation gives the same outputs again
//! (`tests/providers`). An answer of codex to a call is not evidence: a message is taken when the user message with our
//! id starts as an item of a turn, and one that was accepted and never started by the end of its turn was lost.

mod asked;
mod opening;
mod shown;

use super::asking::Question;
use super::words::{self, Heard, Turn};
use crate::provider::oddities::Oddities;
use relay_runner_core::effect::Decision;
use relay_runner_core::event::{ApprovalRequest, ExitClass, Failure, FailureKind, TakenOffer};
use relay_runner_core::{OpId, OpResult, ProviderReport};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

/// Turns that are asked for at a time when it is found out what became of offers; whole turns may be large.
const TURNS_PER_PAGE: u32 = 4;
/// Pages that are read at most: what is further back was worked long ago.
const PAGES_MOST: u32 = 8;
/// How often a thread that another process holds is asked for again, and how long is waited in between: one that is being
/// killed lets go of it.
const LOCKED_MOST: u32 = 10;
const LOCKED_WAIT_MS: u64 = 300;

/// What a conversation is begun with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Opening {
    /// Names the approvals of a process: codex numbers its requests from 0 in each.
    pub(super) generation: u64,
    pub(super) cwd: String,
    pub(super) model: Option<String>,
    pub(super) effort: Option<String>,
    pub(super) approval: words::Approval,
    pub(super) instructions: Option<String>,
    /// The thread to go on with.
    pub(super) thread: Option<String>,
    /// The process lives already, and may have these.
    pub(super) in_doubt: Option<Vec<TakenOffer>>,
    /// Folders with skills for this process.
    pub(super) skills: Vec<String>,
}

/// What can be asked of codex, in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Ask {
    Offer { offers: Vec<TakenOffer>, text: String },
    Prompt { text: String },
    Inject { text: String },
    Interrupt,
    Probe,
    Compact,
    Clear,
    Decide { approval: String, decision: Decision },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum In {
    /// A connection stands, and nothing was said on it yet.
    Connected,
    Asked {
        op: OpId,
        ask: Ask,
    },
    Heard(Value),
    /// Something that is no JSON.
    Garbage {
        bytes: usize,
    },
    /// The connection broke; the process may live.
    Broken,
    /// The wait that was asked for is over.
    Due,
    /// The process is to be stopped: what runs is interrupted.
    Stopping,
    /// The process is over.
    Over,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Out {
    Say(Value),
    Report(ProviderReport),
    /// Codex asks for a permission. What for stands beside it, and in no journal.
    Opened {
        request: ApprovalRequest,
        input: Option<String>,
    },
    Answer(OpId, OpResult),
    /// Another process holds the thread: look for one of our own, and ask again after so many milliseconds.
    Locked(u64),
    /// Nothing runs any more: the process can be asked to end.
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
    Apart,
    Hello,
    Account,
    Skills,
    Opening,
    Paging,
    Live,
    Done,
}

/// Something handed over that no turn has shown yet.
#[derive(Debug)]
struct Pending {
    /// Until codex has answered the call.
    op: Option<OpId>,
    client: String,
    offers: Vec<TakenOffer>,
    /// The turn that it was accepted into.
    into: Option<String>,
}

#[derive(Debug)]
struct Running {
    id: String,
    /// We asked for its end.
    stopped_by_us: bool,
    compacted: bool,
}

#[derive(Debug)]
enum Call {
    Initialize,
    Account,
    Skills,
    Open {
        resumes: bool,
    },
    Page,
    Start {
        client: String,
    },
    Steer {
        client: String,
        text: String,
    },
    Interrupt {
        op: Option<OpId>,
    },
    Probe {
        op: OpId,
    },
    Compact {
        op: OpId,
    },
    Clear {
        op: OpId,
    },
    Inject {
        op: OpId,
    },
    /// Nobody waits for the answer.
    Aside,
}

impl Call {
    const fn op(&self) -> Option<OpId> {
        match self {
            Self::Interrupt { op } => *op,
            Self::Probe { op } | Self::Compact { op } | Self::Clear { op } | Self::Inject { op } => Some(*op),
            Self::Initialize
            | Self::Account
            | Self::Skills
            | Self::Open { .. }
            | Self::Page
            | Self::Start { .. }
            | Self::Steer { .. }
            | Self::Aside => None,
        }
    }
}

/// What waits for the end of the turn: codex would break it off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Later {
    Compact,
    Clear,
}

#[derive(Debug)]
pub(super) struct Session {
    opening: Opening,
    phase: Phase,
    thread: Option<String>,
    turn: Option<Running>,
    next_call: u64,
    calls: BTreeMap<u64, Call>,
    pending: Vec<Pending>,
    later: VecDeque<(OpId, Later)>,
    compacting: Option<OpId>,
    questions: BTreeMap<String, Question>,
    /// Whether a turn runs, as codex said when the thread was opened.
    active: bool,
    /// Turns of the pages that were read so far, the newest first.
    pages: Vec<Turn>,
    pages_read: u32,
    locked: u32,
    /// Seconds since the epoch at which the usage limit that is in force ends.
    limit_ends: Option<u64>,
    said_ready: bool,
    stopping: bool,
    /// The last turn that has ended: on a new connection codex may say so again.
    ended: Option<String>,
    /// The turn that is being started is to be interrupted.
    interrupts_next: bool,
    oddities: Oddities,
    out: Vec<Out>,
}

impl Session {
    pub(super) fn new(opening: Opening) -> Self {
        let thread = opening.thread.clone();
        // Handed over by an earlier run, each in an item of whatever batch it was in.
        let in_doubt = opening.in_doubt.iter().flatten();
        let pending = in_doubt
            .map(|offer| Pending { op: None, client: words::client(&[*offer]), offers: vec![*offer], into: None })
            .collect();
        Self {
            opening,
            phase: Phase::Apart,
            thread,
            turn: None,
            next_call: 1,
            calls: BTreeMap::new(),
            pending,
            later: VecDeque::new(),
            compacting: None,
            questions: BTreeMap::new(),
            active: false,
            pages: Vec::new(),
            pages_read: 0,
            locked: 0,
            limit_ends: None,
            said_ready: false,
            stopping: false,
            ended: None,
            interrupts_next: false,
            oddities: Oddities::default(),
            out: Vec::new(),
        }
    }

    /// What it is about, for whoever waits in vain.
    pub(super) const fn waits_for(&self) -> Option<&'static str> {
        match self.phase {
            Phase::Apart => Some("did not listen on its socket"),
            Phase::Hello => Some("did not answer `initialize`"),
            Phase::Account => Some("did not answer `account/read`"),
            Phase::Skills => Some("did not answer `skills/extraRoots/set`"),
            Phase::Opening => Some("did not open its thread"),
            Phase::Paging => Some("did not list the turns of its thread"),
            Phase::Live | Phase::Done => None,
        }
    }

    /// It was ready once.
    pub(super) const fn was_ready(&self) -> bool {
        self.said_ready
    }

    /// Codex owes an answer.
    pub(super) fn awaits_an_answer(&self) -> bool {
        !self.calls.is_empty()
    }

    pub(super) fn step(&mut self, input: In) -> Vec<Out> {
        match input {
            In::Connected => {
                self.phase = Phase::Hello;
                self.call(Call::Initialize, "initialize", &words::initialize());
            }
            In::Asked { op, ask } => self.asked(op, ask),
            In::Heard(value) => self.heard(value),
            In::Garbage { bytes } => self.odd(format!("a message of {bytes} bytes that is no JSON")),
            In::Broken => self.broken(),
            In::Due if self.phase == Phase::Opening && self.calls.is_empty() => self.open(),
            In::Due => {}
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

    fn call(&mut self, call: Call, method: &str, params: &Value) {
        let id = self.next_call;
        self.next_call += 1;
        self.calls.insert(id, call);
        self.say(json!({"id": id, "method": method, "params": params}));
    }

    /// A call about the thread.
    fn call_thread(&mut self, call: Call, method: &str, mut params: Value) {
        params["threadId"] = json!(self.thread);
        self.call(call, method, &params);
    }

    fn heard(&mut self, value: Value) {
        if self.phase == Phase::Done {
            return;
        }
        match words::heard(value) {
            Heard::Answer { id, result } => self.answered(id, result),
            Heard::Request(request) => self.requested(&request),
            Heard::Notice(notice) => self.noticed(notice),
            Heard::Odd(reason) => self.odd(reason),
        }
    }

    fn answered(&mut self, id: u64, result: Result<Value, String>) {
        let Some(call) = self.calls.remove(&id) else {
            return self.odd("an answer to nothing that was asked".to_owned());
        };
        match (call, result) {
            (Call::Initialize, Ok(said)) => self.greeted(&said),
            (Call::Initialize, Err(why)) => {
                self.end(ExitClass::Refused, format!("codex refused `initialize`: {why}; another version may not"));
            }
            (Call::Account, Ok(said)) => self.has_account(&said),
            (Call::Account, Err(why)) => {
                self.note(false, format!("codex does not say who is logged in: {why}"));
                self.give_skills();
            }
            (Call::Skills, said) => {
                if let Err(why) = said {
                    self.note(true, format!("codex does not take the skills of the relay: {why}"));
                }
                self.open();
            }
            (Call::Open { .. }, Ok(said)) => self.opened(&said),
            (Call::Open { resumes }, Err(why)) => self.not_opened(resumes, &why),
            (Call::Page, said) => self.paged(said),
            (Call::Start { client }, Ok(said)) => self.accepted(&client, &said["turn"]["id"]),
            (Call::Start { client }, Err(why)) => self.refused(&client, FailureKind::Provider, &why),
            (Call::Steer { client, text }, Err(why)) if words::is_without_turn(&why) && !self.stopping => {
                self.turn_start(client, &text);
            }
            (Call::Steer { client, .. }, Ok(said)) => self.accepted(&client, &said["turnId"]),
            // Some turns take nothing: those of a compaction, for one.
            (Call::Steer { client, .. }, Err(why)) => self.refused(&client, FailureKind::NotReady, &why),
            (Call::Interrupt { op }, said) => {
                // Nothing was left to interrupt.
                let result = said.map(drop).or_else(|why| if words::is_without_turn(&why) { Ok(()) } else { Err(why) });
                if let Some(op) = op {
                    self.done(op, result.map(|()| OpResult::Ok));
                }
            }
            (Call::Probe { op }, said) => self.probed(op, said),
            (Call::Compact { op }, Ok(_)) => self.compacting = Some(op),
            (Call::Compact { op } | Call::Clear { op }, Err(why)) => self.done(op, Err(why)),
            (Call::Clear { op }, Ok(said)) => self.cleared(op, &said),
            (Call::Inject { op }, said) => self.done(op, said.map(|_| OpResult::Ok)),
            (Call::Aside, Ok(_)) => {}
            (Call::Aside, Err(why)) => self.note(false, format!("codex: {why}")),
        }
    }

    fn done(&mut self, op: OpId, result: Result<OpResult, String>) {
        match result {
            Ok(result) => self.answer(op, result),
            Err(why) => self.fail(op, FailureKind::Provider, &format!("codex: {why}")),
        }
    }

    fn broken(&mut self) {
        if self.phase == Phase::Done {
            return;
        }
        self.phase = Phase::Apart;
        // What was handed over may have arrived: that is found out on the next connection.
        let calls = std::mem::take(&mut self.calls).into_values();
        let unanswered: Vec<OpId> = calls.filter_map(|call| call.op()).chain(self.compacting.take()).collect();
        for op in unanswered {
            self.fail(op, FailureKind::Unreachable, "the connection to codex broke before it answered");
        }
    }

    fn stop(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        if self.phase == Phase::Live && self.turn.is_some() {
            self.interrupt(None);
        } else {
            self.out.push(Out::Quiet);
        }
    }

    fn over(&mut self) {
        self.phase = Phase::Done;
        let calls = std::mem::take(&mut self.calls).into_values();
        let said = calls.filter_map(|call| call.op()).chain(self.compacting.take());
        let handed = self.pending.drain(..).filter_map(|pending| pending.op);
        let unanswered: Vec<OpId> = said.chain(handed).collect();
        for op in unanswered {
            self.fail(op, FailureKind::Unreachable, "codex ended before it answered");
        }
        for (op, _) in std::mem::take(&mut self.later) {
            self.fail(op, FailureKind::NotReady, "codex ended before it was asked");
        }
    }
}

#[cfg(test)]
mod tests;
