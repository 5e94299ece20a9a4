//! The agent's verbs, called by the agent itself or in its environment: what they say, and what the relay has of it.

use super::calling::Call;
use super::proxy::{Fault, Proxy};
use super::world::{PROGRAM, Process, Said, World, eventually, signal, text};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// An agent that carries out the script `verbs` for each message, with its id, and keeps what that printed.
fn doing() -> String {
    format!(
        r#"
relay_runner() {{ {PROGRAM} "$@" </dev/null; }}
echo "$AGENT_RELAY_RUNNER_DIR" >> folder
while IFS= read -r line; do
    case $line in
    *'"type":"message"'*)
        id=${{line%%,\"nonce\":*}}
        id=${{id##*\"id\":}}
        printf '%s\n' "$line" >> heard
        echo "{{\"type\":\"taken\",\"ids\":[$id]}}"
        echo "{{\"type\":\"busy\",\"turn\":\"m$id\"}}"
        . ./verbs >> said 2>&1
        echo "finished $id" >> notes
        echo "{{\"type\":\"idle\",\"turn\":\"m$id\"}}"
        ;;
    *'"type":"shutdown"'*)
        exit 0
        ;;
    esac
done
"#
    )
}

/// An agent and its runner folder.
struct Speaker {
    world: World,
    runner: Process,
    folder: String,
}

impl Speaker {
    fn new(more: &[&str]) -> Self {
        let world = World::new();
        fs::write(world.path("work/verbs"), "").unwrap();
        let runner = world.agent(&doing(), more);
        let folder = world.notes("folder", 1)[0].clone();
        Self { world, runner, folder }
    }

    /// A verb in the agent's environment.
    fn says(&self, arguments: &[&str]) -> Said {
        self.world.ask_with(arguments, &[("AGENT_RELAY_RUNNER_DIR", &self.folder)])
    }

    #[track_caller]
    fn prints(&self, arguments: &[&str], expected: &str) {
        let said = self.says(arguments);
        assert_eq!((said.code, said.out.as_str()), (Some(0), expected), "{arguments:?}: {said:?}");
    }

    #[track_caller]
    fn is_refused(&self, arguments: &[&str], exit: i32, code: &str) {
        let said = self.says(&[arguments, &["--json"]].concat());
        assert_eq!((said.code, said.error_code().as_str()), (Some(exit), code), "{arguments:?}: {said:?}");
        assert!(said.out.is_empty(), "{said:?}");
    }

    fn ends(self) {
        assert_eq!(self.world.ask(&["stop", "a1"]).code, Some(0));
        assert_eq!(self.runner.ends(), Some(0));
        self.world.replays_exactly(1);
    }
}

/// A message of somebody who waits for a reply.
fn question(world: &World, from: &str) -> u64 {
    let body = json!({"from": from, "to": "a1", "body": "how far is it?", "replyExpected": true});
    let (status, message) = world.call("POST", "/messages", &body.to_string());
    assert_eq!(status, 201, "{message}");
    message["id"].as_u64().unwrap()
}

fn newest(world: &World) -> Value {
    let id = world.get("/messages/cursor")["cursor"].clone();
    world.get(&format!("/messages/{id}"))
}

#[test]
fn an_agent_answers_a_question_and_owes_nothing_any_more() {
    let speaker = Speaker::new(&[]);
    let world = &speaker.world;
    let verbs =
        "relay_runner react $id 👀\nrelay_runner read $id > read\nrelay_runner reply $id \"half of it is done\"\n";
    fs::write(world.path("work/verbs"), verbs).unwrap();
    let message = question(world, "alice");
    world.is_settled(message);
    let reply = newest(world);
    let said = [
        format!("reacted to message {message} with 👀"),
        format!("replied to message {message} (message {})", reply["id"]),
    ];
    assert_eq!(world.noted("said"), said);
    let fields = ["from", "to", "body", "replyTo", "threadId"].map(|key| reply[key].clone());
    assert_eq!(fields, [json!("a1"), json!("alice"), json!("half of it is done"), json!(message), json!(message)]);
    let reactions = world.get(&format!("/messages/{message}/reactions"));
    assert_eq!((&reactions[0]["agentId"], &reactions[0]["emoji"]), (&json!("a1"), &json!("👀")));
    assert!(world.noted("read")[0].starts_with(&format!("message {message} from alice to a1, chat")));
    assert!(world.noted("read").contains(&"how far is it?".to_owned()));
    assert_eq!(world.get("/agents/a1/obligations"), json!([]));

    // What is owed is known until then, and is settled by the reply.
    fs::write(world.path("work/verbs"), "").unwrap();
    let second = question(world, "bob");
    world.is_settled(second);
    let owed = || world.ask(&["status", "a1", "--json"]).json()["owed"].clone();
    assert_eq!(owed()[0]["messageId"], second, "{}", owed());
    speaker.prints(
        &["reply", &second.to_string(), "later"],
        &format!("replied to message {second} (message {})\n", second + 1),
    );
    assert_eq!(owed(), json!([]));
    // The thread as a whole, which only the runner can ask for in there.
    let thread = speaker.says(&["read", &second.to_string(), "--thread", "--json"]).json();
    let bodies: Vec<&Value> = thread.as_array().unwrap().iter().map(|message| &message["body"]).collect();
    assert_eq!(bodies, ["how far is it?", "later"]);
    speaker.ends();
}

#[test]
fn an_agent_shows_and_changes_who_it_is() {
    let speaker = Speaker::new(&["--label", "first", "--tag", "rust"]);
    let world = &speaker.world;
    let known = speaker.says(&["whoami"]).out;
    for line in ["agent         a1", "label         first", "provider      command", "status        idle, ready"] {
        assert!(known.lines().any(|shown| shown == line), "{line}: {known}");
    }
    assert!(known.contains(&format!("relay         {}", world.url())), "{known}");
    assert!(known.contains(&format!("runner        a1 (process {})", speaker.runner.pid())), "{known}");
    let json = speaker.says(&["whoami", "--json"]).json();
    assert_eq!(
        (&json["agentId"], &json["label"], &json["tags"]),
        (&json!("a1"), &json!("first"), &json!(["command", "rust", "headless"]))
    );
    speaker.prints(&["label"], "label first\n");
    speaker.prints(&["label", "second"], "label second\n");
    assert_eq!(world.get("/agents/a1")["label"], "second");
    speaker.prints(&["label", "--clear"], "no label\n");
    assert_eq!(world.get("/agents/a1")["label"], Value::Null);
    speaker.prints(&["tags"], "tags command, rust, headless\n");
    speaker.prints(&["tags", "--add", "a,b", "--remove", "rust,headless"], "tags command, a, b\n");
    speaker.prints(&["tags", "x", "y,z"], "tags x, y, z\n");
    assert_eq!(world.get("/agents/a1")["tags"], json!(["x", "y", "z"]));
    speaker.prints(&["tags", "--clear"], "no tags\n");
    speaker.is_refused(&["label", &"x".repeat(201)], 1, "invalid");
    assert_eq!(world.get("/agents/a1")["label"], Value::Null);
    speaker.ends();
}

/// Copies what a message names into `got`, and is done.
const OTHER: &str = r#"
while IFS= read -r line; do
    case $line in
    *'"type":"message"'*)
        id=${line%%,\"nonce\":*}
        id=${id##*\"id\":}
        printf '%s\n' "$line" >> others
        echo "{\"type\":\"taken\",\"ids\":[$id]}"
        echo "{\"type\":\"busy\",\"turn\":\"m$id\"}"
        printf '%s\n' "$line" | grep -o '"path":"[^"]*"' | while IFS= read -r path; do
            path=${path#\"path\":\"}
            cat "${path%\"}" >> got
        done
        echo "{\"type\":\"idle\",\"turn\":\"m$id\"}"
        ;;
    *'"type":"shutdown"'*)
        exit 0
        ;;
    esac
done
"#;

#[test]
fn one_agent_gives_another_work_with_a_file_and_talks_to_it() {
    let speaker = Speaker::new(&[]);
    let world = &speaker.world;
    let other = world.script("other", OTHER);
    let other = world.start(&["run", "command", "--agent-id", "b1", "--tag", "worker", "--", &other], &[]);
    eventually("the other one is ready", || {
        world.agents().iter().any(|a| a["id"] == "b1" && a["ready"] == true).then_some(())
    });
    fs::write(world.path("work/patch.diff"), "+ a line\n").unwrap();
    let verbs = "relay_runner send-claimable tag:worker --title review --attach patch.diff \"please review\"\n";
    fs::write(world.path("work/verbs"), verbs).unwrap();
    let message = world.message("have it reviewed");
    world.is_settled(message);
    let said = &world.noted("said")[0];
    let (claimable, task) = (message + 1, said.rsplit(' ').next().unwrap().parse().unwrap());
    assert_eq!(*said, format!("message {claimable} to tag:worker, task {task}"));
    world.task_is(task, "done");
    assert_eq!(world.noted("got"), ["+ a line"]);
    let told: Value = serde_json::from_str(&world.noted("others")[0]).unwrap();
    assert_eq!(
        (&told["from"], &told["subject"], &told["body"]),
        (&json!("a1"), &json!("review"), &json!("review\n\nplease review"))
    );
    assert_eq!(told["attachments"][0]["mediaType"], "text/x-diff");

    // All that a message may have.
    let words =
        ["message", "b1", "- not an option", "--subject", "s", "--kind", "note", "--urgent", "--reply-expected"];
    let said = speaker.says(
        &[&words[..2], &words[3..], &["--payload", "{\"n\":1}", "--attach", "patch.diff", "--", words[2]]].concat(),
    );
    let sent = newest(world);
    assert_eq!(said.out, format!("message {} to b1\n", sent["id"]), "{said:?}");
    let fields =
        ["from", "subject", "kind", "priority", "replyExpected", "payload", "body"].map(|key| sent[key].clone());
    let expected =
        [json!("a1"), json!("s"), json!("note"), json!("urgent"), json!(true), json!({"n": 1}), json!(words[2])];
    assert_eq!(fields, expected);
    assert_eq!(sent["attachments"][0]["name"], "patch.diff");
    // A long one from a file is whole.
    fs::write(world.path("work/long.txt"), "long ".repeat(40_000)).unwrap();
    assert_eq!(speaker.says(&["message", "b1", "--file", "long.txt"]).code, Some(0));
    assert_eq!(newest(world)["body"].as_str().unwrap().len(), 200_000);
    let left: Vec<_> = fs::read_dir(&speaker.folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("text-")), "{left:?}");

    // A question for a conversation; to nobody there is none.
    let said = speaker.says(&["pair", "b1"]);
    let asked = newest(world);
    assert_eq!(
        said.out,
        format!("asked b1 to pair (message {}); its answer comes as a message, reply to that\n", asked["id"])
    );
    assert_eq!((&asked["kind"], &asked["replyExpected"], &asked["to"]), (&json!("pair"), &json!(true), &json!("b1")));
    let before = asked["id"].clone();
    speaker.is_refused(&["pair", "nobody"], 1, "not_found");
    speaker.is_refused(&["pair", "tag:worker"], 1, "bad_body");
    speaker.is_refused(&["pair", "a1"], 1, "bad_body");
    assert_eq!(newest(world)["id"], before, "nothing was sent");
    assert_eq!(world.ask(&["stop", "b1"]).code, Some(0));
    assert_eq!(other.ends(), Some(0));
    speaker.ends();
}

#[test]
fn what_cannot_be_done_is_refused_and_nothing_is_sent() {
    let speaker = Speaker::new(&[]);
    let world = &speaker.world;
    let message = world.message("something to reply to").to_string();
    fs::write(world.path("work/large.txt"), "x".repeat(1 << 20)).unwrap();
    fs::write(world.path("work/odd.txt"), [0xff, 0xfe]).unwrap();
    let before = newest(world)["id"].clone();
    let long = "x".repeat(501);
    let cases: [(&[&str], i32, &str); 16] = [
        (&["reply", "999", "hello"], 1, "not_found"),
        (&["reply", "x", "hello"], 2, "usage"),
        (&["reply", &message, ""], 2, "empty_text"),
        (&["reply", &message], 2, "empty_text"),
        (&["reply", &message, "hello", "--attach", "none.txt"], 1, "bad_file"),
        (&["reply", &message, "hello", "--attach", "/dev/zero"], 1, "bad_file"),
        (&["reply", &message, "--file", "none.txt"], 2, "bad_file"),
        (&["reply", &message, "--file", "odd.txt"], 2, "bad_file"),
        (&["message", "b1", "--file", "large.txt"], 1, "too_large"),
        (&["message", "", "hello"], 1, "invalid"),
        (&["message", "b1", "hello", "--payload", "{"], 2, "configuration"),
        (&["react", "999", "x"], 1, "not_found"),
        (&["react", &message, ""], 1, "invalid"),
        (&["read", "999"], 1, "not_found"),
        (&["send-claimable", "b1", "hello", "--title", &long], 1, "invalid"),
        (&["tags", &long], 1, "invalid"),
    ];
    for (arguments, exit, code) in cases {
        speaker.is_refused(arguments, exit, code);
    }
    assert_eq!(newest(world)["id"], before);
    let words = speaker.says(&["reply", "999", "hello"]);
    assert!(words.err.contains("there is no message 999"), "{words:?}");

    // Nor do others' words do anything; from outside, the agent must be named when it is not the only one.
    assert_eq!(world.ask(&["whoami", "--agent", "a1"]).code, Some(0));
    let none = world.ask(&["whoami", "--agent", "b1", "--json"]);
    assert_eq!((none.code, none.error_code().as_str()), (Some(1), "not_running"));
    // Whoever is inside of a provider whose runner is gone does not speak for another agent that is here.
    let gone = text(&world.path("work"));
    for verb in [&["whoami"][..], &["message", "b1", "hello"], &["disconnect"], &["read", &message]] {
        let said = world.ask_with(&[verb, &["--json"]].concat(), &[("AGENT_RELAY_RUNNER_DIR", &gone)]);
        assert_eq!((said.code, said.error_code().as_str()), (Some(1), "not_running"), "{verb:?}: {said:?}");
    }
    speaker.ends();
}

#[test]
fn a_relay_that_is_away_and_a_runner_that_is_dead_are_said() {
    let verbs: [&[&str]; 10] = [
        &["reply", "1", "hello"],
        &["react", "1", "x"],
        &["read", "1"],
        &["message", "b1", "hello"],
        &["send-claimable", "b1", "hello"],
        &["label", "x"],
        &["label"],
        &["tags", "x"],
        &["whoami"],
        &["pair", "b1"],
    ];
    let mut speaker = Speaker::new(&[]);
    speaker.world.relay_is_killed();
    for verb in verbs {
        speaker.is_refused(verb, 69, "relay_unreachable");
    }
    speaker.world.relay_comes_back();
    eventually("the agent is reached again", || (speaker.says(&["whoami"]).code == Some(0)).then_some(()));
    let Speaker { world, runner, folder } = speaker;
    signal(runner.pid(), "KILL");
    assert_eq!(runner.ends(), None);
    for verb in verbs.into_iter().chain([&["disconnect"][..]]) {
        let said = world.ask_with(&[verb, &["--json"]].concat(), &[("AGENT_RELAY_RUNNER_DIR", &folder)]);
        assert_eq!((said.code, said.error_code().as_str()), (Some(1), "runner_dead"), "{verb:?}: {said:?}");
    }
}

#[test]
fn what_is_asked_again_after_a_lost_answer_is_sent_once() {
    let world = World::new();
    let proxy = Proxy::to(world.url());
    fs::write(world.path("work/verbs"), "").unwrap();
    let runner = world.agent(&doing(), &["--relay", &proxy.url()]);
    let folder = world.notes("folder", 1)[0].clone();
    let before = world.get("/messages/cursor")["cursor"].as_u64().unwrap();
    proxy.faults("POST /api/messages ", Fault::AnswerLost);
    let said = world.ask_with(&["message", "b1", "once", "--json"], &[("AGENT_RELAY_RUNNER_DIR", &folder)]);
    assert_eq!((said.code, said.error_code().as_str()), (Some(69), "relay_unreachable"), "{said:?}");
    let tries = proxy.requests("POST /api/messages ");
    assert!(tries.len() >= 3, "it was tried again: {tries:?}");
    let keys: std::collections::BTreeSet<_> = tries.iter().map(|request| request.header("Idempotency-Key")).collect();
    assert_eq!(keys.len(), 1, "under one key: {keys:?}");
    assert_eq!(world.get("/messages/cursor")["cursor"].as_u64().unwrap(), before + 1);
    proxy.recovers();
    assert_eq!(world.ask(&["stop", "a1"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
}

#[test]
fn an_agent_that_disconnects_learns_so_and_its_runner_ends() {
    let speaker = Speaker::new(&[]);
    let world = &speaker.world;
    fs::write(world.path("work/verbs"), "relay_runner disconnect --reason \"all done\"\necho \"exit $?\"\n").unwrap();
    world.message("you may go");
    assert_eq!(world.notes("said", 2), ["disconnecting: the runner ends this agent and leaves the relay", "exit 0"]);
    assert_eq!(speaker.runner.ends(), Some(0), "{}", world.log());
    assert!(world.agents().is_empty());
    world.replays_exactly(1);
    let gone = world.ask_with(&["disconnect", "--json"], &[("AGENT_RELAY_RUNNER_DIR", &speaker.folder)]);
    assert_eq!((gone.code, gone.error_code().as_str()), (Some(1), "not_running"), "{gone:?}");
}

#[test]
fn the_routes_of_the_verbs_refuse_strangers() {
    let speaker = Speaker::new(&[]);
    let info = fs::read_to_string(PathBuf::from(&speaker.folder).join("runner.json")).unwrap();
    let info: Value = serde_json::from_str(&info).unwrap();
    let port = info["controlUrl"].as_str().unwrap().strip_prefix("http://").unwrap();
    let secret = format!("Authorization: Bearer {}", info["secret"].as_str().unwrap());
    for path in ["/relay/whoami", "/relay/disconnect", "/monitor/ack"] {
        let status = |headers: &[&str]| Call { method: "POST", path, headers, body: "{}" }.to(port).0;
        assert_eq!(status(&[]), 401, "{path}");
        assert_eq!(status(&[&secret, "Origin: http://localhost"]), 403, "{path}");
        assert_eq!(status(&[&secret, "Host: relay.example"]), 403, "{path}");
    }
    assert_eq!(speaker.says(&["whoami"]).code, Some(0));
    speaker.ends();
}
