//! The relay of the made-up world: a second, independent one, so that a mistake of the embedded relay is not believed
//! here as well. It is told of calls and frames, and says what goes out on the bus; ways and delays are others' matter.

mod bus;
mod claims;
mod tasks;
mod tokens;

use std::collections::BTreeMap;
use std::collections::VecDeque;

use relay_runner_core::event::{BusFrame, Failure, FailureKind, Incoming, OpResult, RelayEvent};
use relay_runner_core::{BodyRef, Call, Given, MessageId, OpId, Outcome, Text};
use relay_runner_protocol::{AgentStatus, CommandStatus, Stage, TaskStatus};
use std::sync::Arc;

pub(crate) use bus::{Conn, Up};
pub(crate) use claims::Claim;
pub(crate) use tokens::TokenId;

/// Which agent is meant.
pub(crate) type AgentNo = usize;

/// What an agent is on the relay.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) id: Text,
    label: Option<Text>,
    given: Option<Given>,
    /// Who holds it: a runner's number stands for its instance.
    pub(crate) instance: Option<usize>,
    pub(crate) epoch: u64,
    pub(crate) gone: bool,
    deleted: bool,
    pub(crate) status: AgentStatus,
    pub(crate) ready: bool,
    seq: Option<u64>,
    /// When a runner was heard of last, in the relay's time.
    heard: u64,
    taken_over: BTreeMap<usize, u64>,
}

/// A message, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) message: Incoming,
    /// Bits of agents that are meant, and that have read it.
    pub(crate) meant: u8,
    pub(crate) read: u8,
    pub(crate) finished: bool,
    pub(crate) deleted: bool,
    pub(crate) poison: bool,
    pub(crate) claim: Option<Claim>,
    pub(crate) stage: Option<Stage>,
    /// Since when it can be had, in the relay's time.
    pub(crate) since: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) status: TaskStatus,
    pub(crate) messages: Vec<MessageId>,
}

#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) id: Text,
    pub(crate) name: Text,
    pub(crate) target: AgentNo,
    pub(crate) foreign: bool,
    pub(crate) params: relay_runner_core::event::Params,
    pub(crate) acked: bool,
    /// Which instance took it.
    pub(crate) by: Option<usize>,
    pub(crate) status: Option<CommandStatus>,
    pub(crate) outcome: Option<Arc<Outcome>>,
    /// It was put on the way to its agent.
    pub(crate) sent: bool,
}

/// Under which key something was asked.
type Key = (usize, OpId, u64, u64);

/// A call as it arrives.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Whose instance asks.
    pub(crate) instance: usize,
    pub(crate) agent: AgentNo,
    pub(crate) key: OpId,
    pub(crate) epoch: u64,
    pub(crate) token: Option<TokenId>,
    pub(crate) call: Call,
}

#[derive(Debug)]
pub(crate) struct Relay {
    /// Which relay this is: another one begins anew.
    pub(crate) number: u64,
    name: Text,
    ahead: i64,
    ppm: i64,
    lease: u64,
    pub(crate) agents: Vec<Agent>,
    pub(crate) mail: BTreeMap<MessageId, Mail>,
    pub(crate) tasks: BTreeMap<u64, Task>,
    pub(crate) commands: Vec<Command>,
    events: VecDeque<(u64, u8, RelayEvent)>,
    newest: u64,
    fences: u64,
    /// The end of every lease that was ever granted, in the relay's time, and its message.
    pub(crate) leases: BTreeMap<u64, (MessageId, u64)>,
    kept: BTreeMap<Key, (Call, OpResult)>,
    pub(crate) tokens: tokens::Tokens,
    pub(crate) conns: Vec<Conn>,
    /// What is to go out, by connection.
    pub(crate) outbox: Vec<(Conn, BusFrame)>,
    /// What the protocol does not allow.
    pub(crate) odd: Option<String>,
    text: Arc<str>,
}

/// The relay's time at the beginning of a run, were its clock right: room for one that is behind.
const EPOCH: u64 = 1_000_000;

/// Who sends messages, and who else is on the relay.
const SENDER: &str = "alice";
pub(crate) const RIVAL: &str = "rival";
pub(crate) const LABEL: &str = "dev";

