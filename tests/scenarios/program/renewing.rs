//! The runtime token of a running agent, against a relay that wants one: renewed in time, replaced in its file, and
//! gone on with by the next run.

use super::calling::Call;
use super::world::{PATIENT, Process, Said, World, eventually, signal, text};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

/// The relay's own token.
const ROOT: &str = "the-root-token-of-this-test";
const AS_ROOT: [(&str, &str); 1] = [("AGENT_RELAY_TOKEN", ROOT)];

/// A token that the relay makes for an agent, as it hands it out.
fn token(world: &World, seconds: u64) -> Value {
    token_of(world, "provider-agent", seconds)
}

fn token_of(world: &World, profile: &str, seconds: u64) -> Value {
    let address = world.url().strip_prefix("http://").unwrap();
    let body = json!({"profileId": profile, "lifetimeSeconds": seconds}).to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /api/tokens/runtime HTTP/1.1\r\nHost: {address}\r\nX-Agent-Relay-Token: {ROOT}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 20"), "{answer}");
    serde_json::from_str(body).unwrap()
}

fn token_file(world: &World, token: &Value) -> PathBuf {
    let (path, new) = (world.path("token.txt"), world.path("token.new"));
    fs::write(&new, token.to_string()).unwrap();
    fs::rename(&new, &path).unwrap();
    path
}

fn runner(world: &World, file: &str) -> Process {
    world.runner(PATIENT, &["--token-file", file])
}

/// What the runner itself says of its credential.
fn credential(world: &World) -> Option<Value> {
    let said = world.ask(&["status", "a1", "--json"]);
    (said.code == Some(0)).then(|| said.json()["credential"].clone())
}

#[track_caller]
fn uses_another(world: &World, before: &Value) -> Value {
    eventually("another token is used", || {
        let now = credential(world)?;
        (now["jti"] != before["record"]["jti"] && now["state"] == "valid").then_some(now)
    })
}

pub(super) fn is_ready(world: &World) {
    eventually("the agent is ready on the relay", || {
        let said = world.ask_with(&["agents", "--json"], &AS_ROOT);
        let Value::Array(agents) = said.json() else { return None };
        agents.iter().any(|agent| agent["ready"] == true).then_some(())
    });
}

#[test]
fn a_token_is_renewed_in_time_and_the_next_run_goes_on_with_it() {
    let world = World::with_relay(&AS_ROOT);
    let given = token(&world, 6);
    let file = text(&token_file(&world, &given));
    let first = runner(&world, &file);
    is_ready(&world);
    let renewed = uses_another(&world, &given);
    world.go();
    let sent = world.ask_with(&["send", "a1", "hello", "--wait", "--timeout", "20s"], &AS_ROOT);
    assert_eq!(sent.code, Some(0), "{sent:?}");

    // The token that it was given has ended by now, as far as the relay is concerned.
    has_ended(&world, given["token"].as_str().unwrap());
    signal(first.pid(), "KILL");
    assert_eq!(first.ends(), None);
    let _second = runner(&world, &file);
    is_ready(&world);
    // On the relay it may still be the first one that is ready.
    let known = eventually("the second one answers", || credential(&world));
    assert_eq!(known["jti"], renewed["jti"]);

    // No token is in the journal, in the log, or in what the runner says of itself.
    let journal: String = fs::read_dir(world.state().join("journal"))
        .unwrap()
        .map(|entry| String::from_utf8_lossy(&fs::read(entry.unwrap().path()).unwrap()).into_owned())
        .collect();
    let kept: Value = serde_json::from_slice(&fs::read(world.state().join("token.json")).unwrap()).unwrap();
    for secret in [given["token"].as_str().unwrap(), kept["token"].as_str().unwrap()] {
        assert!(!journal.contains(secret), "in the journal");
        assert!(!world.log().contains(secret), "in the log");
        assert!(!world.ask(&["status", "a1", "--json"]).out.contains(secret), "in the status");
    }
}

#[test]
fn a_token_put_into_the_file_is_used_from_then_on() {
    let world = World::with_relay(&AS_ROOT);
    let given = token(&world, 3_600);
    let file = text(&token_file(&world, &given));
    let _runner = runner(&world, &file);
    is_ready(&world);
    let another = token(&world, 3_600);
    token_file(&world, &another);
    let used = uses_another(&world, &given);
    assert_eq!(used["jti"], another["record"]["jti"]);
    is_ready(&world);
}

#[test]
fn a_credential_that_the_relay_refuses_ends_with_77() {
    let world = World::with_relay(&AS_ROOT);
    let said = world
        .ask_with(&["run", "command", "--agent-id", "a1", "--", "cat"], &[("AGENT_RELAY_TOKEN", "not-the-right-one")]);
    assert_eq!(said.code, Some(77), "{said:?}");
    assert!(said.err.contains("refused the credential"), "{said:?}");
}

