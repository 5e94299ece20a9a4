//! The conversation itself: lines to the program, lines from it.

use super::Say;
use super::words::{self, Heard, Level};
use crate::provider::lines::{Line, Lines};
use crate::provider::oddities::Oddities;
use crate::provider::reporter::Reporter;
use relay_runner_core::event::FailureKind;
use relay_runner_core::{OpId, OpResult, ProviderReport};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc, watch};

/// The longest line that is read.
const LINE_MOST: usize = 1024 * 1024;

/// What is to be said, and what is being said.
#[derive(Debug)]
pub(super) struct Speaker<'a> {
    pub(super) said: mpsc::Receiver<Say>,
    pub(super) under_way: Option<OpId>,
    /// What is under way was said whole, and only its answer is still to go out.
    pub(super) handed_over: bool,
    /// Wakes when the program is to be asked to end.
    pub(super) ask: &'a Notify,
    /// Whether nothing more is coming out of the program just now.
    pub(super) quiet: watch::Sender<bool>,
    pub(super) reporter: Reporter,
}

/// Why nothing more is said on this way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// The program was asked to end.
    Asked,
    /// It takes nothing any more.
    Broken,
    /// Nobody has anything to say: the run is over.
    Over,
}

impl Speaker<'_> {
    /// Says what there is to say, until one of the reasons for silence. The way is closed at the end.
    /// `account` is of a way that replaces one that broke: until something came over it, nobody knows what the program
    /// does, as the end of its turn may be among what was lost.
    pub(super) async fn speak(&mut self, mut to: impl AsyncWrite + Unpin, account: Option<&Account>) -> Silence {
        loop {
            let say = tokio::select! {
                biased;
                () = self.ask.notified() => return farewell(to).await,
                say = self.said.recv() => say,
            };
            let Some(Say { op, lines }) = say else { return Silence::Over };
            self.under_way = Some(op);
            if lines.is_empty() && account.is_some_and(|account| !account.has_come()) {
                self.refuse("its connection broke, and nothing was heard since").await;
                continue;
            }
            let written = tokio::select! {
                written = to.write_all(lines.as_bytes()) => written,
                // A program that reads nothing is not waited for: closing its input is all that is left.
                () = self.ask.notified() => {
                    self.refuse("the provider is being stopped and did not read it whole").await;
                    return Silence::Asked;
                }
            };
            match written {
                Ok(()) => {
                    self.handed_over = true;
                    self.reporter.answer(op, OpResult::Ok).await;
                    self.answered();
                }
                Err(error) => {
                    self.refuse(&format!("the provider does not take it: {error}")).await;
                    return Silence::Broken;
                }
            }
        }
    }

    /// Answers everything that is still to be said, now and later, with a failure; never returns by itself.
    pub(super) async fn refuse_all(&mut self, why: &str) -> Infallible {
        loop {
            match self.said.recv().await {
                Some(say) => {
                    self.under_way = Some(say.op);
                    self.refuse(why).await;
                }
                None => std::future::pending().await,
            }
        }
    }

    /// The process is over: what was not said fails.
    pub(super) async fn hush(&mut self) {
        self.refuse("the provider ended before it had all of it").await;
        self.said.close();
        while let Some(say) = self.said.recv().await {
            self.reporter.fail(say.op, FailureKind::NotReady, "the provider ended before it got it").await;
        }
    }

    /// The way broke.
    pub(super) async fn lost(&mut self) {
        self.refuse("the connection to the provider broke before it had all of it").await;
    }

    /// Answers what is under way, if there is something. This may be broken off at any point where it waits, so nothing
    /// is forgotten before its answer has gone out.
    async fn refuse(&mut self, why: &str) {
        let Some(op) = self.under_way else { return };
        // What was handed over whole may have arrived.
        let kind = if self.handed_over { FailureKind::Unreachable } else { FailureKind::NotReady };
        self.reporter.fail(op, kind, why).await;
        self.answered();
    }

    fn answered(&mut self) {
        self.under_way = None;
        self.handed_over = false;
    }
}

async fn farewell(mut to: impl AsyncWrite + Unpin) -> Silence {
    // A program that takes no farewell is terminated in due course.
    if to.write_all(words::SHUTDOWN.as_bytes()).await.is_ok() {
        let _ = to.shutdown().await;
    }
    Silence::Asked
}

/// What a program says to `resume`. It counts as a whole or not at all: a part of it, and then all of it over another
/// connection, would end a turn twice.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// What was said so far; none when nothing is held back.
    said: Mutex<Option<Vec<ProviderReport>>>,
    whole: Notify,
    /// Something was said.
    came: AtomicBool,
}

impl Account {
    /// More than a program can have to say about what it was asked.
    const MOST: usize = 64 * 1024;

    /// From now on reports are held back.
    pub(super) fn awaited() -> Self {
        Self { said: Mutex::new(Some(Vec::new())), ..Self::default() }
    }

    fn said(&self) -> MutexGuard<'_, Option<Vec<ProviderReport>>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The report, unless it is held back.
    fn keeps(&self, report: ProviderReport) -> Option<ProviderReport> {
        self.came.store(true, Ordering::Relaxed);
        match &mut *self.said() {
            Some(said) if said.len() < Self::MOST => {
                said.push(report);
                None
            }
            Some(_) => None,
            None => Some(report),
        }
    }

    /// All that is held back counts, and so does what follows.
    pub(super) async fn is_whole(&self, reporter: &Reporter) {
        let said = self.said().take();
        for report in said.into_iter().flatten() {
            reporter.report(report).await;
        }
        self.whole.notify_one();
    }

    fn has_come(&self) -> bool {
        self.came.load(Ordering::Relaxed)
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.said().is_some()
    }

    pub(super) async fn comes(&self) {
        self.whole.notified().await;
    }
}

/// Turns the program's lines into reports, until its end of the way is closed.
pub(super) async fn listen(from: impl AsyncRead + Unpin, reporter: &Reporter, account: &Account) {
    let mut lines = Lines::new(from, LINE_MOST);
    let mut oddities = Oddities::default();
    loop {
        let heard = match lines.next().await {
            Ok(None) => return,
            Ok(Some(Line::Text(text))) => words::hear(text, |text| reporter.text(text)),
            Ok(Some(Line::TooLong(bytes))) => {
                Heard::Malformed(format!("a line of {bytes} bytes; the longest that is read is {LINE_MOST}"))
            }
            Ok(Some(Line::NotUtf8)) => Heard::Malformed("a line that is not UTF-8".to_owned()),
            Err(error) => {
                tracing::debug!("the provider's output broke: {error}");
                return;
            }
        };
        match heard {
            Heard::Nothing => {}
            Heard::Resumed => account.is_whole(reporter).await,
            Heard::Report(report) => {
                if let Some(report) = account.keeps(report) {
                    reporter.report(report).await;
                }
            }
            Heard::Log { level, message } => log(level, &message, reporter),
            Heard::Malformed(reason) => {
                if let Some(reason) = oddities.worth_saying(reason) {
                    reporter.report(ProviderReport::Malformed { reason: reason.into() }).await;
                }
            }
        }
    }
}

fn log(level: Level, message: &str, reporter: &Reporter) {
    let generation = reporter.generation().0;
    match level {
        Level::Debug => tracing::debug!(generation, "provider: {message}"),
        Level::Info => tracing::info!(generation, "provider: {message}"),
        Level::Warn => tracing::warn!(generation, "provider: {message}"),
        Level::Error => tracing::error!(generation, "provider: {message}"),
    }
}
