//! Turns: stretches of provider work between busy and idle, and what their ends mean for messages and tasks
//! (behaviour 7).

use alloc::collections::VecDeque;
use relay_runner_protocol::{Stage, TaskStatus};
use serde::{Deserialize, Serialize};

use crate::Core;
use crate::deadlines::TimerKey;
use crate::effect::{Act, Effect, Effects, Repeat};
use crate::event::{OpResult, ReportStatus, StatusReport, TurnEnd};
use crate::flags::Flag;
use crate::ids::{MessageId, Text, TurnNumber};
use crate::inbox::Item;
use crate::lifecycle::Input;
use crate::mutant::Mutant;
use crate::note::Note;
use crate::ops::Op;
use crate::settling::BY_A_PERSON;
use crate::work::{Id, Kind};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turns {
    current: Option<Turn>,
    next: TurnNumber,
    /// The provider's ids of the turns that ended last: what says their end again says nothing new.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    ended: VecDeque<Text>,
}

/// Ids of ended turns that are remembered.
const ENDED: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Turn {
    number: TurnNumber,
    /// The provider's own id, where it gives one.
    id: Option<Text>,
    /// Without a sign of life for too long, and a probe could not confirm it.
    #[serde(default)]
    unverified: bool,
    /// We interrupted it, for an urgent message.
    #[serde(default)]
    interrupting: bool,
}

impl Turns {
    pub(crate) const fn new(next: TurnNumber) -> Self {
        Self { current: None, next, ended: VecDeque::new() }
    }

    pub(crate) fn current(&self) -> Option<TurnNumber> {
        self.current.as_ref().map(|turn| turn.number)
    }

    /// Whether this is the provider's own name of the turn that runs.
    pub(crate) fn is_current(&self, id: Option<&Text>) -> bool {
        id.is_some() && self.current.as_ref().is_some_and(|turn| turn.id.as_ref() == id)
    }

    /// The turn that keeps the provider from taking something else. One that cannot be confirmed does not.
    pub(crate) fn running(&self) -> Option<TurnNumber> {
        self.current.as_ref().filter(|turn| !turn.unverified).map(|turn| turn.number)
    }

    pub(crate) fn is_unverified(&self) -> bool {
        self.current.as_ref().is_some_and(|turn| turn.unverified)
    }

    pub(crate) const fn next_number(&self) -> TurnNumber {
        self.next
    }

    fn has_ended(&mut self, id: Text) {
        if self.ended.len() == ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(id);
    }
}

impl Core {
    /// A report of the living provider session on what it does.
    pub(crate) fn status_report(&mut self, report: &StatusReport, fx: &mut Effects) {
        let kind = Kind::of(report.reason.as_ref());
        if let Some(entry) = &report.timeline {
            let at = entry.timestamp.unwrap_or(self.now.wall);
            self.status.timeline(entry.status.clone(), entry.id.clone(), at, self.config.limits.timeline);
        }
        match (report.status, &kind) {
            (ReportStatus::Busy, Kind::ProviderTurn) => {
                self.open_reported(kind, report, fx);
                self.turn_busy(report.id.as_ref(), fx);
            }
            (ReportStatus::Busy, _) => self.open_reported(kind, report, fx),
            // A session that begins inside a turn, as by a compaction, does not end it.
            (ReportStatus::Idle, Kind::ProviderTurn) if report.begins_a_session() && self.turns.current.is_some() => {}
            (ReportStatus::Idle, Kind::ProviderTurn) => {
                self.turn_idle(report.id.as_ref(), &report.end, &report.still_running, fx);
            }
            (ReportStatus::Idle, kind) => self.close_reported(kind, report.id.as_ref()),
            (ReportStatus::Error, kind) if *kind != Kind::ProviderTurn => self.close_reported(kind, report.id.as_ref()),
            (ReportStatus::Error, _) => {
                let end = TurnEnd::Failed { error: report.label.clone().unwrap_or_else(|| "error".into()) };
                self.turn_idle(None, &end, &report.still_running, fx);
            }
            // The process lives; its exit is what says that it is over.
            (ReportStatus::Offline, _) => {}
        }
        for name in &report.clear {
            match Kind::of(Some(name)) {
                Kind::ProviderTurn => self.turn_idle(None, &TurnEnd::Interrupted { by_person: false }, &[], fx),
                kind => self.work.end_kind(&kind),
            }
        }
        self.sign_of_life(fx);
    }

