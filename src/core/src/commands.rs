//! Commands: orders of the relay and of this machine, carried out one lifecycle command at a time, each with exactly
//! one outcome (behaviour 9).

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use relay_runner_protocol::{CommandStatus, CommandType};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Core;
use crate::approvals::Over;
use crate::effect::{Act, Answer, Call, Decision, Effect, Effects, Outcome};
use crate::event::{CommandOrder, ExitClass, OpResult, Params, Signal};
use crate::facts::CommandFact;
use crate::ids::{OpId, RequestId, Text};
use crate::lifecycle::{Input, Purpose, Stop};
use crate::mutant::Mutant;
use crate::note::Note;
use crate::ops::Op;
use crate::reports;
use crate::time::{Millis, Wall};
use crate::view::CommandView;

/// Who waits for the outcome of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Caller {
    /// A command of the relay, by its id.
    Relay(Text),
    /// Somebody at the control server.
    Local(RequestId),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    caller: Caller,
    command: CommandType,
    reason: Option<Text>,
    /// What is said of it when it succeeds and the provider has nothing to say; canonical JSON text.
    said: Option<Text>,
}

impl Waiting {
    fn seen(&self, state: &'static str) -> CommandView<'_> {
        let id = match &self.caller {
            Caller::Relay(id) => Some(&**id),
            Caller::Local(_) => None,
        };
        CommandView { id, name: self.command.as_str(), state }
    }
}

/// An operation of the adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Operation {
    Compact,
    Clear,
    /// The content of this command.
    Inject(Text),
}

/// Commands that wait for the same thing at a time; more are refused.
const WAITING_MOST: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    status: CommandStatus,
    outcome: Option<Arc<Outcome>>,
    at: Wall,
    /// Key of the report of its outcome: the known outcome is reported again under its first key.
    key: Option<OpId>,
    /// Another took the agent before its outcome could be said: the next run of this one owes it.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    owed: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Commands {
    known: BTreeMap<Text, Known>,
    /// In the order in which they came.
    order: VecDeque<Text>,
    /// Restarts that wait for the new generation.
    restarts: Vec<Waiting>,
    /// Reconnects that wait for the registration.
    reconnects: Vec<Waiting>,
    /// Shutdowns and kills that wait for the provider to be gone.
    ends: Vec<Waiting>,
    /// The one operation of the adapter that is under way.
    adapter: Option<(OpId, Waiting)>,
    /// Those that wait for it, or for an offer that is being handed over.
    operations: VecDeque<(Operation, Waiting)>,
    decisions: Vec<(OpId, Waiting)>,
}

impl Commands {
    pub(crate) fn from_facts(facts: Vec<CommandFact>) -> Self {
        let mut commands = Self::default();
        for fact in facts {
            commands.order.push_back(fact.id.clone());
            let CommandFact { status, outcome, at, key, owed, .. } = fact;
            let known = Known { status, outcome, at, key, owed };
            commands.known.insert(fact.id, known);
        }
        commands
    }

    pub(crate) fn facts(&self) -> Vec<CommandFact> {
        self.order
            .iter()
            .filter_map(|id| {
                let known = self.known.get(id)?;
                Some(CommandFact {
                    id: id.clone(),
                    status: known.status,
                    outcome: known.outcome.clone(),
                    key: known.key,
                    at: known.at,
                    owed: known.owed,
                })
            })
            .collect()
    }

    /// The report of an outcome, which cannot be said any more.
    pub(crate) fn owe(&mut self, report: &Call) {
        if let Call::Command { id, outcome: Some(_), .. } = report
            && let Some(known) = self.known.get_mut(id)
        {
            known.owed = true;
        }
    }

    fn has_operations(&self) -> bool {
        self.adapter.is_some() || !self.operations.is_empty()
    }

    /// A restart was asked for and has not come to its end.
    pub(crate) fn is_restarting(&self) -> bool {
        !self.restarts.is_empty()
    }

