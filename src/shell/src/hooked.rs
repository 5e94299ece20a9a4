//! What a provider's hooks say, for an adapter that follows them as well. The core hears of them by itself: this is for what
//! it does not know, such as where the provider writes its transcript, and for hooks that say too little alone.

use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Hooks that were said and not followed yet; more are passed over, as each is only a reason to look.
const WAITING_MOST: usize = 256;

/// A hook as it was posted.
#[derive(Debug)]
pub(crate) struct Hook {
    pub(crate) event: String,
    pub(crate) payload: Map<String, Value>,
    /// Dropped once what it means to the adapter was reported.
    pub(crate) done: Option<oneshot::Sender<()>>,
}

/// Before the core hears of these, the adapter has reported what came before: how the turn ended that a prompt follows, or, where it is
/// only just taking the provider up, that the turn which stops was there at all.
const AFTER_THE_ADAPTER: [&str; 2] = ["UserPromptSubmit", "Stop"];
/// It is not waited for longer: a hook holds the provider up.
const WITHIN: Duration = Duration::from_secs(1);

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
    pub(crate) async fn say(&self, event: &str, payload: &Map<String, Value>) -> bool {
        let follower = self.0.borrow().clone();
        let Some(Follower { session, own, to }) = follower else { return false };
        if payload.get("providerSessionId").and_then(Value::as_str) != Some(&session) {
            return false;
        }
        let (done, is_done) = oneshot::channel();
        let waits = AFTER_THE_ADAPTER.contains(&event);
        let hook = Hook { event: event.to_owned(), payload: payload.clone(), done: waits.then_some(done) };
        let said = to.try_send(hook).is_ok();
        if said && waits {
            // Nothing is ever sent: it is over when the other end is gone.
            let _ = tokio::time::timeout(WITHIN, is_done).await;
        }
        said && own.contains(&event)
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
        assert!(!hooked.say("PostToolUse", &payload("s1")).await, "nobody follows");
        let mut hooks = hooked.follow("s1", &["StopFailure"]);
        assert!(!hooked.say("PostToolUse", &payload("s1")).await, "it is for the core as well");
        assert!(hooked.say("StopFailure", &payload("s1")).await);
        assert!(!hooked.say("StopFailure", &payload("s2")).await, "of another session");
        let said = [hooks.recv().await.unwrap().event, hooks.recv().await.unwrap().event];
        assert_eq!(said, ["PostToolUse", "StopFailure"]);
        drop(hooks);
        assert!(!hooked.say("StopFailure", &payload("s1")).await, "nobody follows any more: the core hears of it");
    }
    #[tokio::test]
    async fn a_prompt_waits_for_the_adapter_and_nothing_else_does() {
        let hooked = Hooked::new();
        let mut hooks = hooked.follow("s1", &[]);
        let (told, mut order) = mpsc::unbounded_channel();
        let adapter = async {
            let hook = hooks.recv().await.unwrap();
            told.send("the adapter").unwrap();
            drop(hook.done);
        };
        let prompt = payload("s1");
        let control = async {
            hooked.say("UserPromptSubmit", &prompt).await;
            told.send("the core").unwrap();
        };
        tokio::join!(control, adapter);
        assert_eq!([order.recv().await, order.recv().await], [Some("the adapter"), Some("the core")]);
        hooked.say("PostToolUse", &payload("s1")).await;
        assert!(hooks.recv().await.unwrap().done.is_none());
    }
}
