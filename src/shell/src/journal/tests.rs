//! Journals on a real disk: written, ended in every way, and read again.

use super::segments;
use super::writer::Limits;
use super::*;
use crate::options::Program;
use relay_runner_core::config::{Config, Identity};
use relay_runner_core::event::LinkReport;
use relay_runner_core::journal::{Damage, KeptBodies};
use relay_runner_core::{Core, DurableFacts, Effects, Event, Stamp};
use std::fs;
use std::path::PathBuf;

mod following;
mod replaying;

fn config() -> Config {
    let identity = Identity { agent_id: "a1".into(), runner_id: "r1".into(), ..Identity::default() };
    Config::new(identity, relay_runner_core::config::Adapter::default(), 7)
}

/// A run without a loop: records, steps, tidies.
struct Run {
    journal: Journal,
    core: Core,
    fx: Effects,
    now: u64,
    wall: u64,
}

const SMALL: Limits = Limits { segment: 6_000, journal: 1 << 30, mark_every: 5 };
const ROOMY: Limits = Limits { segment: 1 << 30, journal: 1 << 30, mark_every: 1 << 30 };

impl Run {
    fn begin(state: &Path, limits: Limits) -> Self {
        Self::begin_at(state, limits, 1_000)
    }

    fn begin_at(state: &Path, limits: Limits, wall: u64) -> Self {
        Self::keeping(KeptBodies::Hash, state, limits, wall)
    }

    fn keeping(bodies: KeptBodies, state: &Path, limits: Limits, wall: u64) -> Self {
        let folder = folder(state);
        let facts = last_facts(&folder, "a1")
            .unwrap()
            .unwrap_or_else(|| DurableFacts::new("the-run".into(), "the-instance".into()));
        let program = Program { version: "0.0.0".to_owned(), commit: None };
        let (config, at) = (config(), Stamp::new(0, wall));
        let opening = Opening { folder, program: &program, config: &config, facts: &facts, at, bodies };
        let journal = Journal::open_with(opening, limits).unwrap();
        let core = Core::new(config.clone(), facts, at);
        let mut run = Self { journal, core, fx: Effects::new(), now: 0, wall };
        run.step(Event::Boot);
        run
    }

    fn step(&mut self, event: Event) {
        self.now += 10;
        let at = Stamp::new(self.now, self.wall + self.now);
        self.journal.record(at, &event).unwrap();
        self.fx.clear();
        self.core.step(at, event, &mut self.fx);
        self.journal.stepped(&self.fx);
        self.journal.tidy(at, &self.core).unwrap();
    }

    fn steps(&mut self, n: usize) {
        for k in 0..n {
            // Of a connection that never was: it changes nothing.
            self.step(Event::Link(99, LinkReport::Closed(format!("fault {k}").into())));
        }
    }

    fn end(mut self) {
        self.journal.mark(&self.core).unwrap();
    }
}

fn files(state: &Path) -> Vec<PathBuf> {
    segments::list(&folder(state)).unwrap().into_iter().map(|s| s.path).collect()
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap().lines().count()
}

#[test]
fn what_was_written_is_replayed_and_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), ROOMY);
    run.steps(20);
    let known = run.core.facts();
    run.end();
    assert_eq!(last_facts(&folder(dir.path()), "a1").unwrap().unwrap(), known);
    let mut again = Run::begin(dir.path(), ROOMY);
    again.steps(3);
    again.end();
    for path in [dir.path().to_owned(), folder(dir.path())] {
        let summary = replay_path(&path).unwrap();
        assert_eq!((summary.events, summary.runs, summary.segments, summary.torn.len()), (25, 2, 2, 0));
    }
    assert_eq!(replay_path(&files(dir.path())[1]).unwrap().events, 4);
}

#[test]
fn a_run_without_a_clean_end_is_resumed_from_its_head_or_last_mark() {
    for limits in [ROOMY, Limits { mark_every: 5, ..ROOMY }] {
        let dir = tempfile::tempdir().unwrap();
        let mut run = Run::begin(dir.path(), limits);
        run.steps(18);
        let known = run.core.facts();
        drop(run);
        assert_eq!(last_facts(&folder(dir.path()), "a1").unwrap().unwrap(), known);
    }
}

#[test]
fn a_full_segment_is_followed_by_the_next_and_the_chain_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), SMALL);
    run.steps(200);
    let known = run.core.facts();
    drop(run);
    let all = files(dir.path());
    assert!(all.len() > 3, "{all:?}");
    assert!(all[0].ends_with("000001.jsonl"));
    let summary = replay_path(dir.path()).unwrap();
    assert_eq!((summary.events, summary.runs, summary.segments), (201, 1, all.len() as u64));
    assert_eq!(last_facts(&folder(dir.path()), "a1").unwrap().unwrap(), known);
    // The first are gone by the cap: the rest still replays.
    fs::remove_file(&all[0]).unwrap();
    assert!(replay_path(dir.path()).unwrap().events < 201);
}

