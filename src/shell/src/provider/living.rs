//! A generation that lives: the task that owns its process, and the two queues to it. What is to be said is bounded, as
//! a program that does not read must not hold up the loop; the steps of stopping are few.

use super::leftover::Noted;
use super::reporter::Reporter;
use crate::input::{Inputs, Task, caught};
use relay_runner_core::event::{ExitClass, Failure, FailureKind, ProcessRef};
use relay_runner_core::{Event, Generation, OpId, OpResult, StopStep};
use std::path::Path;
use std::pin::Pin;
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

/// What an adapter has: the generation that lives, where one does.
#[derive(Debug)]
pub(crate) struct Living<S> {
    inputs: Inputs,
    running: Option<Running<S>>,
}

#[derive(Debug)]
struct Running<S> {
    generation: Generation,
    reporter: Reporter,
    say: mpsc::Sender<S>,
    stop: mpsc::UnboundedSender<Halt>,
    task: Task,
}

impl<S: Send + 'static> Living<S> {
    pub(crate) const fn new(inputs: Inputs) -> Self {
        Self { inputs, running: None }
    }

    /// An earlier one that is still alive would be killed by this: the core never starts two.
    pub(crate) fn begin<F>(&mut self, reporter: Reporter, run: impl FnOnce(Told<S>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (say, said) = mpsc::channel(WAITING_MOST);
        let (stop, stops) = mpsc::unbounded_channel();
        let task = Task::start("the provider", &self.inputs, run(Told { said, stops }));
        self.running = Some(Running { generation: reporter.generation(), reporter, say, stop, task });
    }

    pub(crate) const fn is_begun(&self) -> bool {
        self.running.is_some()
    }

    fn of(&self, generation: Generation) -> Option<&Running<S>> {
        self.running.as_ref().filter(|running| running.generation == generation)
    }

    pub(crate) fn reporter(&self, generation: Generation) -> Option<&Reporter> {
        self.of(generation).map(|running| &running.reporter)
    }

    /// An operation that cannot be told is answered with a failure.
    pub(crate) fn say(&self, generation: Generation, op: OpId, what: S) {
        let Some(running) = self.of(generation) else { return self.refuse(op, "provider process is unavailable") };
        let why = match running.say.try_send(what) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(_)) => "the provider does not read what it is told; its queue is full",
            Err(mpsc::error::TrySendError::Closed(_)) => "the provider takes nothing any more",
        };
        self.refuse(op, why);
    }

    /// The provider is not ready for an operation, and did not get it.
    pub(crate) fn refuse(&self, op: OpId, why: &str) {
        let inputs = self.inputs.clone();
        let event = Event::Done(op, OpResult::Failed(Failure { kind: FailureKind::NotReady, text: why.into() }));
        tokio::spawn(async move { inputs.event(event).await });
    }

    pub(crate) fn stop(&self, generation: Generation, step: StopStep) {
        if let Some(running) = self.of(generation) {
            running.halt(Halt::Step(step));
        }
    }

    /// The run is over. With `leave`, the process goes on.
    pub(crate) fn end(self, leave: bool) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            if let Some(running) = self.running {
                running.halt(if leave { Halt::Leave } else { Halt::Step(StopStep::Kill) });
                running.task.end_within(GONE_WITHIN).await;
            }
        })
    }
}

impl<S> Running<S> {
    fn halt(&self, halt: Halt) {
        // Closed when the process is over: then there is nothing to stop.
        let _ = self.stop.send(halt);
    }
}

/// The task of a generation. A fault of the runner's in it drops the process group, and with it kills it; `clean_up` is what that
/// leaves.
pub(crate) async fn guarded(reporter: Reporter, live: impl Future<Output = ()>, clean_up: impl Future<Output = ()>) {
    if let Err(what) = caught(live).await {
        reporter.inputs().fault(format!("the task of the provider panicked: {what}")).await;
        clean_up.await;
        reporter.exit(ExitClass::Crash, "it was killed after a fault of the runner").await;
    }
}

/// A process runs: that is written down beside the journal, and told.
pub(crate) async fn spawned(reporter: &Reporter, op: OpId, process: ProcessRef, [runner_dir, state_dir]: [&Path; 2]) {
    let noted = Noted { process, runner_dir: runner_dir.to_owned() };
    if let Err(error) = noted.write(state_dir) {
        tracing::warn!("a start without the journal will not know of the provider's process: {error}");
    }
    reporter.answer(op, OpResult::Spawned(noted.process)).await;
}
