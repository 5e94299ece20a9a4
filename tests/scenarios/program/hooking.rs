//! Hooks as a provider calls them: the program's own verb, run by the agent's process, and what comes of it.

use super::callers::Called;
use super::world::{PROGRAM, World, eventually, signal};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::net::UnixStream;

/// Says nothing on its standard output: what it has, what it does and when it ends are told by hooks. Before it works it
/// asks for permission, and when it is kept from ending it replies.
const HOOKED: &str = r#"
rr=PROGRAM
echo '{}' | $rr hook SessionStart > began
while IFS= read -r line; do
    case $line in
    *'"type":"message"'*)
        id=${line%%,\"nonce\":*}
        id=${id##*\"id\":}
        nonce=${line##*\"nonce\":\"}
        nonce=${nonce%%\"*}
        printf '{"prompt":"<event>[relay message %s %s] from x</event>","prompt_id":"p%s"}' "$id" "$nonce" "$id" |
            $rr hook UserPromptSubmit >> printed
        echo '{"tool_name":"Bash","tool_input":{"command":"rm -r old"}}' | $rr hook PermissionRequest >> decisions
        echo >> decisions
        echo '{"tool_name":"Bash","tool_input":{"command":"rm -r old"},"tool_response":"gone"}' |
            $rr hook PostToolUse >> printed
        $rr obligations --json | tr -d '\n ' >> owed
        echo >> owed
        echo '{"stop_hook_active":false}' | $rr hook Stop >> stops
        echo >> stops
        $rr reply "$id" "it is done" >> replies
        echo "{\"stop_hook_active\":true,\"prompt_id\":\"p$id\"}" | $rr hook Stop >> printed
        ;;
    *'"type":"shutdown"'*)
        exit 0
        ;;
    esac
done
"#;

fn sends_and_expects_a_reply(world: &World, words: &str) -> u64 {
    let body = json!({"from": "operator", "to": "a1", "kind": "chat", "body": words, "replyExpected": true});
    let (status, message) = world.call("POST", "/messages", &body.to_string());
    assert!((200..300).contains(&status), "{message}");
    message["id"].as_u64().unwrap()
}

#[test]
fn a_provider_that_only_has_hooks_takes_works_asks_and_replies() {
    let world = World::new();
    let _runner = world.agent(&HOOKED.replace("PROGRAM", PROGRAM), &[]);
    let message = sends_and_expects_a_reply(&world, "clean up, and tell me");
    let state = eventually("it asks, and a person sees what for", || {
        let state = world.ask(&["status", "--json"]).json();
        (state["approvals"][0]["tool"] == "Bash").then_some(state)
    });
    let request = state["approvals"][0]["id"].as_str().unwrap();
    assert_eq!(state["approvalInputs"][request], r#"{"command":"rm -r old"}"#, "{state}");
    assert_eq!(state["busyReasons"], json!(["provider-turn", "message"]));
    assert_eq!(world.ask(&["approve", request]).code, Some(0));
    world.is_settled(message);
    let stages: Vec<String> = world.stages(message).into_iter().map(|(stage, _)| stage).collect();
    assert!(stages.contains(&"taken".to_owned()) && stages.contains(&"worked".to_owned()), "{stages:?}");

    // What the hooks printed is what their own protocol wants, and nothing else.
    assert!(world.noted("began").join("\n").contains("You are the agent a1 on a relay"));
    let decision: Value = serde_json::from_str(&world.notes("decisions", 1)[0]).unwrap();
    assert_eq!(decision["hookSpecificOutput"]["decision"], json!({"behavior": "allow"}));
    let held: Value = serde_json::from_str(&world.notes("stops", 1)[0]).unwrap();
    assert_eq!(held["decision"], "block");
    assert!(held["reason"].as_str().unwrap().contains(&format!("relay-runner reply {message}")), "{held}");
    assert_eq!(world.noted("printed"), Vec::<String>::new());
    let owed: Value = serde_json::from_str(&world.noted("owed")[0]).unwrap();
    assert_eq!((&owed[0]["messageId"], &owed[0]["from"]), (&json!(message), &json!("operator")));

    // The reply is on the relay, and nothing is owed any more.
    let thread = world.get(&format!("/messages/{message}/thread"));
    assert!(thread.as_array().unwrap().iter().any(|reply| reply["body"] == "it is done"), "{thread}");
    assert_eq!(world.ask(&["obligations", "a1"]).out, "a1 owes no reply\n");
    assert_eq!(world.ask(&["stop", "a1"]).code, Some(0));
    world.replays_exactly(1);
}

#[test]
fn a_hook_without_a_runner_does_nothing_and_ends_with_0() {
    let world = World::without_relay();
    let folder = world.path("gone");
    let folder = folder.to_str().unwrap();
    for variables in [&[][..], &[("AGENT_RELAY_RUNNER_DIR", folder), ("AGENT_RELAY_PROVIDER_SESSION_ID", "s1")][..]] {
        for hook in ["Stop", "PermissionRequest", "Dance"] {
            let said = world.ask_with(&["hook", hook], variables);
            assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "", ""), "{hook}");
        }
    }
    // Another code may be a word of the provider's protocol, and its plugin may be of a newer version.
    for odd in [&["hook"][..], &["hook", "--new-in-2027", "Stop"], &["hook", "Stop", "more"]] {
        let said = world.ask(odd);
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "", ""), "{odd:?}");
    }
}