    fn open_reported(&mut self, kind: Kind, report: &StatusReport, fx: &mut Effects) {
        let most = self.config.limits.work;
        if !self.work.report(kind, Id::of(report.id.as_ref()), report, self.now.wall, most) {
            fx.note(Note::Full { what: "work", dropped: 1 });
        }
    }

    fn close_reported(&mut self, kind: &Kind, id: Option<&Text>) {
        match id {
            Some(_) => {
                self.work.end(kind, &Id::of(id));
            }
            None => self.work.end_kind(kind),
        }
    }

    /// Any report shows that what the session has open lives.
    pub(crate) fn sign_of_life(&mut self, fx: &mut Effects) {
        if !self.work.has_session_work() {
            self.deadlines.clear(TimerKey::TurnProbe);
            return;
        }
        self.deadlines.arm(TimerKey::TurnProbe, self.now.mono, self.config.timing.turn_probe);
        self.work.confirm();
        if let Some(turn) = self.turns.current.as_mut().filter(|turn| turn.unverified) {
            turn.unverified = false;
            let number = turn.number;
            self.deadlines.clear(TimerKey::Turnless);
            let doubted = |item: &Item| item.stage == Stage::Ambiguous && item.turn == Some(number);
            let mut last = None;
            while let Some(message) = self.inbox.next_shown(last, doubted) {
                last = Some(message);
                self.certain_again(message, fx);
            }
        }
    }

    fn turn_busy(&mut self, id: Option<&Text>, fx: &mut Effects) {
        if self.turns.is_unverified()
            && self.turns.current.as_ref().is_some_and(|turn| turn.id.as_ref() != id || id.is_none())
        {
            // A turn begins, so the one that nobody heard of any more is over.
            self.turn_unseen(fx);
            self.open_turn(id);
        }
        if let Some(turn) = &mut self.turns.current {
            match (&turn.id, id) {
                (Some(running), Some(id)) if running != id => {
                    let id = id.clone();
                    self.turn_unseen(fx);
                    self.open_turn(Some(&id));
                }
                (None, Some(id)) => {
                    turn.id = Some(id.clone());
                    return;
                }
                (_, None) | (Some(_), Some(_)) => return,
            }
        }
        let number = self.turns.next;
        self.turns.next += 1;
        self.turns.current = Some(Turn { number, id: id.cloned(), unverified: false, interrupting: false });
        fx.note(Note::TurnBegan { turn: number });
        self.prompt_is_taken(fx);
        self.approvals_have_a_turn(number);
        // What was taken while idle is worked by this turn.
        while let Some(message) = self.inbox.next_shown(None, |item| item.turn.is_none()) {
            self.inbox.update(message, |item| {
                item.stage = Stage::Taken;
                item.turn = Some(number);
            });
        }
        self.deadlines.clear(TimerKey::TurnGrace);
        self.deadlines.clear(TimerKey::Turnless);
        self.deadlines.clear(TimerKey::Take);
        self.lifecycle_input(&Input::Turn(true), fx);
    }

    /// The end of the turn was not seen: nothing says that it was a normal one.
    pub(crate) fn turn_unseen(&mut self, fx: &mut Effects) {
        let Some(number) = self.turns.current() else { return };
        // It may have been worked all the same.
        let had = |item: &Item| item.turn == Some(number);
        let mut last = None;
        while let Some(message) = self.inbox.next_shown(last, had) {
            last = Some(message);
            self.inbox.update(message, |item| item.repeat = Repeat::Ambiguous);
        }
        let end = if self.config.is_mutant(Mutant::CompletesAnUnseenTurn) {
            TurnEnd::Normal
        } else {
            TurnEnd::Failed { error: "the end of its turn was not seen".into() }
        };
        self.end_turn(&end, &[], fx);
    }

