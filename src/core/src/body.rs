//! Bodies as handles: the bytes stay in the shell, the core knows size and digest.
//!
//! Nothing is decided by a digest: it is there so that whoever reads a journal can tell two bodies apart, or find their
//! words. Where not even that may be kept, the shell takes the digests out before the core sees them.

use serde::{Deserialize, Serialize};

use crate::event::{BusFrame, Event, HookReport, Incoming, OpResult, Order, Params, RelayEvent};
use crate::facts::DurableFacts;

/// What the core knows of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyRef {
    /// Bytes.
    pub len: u32,
    /// Bytes without leading and trailing white space.
    pub trimmed: u32,
    /// XXH3 of the bytes: enough to see that two bodies are the same, and nothing to keep a secret with.
    pub digest: u64,
}

impl BodyRef {
    pub fn of(text: &str) -> Self {
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            len: clamp(text.len()),
            trimmed: clamp(text.trim().len()),
            digest: xxhash_rust::xxh3::xxh3_64(text.as_bytes()),
        }
    }

    /// The same without its digest, where not even that may be kept.
    #[must_use]
    pub const fn without_digest(self) -> Self {
        Self { digest: 0, ..self }
    }

    pub const fn is_blank(self) -> bool {
        self.trimmed == 0
    }
}

impl Event {
    /// Takes the digests of all bodies out.
    pub fn forget_digests(&mut self) {
        match self {
            Self::Bus(_, frame) => frame.forget_digests(),
            Self::Done(_, OpResult::Unread { messages, .. }) => messages.iter_mut().for_each(Incoming::forget_digest),
            Self::Order(Order::Command { command, .. }) => command.params.forget_digest(),
            Self::Order(Order::Hook { hook, .. }) => hook.forget_digest(),
            Self::Boot
            | Self::Wake
            | Self::Link(..)
            | Self::Provider(..)
            | Self::Done(
                _,
                OpResult::Ok
                | OpResult::Said(_)
                | OpResult::Spawned(_)
                | OpResult::Granted { .. }
                | OpResult::Refused { .. }
                | OpResult::Renewed { .. }
                | OpResult::Pruned
                | OpResult::Owed { .. }
                | OpResult::Token { .. }
                | OpResult::Settings(_)
                | OpResult::Failed(_),
            )
            | Self::Order(
                Order::Signal(_)
                | Order::Report { .. }
                | Order::Permission { .. }
                | Order::Replied { .. }
                | Order::Token { .. }
                | Order::Fault { .. }
                | Order::JournalBroken { .. },
            ) => {}
        }
    }
}

impl BusFrame {
    fn forget_digests(&mut self) {
        match self {
            Self::Event { event: RelayEvent::MessageNew(message), .. } => message.forget_digest(),
            Self::Command { command, .. } => command.params.forget_digest(),
            Self::Event {
                event:
                    RelayEvent::MessageClaimed { .. }
                    | RelayEvent::ClaimReleased { .. }
                    | RelayEvent::MessageDeleted { .. }
                    | RelayEvent::Task { .. }
                    | RelayEvent::AgentUpdated(_)
                    | RelayEvent::Other { .. },
                ..
            }
            | Self::Registered { .. }
            | Self::Ack { .. }
            | Self::Replayed { .. }
            | Self::Error { .. }
            | Self::Unknown { .. }
            | Self::Malformed { .. } => {}
        }
    }
}

impl Incoming {
    fn forget_digest(&mut self) {
        self.body = self.body.without_digest();
    }
}

impl HookReport {
    fn forget_digest(&mut self) {
        if let (Some(_), Some(report)) = (self.held_before, &mut self.report) {
            // Of the last message.
            report.metadata = None;
        }
    }
}

impl Params {
    fn forget_digest(&mut self) {
        self.content = self.content.map(BodyRef::without_digest);
    }
}

impl DurableFacts {
    /// Takes the digests of all bodies out: an earlier run may have kept them.
    pub fn forget_digests(&mut self) {
        self.messages.values_mut().for_each(|fact| fact.meta.forget_digest());
    }
}
