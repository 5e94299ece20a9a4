//! Runners as whoever operates them sees them: `ps`, `status`, `why`, figures and events; of one that lives, of one that
//! is dead, and where there is none.

use super::asking::ASKING;
use super::calling::Call;
use super::prometheus::Page;
use super::world::{PATIENT, PROGRAM, World, eventually, signal, text};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the runner of the agent answers.
pub(super) fn socket(world: &World) -> PathBuf {
    let folder = &world.ask(&["status", "--json"]).json()["runner"]["folder"];
    PathBuf::from(folder.as_str().unwrap()).join("control.sock")
}

fn figures(world: &World) -> Page {
    figures_at(&socket(world))
}

pub(super) fn figures_at(socket: &Path) -> Page {
    // Not JSON: written out again by hand.
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let answer = std::io::read_to_string(stream).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    Page::read(body)
}

#[track_caller]
fn fails(world: &World, arguments: &[&str], code: &str) {
    let said = world.ask(&[arguments, &["--json"]].concat());
    assert_eq!((said.code, said.error_code().as_str()), (Some(1), code), "{arguments:?}: {said:?}");
    // In words as well.
    let said = world.ask(arguments);
    assert!(said.code == Some(1) && said.err.starts_with("relay-runner: "), "{arguments:?}: {said:?}");
}

const OF_ONE_AGENT: [&[&str]; 8] =
    [&["status"], &["why"], &["attach"], &["approve", "q1"], &["deny", "q1"], &["restart"], &["stop"], &["upgrade"]];

#[test]
fn where_none_runs_that_is_said() {
    let world = World::new();
    let said = world.ask(&["ps"]);
    assert!(said.code == Some(0) && said.out.is_empty() && said.err.contains("no runner runs here"), "{said:?}");
    assert_eq!(world.ask(&["ps", "--json"]).json(), json!([]));
    for verb in OF_ONE_AGENT {
        fails(&world, verb, "not_running");
        fails(&world, &[verb, &["a1"]].concat(), "not_running");
    }
    fails(&world, &["logs"], "journal_missing");
    fails(&world, &["logs", "a1"], "journal_missing");
}

#[test]
fn a_dead_runner_is_known_as_dead() {
    let world = World::new();
    let runner = world.agent(PATIENT, &[]);
    let pid = runner.pid();
    signal(pid, "KILL");
    assert_eq!(runner.ends(), None);
    let listed = world.ask(&["ps", "--json"]).json();
    assert_eq!(
        (&listed[0]["agentId"], &listed[0]["state"], &listed[0]["pid"]),
        (&json!("a1"), &json!("dead"), &json!(pid))
    );
    let words = world.ask(&["ps"]).out;
    assert!(words.lines().nth(1).unwrap().starts_with("a1     command   -      dead   -"), "{words}");
    for verb in OF_ONE_AGENT {
        fails(&world, verb, "runner_dead");
        fails(&world, &[verb, &["a1"]].concat(), "runner_dead");
    }
}

#[test]
fn a_living_runner_is_listed_with_what_it_does() {
    let world = World::new();
    let runner = world.agent(PATIENT, &[]);
    world.task("to be worked on");
    world.notes("notes", 1);
    let agent = &world.notes("pids", 1)[0];
    let row = eventually("it is busy", || {
        let listed = world.ask(&["ps", "--json"]).json();
        (listed[0]["state"] == "busy").then(|| listed[0].clone())
    });
    let pids = (&row["pid"], &row["providerPid"], &row["queue"], &row["exits"]);
    assert_eq!(pids, (&json!(runner.pid()), &json!(agent.parse::<u32>().unwrap()), &json!(1), &json!(0)));
    assert!(row["memoryBytes"].as_u64() > Some(1_000_000) && row["providerMemoryBytes"].as_u64() > Some(100_000));
    assert!(row["stateForMs"].is_u64() && row["stateDir"] == text(&world.state()), "{row}");
    let words = world.ask(&["ps"]).out;
    let [head, line] = words.lines().collect::<Vec<_>>()[..] else { panic!("{words}") };
    assert!(
        head.starts_with("AGENT  PROVIDER  MODEL  STATE") && line.starts_with("a1     command   -      busy "),
        "{words}"
    );

    let words = world.ask(&["status"]).out;
    let expected = [
        "a1: busy, ready\n",
        "  for       ",
        "  queue     1 taken\n",
        "  lease     ",
        " left, of message 1\n",
        " MB, folder ",
    ];
    assert!(expected.iter().all(|part| words.contains(part)), "{words}");
    assert!(!words.contains("restarts"), "{words}");
    signal(agent.parse().unwrap(), "KILL");
    world.notes("pids", 2);
    let words =
        eventually("its end is shown", || Some(world.ask(&["status"]).out).filter(|out| out.contains("restarts")));
    assert!(words.contains("  restarts  its process ended once of late\n"), "{words}");
}

