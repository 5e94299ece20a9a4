//! The conversation with an app-server, without any I/O: what is heard and asked goes in, what is to be said, reported
//! and answered comes out.
//!
//! It is a function of its inputs alone, so that a recorded conversation gives the same outputs again
//! (`tests/providers`). An answer of codex to a call is not evidence: a message is taken when the user message with our
//! id starts as an item of a turn, and one that was accepted and never started by the end of its turn was lost.

use super::asking::{self, Question};
use super::words::{self, Ended, Heard, Item, Notice, Page, ServerRequest, Turn};
use relay_runner_core::effect::Decision;
use relay_runner_core::event::{
    ContextConfidence, ContextReport, ContextSource, ExitClass, Failure, FailureKind, ReportStatus, StatusReport,
    TakenOffer, TimelineReport, TurnEnd,
};
use relay_runner_core::{OpId, OpResult, ProviderReport, Text};
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
        request: relay_runner_core::event::ApprovalRequest,
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

    pub(super) fn step(&mut self, input: In) -> Vec<Out> {
        match input {
            In::Connected => {
                self.phase = Phase::Hello;
                self.call(Call::Initialize, "initialize", words::initialize());
            }
            In::Asked { op, ask } => self.asked(op, ask),
            In::Heard(value) => self.heard(value),
            In::Garbage { bytes } => self.odd(format!("a message of {bytes} bytes that is no JSON")),
            In::Broken => self.broken(),
            In::Due if self.phase == Phase::Opening => self.open(),
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
        self.report(ProviderReport::Malformed { reason: reason.into() });
    }

    fn end(&mut self, class: ExitClass, detail: String) {
        if self.phase != Phase::Done {
            self.phase = Phase::Done;
            self.out.push(Out::End { class, detail });
        }
    }

    fn call(&mut self, call: Call, method: &str, params: Value) {
        let id = self.next_call;
        self.next_call += 1;
        self.calls.insert(id, call);
        self.say(json!({"id": id, "method": method, "params": params}));
    }

    /// A call about the thread.
    fn call_thread(&mut self, call: Call, method: &str, mut params: Value) {
        params["threadId"] = json!(self.thread);
        self.call(call, method, params);
    }

    fn heard(&mut self, value: Value) {
        if self.phase == Phase::Done {
            return;
        }
        match words::heard(value) {
            Heard::Answer { id, result } => self.answered(id, result),
            Heard::Request(request) => self.requested(request),
            Heard::Notice(notice) => self.noticed(notice),
            Heard::Odd(reason) => self.odd(reason),
        }
    }

    // Coming up.

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
            (Call::Steer { client, text }, Err(why)) if words::is_without_turn(&why) => {
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

    fn greeted(&mut self, said: &Value) {
        if let Some(agent) = said["userAgent"].as_str() {
            self.note(false, format!("codex is {agent}"));
        }
        self.say(json!({"method": "initialized"}));
        self.phase = Phase::Account;
        self.call(Call::Account, "account/read", json!({}));
    }

    fn has_account(&mut self, said: &Value) {
        if said["requiresOpenaiAuth"] == true && said["account"].is_null() {
            let why = "codex is not logged in: run `codex login` (with the same CODEX_HOME), or name a model provider in \
                       its config.toml; then `relay-runner restart`";
            return self.end(ExitClass::Refused, why.to_owned());
        }
        self.give_skills();
    }

    fn give_skills(&mut self) {
        if self.opening.skills.is_empty() {
            return self.open();
        }
        self.phase = Phase::Skills;
        self.call(Call::Skills, "skills/extraRoots/set", json!({"extraRoots": self.opening.skills}));
    }

    fn open(&mut self) {
        self.phase = Phase::Opening;
        let mut params = words::thread(&self.opening);
        if self.thread.is_some() {
            params["excludeTurns"] = json!(true);
            params["initialTurnsPage"] = json!({"limit": TURNS_PER_PAGE, "itemsView": "full"});
            self.call_thread(Call::Open { resumes: true }, "thread/resume", params);
        } else {
            self.call(Call::Open { resumes: false }, "thread/start", params);
        }
    }

    fn not_opened(&mut self, resumes: bool, why: &str) {
        if resumes && words::is_gone(why) {
            let thread = self.thread.take().unwrap_or_default();
            self.note(true, format!("codex has no thread {thread} any more ({why}); another one is begun"));
            self.open();
        } else if resumes && words::is_locked(why) && self.locked < LOCKED_MOST {
            self.locked += 1;
            self.out.push(Out::Locked(LOCKED_WAIT_MS));
        } else if resumes && words::is_locked(why) {
            let thread = self.thread.clone().unwrap_or_default();
            let why = format!(
                "codex's thread {thread} is held by another program (a codex that has it open); end that one, then \
                 `relay-runner restart`; or begin without it with --fresh"
            );
            self.end(ExitClass::Refused, why);
        } else {
            self.end(ExitClass::Refused, format!("codex cannot open its thread: {why}"));
        }
    }

    fn opened(&mut self, said: &Value) {
        let Some(thread) = said["thread"]["id"].as_str() else {
            return self.end(ExitClass::Crash, "codex opened a thread without an id".to_owned());
        };
        let known = self.thread.replace(thread.to_owned());
        self.report(ProviderReport::Conversation { id: thread.into() });
        self.report_model(&said["model"], &said["reasoningEffort"]);
        self.active = said["thread"]["status"]["type"] == "active";
        self.pages.clear();
        self.pages_read = 0;
        match serde_json::from_value::<Option<Page>>(said["initialTurnsPage"].clone()) {
            Ok(Some(page)) if known.is_some() => self.read_page(page),
            Ok(_) => self.in_step(),
            Err(error) => {
                self.odd(format!("a page of turns that cannot be read: {error}"));
                self.in_step();
            }
        }
    }

    fn report_model(&mut self, model: &Value, effort: &Value) {
        if let Some(model) = model.as_str() {
            let effort = effort.as_str().map(Text::from);
            self.report(ProviderReport::Model { model: model.into(), effort });
        }
    }

    fn paged(&mut self, said: Result<Value, String>) {
        match said.and_then(|said| serde_json::from_value(said).map_err(|e| e.to_string())) {
            Ok(page) => self.read_page(page),
            Err(why) => {
                self.note(true, format!("codex does not list the turns of its thread: {why}"));
                self.in_step();
            }
        }
    }

    /// Reads on as long as something is looked for.
    fn read_page(&mut self, page: Page) {
        self.pages.extend(page.data);
        self.pages_read += 1;
        let wanted = |pending: &Pending| !self.pages.iter().any(|turn| turn.has(&pending.offers, &pending.client));
        let more = self.pending.iter().any(wanted);
        match page.next_cursor {
            Some(cursor) if more && self.pages_read < PAGES_MOST => {
                self.phase = Phase::Paging;
                let params = json!({"cursor": cursor, "limit": TURNS_PER_PAGE, "itemsView": "full"});
                self.call_thread(Call::Page, "thread/turns/list", params);
            }
            Some(_) | None => self.in_step(),
        }
    }

    /// What became of all that was handed over is known now, as far as codex knows it.
    fn in_step(&mut self) {
        self.phase = Phase::Live;
        self.locked = 0;
        let mut turns = std::mem::take(&mut self.pages);
        turns.reverse();
        for turn in turns {
            let known = self.turn.as_ref().is_some_and(|running| running.id == turn.id);
            let had: Vec<usize> = (0..self.pending.len())
                .filter(|&at| turn.has(&self.pending[at].offers, &self.pending[at].client))
                .collect();
            if !known && had.is_empty() && !turn.is_running() {
                continue;
            }
            self.turn_started(&turn.id);
            for at in had.into_iter().rev() {
                let pending = self.pending.remove(at);
                self.shown(pending);
            }
            if !turn.is_running() {
                self.turn_ended(turn);
            }
        }
        // One that was running when the connection broke, and is too far back to be found.
        if !self.active {
            self.unseen_end();
        }
        let running = self.turn.as_ref().map(|running| running.id.clone());
        for pending in &mut self.pending {
            pending.into = running.clone();
        }
        if running.is_none() {
            self.lose(|_| true);
        }
        if !std::mem::replace(&mut self.said_ready, true) {
            self.report(ProviderReport::Ready);
        }
        self.go_on();
    }

    // What is asked.

    fn asked(&mut self, op: OpId, ask: Ask) {
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

    fn hand_over(&mut self, op: OpId, client: String, offers: Vec<TakenOffer>, text: &str) {
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

    fn turn_start(&mut self, client: String, text: &str) {
        let params = words::input(text, &client);
        self.call_thread(Call::Start { client }, "turn/start", params);
    }

    /// Codex answered the call that handed something over. That is no evidence.
    fn accepted(&mut self, client: &str, turn: &Value) {
        // Shown already: quicker than its answer.
        let Some(pending) = self.pending.iter_mut().find(|pending| pending.client == client) else { return };
        pending.into = turn.as_str().map(str::to_owned);
        if let Some(op) = pending.op.take() {
            self.answer(op, OpResult::Ok);
        }
    }

    fn refused(&mut self, client: &str, kind: FailureKind, why: &str) {
        let Some(at) = self.pending.iter().position(|pending| pending.client == client) else { return };
        if let Some(op) = self.pending.remove(at).op {
            self.fail(op, kind, &format!("codex: {why}"));
        }
    }

    fn interrupt(&mut self, op: Option<OpId>) {
        match &mut self.turn {
            Some(running) => {
                running.stopped_by_us = true;
                let params = json!({"turnId": running.id});
                self.call_thread(Call::Interrupt { op }, "turn/interrupt", params);
            }
            None => {
                if let Some(op) = op {
                    self.answer(op, OpResult::Ok);
                }
            }
        }
    }

    fn probed(&mut self, op: OpId, said: Result<Value, String>) {
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
    fn go_on(&mut self) {
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
                self.call(Call::Clear { op }, "thread/start", params);
            }
            None => {}
        }
    }

    fn cleared(&mut self, op: OpId, said: &Value) {
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

    fn decide(&mut self, op: OpId, approval: &str, decision: Decision) {
        let Some(question) = self.questions.remove(approval) else {
            return self.fail(op, FailureKind::NotFound, "codex does not wait for that any more");
        };
        self.say(question.answer(decision));
        if decision == Decision::Abort {
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

    fn requested(&mut self, request: ServerRequest) {
        match asking::read(self.opening.generation, &request) {
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

    // What codex shows.

    fn noticed(&mut self, notice: Notice) {
        if notice.thread.is_some() && notice.thread != self.thread {
            return;
        }
        match notice.what {
            words::What::TurnStarted(turn) => self.turn_started(&turn.id),
            words::What::TurnCompleted(turn) => {
                self.turn_started(&turn.id);
                self.turn_ended(turn);
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

    fn turn_started(&mut self, id: &str) {
        if self.turn.as_ref().is_some_and(|running| running.id == id) {
            return;
        }
        self.unseen_end();
        self.turn = Some(Running { id: id.to_owned(), stopped_by_us: false, compacted: false });
        let report = StatusReport { status: ReportStatus::Busy, id: Some(id.into()), ..StatusReport::default() };
        self.report(ProviderReport::Status(Box::new(report)));
        if self.stopping {
            self.interrupt(None);
        }
    }

    /// A turn is over, and nobody saw how.
    fn unseen_end(&mut self) {
        if let Some(Running { id, .. }) = &self.turn {
            let error = json!({"message": "the turn is over, and codex did not say how it ended"});
            let turn = Turn::failed(id.clone(), error);
            self.turn_ended(turn);
        }
    }

    fn turn_ended(&mut self, turn: Turn) {
        let running = self.turn.take();
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
    fn lose(&mut self, which: impl Fn(&Pending) -> bool) {
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

    fn item(&mut self, turn: &str, item: Item, ended: bool) {
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

    fn work(&mut self, kind: &str, id: &str, label: Option<String>, over: bool, said: &str) {
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
    fn showed(&mut self, client: &str) {
        while let Some(at) = self.pending.iter().position(|one| words::covers(client, &one.client, &one.offers)) {
            let pending = self.pending.remove(at);
            self.shown(pending);
        }
    }

    fn shown(&mut self, pending: Pending) {
        if let Some(op) = pending.op {
            self.answer(op, OpResult::Ok);
        }
        if !pending.offers.is_empty() {
            self.report(ProviderReport::Taken { offers: pending.offers, into_turn: true });
        }
    }

    fn resolved(&mut self, request: &Value) {
        let answered = self.questions.iter().find(|(_, question)| question.request() == request);
        if let Some(id) = answered.map(|(id, _)| id.clone()) {
            self.questions.remove(&id);
            self.report(ProviderReport::ApprovalClosed { id: id.into() });
        }
    }

    fn close_questions(&mut self) {
        for id in std::mem::take(&mut self.questions).into_keys() {
            self.report(ProviderReport::ApprovalClosed { id: id.into() });
        }
    }

    // The end of a connection, and of it all.

    fn broken(&mut self) {
        if self.phase == Phase::Done {
            return;
        }
        self.phase = Phase::Apart;
        for call in std::mem::take(&mut self.calls).into_values() {
            // What was handed over may have arrived: that is found out on the next connection.
            if let Some(op) = call.op() {
                self.fail(op, FailureKind::Unreachable, "the connection to codex broke before it answered");
            }
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
