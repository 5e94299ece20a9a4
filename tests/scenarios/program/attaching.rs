//! Attachments, from a sender through the relay into the agent's hands.

use super::calling::Call;
use super::proxy::Proxy;
use super::world::{World, eventually, signal, text};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Copies each file that a message names into `notes`, and works on the message until the file `go` is there.
const READER: &str = r#"
while IFS= read -r line; do
    case $line in
    *'"type":"message"'*)
        id=${line%%,\"nonce\":*}
        id=${id##*\"id\":}
        printf '%s\n' "$line" >> heard
        echo "{\"type\":\"taken\",\"ids\":[$id]}"
        echo "{\"type\":\"busy\",\"turn\":\"m$id\"}"
        printf '%s\n' "$line" | grep -o '"path":"[^"]*"' | while IFS= read -r path; do
            path=${path#\"path\":\"}
            cat "${path%\"}" >> notes
        done
        while [ ! -e go ]; do sleep 0.02; done
        echo "{\"type\":\"idle\",\"turn\":\"m$id\"}"
        ;;
    *'"type":"shutdown"'*)
        exit 0
        ;;
    esac
done
"#;

/// Uploads a file; what a message names it by.
fn upload(world: &World, name: &str, content: &str) -> Value {
    let path = &format!("/api/artifacts?name={name}");
    let headers = &["Content-Type: text/plain"];
    let call = Call { method: "POST", path, headers, body: content };
    let (status, artifact) = call.to(world.url().strip_prefix("http://").unwrap());
    assert_eq!(status, 201, "{artifact}");
    artifact
}

fn send(world: &World, attachments: &[&Value]) -> u64 {
    let body = json!({"from": "operator", "to": "a1", "body": "look at these", "attachments": attachments});
    let (status, message) = world.call("POST", "/messages", &body.to_string());
    assert!((200..300).contains(&status), "{message}");
    message["id"].as_u64().unwrap()
}

/// The relay keeps what it knows of the artifact, and loses its file.
fn is_lost(world: &World, artifact: &Value) {
    fs::remove_file(world.path("relay.db.artifacts").join(artifact["sha256"].as_str().unwrap())).unwrap();
}

/// The n-th message that the agent was told.
fn told(world: &World, n: usize) -> Value {
    serde_json::from_str(&world.notes("heard", n + 1)[n]).unwrap()
}

#[test]
fn an_agent_reads_what_is_attached_and_is_told_what_cannot_be_had() {
    let world = World::new();
    let runner = world.agent(READER, &[]);
    let [here, lost] = ["here.txt", "lost.txt"].map(|name| upload(&world, name, &format!("the words of {name}\n")));
    is_lost(&world, &lost);
    world.go();
    let message = send(&world, &[&here, &lost]);
    world.is_settled(message);
    assert_eq!(world.noted("notes"), ["the words of here.txt"]);

    let told = told(&world, 0);
    let path = told["attachments"][0]["path"].as_str().unwrap();
    let folder = world.state().join("attachments").join(here["sha256"].as_str().unwrap());
    assert_eq!(Path::new(path), folder.join("here.txt"));
    assert_eq!(told["attachments"][1]["missing"], "the relay does not have it");
    let text = told["text"].as_str().unwrap();
    assert!(text.contains(&format!("Attachment here.txt: {path}\n")), "{text}");
    assert!(text.contains("Attachment lost.txt could not be had: the relay does not have it\n"), "{text}");
    // Whoever was only shown the beginning of it finds the file all the same.
    let read = world.ask(&["read", &message.to_string(), "--agent", "a1"]).out;
    assert!(read.contains(&format!(", at {path}\n")), "{read}");
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    world.replays_exactly(1);
    no_journal_holds(&world, &["here.txt", "lost.txt", "the words"]);
}

#[test]
fn what_was_fetched_once_is_at_hand_for_the_next_run() {
    let world = World::new();
    let runner = world.agent(READER, &[]);
    let file = upload(&world, "file.txt", "read twice\n");
    let message = send(&world, &[&file]);
    assert_eq!(world.notes("notes", 1), ["read twice"]);
    signal(runner.pid(), "KILL");
    assert_eq!(runner.ends(), None);

    // What is not there any more cannot be fetched again.
    is_lost(&world, &file);
    let runner = world.agent(READER, &[]);
    assert_eq!(world.notes("notes", 2), ["read twice"; 2]);
    world.go();
    world.is_settled(message);
    assert_eq!(world.heard(), [message; 2]);
    assert_eq!(told(&world, 1)["attachments"], told(&world, 0)["attachments"]);
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    world.replays_exactly(2);
}

#[test]
fn a_relay_that_is_away_stops_no_message() {
    let mut world = World::new();
    let runner = world.agent(READER, &[]);
    let file = upload(&world, "file.txt", "for later\n");
    let (first, _) = (world.message("keeps it at work"), world.notes("heard", 1));
    let message = send(&world, &[&file]);
    eventually("the second message is held", || world.stages(message).first().map(|_| ()));
    world.relay_is_killed();
    world.go();
    let told = told(&world, 1);
    assert_eq!(told["id"], message);
    let why = told["attachments"][0]["missing"].as_str().unwrap();
    assert!(why.contains("onnect"), "{why}");
    world.relay_comes_back();
    world.is_settled(first);
    world.is_settled(message);
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    world.replays_exactly(1);
}

#[test]
fn a_file_is_sent_with_a_message_and_with_a_task() {
    let world = World::new();
    let runner = world.agent(READER, &[]);
    world.go();
    fs::write(world.path("work/words.txt"), "the words of the file\n").unwrap();
    fs::write(world.path("work/more.bin"), "more\n").unwrap();
    let both = ["--attach", "words.txt", "--attach", "more.bin", "--json"];
    let sent = world.ask(&[&["send", "a1", "look at these"], &both[..]].concat()).json();
    let message = sent["messageId"].as_u64().unwrap();
    world.is_settled(message);
    assert_eq!(world.noted("notes"), ["the words of the file", "more"]);
    let attached = &told(&world, 0)["attachments"];
    let named = |n: usize| (attached[n]["name"].clone(), attached[n]["mediaType"].clone(), attached[n]["size"].clone());
    assert_eq!(named(0), (json!("words.txt"), json!("text/plain"), json!(22)));
    assert_eq!(named(1), (json!("more.bin"), json!("application/octet-stream"), json!(5)));
    let sent = world.ask(&["send", "a1", "work on it", "--task", "--attach", "words.txt", "--json"]).json();
    world.task_is(sent["taskId"].as_u64().unwrap(), "done");
    assert_eq!(world.noted("notes")[2..], ["the words of the file"]);

    // What cannot be sent stops the message before anything goes.
    let before = world.get("/messages/cursor");
    for (file, code) in [("none.txt", "bad_file"), (".", "bad_file"), ("/dev/zero", "bad_file")] {
        let refused = world.ask(&["send", "a1", "words", "--attach", "words.txt", "--attach", file, "--json"]);
        assert_eq!((refused.code, refused.error_code().as_str()), (Some(2), code), "{file}: {refused:?}");
    }
    let large = fs::File::create(world.path("work/large")).unwrap();
    large.set_len((64 << 20) + 1).unwrap();
    let refused = world.ask(&["send", "a1", "words", "--attach", "large", "--json"]);
    assert_eq!(refused.error_code(), "file_too_large", "{refused:?}");
    assert_eq!(world.get("/messages/cursor")["cursor"], before["cursor"]);
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    world.replays_exactly(1);
}

#[test]
fn a_download_that_a_killed_runner_left_goes_on_where_it_was() {
    let world = World::new();
    let proxy = Proxy::to(world.url());
    let content = format!("{}\n", "0123456789".repeat(10));
    let file = upload(&world, "file.txt", &content);
    let sha256 = file["sha256"].as_str().unwrap();
    let incoming = world.state().join("attachments/incoming");
    fs::create_dir_all(&incoming).unwrap();
    fs::write(incoming.join(sha256), &content[..40]).unwrap();
    fs::write(incoming.join("of nothing known"), "x").unwrap();

    let runner = world.agent(READER, &["--relay", &proxy.url()]);
    world.go();
    let message = send(&world, &[&file]);
    world.is_settled(message);
    assert_eq!(world.noted("notes"), [content.trim_end()]);
    let asked = proxy.requests("/api/artifacts/");
    let ranges: Vec<_> = asked.iter().map(|request| request.header("Range")).collect();
    assert_eq!(ranges, [Some("bytes=40-")]);
    assert_eq!(fs::read_dir(&incoming).unwrap().count(), 0, "nothing is left on its way");
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    world.replays_exactly(1);
}

fn no_journal_holds(world: &World, words: &[&str]) {
    for segment in fs::read_dir(world.state().join("journal")).unwrap() {
        let path = segment.unwrap().path();
        let lines = fs::read_to_string(&path).unwrap();
        for word in words {
            assert!(!lines.contains(word), "{word} in {}", text(&path));
        }
    }
}