#[test]
fn what_waits_for_a_person_is_shown_with_the_command_that_decides_it() {
    let world = World::new();
    let state = text(&world.path("its own"));
    let _runner = world.agent(ASKING, &["--state-dir", &state]);
    let (_, task) = world.task("something dangerous");
    let words = eventually("it asks", || {
        let status = world.ask(&["status", "--state-dir", &state]);
        Some(status.out).filter(|out| out.contains("approval  q1 (rm): asked"))
    });
    let command = words.lines().find_map(|line| line.trim().strip_prefix("relay-runner ")).unwrap();
    let (command, _) = command.split_once("    (or").unwrap();
    let by_hand = world.other_program("sh", &["-c", &format!("{PROGRAM} {command}")], &[]).output().unwrap();
    assert!(by_hand.status.success(), "{command}: {by_hand:?}");
    world.go();
    world.task_is(task, "done");
}

#[test]
fn why_names_the_event_with_which_a_state_began() {
    let world = World::new();
    let _runner = world.agent(PATIENT, &[]);
    world.task("to be worked on");
    world.notes("notes", 1);
    let why = eventually("it works", || {
        Some(world.ask(&["why", "--json"]).json()).filter(|why| why["lifecycle"]["is"] == "working")
    });
    // The journal says so, too.
    let journal = fs::read_to_string(why["journal"]["file"].as_str().unwrap()).unwrap();
    let event = |part: &str| {
        let number = why[part]["since"]["event"].as_u64().unwrap();
        journal.lines().find(|line| line.starts_with(&format!("{{\"n\":{number},"))).unwrap()
    };
    assert!(event("status").contains("\"Granted\""), "{}", event("status"));
    assert!(event("ready").contains("\"Ready\""), "{}", event("ready"));
    assert!(event("lifecycle").contains("\"Busy\"") && event("link").contains("\"Registered\""));
    assert!(why["newest"]["event"].as_u64() >= why["lifecycle"]["since"]["event"].as_u64());
    assert_eq!(why["status"]["because"], json!(["open work: provider-turn", "open work: message", "open work: task"]));
    let deadlines: Vec<_> =
        why["deadlines"].as_array().unwrap().iter().map(|d| (&d["what"], d["inMs"].as_u64())).collect();
    assert!(deadlines.iter().any(|(what, within)| **what == "Claims" && *within > Some(10_000)), "{deadlines:?}");
    assert!(deadlines.is_sorted_by_key(|(_, within)| *within), "{deadlines:?}");
    let words = world.ask(&["why"]).out;
    let expected =
        ["a1 is busy, since event ", "a1 is ready, since event ", "  turn 1 runs\n", "\n  in ", "newest event "];
    assert!(expected.iter().all(|part| words.contains(part)), "{words}");
}

