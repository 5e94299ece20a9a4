//! A runner seen from the program that holds it: to look at, and to give orders to.

use crate::control::routes::order;
use crate::input::{Input, Inputs};
use crate::tokens::Token;
use relay_runner_core::{Answer, Event, Order, Outcome};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// Cheap to clone; outlives the run, after which it answers with nothing.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) inputs: Inputs,
    pub(crate) states: Arc<watch::Sender<Arc<str>>>,
    pub(crate) journal: PathBuf,
    pub(crate) runner_dir: PathBuf,
}

impl Handle {
    /// The core's view, as JSON. None when the run is over.
    pub async fn state(&self) -> Option<Arc<str>> {
        let (answer, answered) = oneshot::channel();
        if !self.inputs.send(Input::Look(answer)).await {
            return None;
        }
        answered.await.ok()
    }

    /// The core's view after each step, as JSON; empty before the first. The view is written out only while somebody
    /// watches.
    pub fn watch(&self) -> watch::Receiver<Arc<str>> {
        self.states.subscribe()
    }

    /// Gives an order, as a signal or a fault. False when the run is over.
    pub async fn order(&self, order: Order) -> bool {
        self.inputs.event(Event::Order(order)).await
    }

    /// Gives a command by its name on the wire, and waits for its outcome. None when the run is over before, or the
    /// name is unknown.
    pub async fn command(&self, name: &str, params: Map<String, Value>) -> Option<Arc<Outcome>> {
        let (command, content) = order(name, params)?;
        let (answer, answered) = oneshot::channel();
        if !self.inputs.send(Input::Command { order: Box::new(command), content, answer }).await {
            return None;
        }
        match answered.await.ok()? {
            Answer::Command(outcome) => Some(outcome),
            Answer::Busy(_)
            | Answer::Stale
            | Answer::Permission { .. }
            | Answer::Token { .. }
            | Answer::Hook { .. } => None,
        }
    }

    /// Hands a new runtime token in. False when it has ended already, or the run is over.
    pub async fn token(&self, token: Token) -> bool {
        let (answer, answered) = oneshot::channel();
        self.inputs.send(Input::Token { token, answer: Some(answer) }).await
            && matches!(answered.await, Ok(Answer::Token { accepted: true }))
    }

    /// The segment with which this run's journal began.
    pub fn journal(&self) -> &Path {
        &self.journal
    }

    /// The folder with the control socket and the info file.
    pub fn runner_dir(&self) -> &Path {
        &self.runner_dir
    }
}
