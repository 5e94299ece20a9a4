//! Questions of the provider that wait for a person: a hook that holds its call to the control server, an agent that asks
//! by itself, and whoever decides: by the program's verbs, by a call to the control server, or by the relay.

use super::callers::Called;
use super::calling::{Answer, Call};
use super::world::{World, eventually, signal};
use serde_json::{Value, json};
use std::thread::JoinHandle;

/// Asks before it works on a message, and goes on with what it is told.
pub(super) const ASKING: &str = r#"
while IFS= read -r line; do
    case $line in
    *'"type":"message"'*)
        id=${line%%,\"nonce\":*}
        id=${id##*\"id\":}
        echo "{\"type\":\"taken\",\"ids\":[$id]}"
        echo "{\"type\":\"busy\",\"turn\":\"m$id\"}"
        echo '{"type":"approval","approvalId":"q1","kind":"tool","tool":"rm","reason":"to clean up"}'
        ;;
    *'"type":"approval"'*)
        printf '%s\n' "$line" >> decisions
        while [ ! -e go ]; do sleep 0.02; done
        echo '{"type":"idle"}'
        ;;
    *'"type":"shutdown"'*)
        exit 0
        ;;
    esac
done
"#;

/// A hook of the newest process asks, and holds its call until it is answered.
fn holds(called: &Called, request: &str) -> JoinHandle<Answer> {
    let session = called.world.noted("sessions").pop().unwrap();
    let body = json!({"approvalId": request, "kind": "tool", "tool": "rm", "input": {"command": "rm -r x"}, "providerSessionId": session}).to_string();
    let socket = called.socket();
    let asked = std::thread::spawn(move || Call::post("/permission", &body).to_socket(&socket));
    eventually(&format!("{request} waits for a decision"), || {
        open(&called.world).contains(&json!(request)).then_some(())
    });
    asked
}

/// The names of what waits for a decision.
fn open(world: &World) -> Vec<Value> {
    let state = world.ask(&["status", "--json"]).json();
    state["approvals"].as_array().unwrap().iter().map(|open| open["id"].clone()).collect()
}

fn answer(hook: JoinHandle<Answer>) -> Value {
    let (status, answer) = hook.join().unwrap();
    assert_eq!(status, 200, "{answer}");
    answer
}

fn decided_by_the_relay(world: &World, request: &str, decision: &str, status: &str) -> Value {
    let params = json!({"approvalId": request, "decision": decision, "reason": "by the relay"});
    world.command_is(&world.command("agent.permissionDecision", &params), status)
}

/// What is said to whoever decides in vain.
#[track_caller]
fn is_refused(world: &World, verb: &str, request: &str, why: &str) {
    let said = world.ask(&[verb, request, "--json"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains(why), "`{why}`: {said:?}");
}

#[test]
fn two_answers() {
    // A hook at the control server, decided by the relay.
    let called = Called::new();
    let world = &called.world;
    let hook = holds(&called, "p1");
    let shown = world.ask(&["status"]).out;
    assert!(shown.contains("approval  p1 (rm): asked"), "{shown}");
    assert!(shown.contains("            with {\"command\":\"rm -r x\"}\n"), "{shown}");
    decided_by_the_relay(world, "p1", "approve", "succeeded");
    assert_eq!(answer(hook), json!({"decision": "approve", "reason": "by the relay"}));
    is_refused(world, "deny", "p1", "decided already: approve");
    // Decided on this machine, and then by the relay.
    let hook = holds(&called, "p2");
    let said = world.ask(&["deny", "p2", "--reason", "not here"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "p2 is denied for a1\n"), "{said:?}");
    assert_eq!(answer(hook), json!({"decision": "deny", "reason": "not here"}));
    let second = decided_by_the_relay(world, "p2", "approve", "failed");
    assert!(second["error"].as_str().unwrap().contains("decided already: deny"), "{second}");
    // By a call of somebody who knows nothing of the verbs.
    let hook = holds(&called, "p3");
    let (status, done) = called.call(&Call::post("/command", r#"{"type":"approve","params":{"approvalId":"p3"}}"#));
    assert_eq!((status, &done["providerResult"]["decision"]), (200, &json!("approve")), "{done}");
    assert_eq!(answer(hook)["decision"], "approve");
    called.ends();

    // The agent itself, which hears one decision.
    let world = World::new();
    let _runner = world.agent(ASKING, &[]);
    let (_, task) = world.task("something dangerous");
    eventually("it asks", || open(&world).contains(&json!("q1")).then_some(()));
    assert_eq!(world.ask(&["approve", "q1", "--session"]).code, Some(0));
    is_refused(&world, "deny", "q1", "decided already: approve-session");
    world.go();
    world.task_is(task, "done");
    let heard: Vec<Value> = world.noted("decisions").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!((&heard[0]["approvalId"], &heard[0]["decision"]), (&json!("q1"), &json!("approve-session")));
}

#[test]
fn stale_approval() {
    let called = Called::new();
    let world = &called.world;
    // Its turn is over.
    let (_, task) = world.task("asks, and does not wait for the answer");
    world.notes("notes", 1);
    let hook = holds(&called, "p1");
    world.go();
    world.task_is(task, "done");
    let told = answer(hook);
    assert_eq!(told["decision"], Value::Null);
    assert!(told["reason"].as_str().unwrap().contains("its turn has ended"), "{told}");
    // What is asked next is another request: a decision on the first one does not reach it.
    let hook = holds(&called, "p2");
    is_refused(world, "approve", "p1", "its turn has ended");
    let late = decided_by_the_relay(world, "p1", "approve", "failed");
    assert!(late["error"].as_str().unwrap().contains("its turn has ended"), "{late}");
    assert_eq!(open(world), ["p2"]);
    // Its process is over, and another one runs.
    signal(world.noted("pids")[0].parse().unwrap(), "KILL");
    assert!(answer(hook)["reason"].as_str().unwrap().contains("its provider process has ended"));
    world.notes("sessions", 2);
    world.is_ready();
    let hook = holds(&called, "p3");
    is_refused(world, "approve", "p2", "its provider process has ended");
    is_refused(world, "approve", "never-asked", "no such request");
    assert_eq!(open(world), ["p3"]);
    assert_eq!(world.ask(&["deny", "p3", "--abort"]).code, Some(0));
    assert_eq!(answer(hook)["decision"], "abort");
    called.ends();
}

#[test]
fn what_nobody_decides_in_time_is_denied_where_nobody_could_see_a_dialog() {
    let called = Called::with(&["--approval-timeout", "1s"]);
    let told = answer(holds(&called, "p1"));
    assert_eq!(told["decision"], "deny");
    assert!(told["reason"].as_str().unwrap().contains("nobody decided in time"), "{told}");
    called.ends();

    let called = Called::with(&["--approval-timeout", "1s", "--interactive"]);
    let told = answer(holds(&called, "p1"));
    assert_eq!(told["decision"], Value::Null, "the dialog stays where the person sees it: {told}");
    called.ends();
}
