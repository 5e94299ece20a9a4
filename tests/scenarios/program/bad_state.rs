//! A state folder that cannot be gone on with: said before anything starts, with a safe way on, and nothing is changed.
//! A disk that fills up ends the journal and not the run.

use super::world::{PATIENT, World, eventually, text};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The journal of an agent that has worked, in two segments: it was run twice.
fn worked() -> World {
    let world = World::new();
    world.go();
    for words in ["hello", "hello again"] {
        let runner = world.agent(PATIENT, &[]);
        world.is_settled(world.message(words));
        assert_eq!(world.ask(&["stop"]).code, Some(0));
        assert_eq!(runner.ends(), Some(0));
    }
    world
}

fn segment(world: &World, number: u32) -> PathBuf {
    world.state().join(format!("journal/{number:06}.jsonl"))
}

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), fs::read(path).unwrap_or_default())).collect()
}

/// It is refused with this code, and these words; nothing of the journal has changed. `--fresh` goes on.
#[track_caller]
fn refused(world: &World, agent: &str, code: &str, words: &[&str]) {
    let script = world.script("agent", PATIENT);
    let journal = world.state().join("journal");
    let before = contents(&journal);
    let state = text(&world.state());
    let given = ["run", "command", "--agent-id", agent, "--state-dir", &state, "--json"];
    let said = world.ask(&[&given[..], &["--", &script]].concat());
    assert_eq!((said.code, said.error_code().as_str()), (Some(1), code), "{said:?}");
    for words in words.iter().chain(&["--fresh", "Nothing was changed"]) {
        assert!(said.err.contains(words), "{words}: {said:?}");
    }
    assert!(!said.err.contains("panicked") && said.out.is_empty(), "{said:?}");
    assert_eq!(contents(&journal), before, "nothing has changed");
    assert!(world.agents().is_empty(), "nothing was registered");

    let runner = world.start(&[&given[..], &["--fresh", "--", &script]].concat(), &[]);
    world.is_ready();
    assert_eq!(world.ask(&["stop", agent]).code, Some(0), "{}", world.log());
    assert_eq!(runner.ends(), Some(0));
    let aside = contents(&world.state().join("journal.old-1"));
    assert!(before.values().eq(aside.values()), "what was there is kept");
}

#[test]
fn the_state_folder_of_another_agent_is_refused() {
    let world = worked();
    refused(&world, "b2", "journal_of_another_agent", &["`a1`", "`b2`", "--state-dir"]);
}

#[test]
fn a_journal_of_a_newer_version_is_refused() {
    let world = worked();
    let last = segment(&world, 2);
    let whole = fs::read_to_string(&last).unwrap();
    fs::write(&last, whole.replacen("\"schema\":2", "\"schema\":999", 1)).unwrap();
    refused(&world, "a1", "journal_newer", &["999", "newer", "use that program", "000002.jsonl"]);
}

#[test]
fn a_run_with_a_behaviour_of_a_newer_version_is_refused() {
    let world = worked();
    let last = segment(&world, 2);
    let whole = fs::read_to_string(&last).unwrap();
    fs::write(&last, whole.replacen("\"flags\":[", "\"flags\":[4711,", 1)).unwrap();
    refused(&world, "a1", "journal_newer", &["4711", "newer", "use that program"]);
}

#[test]
fn a_damaged_last_segment_is_refused_with_its_line() {
    let world = worked();
    let last = segment(&world, 2);
    // Its head; and what comes behind the last mark, which a clean end leaves empty.
    let whole = fs::read_to_string(&last).unwrap();
    fs::write(&last, whole.replacen("a1", "a2", 1)).unwrap();
    refused(&world, "a1", "journal_damaged", &["000002.jsonl, line 1", "changed"]);
}

#[test]
fn a_missing_segment_is_named() {
    let world = worked();
    fs::rename(segment(&world, 2), segment(&world, 3)).unwrap();
    refused(&world, "a1", "journal_gap", &["000002.jsonl is missing"]);
}

/// For root every folder is writable; what is no folder is so for nobody.
#[test]
fn a_state_folder_that_cannot_be_written_is_said() {
    let world = World::without_relay();
    let script = world.script("agent", PATIENT);
    fs::write(world.path("file"), "").unwrap();
    fs::create_dir_all(world.path("half")).unwrap();
    fs::write(world.path("half/journal"), "").unwrap();
    for (state, code, words) in [
        (world.path("file"), "state_dir", "not a folder"),
        (world.path("file/below"), "state_dir", "ot a "),
        (world.path("half"), "journal_unreadable", "half/journal"),
    ] {
        let relay = ["--relay", "http://127.0.0.1:1"];
        let arguments = [&["run", "command", "--agent-id", "a1", "--json", "--state-dir", &text(&state)], &relay[..]];
        let said = world.ask(&[&arguments.concat()[..], &["--", &script]].concat());
        assert_eq!(said.error_code(), code, "{said:?}");
        assert!(matches!(said.code, Some(1 | 2)) && said.err.contains(words), "{said:?}");
        assert!(said.err.contains("--fresh") || said.err.contains("another state folder"), "{said:?}");
    }
}

/// Under this, no file may grow beyond so many blocks: a full disk that needs no rights to be made.
fn limit(blocks: u32) -> String {
    format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")
}

#[test]
fn a_disk_that_is_full_at_the_start_is_said_and_leaves_no_half_journal() {
    let world = World::new();
    let script = world.script("agent", PATIENT);
    let said =
        world.ask_under(&["sh", "-c", &limit(1)], &["run", "command", "--agent-id", "a1", "--json", "--", &script]);
    assert_eq!((said.code, said.error_code().as_str()), (Some(1), "journal_unwritable"), "{said:?}");
    assert!(said.err.contains("Make room on the disk") && said.err.contains("000001.jsonl"), "{said:?}");
    assert_eq!(contents(&world.state().join("journal")).len(), 0, "no half of a journal is left");
    assert!(world.agents().is_empty());
    // With room it goes on as if nothing had been.
    let runner = world.agent(PATIENT, &[]);
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
}

#[test]
fn a_disk_that_fills_up_ends_the_journal_and_not_the_run_and_nothing_of_it_is_taken_up() {
    let world = World::new();
    world.go();
    let script = world.script("agent", PATIENT);
    let runner = world.start_under(&["sh", "-c", &limit(32)], &["run", "command", "--agent-id", "a1", "--", &script]);
    world.is_ready();
    let broken = || {
        let state = world.ask(&["status", "--json"]).json();
        state["journalBroken"].as_str().map(str::to_owned)
    };
    let why = eventually("the journal is broken", || {
        world.is_settled(world.message("one more"));
        broken()
    });
    assert!(why.contains("goes on without a journal"), "{why}");
    assert!(world.ask(&["status"]).out.contains("journal   broken: "), "for people as well");
    // The run goes on.
    let (_, task) = world.task("work without a journal");
    world.task_is(task, "done");
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    assert!(world.state().join("journal/000001.broken").exists());

    let runner = world.agent(PATIENT, &[]);
    assert!(world.log().contains("could not write its journal to the end"), "{}", world.log());
    assert!(world.state().join("journal.old-1/000001.broken").exists());
    assert_eq!(broken(), None);
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    let header = fs::read_to_string(segment(&world, 1)).unwrap().lines().next().unwrap().to_owned();
    assert!(header.contains("\"generation\":0"), "nothing is known of the run before: {header}");
    world.replays_exactly(1);
}
