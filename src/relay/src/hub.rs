//! The live connections of the bus: who is there, and what is queued for whom.
//!
//! The hub belongs to the store's thread and is only touched after a commit. Hence what goes out has been written down,
//! and goes out in the order in which it was.

use std::collections::{BTreeMap, BTreeSet};

use relay_runner_protocol::frame::{BusError, ServerFrame, Subscribe};

use crate::event::{Form, Published};
use crate::outbox::{Alive, Out, Outbox, text};

/// Subscriptions of one connection.
const SUBSCRIPTIONS: usize = 64;

pub(crate) type ConnId = u64;

#[derive(Debug)]
struct Connection {
    outbox: Outbox,
    alive: Alive,
    form: Form,
    agent: Option<String>,
    subscriptions: Vec<Subscribe>,
    /// Replays that are still being written: until then new events are left to them, so that order is kept.
    replays: u32,
}

/// All live connections, registered or not.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    connections: BTreeMap<ConnId, Connection>,
    newest: ConnId,
}

impl Hub {
    pub(crate) fn open(&mut self, outbox: Outbox, alive: Alive, form: Form) -> ConnId {
        self.newest += 1;
        let connection = Connection { outbox, alive, form, agent: None, subscriptions: Vec::new(), replays: 0 };
        self.connections.insert(self.newest, connection);
        self.newest
    }

    pub(crate) fn close(&mut self, id: ConnId) {
        self.connections.remove(&id);
    }

    pub(crate) fn is_open(&self, id: ConnId) -> bool {
        self.connections.contains_key(&id)
    }

    pub(crate) fn is_connected(&self, agent: &str) -> bool {
        self.connections.values().any(|c| c.agent.as_deref() == Some(agent))
    }

    pub(crate) fn connected(&self) -> BTreeSet<String> {
        self.connections.values().filter_map(|c| c.agent.clone()).collect()
    }

    /// From now on the connection speaks for the agent, and any other one of that agent is closed: with `superseded`
    /// when its instance is a different one, without a word when the same instance has merely connected again.
    pub(crate) fn bind(&mut self, id: ConnId, agent: &str, superseded: bool) {
        self.unbind(agent, Some(id), superseded);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.agent = Some(agent.to_owned());
        }
    }

    /// Closes what speaks for the agent, but for `keep`.
    pub(crate) fn unbind(&mut self, agent: &str, keep: Option<ConnId>, superseded: bool) {
        let is_old = |id: &ConnId, c: &mut Connection| Some(*id) != keep && c.agent.as_deref() == Some(agent);
        let old: Vec<Connection> = self.connections.extract_if(.., is_old).map(|(_, c)| c).collect();
        if superseded {
            for connection in old {
                let last = text(&superseded_frame(None, "another instance has taken this agent over"));
                // When even this does not fit, dropping it closes the connection all the same.
                let _ = connection.outbox.push(Out::Last(last, Some(connection.alive)));
            }
        }
    }

    /// The agent is gone: its connection stays, and may register again.
    pub(crate) fn forget(&mut self, agent: &str) {
        for connection in self.connections.values_mut().filter(|c| c.agent.as_deref() == Some(agent)) {
            connection.agent = None;
            connection.subscriptions.clear();
        }
    }

    /// False: the connection has as many subscriptions as it may have.
    pub(crate) fn subscribe(&mut self, id: ConnId, subscription: Subscribe) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return true };
        if connection.subscriptions.contains(&subscription) {
            return true;
        }
        let has_room = connection.subscriptions.len() < SUBSCRIPTIONS;
        if has_room {
            connection.subscriptions.push(subscription);
        }
        has_room
    }

    /// Whether an event concerns a connection: it is about what its agent sent or is sent, or it was subscribed to.
    pub(crate) fn wants(&self, id: ConnId, name: &str, audience: &BTreeSet<String>) -> bool {
        self.connections.get(&id).is_some_and(|c| c.wants(name, audience))
    }

    pub(crate) fn publish(&mut self, event: &Published) {
        self.connections.retain(|id, c| {
            let fits = c.replays > 0 || !c.wants(&event.name, &event.audience) || c.push(event);
            if !fits {
                tracing::warn!(connection = id, agent = c.agent, "a slow connection is closed; it can resume");
            }
            fits
        });
    }

    pub(crate) fn send_to_agent(&mut self, agent: &str, frame: &ServerFrame) {
        self.connections.retain(|_, c| c.agent.as_deref() != Some(agent) || c.outbox.frame(frame));
    }

    pub(crate) fn send(&mut self, id: ConnId, frame: &ServerFrame) {
        self.connections.retain(|other, c| *other != id || c.outbox.frame(frame));
    }

    /// In which form a connection is written to.
    pub(crate) fn form(&self, id: ConnId) -> Form {
        self.connections.get(&id).map_or(Form::Frames, |c| c.form)
    }

    /// Holds new events back for a replay that is about to begin.
    pub(crate) fn hold(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.replays += 1;
        }
    }

    pub(crate) fn begin_replay(&mut self, id: ConnId, since: u64) {
        self.connections.retain(|other, c| {
            if *other != id {
                return true;
            }
            c.replays += 1;
            c.outbox.push(Out::Replay(since))
        });
    }

    pub(crate) fn end_replay(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.replays = connection.replays.saturating_sub(1);
        }
    }
}

