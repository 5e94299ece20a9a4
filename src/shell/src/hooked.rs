//! What a provider's hooks say, for an adapter that follows them as well. The core hears of them by itself: this is for what
//! it does not know, such as where the provider writes its transcript, and for hooks that say too little alone.

use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// Hooks that were said and not followed yet; more are passed over, as each is only a reason to look.
const WAITING_MOST: usize = 256;

/// A hook as it was posted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hook {
    pub(crate) event: String,
    pub(crate) payload: Map<String, Value>,
}

/// Whose hooks are followed: of one provider session at a time.
#[derive(Debug, Clone)]
pub(crate) struct Hooked(Arc<watch::Sender<Option<Follower>>>);

#[derive(Debug, Clone)]
struct Follower {
    session: String,
    /// These are said to it alone, and it reports what they mean.
    own: &'static [&'static str],
    to: mpsc::Sender<Hook>,
}

impl Hooked {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// From now on the hooks of this provider session come here, and those of no other.
    pub(crate) fn follow(&self, session: &str, own: &'static [&'static str]) -> mpsc::Receiver<Hook> {
        let (to, hooks) = mpsc::channel(WAITING_MOST);
        self.0.send_replace(Some(Follower { session: session.to_owned(), own, to }));
        hooks
    }

    /// True when it is not for the core.
    pub(crate) fn say(&self, event: &str, payload: &Map<String, Value>) -> bool {
        let Some(Follower { session, own, to }) = self.0.borrow().clone() else { return false };
        if payload.get("providerSessionId").and_then(Value::as_str) != Some(&session) {
            return false;
        }
        let said = to.try_send(Hook { event: event.to_owned(), payload: payload.clone() });
        said.is_ok() && own.contains(&event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn payload(session: &str) -> Map<String, Value> {
        Map::from_iter([("providerSessionId".to_owned(), json!(session))])
    }

    #[tokio::test]
    async fn only_the_hooks_of_the_followed_session_are_said() {
        let hooked = Hooked::new();
        assert!(!hooked.say("Stop", &payload("s1")), "nobody follows");
        let mut hooks = hooked.follow("s1", &["StopFailure"]);
        assert!(!hooked.say("Stop", &payload("s1")), "it is for the core as well");
        assert!(hooked.say("StopFailure", &payload("s1")));
        assert!(!hooked.say("StopFailure", &payload("s2")), "of another session");
        let said = [hooks.recv().await.unwrap().event, hooks.recv().await.unwrap().event];
        assert_eq!(said, ["Stop", "StopFailure"]);
        drop(hooks);
        assert!(!hooked.say("StopFailure", &payload("s1")), "nobody follows any more: the core hears of it");
    }
}
