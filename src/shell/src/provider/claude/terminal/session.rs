//! A session of Claude Code in a terminal, as a function without any I/O: hooks, lines of its transcript, what its screen shows and what is
//! asked for come in; reports, answers, and what is to be typed come out.
//!
//! The core hears of hooks by itself. Here is what they do not tell: an interrupt, the end of a usage limit, a turn of which the hook was
//! lost, and what happened while no runner was there. Nothing is typed unless the screen shows the input, empty and idle.

mod adopted;
mod asked;
mod typing;

use super::screen::Screen;
use super::transcript::{Entry, Failure};
use relay_runner_core::event::{
    ContextConfidence, ContextReport, ContextSource, ExitClass, FailureKind, ReportStatus, StatusReport, TakenOffer,
    TimelineReport, TurnEnd,
};
use relay_runner_core::format::offers_in;
use relay_runner_core::{OpId, OpResult, ProviderReport};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use typing::{Typing, What};

/// The hooks that say too little alone: what they mean is reported from here.
pub(crate) const OWN_HOOKS: &[&str] = &["StopFailure"];

/// How long what belongs together may come apart: the hook of an end, and its line in the transcript. Milliseconds, as all here.
const TOGETHER: u64 = 2_000;
/// How long a line of the monitor may take until Claude Code has it.
const HAS_IT_WITHIN: u64 = 10_000;
/// How long after its hook the end of a turn may come to stand in the transcript.
const RESTS_AFTER: u64 = 30_000;
/// Between two looks at a screen that is not ready yet.
const LOOK_EVERY: u64 = 500;
/// How long its input may be there without any hook.
const HOOKS_WITHIN: u64 = 20_000;
/// Between two signs of life of a turn in which the model speaks.
const LIVES_EVERY: u64 = 60_000;

/// What a session is begun with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Opening {
    /// The conversation that it is started in, or was in when it is taken up.
    pub(crate) conversation: String,
    /// It can be typed into.
    pub(crate) typed: bool,
    /// It lives already, and may have these.
    pub(crate) in_doubt: Option<Vec<TakenOffer>>,
    /// Of its transcript only the end is read: what is not there may have come before.
    #[serde(default)]
    pub(crate) partly: bool,
}

/// What can be asked of it, in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// `text` is all of them, as a person would paste it.
    Offer {
        offers: Vec<TakenOffer>,
        text: String,
    },
    Prompt {
        text: String,
    },
    /// Something that the agent is to know.
    Tell {
        text: String,
    },
    Interrupt,
    Probe,
    Compact,
    Clear,
    Decide,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum In {
    /// The process runs.
    Started,
    Hook {
        event: String,
        payload: Map<String, Value>,
    },
    /// What the transcript has besides; of one that is taken up, all of it at first.
    Read(Vec<Entry>),
    Screen(Screen),
    /// The terminal did not take what was typed.
    NotTyped(String),
    /// `heard`: somebody reads the monitor.
    Asked {
        op: OpId,
        ask: Ask,
        heard: bool,
    },
    /// A deadline may be due.
    Due,
    /// The process is to be stopped.
    Stopping,
    /// The process is over.
    Over,
}

/// A key, or a text, for the terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Keys {
    /// As a person pastes it; nothing is entered.
    Paste(String),
    Enter,
    Escape,
    /// Away with what stands before the cursor in its line.
    Clear,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Out {
    Report(ProviderReport),
    Answer(OpId, OpResult),
    /// These offers go through the monitor, which answers.
    Monitor {
        op: OpId,
        offers: Vec<TakenOffer>,
    },
    /// This goes through the monitor, which answers.
    Say {
        op: OpId,
        text: String,
    },
    /// The screen is to be read.
    Look,
    Type(Keys),
    /// The transcript of this conversation is to be read: what was written into it before this process is passed over, unless it
    /// is taken up.
    Follow(String),
    /// It is to be asked to end, by a signal.
    Terminate,
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
    /// No hook came yet.
    Starting,
    /// Taken up, and what happened meanwhile is not known yet.
    CatchingUp,
    Live,
    Done,
}