    /// Those that wait for their outcome, and for what.
    pub(crate) fn open(&self) -> impl Iterator<Item = CommandView<'_>> {
        let asked = self.adapter.iter().chain(&self.decisions).map(|(_, waiting)| waiting.seen("at provider"));
        let queued = self.operations.iter().map(|(_, waiting)| waiting.seen("queued"));
        let restarts = self.restarts.iter().map(|waiting| waiting.seen("for generation"));
        let reconnects = self.reconnects.iter().map(|waiting| waiting.seen("for registration"));
        let ends = self.ends.iter().map(|waiting| waiting.seen("for the end"));
        restarts.chain(reconnects).chain(ends).chain(queued).chain(asked)
    }
}

impl Core {
    pub(crate) fn relay_command(&mut self, order: CommandOrder, fx: &mut Effects) {
        let us = &self.config.identity;
        if order.target.as_ref().is_some_and(|target| *target != us.agent_id && *target != us.runner_id) {
            fx.note(Note::Ignored { what: "command for another", name: order.id });
            return;
        }
        let known = self.commands.known.get(&order.id);
        if let Some(known) = known.filter(|_| !self.config.is_mutant(Mutant::RepeatsCommands)) {
            fx.note(Note::Command { id: order.id.clone(), name: order.name, what: "known; not carried out again" });
            if let Some(outcome) = known.outcome.clone() {
                let key = known.key;
                self.report_outcome(order.id, outcome, key, fx);
            }
            return;
        }
        self.remember(&order.id);
        fx.note(Note::Command { id: order.id.clone(), name: order.name.clone(), what: "accepted" });
        self.report(reports::command(order.id.clone(), CommandStatus::Accepted), fx);
        self.carry_out(Caller::Relay(order.id.clone()), order, fx);
    }

    pub(crate) fn local_command(&mut self, request: RequestId, order: CommandOrder, fx: &mut Effects) {
        fx.note(Note::Command { id: order.id.clone(), name: order.name.clone(), what: "accepted" });
        self.carry_out(Caller::Local(request), order, fx);
    }

    /// Commands of the run before that have no outcome get one: what became of them is not known any more.
    pub(crate) fn conclude_earlier_commands(&mut self, fx: &mut Effects) {
        let open: Vec<Text> =
            self.commands.known.iter().filter(|(_, known)| known.outcome.is_none()).map(|(id, _)| id.clone()).collect();
        for id in open {
            self.fail_caller(&Caller::Relay(id), "the runner was restarted before the command ended".into(), fx);
        }
    }

    fn remember(&mut self, id: &Text) {
        let (now, memory) = (self.now.wall, self.config.timing.command_memory);
        let Commands { known, order, .. } = &mut self.commands;
        while let Some(oldest) = order.front() {
            let forget = match known.get(oldest) {
                Some(k) => k.outcome.is_some() && now.saturating_sub(k.at) > memory,
                None => true,
            };
            if !forget && order.len() < self.config.limits.commands {
                break;
            }
            if let Some(oldest) = order.pop_front() {
                known.remove(&oldest);
            }
        }
        order.push_back(id.clone());
        known.insert(
            id.clone(),
            Known { status: CommandStatus::Accepted, outcome: None, at: now, key: None, owed: false },
        );
    }

