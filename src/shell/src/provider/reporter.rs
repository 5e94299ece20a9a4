//! How an adapter speaks to the loop.

use crate::input::{Input, Inputs};
use crate::secret::{Redactor, cut};
use relay_runner_core::event::{ApprovalRequest, ExitClass, ExitReport, Failure, FailureKind, TurnEnd};
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

    /// The program asks for a permission. What for is for the person who decides, and stands in no journal.
    pub(crate) async fn open(&self, mut request: ApprovalRequest, input: Option<String>) {
        request.reason = request.reason.map(|text| self.text(&text).into());
        let input = input.map(|text| self.text(&text));
        self.inputs.send(Input::Opened { generation: self.generation, request: Box::new(request), input }).await;
    }

    pub(crate) fn note(&self, warns: bool, text: &str) {
        let (generation, text) = (self.generation.0, self.text(text));
        if warns {
            tracing::warn!(generation, "{text}");
        } else {
            tracing::debug!(generation, "{text}");
        }
    }

    /// Without our secrets, and short.
    pub(crate) fn cleaned(&self, report: ProviderReport) -> ProviderReport {
        match report {
            ProviderReport::Malformed { reason } => ProviderReport::Malformed { reason: self.text(&reason).into() },
            ProviderReport::Status(mut status) => {
                if let TurnEnd::Failed { error } = &mut status.end {
                    *error = self.text(error).into();
                }
                status.label = status.label.map(|label| self.text(&label).into());
                ProviderReport::Status(status)
            }
            ProviderReport::Model { model, effort } => {
                let effort = effort.map(|effort| self.text(&effort).into());
                ProviderReport::Model { model: self.text(&model).into(), effort }
            }
            other => other,
        }
    }
}