#[derive(Debug, Default)]
struct Turn {
    id: Option<String>,
    /// Its end stands in the transcript; at this time it is believed without a hook.
    ends_at: Option<u64>,
    /// It has failed, and what is known of that.
    failing: Option<Failing>,
    /// Its hook has said the end, which may have been held: it is over at this time, unless the model goes on.
    rests_at: Option<u64>,
}

#[derive(Debug)]
struct Failing {
    class: String,
    /// At this time no more is expected to come.
    until: u64,
}

/// Handed over, and no prompt has shown it yet.
#[derive(Debug)]
struct Pending {
    offer: TakenOffer,
    /// At this time it was lost on its way; never, once Claude Code has it, or where it was typed.
    lost_at: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Session {
    opening: Opening,
    conversation: String,
    phase: Phase,
    now: u64,
    turn: Option<Turn>,
    /// The turn that ended last.
    last: Option<String>,
    /// Until then a prompt may begin a turn without a hook.
    watched_until: u64,
    /// Of the turn that fails, from the transcript.
    failure: Option<Failure>,
    pending: Vec<Pending>,
    typing: Option<Typing>,
    waiting: VecDeque<(Option<OpId>, What)>,
    compacting: Option<OpId>,
    clearing: Option<OpId>,
    interrupting: bool,
    probes: Vec<OpId>,
    adopted: Option<adopted::Adopted>,
    look_at: Option<u64>,
    /// How often the same first question was seen.
    questions: u32,
    input_since: Option<u64>,
    lived_at: u64,
    model: Option<(String, Option<String>)>,
    used: Option<(u64, u64)>,
    stopping: bool,
    /// Since when it is ready.
    up_at: u64,
    /// Somebody has read the monitor.
    was_heard: bool,
    /// The monitor is gone, and that was said.
    falls_back: bool,
    /// Something that was pasted and not entered stands in the input.
    left: bool,
    out: Vec<Out>,
}

impl Session {
    pub(crate) fn new(opening: Opening) -> Self {
        let (conversation, is_adopted) = (opening.conversation.clone(), opening.in_doubt.is_some());
        Self {
            adopted: opening.in_doubt.clone().map(adopted::Adopted::new),
            opening,
            conversation,
            phase: if is_adopted { Phase::CatchingUp } else { Phase::Starting },
            now: 0,
            turn: None,
            last: None,
            watched_until: 0,
            failure: None,
            pending: Vec::new(),
            typing: None,
            waiting: VecDeque::new(),
            compacting: None,
            clearing: None,
            interrupting: false,
            probes: Vec::new(),
            look_at: None,
            questions: 0,
            input_since: None,
            lived_at: 0,
            model: None,
            used: None,
            stopping: false,
            up_at: 0,
            was_heard: false,
            falls_back: false,
            left: false,
            out: Vec::new(),
        }
    }

