//! What Claude Code shows of itself: how far our messages got, turns, subagents and compaction.

use super::asking::Question;
use super::{Command, Out, Pending, Running, Session, What};
use crate::provider::claude::failures::Meaning;
use crate::provider::claude::stream::words::{self, Ended, Heard, State};
use relay_runner_core::event::{
    ContextConfidence, ContextReport, ContextSource, ExitClass, FailureKind, ReportStatus, StatusReport,
    TimelineReport, TurnEnd,
};
use relay_runner_core::{OpResult, ProviderReport, Text};
use serde_json::json;

/// The compaction that is under way: there is never another.
const COMPACTION: &str = "compaction";
/// A turn of which it does not say which it is.
const NAMELESS: &str = "turn";

impl Session {
    pub(super) fn showed(&mut self, heard: Heard) {
        match heard {
            Heard::Message { uuid, state } => self.got(&uuid, state),
            Heard::Init { turn, session, model } => {
                self.goes_on_in(session);
                self.uses(model.as_deref());
                // Nobody's message: a subagent in the background has ended.
                if self.turn.is_none() {
                    self.begin(turn, false);
                }
            }
            Heard::Said { by_subagent, failing, used } => {
                if let Some(running) = self.turn.as_mut().filter(|_| !by_subagent) {
                    running.used = used.or(running.used);
                    running.failing = failing.or(running.failing.take());
                }
                self.lives();
            }
            Heard::Life => self.lives(),
            Heard::Retry { attempt, text } => {
                self.note(attempt.is_power_of_two(), format!("claude: {text}"));
                self.lives();
            }
            Heard::Compacting(is) => self.compacts(is),
            Heard::Compacted(tokens) => self.compacted(tokens),
            Heard::TaskStarted { task, label, in_background } => {
                if self.subagents.insert(task.clone(), in_background).is_none() {
                    self.work("subagent", &task, label, false, "subagent-started");
                }
            }
            Heard::TaskMoved { task, in_background } => {
                if let Some(is) = self.subagents.get_mut(&task) {
                    *is = in_background;
                }
            }
            Heard::TaskEnded { task } => self.subagent_ended(&task),
            Heard::InBackground(tasks) => self.work_in_background(&tasks),
            Heard::Limit { ends } => self.limit_ends = ends,
            Heard::Cleared => {
                if let Some(running) = &mut self.turn {
                    running.commanded |= matches!(running.command, Some((_, Command::Clear)));
                }
            }
            Heard::Ended(ended) => self.ended(&ended),
            // What is answered and asked is seen to elsewhere.
            Heard::Answer { .. } | Heard::Request { .. } | Heard::Withdrawn { .. } | Heard::Odd(_) | Heard::Nothing => {
            }
        }
    }

    fn lives(&mut self) {
        if self.turn.as_ref().is_some_and(|running| !running.is_silent) {
            self.report(ProviderReport::SignOfLife);
        }
    }

    pub(super) fn uses(&mut self, model: Option<&str>) {
        let Some(model) = model.filter(|model| self.model.as_deref() != Some(model)) else { return };
        self.model = Some(model.to_owned());
        let effort = self.effort.as_deref().map(Text::from);
        self.report(ProviderReport::Model { model: model.into(), effort });
    }

    fn goes_on_in(&mut self, session: Option<String>) {
        let Some(session) = session.filter(|session| !session.is_empty() && *session != self.conversation) else {
            return;
        };
        self.report(ProviderReport::Conversation { id: session.as_str().into() });
        self.conversation = session;
    }

    /// How far a message of ours got. That it has started is the evidence.
    fn got(&mut self, uuid: &str, state: State) {
        if state == State::Queued {
            return;
        }
        let Some(at) = self.pending.iter().position(|pending| pending.uuid == uuid) else { return };
        let pending = self.pending.remove(at);
        if state == State::Started {
            self.started(pending);
        } else {
            self.lost(pending);
        }
        if self.turn.is_none() && self.pending.is_empty() {
            self.interrupts_next = false;
            if self.stopping {
                self.out.push(Out::Quiet);
            }
        }
        self.go_on();
    }

    fn started(&mut self, Pending { uuid, what }: Pending) {
        // One in which the model was only to be told something is a turn of what joins it.
        let joins_silence = self.turn.as_ref().is_some_and(|running| running.is_silent) && what != What::Told;
        if self.turn.is_none() {
            self.begin(uuid, what == What::Told);
        } else if joins_silence && let Some(Running { id, .. }) = self.turn.take() {
            self.begin(id, false);
        }
        match what {
            What::Offers(offers) => self.report(ProviderReport::Taken { offers, into_turn: true }),
            What::Command(op, command) => {
                if let Some(running) = &mut self.turn {
                    running.command = Some((op, command));
                }
            }
            What::Prompt | What::Told => {}
        }
    }

    /// It never starts: nobody has it.
    fn lost(&mut self, pending: Pending) {
        match pending.what {
            What::Offers(offers) => self.report(ProviderReport::Missed { offers }),
            What::Command(op, _) => self.fail(op, FailureKind::Provider, "claude dropped it"),
            What::Prompt => self.note(true, "claude dropped the first prompt".to_owned()),
            What::Told => self.note(true, "claude dropped what it was told".to_owned()),
        }
    }

