//! The loop: take one input, stamp it, append it to the journal, step the core, carry the effects out.

mod attaching;
mod effects;
mod introducing;
mod observing;
mod prepare;

use crate::asked::Asked;
use crate::attachments::Attachments;
use crate::bodies::Bodies;
use crate::bus::{Bus, BusTarget};
use crate::clock::Clock;
use crate::control::Control;
use crate::error::RunError;
use crate::handle::Handle;
use crate::hooked::Hooked;
use crate::http::Http;
use crate::info::InfoFile;
use crate::input::{Input, Inputs, Task, panic_text};
use crate::journal::{BodyOf, Journal};
use crate::lock::Lock;
use crate::monitor::Monitor;
use crate::observed::Observed;
use crate::options::Options;
use crate::provider::Provider;
use crate::tokens::{self, Tokens};
use crate::{StartError, monitor, notes, signals};
use relay_runner_core::event::{BusFrame, Failure, FailureKind};
use relay_runner_core::journal::KeptBodies;
use relay_runner_core::time::Mono;
use relay_runner_core::{
    Answer, Core, Effects, Event, ExitCode, OpId, OpResult, Order, ProviderReport, RequestId, Text,
};
use relay_runner_protocol::Message;
use secrecy::SecretString;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// People who wait for an answer at a time.
const REQUESTS_MOST: usize = 256;

/// One agent's runner: a value, of which a process may hold several.
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "the runner folder has its name from the contract")]
pub struct Runner {
    options: Options,
    runner_dir: PathBuf,
    profile_home: introducing::ProfileHome,
    state_dir: PathBuf,
    clock: Clock,
    core: Core,
    fx: Effects,
    journal: Journal,
    inputs: Inputs,
    waiting: mpsc::Receiver<Input>,
    /// Answers of the loop itself, before whatever waits outside.
    own: VecDeque<Input>,
    bodies: Bodies,
    attachments: Attachments,
    tokens: Tokens,
    /// Looks at the token's file.
    token_file: Option<Task>,
    bus_target: BusTarget,
    bus: Option<Bus>,
    /// The last connection that was closed, sending its last frames.
    farewell: Option<Task>,
    http: Http,
    provider: Box<dyn Provider>,
    monitor: Monitor,
    hooked: Hooked,
    /// None once the monitor runs.
    monitor_words: Option<monitor::Words>,
    monitoring: Option<Task>,
    /// Messages and attachments on their way that offers need.
    fetches: BTreeMap<OpId, Task>,
    control: Option<Control>,
    info: InfoFile,
    requests: BTreeMap<RequestId, oneshot::Sender<Answer>>,
    asked: Asked,
    last_request: u64,
    states: Arc<watch::Sender<Arc<str>>>,
    observed: Observed,
    /// Held to the end.
    _lock: Lock,
}

/// Runs an agent to its end.
pub async fn run(options: Options) -> Result<ExitCode, RunError> {
    let (runner, _handle) = Runner::prepare(options)?;
    Box::pin(runner.run()).await
}

impl Runner {
    /// Takes the state folder, reads what the last run knew, and opens the journal. Nothing is started yet.
    pub fn prepare(options: Options) -> Result<(Self, Handle), StartError> {
        prepare::prepare(options)
    }

    /// To the end of the run. When this is dropped, nothing of it stays: neither a task nor a process.
    pub async fn run(mut self) -> Result<ExitCode, RunError> {
        let signals = if self.options.signals { Some(signals::listen(&self.inputs)) } else { None };
        if let Some(Err(error)) = &signals {
            self.own.push_back(Input::Event(Event::Order(Order::Fault {
                what: format!("the signals of the process cannot be listened to: {error}").into(),
            })));
        }
        self.token_file = self.options.token_file.clone().map(|file| tokens::watch(file, &self.inputs));
        if let Some(words) = self.monitor_words.take().filter(|_| self.monitor.is_on()) {
            self.monitoring = Some(monitor::serve(words, self.core.config().timing.offer_deadline, &self.inputs));
        }
        let result = self.turn_over().await;
        self.end(result.as_ref().ok().copied()).await;
        result
    }

    async fn turn_over(&mut self) -> Result<ExitCode, RunError> {
        let mut input = Some(Input::Event(Event::Boot));
        let mut woken_at = None;
        loop {
            let next = match input.take().or_else(|| self.own.pop_front()) {
                Some(input) => input,
                None => self.next(woken_at).await,
            };
            woken_at = matches!(next, Input::Event(Event::Wake)).then(|| self.clock.stamp().mono);
            if let Some(code) = self.take_in(next).await? {
                return Ok(code);
            }
        }
    }

