//! Messages that go through the monitor: what is printed, what comes again, and who has the lines.

use super::world::{PATIENT, PROGRAM, Process, World, eventually, signal, text};
use serde_json::Value;
use std::fs;

/// An agent that reads its messages from a monitor beside it, which it starts once the file `go` is there.
fn watching() -> String {
    format!(
        r#"
echo $$ >> pids
{{
    while [ ! -e go ]; do sleep 0.02; done
    {PROGRAM} monitor < /dev/null | while IFS= read -r line; do
        id=${{line##*\"messageId\":}}
        id=${{id%%,*}}
        printf '%s\n' "$line" >> heard
        echo "{{\"type\":\"taken\",\"ids\":[$id]}}"
        echo "{{\"type\":\"busy\",\"turn\":\"m$id\"}}"
        echo "{{\"type\":\"idle\",\"turn\":\"m$id\"}}"
    done
}} &
while IFS= read -r line; do
    printf '%s\n' "$line" >> stdin
    case $line in
    *'"type":"shutdown"'*)
        exit 0
        ;;
    esac
done
"#
    )
}

const MONITORED: [&str; 2] = ["--offers", "monitor"];

fn offer(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|_| panic!("a line of JSON: {line}"))
}

/// A monitor outside of any provider.
fn monitor(world: &World) -> Process {
    world.start(&["monitor", "--agent", "a1"], &[])
}

#[test]
fn messages_go_through_the_monitor_and_not_to_standard_input() {
    let world = World::new();
    let runner = world.agent(&watching(), &MONITORED);
    world.go();
    let first = world.message("hello\nworld");
    world.is_settled(first);
    let (message, task) = world.task("some work");
    world.task_is(task, "done");
    let lines: Vec<Value> = world.noted("heard").iter().map(|line| offer(line)).collect();
    let ids: Vec<u64> = lines.iter().map(|line| line["messageId"].as_u64().unwrap()).collect();
    assert_eq!(ids, [first, message]);
    let nonce = lines[0]["nonce"].as_str().unwrap();
    let shown = lines[0]["text"].as_str().unwrap();
    assert_eq!(lines[0]["attempt"], 1);
    assert!(shown.starts_with(&format!("[relay message {first} {nonce}] from operator")), "{shown}");
    assert!(shown.contains("hello\nworld\n"), "{shown}");
    assert!(world.noted("stdin").is_empty(), "{:?}", world.noted("stdin"));
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    world.no_process_is_left();
    world.replays_exactly(1);
}

#[test]
fn a_provider_that_cuts_lines_has_each_message_as_a_short_one() {
    let world = World::new();
    let runner = world.agent(TAKING, &MONITORED);
    let mut monitor = world.start(&["monitor", "--agent", "a1", "--lines"], &[]);
    let mut tell = |words: &str, end: &str| {
        let message = world.message(words);
        let line = monitor.line().trim_end().to_owned();
        let start = format!("[relay message {message} ");
        assert!(line.starts_with(&start) && line.contains("] from operator, chat | "), "{line}");
        assert!(line.ends_with(&end.replace("ID", &message.to_string())) && line.len() <= 480, "{line}");
        fs::write(world.path("work/tell"), format!("{message}\n")).unwrap();
        world.is_settled(message);
        message
    };
    tell("a <short> one", "chat | a <short> one");
    let words = "x".repeat(1_000);
    let long = tell(&words, "xxx ... whole: relay-runner read ID");
    let folder = text(&world.state().join("run"));
    let whole = world.ask_with(&["read", &long.to_string()], &[("AGENT_RELAY_RUNNER_DIR", &folder)]);
    assert!(whole.code == Some(0) && whole.out.contains(&words), "{whole:?}");
    assert!(monitor.killed());
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    world.replays_exactly(1);
}

#[test]
fn messages_wait_for_a_monitor_and_that_is_no_failure() {
    let world = World::new();
    let runner = world.agent(&watching(), &MONITORED);
    let message = world.message("waits");
    let journal = || {
        let segments = fs::read_dir(world.state().join("journal")).unwrap();
        segments.map(|segment| fs::read_to_string(segment.unwrap().path()).unwrap()).collect::<String>()
    };
    eventually("an offer has gone back", || journal().contains("monitor not connected yet").then_some(()));
    world.go();
    world.is_settled(message);
    let line = offer(&world.noted("heard")[0]);
    assert_eq!((&line["messageId"], &line["attempt"]), (&message.into(), &1.into()));
    assert!(!line["text"].as_str().unwrap().contains("repeat"), "{line}");
    let stages = world.stages(message);
    assert!(
        stages.iter().all(|(stage, attempt)| stage != "setAside" && stage != "ambiguous" && *attempt <= 1),
        "{stages:?}"
    );
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    world.replays_exactly(1);
}

