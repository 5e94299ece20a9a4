//! The monitor (protocol 4): offers go to a program that the provider runs beside itself and whose lines it reads, instead
//! of to the provider's standard input. One task holds what was offered and who listens; nothing here is decided.
//!
//! An offer counts as handed over once its line was acknowledged. Until then it is only waiting: with nobody connected, or
//! without an acknowledgement, it goes back to the core after [`HELD`], which offers it again, with the same nonce. A line
//! is said once per connection, however often its message is offered, and again on the next one. So nothing that went
//! this way is ever in doubt.

use crate::clock;
use crate::input::{Inputs, Task};
use crate::provider::reporter::Reporter;
use relay_runner_core::event::FailureKind;
use relay_runner_core::{Generation, OpId, OpResult};
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// How long an offer waits here, for somebody to connect and to acknowledge it; well within the deadline of an offer.
const HELD: Duration = Duration::from_secs(10);
/// How long it waits for one that had listened and is gone.
const BACK_WITHIN: Duration = Duration::from_secs(2);
/// Lines on their way to one connection.
const LINES_MOST: usize = 64;
/// Messages of which it is remembered what was said.
const TOLD_MOST: usize = 1_024;
/// What is waiting to be done here.
const WORDS_MOST: usize = 64;
/// The last line of a connection that another took over.
const REPLACED: &str = "{\"replaced\":true}\n";

/// What a line is acknowledged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// Its message's id.
    Message(u64),
    /// The operation that says something else than a message.
    Words(u64),
}

/// What is said to whoever listens.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) key: Key,
    /// Of this attempt to hand a message over; empty where it is none.
    pub(crate) nonce: String,
    /// With its end.
    pub(crate) text: String,
}

/// The way to it.
#[derive(Debug, Clone)]
pub(crate) struct Monitor {
    words: mpsc::Sender<Word>,
    is_on: bool,
    is_connected: Arc<AtomicBool>,
}

/// What becomes of somebody who wants to listen.
#[derive(Debug)]
pub(crate) enum Connected {
    /// From now on these are his.
    Lines(mpsc::Receiver<String>),
    /// Another listens already, and is to be left alone.
    Taken,
    /// The run is over.
    Over,
}

#[derive(Debug)]
enum Word {
    Offer { op: OpId, generation: Generation, lines: Vec<Line>, reporter: Reporter },
    Over(Generation),
    Connect { lines: mpsc::Sender<String>, takes_over: bool, answer: oneshot::Sender<bool> },
    Acknowledge { keys: Vec<Key>, answer: oneshot::Sender<()> },
}

impl Monitor {
    /// Its words are to be taken by [`serve`]. `is_on`: offers go this way.
    pub(crate) fn new(is_on: bool) -> (Self, Words) {
        let (words, taken) = mpsc::channel(WORDS_MOST);
        let is_connected = Arc::new(AtomicBool::new(false));
        let taken = Words { taken, is_connected: Arc::clone(&is_connected) };
        (Self { words, is_on, is_connected }, taken)
    }

    /// Whether somebody listens, as far as is known.
    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Relaxed)
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// Hands a batch over, in order. Answered through the reporter, unless this fails.
    pub(crate) fn offer(
        &self,
        op: OpId,
        generation: Generation,
        lines: Vec<Line>,
        reporter: Reporter,
    ) -> Result<(), ()> {
        self.words.try_send(Word::Offer { op, generation, lines, reporter }).map_err(|_| ())
    }

    /// The process is gone, and whatever it would have read.
    pub(crate) async fn over(&self, generation: Generation) {
        if self.is_on {
            // At the end of the run nothing waits here any more.
            let _ = self.words.send(Word::Over(generation)).await;
        }
    }

    /// Listens; whoever listened before does not any more if this takes over.
    pub(crate) async fn connect(&self, takes_over: bool) -> Connected {
        let (lines, listened) = mpsc::channel(LINES_MOST);
        let (answer, answered) = oneshot::channel();
        if self.words.send(Word::Connect { lines, takes_over, answer }).await.is_err() {
            return Connected::Over;
        }
        match answered.await {
            Ok(true) => Connected::Lines(listened),
            Ok(false) => Connected::Taken,
            Err(_) => Connected::Over,
        }
    }

    /// These were read. False when the run is over.
    pub(crate) async fn acknowledge(&self, keys: Vec<Key>) -> bool {
        let (answer, answered) = oneshot::channel();
        self.words.send(Word::Acknowledge { keys, answer }).await.is_ok() && answered.await.is_ok()
    }
}

/// What the task takes in.
#[derive(Debug)]
pub(crate) struct Words {
    taken: mpsc::Receiver<Word>,
    is_connected: Arc<AtomicBool>,
}

/// `deadline` is that of an offer, in milliseconds: it goes back before the core stops waiting for it.
pub(crate) fn serve(words: Words, deadline: u64, inputs: &Inputs) -> Task {
    holding(HELD.min(Duration::from_millis(deadline / 2)), words, inputs)
}

