//! What comes between an agent and its work: a message that is not its own any more, an urgent one, and a signal that
//! means neither.

use super::world::{World, eventually};
use serde_json::Value;

/// Hears everything while it works, until the file `go` is there or it is interrupted. What comes during its turn belongs to
/// that turn.
const ATTENTIVE: &str = r#"
while IFS= read -r line; do
    printf '%s\n' "$line" >> lines
    case $line in
    *'"type":"message"'*)
        id=${line%%,\"nonce\":*}
        id=${id##*\"id\":}
        if [ -n "$worker" ] && kill -0 "$worker" 2>/dev/null; then
            echo "{\"type\":\"taken\",\"ids\":[$id],\"turn\":true}"
        else
            echo "{\"type\":\"taken\",\"ids\":[$id]}"
            echo "{\"type\":\"busy\",\"turn\":\"m$id\"}"
            (while [ ! -e go ]; do sleep 0.02; done; echo "{\"type\":\"idle\",\"turn\":\"m$id\"}") &
            worker=$!
        fi
        echo "began $id" >> notes
        ;;
    *'"type":"interrupt"'*)
        kill "$worker"
        wait "$worker"
        worker=
        echo '{"type":"idle","interrupted":true}'
        ;;
    *'"type":"shutdown"'*)
        exit 0
        ;;
    esac
done
"#;

/// The lines of this type that the agent has heard.
fn heard(world: &World, kind: &str) -> Vec<Value> {
    let lines = world.noted("lines");
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).filter(|line: &Value| line["type"] == kind).collect()
}

/// It is told of this one; what is told of it by then.
fn is_told(world: &World, message: u64) -> Value {
    let told = || heard(world, "withdrawn").into_iter().find(|line| line["id"] == message);
    eventually(&format!("the agent is told of message {message}"), told)
}

fn gone(world: &World, path: &str) {
    let (status, answer) = world.call("DELETE", path, "");
    assert_eq!(status, 200, "{path}: {answer}");
}

#[test]
fn taken_over() {
    let world = World::new();
    let runner = world.agent(ATTENTIVE, &[]);
    // The task is cancelled, and then its message is deleted as well.
    let (message, task) = world.task("not wanted any more");
    world.notes("notes", 1);
    gone(&world, &format!("/tasks/{task}"));
    let told = is_told(&world, message);
    assert!(told["text"].as_str().unwrap().contains(&message.to_string()), "{told}");
    assert!(told["reason"].as_str().unwrap().contains("cancelled"), "{told}");
    let (cancelled, stages) = (world.get(&format!("/tasks/{task}")), world.stages(message));
    gone(&world, &format!("/messages/{message}"));
    world.go();
    // A plain message is deleted.
    let barrier = world.message("comes after it");
    world.is_settled(barrier);
    world.halt();
    let plain = world.message("deleted while it is worked on");
    world.notes("notes", 3);
    gone(&world, &format!("/messages/{plain}"));
    assert!(is_told(&world, plain)["reason"].as_str().unwrap().contains("deleted"));
    world.go();
    let barrier = world.message("comes after that");
    world.is_settled(barrier);

    assert_eq!(heard(&world, "withdrawn").len(), 2, "each once");
    assert_eq!(world.get(&format!("/tasks/{task}")), cancelled, "nothing was reported for it");
    assert!(!stages.iter().any(|(stage, _)| stage == "worked"), "{stages:?}");
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    world.replays_exactly(1);
}

#[test]
fn an_urgent_message_interrupts_the_turn_and_what_made_way_comes_again_marked() {
    let world = World::new();
    let runner = world.agent(ATTENTIVE, &["--deliver", "interrupt"]);
    let long = world.message("something long");
    world.notes("notes", 1);
    let sent = world.ask(&["send", "a1", "at once", "--urgent", "--json"]).json();
    let urgent = sent["messageId"].as_u64().unwrap();
    world.notes("notes", 3);
    let messages = heard(&world, "message");
    let ids: Vec<&Value> = messages.iter().map(|line| &line["id"]).collect();
    assert_eq!(ids, [long, urgent, long].map(Value::from).iter().collect::<Vec<_>>());
    assert_eq!((&messages[1]["attempt"], &messages[2]["attempt"]), (&Value::from(1), &Value::from(2)));
    let text = |at: usize| messages[at]["text"].as_str().unwrap().to_owned();
    assert!(!text(1).contains("Delivered again") && text(2).contains("Delivered again"), "{messages:?}");
    world.go();
    world.is_settled(urgent);
    world.is_settled(long);
    assert_eq!(heard(&world, "interrupt").len(), 1);
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    world.replays_exactly(1);
}