#[test]
fn what_is_owed_is_still_owed_after_the_runner_was_killed() {
    let script = r#"
while IFS= read -r line; do
    case $line in
    *'"type":"message"'*)
        id=${line%%,\"nonce\":*}
        id=${id##*\"id\":}
        echo "{\"type\":\"taken\",\"ids\":[$id]}"
        echo '{"type":"busy"}'
        echo '{"type":"idle"}'
        ;;
    *'"type":"shutdown"'*) exit 0 ;;
    esac
done
"#;
    let world = World::new();
    let runner = world.agent(script, &[]);
    let message = sends_and_expects_a_reply(&world, "tell me");
    world.is_settled(message);
    let owed = || world.ask(&["obligations", "a1", "--json"]).json();
    assert_eq!(owed()[0]["messageId"], message);
    assert!(runner.killed());
    // Nobody answers for a dead runner.
    let dead = world.ask(&["obligations", "a1", "--json"]);
    assert_eq!((dead.code, dead.error_code().as_str()), (Some(1), "runner_dead"), "{dead:?}");
    let second = world.agent(script, &[]);
    assert_eq!(owed()[0]["messageId"], message);
    // A reply that went another way is found with a round of the next run, whose first is at once.
    let body = json!({"from": "a1", "to": "operator", "kind": "chat", "body": "yes", "replyTo": message});
    let (status, reply) = world.call("POST", "/messages", &body.to_string());
    assert!((200..300).contains(&status), "{reply}");
    assert!(second.killed());
    let _third = world.agent(script, &[]);
    eventually("nothing is owed", || owed().as_array().unwrap().is_empty().then_some(()));
    assert_eq!(world.ask(&["stop", "a1"]).code, Some(0));
    world.replays_exactly(3);
    let nobody = world.ask(&["obligations", "a1", "--json"]);
    assert_eq!((nobody.code, nobody.error_code().as_str()), (Some(1), "not_running"), "{nobody:?}");
}

#[test]
fn a_request_whose_asker_has_gone_is_open_no_more() {
    let called = Called::new();
    let world = &called.world;
    let session = world.notes("sessions", 1)[0].clone();
    let body = json!({"tool_name": "Bash", "tool_input": {"command": "ls"}, "providerSessionId": session}).to_string();
    let open = || world.ask(&["status", "--json"]).json()["approvals"].as_array().unwrap().len();
    for _ in 0..2 {
        let mut stream = UnixStream::connect(called.socket()).unwrap();
        let head = "POST /hook/PermissionRequest HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
        write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        eventually("it waits for a decision", || (open() == 1).then_some(()));
        drop(stream);
        eventually("nobody waits any more", || (open() == 0).then_some(()));
    }
    called.ends();
}

/// What a hook reads never comes: the provider, which waits for it, goes on, and its turn ends all the same.
#[test]
fn a_hook_that_is_given_nothing_ends_by_itself_and_says_that_it_was_called() {
    let script = r#"
rr=PROGRAM
mkfifo never
while IFS= read -r line; do
    case $line in
    *'"type":"message"'*)
        id=${line%%,\"nonce\":*}
        id=${id##*\"id\":}
        echo "{\"type\":\"taken\",\"ids\":[$id]}"
        echo '{"type":"busy"}'
        $rr hook Stop <> never
        ;;
    *'"type":"shutdown"'*) exit 0 ;;
    esac
done
"#;
    let world = World::new();
    let _runner = world.agent(&script.replace("PROGRAM", PROGRAM), &[]);
    let (_, task) = world.task("to be worked on");
    world.task_is(task, "done");
}

/// The agent listens, so that it outlives its runner; it asks with a hook, which does not end while nobody decides.
#[test]
fn a_permission_is_asked_for_again_at_the_next_runner() {
    let world = World::new();
    let ask = r#"
echo '{"tool_name":"Bash","tool_input":{"command":"ls"}}' | PROGRAM hook PermissionRequest --pid $1 > asked
echo end >> ended
"#;
    let ask = world.script("ask", &ask.replace("PROGRAM", PROGRAM));
    let script = format!("{ask} $$ &\nexec {PROGRAM} demo-agent\n");
    let listening = |world: &World| world.agent(&script, &["--listen"]);
    let open = || world.ask(&["status", "--json"]).json()["approvals"][0]["id"].as_str().map(str::to_owned);
    let runner = listening(&world);
    let request = eventually("it asks", open);
    // Dead, and asked again while nobody is there.
    assert!(runner.killed());
    let next = listening(&world);
    let again = eventually("it asks the next one", open);
    assert_eq!(again, request);
    assert!(world.noted("ended").is_empty());
    // Aside, and asked again.
    signal(next.pid(), "USR2");
    assert_eq!(next.ends(), Some(75));
    let last = listening(&world);
    let request = eventually("it asks the last one", open);
    assert_eq!(world.ask(&["approve", &request]).code, Some(0));
    world.notes("ended", 1);
    let decided: Value = serde_json::from_str(&world.noted("asked")[0]).unwrap();
    assert_eq!(decided["hookSpecificOutput"]["decision"], json!({"behavior": "allow"}));
    assert_eq!(world.ask(&["stop", "a1"]).code, Some(0));
    assert_eq!(last.ends(), Some(0));
    world.replays_exactly(3);
}