#[test]
fn figures_are_well_formed_and_count() {
    const NAME: &str = r#"we"ird\a1"#;
    let mut world = World::new();
    let script = world.script("agent", PATIENT);
    let arguments = ["run", "command", "--agent-id", NAME, "--", &script];
    let runner = world.start(&arguments, &[]);
    world.is_ready();
    assert_eq!(world.ask(&["send", NAME, "to be worked on", "--task"]).code, Some(0));
    world.notes("notes", 1);
    let page = eventually("it works", || {
        Some(figures(&world)).filter(|page| page.value("lifecycle", &[("state", "working")]) > 0.0)
    });
    let who = [("agent", NAME), ("runner", NAME), ("provider", "command"), ("version", env!("CARGO_PKG_VERSION"))];
    assert!(page.value("info", &who) > 0.0);
    let is = |page: &Page, name, labels: &[(&str, &str)], value: f64| {
        assert!((page.value(name, labels) - value).abs() < 1e-9, "{name} {labels:?}: {page:?}");
    };
    is(&page, "status", &[("status", "busy")], 1.0);
    is(&page, "status", &[("status", "idle")], 0.0);
    is(&page, "messages", &[("stage", "taken")], 1.0);
    is(&page, "deliveries_total", &[("stage", "settled")], 0.0);
    is(&page, "reconnects_total", &[], 0.0);
    is(&page, "generation", &[], 1.0);
    let left = page.value("lease_left_seconds", &[]);
    assert!(left > 60.0 && left < 3_600.0, "{left}");
    let (steps, bytes) = (page.value("step_seconds_count", &[]), page.value("journal_written_bytes_total", &[]));
    assert!(steps > 10.0 && bytes > steps * 50.0);

    world.go();
    eventually("it is done", || {
        (figures(&world).value("deliveries_total", &[("stage", "settled")]) > 0.0).then_some(())
    });
    signal(world.notes("pids", 1)[0].parse().unwrap(), "KILL");
    world.relay_dies_and_comes_back();
    let page = eventually("it is there again", || {
        Some(figures(&world)).filter(|page| page.value("reconnects_total", &[]) > 0.0 && page.value("ready", &[]) > 0.0)
    });
    is(&page, "deliveries_total", &[("stage", "taken")], 1.0);
    is(&page, "messages", &[("stage", "taken")], 0.0);
    is(&page, "provider_exits_total", &[("class", "signal")], 1.0);
    is(&page, "provider_exits_in_window", &[], 1.0);
    is(&page, "generation", &[], 2.0);
    assert_eq!(page.find("lease_left_seconds", &[]), None, "there is no claim");
    assert!(page.value("step_seconds_count", &[]) > steps && page.value("journal_written_bytes_total", &[]) > bytes);
    drop(runner);
}

/// A reader of `/events`.
struct Feed(BufReader<UnixStream>);

impl Feed {
    fn open(world: &World, last: Option<&str>) -> Self {
        let mut stream = UnixStream::connect(socket(world)).unwrap();
        stream.set_read_timeout(Some(super::world::LIMIT)).unwrap();
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        write!(stream, "GET /events HTTP/1.1\r\nHost: localhost\r\n{last}\r\n").unwrap();
        Self(BufReader::new(stream))
    }

    /// The next entry: id, name, data.
    fn next(&mut self) -> (String, String, Value) {
        let (mut id, mut name) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended");
            match line.trim_end().split_once(": ") {
                Some(("id", value)) => value.clone_into(&mut id),
                Some(("event", value)) => value.clone_into(&mut name),
                Some(("data", value)) => return (id, name, serde_json::from_str(value).unwrap()),
                _ => {}
            }
        }
    }

    fn until(&mut self, text: &str) -> (String, Value) {
        loop {
            let (id, _, data) = self.next();
            if data["text"].as_str().is_some_and(|said| said.contains(text)) {
                return (id, data);
            }
        }
    }
}

