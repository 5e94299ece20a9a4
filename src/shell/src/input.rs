//! What the loop takes in, and how tasks hand it over.

use crate::attachments::AttachedFile;
use crate::observed::Ask;
use crate::tokens::Token;
use futures_util::FutureExt;
use relay_runner_core::event::{ApprovalRequest, CommandOrder, HookReport, PermissionAsk, StatusReport};
use relay_runner_core::ids::Conn;
use relay_runner_core::wire::Words;
use relay_runner_core::{Answer, Event, Failure, Generation, Lane, Offers, OpId, OpResult, Order};
use relay_runner_protocol::Message;
use secrecy::SecretString;
use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Inputs that wait at a time; whoever has more waits, and with it the socket that it reads from.
const WAITING_MOST: usize = 256;

#[derive(Debug)]
pub(crate) enum Input {
    Event(Event),
    /// A frame, and the words that came with it.
    Bus {
        conn: Conn,
        frame: relay_runner_core::event::BusFrame,
        words: Words,
    },
    Answered {
        lane: Lane,
        op: OpId,
        result: OpResult,
        messages: Vec<Message>,
        /// The new runtime token, on its way into its slot.
        token: Option<SecretString>,
    },
    /// Messages that an offer needed and that were no longer at hand.
    Fetched {
        op: OpId,
        generation: Generation,
        offers: Offers,
        messages: Result<Vec<Message>, Failure>,
    },
    /// A message whose attachments are to be fetched, and whose words were no longer at hand.
    ToAttach {
        op: OpId,
        deadline: Instant,
        message: Result<Box<Message>, Failure>,
    },
    /// What became of a message's attachments.
    Attached {
        op: OpId,
        message: u64,
        files: Vec<AttachedFile>,
    },
    Command {
        order: Box<CommandOrder>,
        content: Option<Arc<str>>,
        answer: oneshot::Sender<Answer>,
    },
    /// A hook holds a permission request.
    Permission {
        ask: Box<PermissionAsk>,
        /// What the tool is called with, for whoever decides; it is in no journal.
        input: Option<String>,
        answer: oneshot::Sender<Answer>,
    },
    /// The provider itself waits for a permission.
    Opened {
        generation: Generation,
        request: Box<ApprovalRequest>,
        /// What the tool is called with, as above.
        input: Option<String>,
    },
    /// A hook of the provider, read.
    Hook {
        hook: Box<HookReport>,
        answer: oneshot::Sender<Answer>,
    },
    Report {
        report: Box<StatusReport>,
        answer: oneshot::Sender<Answer>,
    },
    /// A new runtime token: handed in by somebody who waits, or found in its file.
    Token {
        token: Token,
        answer: Option<oneshot::Sender<Answer>>,
    },
    /// Somebody wants to see the state, as JSON.
    Look(oneshot::Sender<Arc<str>>),
    /// Somebody wants to know more of the run than its state.
    Observe(Ask),
}

/// The way into the loop.
#[derive(Debug, Clone)]
pub(crate) struct Inputs(mpsc::Sender<Input>);

impl Inputs {
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Input>) {
        let (sender, receiver) = mpsc::channel(WAITING_MOST);
        (Self(sender), receiver)
    }

    /// Waits for room. False when the run is over and nobody takes it.
    pub(crate) async fn send(&self, input: Input) -> bool {
        self.0.send(input).await.is_ok()
    }

    pub(crate) async fn event(&self, event: Event) -> bool {
        self.send(Input::Event(event)).await
    }

    pub(crate) async fn fault(&self, what: String) -> bool {
        self.event(Event::Order(Order::Fault { what: what.into() })).await
    }
}

/// A task of the run. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Task {
    handle: JoinHandle<()>,
}

impl Task {
    /// Starts it. A panic in it becomes a fault that the core is told of.
    pub(crate) fn start(name: &'static str, inputs: &Inputs, work: impl Future<Output = ()> + Send + 'static) -> Self {
        let inputs = inputs.clone();
        let handle = tokio::spawn(async move {
            if let Err(what) = caught(work).await {
                inputs.fault(format!("{name} panicked: {what}")).await;
            }
        });
        Self { handle }
    }

    /// Waits for its end, and ends it when that takes longer.
    pub(crate) async fn end_within(mut self, limit: Duration) {
        // Whether it came to its end or is aborted by the drop: either way it is over.
        let _ = tokio::time::timeout(limit, &mut self.handle).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Carries something out, and gives a panic back as text.
pub(crate) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| panic_text(&*panic))
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "without a text".to_owned()
    }
}
