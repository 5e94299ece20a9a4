//! Two agents on one relay, and the people around them: all that is around an agent, in one story, with the program's
//! own verbs only.

use super::operating::figures_at;
use super::world::{PROGRAM, World, eventually};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// Asks before it works, copies what is attached, and replies where a reply is owed when its turn is to end.
const SECOND: &str = r#"
rr=PROGRAM
echo $$ >> pids
while IFS= read -r line; do
    case $line in
    *'"type":"message"'*)
        id=${line%%,\"nonce\":*}
        id=${id##*\"id\":}
        echo "{\"type\":\"taken\",\"ids\":[$id]}"
        echo "{\"type\":\"busy\",\"turn\":\"m$id\"}"
        path=${line##*\"path\":\"}
        if [ "$path" != "$line" ]; then
            cp "${path%%\"*}" got
            echo '{"tool_name":"Bash","tool_input":{"command":"rm -r old"}}' | $rr hook PermissionRequest >> decisions
            echo >> decisions
        fi
        held=$(echo '{}' | $rr hook Stop)
        if [ -n "$held" ]; then
            while [ ! -e go ]; do sleep 0.02; done
            $rr reply "$id" "all is well" >> replies </dev/null
            echo "{\"stop_hook_active\":true,\"prompt_id\":\"m$id\"}" | $rr hook Stop
        fi
        ;;
    *'"type":"shutdown"'*)
        exit 0
        ;;
    esac
done
"#;

/// Notes what it hears.
const FIRST: &str = r#"
echo $$ >> pids
while IFS= read -r line; do
    case $line in
    *'"type":"message"'*)
        id=${line%%,\"nonce\":*}
        id=${id##*\"id\":}
        printf '%s\n' "$line" >> heard
        echo "{\"type\":\"taken\",\"ids\":[$id]}"
        echo '{"type":"busy"}'
        echo '{"type":"idle"}'
        ;;
    *'"type":"shutdown"'*)
        exit 0
        ;;
    esac
done
"#;

#[test]
fn two_agents_and_the_people_around_them() {
    let world = World::new();
    let first = world.agent(FIRST, &[]);
    let script = world.script("second", &SECOND.replace("PROGRAM", PROGRAM));
    let second = world.start(&["run", "command", "--agent-id", "a2", "--", &script], &[]);
    let state = |agent: &str| world.ask(&["status", agent, "--json"]).json();
    eventually("both are ready", || ["a1", "a2"].iter().all(|agent| state(agent)["ready"] == true).then_some(()));
    let mut follower = world.start(&["logs", "a2", "-f"], &[]);

    // A task with a file.
    fs::write(world.path("work/plan.txt"), "remove the old ones\n").unwrap();
    let sent =
        world.ask(&["send-claimable", "a2", "clean up", "--attach", "plan.txt", "--agent", "a1", "--json"]).json();
    let (message, task) = (sent["messageId"].as_u64().unwrap(), sent["taskId"].as_u64().unwrap());

    // It asks; a person sees for what, and with which command that is decided.
    let shown = eventually("it asks for permission", || {
        let said = world.ask(&["status", "a2"]).out;
        said.contains("relay-runner approve ").then_some(said)
    });
    assert!(shown.contains("(Bash): asked") && shown.contains(r#"with {"command":"rm -r old"}"#), "{shown}");
    let why = world.ask(&["why", "a2"]).out;
    assert!(why.contains("open work: provider-turn"), "{why}");
    let request = state("a2")["approvals"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(world.ask(&["approve", &request, "a2"]).code, Some(0));
    world.task_is(task, "done");
    world.is_settled(message);
    let decision: Value = serde_json::from_str(&world.notes("decisions", 1)[0]).unwrap();
    assert_eq!(decision["hookSpecificOutput"]["decision"], json!({"behavior": "allow"}));
    assert_eq!(fs::read_to_string(world.path("work/got")).unwrap(), "remove the old ones\n");

    // A question, whose reply is owed until it is sent.
    let asked = world.ask(&["message", "a2", "is all well?", "--reply-expected", "--agent", "a1", "--json"]).json();
    let question = asked["messageId"].as_u64().unwrap();
    let owed = || world.ask(&["obligations", "a2", "--json"]).json();
    let list = eventually("the reply is owed", || Some(owed()).filter(|owed| !owed.as_array().unwrap().is_empty()));
    assert_eq!((&list[0]["messageId"], &list[0]["from"]), (&json!(question), &json!("a1")));
    let shown = world.ask(&["status", "a2"]).out;
    assert!(shown.contains(&format!("owed      a reply to message {question} from a1")), "{shown}");
    let folder = state("a2")["runner"]["folder"].as_str().unwrap().to_owned();
    let figures = figures_at(&PathBuf::from(folder).join("control.sock"));
    assert!((figures.value("replies_owed", &[]) - 1.0).abs() < 1e-9, "{figures:?}");
    world.go();
    let reply: Value = serde_json::from_str(&world.notes("heard", 1)[0]).unwrap();
    assert_eq!((&reply["from"], &reply["body"]), (&json!("a2"), &json!("all is well")));
    eventually("nothing is owed", || owed().as_array().unwrap().is_empty().then_some(()));
    world.is_settled(question);

    // Everything stops, and nothing is left.
    for agent in ["a2", "a1"] {
        assert_eq!(world.ask(&["stop", agent]).code, Some(0));
    }
    assert_eq!((first.ends(), second.ends()), (Some(0), Some(0)));
    world.no_process_is_left();
    let end = format!("message {question} is settled");
    let mut told = String::new();
    while !told.contains(&end) {
        told.push_str(&follower.line());
    }
    for part in [format!("message {message} is claimed"), format!("message {message} is worked"), "idle -> busy".into()]
    {
        assert!(told.contains(&part), "`{part}`: {told}");
    }
    assert_eq!(world.ask(&["ps", "--json"]).json(), json!([]));
    assert!(world.agents().is_empty(), "they have taken leave of the relay");
    world.replays_exactly(1);
}
