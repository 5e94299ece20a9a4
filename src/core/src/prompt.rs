//! The first prompt: said once in the agent's life, before any offer (behaviour 2).

use serde::{Deserialize, Serialize};

use crate::Core;
use crate::deadlines::TimerKey;
use crate::effect::{Act, Effect, Effects};
use crate::event::OpResult;
use crate::ops::Op;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    Pending,
    Saying,
    /// Handed over; its turn has not begun.
    Said,
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Prompt {
    phase: Phase,
    /// While it was being handed over a turn began: a quick provider's word comes before the adapter's.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    begun: bool,
}

impl Prompt {
    /// `said`: the process that is to be taken up has it.
    pub(crate) const fn new(done: bool, said: bool) -> Self {
        let phase = match (done, said) {
            (true, _) => Phase::Done,
            (false, true) => Phase::Said,
            (false, false) => Phase::Pending,
        };
        Self { phase, begun: false }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Handed over, or about to be, and that its turn has begun is not known yet.
    pub(crate) fn is_said(&self) -> bool {
        matches!(self.phase, Phase::Saying | Phase::Said)
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self.phase {
            Phase::Pending => "pending",
            Phase::Saying => "saying",
            Phase::Said => "said",
            Phase::Done => "done",
        }
    }
}

impl Core {
    /// Says the first prompt to a provider that is up, if it was not said yet.
    pub(crate) fn say_first_prompt(&mut self, fx: &mut Effects) {
        if self.prompt.is_done() {
            return;
        }
        if self.prompt.is_said() {
            // The process was taken up, and may have it: it is said once.
            self.deadlines.arm(TimerKey::FirstPrompt, self.now.mono, self.config.timing.first_prompt);
            return;
        }
        self.prompt = Prompt { phase: Phase::Saying, begun: false };
        let generation = self.lifecycle.generation();
        let op = self.ops.start(Op::Prompt(generation), self.after(self.config.timing.offer_deadline));
        self.deadlines.arm(TimerKey::FirstPrompt, self.now.mono, self.config.timing.first_prompt);
        fx.push(Effect::Provider { op, generation, act: Act::Prompt });
    }

    pub(crate) fn prompt_answered(&mut self, result: &OpResult, fx: &mut Effects) {
        if self.prompt.phase != Phase::Saying {
            return;
        }
        // A failed one holds nothing up: it was tried, and the note says why it failed.
        let handed_over = !matches!(result, OpResult::Failed(_));
        let begun = self.prompt.begun || self.turns.running().is_some();
        if handed_over && self.config.adapter.evidence && !begun {
            // That its turn begins shows that the provider has it.
            self.prompt.phase = Phase::Said;
        } else {
            self.prompt_is_over(fx);
        }
    }

    /// A turn began: the provider has what was handed over.
    pub(crate) fn prompt_is_taken(&mut self, fx: &mut Effects) {
        match self.prompt.phase {
            Phase::Said => self.prompt_is_over(fx),
            Phase::Saying => self.prompt.begun = self.believes_less(),
            Phase::Pending | Phase::Done => {}
        }
    }

    pub(crate) fn prompt_overdue(&mut self, fx: &mut Effects) {
        self.prompt_is_over(fx);
    }

    fn prompt_is_over(&mut self, fx: &mut Effects) {
        self.prompt = Prompt { phase: Phase::Done, begun: false };
        self.deadlines.clear(TimerKey::FirstPrompt);
        self.touched.inbox = true;
        fx.sync = true;
    }

    /// The process that was to hear it is gone: the next one hears it.
    pub(crate) fn prompt_unheard(&mut self) {
        if matches!(self.prompt.phase, Phase::Saying | Phase::Said) {
            self.prompt = Prompt { phase: Phase::Pending, begun: false };
            self.deadlines.clear(TimerKey::FirstPrompt);
        }
    }
}
