//! A journal that was written by a real run: it replays exactly, and every change of it is found.

use super::world::{PATIENT, World, text};
use relay_runner_shell::journal::replay_path;
use std::fs;
use std::path::PathBuf;

/// A world after a run in which a message and a task were worked on, with its journal.
fn recorded() -> (World, PathBuf) {
    let world = World::new();
    world.go();
    let runner = world.agent(PATIENT, &[]);
    assert_eq!(world.ask(&["send", "a1", "hello", "--wait"]).code, Some(0));
    assert_eq!(world.ask(&["send", "a1", "work", "--task", "--wait"]).code, Some(0));
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    let journal = world.state().join("journal/000001.jsonl");
    (world, journal)
}

#[test]
fn a_journal_replays_exactly_however_it_is_named() {
    let (world, journal) = recorded();
    for path in [journal.clone(), world.state().join("journal"), world.state()] {
        let said = world.ask(&["replay", &text(&path)]);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.out.starts_with("replays exactly: ") && said.out.contains("1 run,"), "{said:?}");
    }
    assert!(!fs::read_to_string(&journal).unwrap().contains("hello"), "bodies are not in it");
}

#[test]
fn one_changed_byte_in_any_line_but_the_last_is_found_in_its_line() {
    let (world, journal) = recorded();
    let whole = fs::read(&journal).unwrap();
    let copy = world.path("changed.jsonl");
    let mut start = 0;
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    assert!(lines.len() > 20, "a real run");
    for (n, line) in lines[..lines.len() - 1].iter().enumerate() {
        // At the beginning, in the stamp, in the middle, in the hash, and at the very end.
        for at in [0, 9, line.len() / 3, line.len() / 2, line.len() - 5, line.len() - 1] {
            let mut changed = whole.clone();
            changed[start + at] ^= 1;
            fs::write(&copy, &changed).unwrap();
            let error = replay_path(&copy).expect_err("the change is found").to_string();
            let named = [n + 1, n + 2].iter().any(|line| error.contains(&format!("line {line}:")));
            assert!(named, "byte {at} of line {}: {error}", n + 1);
        }
        start += line.len();
    }
    let mut changed = whole;
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(&copy, &changed).unwrap();
    let said = world.ask(&["replay", &text(&copy), "--json"]);
    assert_eq!((said.code, said.error_code().as_str()), (Some(1), "journal_damaged"), "{said:?}");
}

#[test]
fn a_torn_last_line_is_left_out_and_that_is_said() {
    let (world, journal) = recorded();
    let whole = fs::read(&journal).unwrap();
    fs::write(&journal, &whole[..whole.len() - 10]).unwrap();
    let said = world.ask(&["replay", &text(&journal)]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("torn") && said.out.contains("replays exactly"), "{said:?}");
}

#[test]
fn a_journal_of_a_newer_program_says_so() {
    let (world, journal) = recorded();
    let whole = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, whole.replacen("\"schema\":1", "\"schema\":999", 1)).unwrap();
    let said = world.ask(&["replay", &text(&journal), "--json"]);
    assert_eq!((said.code, said.error_code().as_str()), (Some(1), "journal_newer"), "{said:?}");
    assert!(said.err.contains("999") && said.err.contains("newer"), "{said:?}");
}

#[test]
fn what_is_no_journal_is_said() {
    let world = World::without_relay();
    fs::write(world.path("empty"), "").unwrap();
    fs::write(world.path("text"), "hello\n").unwrap();
    for (file, exit, code) in
        [("empty", 2, "journal_missing"), ("text", 1, "journal_damaged"), ("work", 2, "journal_missing")]
    {
        let said = world.ask(&["replay", &text(&world.path(file)), "--json"]);
        assert_eq!((said.code, said.error_code().as_str()), (Some(exit), code), "{said:?}");
    }
}