pub(crate) fn failure(kind: FailureKind, text: &Text) -> OpResult {
    OpResult::Failed(Failure { kind, text: text.clone() })
}

impl Relay {
    pub(crate) fn new(setup: &crate::plan::Setup, ids: &[Text]) -> Self {
        let mut relay = Self {
            number: 0,
            name: "relay-0".into(),
            ahead: setup.relay_ahead,
            ppm: setup.relay_ppm,
            lease: setup.lease,
            agents: Vec::new(),
            mail: BTreeMap::new(),
            tasks: BTreeMap::new(),
            commands: Vec::new(),
            events: VecDeque::new(),
            newest: 0,
            fences: 0,
            leases: BTreeMap::new(),
            kept: BTreeMap::new(),
            tokens: tokens::Tokens::default(),
            conns: Vec::new(),
            outbox: Vec::new(),
            odd: None,
            text: "said by the relay".into(),
        };
        relay.agents = ids.iter().map(Agent::new).collect();
        relay
    }

    /// Its own clock.
    pub(crate) fn time(&self, now: u64) -> u64 {
        let drift = i128::from(now) * i128::from(self.ppm) / 1_000_000;
        let time = i128::from(now) + drift + i128::from(self.ahead) + i128::from(EPOCH);
        u64::try_from(time).unwrap_or(0)
    }

    /// An empty database under another name. Tokens are known by their own words, and stay good.
    pub(crate) fn begins_anew(&mut self) {
        self.number += 1;
        self.name = format!("relay-{}", self.number).into();
        for agent in &mut self.agents {
            *agent = Agent::new(&agent.id);
        }
        self.mail.clear();
        self.tasks.clear();
        self.commands.clear();
        self.events.clear();
        self.newest = 0;
        // Fences tell one grant from another in this world, also across relays.
        self.kept.clear();
        self.conns.clear();
        self.outbox.clear();
    }

    /// A message is sent, to whom it may concern.
    pub(crate) fn sends(&mut self, new: Incoming, poison: bool, now: u64) {
        let since = self.time(now);
        let meant = self.meant(&new);
        let id = new.id;
        if let Some(task) = new.task {
            let task = self.tasks.entry(task).or_insert(Task { status: TaskStatus::Open, messages: Vec::new() });
            if task.status.is_final() {
                return;
            }
            task.messages.push(id);
        }
        let event = RelayEvent::MessageNew(Box::new(new.clone()));
        let mail = Mail {
            message: new,
            meant,
            read: 0,
            finished: false,
            deleted: false,
            poison,
            claim: None,
            stage: None,
            since,
        };
        self.mail.insert(id, mail);
        self.tell(meant, event);
    }

    fn meant(&self, message: &Incoming) -> u8 {
        let mut meant = 0;
        for (n, agent) in self.agents.iter().enumerate() {
            let label = agent.given.as_ref().map_or(agent.label.as_deref(), |given| given.label.as_deref());
            let ours = match &*message.to {
                "broadcast" | "tag:rust" => true,
                "label:dev" => label == Some(LABEL),
                id => *id == *agent.id,
            };
            meant |= u8::from(ours) << n;
        }
        meant
    }

    /// The number of the next message. Those of another relay are others, so that what a process still has of one relay
    /// is never taken for something of the next.
    pub(crate) fn next_message(&self) -> MessageId {
        self.mail.keys().next_back().map_or(self.number * 10_000 + 1, |id| id + 1)
    }

    /// The n-th message that is not over, the oldest first.
    pub(crate) fn nth_open(&self, nth: u64) -> Option<MessageId> {
        let open = || self.mail.iter().filter(|(_, mail)| !mail.finished && !mail.deleted);
        let count = open().count() as u64;
        open().nth(usize::try_from(nth % count.max(1)).unwrap_or(0)).map(|(id, _)| *id)
    }

    pub(crate) fn rival_claims(&mut self, id: MessageId, now: u64) -> bool {
        let time = self.time(now);
        self.lapses(time);
        let free = self.mail.get(&id).is_some_and(|mail| {
            mail.message.claimable && !mail.finished && !mail.deleted && mail.claim.as_ref().is_none_or(|c| !c.held)
        });
        if free {
            self.grants(id, None, time + 3_600_000);
        }
        free
    }

