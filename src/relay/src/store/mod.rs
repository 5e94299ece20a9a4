//! The state of the relay: one SQLite connection, owned by one thread.
//!
//! Every call and every frame is one closure, run by that thread inside one transaction; it happens as a whole or not
//! at all, and one after the other, so that nothing here needs a lock. What is to go out on the bus is noted while the
//! closure runs, and goes out after the commit, in the same order.

mod agents;
mod artifacts;
mod bounds;
mod claims;
mod columns;
mod commands;
mod delivery;
mod events;
mod idempotency;
mod inbox;
mod messages;
mod registration;
mod replies;
mod retention;
mod schema;
mod sessions;
mod sweep;
mod targets;
mod tasks;
mod tokens;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use crate::clock;
use crate::config::Config;
use crate::error::Error;
use crate::hub::{ConnId, Hub};
use crate::refusal::{Refusal, Result};

pub(crate) use idempotency::{Answer, Asked};
pub(crate) use inbox::InboxQuery;
pub(crate) use replies::ThreadQuery;
pub(crate) use tasks::TaskQuery;

type Work = Box<dyn FnOnce(&mut Worker) + Send>;
type AfterCommit = Box<dyn FnOnce(&mut Hub)>;

enum Job {
    Run(Work),
    Stop,
}

/// The way to the state, from any task.
#[derive(Debug)]
pub(crate) struct Store {
    /// Unbounded, but each connection waits for the answer to its last job before it gives the next.
    jobs: mpsc::Sender<Job>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The settings that decide something here, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) lease: u64,
    pub(crate) offline_after: u64,
    pub(crate) prune_after: u64,
    pub(crate) takeover_pause: u64,
    pub(crate) keep_events: u64,
    pub(crate) keep_for: u64,
    pub(crate) keep_messages: u64,
    pub(crate) keep_artifact_bytes: u64,
    /// In seconds.
    pub(crate) token_lifetime: u64,
    /// When this relay started: nobody can have been heard by it before.
    pub(crate) started: u64,
}

struct Worker {
    sql: rusqlite::Connection,
    hub: Hub,
    rules: Rules,
}

/// One call's view of the state.
pub(crate) struct Tx<'a> {
    sql: Transaction<'a>,
    pub(crate) now: u64,
    rules: Rules,
    hub: &'a Hub,
    after: Vec<AfterCommit>,
}

impl Store {
    /// Opens the database and starts its thread.
    pub(crate) fn open(config: &Config) -> Result<Self, Error> {
        let sql = schema::open(config.db.as_deref())?;
        let rules = Rules {
            lease: clock::millis(config.lease).max(1),
            offline_after: clock::millis(config.offline_after),
            prune_after: clock::millis(config.prune_after),
            takeover_pause: clock::millis(config.takeover_pause),
            keep_events: config.keep_events.max(1),
            keep_for: clock::millis(config.keep_for),
            keep_messages: config.keep_messages,
            keep_artifact_bytes: config.keep_artifact_bytes,
            token_lifetime: config.token_lifetime.as_secs().max(1),
            started: clock::now(),
        };
        let (jobs, inbox) = mpsc::channel();
        let mut worker = Worker { sql, hub: Hub::default(), rules };
        let thread = std::thread::Builder::new()
            .name("relay-store".into())
            .spawn(move || worker.work(&inbox))
            .map_err(Error::Thread)?;
        Ok(Self { jobs, thread: Mutex::new(Some(thread)) })
    }

    /// Runs `op` as one transaction. When it refuses, nothing has changed.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        op: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.order(move |worker| worker.transact(op)).await?
    }

    /// Touches only the live connections.
    pub(crate) async fn with_hub<T: Send + 'static>(
        &self,
        op: impl FnOnce(&mut Hub) -> T + Send + 'static,
    ) -> Result<T> {
        self.order(move |worker| op(&mut worker.hub)).await
    }

    /// Closes a connection that is nobody's any more. Does not wait: it is for a `drop`.
    pub(crate) fn let_go(&self, connection: ConnId) {
        // An error says that the thread has gone, and all connections with it.
        let _ = self.jobs.send(Job::Run(Box::new(move |worker| worker.hub.close(connection))));
    }

    async fn order<T: Send + 'static>(&self, op: impl FnOnce(&mut Worker) -> T + Send + 'static) -> Result<T> {
        let (answer, wait) = oneshot::channel();
        let work: Work = Box::new(move |worker| {
            // Whoever asked may have gone meanwhile; what was ordered has been done all the same.
            let _ = answer.send(op(worker));
        });
        self.jobs.send(Job::Run(work)).map_err(|_| Refusal::unavailable())?;
        wait.await.map_err(|_| Refusal::unavailable())
    }

    /// Closes every connection of the bus, then the database, and waits for it: the file is free afterwards. Takes as
    /// long as what is already ordered, which is milliseconds.
    pub(crate) fn close(&self) {
        // An error says that the thread has already gone.
        let _ = self.jobs.send(Job::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the relay's store ended in a panic");
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

impl Worker {
    fn work(&mut self, jobs: &mpsc::Receiver<Job>) {
        while let Ok(Job::Run(work)) = jobs.recv() {
            // A panic rolls its transaction back; the caller gets a 503, and everybody else is served on.
            if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
                tracing::error!("a call made the relay panic; it was undone");
            }
        }
    }

    fn transact<T>(&mut self, op: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
        let (answer, after) = {
            let sql = self.sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut tx = Tx { sql, now: clock::now(), rules: self.rules, hub: &self.hub, after: Vec::new() };
            let answer = op(&mut tx)?;
            tx.sql.commit()?;
            (answer, tx.after)
        };
        for step in after {
            step(&mut self.hub);
        }
        Ok(answer)
    }
}

impl Tx<'_> {
    /// What to do with the live connections once this is committed.
    fn after_commit(&mut self, step: impl FnOnce(&mut Hub) + 'static) {
        self.after.push(Box::new(step));
    }
}

/// An id that no other database gives out. Agents remember the ids of commands they have carried out, and must not take
/// a command of another relay for one of them.
pub(crate) fn random_id() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Refusal::internal)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// A path as errors name it.
fn named(path: Option<&Path>) -> std::path::PathBuf {
    path.map_or_else(|| ":memory:".into(), Path::to_path_buf)
}
