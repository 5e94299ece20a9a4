//! Telling the agent, once, that a message that it has is not its own any more (behaviour 5, 7): its claim was lost,
//! another took it, it was deleted, or its task was cancelled.

use alloc::collections::VecDeque;
use serde::{Deserialize, Serialize};

use crate::Core;
use crate::deadlines::TimerKey;
use crate::effect::{Act, Effect, Effects};
use crate::event::{FailureKind, OpResult};
use crate::ids::{MessageId, OpId, Text};
use crate::mutant::Mutant;
use crate::note::Note;
use crate::ops::Op;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Telling {
    /// What the living process is still to be told, oldest first.
    waiting: VecDeque<(MessageId, Text)>,
    under_way: Option<OpId>,
}

/// What waits to be told at a time; the oldest beyond are not told.
const MOST: usize = 64;

impl Core {
    pub(crate) fn is_telling(&self) -> bool {
        self.telling.under_way.is_some()
    }

    /// Puts it in line; it is told as soon as the provider can hear it.
    pub(crate) fn tell(&mut self, message: MessageId, why: Text) {
        if self.telling.waiting.len() >= MOST {
            self.telling.waiting.pop_front();
        }
        if !self.config.is_mutant(Mutant::NeverTells) {
            self.telling.waiting.push_back((message, why));
        }
    }

    /// One operation on the provider at a time. During a turn only what can be handed over during a turn.
    pub(crate) fn tell_what_waits(&mut self, fx: &mut Effects) {
        if self.telling.waiting.is_empty() || self.is_telling() || self.deadlines.is_armed(TimerKey::Telling) {
            return;
        }
        let adapter = self.config.adapter;
        let busy = self.adapter_is_busy() || self.ops.any(|op| matches!(op, Op::Offer(_) | Op::Prompt(_)));
        let in_turn = self.turns.running().is_some() && !adapter.steer;
        let dialog = adapter.typed && self.approvals.any_open();
        if busy || in_turn || dialog || !self.lifecycle.is_up() {
            return;
        }
        let Some((message, why)) = self.telling.waiting.front().cloned() else { return };
        let generation = self.lifecycle.generation();
        let op = self.ops.start(Op::Tell(generation), self.after(self.config.timing.offer_deadline));
        self.telling.under_way = Some(op);
        fx.push(Effect::Provider { op, generation, act: Act::Tell { message, why } });
    }

    pub(crate) fn told(&mut self, op: OpId, result: &OpResult, fx: &mut Effects) {
        if self.telling.under_way != Some(op) {
            fx.note(Note::Stale { what: "word to the provider", number: op.0 });
            return;
        }
        self.telling.under_way = None;
        self.touched.inbox = true;
        match result {
            // It is not there yet.
            OpResult::Failed(failure) if failure.kind == FailureKind::NotReady => {
                self.deadlines.arm(TimerKey::Telling, self.now.mono, self.config.timing.offer_retry_min);
            }
            // Told, or it cannot be.
            _ => {
                self.telling.waiting.pop_front();
            }
        }
    }

    /// The process that had the messages is over.
    pub(crate) fn nobody_to_tell(&mut self) {
        self.telling = Telling::default();
        self.deadlines.clear(TimerKey::Telling);
    }
}