/// An agent that notes where its runner's control server is, under a token of this profile and life.
fn with_a_token(world: &World, profile: &str, seconds: u64) -> (Value, Process) {
    let given = token_of(world, profile, seconds);
    let file = text(&token_file(world, &given));
    let script = format!("echo \"$AGENT_RELAY_RUNNER_DIR\" >> folder\n{PATIENT}");
    let runner = world.runner(&script, &["--token-file", &file]);
    is_ready(world);
    (given, runner)
}

/// Hands another token in at the control server, as somebody would whose agent has run out of them.
fn hands_in(world: &World) -> Value {
    let another = token(world, 3_600);
    let socket = PathBuf::from(&world.notes("folder", 1)[0]).join("control.sock");
    let answer = Call::post("/token", &another.to_string()).to_socket(&socket);
    assert_eq!(answer, (200, json!({"ok": true})));
    another
}

fn is_shown_as(world: &World, state: &str) {
    eventually(&format!("the credential is {state}"), || (credential(world)?["state"] == state).then_some(()));
}

/// The relay takes this token no more.
fn has_ended(world: &World, token: &str) {
    eventually("the token has ended", || {
        (world.ask_with(&["agents"], &[("AGENT_RELAY_TOKEN", token)]).code != Some(0)).then_some(())
    });
}

#[test]
fn renewed_then_silent() {
    let world = World::with_relay(&AS_ROOT);
    // Of a profile whose tokens cannot be renewed.
    let (given, _runner) = with_a_token(&world, "provider-visitor", 4);
    has_ended(&world, given["token"].as_str().unwrap());
    world.go();
    let sender = world.start(&["send", "a1", "hello", "--wait", "--timeout", "20s"], &AS_ROOT);
    eventually("the credential is not taken any more", || {
        let state = credential(&world)?["state"].as_str()?.to_owned();
        ["refused", "expired"].contains(&state.as_str()).then_some(())
    });
    let another = hands_in(&world);
    // What was silent speaks again: what is worked is told, and the agent is seen.
    assert_eq!(sender.ends(), Some(0));
    is_shown_as(&world, "valid");
    assert_eq!(credential(&world).unwrap()["jti"], another["record"]["jti"]);
    is_ready(&world);
}

#[test]
fn slept_past_expiry() {
    let world = World::with_relay(&[AS_ROOT[0], ("AGENT_RELAY_RELAY_TOKEN_LIFETIME", "6s")]);
    let (given, runner) = with_a_token(&world, "provider-agent", 6);
    signal(runner.pid(), "STOP");
    // The newest one: it may have been renewed before it fell asleep.
    let kept = fs::read(world.state().join("token.json")).ok();
    let newest = kept.map_or(given, |text| serde_json::from_slice(&text).unwrap());
    has_ended(&world, newest["token"].as_str().unwrap());
    signal(runner.pid(), "CONT");
    is_shown_as(&world, "expired");
    let another = hands_in(&world);
    is_shown_as(&world, "valid");
    assert_eq!(credential(&world).unwrap()["jti"], another["record"]["jti"]);
    world.go();
    let sent = world.ask_with(&["send", "a1", "hello", "--wait", "--timeout", "20s"], &AS_ROOT);
    assert_eq!(sent.code, Some(0), "{sent:?}");
}

#[test]
fn a_token_for_an_agent_is_made_on_the_command_line() {
    let world = World::with_relay(&AS_ROOT);
    let made = world.ask_with(&["relay", "token", "--lifetime", "8h"], &AS_ROOT);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert_eq!(made.json()["record"]["profileId"], "provider-agent");
    let file = text(&token_file(&world, &made.json()));
    let _runner = runner(&world, &file);
    is_ready(&world);
    assert_eq!(credential(&world).unwrap()["jti"], made.json()["record"]["jti"]);
    // Only the relay's own token makes others, and no span that it would not keep.
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let refused = world.ask_with(&["relay", "token", "--profile", "provider-agent"], &[("AGENT_RELAY_TOKEN", &token)]);
    assert_eq!(refused.code, Some(77), "{refused:?}");
    let wrong = world.ask_with(&["relay", "token", "--lifetime", "soon"], &AS_ROOT);
    assert_eq!((wrong.code, wrong.err.contains("--lifetime on the command line")), (Some(2), true), "{wrong:?}");
}

/// A relay that wants a token.
pub(super) fn world() -> World {
    World::with_relay(&AS_ROOT)
}

/// The file of a token that ends in so many seconds.
pub(super) fn given(world: &World, seconds: u64) -> String {
    text(&token_file(world, &token(world, seconds)))
}

/// Another token than that of the file is in force.
pub(super) fn is_renewed(world: &World) {
    let given = serde_json::from_slice(&fs::read(world.path("token.txt")).unwrap()).unwrap();
    uses_another(world, &given);
    is_ready(world);
}

/// What the program says to somebody who has the relay's own token.
pub(super) fn as_root(world: &World, arguments: &[&str]) -> Said {
    world.ask_with(arguments, &AS_ROOT)
}
