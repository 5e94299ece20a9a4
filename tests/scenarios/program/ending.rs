//! How a run ends, and what is left: nothing.

use super::world::{PATIENT, STUBBORN, World, eventually, is_alive, signal, text};
use serde_json::Value;

#[test]
fn a_terminated_runner_that_does_not_drain_gives_its_work_back() {
    let world = World::new();
    let runner = world.agent(PATIENT, &["--drain-timeout", "0", "--shutdown-timeout", "2s"]);
    let (message, task) = world.task("never done");
    world.notes("notes", 1);
    assert_eq!(world.get(&format!("/messages/{message}"))["claimedBy"], "a1");
    signal(runner.pid(), "TERM");
    assert_eq!(runner.ends(), Some(0));
    nothing_is_left(&world, message, task);
}

#[test]
fn graceful_stop_hangs() {
    let world = World::new();
    let runner = world.agent(STUBBORN, &["--drain-timeout", "0", "--shutdown-timeout", "1s"]);
    let (message, task) = world.task("never done");
    world.notes("notes", 1);
    assert!(world.notes("pids", 2).iter().all(|pid| is_alive(pid)), "agent and grandchild");
    signal(runner.pid(), "TERM");
    assert_eq!(runner.ends(), Some(0));
    nothing_is_left(&world, message, task);
}

fn nothing_is_left(world: &World, message: u64, task: u64) {
    assert_eq!(world.get(&format!("/messages/{message}"))["claimedBy"], Value::Null);
    assert_eq!(world.get(&format!("/tasks/{task}"))["status"], "open");
    assert!(world.agents().is_empty(), "{:?}; {}", world.agents(), world.log());
    world.no_process_is_left();
    world.replays_exactly(1);
}

#[test]
fn a_terminated_runner_lets_the_running_turn_end() {
    let world = World::new();
    let runner = world.agent(PATIENT, &["--drain-timeout", "20s"]);
    let (_, task) = world.task("done on the way out");
    world.notes("notes", 1);
    signal(runner.pid(), "TERM");
    eventually("the agent drains", || (world.agents()[0]["ready"] == false).then_some(()));
    world.go();
    assert_eq!(runner.ends(), Some(0));
    assert_eq!(world.get(&format!("/tasks/{task}"))["status"], "done");
    assert!(world.agents().is_empty());
    world.replays_exactly(1);
}

#[test]
fn a_second_runner_on_the_same_state_is_refused_and_told_by_whom() {
    let world = World::new();
    let first = world.agent(PATIENT, &[]);
    let agent = text(&world.path("agent"));
    let second = world.ask(&["run", "command", "--agent-id", "a1", "--", &agent]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.err.contains(&format!("process {}", first.pid())), "{second:?}");
    let second = world.ask(&["run", "command", "--agent-id", "a1", "--json", "--", &agent]);
    assert_eq!(second.error_code(), "already_running");
    assert_eq!(world.noted("pids").len(), 1, "no second agent was started");
}

#[test]
fn a_killed_runner_is_known_to_be_dead_and_is_taken_up_again() {
    let world = World::new();
    let runner = world.agent(PATIENT, &[]);
    let (message, task) = world.task("outlives its runner");
    world.notes("notes", 1);
    signal(runner.pid(), "KILL");
    assert_eq!(runner.ends(), None);
    let status = world.ask(&["status", "a1", "--json"]);
    assert_eq!((status.code, status.error_code().as_str()), (Some(1), "runner_dead"));
    assert!(world.ask(&["stop"]).err.contains("is dead"));
    // Nor is an order left on the relay, for the next start to obey.
    let stop = world.ask(&["stop", "a1", "--json"]);
    assert_eq!((stop.code, stop.error_code().as_str()), (Some(1), "runner_dead"), "{stop:?}");

    let runner = world.runner(PATIENT, &[]);
    let heard = world.notes("heard", 2);
    world.go();
    world.task_is(task, "done");
    let again: Value = serde_json::from_str(&heard[1]).unwrap();
    assert_eq!((&again["id"], &again["attempt"]), (&Value::from(message), &Value::from(2)));
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    world.replays_exactly(2);
}

#[test]
fn a_relay_that_is_not_there_is_waited_for_unless_told_otherwise() {
    let world = World::without_relay();
    let agent = world.script("agent", PATIENT);
    // Nobody listens on the port of a listener that is gone.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let arguments =
        ["run", "command", "--agent-id", "a1", "--relay", &url, "--fail-fast=500ms", "--json", "--", &agent];
    let said = world.ask(&arguments);
    assert_eq!((said.code, said.error_code().as_str()), (Some(69), "relay_unreachable"), "{said:?}");
    assert_eq!(said.err.matches("cannot be reached").count(), 1, "said once: {said:?}");
    assert!(world.noted("pids").is_empty(), "without a relay no agent is started that soon");
    world.replays_exactly(1);

    let waiting = world.start(&["run", "command", "--agent-id", "a1", "--relay", &url, "--", &agent], &[]);
    eventually("the runner shows that it tries", || {
        let status = world.ask(&["status", "--json"]);
        (status.code == Some(0) && status.json()["link"]["state"] != "up").then_some(())
    });
    let listen = free.to_string();
    let relay = world.start(&["relay", "--listen", &listen, "--db", ":memory:", "--json"], &[]);
    eventually("the runner has found the relay", || {
        (world.ask(&["status", "--json"]).json()["link"]["state"] == "up").then_some(())
    });
    signal(waiting.pid(), "TERM");
    assert_eq!(waiting.ends(), Some(0));
    drop(relay);
    world.replays_exactly(2);
}

#[test]
fn a_runner_with_a_person_ends_with_its_provider() {
    let world = World::new();
    for (script, code) in [("exit 0", 0), ("exit 3", 1)] {
        let runner = world.runner(script, &["--interactive"]);
        assert_eq!(runner.ends(), Some(code), "{script}; {}", world.log());
    }
    world.replays_exactly(2);
}

#[test]
fn a_fresh_start_forgets_and_moves_the_old_journal_aside() {
    let world = World::new();
    for more in [&[][..], &["--fresh"]] {
        let runner = world.agent(PATIENT, more);
        assert_eq!(world.ask(&["status", "--json"]).json()["process"]["generation"], 1);
        assert_eq!(world.ask(&["stop"]).code, Some(0));
        assert_eq!(runner.ends(), Some(0));
    }
    world.replays_exactly(1);
    assert_eq!(world.ask(&["replay", &text(&world.state().join("journal.old-1"))]).code, Some(0));
}
