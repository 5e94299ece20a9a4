//! A journal that was written by a real run: it replays exactly, and every change of it is found.

use super::world::{PATIENT, Said, World, text};
use relay_runner_shell::journal::replay_path;
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

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
    fs::write(&journal, whole.replacen("\"schema\":2", "\"schema\":999", 1)).unwrap();
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

/// The number of a record that this is in, counted from the first.
fn record_with(journal: &Path, words: &str) -> u64 {
    let text = fs::read_to_string(journal).unwrap();
    let line = text.lines().find(|line| line.starts_with("{\"n\":") && line.contains(words)).unwrap();
    serde_json::from_str::<Value>(line).unwrap()["n"].as_u64().unwrap()
}

/// The program's `replay` of this world's journal.
fn replay(world: &World, more: &[&str]) -> Said {
    let state = text(&world.state());
    world.ask(&[&["replay", &state], more].concat())
}

#[test]
fn the_state_at_a_place_is_what_the_runner_knew_then() {
    let (world, journal) = recorded();
    let taken = record_with(&journal, "\"Taken\"");
    for more in [&["--until", &taken.to_string()][..], &["--from", &taken.to_string(), "--until", &taken.to_string()]] {
        let said = replay(&world, &[more, &["--state"]].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.out.contains(&format!("to record {taken}: 20")) && said.out.contains("\na1: "), "{said:?}");
        assert!(said.out.contains("  message   1: taken, attempt 1\n"), "{said:?}");
        let whole = replay(&world, &[more, &["--state", "--json"]].concat()).json();
        assert_eq!((&whole["last"]["record"], &whole["stopped"]), (&json!(taken), &json!(true)));
        assert_eq!(
            (&whole["state"]["agentId"], &whole["state"]["messages"][0]["stage"]),
            (&json!("a1"), &json!("taken"))
        );
    }
    // The same by its time, and by its distance from the start; at its end the runner was over.
    let at = replay(&world, &["--until", &taken.to_string(), "--json"]).json()["last"]["at"].clone();
    let by_span = replay(&world, &["--until", &format!("{}ms", at["mono"]), "--json"]).json();
    assert!(
        by_span["last"]["record"].as_u64() >= Some(taken) && by_span["last"]["at"]["mono"] == at["mono"],
        "{by_span}"
    );
    let end = replay(&world, &["--until", "2999-01-01T00:00:00Z", "--state", "--json"]).json();
    assert_eq!((&end["state"]["over"], &end["stopped"]), (&json!(true), &json!(false)));
}

#[test]
fn a_place_that_is_not_in_the_journal_is_said_with_what_there_is() {
    let (world, journal) = recorded();
    let last = fs::read_to_string(&journal).unwrap().lines().filter(|line| line.starts_with("{\"n\":")).count();
    let beyond = (last + 1).to_string();
    for (more, code, words) in [
        (&["--until", &beyond][..], "no_such_record", format!("its records are 1 to {last}")),
        (&["--from", &beyond], "no_such_record", format!("run 1 has no record {beyond}")),
        (&["--from", "9", "--until", "8"], "no_such_record", "comes before the first".to_owned()),
        (&["--run", "2"], "no_such_run", "it holds only run 1".to_owned()),
        (&["--until", "1999-12-31T23:59:59Z"], "no_such_time", "run 1, which begins at 20".to_owned()),
        (&["--until", "noon"], "usage", "a span such as 10m".to_owned()),
        (&["--from", "0"], "usage", "counted from 1".to_owned()),
        (&["--relaxed", "--strict"], "usage", "--relaxed".to_owned()),
    ] {
        let said = replay(&world, &[more, &["--json"]].concat());
        assert_eq!((said.code, said.error_code().as_str()), (Some(2), code), "{said:?}");
        assert!(said.err.contains(&words), "{more:?}: {said:?}");
    }
}

