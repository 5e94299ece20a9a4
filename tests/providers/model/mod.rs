//! A stand-in for the model APIs that coding agents call: OpenAI's Responses and Anthropic's Messages, with streaming,
//! on a free port of the loopback. What it answers is written in the prompts ([`script`]); what it was asked it keeps,
//! so that a test sees what the model was really given. Nothing is paced by time: a test holds an answer until it
//! releases it.

mod anthropic;
mod openai;
pub(crate) mod script;
mod server;

use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// A slow machine under load gets there in this time; what is broken never does.
const LIMIT: Duration = Duration::from_secs(30);

/// How far the answer to a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Answering,
    /// Its first word is out, and it waits to be released.
    Held,
    Answered,
    /// The client went before the end, or the connection was cut.
    Gone,
}

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    /// Their names are lower-case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
    /// The texts of people in it, oldest first; each a text of its own.
    pub(crate) prompts: Vec<String>,
    pub(crate) phase: Phase,
}

impl Asked {
    /// How many texts of people have these words; a task's are in its heading as well.
    pub(crate) fn says(&self, words: &str) -> usize {
        self.prompts.iter().filter(|prompt| prompt.contains(words)).count()
    }

    /// The newest text of a person.
    pub(crate) fn prompt(&self) -> &str {
        self.prompts.last().map_or("", String::as_str)
    }
}

/// What the server and the test share.
#[derive(Debug)]
struct Shared {
    asked: Mutex<Vec<Asked>>,
    changed: Condvar,
    /// Names that are held no more, and whether failures are over.
    open: watch::Sender<Open>,
}

#[derive(Debug, Default)]
struct Open {
    released: BTreeSet<String>,
    healed: bool,
}

impl Shared {
    fn asked(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn keep(&self, asked: Asked) -> usize {
        let mut all = self.asked();
        all.push(asked);
        self.changed.notify_all();
        all.len() - 1
    }

    fn is(&self, request: usize, phase: Phase) {
        self.asked()[request].phase = phase;
        self.changed.notify_all();
    }
}

/// The stand-in. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Model {
    shared: Arc<Shared>,
    port: u16,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Model {
    pub(crate) fn start() -> Self {
        Self::at(0)
    }

    pub(crate) fn at(port: u16) -> Self {
        let (open, _) = watch::channel(Open::default());
        let shared = Arc::new(Shared { asked: Mutex::default(), changed: Condvar::new(), open });
        let (port, end, thread) = server::start(port, Arc::clone(&shared));
        Self { shared, port, end: Some(end), thread: Some(thread) }
    }

    /// What stands before `/v1`.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All that was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked().clone()
    }

    /// How often it was asked, and has answered to the end.
    pub(crate) fn answered(&self) -> usize {
        self.shared.asked().iter().filter(|asked| asked.phase == Phase::Answered).count()
    }

    /// Waits until this finds what it looks for in all that was asked.
    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, look: impl FnMut(&[Asked]) -> Option<T>) -> T {
        self.until_within(LIMIT, what, look)
    }

    #[track_caller]
    pub(crate) fn until_within<T>(
        &self,
        limit: Duration,
        what: &str,
        mut look: impl FnMut(&[Asked]) -> Option<T>,
    ) -> T {
        let mut found = None;
        let asked = self.shared.asked();
        let waiting = |asked: &mut Vec<Asked>| {
            found = look(asked);
            found.is_none()
        };
        let waited = self.shared.changed.wait_timeout_while(asked, limit, waiting);
        let (asked, _) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        let prompts: Vec<_> = asked.iter().map(|asked| (asked.prompt().to_owned(), asked.phase)).collect();
        drop(asked);
        found.unwrap_or_else(|| panic!("the model waited for this in vain: {what}; it was asked {prompts:#?}"))
    }

    /// Waits until an answer to a prompt with these words is held; what was asked.
    #[track_caller]
    pub(crate) fn holds(&self, words: &str) -> Asked {
        self.until(&format!("an answer to {words:?} is held"), |asked| {
            asked.iter().rev().find(|asked| asked.phase == Phase::Held && asked.prompt().contains(words)).cloned()
        })
    }

    /// Answers that are held by this name go on, now and later.
    pub(crate) fn release(&self, name: &str) {
        self.shared.open.send_modify(|open| {
            open.released.insert(name.to_owned());
        });
    }

    /// From now on nothing fails or breaks: such prompts are answered.
    pub(crate) fn heals(&self) {
        self.shared.open.send_modify(|open| open.healed = true);
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            let _ = end.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
