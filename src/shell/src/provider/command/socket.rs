//! A program that listens: it is connected to, again and again, as long as it lives.

use super::talk::{Silence, Speaker, listen};
use crate::clock;
use relay_runner_core::ProviderReport;
use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::time::interval_at;

/// What the program's own output may take on disk.
const LOG_MOST: u64 = 10 * 1024 * 1024;
const LOG_LOOKED_AT_EVERY: Duration = Duration::from_mins(1);
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
        let resumed = Notify::new();
        let mut listening = Box::pin(listen(from, &reporter, &resumed));
        if let Some(asked) = &resume {
            let known = tokio::select! {
                known = ask(asked, &mut to, &resumed) => known,
                () = &mut listening => false,
            };
            if !known {
                continue;
            }
            resume = None;
        }
        if std::mem::take(&mut first) {
            reporter.report(ProviderReport::Ready).await;
        }
        let mut silence = tokio::select! {
            silence = speaker.speak(to) => silence,
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

/// Asks what became of the offers. False when the connection broke meanwhile.
async fn ask(what: &str, to: &mut (impl AsyncWrite + Unpin), resumed: &Notify) -> bool {
    if to.write_all(what.as_bytes()).await.is_err() {
        return false;
    }
    if tokio::time::timeout(RESUME_WITHIN, resumed.notified()).await.is_err() {
        tracing::warn!(
            "the provider did not answer `resume` within {} s; what it had is in doubt (docs/command-provider.md)",
            RESUME_WITHIN.as_secs()
        );
    }
    true
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

/// The file for the program's own output. It is a file, not a pipe, so that the program can outlive the runner.
pub(super) fn open_log(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    if file.metadata()?.len() > LOG_MOST {
        file.set_len(0)?;
    }
    Ok(file)
}

/// Empties the file whenever it has grown too long; never returns by itself.
pub(super) async fn bound_log(file: File) -> Infallible {
    let mut looks = interval_at(clock::after(LOG_LOOKED_AT_EVERY), LOG_LOOKED_AT_EVERY);
    loop {
        looks.tick().await;
        let emptied = file.metadata().and_then(|is| if is.len() > LOG_MOST { file.set_len(0) } else { Ok(()) });
        if let Err(error) = emptied {
            tracing::debug!("the provider's log cannot be bounded: {error}");
        }
    }
}
