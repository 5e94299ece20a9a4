//! A session of Claude Code in a terminal, as a function without any I/O: hooks, lines of its transcript, what its screen shows and what is
//! asked for come in; reports, answers, and what is to be typed come out.
//!
//! The core hears of hooks by itself. Here is what they do not tell: an interrupt, the end of a usage limit, a turn of which the hook was
//! lost, and what happened while no runner was there. Nothing is typed unless the screen shows the input, empty and idle.

mod adopted;
mod asked;
mod shown;
mod typing;

use super::screen::Screen;
use super::transcript::{Entry, Failure};
use relay_runner_core::event::{ExitClass, FailureKind, StatusReport, TakenOffer, TurnEnd};
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

    /// Claude Code passes over lines of a monitor that come too fast, and may have been killed with one on its way.
    fn missed(&mut self, lost: Vec<Pending>) {
        if !lost.is_empty() {
            self.report(ProviderReport::Missed { offers: lost.into_iter().map(|pending| pending.offer).collect() });
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