    fn carry_out(&mut self, caller: Caller, order: CommandOrder, fx: &mut Effects) {
        let Some(command) = CommandType::parse(&order.name) else {
            self.fail_caller(&caller, "unknown command type".into(), fx);
            return;
        };
        if let Caller::Relay(id) = &caller {
            if let Some(known) = self.commands.known.get_mut(id) {
                known.status = CommandStatus::Running;
            }
            self.report(reports::command(id.clone(), CommandStatus::Running), fx);
        }
        let said = (command == CommandType::InjectContext).then(|| injected(&order.params.memory_ids));
        let waiting = Waiting { caller, command, reason: order.params.reason.clone(), said };
        let Commands { restarts, reconnects, ends, operations, decisions, .. } = &self.commands;
        if restarts.len() + reconnects.len() + ends.len() + operations.len() + decisions.len() >= WAITING_MOST {
            self.fail(&waiting, "too many commands wait already".into(), fx);
            return;
        }
        match command {
            CommandType::Shutdown => self.shutdown(waiting, &order.params, false, fx),
            CommandType::Kill => self.shutdown(waiting, &order.params, true, fx),
            CommandType::Restart => self.restart(waiting, fx),
            CommandType::Reconnect => {
                self.commands.reconnects.push(waiting);
                self.reconnect(fx);
            }
            CommandType::Compact => {
                self.adapter_operation(waiting, self.config.adapter.compact, Operation::Compact, fx);
            }
            CommandType::ClearContext => {
                self.adapter_operation(waiting, self.config.adapter.clear, Operation::Clear, fx);
            }
            CommandType::InjectContext => {
                if order.params.content.is_none_or(crate::BodyRef::is_blank) {
                    self.fail(&waiting, "content required".into(), fx);
                } else {
                    let inject = Operation::Inject(order.id);
                    self.adapter_operation(waiting, self.config.adapter.inject, inject, fx);
                }
            }
            CommandType::PermissionDecision => self.decide(waiting, order.params, fx),
        }
    }

    fn shutdown(&mut self, waiting: Waiting, params: &Params, hard: bool, fx: &mut Effects) {
        let timing = &self.config.timing;
        let timeout: Millis = params
            .timeout
            .filter(|timeout| *timeout > 0)
            .map_or(timing.shutdown_command, |timeout| timeout.min(timing.shutdown_command_max));
        self.commands.ends.push(waiting);
        self.fail_restarts(&"superseded by a shutdown".into(), fx);
        self.end_by_command(hard, timeout, fx);
    }

    fn restart(&mut self, waiting: Waiting, fx: &mut Effects) {
        if self.ending.is_begun() {
            self.fail(&waiting, "the runner is shutting down".into(), fx);
            return;
        }
        self.commands.restarts.push(waiting);
        // Before the first provider it joins its start, which may still wait for the relay.
        let starts = self.lifecycle.is_starting() && !self.lifecycle.is_adopting();
        if starts || (self.lifecycle.never_started() && !self.lifecycle.is_parked()) {
            return;
        }
        // A second one joins the first.
        if !self.lifecycle.is_restarting() {
            self.timeline("restarting");
        }
        let stop = Stop { purpose: Purpose::Restart, hard: false, timeout: self.config.timing.shutdown };
        self.lifecycle_input(&Input::Stop(stop), fx);
    }

    /// The new generation is up.
    pub(crate) fn restarted(&mut self, fx: &mut Effects) {
        for waiting in core::mem::take(&mut self.commands.restarts) {
            self.succeed(&waiting, None, fx);
        }
    }

    pub(crate) fn fail_restarts(&mut self, why: &Text, fx: &mut Effects) {
        for waiting in core::mem::take(&mut self.commands.restarts) {
            self.fail(&waiting, why.clone(), fx);
        }
    }

    /// The generation that a restart waits for died while starting.
    pub(crate) fn restart_failed_for(&mut self, class: ExitClass, detail: &Text, fx: &mut Effects) {
        if self.commands.is_restarting() {
            self.fail_restarts(
                &format!("the new provider process ended while starting ({class:?}): {detail}").into(),
                fx,
            );
        }
    }

    pub(crate) fn reconnected(&mut self, fx: &mut Effects) {
        for waiting in core::mem::take(&mut self.commands.reconnects) {
            self.succeed(&waiting, None, fx);
        }
    }