#[test]
fn a_monitor_waits_for_a_runner_that_is_started_again() {
    let world = World::new();
    // Nobody is there yet.
    let mut monitor = monitor(&world);
    let runner = world.agent(PATIENT, &MONITORED);
    let message = world.message("outlives its runner");
    let first = offer(&monitor.line());
    assert_eq!((&first["messageId"], &first["attempt"]), (&message.into(), &1.into()));
    signal(runner.pid(), "KILL");
    assert_eq!(runner.ends(), None);
    // Nothing showed that the provider had it: it comes again, and says so.
    let runner = world.agent(PATIENT, &MONITORED);
    let again = offer(&monitor.line());
    assert_eq!(again["messageId"], message);
    assert!(again["text"].as_str().unwrap().contains("may be a repeat"), "{again}");
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    assert!(monitor.killed(), "it never ends by itself");
    world.replays_exactly(2);
}

/// Takes the messages whose ids are written into the pipe `tell`, and is done with each at once.
const TAKING: &str = r#"
mkfifo tell
while :; do
    while IFS= read -r id; do
        echo "{\"type\":\"taken\",\"ids\":[$id]}"
        echo "{\"type\":\"busy\",\"turn\":\"m$id\"}"
        echo "{\"type\":\"idle\",\"turn\":\"m$id\"}"
    done < tell
done &
while IFS= read -r line; do
    case $line in
    *'"type":"shutdown"'*)
        exit 0
        ;;
    esac
done
"#;

/// Sends messages, one after the other, until a monitor that writes into this file prints one; the others have the rest.
fn until_it_has_the_lines(world: &World, file: &str) {
    loop {
        let message = world.message("for whoever has the lines");
        let has = |file: &str| world.noted(file).iter().any(|line| offer(line)["messageId"] == message);
        let here = eventually("somebody has it", || (has("older") || has("newer")).then(|| has(file)));
        fs::write(world.path("work/tell"), format!("{message}\n")).unwrap();
        world.is_settled(message);
        if here {
            return;
        }
    }
}

#[test]
fn of_two_monitors_the_newer_one_has_the_lines() {
    let world = World::new();
    let runner = world.agent(TAKING, &MONITORED);
    let into = |file: &str| {
        world.start_under(&["sh", "-c", &format!("exec \"$@\" > {file}"), "sh"], &["monitor", "--agent", "a1"])
    };
    let older = into("older");
    until_it_has_the_lines(&world, "older");
    let newer = into("newer");
    until_it_has_the_lines(&world, "newer");
    let had = world.noted("older").len();
    until_it_has_the_lines(&world, "newer");
    assert_eq!(world.noted("older").len(), had, "and the older one does not take them back");
    // It stays, and has them again once the newer one is gone.
    assert!(newer.killed());
    until_it_has_the_lines(&world, "older");
    assert!(older.killed());
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    world.replays_exactly(1);
}

#[test]
fn a_monitor_whose_output_nobody_reads_ends() {
    let world = World::new();
    let _runner = world.agent(PATIENT, &MONITORED);
    let message = world.message("the only line that is read");
    let said = world.ask_under(&["sh", "-c", "\"$@\" | head -n 1", "sh"], &["monitor", "--agent", "a1"]);
    assert_eq!((said.code, offer(&said.out)["messageId"].as_u64()), (Some(0), Some(message)), "{said:?}");
    assert!(said.err.is_empty(), "{said:?}");
    // Also where it never had anything to print.
    let said = world.ask_under(&["sh", "-c", "\"$@\" | true", "sh"], &["monitor", "--agent", "a2"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "", ""));
}

#[test]
fn what_a_monitor_cannot_have_is_said() {
    let world = World::new();
    let _runner = world.agent(PATIENT, &[]);
    let monitor = monitor(&world);
    eventually("it says why there is nothing", || world.log().contains("--offers monitor").then_some(()));
    assert!(monitor.killed(), "and waits: the runner may be started again with a monitor");
    let wrong = world.ask(&["run", "command", "--offers", "post", "--json", "--", "/bin/true"]);
    assert_eq!((wrong.code, wrong.error_code().as_str()), (Some(2), "configuration"), "{wrong:?}");
}