    /// It is ready for messages, or was.
    pub(crate) const fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Live | Phase::Done)
    }

    /// Something is on its way that the transcript may tell of.
    pub(crate) fn is_watched(&self) -> bool {
        let operates = self.interrupting || self.compacting.is_some() || self.clearing.is_some();
        let is_busy = self.turn.is_some() || !self.pending.is_empty() || operates || self.adopted.is_some();
        (is_busy || self.now < self.watched_until) && self.phase != Phase::Done
    }

    /// When [`In::Due`] is due, at the latest.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        if self.phase == Phase::Done {
            return None;
        }
        let turn = self.turn.as_ref();
        let turn = [
            turn.and_then(|turn| turn.ends_at),
            turn.and_then(|turn| turn.rests_at),
            turn.and_then(|turn| turn.failing.as_ref()).map(|f| f.until),
        ];
        let pending = self.pending.iter().filter_map(|pending| pending.lost_at).min();
        let adopted = self.adopted.as_ref().and_then(adopted::Adopted::until);
        let watched = Some(self.watched_until).filter(|until| *until > self.now);
        turn.into_iter().chain([pending, self.look_at, adopted, watched]).flatten().min()
    }

    /// `now` counts milliseconds from any beginning, and never goes back.
    pub(crate) fn step(&mut self, now: u64, input: In) -> Vec<Out> {
        self.now = now;
        if self.phase != Phase::Done {
            match input {
                In::Started => self.started(),
                In::Hook { event, payload } => self.hook(&event, &payload),
                In::Read(entries) if self.phase == Phase::CatchingUp => self.history(entries),
                In::Read(entries) => entries.into_iter().for_each(|entry| self.entry(entry)),
                In::Screen(screen) => self.screen(screen),
                In::NotTyped(why) => self.not_typed(&why),
                In::Asked { op, ask, heard } => self.asked(op, ask, heard),
                In::Due => self.due(),
                In::Stopping => self.stop(),
                In::Over => self.over(),
            }
        } else if let In::Asked { op, .. } = input {
            self.fail(op, FailureKind::NotReady, "Claude Code is being ended");
        } else if matches!(input, In::Over) {
            self.over();
        }
        std::mem::take(&mut self.out)
    }

    fn report(&mut self, report: ProviderReport) {
        self.out.push(Out::Report(report));
    }

    fn status(&mut self, report: StatusReport) {
        self.report(ProviderReport::Status(Box::new(report)));
    }

    fn answer(&mut self, op: OpId, result: OpResult) {
        self.out.push(Out::Answer(op, result));
    }

    fn fail(&mut self, op: OpId, kind: FailureKind, text: &str) {
        self.answer(op, OpResult::Failed(relay_runner_core::event::Failure { kind, text: text.into() }));
    }

    fn note(&mut self, warns: bool, text: String) {
        self.out.push(Out::Note { warns, text });
    }

    fn end(&mut self, class: ExitClass, detail: String) {
        self.phase = Phase::Done;
        self.out.push(Out::End { class, detail });
    }

    fn look(&mut self) {
        self.look_at = None;
        self.out.push(Out::Look);
    }

    fn started(&mut self) {
        if self.opening.in_doubt.is_some() {
            self.out.push(Out::Follow(self.conversation.clone()));
        } else if self.opening.typed {
            self.look_at = Some(self.now + LOOK_EVERY);
        }
    }

    fn due(&mut self) {
        let now = self.now;
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        if is_due(self.look_at) {
            self.look();
        }
        let turn = self.turn.as_ref();
        let (ends, fails) = (
            turn.and_then(|turn| turn.ends_at),
            turn.and_then(|turn| turn.failing.as_ref()).map(|failing| failing.until),
        );
        let rests = turn.and_then(|turn| turn.rests_at);
        if is_due(fails) {
            self.turn_failed();
        } else if is_due(rests) || is_due(ends) && rests.is_some() {
            self.turn_rests();
        } else if is_due(ends) {
            // The hook was lost.
            self.turn_over(TurnEnd::Normal);
        }
        let is_lost = |pending: &Pending| pending.lost_at.is_some_and(|at| at <= now);
        let (lost, kept) = std::mem::take(&mut self.pending).into_iter().partition(is_lost);
        self.pending = kept;
        self.missed(lost);
        if is_due(self.adopted.as_ref().and_then(adopted::Adopted::until)) {
            self.caught_up();
        }
    }

    /// Its end was said, and is in the transcript. A prompt that waited may begin another at once.
    fn turn_rests(&mut self) {
        self.last = self.turn.take().and_then(|turn| turn.id);
        self.watched_until = self.now + TOGETHER;
    }

    /// Claude Code passes over lines of a monitor that come too fast, and may have been killed with one on its way.
    fn missed(&mut self, lost: Vec<Pending>) {
        if !lost.is_empty() {
            self.report(ProviderReport::Missed { offers: lost.into_iter().map(|pending| pending.offer).collect() });
        }
    }

    fn hook(&mut self, event: &str, payload: &Map<String, Value>) {
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

    fn is_ready(&mut self) {
        self.phase = Phase::Live;
        self.look_at = None;
        self.up_at = self.now;
        if self.opening.in_doubt.is_none() {
            self.out.push(Out::Follow(self.conversation.clone()));
        }
        self.report(ProviderReport::Conversation { id: self.conversation.as_str().into() });
        self.report(ProviderReport::Ready);
    }

    /// The conversation that it is in: another one after it was cleared.
    fn is_in(&mut self, id: &str) {
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

    fn entry(&mut self, entry: Entry) {
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
                self.failure = Some(failure);
                let running = self.turn.get_or_insert_default();
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

    fn begin(&mut self, id: Option<String>) {
        self.status(StatusReport {
            status: ReportStatus::Busy,
            id: id.as_deref().map(Into::into),
            ..StatusReport::default()
        });
        self.failure = None;
        self.turn = Some(Turn { id, ..Turn::default() });
    }

    fn spoke(&mut self, model: String, effort: Option<String>, used: u64, window: u64) {
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

    fn turn_over(&mut self, end: TurnEnd) {
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

    /// All is known of a failed turn that will be: its hook, its line in the transcript, or one of them.
    fn turn_failed(&mut self) {
        let class = self.turn.as_mut().and_then(|turn| turn.failing.take()).map(|failing| failing.class);
        let failure = self.failure.take().unwrap_or_default();
        let class = class.filter(|class| !class.is_empty()).unwrap_or_else(|| failure.class.clone());
        let words = failure.words.trim();
        let why = if words.is_empty() { class.clone() } else { format!("{class}: {words}") };
        match class.as_str() {
            // Whoever sits before it sees what it says, and it goes on by itself or by them.
            _ if !self.opening.typed => self.turn_over(TurnEnd::Failed { error: why.as_str().into() }),
            _ if failure.limit.is_some() => {
                let ends = failure.limit.and_then(|limit| limit.ends);
                let until = ends.map(|seconds| seconds.saturating_mul(1_000));
                self.end(ExitClass::UsageLimit { until }, why);
            }
            "authentication_failed" => {
                let next = "log in (run `claude`, then /login, with the same CLAUDE_CONFIG_DIR), or mend ANTHROPIC_API_KEY; then `relay-runner \
                            restart`";
                self.end(ExitClass::Refused, format!("{why}; {next}"));
            }
            "billing_error" => {
                self.end(
                    ExitClass::Refused,
                    format!("{why}; put that right with Anthropic, then `relay-runner restart`"),
                );
            }
            _ => self.turn_over(TurnEnd::Failed { error: why.as_str().into() }),
        }
    }

    fn stop(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        for (op, _) in std::mem::take(&mut self.waiting) {
            if let Some(op) = op {
                self.fail(op, FailureKind::NotReady, "Claude Code is being stopped");
            }
        }
        if self.opening.typed && self.phase == Phase::Live && self.typing.is_none() {
            self.types(None, What::Exit);
        } else {
            self.out.push(Out::Terminate);
        }
    }

    fn over(&mut self) {
        self.phase = Phase::Done;
        let typing = self.typing.take().and_then(|typing| typing.op);
        let waiting = std::mem::take(&mut self.waiting).into_iter().filter_map(|(op, _)| op);
        let others = [self.compacting.take(), self.clearing.take()].into_iter().flatten();
        let probes = std::mem::take(&mut self.probes);
        let all: Vec<OpId> = typing.into_iter().chain(waiting).chain(others).chain(probes).collect();
        for op in all {
            self.fail(op, FailureKind::Unreachable, "Claude Code ended before it was done");
        }
    }
}

#[cfg(test)]
mod tests;
