//! What is remembered of a runner that is looked at closely: what its core asked for, what is over, and what went on.

mod changes;

use std::collections::{BTreeMap, BTreeSet};

use relay_runner_core::{Act, Call, Core, Effect, Generation, MessageId, OpId, Text};

use super::look::Look;

pub(super) use changes::Changes;

/// Something that a core asked for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) effect: Effect,
    /// It waits for the answer.
    pub(super) open: bool,
    /// The command of the relay that it was asked for.
    pub(super) command: Option<Text>,
    /// The number of the credential that it was asked under.
    pub(super) credential: u64,
    /// How far the end of the run was.
    pub(super) ending: &'static str,
}

/// Of one runner, through its lives.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) look: Option<Look>,
    pub(super) lives: u64,
    pub(super) asked: BTreeMap<OpId, Asked>,
    /// Messages that are never taken in again, and how they ended.
    pub(super) over: BTreeMap<MessageId, &'static str>,
    /// Commands of the relay that have an outcome, and those that were heard, with their names.
    pub(super) concluded: BTreeMap<Text, &'static str>,
    pub(super) heard: BTreeMap<Text, Text>,
    /// Messages that were taken over while the provider had them, or may have had them.
    pub(super) gone: BTreeSet<MessageId>,
    /// The newest connection, and the first one of the credential in force.
    pub(super) conn: u64,
    pub(super) first_conn: u64,
    /// Counts credentials.
    pub(super) credential: u64,
    /// In this life: how often the relay registered it, whether a provider was up, whether the end is a hard one.
    pub(super) registered: u64,
    pub(super) was_up: bool,
    pub(super) hard: bool,
    /// The turn that runs could not be confirmed; was broken off for an urgent message; has this id.
    pub(super) unverified: bool,
    pub(super) interrupting: bool,
    pub(super) turn_id: Option<Text>,
    /// The generation in which a turn ended last.
    pub(super) turn_ended: Option<Generation>,
    /// What the session opened besides its turn.
    pub(super) subagent: bool,
    pub(super) compaction: bool,
    /// When the link came up last, and how often in a row it was lost soon after that.
    pub(super) up_since: u64,
    pub(super) flaps: u32,
    /// The time of the last jump of the clocks.
    pub(super) jumped: Option<u64>,
    /// Keys under which claims were asked for.
    pub(super) claim_keys: BTreeMap<MessageId, OpId>,
    /// A renewal of the credential had no answer.
    pub(super) renewal_lost: bool,
    /// The run came to its end by itself.
    pub(super) finished: bool,
    /// Nothing of what was so before is known to the next process.
    pub(super) torn: bool,
}

impl Books {
    /// The books of the next process of the runner, which goes on with the facts that it was given.
    pub(super) fn begins(&self, core: &Core) -> Self {
        let facts = core.facts();
        let mut next = Self { lives: self.lives + 1, finished: self.finished, ..Self::default() };
        next.over = facts.settled.iter().map(|id| (*id, "settled")).collect();
        next.over.extend(facts.set_aside.keys().map(|id| (*id, "set aside")));
        for command in facts.commands {
            let name = self.heard.get(&command.id).cloned().unwrap_or_else(|| "".into());
            next.heard.insert(command.id.clone(), name);
            if command.outcome.is_some() {
                next.concluded.insert(command.id, command.status.as_str());
            }
        }
        next
    }

    /// Of the messages that are over, the newest of each kind: what all of them hear is counted by these.
    pub(super) fn some_over(&self) -> impl Iterator<Item = MessageId> {
        let newest = |how: &str| self.over.iter().rev().find(|(_, is)| **is == how).map(|(id, _)| *id);
        newest("settled").into_iter().chain(newest("set aside"))
    }

    /// The same of commands.
    pub(super) fn some_concluded(&self) -> impl Iterator<Item = &Text> {
        let newest = |how: &str| self.concluded.iter().rev().find(|(_, is)| **is == how).map(|(id, _)| id);
        newest("succeeded").into_iter().chain(newest("failed"))
    }

