//! `logs`: of a runner that lives, of one that is dead, and across both without losing or doubling a line.

use super::operating::socket;
use super::world::{PATIENT, Process, World, eventually, signal, text};
use serde_json::{Value, json};

fn lines(world: &World, arguments: &[&str]) -> Vec<Value> {
    let said = world.ask(&[&["logs", "--json"], arguments].concat());
    assert_eq!(said.code, Some(0), "{said:?}");
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn texts(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["text"].as_str().unwrap()).collect()
}

#[test]
fn what_happened_is_shown_while_it_runs_and_when_it_is_dead() {
    let world = World::new();
    world.go();
    let runner = world.agent(PATIENT, &[]);
    let message = world.message("a secret word");
    world.is_settled(message);
    let words = [format!("message {message} is held"), format!("message {message} is settled")];
    let live = eventually("all of it is told", || {
        Some(lines(&world, &["a1"])).filter(|lines| texts(lines).contains(&&*words[1]))
    });
    assert!(texts(&live).contains(&&*words[0]), "{live:#?}");
    assert!(texts(&live)[0].starts_with("--- a run begins (relay-runner "), "{live:#?}");
    assert!(live.is_sorted_by_key(|line| (line["at"].as_u64(), line["event"].as_u64())));
    let held = live.iter().find(|line| line["text"] == *words[0]).unwrap();
    assert_eq!(
        (&held["kind"], &held["level"], &held["note"]["stage"]),
        (&json!("note"), &json!("info"), &json!("held"))
    );
    let busy = live.iter().find(|line| line["text"] == "idle -> busy").unwrap();
    assert_eq!((&busy["kind"], &busy["now"]["status"]), (&json!("change"), &json!("busy")));

    // Of the number of an event, the state there.
    let event = held["event"].to_string();
    let state = world.ask(&["replay", &text(&world.state()), "--until", &event, "--state"]).out;
    assert!(state.contains(&format!("message   {message}: offered")), "held and offered at once: {state}");

    signal(runner.pid(), "KILL");
    assert_eq!(runner.ends(), None);
    // A heartbeat or so later.
    let dead = lines(&world, &["a1"]);
    assert_eq!(dead[..live.len()], live[..], "the same, and what came behind it");
    assert_eq!(lines(&world, &[]), dead, "there is only one");
    assert_eq!(lines(&world, &["--state-dir", &text(&world.state())]), dead);
    let journal = world.state().join("journal/000001.jsonl");
    assert_eq!(lines(&world, &["--state-dir", &text(&journal)]), dead, "and one file as well");

    // Fewer, and more.
    assert_eq!(lines(&world, &["-n", "2"]), dead[dead.len() - 2..]);
    assert!(lines(&world, &["-n", "0"]).is_empty());
    assert_eq!(lines(&world, &["--since", "1h"]), dead);
    let time = held["time"].as_str().unwrap();
    let since = lines(&world, &["--since", time]);
    assert!(since.contains(held) && since.iter().all(|line| line["at"].as_u64() >= held["at"].as_u64()), "{since:#?}");
    assert!(lines(&world, &["--since", "2100-01-01T00:00:00Z"]).is_empty());
    let all = lines(&world, &["-v", "-n", "100000"]);
    assert!(dead.iter().all(|line| all.contains(line)));
    let records: Vec<_> =
        all.iter().filter(|line| line["kind"] == "event").map(|line| line["event"].as_u64().unwrap()).collect();
    assert_eq!(records, (1..=records.len() as u64).collect::<Vec<_>>(), "each event once");
    assert!(all.iter().any(|line| line["level"] == "debug" && line["kind"] == "note"));

    let out = world.ask(&["logs"]).out;
    assert!(out.lines().all(|line| line.as_bytes()[10] == b'T' && line.as_bytes()[23] == b'Z'), "{out}");
    assert!(!world.ask(&["logs", "-v"]).out.contains("a secret word"), "words are not in it");
}

/// A `logs -f` that reads on until a line has this text.
fn until(follower: &mut Process, heard: &mut Vec<Value>, text: &str) {
    loop {
        let line: Value = serde_json::from_str(&follower.line()).unwrap();
        let found = line["text"].as_str().unwrap().contains(text);
        heard.push(line);
        if found {
            return;
        }
    }
}

#[test]
fn who_follows_loses_and_doubles_nothing_across_restarts() {
    let world = World::new();
    world.go();
    let first = world.agent(PATIENT, &[]);
    let mut follower = world.start(&["logs", "a1", "-f", "--json", "-n", "100000"], &[]);
    let mut heard = Vec::new();
    let works = |heard: &mut Vec<Value>, follower: &mut Process| {
        let message = world.message("hello");
        until(follower, heard, &format!("message {message} is settled"));
    };
    works(&mut heard, &mut follower);
    // Killed, started again, stopped, started anew.
    signal(first.pid(), "KILL");
    assert_eq!(first.ends(), None);
    let second = world.agent(PATIENT, &[]);
    until(&mut follower, &mut heard, "--- a run begins");
    works(&mut heard, &mut follower);
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(second.ends(), Some(0));
    until(&mut follower, &mut heard, "ending: ");
    let before = lines(&world, &["--state-dir", &text(&world.state()), "-n", "100000"]);
    let third = world.agent(PATIENT, &["--fresh"]);
    until(&mut follower, &mut heard, "--- a run begins");
    let known = heard.len() - 1;
    assert_eq!(heard[..known], before[..], "what lay in the journal that was moved aside");
    works(&mut heard, &mut follower);
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(third.ends(), Some(0));
    let after = lines(&world, &["--state-dir", &text(&world.state()), "-n", "100000"]);
    while heard.len() < known + after.len() {
        heard.push(serde_json::from_str(&follower.line()).unwrap());
    }
    assert_eq!(heard[known..], after[..]);
    assert!(follower.killed(), "it goes on until it is interrupted");
}

#[test]
fn bad_requests_are_refused() {
    let world = World::new();
    let _runner = world.agent(PATIENT, &[]);
    let refused = |arguments: &[&str], code: i32, error: &str| {
        let said = world.ask(&[&["logs", "--json"], arguments].concat());
        assert_eq!((said.code, said.error_code().as_str()), (Some(code), error), "{arguments:?}: {said:?}");
        assert!(said.out.is_empty());
    };
    refused(&["--since", "soon"], 2, "configuration");
    refused(&["--since", "2026-11-22"], 2, "configuration");
    refused(&["-n", "some"], 2, "usage");
    refused(&["nobody"], 1, "journal_missing");
    refused(&["--state-dir", "/no/such/folder"], 2, "journal_unreadable");
    // A line that was changed is named; what stands before it is shown.
    let journal = world.state().join("journal/000001.jsonl");
    socket(&world);
    let changed = world.path("changed.jsonl");
    let text_of = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&changed, text_of.replacen("\"Ready\"", "\"Raedy\"", 1)).unwrap();
    let said = world.ask(&["logs", "--json", "--state-dir", &text(&changed)]);
    assert_eq!((said.code, said.error_code().as_str()), (Some(1), "journal_damaged"), "{said:?}");
    assert!(said.out.contains("a run begins") && said.err.contains("changed.jsonl, line "), "{said:?}");
}
