//! How a verb ends badly: an exit code (behaviour 18), a stable code for programs, and words for people.

use relay_runner_shell::journal::{Asked, JournalError};
use relay_runner_shell::{ExitCode, RunError, StartError};
use serde_json::json;
use std::borrow::Cow;
use std::io::Write;

/// How every verb ends.
pub(crate) type Done = Result<ExitCode, Failure>;

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: ExitCode,
    /// Never changes its meaning: programs read it.
    pub(crate) code: Cow<'static, str>,
    /// What was tried, with what, and what to do next. None: there is nobody to tell.
    pub(crate) error: Option<anyhow::Error>,
}

impl Failure {
    pub(crate) fn new(exit: ExitCode, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { exit, code: code.into(), error: Some(anyhow::Error::msg(message.into())) }
    }

    /// The command line or the configuration is at fault.
    pub(crate) fn usage(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ExitCode::Usage, code, message)
    }

    pub(crate) fn failed(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(ExitCode::Failed, code, message)
    }

    /// What was said already, or cannot be said to anybody.
    pub(crate) fn silent(code: &'static str) -> Self {
        Self { exit: ExitCode::Failed, code: code.into(), error: None }
    }

    fn of(exit: ExitCode, code: &'static str, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, code: code.into(), error: Some(error.into()) }
    }

    /// The same, with more to say.
    pub(crate) fn and(self, more: &str) -> Self {
        let error = self.error.map(|error| anyhow::Error::msg(format!("{}; {more}", in_words(&error))));
        Self { error, ..self }
    }

    /// On standard error: one line of JSON, or words.
    pub(crate) fn tell(&self, json: bool) {
        let Some(error) = &self.error else { return };
        let text = in_words(error);
        let mut out = std::io::stderr().lock();
        // A closed standard error leaves nobody to tell.
        let _ = if json {
            let error = json!({"code": self.code, "message": text, "exitCode": self.exit as u8});
            writeln!(out, "{}", json!({"error": error}))
        } else {
            writeln!(out, "relay-runner: {text}")
        };
    }
}

/// An error with its causes, each said once: many name theirs already.
pub(crate) fn in_words(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let (exit, code) = match &error {
            StartError::StateDir { .. } => (ExitCode::Usage, "state_dir"),
            StartError::Locked { .. } => (ExitCode::Failed, "already_running"),
            StartError::RelayUrl { .. } => (ExitCode::Usage, "relay_url"),
            StartError::Token => (ExitCode::Usage, "token"),
            StartError::NoCommand => (ExitCode::Usage, "no_command"),
            StartError::Randomness { .. } => (ExitCode::Failed, "randomness"),
            StartError::RunnerDir { .. } => (ExitCode::Usage, "runner_dir"),
            StartError::ProfileHome(_) => (ExitCode::Usage, "profile_home"),
            StartError::Client(_) => (ExitCode::Failed, "client"),
            StartError::NoJournal(_) => (ExitCode::Failed, "journal_unwritable"),
            StartError::Journal(journal) => (ExitCode::Failed, journal_code(journal)),
        };
        Self::of(exit, code, error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Start(error) => error.into(),
            error @ RunError::CorePanicked { .. } => Self::of(ExitCode::Failed, "core_panicked", error),
        }
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        let exit = match &error {
            JournalError::None { .. }
            | JournalError::Io { .. }
            | JournalError::NoSuch { .. }
            | JournalError::TooEarly { .. }
            | JournalError::Change(_) => ExitCode::Usage,
            JournalError::Damaged { .. }
            | JournalError::OtherAgent { .. }
            | JournalError::Differs { .. }
            | JournalError::Gap { .. } => ExitCode::Failed,
        };
        Self::of(exit, journal_code(&error), error)
    }
}

fn journal_code(error: &JournalError) -> &'static str {
    use relay_runner_core::journal::Damage;
    match error {
        JournalError::Io { .. } => "journal_unreadable",
        JournalError::Damaged { damage: Damage::Newer { .. } | Damage::NewerFlag { .. }, .. } => "journal_newer",
        JournalError::Damaged { .. } => "journal_damaged",
        JournalError::OtherAgent { .. } => "journal_of_another_agent",
        JournalError::Differs { .. } => "journal_differs",
        JournalError::None { .. } => "journal_missing",
        JournalError::Gap { .. } => "journal_gap",
        JournalError::NoSuch { asked: Asked::Run, .. } => "no_such_run",
        JournalError::NoSuch { asked: Asked::Record, .. } => "no_such_record",
        JournalError::TooEarly { .. } => "no_such_time",
        JournalError::Change(_) => "what_if",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let source = || std::io::Error::other("no such file");
        let named = JournalError::Io { doing: "open", path: "/j".into(), source: source() };
        assert_eq!(in_words(&named.into()), "cannot open /j: no such file");
        assert_eq!(in_words(&anyhow::Error::new(source()).context("first")), "first: no such file");
    }
}