    /// After a step; `look` is what is seen then.
    pub(super) fn goes_on(&mut self, notes: &Changes, look: Look) {
        for op in &notes.closed {
            if let Some(asked) = self.asked.get_mut(op) {
                asked.open = false;
            }
        }
        if let Some(generation) = notes.exited {
            self.process_ends(generation);
        }
        if notes.another_relay {
            self.over.clear();
            self.gone.clear();
            self.claim_keys.clear();
        }
        self.over.extend(notes.settled.iter().map(|id| (*id, "settled")));
        self.over.extend(look.set_aside.iter().map(|id| (*id, "set aside")));
        self.gone.extend(&notes.gone);
        self.gone.retain(|id| look.messages.contains_key(id));
        self.heard.extend(notes.heard.clone());
        self.concluded.extend(notes.concluded.clone());
        for effect in &notes.effects {
            self.asks(effect, &look);
        }
        self.hard |= notes.hard;
        self.was_up |= notes.comes_up;
        if notes.turn_ended || notes.turn_began || notes.exited.is_some() {
            self.unverified = false;
            self.interrupting = false;
        }
        self.unverified = (self.unverified && !notes.alive) || notes.doubted;
        self.interrupting |= notes.interrupts;
        if notes.turn_ended {
            self.turn_ended = Some(look.generation);
            self.turn_id = None;
            self.subagent = false;
            self.compaction = false;
        }
        if let Some(id) = &notes.turn_id {
            self.turn_id = Some(id.clone());
        }
        if let Some((compaction, begins)) = notes.side {
            *(if compaction { &mut self.compaction } else { &mut self.subagent }) = begins;
        }
        if notes.registered {
            self.registered += 1;
        }
        let was_up = self.look.as_ref().is_some_and(|look| look.link == "up");
        if notes.registered {
            self.up_since = look.now.mono;
        } else if was_up && look.link == "waiting" {
            self.flaps = if look.now.mono < self.up_since + 60_000 { self.flaps + 1 } else { 1 };
        }
        if notes.jumped {
            self.jumped = Some(look.now.mono);
        }
        if let Some(lost) = notes.renewal_lost {
            self.renewal_lost = lost;
        }
        self.finished = look.ending == "over";
        self.look = Some(look);
    }

    fn process_ends(&mut self, generation: Generation) {
        for asked in self.asked.values_mut() {
            let of = match &asked.effect {
                Effect::Spawn { generation, .. }
                | Effect::Adopt { generation, .. }
                | Effect::Provider { generation, .. } => Some(*generation),
                _ => None,
            };
            asked.open &= of != Some(generation);
        }
        self.turn_id = None;
        self.subagent = false;
        self.compaction = false;
    }

    fn asks(&mut self, effect: &Effect, look: &Look) {
        let op = match effect {
            Effect::StartControl { op }
            | Effect::WriteInfo { op }
            | Effect::ReadSettings { op }
            | Effect::Http { op, .. }
            | Effect::Spawn { op, .. }
            | Effect::Adopt { op, .. }
            | Effect::FetchAttachments { op, .. }
            | Effect::Provider { op, .. } => *op,
            Effect::Connect { conn } => {
                self.conn = *conn;
                return;
            }
            Effect::UseToken { .. } => {
                self.credential += 1;
                self.first_conn = self.conn + 1;
                return;
            }
            Effect::Disconnect { .. }
            | Effect::Send { .. }
            | Effect::Stop { .. }
            | Effect::Answer { .. }
            | Effect::Finish { .. } => return,
        };
        if let Effect::Http { key, call: Call::Claim { message }, .. } = effect {
            self.claim_keys.insert(*message, *key);
        }
        let name = match effect {
            Effect::Provider { act: Act::Compact, .. } => "agent.compact",
            Effect::Provider { act: Act::Clear, .. } => "agent.clearContext",
            Effect::Provider { act: Act::Inject { .. }, .. } => "agent.injectContext",
            Effect::Provider { act: Act::Decide { .. }, .. } => "agent.permissionDecision",
            _ => "",
        };
        let mut at = look.commands.iter().filter(|order| order.state == "at provider" && order.name == name);
        // Where there are several, nobody can tell.
        let command = at.next().filter(|_| at.next().is_none()).and_then(|order| order.id.clone());
        let asked =
            Asked { effect: effect.clone(), open: true, command, credential: self.credential, ending: look.ending };
        self.asked.insert(op, asked);
    }
}