#[test]
fn old_segments_go_beyond_the_cap() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), Limits { journal: 20_000, ..SMALL });
    run.steps(500);
    let all = segments::list(&folder(dir.path())).unwrap();
    assert!(all[0].number > 1);
    let bytes: u64 = all.iter().map(|s| s.bytes).sum();
    assert!(bytes < 40_000, "{bytes}");
    replay_path(dir.path()).unwrap();
}

#[test]
fn a_torn_last_line_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), ROOMY);
    run.steps(5);
    drop(run);
    let file = &files(dir.path())[0];
    let text = fs::read_to_string(file).unwrap();
    for cut in [1, 2, 30] {
        fs::write(file, &text[..text.len() - cut]).unwrap();
        let summary = replay_path(dir.path()).unwrap();
        assert_eq!((summary.events, summary.torn.len()), (5, 1));
        assert!(last_facts(&folder(dir.path()), "a1").unwrap().is_some());
    }
    // Torn in the header itself: nothing was known yet.
    fs::write(file, &text[..40]).unwrap();
    assert_eq!(last_facts(&folder(dir.path()), "a1").unwrap(), None);
}

#[test]
fn a_head_that_was_never_written_whole_gives_way_to_the_run_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), SMALL);
    run.steps(100);
    let known = run.core.facts();
    drop(run);
    let all = files(dir.path());
    // A start that did not get beyond its first bytes.
    fs::write(segments::path(&folder(dir.path()), all.len() as u64 + 1), "{\"journ").unwrap();
    assert_eq!(last_facts(&folder(dir.path()), "a1").unwrap().unwrap(), known);
    fs::remove_file(segments::path(&folder(dir.path()), all.len() as u64 + 1)).unwrap();
    // A continuation whose mark is torn: what came before it counts.
    let last = all.last().unwrap();
    let head = fs::read_to_string(last).unwrap().lines().next().unwrap().to_owned() + "\n{\"mark\":1";
    fs::write(last, head).unwrap();
    assert!(last_facts(&folder(dir.path()), "a1").unwrap().is_some());
}

#[test]
fn other_damage_names_file_and_line_and_the_way_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), ROOMY);
    run.steps(5);
    drop(run);
    let file = &files(dir.path())[0];
    let text = fs::read_to_string(file).unwrap();
    fs::write(file, text.replace("fault 2", "fault 9")).unwrap();
    let at_start = last_facts(&folder(dir.path()), "a1").unwrap_err();
    for error in [&at_start, &replay_path(file).unwrap_err()] {
        let JournalError::Damaged { line, .. } = error else { panic!("{error}") };
        assert_eq!(*line, 5);
        let said = error.to_string();
        assert!(said.contains("000001.jsonl, line 5") && !said.contains("--fresh"), "{said}");
    }
    assert!(crate::StartError::from(at_start).to_string().contains("--fresh"));
    let aside = move_aside(&folder(dir.path())).unwrap().unwrap();
    assert!(aside.ends_with("journal.old-1") && aside.join("000001.jsonl").exists());
    assert_eq!(last_facts(&folder(dir.path()), "a1").unwrap(), None);
    assert_eq!(move_aside(&folder(dir.path())).unwrap(), None);
}

#[test]
fn a_changed_line_behind_the_last_mark_is_named_by_its_number_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), Limits { mark_every: 4, ..ROOMY });
    run.steps(5);
    drop(run);
    let file = &files(dir.path())[0];
    let text = fs::read_to_string(file).unwrap();
    fs::write(file, text.replace("fault 4", "fault 9")).unwrap();
    let JournalError::Damaged { line, .. } = last_facts(&folder(dir.path()), "a1").unwrap_err() else {
        panic!("damage")
    };
    assert_eq!(usize::try_from(line).unwrap(), lines(file));
}

/// As the last program of schema 1 wrote it.
#[test]
fn a_journal_of_schema_1_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(folder(dir.path())).unwrap();
    let path = |number| segments::path(&folder(dir.path()), number);
    let whole = include_str!("../../../../tests/scenarios/recorded/schema-1.jsonl");
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let second = lines.iter().rposition(|line| line.starts_with("{\"journal\":")).unwrap();
    fs::write(path(1), lines[..second].concat()).unwrap();
    let known = || last_facts(&folder(dir.path()), "a1").unwrap().unwrap();
    assert_eq!(known().settled.len(), 2, "of a run that was killed");
    // From its head, and behind its mark.
    for end in [lines.len() - 1, lines.len()] {
        fs::write(path(2), lines[second..end].concat()).unwrap();
        assert_eq!(known().settled.len(), 4);
    }
    // The next run goes on with it, in today's form.
    Run::begin(dir.path(), ROOMY).end();
    let summary = replay_path(dir.path()).unwrap();
    assert_eq!((summary.runs, summary.segments), (3, 3));
}

#[test]
fn the_journal_of_another_agent_is_not_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    Run::begin(dir.path(), ROOMY).end();
    let refused = last_facts(&folder(dir.path()), "b2").unwrap_err();
    assert!(matches!(&refused, JournalError::OtherAgent { theirs, .. } if theirs == "a1"), "{refused}");
    let said = refused.to_string();
    assert!(said.contains("`a1`") && said.contains("`b2`") && said.contains("--state-dir"), "{said}");
}

