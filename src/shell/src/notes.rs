//! The core's notes in words that a person understands, one line each: the log's, and of whoever follows a run.

use relay_runner_core::time::Wall;
use relay_runner_core::{Glance, Note};
use serde_json::{Value, json};
use std::fmt::{self, Display, Formatter};
use tracing::{Level, debug, error, info, warn};

/// How much it matters.
pub fn level(note: &Note) -> Level {
    match note {
        Note::Parked { .. } | Note::CredentialExpired => Level::ERROR,
        Note::LinkFailed { said_before: false, .. }
        | Note::LinkClosed { said_before: false, .. }
        | Note::Failed { said_before: false, .. }
        | Note::Malformed { .. }
        | Note::RelaySays { .. }
        | Note::OtherRelay
        | Note::Cooling { .. }
        | Note::Full { .. }
        | Note::ClaimLapsed { .. }
        | Note::ClaimLost { .. }
        | Note::NotRenewable
        | Note::TimedOut { .. }
        | Note::ClockJump { .. } => Level::WARN,
        Note::Registered { .. }
        | Note::Adopting { .. }
        | Note::Spawning { .. }
        | Note::Up { .. }
        | Note::Conversation { .. }
        | Note::Exited { .. }
        | Note::Stopping { .. }
        | Note::Stage { .. }
        | Note::TaskReported { .. }
        | Note::SettingsRead { .. }
        | Note::CredentialRenewed { .. }
        | Note::Command { .. }
        | Note::Ending { .. } => Level::INFO,
        // Notes are `non_exhaustive`: a new kind is quiet until it has its place here.
        _ => Level::DEBUG,
    }
}

/// The same, as a lower-case word.
pub fn level_name(note: &Note) -> &'static str {
    match level(note) {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        _ => "debug",
    }
}

/// What has become of an agent, in words: only what is different.
pub fn change(before: &Glance, now: &Glance) -> String {
    let mut parts = Vec::new();
    let mut is = |what: &str, was: &str, is: &str| {
        if was != is {
            parts.push(format!("{what}{was} -> {is}"));
        }
    };
    let ready = |ready| if ready { "ready" } else { "not ready" };
    is("", before.status.as_str(), now.status.as_str());
    is("", ready(before.ready), ready(now.ready));
    let action = |glance: &Glance| glance.lifecycle_action.unwrap_or("none");
    is("action ", action(before), action(now));
    is("provider ", before.lifecycle, now.lifecycle);
    is("relay ", before.link, now.link);
    let asked = |glance: &Glance| glance.approvals.to_string();
    is("permission requests that wait ", &asked(before), &asked(now));
    let owed = |glance: &Glance| glance.owed.to_string();
    is("replies owed ", &owed(before), &owed(now));
    parts.join(", ")
}

/// A note for programs: when, and the event that led to it.
pub fn note_json(at: Wall, event: u64, note: &Note) -> Value {
    let text = Words(note).to_string();
    json!({"at": at, "event": event, "level": level_name(note), "text": text, "note": note})
}

/// A change for programs, likewise.
pub fn change_json(at: Wall, event: u64, before: &Glance, now: &Glance) -> Value {
    json!({"at": at, "event": event, "text": change(before, now), "before": before, "now": now})
}

pub(crate) fn say(agent: &str, note: &Note) {
    let words = Words(note);
    match level(note) {
        Level::ERROR => error!(agent, "{words}"),
        Level::WARN => warn!(agent, "{words}"),
        Level::INFO => info!(agent, "{words}"),
        _ => debug!(agent, "{words}"),
    }
}

/// A note in words: written out only when somebody reads it.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a>(pub &'a Note);