fn holding(held: Duration, words: Words, inputs: &Inputs) -> Task {
    Task::start("the monitor", inputs, async move {
        let Words { taken: mut words, is_connected } = words;
        let mut desk = Desk { held, ..Desk::default() };
        loop {
            is_connected.store(desk.connection.is_some(), Ordering::Relaxed);
            let closed = async {
                match &desk.connection {
                    Some(lines) => lines.closed().await,
                    None => pending().await,
                }
            };
            let late = async {
                match &desk.batch {
                    Some(batch) => tokio::time::sleep_until(batch.until).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                word = words.recv() => match word {
                    Some(word) => desk.take_in(word).await,
                    None => return,
                },
                () = closed => desk.left_alone(),
                () = late => desk.give_back().await,
            }
        }
    })
}

/// What is held, and who listens.
#[derive(Debug, Default)]
struct Desk {
    held: Duration,
    connection: Option<mpsc::Sender<String>>,
    /// Counts connections.
    connections: u64,
    batch: Option<Batch>,
    /// The nonce that was said last, and on which connection.
    told: BTreeMap<Key, (String, u64)>,
    /// Acknowledged after their offer had gone back, with the nonce: the next offer of them is handed over already.
    ahead: BTreeMap<Key, String>,
}

/// What was offered. The core offers one batch at a time.
#[derive(Debug)]
struct Batch {
    op: OpId,
    generation: Generation,
    reporter: Reporter,
    lines: Vec<Line>,
    unread: BTreeSet<Key>,
    until: Instant,
}

impl Desk {
    async fn take_in(&mut self, word: Word) {
        match word {
            Word::Offer { op, generation, lines, reporter } => {
                // The core does not wait for the one before any more.
                self.give_back().await;
                let is_ahead = |line: &&Line| self.ahead.get(&line.key) == Some(&line.nonce);
                let unread = lines.iter().filter(|line| !is_ahead(line)).map(|line| line.key).collect();
                for line in &lines {
                    self.ahead.remove(&line.key);
                }
                let until = clock::after(self.held);
                self.batch = Some(Batch { op, generation, reporter, lines, unread, until });
                self.say();
                self.hand_over().await;
            }
            Word::Over(generation) => {
                self.told.clear();
                self.ahead.clear();
                if let Some(batch) = self.batch.take_if(|batch| batch.generation == generation) {
                    batch.fails("the provider ended before its monitor acknowledged it").await;
                }
            }
            Word::Connect { lines, takes_over, answer } => {
                let may = takes_over || self.connection.is_none();
                // Somebody who has gone in the meantime takes nothing over.
                if answer.send(may).is_ok() && may {
                    self.connections += 1;
                    if let Some(before) = self.connection.replace(lines) {
                        // One that reads nothing does not need to know.
                        let _ = before.try_send(REPLACED.to_owned());
                    }
                    self.say();
                }
            }
            Word::Acknowledge { keys, answer } => {
                for key in keys {
                    self.is_read(key);
                }
                self.hand_over().await;
                // Whoever acknowledged may have gone.
                let _ = answer.send(());
            }
        }
    }

    /// What of the batch was not said on this connection yet.
    fn say(&mut self) {
        let (Some(to), Some(batch)) = (&self.connection, &self.batch) else { return };
        for line in batch.lines.iter().filter(|line| batch.unread.contains(&line.key)) {
            let said = (line.nonce.clone(), self.connections);
            // One that is not said because the other end reads nothing is not told: it is given back in time.
            if self.told.get(&line.key) != Some(&said) && to.try_send(line.text.clone()).is_ok() {
                self.told.insert(line.key, said);
            }
        }
        while self.told.len() > TOLD_MOST {
            self.told.pop_first();
        }
    }

    fn is_read(&mut self, key: Key) {
        let Some((nonce, _)) = self.told.get(&key) else { return };
        let offered = |batch: &Batch| batch.lines.iter().any(|line| line.key == key && line.nonce == *nonce);
        if let Some(batch) = self.batch.as_mut().filter(|batch| offered(batch)) {
            batch.unread.remove(&key);
            return;
        }
        self.ahead.insert(key, nonce.clone());
        while self.ahead.len() > TOLD_MOST {
            self.ahead.pop_first();
        }
    }

    /// The batch is done once all of it was read.
    async fn hand_over(&mut self) {
        if let Some(batch) = self.batch.take_if(|batch| batch.unread.is_empty()) {
            batch.reporter.answer(batch.op, OpResult::Ok).await;
        }
    }

    /// Whoever listened has gone; a monitor that has only lost its connection is back at once.
    fn left_alone(&mut self) {
        self.connection = None;
        if let Some(batch) = &mut self.batch {
            batch.until = batch.until.min(clock::after(BACK_WITHIN));
        }
    }

    async fn give_back(&mut self) {
        let Some(batch) = self.batch.take() else { return };
        // What of it was read is known when it is offered the next time.
        for line in batch.lines.iter().filter(|line| !batch.unread.contains(&line.key)) {
            self.ahead.insert(line.key, line.nonce.clone());
        }
        let why = if self.connection.is_some() {
            "the monitor has not acknowledged it yet"
        } else {
            "monitor not connected yet"
        };
        batch.fails(why).await;
    }
}

impl Batch {
    async fn fails(self, why: &str) {
        self.reporter.fail(self.op, FailureKind::NotReady, why).await;
    }
}

#[cfg(test)]
mod tests;