#[test]
fn what_if_shows_where_the_changed_run_departs_and_how_both_end() {
    let (world, journal) = recorded();
    let stop = record_with(&journal, "agent.shutdown");
    let changes = text(&world.path("changes.jsonl"));
    let what_if = |lines: &str| {
        fs::write(&changes, lines).unwrap();
        move |more: &[&str]| replay(&world, &[&["--what-if", &changes], more].concat())
    };
    // Nobody had stopped it.
    let ask = what_if(&format!("{{\"drop\":{stop}}}\n"));
    let said = ask(&[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.out.starts_with("replays exactly: ") && said.out.contains(" departures from the run as it was"),
        "{said:?}"
    );
    assert!(
        said.out.contains(&format!("record {stop}, dropped, at ")) && said.out.contains("  over: true -> false\n"),
        "{said:?}"
    );
    let whole = ask(&["--json", "--show", "1"]).json();
    assert_eq!((&whole["mode"], &whole["replaysExactly"]), (&json!("what-if"), &json!(true)));
    assert_eq!((&whole["state"]["over"], &whole["whatIf"]["state"]["over"]), (&json!(true), &json!(false)));
    let listed = whole["whatIf"]["listed"].as_array().unwrap();
    assert_eq!((listed.len(), &listed[0]["record"], &listed[0]["how"]), (1, &json!(stop), &json!("dropped")));
    assert!(whole["whatIf"]["departures"].as_u64() > Some(1), "{whole}");
}

/// The program that runs here has nothing of its own to say; a changed run has.
#[test]
fn what_a_provider_says_about_itself_is_shown_and_when_its_limit_ends() {
    let (world, journal) = recorded();
    let up = record_with(&journal, "\"Ready\"");
    let wall = fs::read_to_string(&journal).unwrap().lines().find_map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        (line["n"] == up).then(|| line["at"][1].as_u64().unwrap())
    });
    let changes = text(&world.path("changes.jsonl"));
    let shown = |reports: &[Value]| {
        let lines = reports.iter().fold(String::new(), |mut lines, report| {
            writeln!(lines, "{}", json!({"after": up, "ms": 0, "event": {"Provider": [1, report]}})).unwrap();
            lines
        });
        fs::write(&changes, lines).unwrap();
        let said = replay(&world, &["--what-if", &changes, "--until", &up.to_string(), "--state"]);
        assert_eq!(said.code, Some(0), "{said:?}");
        said.out.rsplit_once("\na1: ").unwrap().1.to_owned()
    };
    let nothing = shown(&[json!("SignOfLife")]);
    assert!(
        ["  model ", "  context ", "  limit ", "  restarts "].iter().all(|part| !nothing.contains(part)),
        "{nothing}"
    );
    let context = json!({"Context": {"used": 92_000, "window": 272_000, "source": "Api", "confidence": "Reported"}});
    let said = [json!({"Model": {"model": "m-1", "effort": "high"}}), json!({"Conversation": {"id": "th-1"}}), context];
    let words = shown(&said);
    let expected = "  model     m-1 (high)\n  context   34 % of 272k tokens, conversation th-1\n";
    assert!(words.contains(expected), "{words}");
    let until = wall.unwrap() + 3 * 3_600_000 + 500;
    for (until, limit, again) in [
        (json!(until), "ends in 3 h", "started again in 3 h"),
        (Value::Null, "has no known end", "started again in 60 s"),
    ] {
        let exit = json!({"Exit": {"class": {"UsageLimit": {"until": until}}, "detail": "usage limit"}});
        let words = shown(&[&said[..], &[exit]].concat());
        let expected =
            format!("  context   conversation th-1\n  limit     its usage limit {limit}\n  restarts  {again}\n");
        assert!(words.contains(&expected), "{words}");
    }
}

#[test]
fn changes_that_cannot_be_made_are_named_by_their_line() {
    let (world, _) = recorded();
    let changes = text(&world.path("changes.jsonl"));
    for (lines, words) in [
        (
            "{\"change\":3,\"event\":{\"Sleep\":1}}",
            "changes.jsonl, line 1: its event cannot be read: unknown variant `Sleep`",
        ),
        ("{\"drop\":3}\n{\"dorp\":4}", "changes.jsonl, line 2: unknown field `dorp`"),
        ("{\"drop\":999999}", "changes.jsonl, line 1: record 999999 is not among those that are run"),
        (
            "{\"after\":3,\"ms\":99999999,\"event\":\"Wake\"}",
            "changes.jsonl, line 1: 99999999 ms after record 3 is later",
        ),
        ("\n", "there is no change in it"),
    ] {
        fs::write(&changes, lines).unwrap();
        let said = replay(&world, &["--what-if", &changes, "--json"]);
        assert_eq!((said.code, said.error_code().as_str()), (Some(2), "what_if"), "{said:?}");
        assert!(said.err.contains(words), "{said:?}");
    }
    let gone = replay(&world, &["--what-if", "/gone.jsonl"]);
    assert!(gone.code == Some(2) && gone.err.contains("cannot read the changes from /gone.jsonl"), "{gone:?}");
}

#[test]
fn a_run_that_is_recorded_otherwise_is_an_error_or_a_list() {
    let (world, journal) = recorded();
    // The same events, and one effect that this program never asks for: sealed as another version would have.
    let text_of = fs::read_to_string(&journal).unwrap();
    let taken = record_with(&journal, "\"Taken\"");
    fs::write(&journal, resealed(&text_of, taken)).unwrap();
    let strict = replay(&world, &["--json"]);
    assert_eq!((strict.code, strict.error_code().as_str()), (Some(1), "journal_differs"), "{strict:?}");
    let place = format!("line {}: event {}", taken, taken - 1);
    assert!(strict.err.contains(&place) && strict.err.contains("other(effect)"), "{strict:?}");
    let relaxed = replay(&world, &["--relaxed"]);
    assert_eq!(relaxed.code, Some(0), "{relaxed:?}");
    assert!(relaxed.out.starts_with("replays with 1 difference: ") && relaxed.out.contains(&place), "{relaxed:?}");
    let listed = replay(&world, &["--relaxed", "--json"]).json();
    assert_eq!((&listed["replaysExactly"], &listed["differences"]["count"]), (&json!(false), &json!(1)));
    assert_eq!(listed["differences"]["listed"][0]["record"], json!(taken - 1));
}

/// The journal with other effects in this record, and every hash from there on made anew.
fn resealed(journal: &str, record: u64) -> String {
    let head = format!("{{\"n\":{record},");
    let mut chain = 0;
    let mut out = String::new();
    for line in journal.lines() {
        let (text, _) = line.rsplit_once(",\"h\":\"").unwrap();
        let changed = match text.split_once("\"fx\":\"") {
            Some((event, effects)) if line.starts_with(&head) => format!("{event}\"fx\":\"other(effect) {effects}"),
            _ => text.to_owned(),
        };
        chain = xxhash_rust::xxh3::xxh3_64_with_seed(changed.as_bytes(), chain);
        let _ = writeln!(out, "{changed},\"h\":\"{chain:016x}\"}}");
    }
    out
}
