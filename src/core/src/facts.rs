//! Durable facts: what a restart of the runner needs, and no more (behaviour, before 18).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use relay_runner_protocol::{CommandStatus, Stage};
use serde::{Deserialize, Serialize};

use crate::effect::{Call, Outcome, Repeat};
use crate::event::{Incoming, ProcessRef};
use crate::ids::{Fence, Generation, MessageId, Nonce, OpId, Text, TurnNumber};
use crate::inbox::{Had, Item};
use crate::matching::Given;
use crate::owed::OwedFact;
use crate::time::Wall;

/// What one run hands on to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurableFacts {
    pub run_id: Text,
    pub instance_id: Text,
    pub generation: Generation,
    pub next_op: OpId,
    pub next_turn: TurnNumber,
    pub status_seq: u64,
    /// The relay that all of this is about, where it says which one it is.
    pub relay: Option<Text>,
    /// Position of the last event of the bus that was taken in.
    pub bus_position: u64,
    /// What the agent was given on the relay since it registered.
    #[serde(default)]
    pub given: Option<Given>,
    pub provider: Option<ProviderFact>,
    /// The provider's own conversation, which the next process goes on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationFact>,
    pub first_prompt_done: bool,
    /// It was handed over to the living process, or was about to be; that its turn has begun is not known yet.
    #[serde(default)]
    pub first_prompt_said: bool,
    /// When providers exited, within the restart window.
    pub exits: Vec<Wall>,
    pub parked: Option<Text>,
    /// Messages from claimed on.
    pub messages: BTreeMap<MessageId, MessageFact>,
    /// Reports that the relay has not accepted yet, oldest first.
    pub reports: Vec<ReportFact>,
    pub settled: BTreeSet<MessageId>,
    pub set_aside: BTreeMap<MessageId, Text>,
    /// Messages that were offered before they were forgotten.
    pub had: BTreeMap<MessageId, Had>,
    pub commands: Vec<CommandFact>,
    /// Replies that the agent owes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub owed: BTreeMap<MessageId, OwedFact>,
    /// Messages that it replied to last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replied: Vec<MessageId>,
}

/// The provider process that was alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderFact {
    pub generation: Generation,
    /// None: it was being started, and whether it came to be is not known.
    pub process: Option<ProcessRef>,
    /// What it was started with, as [`Config::launch`](crate::Config::launch) says.
    #[serde(default)]
    pub launch: u64,
}

/// A conversation of a provider's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationFact {
    pub id: Text,
    /// Whose it is: another kind of provider cannot go on with it.
    pub provider: Text,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageFact {
    pub meta: Incoming,
    pub stage: Stage,
    pub attempt: u32,
    pub tries: u32,
    pub failed_turns: u32,
    pub nonce: Nonce,
    pub repeat: Repeat,
    /// The end of its task was accepted by the relay.
    pub task_ended: bool,
    pub fence: Option<Fence>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportFact {
    pub key: OpId,
    pub call: Call,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandFact {
    pub id: Text,
    pub status: CommandStatus,
    pub outcome: Option<Arc<Outcome>>,
    /// Key of the report of its outcome.
    pub key: Option<OpId>,
    pub at: Wall,
    /// Another took the agent before its outcome could be said.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub owed: bool,
}

impl MessageFact {
    pub(crate) fn of(item: &Item, fence: Option<Fence>) -> Self {
        Self {
            meta: item.meta.clone(),
            stage: item.stage,
            attempt: item.attempt,
            tries: item.tries,
            failed_turns: item.failed_turns,
            nonce: item.nonce,
            repeat: item.repeat,
            task_ended: item.task_ended,
            fence,
        }
    }

    /// What the next offer has to say, now that the process that had the last one is not ours any more.
    pub(crate) const fn repeat_now(&self) -> Repeat {
        match self.stage {
            Stage::Offered | Stage::Ambiguous => Repeat::Ambiguous,
            Stage::Taken => Repeat::Redelivered,
            Stage::Held | Stage::Claimed | Stage::Worked | Stage::Settled | Stage::SetAside => self.repeat,
        }
    }
}

impl DurableFacts {
    /// There was a run before.
    pub(crate) fn is_of_a_run(&self) -> bool {
        self.next_op > OpId(1)
    }

    /// The facts of an agent that never ran. Both ids are random, made by the shell.
    pub fn new(run_id: Text, instance_id: Text) -> Self {
        Self {
            run_id,
            instance_id,
            generation: Generation(0),
            next_op: OpId(1),
            next_turn: 1,
            status_seq: 0,
            relay: None,
            bus_position: 0,
            given: None,
            provider: None,
            conversation: None,
            first_prompt_done: false,
            first_prompt_said: false,
            exits: Vec::new(),
            parked: None,
            messages: BTreeMap::new(),
            reports: Vec::new(),
            settled: BTreeSet::new(),
            set_aside: BTreeMap::new(),
            had: BTreeMap::new(),
            commands: Vec::new(),
            owed: BTreeMap::new(),
            replied: Vec::new(),
        }
    }
}