    fn begin(&mut self, id: String, is_silent: bool) {
        let id = if id.is_empty() { NAMELESS.to_owned() } else { id };
        if !is_silent {
            let id = Some(id.as_str().into());
            let report = StatusReport { status: ReportStatus::Busy, id, ..StatusReport::default() };
            self.report(ProviderReport::Status(Box::new(report)));
        }
        let (failing, used) = (None, None);
        self.turn =
            Some(Running { id, is_silent, stopped_by_us: false, failing, used, command: None, commanded: false });
        if !is_silent && (self.stopping || std::mem::take(&mut self.interrupts_next)) {
            self.interrupt(None);
        }
    }

    fn ended(&mut self, ended: &Ended) {
        let Some(running) = self.turn.take() else { return self.ended_without_turn(ended) };
        self.goes_on_in(ended.session.clone());
        let end = match ended.meaning(running.failing.as_ref(), running.stopped_by_us) {
            Meaning::Turn(end) => end,
            Meaning::Limit { why } => {
                self.turn = Some(running);
                let until = self.limit_ends.map(|seconds| seconds.saturating_mul(1_000));
                return self.end(ExitClass::UsageLimit { until }, why);
            }
            Meaning::Refused { why } => {
                self.turn = Some(running);
                return self.end(ExitClass::Refused, format!("claude: {why}"));
            }
        };
        let open = self.close_questions();
        self.compacts(false);
        self.window = ended.window(self.model.as_deref()).or(self.window);
        if let (Some(used), Some(window)) = (running.used, self.window) {
            self.context(used, window, ContextConfidence::Exact);
        }
        let Running { id, is_silent, command, commanded, .. } = running;
        if let Some((op, command)) = command {
            match (&end, commanded) {
                (TurnEnd::Normal, true) => {
                    let said = match command {
                        Command::Compact => OpResult::Ok,
                        Command::Clear => OpResult::Said(json!({"conversation": self.conversation}).to_string().into()),
                    };
                    self.answer(op, said);
                }
                (TurnEnd::Interrupted { .. }, _) => self.fail(op, FailureKind::Provider, "claude: it was interrupted"),
                (TurnEnd::Normal | TurnEnd::Failed { .. }, _) => {
                    self.fail(op, FailureKind::Provider, &format!("claude: {}", ended.words()));
                }
            }
        }
        self.subagents.retain(|_, in_background| *in_background);
        if !is_silent {
            let still_running = self.subagents.keys().map(|id| id.as_str().into()).collect();
            let id = Some(id.as_str().into());
            let report = StatusReport { status: ReportStatus::Idle, id, end, still_running, ..StatusReport::default() };
            self.report(ProviderReport::Status(Box::new(report)));
        }
        // A permission is one of the turn that it was asked for in: these are of none any more.
        for question in open {
            self.opens(question);
        }
        // What waits begins at once, and is interrupted then.
        if self.stopping && self.pending.is_empty() {
            self.out.push(Out::Quiet);
        }
        self.go_on();
    }

    fn ended_without_turn(&mut self, ended: &Ended) {
        if !ended.is_error() {
            return;
        }
        let why = ended.words();
        if words::is_gone(why) {
            // Another id, of which there is nothing either: the next process begins anew.
            let gone = std::mem::replace(&mut self.conversation, self.opening.seed.clone());
            self.report(ProviderReport::Conversation { id: self.conversation.as_str().into() });
            self.note(true, format!("claude has no conversation {gone} any more; another one is begun"));
        }
        if self.waits_for().is_some() {
            self.end(ExitClass::Crash, format!("claude did not start: {why}"));
        } else {
            self.note(true, format!("claude: {why}"));
        }
    }

    fn context(&mut self, used: u64, window: u64, confidence: ContextConfidence) {
        let source = ContextSource::Api;
        self.report(ProviderReport::Context(ContextReport { used, window, source, confidence }));
    }

    fn compacts(&mut self, is: bool) {
        if self.compacting != is {
            self.compacting = is;
            self.work("compaction", COMPACTION, None, !is, if is { "compacting" } else { "compacted" });
        }
    }

    fn compacted(&mut self, tokens: Option<u64>) {
        if let Some(running) = &mut self.turn {
            running.commanded |= matches!(running.command, Some((_, Command::Compact)));
            // What was in it before counts no more.
            running.used = None;
        }
        if let (Some(tokens), Some(window)) = (tokens, self.window) {
            self.context(tokens, window, ContextConfidence::Estimated);
        }
    }

    fn subagent_ended(&mut self, task: &str) {
        if self.subagents.remove(task).is_some() {
            self.work("subagent", task, None, true, "subagent-ended");
        }
    }

    /// Of those that work in the background, these are all.
    fn work_in_background(&mut self, tasks: &[String]) {
        for task in tasks {
            if let Some(in_background) = self.subagents.get_mut(task) {
                *in_background = true;
            }
        }
        let over: Vec<String> = self
            .subagents
            .iter()
            .filter(|(task, in_background)| **in_background && !tasks.contains(task))
            .map(|(task, _)| task.clone())
            .collect();
        for task in over {
            self.subagent_ended(&task);
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

    /// Those of the turn go with it. Those of subagents outlive it, and are what is left.
    fn close_questions(&mut self) -> Vec<Question> {
        let questions = std::mem::take(&mut self.questions);
        for id in questions.keys() {
            self.report(ProviderReport::ApprovalClosed { id: id.as_str().into() });
        }
        questions.into_values().filter(Question::is_of_a_subagent).collect()
    }
}