    pub(crate) fn rival_releases(&mut self, id: MessageId) -> bool {
        let held = self.mail.get(&id).and_then(|mail| mail.claim.as_ref()).is_some_and(|c| c.held && c.by.is_none());
        if held {
            self.frees(id, false);
        }
        held
    }

    /// Everything that another agent holds is let go.
    pub(crate) fn rivals_leave(&mut self) {
        let ids: Vec<MessageId> = self.mail.keys().copied().collect();
        for id in ids {
            self.rival_releases(id);
        }
    }

    /// Another agent does what it holds; or somebody whom nobody knows did.
    pub(crate) fn rival_finishes(&mut self, id: MessageId, now: u64) -> bool {
        if !self.rival_claims(id, now) {
            return false;
        }
        match self.mail.get(&id).and_then(|mail| mail.message.task) {
            Some(task) => self.ends_task(task, TaskStatus::Done),
            None => self.finishes(id),
        }
        true
    }

    pub(crate) fn deletes(&mut self, id: MessageId) -> bool {
        let Some(mail) = self.mail.get_mut(&id).filter(|mail| !mail.deleted) else { return false };
        mail.deleted = true;
        let (meant, task) = (mail.meant, mail.message.task);
        if let Some(task) = task
            && self.tasks.get(&task).is_some_and(|t| t.messages.first() == Some(&id) && !t.status.is_final())
        {
            self.cancels(task);
        }
        self.finishes(id);
        self.tell(meant, RelayEvent::MessageDeleted { message: id });
        true
    }

    /// Somebody gives an agent another label, or takes it away, and tags.
    pub(crate) fn relabels(&mut self, agent: AgentNo) {
        let Some(of) = self.agents.get_mut(agent).filter(|agent| !agent.gone && agent.instance.is_some()) else {
            return;
        };
        let label = if of.given.as_ref().is_some_and(|given| given.label.is_none()) { Some(LABEL) } else { None };
        let given = Given { label: label.map(Into::into), tags: vec!["night".into()], epoch: None };
        of.given = Some(given.clone());
        self.tell(1 << agent, RelayEvent::AgentUpdated(Box::new(given)));
        let ids: Vec<MessageId> = self.mail.keys().copied().collect();
        for id in ids {
            let meant = self.meant(&self.mail[&id].message);
            self.mail.entry(id).and_modify(|mail| mail.meant = meant);
        }
    }

    /// What an agent has not read, nobody has finished, and no other holds.
    fn unread(&mut self, agent: AgentNo, after: MessageId, limit: u32, time: u64) -> OpResult {
        self.lapses(time);
        let bit = 1 << agent;
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let messages: Vec<Incoming> = self
            .mail
            .range(after + 1..)
            .map(|(_, mail)| mail)
            .filter(|mail| mail.meant & bit != 0 && mail.read & bit == 0 && !mail.finished && !mail.deleted)
            .filter(|mail| mail.claim.as_ref().is_none_or(|claim| !claim.held || claim.by == Some(agent)))
            .take(most)
            .map(|mail| {
                let ours = mail.claim.as_ref().filter(|claim| claim.held).map(|_| self.agents[agent].id.clone());
                Incoming { claimed_by: ours, ..mail.message.clone() }
            })
            .collect();
        let full = messages.len() >= most;
        OpResult::Unread { messages, full }
    }

    fn owed(&self, agent: AgentNo) -> Vec<MessageId> {
        let owed = |mail: &&Mail| mail.message.reply_expected && mail.meant & (1 << agent) != 0 && !mail.deleted;
        self.mail.values().filter(owed).map(|mail| mail.message.id).collect()
    }

    fn reads(&mut self, id: MessageId, agent: AgentNo) -> OpResult {
        let Some(mail) = self.mail.get_mut(&id).filter(|mail| !mail.deleted) else {
            return failure(FailureKind::NotFound, &self.text);
        };
        mail.read |= 1 << agent;
        let holds = mail.claim.as_ref().is_some_and(|claim| claim.held && claim.by == Some(agent));
        let open = mail.message.task.is_some_and(|t| self.tasks.get(&t).is_some_and(|t| !t.status.is_final()));
        if holds && !open {
            self.finishes(id);
        }
        OpResult::Ok
    }

