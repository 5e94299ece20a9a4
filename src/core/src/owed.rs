//! Replies that the agent owes (behaviour 13): to messages that expect one and that it has taken. They outlive restarts,
//! hold the end of a turn once (behaviour 19), and end with the reply.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::Core;
use crate::effect::{Call, Effects, OwedReply};
use crate::event::OpResult;
use crate::flags::Flag;
use crate::ids::{MessageId, Text, TurnNumber};
use crate::ops::Op;
use crate::time::Wall;
use crate::view::OwedView;

/// A reply that is owed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwedFact {
    /// Who waits for it.
    pub from: Text,
    /// When the agent took the message.
    pub since: Wall,
    /// It was sent to a label, a tag or a capability: the relay's list leaves it out once the agent has another.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub by_name: bool,
}

/// Replies that are remembered, for those that are heard of before their message is known to be taken.
const REPLIED_MOST: usize = 64;
/// A list of the relay that is this long may leave something out.
const LIST_MOST: usize = 1_000;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owed {
    replies: BTreeMap<MessageId, OwedFact>,
    /// Those that the relay was asked about, while it has not answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    asked: Vec<MessageId>,
    /// The turn whose end was held already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<TurnNumber>,
    /// Messages that were replied to last.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    replied: VecDeque<MessageId>,
    version: u64,
}

impl Owed {
    pub(crate) fn from_facts(replies: BTreeMap<MessageId, OwedFact>, sent: Vec<MessageId>) -> Self {
        Self { replies, replied: sent.into(), ..Self::default() }
    }

    pub(crate) fn replied(&self) -> Vec<MessageId> {
        self.replied.iter().copied().collect()
    }

    pub(crate) fn facts(&self) -> BTreeMap<MessageId, OwedFact> {
        self.replies.clone()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (MessageId, &OwedFact)> {
        self.replies.iter().map(|(id, owed)| (*id, owed))
    }

    pub(crate) fn len(&self) -> usize {
        self.replies.len()
    }

    pub(crate) fn views(&self) -> Vec<OwedView<'_>> {
        self.iter().map(|(message_id, owed)| OwedView { message_id, from: &owed.from, since: owed.since }).collect()
    }

    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// Nothing of it is left in a core that owes nothing.
    pub(crate) fn is_unused(&self) -> bool {
        *self == Self::default()
    }

    /// The relay that the messages are of is not there any more.
    pub(crate) fn forget(&mut self) {
        self.asked.clear();
        self.replied.clear();
        self.version += u64::from(!self.replies.is_empty());
        self.replies.clear();
    }

    fn end(&mut self, message: MessageId) -> bool {
        let ended = self.replies.remove(&message).is_some();
        self.version += u64::from(ended);
        ended
    }
}

impl Core {
    /// The agent has taken this message.
    pub(crate) fn owes_a_reply(&mut self, message: MessageId) {
        let Some(item) = self.inbox.get(message) else { return };
        let replied = self.owed.replied.contains(&message);
        if !item.meta.reply_expected || replied || !self.config.flags.has(Flag::RemembersWhatIsOwed) {
            return;
        }
        let us = &self.config.identity.agent_id;
        let by_name = item.meta.to != *us && item.meta.resolved.as_ref() != Some(us);
        let owed = OwedFact { from: item.meta.from.clone(), since: self.now.wall, by_name };
        let known = self.owed.replies.len();
        self.owed.replies.entry(message).or_insert(owed);
        if self.owed.replies.len() > self.config.limits.held {
            // The oldest; the relay still knows it.
            self.owed.replies.pop_first();
        }
        self.owed.version += u64::from(self.owed.replies.len() != known);
    }

    /// The relay has accepted a reply to it.
    pub(crate) fn replied(&mut self, message: MessageId, fx: &mut Effects) {
        if self.owed.replied.len() >= REPLIED_MOST {
            self.owed.replied.pop_front();
        }
        self.owed.replied.push_back(message);
        self.owes_no_reply(message, fx);
        fx.sync = true;
    }

    /// The reply was sent, or nobody waits for it any more.
    pub(crate) fn owes_no_reply(&mut self, message: MessageId, fx: &mut Effects) {
        fx.sync |= self.owed.end(message);
    }

    /// What is owed is asked for with each round, while anything is: a reply may have gone another way.
    pub(crate) fn ask_what_is_owed(&mut self, fx: &mut Effects) {
        let mut certain = self.owed.iter().filter(|(_, owed)| !owed.by_name).map(|(id, _)| id).peekable();
        if certain.peek().is_none() || self.ops.any(|op| *op == Op::Obligations) {
            return;
        }
        self.owed.asked = certain.collect();
        self.http(Op::Obligations, Call::Obligations, self.config.timing.liveness_deadline, fx);
    }

    pub(crate) fn owed_answered(&mut self, result: &OpResult, fx: &mut Effects) {
        let asked = core::mem::take(&mut self.owed.asked);
        // A relay that does not keep such a list changes nothing.
        let OpResult::Owed { messages } = result else { return };
        if messages.len() >= LIST_MOST {
            return;
        }
        for message in asked {
            if !messages.contains(&message) {
                self.owes_no_reply(message, fx);
            }
        }
    }

    pub(crate) fn owed_replies(&self) -> Vec<OwedReply> {
        self.owed.iter().map(|(message, owed)| OwedReply { message, from: owed.from.clone() }).collect()
    }

    /// Whether the end of the turn that runs is held, so that the agent replies first. Once: an agent that does not may
    /// end all the same.
    pub(crate) fn holds_the_end(&mut self, held_before: bool) -> bool {
        let turn = self.turns.current();
        let holds = !held_before && !self.owed.replies.is_empty() && (turn.is_none() || self.owed.held != turn);
        if holds {
            self.owed.held = turn;
        }
        holds
    }
}