    /// The provider is gone, or is given up on: whoever asked for the end has it.
    pub(crate) fn ends_are_done(&mut self, stop_failed: bool, fx: &mut Effects) {
        let escalated = self.commands.ends.iter().any(|w| w.command == CommandType::Kill);
        for waiting in core::mem::take(&mut self.commands.ends) {
            if stop_failed {
                self.fail(&waiting, "the provider did not end within the time-out".into(), fx);
            } else {
                let overtaken = escalated && waiting.command == CommandType::Shutdown;
                let said = overtaken.then(|| Text::from("{\"escalated\":true}"));
                self.succeed(&waiting, said, fx);
            }
        }
        for waiting in core::mem::take(&mut self.commands.reconnects) {
            self.fail(&waiting, "the runner is shutting down".into(), fx);
        }
    }

    /// Why nothing can be asked of the provider now.
    fn unavailable(&self) -> Option<Text> {
        if self.lifecycle.is_up() || (self.lifecycle.is_first_awaited() && !self.ending.is_begun()) {
            None
        } else if self.lifecycle.is_cooling() || self.lifecycle.is_starting() || self.lifecycle.is_restarting() {
            Some("provider is restarting".into())
        } else {
            Some("provider process is unavailable".into())
        }
    }

    fn adapter_operation(&mut self, waiting: Waiting, supported: bool, operation: Operation, fx: &mut Effects) {
        if !supported {
            let why = format!("provider does not support {}", waiting.command.as_str());
            self.fail(&waiting, why.into(), fx);
        } else if let Some(why) = self.unavailable() {
            self.fail(&waiting, why, fx);
        } else {
            self.commands.operations.push_back((operation, waiting));
        }
    }

    /// An operation is under way, or about to be: nothing else is handed over.
    pub(crate) fn adapter_is_busy(&self) -> bool {
        self.commands.has_operations() && !self.operation_waits_for_the_turn()
    }

    /// The next one would break off the turn that runs. While it waits it holds nothing up.
    fn operation_waits_for_the_turn(&self) -> bool {
        let breaks_off = |(operation, _): &(Operation, Waiting)| !matches!(operation, Operation::Inject(_));
        self.config.adapter.between_turns
            && self.commands.adapter.is_none()
            && self.turns.running().is_some()
            && self.commands.operations.front().is_some_and(breaks_off)
    }

    /// One operation on the provider at a time: the next begins when nothing is being handed over.
    pub(crate) fn start_adapter_operation(&mut self, fx: &mut Effects) {
        // A dying process is asked for nothing: its exit is what those who wait hear.
        if self.commands.operations.is_empty() || self.commands.adapter.is_some() || !self.lifecycle.is_up() {
            return;
        }
        if self.ops.any(|op| matches!(op, Op::Offer(_) | Op::Prompt(_) | Op::Tell(_))) {
            return;
        }
        if self.operation_waits_for_the_turn() {
            return;
        }
        let Some((operation, waiting)) = self.commands.operations.pop_front() else { return };
        let act = match operation {
            Operation::Compact => Act::Compact,
            Operation::Clear => Act::Clear,
            Operation::Inject(command) => Act::Inject { command },
        };
        let generation = self.lifecycle.generation();
        let op = self.ops.start(Op::Adapter(generation), self.after(self.config.timing.adapter_deadline));
        self.commands.adapter = Some((op, waiting));
        fx.push(Effect::Provider { op, generation, act });
    }

    pub(crate) fn adapter_answered(&mut self, op: OpId, result: OpResult, fx: &mut Effects) {
        let Some((_, waiting)) = self.commands.adapter.take_if(|(current, _)| *current == op) else { return };
        self.touched.inbox = true;
        self.conclude(&waiting, result, fx);
    }

