//! Which messages are ours (behaviour 5).

use relay_runner_protocol::Target;

use crate::config::Config;
use crate::event::Incoming;

/// Whether a message is for this agent and still has to be read by it.
pub(crate) fn is_ours(config: &Config, message: &Incoming) -> bool {
    !message.read && is_addressed(config, message)
}

fn is_addressed(config: &Config, message: &Incoming) -> bool {
    let us = &config.identity;
    if let Some(resolved) = &message.resolved {
        return *resolved == us.agent_id;
    }
    match Target::parse(&message.to) {
        Target::Agent(id) => id == &*us.agent_id,
        Target::Label(label) => us.label.as_deref() == Some(label),
        Target::Broadcast => config.relay_context && message.from != us.agent_id,
        Target::Tag(tag) => config.relay_context && us.tags.iter().any(|t| &**t == tag),
        Target::Capability(cap) => config.relay_context && us.capabilities.iter().any(|c| &**c == cap),
        // Only the relay knows whom a policy chose.
        Target::Policy(_) => false,
    }
}