impl Display for Words<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Note::Stale { what, number } => write!(f, "a late {what} ({number}) changed nothing"),
            Note::Unexpected { state, event } => {
                write!(f, "{event} is not expected while {state}; it changed nothing")
            }
            Note::Malformed { what, reason } => write!(f, "a malformed {what} was left out: {reason}"),
            Note::Ignored { what, name } => write!(f, "{what} `{name}` is not for us, or not known; left out"),
            Note::Connecting { conn } => write!(f, "connecting to the relay (attempt {conn})"),
            Note::LinkFailed { failure, retry_in, said_before } => {
                let still = if *said_before { "still " } else { "" };
                write!(f, "the relay {still}cannot be reached: {}; next try in {}", failure.text, Span(*retry_in))
            }
            Note::LinkClosed { reason, retry_in, said_before } => {
                let again = if *said_before { " again" } else { "" };
                write!(f, "the connection to the relay ended{again}: {reason}; next try in {}", Span(*retry_in))
            }
            Note::RelaySays { code, message } => write!(f, "the relay says: {message} ({code})"),
            Note::OtherRelay => f.write_str(OTHER_RELAY),
            Note::Registered { epoch } => write!(f, "registered on the relay (epoch {epoch})"),
            Note::Adopting { generation } => write!(f, "taking up the provider that still runs ({generation})"),
            Note::Spawning { generation } => write!(f, "starting the provider ({generation})"),
            Note::Up { generation } => write!(f, "the provider is up ({generation})"),
            Note::Conversation { id } => write!(f, "the provider is in its conversation {id}"),
            Note::Exited { generation, class, detail } => {
                write!(f, "the provider ({generation}) is over: {detail} ({class:?})")
            }
            Note::Cooling { wait, exits } => {
                write!(f, "the provider is started again in {} (exits of late: {exits})", Span(*wait))
            }
            Note::Parked { why } => write!(f, "the provider is not started again by itself: {why}"),
            Note::Stopping { generation, step } => write!(f, "stopping the provider ({generation}): {step}"),
            Note::TurnBegan { turn } => write!(f, "turn {turn} began"),
            Note::TurnEnded { turn, how } => write!(f, "turn {turn} ended: {how}"),
            Note::Stage { message, stage, attempt } => {
                write!(f, "message {message} is {}", stage.as_str())?;
                if *attempt > 1 { write!(f, " (attempt {attempt})") } else { Ok(()) }
            }
            Note::NotOurs { message } => write!(f, "message {message} is not for us"),
            Note::TakenOver { message, why } => write!(f, "message {message} is not ours any more: {why}"),
            Note::Full { what, dropped } => write!(f, "{what} is full: {dropped} left out"),
            Note::ClaimGranted { message, fence } => write!(f, "message {message} is claimed (fence {fence})"),
            Note::ClaimRefused { message } => write!(f, "message {message} is claimed by another"),
            Note::ClaimLapsed { message } => {
                write!(f, "the claim of message {message} lapsed: nothing is reported for it")
            }
            Note::ClaimLost { message } => write!(f, "the claim of message {message} is lost to another"),
            Note::TaskReported { task, status } => write!(f, "task {task} is reported as {status}"),
            Note::SettingsRead { changed: true } => f.write_str("the configuration was read again"),
            Note::SettingsRead { changed: false } => {
                f.write_str("the configuration was read again; nothing has changed")
            }
            Note::CredentialRenewed { number } => {
                write!(f, "the relay's token was replaced by a new one (number {number})")
            }
            Note::NotRenewable => {
                f.write_str("the relay's token ends, and it cannot be renewed: hand in another before")
            }
            Note::CredentialExpired => f.write_str(EXPIRED),
            Note::Command { id, name, what } => write!(f, "command {name} ({id}): {what}"),
            Note::Ending { why } => write!(f, "ending: {why}"),
            Note::Failed { op, what, failure, said_before } => {
                let again = if *said_before { " again" } else { "" };
                write!(f, "{what} failed{again} ({op}): {}", failure.text)
            }
            Note::TimedOut { op, what } => write!(f, "{what} got no answer in time ({op})"),
            Note::ClockJump { millis } => write!(f, "the clock jumped by {millis} ms: suspended, or set"),
            // Notes are `non_exhaustive`: a new kind is shown as it is until it has its sentence here.
            other => write!(f, "{other:?}"),
        }
    }
}

const OTHER_RELAY: &str =
    "this is another relay than before, or it began anew; what was known of its messages is forgotten";
const EXPIRED: &str = "the relay's token has ended; hand in another (POST /token of the control server, or the file of \
                       --token-file)";

/// Milliseconds as people say them.
struct Span(u64);

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let millis = self.0;
        if millis < 1_000 {
            write!(f, "{millis} ms")
        } else {
            write!(f, "{}.{} s", millis / 1_000, millis % 1_000 / 100)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_say_them() {
        assert_eq!(Span(999).to_string(), "999 ms");
        assert_eq!(Span(1_250).to_string(), "1.2 s");
    }

    #[test]
    fn what_was_said_before_is_quiet() {
        let failed = |said_before| Note::LinkClosed { reason: "reset".into(), retry_in: 500, said_before };
        assert_eq!(level(&failed(false)), Level::WARN);
        assert_eq!(level(&failed(true)), Level::DEBUG);
        assert_eq!(
            Words(&failed(true)).to_string(),
            "the connection to the relay ended again: reset; next try in 500 ms"
        );
    }
}