    fn decide(&mut self, waiting: Waiting, params: Params, fx: &mut Effects) {
        let Some(approval) = params.approval else {
            self.fail(&waiting, "approvalId required".into(), fx);
            return;
        };
        let Some(decision) = params.decision.as_deref().and_then(Decision::parse) else {
            self.fail(&waiting, "decision must be approve, approve-session, deny or abort".into(), fx);
            return;
        };
        if self.decide_held(&approval, decision, params.reason.clone(), fx) {
            let said = json!({"approvalId": approval, "decision": decision.as_str(), "provider": self.config.identity.provider});
            self.succeed(&waiting, Some(said.to_string().into()), fx);
            return;
        }
        match self.approvals.get_mut(&approval) {
            None => {
                let why = self.approvals.over(&approval).map_or_else(|| "no such request".into(), Over::why);
                self.fail(&waiting, why, fx);
            }
            Some(open) => {
                if let Some((first, _)) = open.decided
                    && !self.config.is_mutant(Mutant::PassesOnTheSecondAnswer)
                {
                    self.fail(&waiting, Over::Decided(first).why(), fx);
                    return;
                }
                let generation = self.lifecycle.generation();
                let deadline = self.now.mono.saturating_add(self.config.timing.call_deadline);
                let op = self.ops.start(Op::Decide(generation, approval.clone()), deadline);
                open.decided = Some((decision, op));
                self.commands.decisions.push((op, waiting));
                let act = Act::Decide { approval, decision, reason: params.reason };
                fx.push(Effect::Provider { op, generation, act });
            }
        }
    }

    pub(crate) fn decision_answered(&mut self, approval: &Text, op: OpId, result: OpResult, fx: &mut Effects) {
        let Some(at) = self.commands.decisions.iter().position(|(current, _)| *current == op) else { return };
        let (_, waiting) = self.commands.decisions.remove(at);
        // A later request may have the same name.
        let open = self.approvals.get_mut(approval).filter(|open| open.decided.is_some_and(|(_, by)| by == op));
        match (result, open.as_ref().and_then(|open| open.decided).map(|(decision, _)| decision)) {
            (OpResult::Failed(failure), _) => {
                if let Some(open) = open {
                    open.decided = None;
                }
                self.fail(&waiting, failure.text, fx);
            }
            // Its turn ended, or somebody answered in the provider, while the decision was on its way.
            (_, None) => {
                let why = self.approvals.over(approval).map_or_else(|| "no such request".into(), Over::why);
                self.fail(&waiting, why, fx);
            }
            (result, Some(decision)) => {
                let mut said = json!({"approvalId": approval, "decision": decision.as_str()});
                if let OpResult::Said(words) = result {
                    said["providerResult"] = serde_json::from_str(&words).unwrap_or_else(|_| json!(words));
                }
                self.close_approval(approval, Over::Decided(decision), None, fx);
                self.sign_of_life(fx);
                self.succeed(&waiting, Some(said.to_string().into()), fx);
            }
        }
    }

    /// The process died under the operations that were asked of it, or never comes.
    pub(crate) fn adapter_died(&mut self, why: &str, fx: &mut Effects) {
        let why = Text::from(why);
        let adapter = self.commands.adapter.take().map(|(_, waiting)| waiting);
        let decisions = core::mem::take(&mut self.commands.decisions).into_iter().map(|(_, waiting)| waiting);
        let operations = core::mem::take(&mut self.commands.operations).into_iter().map(|(_, waiting)| waiting);
        for waiting in adapter.into_iter().chain(decisions).chain(operations) {
            self.fail(&waiting, why.clone(), fx);
        }
    }

    fn conclude(&mut self, waiting: &Waiting, result: OpResult, fx: &mut Effects) {
        match result {
            OpResult::Failed(failure) => self.fail(waiting, failure.text, fx),
            OpResult::Said(said) => self.succeed(waiting, Some(said), fx),
            OpResult::Ok
            | OpResult::Spawned(_)
            | OpResult::Granted { .. }
            | OpResult::Refused { .. }
            | OpResult::Renewed { .. }
            | OpResult::Pruned
            | OpResult::Unread { .. }
            | OpResult::Owed { .. }
            | OpResult::Token { .. }
            | OpResult::Settings(_) => self.succeed(waiting, waiting.said.clone(), fx),
        }
    }

