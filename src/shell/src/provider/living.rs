//! A generation that lives: the task that owns its process, and the two queues to it. What is to be said is bounded, as
//! a program that does not read must not hold up the loop; the steps of stopping are few.

use super::reporter::Reporter;
use crate::input::{Inputs, Task};
use relay_runner_core::event::{Failure, FailureKind};
use relay_runner_core::{Event, Generation, OpId, OpResult, StopStep};
use std::time::Duration;
use tokio::sync::mpsc;

/// Deeds that wait for a program which does not read.
pub(crate) const WAITING_MOST: usize = 64;
/// How long the end of the run waits for a killed process to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// How a generation is brought to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    Step(StopStep),
    /// The runner goes, the program stays.
    Leave,
}

/// What the task of a generation is told.
#[derive(Debug)]
pub(crate) struct Told<S> {
    pub(crate) said: mpsc::Receiver<S>,
    pub(crate) stops: mpsc::UnboundedReceiver<Halt>,
}

#[derive(Debug)]
pub(crate) struct Living<S> {
    pub(crate) generation: Generation,
    pub(crate) reporter: Reporter,
    say: mpsc::Sender<S>,
    stop: mpsc::UnboundedSender<Halt>,
    task: Task,
}

impl<S: Send + 'static> Living<S> {
    pub(crate) fn begin<F>(
        generation: Generation,
        reporter: Reporter,
        inputs: &Inputs,
        run: impl FnOnce(Told<S>) -> F,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (say, said) = mpsc::channel(WAITING_MOST);
        let (stop, stops) = mpsc::unbounded_channel();
        let task = Task::start("the provider", inputs, run(Told { said, stops }));
        Self { generation, reporter, say, stop, task }
    }

    /// An operation that cannot be told is answered with a failure.
    pub(crate) fn say(&self, op: OpId, what: S, inputs: &Inputs) {
        let why = match self.say.try_send(what) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(_)) => "the provider does not read what it is told; its queue is full",
            Err(mpsc::error::TrySendError::Closed(_)) => "the provider takes nothing any more",
        };
        refuse(op, why, inputs);
    }

    pub(crate) fn halt(&self, halt: Halt) {
        // Closed when the process is over: then there is nothing to stop.
        let _ = self.stop.send(halt);
    }

    pub(crate) async fn end(self, leave: bool) {
        self.halt(if leave { Halt::Leave } else { Halt::Step(StopStep::Kill) });
        self.task.end_within(GONE_WITHIN).await;
    }
}

/// The provider is not ready for an operation, and did not get it.
pub(crate) fn refuse(op: OpId, why: &str, inputs: &Inputs) {
    let inputs = inputs.clone();
    let event = Event::Done(op, OpResult::Failed(Failure { kind: FailureKind::NotReady, text: why.into() }));
    tokio::spawn(async move { inputs.event(event).await });
}

/// Of a generation that is not the living one.
pub(crate) const UNAVAILABLE: &str = "provider process is unavailable";
