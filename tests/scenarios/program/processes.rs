//! Hazards of processes, with real ones: whatever dies, is stopped or is killed, none is left and none is believed in.

use super::world::{PATIENT, STUBBORN, World, eventually, is_alive, signal, text};
use serde_json::{Value, json};

#[test]
fn exit_during_restart() {
    let world = World::new();
    // The second process dies at once.
    let second_dies = "[ -e pids ] && [ \"$(wc -l < pids)\" = 1 ] && { echo $$ >> pids; exit 3; }";
    let runner = world.agent(&format!("{second_dies}\n{PATIENT}"), &[]);
    world.notes("pids", 1);
    world.command("agent.restart", &json!({}));
    world.notes("pids", 3);
    eventually("the third process is the one that is believed in", || {
        let status = world.ask(&["status", "--json"]).json();
        (status["process"]["generation"] == 3 && status["ready"] == true).then_some(())
    });
    world.go();
    let (_, task) = world.task("for the third");
    world.task_is(task, "done");
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    world.no_process_is_left();
    world.replays_exactly(1);
}

/// Takes the first message that it hears, and dies of it.
const DIES_AT_WORK: &str = r#"
echo $$ >> pids
IFS= read -r line
id=${line%%,\"nonce\":*}
id=${id##*\"id\":}
printf '%s\n' "$line" >> heard
echo "{\"type\":\"taken\",\"ids\":[$id]}"
echo "{\"type\":\"busy\",\"turn\":\"m$id\"}"
exit 3
"#;

#[test]
fn crash_loop() {
    let world = World::new();
    let runner = world.agent(DIES_AT_WORK, &[]);
    let (message, task) = world.task("too much for it");
    assert_eq!(runner.ends(), Some(70), "{}", world.log());
    assert_eq!(world.noted("pids").len(), 4);
    assert_eq!(world.heard(), [message; 4]);
    // The work is free for others, and the agent is shown as what it is.
    assert_eq!(world.get(&format!("/messages/{message}"))["claimedBy"], Value::Null);
    assert_eq!(world.get(&format!("/tasks/{task}"))["status"], "open");
    let agent = &world.agents()[0];
    assert_eq!((&agent["status"], &agent["ready"]), (&"offline".into(), &false.into()));
    let stop = world.ask(&["stop", "a1", "--json"]);
    assert_eq!(stop.error_code(), "not_running", "no order is left for the next start: {stop:?}");
    world.no_process_is_left();
    world.replays_exactly(1);
}

#[test]
fn spawn_fails() {
    let world = World::new();
    let broken = || {
        let agent = world.script("agent", "");
        std::fs::write(&agent, "#!/no/such/interpreter\n").unwrap();
        agent
    };
    let agent = broken();
    let said = world.ask(&["run", "command", "--agent-id", "a1", "--json", "--", &agent]);
    assert_eq!((said.code, said.error_code().as_str()), (Some(1), "run_failed"), "{said:?}");
    assert!(said.err.contains(&agent), "{said:?}");
    assert!(world.agents().is_empty(), "{said:?}");

    // Later on: whoever asked for a restart learns why, and so does whoever looks at the agent.
    let runner = world.agent(PATIENT, &[]);
    broken();
    let restart = world.command("agent.restart", &json!({}));
    let failed = world.command_is(&restart, "failed");
    assert!(failed["error"].as_str().unwrap().contains(&agent), "{failed}");
    eventually("the agent says why there is no process", || {
        let meta = &world.get("/agents/a1")["meta"];
        meta["lifecycleReason"].as_str().is_some_and(|why| why.contains(&agent)).then_some(())
    });
    assert_eq!(runner.ends(), Some(70));
    world.no_process_is_left();
    world.replays_exactly(2);
}

/// Works like the patient one, and has a child; it ends neither when its runner is gone nor when it is told to.
fn outliving() -> String {
    format!("trap '' TERM HUP\nsleep 1000 &\necho $! >> pids\n{PATIENT}\nwhile :; do sleep 1; done\n")
}

#[test]
fn runner_killed() {
    let world = World::new();
    let script = outliving();
    let runner = world.agent(&script, &[]);
    world.go();
    let settled = world.message("before");
    world.is_settled(settled);
    world.halt();
    let (message, task) = world.task("outlives its runner");
    eventually("the task has begun", || world.noted("notes").contains(&format!("began {message}")).then_some(()));
    world.task_is(task, "in_progress");

    signal(runner.pid(), "KILL");
    assert_eq!(runner.ends(), None);
    let left = world.noted("pids");
    assert!(left.len() == 2 && left.iter().all(|pid| is_alive(pid)), "they outlive it: {left:?}");
    assert_eq!(world.get(&format!("/messages/{message}"))["claimedBy"], "a1", "nobody has released it");

    let runner = world.agent(&script, &["--shutdown-timeout", "1s"]);
    for pid in &left {
        eventually(&format!("process {pid} of the run before is gone"), || (!is_alive(pid)).then_some(()));
    }
    // Nothing is lost, and what is handed over again says so.
    let heard = world.notes("heard", 3);
    let again: Value = serde_json::from_str(&heard[2]).unwrap();
    assert_eq!((&again["id"], &again["attempt"]), (&message.into(), &2.into()));
    assert!(again["text"].as_str().unwrap().contains("Delivered again"), "{again}");
    world.go();
    world.task_is(task, "done");
    assert_eq!(world.heard(), [settled, message, message], "what was settled stays settled");
    let claims = world.stages(message).into_iter().filter(|(stage, _)| stage == "worked").count();
    assert_eq!(claims, 1);

    signal(runner.pid(), "TERM");
    assert_eq!(runner.ends(), Some(0));
    world.no_process_is_left();
    assert!(world.agents().is_empty());
    world.replays_exactly(2);
}

#[test]
fn shutdown_during_spawn() {
    let world = World::new();
    // It is up once its socket is there, and that never comes.
    let script = world.script("agent", "echo $$ >> pids\n(trap '' TERM; exec sleep 1000) &\necho $! >> pids\nwait\n");
    let arguments = ["run", "command", "--agent-id", "a1", "--listen", "--shutdown-timeout", "2s", "--", &script];
    let runner = world.start(&arguments, &[]);
    let pids = world.notes("pids", 2);
    assert!(pids.iter().all(|pid| is_alive(pid)));
    assert_eq!(world.ask(&["status", "--json"]).json()["process"]["state"], "starting");
    let stop = world.command("agent.shutdown", &json!({"timeoutMs": 2_000}));
    assert_eq!(runner.ends(), Some(0));
    world.command_is(&stop, "succeeded");
    world.no_process_is_left();
    assert!(world.agents().is_empty());
    world.replays_exactly(1);
}

#[test]
fn kill_during_shutdown() {
    let world = World::new();
    let runner = world.agent(STUBBORN, &[]);
    world.notes("pids", 2);
    // Half a minute of asking, another of waiting ...
    let shutdown = world.command("agent.shutdown", &json!({"timeoutMs": 60_000}));
    eventually("it is being stopped", || (world.agents()[0]["ready"] == false).then_some(()));
    assert!(world.noted("pids").iter().all(|pid| is_alive(pid)));
    // ... which nobody waits for any more.
    let kill = world.command("agent.kill", &json!({}));
    assert_eq!(runner.ends(), Some(0));
    let overtaken = world.command_is(&shutdown, "succeeded");
    assert_eq!(overtaken["result"]["providerResult"]["escalated"], true, "{overtaken}");
    world.command_is(&kill, "succeeded");
    world.no_process_is_left();
    assert!(world.agents().is_empty());
    world.replays_exactly(1);
}

#[test]
fn shutdown_during_backoff() {
    let world = World::new();
    // Its third exit is followed by a wait of 1.5 s.
    let runner = world.runner("echo $$ >> pids; exit 3", &[]);
    world.notes("pids", 3);
    eventually("it waits for the next process", || {
        (world.ask(&["status", "--json"]).json()["process"]["state"] == "cooling").then_some(())
    });
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    assert_eq!(world.noted("pids").len(), 3);
    assert!(world.agents().is_empty());
    assert_eq!(world.ask(&["replay", &text(&world.state())]).code, Some(0));
}
