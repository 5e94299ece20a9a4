//! The core's notes as log lines: one line each, in words that a person understands.

use relay_runner_core::Note;
use tracing::{debug, error, info, warn};

pub(crate) fn say(agent: &str, note: &Note) {
    match note {
        Note::Stale { what, number } => debug!(agent, "a late {what} ({number}) changed nothing"),
        Note::Unexpected { state, event } => debug!(agent, "{event} is not expected while {state}; it changed nothing"),
        Note::Malformed { what, reason } => warn!(agent, "a malformed {what} was left out: {reason}"),
        Note::Ignored { what, name } => debug!(agent, "{what} `{name}` is not for us, or not known; left out"),
        Note::Connecting { conn } => debug!(agent, "connecting to the relay (attempt {conn})"),
        Note::LinkFailed { failure, retry_in, said_before } => {
            let again = span(*retry_in);
            if *said_before {
                debug!(agent, "the relay still cannot be reached: {}; next try in {again}", failure.text);
            } else {
                warn!(agent, "the relay cannot be reached: {}; next try in {again}", failure.text);
            }
        }
        Note::LinkClosed { reason, retry_in, said_before } => {
            let again = span(*retry_in);
            if *said_before {
                debug!(agent, "the connection to the relay ended again: {reason}; next try in {again}");
            } else {
                warn!(agent, "the connection to the relay ended: {reason}; next try in {again}");
            }
        }
        Note::RelaySays { code, message } => warn!(agent, "the relay says: {message} ({code})"),
        Note::OtherRelay => warn!(
            agent,
            "this is another relay than before, or it began anew; what was known of its messages is forgotten"
        ),
        Note::Registered { epoch } => info!(agent, "registered on the relay (epoch {epoch})"),
        Note::Adopting { generation } => info!(agent, "taking up the provider that still runs ({generation})"),
        Note::Spawning { generation } => info!(agent, "starting the provider ({generation})"),
        Note::Up { generation } => info!(agent, "the provider is up ({generation})"),
        Note::Exited { generation, class, detail } => {
            info!(agent, "the provider ({generation}) is over: {detail} ({class:?})");
        }
        Note::Cooling { wait, exits } => {
            warn!(agent, "the provider is started again in {} (exits of late: {exits})", span(*wait));
        }
        Note::Parked { why } => error!(agent, "the provider is not started again by itself: {why}"),
        Note::Stopping { generation, step } => info!(agent, "stopping the provider ({generation}): {step}"),
        Note::TurnBegan { turn } => debug!(agent, "turn {turn} began"),
        Note::TurnEnded { turn, how } => debug!(agent, "turn {turn} ended: {how}"),
        Note::Stage { message, stage, attempt } => {
            let again = if *attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
            info!(agent, "message {message} is {}{again}", stage.as_str());
        }
        Note::NotOurs { message } => debug!(agent, "message {message} is not for us"),
        Note::Full { what, dropped } => warn!(agent, "{what} is full: {dropped} left out"),
        Note::ClaimGranted { message, fence } => debug!(agent, "message {message} is claimed (fence {fence})"),
        Note::ClaimRefused { message } => debug!(agent, "message {message} is claimed by another"),
        Note::ClaimLapsed { message } => {
            warn!(agent, "the claim of message {message} lapsed: nothing is reported for it");
        }
        Note::ClaimLost { message } => warn!(agent, "the claim of message {message} is lost to another"),
        Note::TaskReported { task, status } => info!(agent, "task {task} is reported as {status}"),
        Note::SettingsRead { changed: true } => info!(agent, "the configuration was read again"),
        Note::SettingsRead { changed: false } => info!(agent, "the configuration was read again; nothing has changed"),
        Note::CredentialRenewed { number } => {
            info!(agent, "the relay's token was replaced by a new one (number {number})");
        }
        Note::NotRenewable => warn!(agent, "the relay's token ends, and it cannot be renewed: hand in another before"),
        Note::CredentialExpired => error!(
            agent,
            "the relay's token has ended; hand in another (POST /token of the control server, or the file of --token-file)"
        ),
        Note::Command { id, name, what } => info!(agent, "command {name} ({id}): {what}"),
        Note::Ending { why } => info!(agent, "ending: {why}"),
        Note::Failed { op, what, failure, said_before } => {
            if *said_before {
                debug!(agent, "{what} failed again ({op}): {}", failure.text);
            } else {
                warn!(agent, "{what} failed ({op}): {}", failure.text);
            }
        }
        Note::TimedOut { op, what } => warn!(agent, "{what} got no answer in time ({op})"),
        Note::ClockJump { millis } => warn!(agent, "the clock jumped by {millis} ms: suspended, or set"),
        // Notes are `non_exhaustive`: a new kind is shown as it is until it has its sentence here.
        other => debug!(agent, "{other:?}"),
    }
}

fn span(millis: u64) -> String {
    if millis < 1_000 { format!("{millis} ms") } else { format!("{}.{} s", millis / 1_000, millis % 1_000 / 100) }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn spans_read_as_people_say_them() {
        assert_eq!(span(999), "999 ms");
        assert_eq!(span(1_250), "1.2 s");
    }
}
