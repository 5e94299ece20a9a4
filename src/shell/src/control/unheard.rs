//! What has to be said when whoever waits for an answer goes away without one.

use crate::input::{Input, Inputs};
use relay_runner_core::event::HookReport;
use tokio::sync::oneshot;

/// Dropped before [`Self::heard`], as by a connection that breaks, it has the loop hear its word.
#[derive(Debug)]
pub(super) struct Unheard {
    inputs: Inputs,
    word: Option<HookReport>,
}

impl Unheard {
    /// None: nothing has to be said.
    pub(super) fn new(inputs: &Inputs, word: Option<HookReport>) -> Self {
        Self { inputs: inputs.clone(), word }
    }

    pub(super) fn heard(mut self) {
        self.word = None;
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        if let Some(hook) = self.word.take() {
            let inputs = self.inputs.clone();
            tokio::spawn(async move {
                // Nobody waits for what comes of it.
                let (answer, _) = oneshot::channel();
                inputs.send(Input::Hook { hook: Box::new(hook), answer }).await;
            });
        }
    }
}