#[test]
fn events_are_told_as_they_happen_and_resumed() {
    let world = World::new();
    world.go();
    let runner = world.agent(PATIENT, &[]);
    let mut feed = Feed::open(&world, None);
    let first = world.message("hello");
    let (taken, data) = feed.until(&format!("message {first} is taken"));
    assert_eq!(data["note"], json!({"kind": "stage", "message": first, "stage": "taken", "attempt": 1}));
    let (settled, _) = feed.until(&format!("message {first} is settled"));
    drop(feed);
    let second = world.message("hello again");
    world.is_settled(second);
    // Each once, in order, from where it was left.
    let mut feed = Feed::open(&world, Some(&taken));
    let number = |id: &str| id.split_once('.').unwrap().1.parse::<u64>().unwrap();
    let mut ids = vec![number(&taken)];
    loop {
        let (id, name, data) = feed.next();
        assert_ne!(name, "gap");
        ids.push(number(&id));
        if data["text"] == format!("message {second} is settled") {
            break;
        }
    }
    assert!(ids.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{ids:?}");
    assert!(ids.contains(&number(&settled)));
    // Another run has other events.
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    let _runner = world.agent(PATIENT, &[]);
    let mut feed = Feed::open(&world, Some(&settled));
    let (_, name, data) = feed.next();
    assert_eq!((&*name, &data["after"]), ("gap", &json!(settled)));
    let (id, ..) = feed.next();
    assert_eq!(data["next"], json!(id));
    for path in ["/events", "/why", "/metrics", "/terminal"] {
        let (status, answer) = Call::post(path, "{}").to_socket(&socket(&world));
        assert_eq!((status, &answer["error"]["code"]), (405, &json!("method_not_allowed")), "{path}");
    }
}

#[test]
fn a_providers_own_name_runs_that_provider() {
    let world = World::without_relay();
    let names = [
        ("claude-relay", "claude", "--model", "command_not_found"),
        ("codex-relay", "codex", "--codex", "command_not_found"),
    ];
    for (name, provider, flag, error_code) in names {
        let link = world.path(name);
        std::os::unix::fs::symlink(PROGRAM, &link).unwrap();
        let run = |arguments: &[&str]| {
            let said = world.other_program(&text(&link), arguments, &[]).output().unwrap();
            (said.status.code(), String::from_utf8(said.stdout).unwrap(), String::from_utf8(said.stderr).unwrap())
        };
        let (code, out, err) = run(&["--agent-id", "x", flag, "/no/such", "--json", "--", "--its-own"]);
        let error: Value = serde_json::from_str(err.lines().last().unwrap()).unwrap();
        assert_eq!((code, &error["error"]["code"], &*out), (Some(2), &json!(error_code), ""), "{err}");
        assert!(error["error"]["message"].as_str().unwrap().contains(provider), "{err}");
        let (code, _, err) = run(&["--no-such-option"]);
        assert!(code == Some(2) && err.contains("--no-such-option"), "{err}");
        assert!(run(&["--help"]).1.contains("relay-runner run"));
    }
}

#[test]
fn completions_and_manual_know_every_verb() {
    let world = World::without_relay();
    let bash = world.ask(&["completions", "bash"]).out;
    let checked = Command::new("bash").args(["-n", "-c", &bash]).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let pages = world.path("pages");
    assert_eq!(world.ask(&["man", "--dir", &text(&pages)]).code, Some(0));
    for verb in ["run", "ps", "logs", "why", "attach", "schema"] {
        assert!(bash.contains(verb));
        let page = fs::read_to_string(pages.join(format!("relay-runner-{verb}.1"))).unwrap();
        assert!(page.contains(".TH") && page.contains("Examples"), "{verb}: {page}");
    }
    assert!(!pages.join("relay-runner-demo-agent.1").exists(), "what is hidden has none");
    assert!(world.ask(&["man"]).out.contains(".TH relay-runner 1"));
    for shell in ["zsh", "fish"] {
        assert!(world.ask(&["completions", shell]).out.contains("relay-runner"));
    }
    assert_eq!(world.ask(&["completions", "cmd"]).code, Some(2));
    let said = world.ask(&["man", "--dir", "/proc/nowhere/pages"]);
    assert!(said.code == Some(2) && said.err.contains("--dir"), "{said:?}");
}
