//! Journals that the real program has written, run again strictly: a core that decides otherwise is told with the file,
//! the line and the event. A deliberate change of behaviour gets a flag, or they are recorded anew:
//! `RELAY_RUNNER_UPDATE=1 cargo test --test scenarios recorded` (docs/decisions, "Upcasts and flags").

use relay_runner_core::flags::Flags;
use relay_runner_core::journal::{Line, Reader, Replay, ReplayError};
use relay_runner_core::mutant::Mutant;
use std::fs;
use std::path::{Path, PathBuf};

use crate::program::recording::RECORDED;

/// Older journals, which no program of today can write any more.
const OLDER: [&str; 1] = ["schema-1"];
/// Those of a runner that drove the real codex: `RELAY_RUNNER_UPDATE=1 cargo test --test providers made_anew`.
const WITH_CODEX: [&str; 6] = [
    "codex-a-task",
    "codex-approved-and-denied",
    "codex-a-killed-codex",
    "codex-an-adopted-codex",
    "codex-compacted-and-cleared",
    "codex-a-lost-steer",
];
/// Those with the real Claude Code, in print mode and in a terminal, by the same command.
const WITH_CLAUDE: [&str; 11] = [
    "claude-terminal-a-task",
    "claude-terminal-approved-and-denied",
    "claude-terminal-a-killed-claude",
    "claude-terminal-an-adopted-claude",
    "claude-terminal-compacted-and-cleared",
    "claude-stream-a-task",
    "claude-stream-approved-and-denied",
    "claude-stream-asked-meanwhile",
    "claude-stream-a-killed-claude",
    "claude-stream-compacted-and-cleared",
    "claude-stream-a-subagent",
];
/// All of them together, in bytes.
const MOST: u64 = 768 * 1024;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/recorded")
}

fn path(name: &str) -> PathBuf {
    folder().join(format!("{name}.jsonl"))
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What a program of today has written.
fn recorded() -> impl Iterator<Item = &'static str> {
    RECORDED.iter().map(|(name, _)| *name).chain(WITH_CODEX).chain(WITH_CLAUDE)
}

fn record_anew() {
    for (name, story) in RECORDED {
        let journal = story();
        // Whoever reads it meanwhile has the old one.
        let new = folder().join(format!("{name}.new"));
        fs::write(&new, journal).and_then(|()| fs::rename(&new, path(name))).expect("the recorded journal is written");
    }
}

/// Runs a journal again. What differs is said with file, line and event.
fn replayed(name: &str, lines: impl IntoIterator<Item = Line>) -> Result<u64, String> {
    let mut replay = Replay::new();
    for line in lines {
        replay.take(line).map_err(|error| said(name, &error))?;
    }
    Ok(replay.events())
}

fn said(name: &str, error: &ReplayError) -> String {
    format!("{}: {error}", path(name).display())
}

fn lines(name: &str) -> Vec<Line> {
    let mut reader = Reader::new();
    let text = read(name);
    let line = |(n, line)| reader.read(line).unwrap_or_else(|damage| panic!("{name}, line {}: {damage}", n + 1));
    text.lines().enumerate().map(line).collect()
}

#[test]
fn every_recorded_journal_replays_exactly() {
    if std::env::var_os("RELAY_RUNNER_UPDATE").is_some() {
        record_anew();
    }
    let mut bytes = 0;
    for name in recorded().chain(OLDER) {
        bytes += read(name).len() as u64;
        let mut replay = Replay::new();
        for line in read(name).lines() {
            replay.line(line).unwrap_or_else(|error| panic!("{}", said(name, &error)));
        }
        assert!(replay.events() > 20, "{name}: {} events", replay.events());
    }
    assert!(bytes < MOST, "{bytes} bytes");
    // None lies there that nobody runs.
    let mut there: Vec<_> =
        fs::read_dir(folder()).expect("the folder").map(|entry| entry.expect("a file").path()).collect();
    there.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    assert_eq!(there.len(), RECORDED.len() + WITH_CODEX.len() + WITH_CLAUDE.len() + OLDER.len(), "{there:?}");
}

/// With this wrong core. Marks are left out: whole cores say which one they are.
fn told_to(mutant: Mutant, name: &str) -> Result<u64, String> {
    let lines = lines(name).into_iter().filter(|line| !matches!(line, Line::Mark { .. }));
    let wrong = lines.map(|mut line| {
        if let Line::Header(header) = &mut line {
            header.config.mutant = Some(mutant);
        }
        line
    });
    replayed(name, wrong)
}

#[test]
fn a_core_that_decides_otherwise_is_found_with_file_line_and_event() {
    let cases = [
        (Mutant::RepeatsStatusNumbers, "a-plain-day"),
        (Mutant::MarksReadTooEarly, "a-plain-day"),
        (Mutant::ForgetsTheFence, "a-plain-day"),
        (Mutant::ForgetsRepeats, "a-crash-and-a-restart"),
        (Mutant::NeverEscalates, "a-stop-during-a-turn"),
    ];
    for (mutant, name) in cases {
        let found = told_to(mutant, name).expect_err(&format!("{mutant:?} is found in {name}"));
        let number = found.split_once("event ").map(|(_, rest)| rest.split(' ').next().unwrap_or_default());
        assert!(number.is_some_and(|n| n.parse::<u64>().is_ok_and(|n| n > 0)), "{found}");
        for part in [&*path(name).to_string_lossy(), "line ", "recorded: ", "today: ", "event: "] {
            assert!(found.contains(part), "{part}: {found}");
        }
    }
}

#[test]
fn whichever_effects_are_not_the_recorded_ones_it_is_seen_at_once() {
    let whole = lines("a-plain-day");
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        match &mut changed[at] {
            Line::Record { effects, .. } | Line::Mark { effects, .. } => effects.push_str(" connect(c99)"),
            Line::Header(_) => continue,
        }
        let Err(found) = replayed("a-plain-day", changed) else { panic!("entry {at}") };
        assert!(found.contains("connect(c99)"), "{found}");
    }
}

#[test]
fn what_is_recorded_now_has_every_flag() {
    for name in recorded() {
        for line in lines(name) {
            let Line::Header(header) = line else { continue };
            assert_eq!(header.config.flags, Flags::all(), "{name}: record it anew, as the head of this file says");
        }
    }
}