    fn finishes(&mut self, id: MessageId) {
        if let Some(mail) = self.mail.get_mut(&id) {
            mail.finished = true;
            if let Some(claim) = &mut mail.claim {
                claim.held = false;
            }
        }
    }

    /// The answer to a call, under its key where it has one.
    pub(crate) fn answers(&mut self, asked: &Asked, now: u64) -> OpResult {
        let time = self.time(now);
        if !self.tokens.are_taken(asked.token, time) {
            return failure(FailureKind::Unauthorized, &self.text);
        }
        let keyed = !matches!(
            asked.call,
            Call::SetStatus { .. }
                | Call::SetReady { .. }
                | Call::Heartbeat
                | Call::Unread { .. }
                | Call::Obligations
                | Call::RenewToken { .. }
        );
        if !keyed {
            return self.carries_out(asked, time);
        }
        let key = (asked.instance, asked.key, asked.epoch, asked.call.fence().unwrap_or(0));
        if let Some((call, answer)) = self.kept.get(&key) {
            if *call != asked.call {
                self.odd = Some(format!("{} is asked under the key of {call}", asked.call));
            }
            return self.anew(answer.clone(), time);
        }
        let answer = self.carries_out(asked, time);
        if !matches!(answer, OpResult::Failed(_)) {
            self.kept.insert(key, (asked.call.clone(), answer.clone()));
        }
        answer
    }

    /// A kept answer says what is left of the lease.
    fn anew(&self, answer: OpResult, time: u64) -> OpResult {
        match answer {
            OpResult::Granted { fence, lease: Some(_) } => {
                let end = self.leases.get(&fence).map_or(0, |(_, end)| *end);
                OpResult::Granted { fence, lease: Some(end.saturating_sub(time)) }
            }
            answer => answer,
        }
    }

    fn carries_out(&mut self, asked: &Asked, time: u64) -> OpResult {
        if let Err(kind) = self.guards(asked) {
            return match (kind, &asked.call) {
                (FailureKind::NotFound, Call::Heartbeat) => OpResult::Pruned,
                _ => failure(kind, &self.text),
            };
        }
        let agent = asked.agent;
        match &asked.call {
            Call::Claim { message } => self.claims(*message, agent, asked.instance, time),
            Call::Renew { message, fence } => self.renews(*message, agent, *fence, time),
            Call::Release { message, fence } => self.releases(*message, agent, *fence, time),
            Call::Read { message } => self.reads(*message, agent),
            Call::Delivery { message, stage, .. } => {
                if let Some(mail) = self.mail.get_mut(message) {
                    mail.stage = Some(*stage);
                }
                OpResult::Ok
            }
            Call::Task { task, status, fence, .. } => self.reports(*task, *status, *fence, agent, time),
            Call::Command { id, status, outcome } => {
                if let Some(command) = self.commands.iter_mut().find(|command| command.id == *id) {
                    command.acked = true;
                    command.by = Some(asked.instance);
                    if command.outcome.is_none() {
                        command.status = Some(*status);
                        command.outcome.clone_from(outcome);
                    }
                }
                OpResult::Ok
            }
            Call::SetStatus { status, seq } => {
                self.shows(agent, *seq, Some(*status), None);
                OpResult::Ok
            }
            Call::SetReady { ready, seq } => {
                self.shows(agent, *seq, None, Some(*ready));
                OpResult::Ok
            }
            Call::Heartbeat => {
                self.agents[agent].heard = time;
                OpResult::Ok
            }
            Call::Unread { after, limit } => self.unread(agent, *after, *limit, time),
            // Nobody in this world replies, so all that expects a reply is owed one.
            Call::Obligations => OpResult::Owed { messages: self.owed(agent) },
            Call::DeleteAgent => {
                self.leaves(agent);
                OpResult::Ok
            }
            Call::RenewToken { .. } => self.tokens.renews(asked.token, time, &self.text),
        }
    }

