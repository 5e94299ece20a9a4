//! A program that listens: it is connected to, again and again, as long as it lives.

use super::talk::{Account, Silence, Speaker, listen};
use crate::clock;
use crate::provider::reporter::Reporter;
use relay_runner_core::ProviderReport;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::interval_at;

/// Between two attempts to connect: a socket that does not exist yet gives no event to wait for.
const CONNECT_EVERY: Duration = Duration::from_millis(20);

/// How long a program that was taken up may need to say what it knows.
const RESUME_WITHIN: Duration = Duration::from_secs(5);

/// Talks to the program over its socket; never returns by itself. One that was taken up is asked `resume` first, and is
/// ready once it has answered.
pub(super) async fn converse(path: &Path, mut resume: Option<String>, speaker: &mut Speaker<'_>) -> Infallible {
    let reporter = speaker.reporter.clone();
    let mut first = true;
    loop {
        speaker.quiet.send_replace(true);
        let stream = tokio::select! {
            stream = connect(path) => stream,
            never = speaker.refuse_all("the provider cannot be reached at its socket yet") => return never,
        };
        speaker.quiet.send_replace(false);
        let (from, mut to) = stream.into_split();
        let account = if resume.is_some() { Account::awaited() } else { Account::default() };
        let mut listening = Box::pin(listen(from, &reporter, &account));
        if let Some(asked) = &resume {
            tokio::select! {
                () = ask(asked, &mut to, &account, &reporter) => {}
                () = &mut listening => {}
            }
            if account.is_awaited() {
                // The connection broke before all of it was said.
                continue;
            }
            resume = None;
        }
        let again = !std::mem::take(&mut first);
        if !again {
            reporter.report(ProviderReport::Ready).await;
        }
        let mut silence = tokio::select! {
            silence = speaker.speak(to, again.then_some(&account)) => silence,
            () = &mut listening => Silence::Broken,
        };
        if silence != Silence::Broken {
            // What it still says is heard to its end.
            tokio::select! {
                () = &mut listening => {}
                never = speaker.refuse_all("the provider is being stopped") => match never {},
            }
            silence = Silence::Asked;
        }
        // What was under way when the connection broke is not known to have arrived whole.
        speaker.lost().await;
        match silence {
            Silence::Broken => tracing::debug!("the connection to the provider broke; connecting again"),
            Silence::Asked | Silence::Over => {
                // It has said its last: nothing more is waited for after its exit.
                speaker.quiet.send_replace(true);
                return speaker.refuse_all("the provider is being stopped").await;
            }
        }
    }
}

/// Asks what became of the offers, and waits for all of the answer.
async fn ask(what: &str, to: &mut (impl AsyncWrite + Unpin), account: &Account, reporter: &Reporter) {
    let answered = async {
        match to.write_all(what.as_bytes()).await {
            Ok(()) => account.comes().await,
            // The end of the connection is heard by whoever listens.
            Err(_) => std::future::pending().await,
        }
    };
    if tokio::time::timeout(RESUME_WITHIN, answered).await.is_err() {
        tracing::warn!(
            "the provider did not answer `resume` within {} s; what it had is in doubt (docs/command-provider.md)",
            RESUME_WITHIN.as_secs()
        );
        account.is_whole(reporter).await;
    }
}

async fn connect(path: &Path) -> UnixStream {
    let mut attempts = interval_at(clock::after(Duration::ZERO), CONNECT_EVERY);
    loop {
        attempts.tick().await;
        if let Ok(stream) = UnixStream::connect(path).await {
            return stream;
        }
    }
}