impl Connection {
    fn push(&self, event: &Published) -> bool {
        self.outbox.push(Out::Frame(event.written(self.form)))
    }

    /// A connection of the bus that speaks for no agent yet gets nothing; one that only listens never speaks for any.
    fn wants(&self, name: &str, audience: &BTreeSet<String>) -> bool {
        if self.agent.is_none() && self.form == Form::Frames {
            return false;
        }
        self.agent.as_ref().is_some_and(|agent| audience.contains(agent))
            || self.subscriptions.iter().any(|s| covers(s, name, audience))
    }
}

/// Names are exact or `prefix.*`; without scopes everything is in scope.
fn covers(subscription: &Subscribe, name: &str, audience: &BTreeSet<String>) -> bool {
    let named = subscription.events.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    });
    named && (subscription.scopes.is_empty() || subscription.scopes.iter().any(|s| audience.contains(s)))
}

pub(crate) fn superseded_frame(id: Option<String>, message: &str) -> ServerFrame {
    let code = relay_runner_protocol::ErrorCode::Superseded;
    ServerFrame::Error { id, payload: BusError { code, message: message.to_owned() } }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::outbox::{FRAMES, queue};

    fn subscription(events: &[&str], scopes: &[&str]) -> Subscribe {
        let owned = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
        Subscribe { events: owned(events), scopes: owned(scopes) }
    }

    #[test]
    fn a_subscription_names_events_or_prefixes_within_its_scopes() {
        let audience = BTreeSet::from(["a".to_owned(), "channel:x".to_owned()]);
        for (events, scopes, expected) in [
            (vec!["message.new"], vec![], true),
            (vec!["message.*"], vec![], true),
            (vec!["task.*"], vec![], false),
            (vec!["message"], vec![], false),
            (vec!["*"], vec!["b", "channel:x"], true),
            (vec!["message.new"], vec!["b"], false),
        ] {
            assert_eq!(covers(&subscription(&events, &scopes), "message.new", &audience), expected, "{events:?}");
        }
    }

    #[test]
    fn a_connection_that_does_not_read_is_dropped_and_the_others_stay() {
        let mut hub = Hub::default();
        let (slow, _unread) = queue();
        let (alive, mut closed) = oneshot::channel();
        let slow = hub.open(slow, alive, Form::Frames);
        hub.bind(slow, "slow", false);
        let event = |audience: &str| {
            Published::new(1, "message.new".into(), serde_json::Value::Null, BTreeSet::from([audience.to_owned()]))
        };
        for _ in 0..FRAMES {
            hub.publish(&event("slow"));
        }
        assert!(hub.is_connected("slow"));
        hub.publish(&event("other"));
        assert!(hub.is_connected("slow"));
        hub.publish(&event("slow"));
        assert!(!hub.is_connected("slow"));
        assert!(closed.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Closed));
    }
}
