//! Attachments: fetched before their message is offered (behaviour 6, 13). The files are the shell's; what cannot be had
//! is said in the message, and stops nothing.

use alloc::vec::Vec;

use crate::Core;
use crate::effect::{Effect, Effects};
use crate::ids::MessageId;
use crate::ops::Op;
use crate::time::{Millis, SECOND};

/// The shell keeps the deadline of each; the core waits this much longer.
const GRACE: Millis = SECOND;

impl Core {
    /// Whether a batch waits for its attachments.
    pub(crate) fn is_fetching_attachments(&self) -> bool {
        self.ops.any(|op| matches!(op, Op::Attachments(_)))
    }

    /// Has fetched what these messages carry and is not at hand. True when there is something to wait for.
    pub(crate) fn fetch_attachments(&mut self, messages: &[MessageId], fx: &mut Effects) -> bool {
        let missing: Vec<_> = messages
            .iter()
            .copied()
            .filter(|id| self.inbox.get(*id).is_some_and(|item| item.meta.attachments > 0 && !item.fetched))
            .collect();
        let deadline = self.config.timing.attachments;
        for message in &missing {
            let op = self.ops.start(Op::Attachments(*message), self.after(deadline.saturating_add(GRACE)));
            fx.push(Effect::FetchAttachments { op, message: *message, deadline });
        }
        !missing.is_empty()
    }

    /// Whether a message is held: accepted, and not yet settled, set aside or gone. What it has attached is needed.
    pub fn holds(&self, message: MessageId) -> bool {
        self.inbox.get(message).is_some()
    }

    /// They are there, or cannot be had: either way the message goes out.
    pub(crate) fn attachments_answered(&mut self, message: MessageId) {
        self.inbox.update(message, |item| item.fetched = true);
        self.touched.inbox = true;
    }
}