    /// What comes next, from outside or from the clock.
    async fn next(&mut self, woken_at: Option<Mono>) -> Input {
        let Some((deadline, _)) = self.core.next_deadline() else {
            return match self.waiting.recv().await {
                Some(input) => input,
                // We hold a sender ourselves.
                None => std::future::pending().await,
            };
        };
        // A deadline that a wake did not move must not spin.
        let deadline = deadline.max(woken_at.map_or(0, |at| at + 1));
        tokio::select! {
            biased;
            Some(input) = self.waiting.recv() => input,
            () = tokio::time::sleep_until(self.clock.at(deadline)) => Input::Event(Event::Wake),
        }
    }

    async fn take_in(&mut self, input: Input) -> Result<Option<ExitCode>, RunError> {
        match self.event_of(input) {
            Some(mut event) => {
                if self.options.bodies == KeptBodies::None {
                    event.forget_digests();
                }
                let code = self.step(event).await;
                if self.asked.is_asking() {
                    self.asked.keep(&self.core.view());
                }
                code
            }
            None => Ok(None),
        }
    }

    /// The event in an input, once its words are kept; none when it is not for the core.
    fn event_of(&mut self, input: Input) -> Option<Event> {
        match input {
            Input::Event(Event::Link(conn, _)) if self.bus.as_ref().is_none_or(|bus| bus.conn != conn) => None,
            Input::Event(event) => Some(event),
            Input::Bus { conn, frame, words } => {
                self.bus.as_ref().filter(|bus| bus.conn == conn)?;
                if let Some(message) = words.message {
                    self.keep(Arc::new(*message));
                }
                if let (Some(content), BusFrame::Command { command, .. }) = (words.content, &frame) {
                    self.keep_content(&command.id, content);
                }
                Some(Event::Bus(conn, frame))
            }
            Input::Answered { lane, op, result, messages, token } => {
                self.keep_all(messages);
                self.http.answered(&lane);
                Some(Event::Done(op, self.slotted(result, token)))
            }
            Input::Fetched { op, generation, offers, messages } => {
                self.fetches.remove(&op);
                match messages {
                    Ok(messages) => {
                        self.keep_all(messages);
                        self.offer_known(op, generation, &offers);
                        None
                    }
                    Err(failure) => Some(Event::Done(op, OpResult::Failed(failure))),
                }
            }
            Input::ToAttach { op, deadline, message } => match message {
                Ok(message) => {
                    let message = Arc::new(*message);
                    self.keep(Arc::clone(&message));
                    self.fetch_attached(op, &message, deadline);
                    None
                }
                Err(failure) => {
                    self.fetches.remove(&op);
                    Some(Event::Done(op, OpResult::Failed(failure)))
                }
            },
            Input::Attached { op, message, files } => {
                self.fetches.remove(&op);
                let agent = &*self.core.config().identity.agent_id;
                for why in files.iter().filter_map(|file| file.kept.as_ref().err()) {
                    tracing::warn!(agent, "an attachment of message {message} cannot be had: {why}");
                }
                self.attachments.fetched(op, message, files);
                Some(Event::Done(op, OpResult::Ok))
            }
            Input::Command { order, content, answer } => {
                let request = self.request(answer)?;
                if let Some(content) = content {
                    self.keep_content(&order.id, content);
                }
                Some(Event::Order(Order::Command { request, command: order }))
            }
            Input::Report { report, answer } => {
                let request = self.request(answer)?;
                Some(Event::Order(Order::Report { request, report }))
            }
            Input::Hook { hook, answer } => {
                let request = self.request(answer)?;
                Some(Event::Order(Order::Hook { request, hook }))
            }
            Input::Permission { ask, input, answer } => {
                let request = self.request(answer)?;
                if let Some(input) = input {
                    self.asked.asking(ask.approval.id.clone(), input, &self.core.view());
                }
                Some(Event::Order(Order::Permission { request, ask }))
            }
            Input::Opened { generation, request, input } => {
                if let Some(input) = input {
                    self.asked.asking(request.id.clone(), input, &self.core.view());
                }
                Some(Event::Provider(generation, ProviderReport::ApprovalOpened(request)))
            }
            Input::Token { token, answer } => {
                let request = match answer {
                    Some(answer) => Some(self.request(answer)?),
                    None => None,
                };
                let slot = self.tokens.keep(token.secret);
                Some(Event::Order(Order::Token { request, slot, record: token.record }))
            }
            Input::Look(answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(self.view());
                None
            }
            Input::Observe(ask) => {
                self.observe(ask);
                None
            }
        }
    }

    /// An answer that brings a token names the slot that it is kept in.
    fn slotted(&mut self, result: OpResult, token: Option<SecretString>) -> OpResult {
        match (result, token) {
            (OpResult::Token { record, .. }, Some(token)) => OpResult::Token { slot: self.tokens.keep(token), record },
            (result, _) => result,
        }
    }

    fn keep_all(&mut self, messages: Vec<Message>) {
        for message in messages {
            self.keep(Arc::new(message));
        }
    }

    /// Its words are at hand when it is offered, and stand beside the journal where they are kept.
    fn keep(&mut self, message: Arc<Message>) {
        self.journal.keep_body(BodyOf::Message(message.id), &message.body);
        self.bodies.keep(message);
    }

