//! Orders and questions: one outcome each, the first answer counts, and no decision reaches what is over (invariant 6).

use std::collections::{BTreeMap, BTreeSet};

use relay_runner_core::config::Mode;
use relay_runner_core::event::{FailureKind, Signal};
use relay_runner_core::{Answer, DurableFacts, OpId, Outcome, RequestId, Stamp, Text};
use relay_runner_protocol::CommandStatus;

use super::{Truth, Watched, wrong};

#[derive(Debug, Default)]
pub(super) struct Orders {
    /// Commands of the relay, with the outcome that was said first, and under which key.
    commands: BTreeMap<Text, Command>,
    foreign: BTreeSet<Text>,
    /// Those that ask for the end, and were not taken in yet.
    ends: BTreeSet<Text>,
    /// Who waits at the control server, and since when.
    waiting: BTreeMap<RequestId, u64>,
    /// A command or a signal asked for the end.
    going_down: bool,
    /// By what is being heard: what was due before that is still done.
    end_asked: bool,
    questions: BTreeMap<Text, Question>,
    deciding: BTreeMap<OpId, Text>,
    /// The turn that runs was interrupted.
    interrupted: bool,
    interrupts: BTreeSet<OpId>,
}

#[derive(Debug, Default, Clone)]
struct Command {
    outcome: Option<(Outcome, OpId)>,
    accepted: Option<OpId>,
    /// The run before had its outcome.
    concluded: bool,
    /// It need not have an outcome any more.
    excused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Open,
    Deciding,
    Over,
}

impl Orders {
    pub(super) fn starts(&mut self, facts: &DurableFacts) {
        let (mut commands, foreign) = (std::mem::take(&mut self.commands), std::mem::take(&mut self.foreign));
        for fact in &facts.commands {
            let command = commands.entry(fact.id.clone()).or_default();
            command.excused = false;
            command.concluded = fact.outcome.is_some();
        }
        *self = Self { commands, foreign, ..Self::default() };
    }

    pub(super) fn forgets(&mut self) {
        self.commands.clear();
    }

    /// Another has the agent: what was not said by now is said by nobody.
    pub(super) fn superseded(&mut self) {
        self.commands.values_mut().for_each(|command| command.excused = true);
    }

    pub(super) fn loses_power(&mut self) {
        self.commands.retain(|_, command| command.excused);
        self.commands.values_mut().for_each(|command| command.outcome = None);
    }

    pub(super) fn ordered(&mut self, id: &Text, name: &str) {
        let known = self.commands.contains_key(id);
        if known || self.foreign.contains(id) {
            return;
        }
        if matches!(name, "agent.shutdown" | "agent.kill") {
            self.ends.insert(id.clone());
        }
    }

    /// It was taken in already.
    pub(super) fn knows(&self, id: &Text) -> bool {
        self.commands.contains_key(id)
    }

    /// A command for somebody else.
    pub(super) fn is_foreign(&mut self, id: &Text) {
        self.foreign.insert(id.clone());
    }

    /// The core says that it has taken a command in.
    pub(super) fn accepts(&mut self, id: &str) {
        if !self.foreign.contains(id) {
            self.going_down |= self.ends.remove(id);
            self.commands.entry(id.into()).or_default();
        }
    }

    pub(super) fn ordered_here(&mut self, at: Stamp, request: RequestId, name: &str) {
        self.waiting.insert(request, at.mono);
        if matches!(name, "agent.shutdown" | "agent.kill") {
            self.end_asked = true;
        }
    }

    pub(super) fn signalled(&mut self, _at: Stamp, signal: Signal, truth: &Truth<'_>) {
        let ends = match signal {
            Signal::Term | Signal::Int | Signal::Quit | Signal::Usr2 => true,
            Signal::Hup => truth.setup.mode == Mode::Interactive,
        };
        self.end_asked |= ends;
    }

    pub(super) const fn another_step(&mut self) {
        self.going_down |= self.end_asked;
    }

    pub(super) const fn is_going_down(&self) -> bool {
        self.going_down
    }

    pub(super) fn may_spawn(&self) -> Watched {
        if self.going_down {
            return wrong(1, "a process is started after the end was asked for");
        }
        Ok(())
    }

