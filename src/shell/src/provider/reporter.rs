//! How an adapter speaks to the loop.

use crate::input::Inputs;
use crate::secret::{Redactor, cut};
use relay_runner_core::event::{ExitClass, ExitReport, Failure, FailureKind};
use relay_runner_core::{Event, Generation, OpId, OpResult, ProviderReport};

/// What others' text may take in an event.
const TEXT_MOST: usize = 300;

/// Reports of one generation.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    inputs: Inputs,
    generation: Generation,
    redactor: Redactor,
}

impl Reporter {
    pub(crate) fn new(inputs: Inputs, generation: Generation, redactor: Redactor) -> Self {
        Self { inputs, generation, redactor }
    }

    pub(crate) fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    pub(crate) async fn report(&self, report: ProviderReport) {
        self.inputs.event(Event::Provider(self.generation, report)).await;
    }

    pub(crate) async fn exit(&self, class: ExitClass, detail: &str) {
        self.report(ProviderReport::Exit(ExitReport { class, detail: self.text(detail).into() })).await;
    }

    pub(crate) async fn answer(&self, op: OpId, result: OpResult) {
        self.inputs.event(Event::Done(op, result)).await;
    }

    pub(crate) async fn fail(&self, op: OpId, kind: FailureKind, why: &str) {
        self.answer(op, OpResult::Failed(Failure { kind, text: self.text(why).into() })).await;
    }

    /// A whole text, without our secrets.
    pub(crate) fn clean(&self, text: &str) -> String {
        self.redactor.clean(text)
    }

    /// Others' text as an event may hold it: short, on one line, without our secrets.
    pub(crate) fn text(&self, text: &str) -> String {
        cut(&self.redactor.clean(text), TEXT_MOST)
    }
}