    fn open_turn(&mut self, id: Option<&Text>) {
        let most = self.config.limits.work;
        self.work.report(Kind::ProviderTurn, Id::of(id), &StatusReport::default(), self.now.wall, most);
    }

    fn turn_idle(&mut self, id: Option<&Text>, end: &TurnEnd, still_running: &[Text], fx: &mut Effects) {
        let Some(turn) = &self.turns.current else {
            // No turn, so nothing was worked: a task is done by its own turn only.
            self.work.end_kind(&Kind::ProviderTurn);
            self.unseen_turn_ended(id, fx);
            return;
        };
        if let (Some(ended), Some(current)) = (id, &turn.id)
            && ended != current
        {
            fx.note(Note::Stale { what: "end of another turn", number: turn.number });
            self.work.end(&Kind::ProviderTurn, &Id::of(id));
            if self.believes_less() {
                self.unseen_turn_ended(id, fx);
            }
            return;
        }
        self.end_turn(end, still_running, fx);
        self.lifecycle_input(&Input::Turn(false), fx);
        self.drained(fx);
    }

    /// A turn ended that nobody saw begin. What waited for a turn may have been of this one, or of none yet: the next turn
    /// does not have it.
    fn unseen_turn_ended(&mut self, id: Option<&Text>, fx: &mut Effects) {
        let doubts = self.config.flags.has(Flag::DoubtsWhatAnUnseenTurnHad);
        let Some(id) = id.filter(|id| doubts && !self.turns.ended.contains(id)) else { return };
        self.turns.has_ended(id.clone());
        let number = self.turns.next;
        self.turns.next += 1;
        while let Some(message) = self.inbox.next_shown(None, |item| item.turn.is_none()) {
            self.doubt(message, "its turn ended, and nobody saw it begin", fx);
            self.inbox.update(message, |item| item.turn = Some(number));
        }
    }

    fn end_turn(&mut self, end: &TurnEnd, still_running: &[Text], fx: &mut Effects) {
        let Some(Turn { number, interrupting, id, .. }) = self.turns.current.take() else { return };
        if let Some(id) = id
            && self.config.flags.has(Flag::DoubtsWhatAnUnseenTurnHad)
        {
            self.turns.has_ended(id);
        }
        self.work.end_kind(&Kind::ProviderTurn);
        // Its own end may have been lost; nothing is compacted any more.
        self.work.end_kind(&Kind::Compaction);
        self.work.end_subagents_but(still_running);
        self.approvals_of_turn(number, fx);
        let how = match end {
            TurnEnd::Normal => "normally",
            TurnEnd::Failed { .. } => "failed",
            TurnEnd::Interrupted { .. } => "interrupted",
        };
        fx.note(Note::TurnEnded { turn: number, how });
        let any = self.config.is_mutant(Mutant::CompletesAtAnyIdle);
        let had = |item: &Item| {
            matches!(item.stage, Stage::Taken | Stage::Ambiguous) && item.turn == Some(number)
                || any && item.stage == Stage::Taken
        };
        let blamed = self.config.is_mutant(Mutant::BlamesWhatMadeWay);
        let mut last = None;
        while let Some(message) = self.inbox.next_shown(last, had) {
            last = Some(message);
            match end {
                TurnEnd::Normal => self.worked(message, fx),
                TurnEnd::Failed { .. } if self.config.is_mutant(Mutant::CompletesAFailedTurn) => {
                    self.worked(message, fx);
                }
                // It was we who broke it off: that is no failure of the message.
                TurnEnd::Failed { .. } | TurnEnd::Interrupted { by_person: false } if interrupting && !blamed => {
                    self.made_way(message, fx);
                }
                TurnEnd::Failed { error } => self.not_worked(message, error, fx),
                TurnEnd::Interrupted { by_person: false } => self.not_worked(message, &"interrupted".into(), fx),
                TurnEnd::Interrupted { by_person: true } => {
                    self.set_aside(message, &BY_A_PERSON.into(), TaskStatus::Blocked, fx);
                }
            }
        }
        if !self.config.adapter.evidence && *end != TurnEnd::Normal && self.believes_less() {
            // Nothing shows whether what was handed over while it ran was its own or waits for the next.
            while let Some(message) = self.inbox.next_shown(None, |i| i.stage == Stage::Taken && i.turn.is_none()) {
                self.doubt(message, "it was handed over in a turn that did not end normally", fx);
                self.inbox.update(message, |item| item.turn = Some(number));
            }
        }
        self.touched.inbox = true;
        self.wait_for_taking();
        self.wait_for_a_turn();
    }