    /// Whether whoever asks still stands for its agent.
    fn guards(&self, asked: &Asked) -> Result<(), FailureKind> {
        if matches!(
            asked.call,
            Call::Task { .. }
                | Call::Command { .. }
                | Call::RenewToken { .. }
                | Call::Unread { .. }
                | Call::Obligations
        ) {
            return Ok(());
        }
        let agent = &self.agents[asked.agent];
        let Some(instance) = agent.instance else { return Err(FailureKind::NotFound) };
        // A superseded instance may still release what it holds.
        if let Call::Release { message, fence } = &asked.call
            && self.claim_of(*message).is_some_and(|claim| claim.fence == *fence && claim.instance == asked.instance)
        {
            return Ok(());
        }
        if asked.epoch < agent.epoch {
            return Err(FailureKind::Superseded);
        }
        if agent.gone {
            return Err(FailureKind::NotFound);
        }
        if asked.epoch > agent.epoch || asked.instance != instance {
            return Err(FailureKind::Superseded);
        }
        Ok(())
    }

    /// The newest status counts.
    fn shows(&mut self, agent: AgentNo, seq: u64, status: Option<AgentStatus>, ready: Option<bool>) {
        let agent = &mut self.agents[agent];
        if agent.seq.is_none_or(|newest| seq >= newest) {
            agent.seq = Some(seq);
            agent.status = status.unwrap_or(agent.status);
            agent.ready = ready.unwrap_or(agent.ready);
        }
    }

    /// The agent is deleted: what it holds is free again, and what it never took has failed.
    fn leaves(&mut self, agent: AgentNo) {
        let held: Vec<MessageId> = self
            .mail
            .iter()
            .filter(|(_, mail)| mail.claim.as_ref().is_some_and(|claim| claim.held && claim.by == Some(agent)))
            .map(|(id, _)| *id)
            .collect();
        for id in held {
            self.frees(id, false);
        }
        let of = &mut self.agents[agent];
        of.gone = true;
        of.deleted = true;
        for command in self.commands.iter_mut().filter(|command| command.target == agent && !command.acked) {
            command.acked = true;
            command.status = Some(CommandStatus::Failed);
        }
        for conn in &mut self.conns {
            if conn.agent == agent {
                conn.registered = false;
            }
        }
    }

    /// It forgets who is there.
    pub(crate) fn prunes(&mut self) {
        for agent in &mut self.agents {
            agent.gone = true;
        }
        for conn in &mut self.conns {
            conn.registered = false;
        }
    }

    /// Leases that are over.
    pub(crate) fn lapses(&mut self, time: u64) {
        let over: Vec<MessageId> = self
            .mail
            .iter()
            .filter(|(_, mail)| mail.claim.as_ref().is_some_and(|claim| claim.held && claim.until <= time))
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            self.frees(id, true);
        }
    }

    /// Something for these agents, now and for whoever asks later.
    fn tell(&mut self, audience: u8, event: RelayEvent) {
        self.newest += 1;
        let seq = self.newest;
        for conn in &self.conns {
            if conn.registered && audience & (1 << conn.agent) != 0 {
                let frame = BusFrame::Event { frame: format!("e{seq}").into(), seq, event: event.clone() };
                self.outbox.push((*conn, frame));
            }
        }
        self.events.push_back((seq, audience, event));
        if self.events.len() > 10_000 {
            self.events.pop_front();
        }
    }

    pub(crate) fn forgets_events(&mut self) {
        self.events.clear();
    }
}

impl Agent {
    fn new(id: &Text) -> Self {
        Self {
            id: id.clone(),
            label: Some(LABEL.into()),
            given: None,
            instance: None,
            epoch: 0,
            gone: true,
            deleted: false,
            status: AgentStatus::Idle,
            ready: false,
            seq: None,
            heard: 0,
            taken_over: BTreeMap::new(),
        }
    }
}

/// A message from somebody else.
pub(crate) fn message(id: MessageId, to: &str, claim: bool, task: Option<u64>, urgent: bool, files: u32) -> Incoming {
    Incoming {
        id,
        from: SENDER.into(),
        to: to.into(),
        resolved: None,
        kind: "chat".into(),
        claimable: claim,
        urgent,
        reply_expected: false,
        read: false,
        claimed_by: None,
        task: task.filter(|_| claim),
        attachments: files,
        body: BodyRef { len: 400, trimmed: 400, digest: id },
    }
}