    fn succeed(&mut self, waiting: &Waiting, provider_result: Option<Text>, fx: &mut Effects) {
        let action = waiting.command.as_str().into();
        let reason = waiting.reason.clone();
        self.outcome(&waiting.caller, Outcome::Succeeded { action, reason, provider_result }, fx);
    }

    fn fail(&mut self, waiting: &Waiting, message: Text, fx: &mut Effects) {
        self.fail_caller(&waiting.caller, message, fx);
    }

    fn fail_caller(&mut self, caller: &Caller, message: Text, fx: &mut Effects) {
        self.outcome(caller, Outcome::Failed { message }, fx);
    }

    fn outcome(&mut self, caller: &Caller, outcome: Outcome, fx: &mut Effects) {
        let outcome = Arc::new(outcome);
        match caller {
            Caller::Local(request) => {
                fx.push(Effect::Answer { request: *request, answer: Answer::Command(outcome) });
            }
            Caller::Relay(id) => {
                let first = match self.commands.known.get_mut(id) {
                    Some(known) if known.outcome.is_none() => {
                        known.outcome = Some(outcome.clone());
                        known.status = match &*outcome {
                            Outcome::Succeeded { .. } => CommandStatus::Succeeded,
                            Outcome::Failed { .. } => CommandStatus::Failed,
                        };
                        true
                    }
                    Some(_) | None => false,
                };
                if first {
                    fx.sync = true;
                    self.report_outcome(id.clone(), outcome, None, fx);
                }
            }
        }
    }

    fn report_outcome(&mut self, id: Text, outcome: Arc<Outcome>, key: Option<OpId>, fx: &mut Effects) {
        let status = outcome.status();
        if self.reports.concludes(&id) {
            return;
        }
        let key = key.unwrap_or_else(|| self.ops.number());
        if let Some(known) = self.commands.known.get_mut(&id) {
            known.key = Some(key);
        }
        fx.note(Note::Command { id: id.clone(), name: "outcome".into(), what: status.as_str() });
        let call = Call::Command { id, status, outcome: Some(outcome) };
        if self.ending.is_silent(&call) {
            if self.believes_less() {
                self.commands.owe(&call);
            }
        } else {
            self.report_under(key, call, fx);
        }
    }

    /// What the run before was not allowed to say any more, since another had taken the agent.
    pub(crate) fn owe_outcomes(&mut self) {
        for (id, known) in self.commands.known.iter_mut().filter(|(_, known)| known.owed) {
            known.owed = false;
            // It was under way as well, and is in line already.
            if let (Some(outcome), Some(key), false) = (&known.outcome, known.key, self.reports.concludes(id)) {
                let (id, status) = (id.clone(), outcome.status());
                self.reports.owe(key, Call::Command { id, status, outcome: Some(outcome.clone()) });
            }
        }
    }

    pub(crate) fn signal(&mut self, signal: Signal, fx: &mut Effects) {
        match signal {
            Signal::Term | Signal::Int if !self.ending.is_begun() => self.drain(fx),
            Signal::Term | Signal::Int | Signal::Quit => self.stop_now(fx),
            Signal::Usr2 => self.step_aside(fx),
            Signal::Hup => match self.config.mode {
                crate::config::Mode::Interactive => self.signal(Signal::Term, fx),
                crate::config::Mode::Headless => self.read_settings(fx),
            },
        }
    }
}

/// What is said of an injection that the provider has.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Injected<'a> {
    injected_memory_count: usize,
    memory_ids: &'a [Text],
}

fn injected(memory_ids: &[Text]) -> Text {
    let said = Injected { injected_memory_count: memory_ids.len(), memory_ids };
    serde_json::to_string(&said).expect("texts and a number have a JSON form").into()
}