    /// What was taken is to be worked by a turn that begins soon.
    fn wait_for_a_turn(&mut self) {
        if self.inbox.shown().any(|(_, item)| item.stage == Stage::Taken) {
            self.deadlines.arm(TimerKey::Turnless, self.now.mono, self.config.timing.take_timeout);
        }
    }

    /// Offered again, marked, and after the urgent message that it made way for.
    fn made_way(&mut self, id: MessageId, fx: &mut Effects) {
        self.put_back(id, Repeat::Redelivered, 0, fx);
        if self.inbox.get(id).is_some() {
            self.say_stage(id, Stage::Held, Some("interrupted for an urgent message".into()), fx);
        }
    }

    /// Offered again, marked, twice at most.
    fn not_worked(&mut self, id: MessageId, error: &Text, fx: &mut Effects) {
        let most = self.config.limits.failed_turns;
        let Some((failed, taken_over)) = self.inbox.update(id, |item| {
            item.failed_turns += 1;
            (item.failed_turns, item.taken_over)
        }) else {
            return;
        };
        if taken_over {
            self.forget_message(id, fx);
        } else if failed > most {
            self.set_aside(id, error, TaskStatus::Failed, fx);
        } else {
            self.put_back(id, Repeat::Redelivered, 0, fx);
            self.say_stage(id, Stage::Held, Some(error.clone()), fx);
        }
    }

    /// No report for ten minutes: what cannot be confirmed is shown as unverified.
    pub(crate) fn turn_is_silent(&mut self, fx: &mut Effects) {
        if !self.work.has_session_work() {
            return;
        }
        self.probe(fx);
        self.deadlines.arm(TimerKey::TurnProbe, self.now.mono, self.config.timing.turn_probe);
    }

    pub(crate) fn probe_answered(&mut self, result: &OpResult, fx: &mut Effects) {
        if !matches!(result, OpResult::Failed(_)) {
            self.sign_of_life(fx);
            return;
        }
        if self.config.is_mutant(Mutant::WaitsForSilentTurns) {
            return;
        }
        self.work.mark_unverified();
        let Some(turn) = self.turns.current.as_mut().filter(|turn| !turn.unverified) else { return };
        turn.unverified = true;
        let number = turn.number;
        // Whether the provider still works on them is not known; what comes after them need not wait for that.
        let had = |item: &Item| item.stage == Stage::Taken && item.turn == Some(number);
        let mut last = None;
        while let Some(message) = self.inbox.next_shown(last, had) {
            last = Some(message);
            self.doubt(message, "its turn gave no sign of life, and could not be confirmed", fx);
        }
        // Nor is the turn a reason any more to wait for what was handed over.
        self.wait_for_taking();
        self.wait_for_a_turn();
        self.touched.inbox = true;
        self.drained(fx);
    }

    /// Something urgent waits, and the turn that runs is to make way for it: it is interrupted, once.
    pub(crate) fn interrupt_turn(&mut self, fx: &mut Effects) {
        let again = self.config.is_mutant(Mutant::InterruptsAgain);
        let Some(turn) = self.turns.current.as_mut().filter(|turn| !turn.interrupting || again) else { return };
        turn.interrupting = true;
        let generation = self.lifecycle.generation();
        let op = self.ops.start(Op::Interrupt(generation), self.after(self.config.timing.call_deadline));
        fx.push(Effect::Provider { op, generation, act: Act::Interrupt });
    }

    /// The turn of a process that is over ended with it, and completed nothing.
    pub(crate) fn turn_of_the_dead(&mut self) {
        self.turns.current = None;
        self.deadlines.clear(TimerKey::TurnProbe);
        self.work.end_session();
    }
}
