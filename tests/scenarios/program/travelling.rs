//! A task on its way from the relay through the runner into a real process, and back.

use super::world::{PATIENT, World, signal, text};
use serde_json::Value;
use std::path::Path;

#[test]
fn a_task_travels_to_the_smallest_agent_and_is_done() {
    let world = World::new();
    let agent = text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/agent.sh"));
    let runner = world.start(
        &["run", "command", "--agent-id", "a1", "--label", "dev", "--tag", "x,y", "--json", "--", &agent],
        &[("AGENT_RELAY_TAGS", "z")],
    );
    world.is_ready();

    let said = world.ask(&["send", "label:dev", "hello", "--task", "--wait", "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let events: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let stages: Vec<&str> = events.iter().filter_map(|e| e["stage"].as_str()).collect();
    for stage in ["held", "claimed", "taken", "worked", "settled"] {
        assert!(stages.contains(&stage), "{stage}: {stages:?}");
    }
    let end = events.last().unwrap();
    assert_eq!((&end["event"], &end["outcome"]), (&Value::from("ended"), &Value::from("done")));

    let message = events[0]["messageId"].to_string();
    assert_eq!(world.ask(&["read", &message, "--json"]).json()["subject"], "hello");
    assert!(world.ask(&["read", &message]).out.contains("hello"));
    let listed = &world.agents()[0];
    assert_eq!(listed["tags"], serde_json::json!(["command", "z", "x", "y", "headless"]));
    let status = world.ask(&["status", "a1", "--json"]).json();
    assert_eq!((&status["agentId"], &status["process"]["generation"]), (&Value::from("a1"), &Value::from(1)));
    assert!(world.ask(&["status"]).out.starts_with("a1: "));

    let stopped = world.ask(&["stop"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert_eq!(runner.ends(), Some(0));
    assert!(world.agents().is_empty());
    world.replays_exactly(1);
}

#[test]
fn the_stages_are_printed_for_people_until_it_is_done() {
    let world = World::new();
    let _runner = world.agent(PATIENT, &[]);
    world.go();
    let said = world.ask(&["send", "a1", "hello", "--wait", "--timeout", "20s"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.starts_with("message 1 to a1\n"), "{said:?}");
    assert!(said.out.contains("settled by a1"), "{said:?}");
    assert!(said.out.lines().last().unwrap().starts_with("settled after"), "{said:?}");
}

#[test]
fn a_killed_agent_gets_its_task_again_and_it_is_done_once() {
    let world = World::new();
    let runner = world.agent(PATIENT, &[]);
    let (message, task) = world.task("something long");
    world.notes("notes", 1);

    let pid = world.notes("pids", 1)[0].clone();
    signal(pid.parse().unwrap(), "KILL");
    let heard = world.notes("heard", 2);
    world.go();
    world.task_is(task, "done");

    let again: Value = serde_json::from_str(&heard[1]).unwrap();
    assert_eq!((&again["id"], &again["attempt"]), (&Value::from(message), &Value::from(2)));
    assert!(again["text"].as_str().unwrap().contains("Delivered again"), "{again}");
    assert_eq!(
        world.noted("notes"),
        [format!("began {message}"), format!("began {message}"), format!("finished {message}")]
    );
    assert_eq!(world.noted("pids").len(), 2, "one restart");
    super::world::eventually("the message is settled", || {
        world.stages(message).iter().any(|(stage, _)| stage == "settled").then_some(())
    });
    let worked: Vec<_> = world.stages(message).into_iter().filter(|(stage, _)| stage == "worked").collect();
    assert_eq!(worked, [("worked".to_owned(), 2)]);

    assert_eq!(world.ask(&["stop", "a1"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    world.replays_exactly(1);
}

#[test]
fn a_restart_by_hand_brings_the_next_generation() {
    let world = World::new();
    let runner = world.agent(PATIENT, &[]);
    world.notes("pids", 1);
    let said = world.ask(&["restart", "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.json()["restarted"], "a1");
    world.notes("pids", 2);
    assert_eq!(world.ask(&["status", "--json"]).json()["process"]["generation"], 2);
    // From elsewhere: through the relay.
    let elsewhere = World::without_relay();
    let away = [("AGENT_RELAY_URL", world.url())];
    assert_eq!(elsewhere.ask_with(&["restart", "a1"], &away).code, Some(0));
    world.notes("pids", 3);
    let said = elsewhere.ask_with(&["stop", "a1"], &away);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "a1 is stopped\n"), "{said:?}");
    assert_eq!(runner.ends(), Some(0));
    world.replays_exactly(1);
}

#[test]
fn an_agent_that_listens_on_a_socket_gets_its_task_there() {
    let world = World::new();
    let runner = world.start(&["run", "demo", "--agent-id", "a1", "--listen"], &[]);
    world.is_ready();
    let said = world.ask(&["send", "a1", "hello", "--task", "--wait", "--timeout", "20s"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    world.replays_exactly(1);
}

#[test]
fn a_task_outlives_the_relay_that_it_came_from() {
    let mut world = World::new();
    let runner = world.agent(PATIENT, &[]);
    let (message, task) = world.task("longer than a relay");
    world.notes("notes", 1);
    world.relay_dies_and_comes_back();
    let (_, waiting) = world.task("sent to the new one");
    world.go();
    world.task_is(task, "done");
    world.task_is(waiting, "done");
    assert_eq!(world.noted("notes")[..2], [format!("began {message}"), format!("finished {message}")], "begun once");
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    world.replays_exactly(1);
}