    fn keep_content(&mut self, command: &Text, content: Arc<str>) {
        self.journal.keep_body(BodyOf::Command(command.clone()), &content);
        self.bodies.keep_content(command.clone(), content);
    }

    fn request(&mut self, answer: oneshot::Sender<Answer>) -> Option<RequestId> {
        if self.requests.len() >= REQUESTS_MOST {
            // Those whose askers went away make room first.
            self.requests.retain(|_, answer| !answer.is_closed());
        }
        // Dropping the sender tells the asker.
        if self.requests.len() >= REQUESTS_MOST {
            return None;
        }
        self.last_request += 1;
        let request = RequestId(self.last_request);
        self.requests.insert(request, answer);
        Some(request)
    }

    async fn step(&mut self, event: Event) -> Result<Option<ExitCode>, RunError> {
        let at = self.clock.stamp();
        if let Err(why) = self.journal.record(at, &event) {
            self.broken(why);
        }
        let words = event.words();
        self.fx.clear();
        let began = self.clock.elapsed();
        let stepped = catch_unwind(AssertUnwindSafe(|| self.core.step(at, event, &mut self.fx)));
        if let Err(panic) = stepped {
            let (what, journal) = (panic_text(&*panic), self.journal.path().to_owned());
            return Err(RunError::CorePanicked { what, journal });
        }
        let took = self.clock.elapsed().saturating_sub(began);
        self.observed.stepped(at, words, took, self.core.glance(), &self.fx.notes);
        self.journal.stepped(&self.fx);
        if self.fx.sync {
            self.sync().await;
        }
        let agent = &*self.core.config().identity.agent_id;
        self.fx.notes.iter().for_each(|note| notes::say(agent, note));
        let mut effects = std::mem::take(&mut self.fx.effects);
        let mut code = None;
        for effect in effects.drain(..) {
            code = self.carry_out(effect);
            if code.is_some() {
                break;
            }
        }
        self.fx.effects = effects;
        if code.is_none()
            && let Err(why) = self.journal.tidy(at, &self.core)
        {
            self.broken(why);
        }
        if self.states.receiver_count() > 0 {
            self.states.send_replace(self.view());
        }
        Ok(code)
    }

    /// Off the loop's thread: other runners and the sources go on meanwhile.
    async fn sync(&mut self) {
        let Some(file) = self.journal.to_sync() else { return };
        let synced = match tokio::task::spawn_blocking(move || file.sync_data()).await {
            Ok(synced) => synced,
            Err(error) => Err(std::io::Error::other(error)),
        };
        if let Err(error) = synced {
            let path = self.journal.path().to_owned();
            let why = self.journal.give_up("sync", &path, &error);
            self.broken(why);
        }
    }

    fn broken(&mut self, why: String) {
        tracing::error!("{why}");
        self.own.push_back(Input::Event(Event::Order(Order::JournalBroken { why: why.into() })));
    }

    fn view(&self) -> Arc<str> {
        // Without a JSON form the view is empty, and that is said; nothing depends on it.
        self.asked.shown(self.core.view()).map_or_else(
            |error| {
                tracing::error!("the state has no JSON form: {error}");
                Arc::from("{}")
            },
            Arc::from,
        )
    }

    fn done(&mut self, op: OpId, result: OpResult) {
        self.own.push_back(Input::Event(Event::Done(op, result)));
    }

    fn failed(&mut self, op: OpId, kind: FailureKind, text: String) {
        self.done(op, OpResult::Failed(Failure { kind, text: text.into() }));
    }

    /// Nothing of the run stays. `code` is none when the core panicked: then the journal ends as it is.
    async fn end(mut self, code: Option<ExitCode>) {
        const LAST_FRAMES: Duration = Duration::from_secs(1);
        // Whoever still has something to say is told that nobody listens.
        self.waiting.close();
        if code.is_some() {
            match self.journal.mark(&self.core) {
                Ok(()) => self.sync().await,
                Err(why) => tracing::error!("{why}"),
            }
        }
        // Without a journal the next start would not know of it.
        let leave = code == Some(ExitCode::Temporary) && self.journal.to_sync().is_some();
        self.provider.end(leave).await;
        if !leave {
            introducing::forget(&self.runner_dir);
        }
        self.requests.clear();
        self.observed.end();
        while self.waiting.recv().await.is_some() {}
        // Whoever listens is let go, so that the control server can end.
        drop(self.monitoring.take());
        if let Some(control) = self.control.take() {
            control.end().await;
        }
        if let Some(bus) = self.bus.take() {
            bus.close().await;
        }
        if let Some(farewell) = self.farewell.take() {
            farewell.end_within(LAST_FRAMES).await;
        }
        self.info.remove();
        if !leave {
            // Whatever somebody else has put there stays. Its lock is still ours, so nobody else has made it meanwhile.
            let _ = std::fs::remove_dir(&self.runner_dir);
        }
    }
}
