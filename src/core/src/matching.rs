//! Which messages are ours (behaviour 5).

use alloc::vec::Vec;
use relay_runner_protocol::Target;
use serde::{Deserialize, Serialize};

use crate::Core;
use crate::config::Config;
use crate::event::Incoming;
use crate::ids::{Epoch, Text};

/// What somebody has given the agent on the relay since it registered: it is meant by these as well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// It takes the place of the one that was registered.
    pub label: Option<Text>,
    /// Besides those that were registered.
    pub tags: Vec<Text>,
    /// The registration that it was given since; the next one begins without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
}

/// Tags that are given at most; more are left out.
pub(crate) const TAGS_MOST: usize = 256;

/// Whether a message is for this agent and still has to be read by it.
pub(crate) fn is_ours(config: &Config, given: Option<&Given>, message: &Incoming) -> bool {
    !message.read && is_addressed(config, given, message)
}

impl Core {
    /// The label in force: what it was given since it registered takes the place of what it registered.
    pub fn label(&self) -> Option<&str> {
        let own = self.config.identity.label.as_deref();
        self.given.as_ref().map_or(own, |given| given.label.as_deref())
    }
}

fn is_addressed(config: &Config, given: Option<&Given>, message: &Incoming) -> bool {
    let us = &config.identity;
    if let Some(resolved) = &message.resolved {
        return *resolved == us.agent_id;
    }
    let label = given.map_or(us.label.as_deref(), |given| given.label.as_deref());
    let mut tags = us.tags.iter().chain(given.into_iter().flat_map(|given| &given.tags));
    match Target::parse(&message.to) {
        Target::Agent(id) => id == &*us.agent_id,
        Target::Label(wanted) => label == Some(wanted),
        Target::Broadcast => config.relay_context && message.from != us.agent_id,
        Target::Tag(wanted) => config.relay_context && tags.any(|tag| &**tag == wanted),
        Target::Capability(cap) => config.relay_context && us.capabilities.iter().any(|c| &**c == cap),
        // Only the relay knows whom a policy chose.
        Target::Policy(_) => false,
    }
}
