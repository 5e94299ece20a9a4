//! Two runners of one agent, and one that is gone: who speaks for the agent on the relay, and who does not any more.

use super::world::{PATIENT, Process, World, eventually, text};
use serde_json::{Value, json};

/// A runner of the agent with a state folder of its own, as if on another machine.
fn on_machine(world: &World, name: &str) -> Process {
    world.runner(PATIENT, &["--state-dir", &text(&world.path(name)), "--shutdown-timeout", "2s"])
}

/// Waits until an instance other than this one holds the agent, and is ready; its id.
#[track_caller]
fn held_by_another_than(world: &World, instance: &Value) -> Value {
    eventually("another instance holds the agent, and is ready", || {
        let agents = world.agents();
        let held = agents.iter().find(|a| a["id"] == "a1" && a["instanceId"] != *instance && a["ready"] == true);
        held.map(|agent| agent["instanceId"].clone())
    })
}

#[test]
fn two_runners() {
    let world = World::new();
    let here = on_machine(&world, "here");
    let instance = held_by_another_than(&world, &Value::Null);
    let (message, task) = world.task("held by the one here");
    world.notes("notes", 1);

    // The newer one has the agent. The older one stops its provider, gives its work back, and leaves the agent alone.
    let there = on_machine(&world, "there");
    assert_eq!(here.ends(), Some(76), "{}", world.log());
    let there_is = held_by_another_than(&world, &instance);
    let pids = world.notes("pids", 2);
    eventually("the provider here is gone", || (!super::world::is_alive(&pids[0])).then_some(()));
    // What came back is worked there.
    world.notes("heard", 2);
    world.go();
    world.task_is(task, "done");
    assert_eq!(world.heard(), [message, message]);

    // Started again it takes the agent back; but the other one, which has done that a moment ago, is refused.
    let here = on_machine(&world, "here");
    assert_eq!(there.ends(), Some(76), "{}", world.log());
    assert_eq!(held_by_another_than(&world, &there_is), instance);
    let there = on_machine(&world, "there");
    assert_eq!(there.ends(), Some(76), "{}", world.log());
    let agents = world.agents();
    assert_eq!((&agents[0]["instanceId"], &agents[0]["ready"]), (&instance, &true.into()), "nobody evicts it");
    drop(here);
    world.no_process_is_left();
}

#[test]
fn ghost_agent() {
    let world = World::new();
    let runner = world.agent(PATIENT, &[]);
    let agent = world.get("/agents/a1");
    let session = json!({"instanceId": agent["instanceId"], "epoch": agent["epoch"]});
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    assert!(world.agents().is_empty());
    // What it had still on its way comes late.
    let late = [
        ("heartbeat", json!({"session": session})),
        ("status", json!({"status": "idle", "statusSeq": 1_000, "session": session})),
        ("ready", json!({"ready": true, "statusSeq": 1_000, "session": session})),
    ];
    for (what, body) in late {
        let (status, answer) = world.call("POST", &format!("/agents/a1/{what}"), &body.to_string());
        assert!(answer["ok"] == false || (400..500).contains(&status), "{what}: {status} {answer}");
        assert!(world.agents().is_empty(), "{what}: {:?}", world.agents());
    }
    // It comes back only when it is started again.
    let runner = world.agent(PATIENT, &[]);
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    assert!(world.agents().is_empty());
    world.replays_exactly(2);
}