#[test]
fn a_missing_segment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), SMALL);
    run.steps(100);
    drop(run);
    let all = files(dir.path());
    let missing = &all[all.len() - 2];
    fs::remove_file(missing).unwrap();
    for error in [last_facts(&folder(dir.path()), "a1").unwrap_err(), replay_path(dir.path()).unwrap_err()] {
        assert!(matches!(&error, JournalError::Gap { missing: named, .. } if named == missing), "{error}");
    }
    // Somebody closes the gap with another part: what does not go on from it says so.
    fs::copy(&all[0], missing).unwrap();
    let error = last_facts(&folder(dir.path()), "a1").unwrap_err();
    let JournalError::Damaged { path, line: 1, damage: Damage::OutOfOrder { .. } } = &error else { panic!("{error}") };
    assert_eq!(path, all.last().unwrap());
    assert!(replay_path(dir.path()).unwrap_err().to_string().contains("missing"));
}

fn words(segment: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(segments::bodies(segment)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn words_stand_beside_their_segment_once_and_go_with_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::keeping(KeptBodies::Full, dir.path(), Limits { journal: 20_000, ..SMALL }, 1_000);
    for _ in 0..2 {
        run.journal.keep_body(BodyOf::Message(7), "hello");
        run.journal.keep_body(BodyOf::Command("c1".into()), "remember");
    }
    run.journal.keep_body(BodyOf::Message(7), "hello again");
    let first = files(dir.path())[0].clone();
    let digest = |text| relay_runner_core::BodyRef::of(text).digest;
    let expected = [
        serde_json::json!({"message": 7, "digest": digest("hello"), "body": "hello"}),
        serde_json::json!({"command": "c1", "digest": digest("remember"), "body": "remember"}),
        serde_json::json!({"message": 7, "digest": digest("hello again"), "body": "hello again"}),
    ];
    assert_eq!(words(&first), expected);
    assert_eq!(fs::metadata(segments::bodies(&first)).unwrap().permissions().mode() & 0o777, 0o600);
    run.steps(60);
    let second = files(dir.path()).last().unwrap().clone();
    assert_ne!(first, second);
    assert!(!segments::bodies(&second).exists(), "nothing has come there");
    run.journal.keep_body(BodyOf::Message(7), "hello");
    assert_eq!(words(&second).len(), 1, "each segment stands for itself");
    run.steps(500);
    assert!(!first.exists() && !segments::bodies(&first).exists());
    // The rest replays without them.
    drop(run);
    for segment in files(dir.path()) {
        let _ = fs::remove_file(segments::bodies(&segment));
    }
    replay_path(dir.path()).unwrap();
}

#[test]
fn long_words_fill_a_segment_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::keeping(KeptBodies::Full, dir.path(), Limits { segment: 100_000, ..ROOMY }, 1_000);
    run.journal.keep_body(BodyOf::Message(1), &"x".repeat(100_000));
    run.steps(1);
    assert_eq!(files(dir.path()).len(), 2);
}

#[test]
fn words_that_cannot_be_kept_end_neither_the_journal_nor_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::keeping(KeptBodies::Full, dir.path(), SMALL, 1_000);
    let first = files(dir.path())[0].clone();
    fs::create_dir(segments::bodies(&first)).unwrap();
    run.journal.keep_body(BodyOf::Message(7), "hello");
    run.journal.keep_body(BodyOf::Message(8), "hello");
    run.steps(60);
    // The next segment tries again.
    run.journal.keep_body(BodyOf::Message(8), "hello");
    let last = files(dir.path()).last().unwrap().clone();
    assert_eq!(words(&last).len(), 1);
    run.end();
    fs::remove_dir(segments::bodies(&first)).unwrap();
    assert_eq!(replay_path(dir.path()).unwrap().events, 61);
}

#[test]
fn without_words_no_file_is_made() {
    let dir = tempfile::tempdir().unwrap();
    for bodies in [KeptBodies::Hash, KeptBodies::None] {
        let mut run = Run::keeping(bodies, dir.path(), ROOMY, 1_000);
        run.journal.keep_body(BodyOf::Message(7), "hello");
        run.end();
    }
    assert!(files(dir.path()).iter().all(|segment| !segments::bodies(segment).exists()));
}

#[test]
fn nothing_to_replay_is_said() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(replay_path(dir.path()), Err(JournalError::None { .. })));
    assert!(matches!(replay_path(&dir.path().join("gone")), Err(JournalError::Io { .. })));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_ends_the_journal_and_not_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), ROOMY);
    run.journal.write_to(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let why = run.journal.record(Stamp::new(1, 1), &Event::Wake).unwrap_err();
    assert!(why.contains("goes on without a journal"), "{why}");
    assert_eq!(run.journal.record(Stamp::new(2, 2), &Event::Wake), Ok(()), "said once");
    run.steps(3);
    run.end();
    assert!(is_broken(&folder(dir.path())).unwrap(), "and nothing of it is taken up");
}