    pub(super) fn reports(
        &mut self,
        id: &Text,
        status: CommandStatus,
        outcome: Option<&Outcome>,
        key: OpId,
    ) -> Watched {
        let command = self.commands.entry(id.clone()).or_default();
        match (&command.outcome, outcome) {
            (None, Some(outcome)) => command.outcome = Some((outcome.clone(), key)),
            (None, None) => {
                if status == CommandStatus::Accepted {
                    command.accepted.get_or_insert(key);
                }
            }
            (Some((first, _)), Some(outcome)) if first != outcome => {
                return wrong(6, format!("command {id} has another outcome: {outcome}, not {first}"));
            }
            (Some((_, first)), Some(_)) if *first != key => {
                return wrong(6, format!("the outcome of command {id} is said as another request"));
            }
            (Some(_), Some(_)) => {}
            (Some(_), None) => {
                return wrong(6, format!("command {id} is {} after its outcome", status.as_str()));
            }
        }
        Ok(())
    }

    pub(super) fn answers(&mut self, request: RequestId, answer: &Answer) -> Watched {
        if matches!(answer, Answer::Command(_)) && self.waiting.remove(&request).is_none() {
            return wrong(6, format!("request {} is answered twice", request.0));
        }
        Ok(())
    }

    pub(super) fn asked(&mut self, id: &Text, _by: Option<RequestId>) {
        let question = self.questions.entry(id.clone()).or_insert(Question::Open);
        if *question == Question::Over {
            *question = Question::Open;
        }
    }

    pub(super) fn is_answered(&mut self, id: &Text) {
        self.questions.insert(id.clone(), Question::Over);
    }

    pub(super) fn turn_ends(&mut self) {
        self.questions.values_mut().for_each(|question| *question = Question::Over);
        self.interrupted = false;
        self.interrupts.clear();
    }

    pub(super) fn turn_begins(&mut self) {
        self.interrupted = false;
        self.interrupts.clear();
    }

    pub(super) fn process_ends(&mut self) {
        self.turn_ends();
        self.deciding.clear();
    }

    pub(super) fn another_process(&mut self) {
        self.process_ends();
    }

    pub(super) fn decides(&mut self, op: OpId, id: &Text) -> Watched {
        match self.questions.get(id) {
            Some(Question::Open) => {}
            Some(Question::Deciding) => return wrong(6, format!("a second decision about {id} is passed on")),
            Some(Question::Over) => return wrong(6, format!("a decision about {id} is passed on, which is over")),
            None => return wrong(6, format!("a decision about {id} is passed on, which nobody asked")),
        }
        self.questions.insert(id.clone(), Question::Deciding);
        self.deciding.insert(op, id.clone());
        Ok(())
    }

    pub(super) fn answered(&mut self, op: OpId, failure: Option<FailureKind>) {
        if let Some(id) = self.deciding.remove(&op)
            && let Some(question) = self.questions.get_mut(&id)
            && *question == Question::Deciding
        {
            *question = if failure.is_some() { Question::Open } else { Question::Over };
        }
        if self.interrupts.remove(&op) && failure.is_some() {
            self.interrupted = false;
        }
    }

    pub(super) fn interrupts(&mut self, op: OpId) -> Watched {
        if self.interrupted {
            return wrong(2, "a turn that is being interrupted is interrupted again");
        }
        self.interrupted = true;
        self.interrupts.insert(op);
        Ok(())
    }

    pub(super) const fn interrupted(&self) -> bool {
        self.interrupted
    }

    pub(super) fn rests(&self) -> Watched {
        if let Some((request, since)) = self.waiting.first_key_value() {
            return wrong(6, format!("request {} of {since} has no answer", request.0));
        }
        Ok(())
    }

    pub(super) fn is_excused(&self, id: &Text) -> bool {
        self.commands.get(id).is_some_and(|command| command.excused)
    }

    /// Those that the core was told of and that have no outcome.
    pub(super) fn open(&self) -> impl Iterator<Item = &Text> {
        let open = |command: &Command| command.outcome.is_none() && !command.concluded && !command.excused;
        self.commands.iter().filter(move |(_, command)| open(command)).map(|(id, _)| id)
    }
}
