//! Bad input: said before anything starts, with its source, what is wrong, and what to do.

use super::world::{PATIENT, Said, World, eventually, text};

#[track_caller]
fn refused(said: &Said, exit: i32, code: &str) {
    assert_eq!((said.code, said.error_code().as_str()), (Some(exit), code), "{said:?}");
    assert!(!said.err.contains("panicked"), "{said:?}");
}

#[test]
fn wrong_command_lines_are_refused_with_2() {
    let world = World::without_relay();
    let agent = world.script("agent", PATIENT);
    let not_executable = text(&world.path("file"));
    std::fs::write(&not_executable, "text").unwrap();
    let cases: [(&[&str], &str); 30] = [
        (&["run", "gemini"], "unknown_provider"),
        (&["run", "acp"], "provider_not_there_yet"),
        (&["run", "claude", "--claude", "/not/there"], "command_not_found"),
        (&["run", "codex", "--codex", "/no/such/codex"], "command_not_found"),
        (&["run", "codex", "--codex", "sh", "--interactive"], "configuration"),
        (&["run", "codex", "--codex", "sh", "--model", ""], "configuration"),
        (&["run", "acp"], "provider_not_there_yet"),
        (&["run"], "usage"),
        (&["dance"], "usage"),
        (&["run", "command", "--no-such-flag", "--", &agent], "usage"),
        (&["run", "command", "--token", "s3cret", "--", &agent], "usage"),
        (&["run", "command", "--headless", "--interactive", "--", &agent], "usage"),
        (&["run", "command"], "no_command"),
        (&["run", "command", "--", ""], "no_command"),
        (&["run", "command", "--", "no-such-program-anywhere"], "command_not_found"),
        (&["run", "command", "--", "./no-such-file"], "command_not_found"),
        (&["run", "command", "--", &not_executable], "command_not_executable"),
        (&["run", "command", "--relay", "not a url", "--", &agent], "configuration"),
        (&["run", "command", "--cwd", "/no/such/folder", "--", &agent], "configuration"),
        (&["run", "command", "--approval", "maybe", "--", &agent], "configuration"),
        (&["run", "command", "--drain-timeout", "soon", "--", &agent], "configuration"),
        (&["run", "command", "--token-file", "/no/such/file", "--", &agent], "configuration"),
        (&["run", "command", "--bodies", "some", "--", &agent], "configuration"),
        (&["run", "command", "--approval-timeout", "soon", "--", &agent], "configuration"),
        (&["relay", "--token-lifetime", "0"], "configuration"),
        (&["relay", "--calls-per-second", "many"], "configuration"),
        (&["relay", "--keep-for", "500ms"], "configuration"),
        (&["relay", "--keep-artifacts", "-1"], "usage"),
        (&["send", "a1", " "], "empty_text"),
        (&["replay", "/no/such/journal"], "journal_unreadable"),
    ];
    for (arguments, code) in cases {
        let mut with_json = vec![arguments[0], "--json"];
        with_json.extend_from_slice(&arguments[1..]);
        // What is behind -- is not ours, so the flag goes before.
        refused(&world.ask(&with_json), 2, code);
        let said = world.ask(arguments);
        assert!(said.code == Some(2) && said.out.is_empty(), "{arguments:?}: {said:?}");
    }
    let said = world.ask(&["run", "command", "--relay", "http://me:s3cret@x", "--", &agent]);
    assert!(said.code == Some(2) && !said.err.contains("s3cret"), "{said:?}");
    assert!(!world.path("state").exists(), "nothing was started");
}

#[test]
fn a_variable_is_named_when_its_value_is_wrong_and_the_command_line_wins() {
    let world = World::without_relay();
    let agent = world.script("agent", PATIENT);
    let cases = [
        ("AGENT_RELAY_URL", "ftp://x"),
        ("AGENT_RELAY_APPROVAL", "maybe"),
        ("AGENT_RELAY_CWD", "/no/such/folder"),
        ("AGENT_RELAY_DRAIN_TIMEOUT", "soon"),
        ("AGENT_RELAY_SHUTDOWN_TIMEOUT", "-1s"),
        ("AGENT_RELAY_APPROVAL_TIMEOUT", "soon"),
        ("AGENT_RELAY_FAIL_FAST", "perhaps"),
        ("AGENT_RELAY_DELIVER", "never"),
        ("AGENT_RELAY_BODIES", "some"),
        ("AGENT_RELAY_LISTEN", "perhaps"),
        ("AGENT_RELAY_ID", "two words"),
        ("AGENT_RELAY_TOKEN_FILE", "/no/such/file"),
    ];
    for (name, value) in cases {
        let said = world.ask_with(&["run", "command", "--", &agent], &[(name, value)]);
        assert_eq!(said.code, Some(2), "{name}: {said:?}");
        assert!(said.err.contains(name), "{name}: {said:?}");
    }
    let variables = [("AGENT_RELAY_APPROVAL", "maybe")];
    let said =
        world.ask_with(&["run", "command", "--approval", "open", "--cwd", "/no/such/folder", "--", &agent], &variables);
    assert!(said.err.contains("--cwd"), "the variable is not looked at: {said:?}");
}

#[test]
fn a_relay_lets_nobody_call_more_often_than_it_was_told() {
    let world = World::with_relay(&[("AGENT_RELAY_RELAY_CALLS_PER_SECOND", "1")]);
    let refused = (0..100).map(|_| world.call("GET", "/agents", "").0).find(|status| *status != 200);
    assert_eq!(refused, Some(429));
}

#[test]
fn a_relay_that_is_not_there_is_said() {
    let world = World::without_relay();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    for verb in [&["agents"][..], &["send", "a1", "hello"], &["read", "1"], &["status", "a1"], &["stop", "a1"]] {
        let mut arguments = verb.to_vec();
        arguments.extend_from_slice(&["--relay", &url, "--json"]);
        refused(&world.ask(&arguments), 69, "relay_unreachable");
    }
    refused(&world.ask(&["status", "--json"]), 1, "not_running");
}

#[test]
fn a_relay_refuses_what_would_be_unsafe_or_taken() {
    let world = World::new();
    refused(&world.ask(&["relay", "--listen", "0.0.0.0:0", "--db", ":memory:", "--json"]), 2, "token_needed");
    refused(&world.ask(&["relay", "--listen", "nowhere", "--json"]), 2, "configuration");
    let taken = world.url().strip_prefix("http://").unwrap().to_owned();
    refused(&world.ask(&["relay", "--listen", &taken, "--db", ":memory:", "--json"]), 1, "port_in_use");
    let db = text(&world.path("relay.db"));
    refused(&world.ask(&["relay", "--listen", "127.0.0.1:0", "--db", &db, "--json"]), 1, "database_in_use");
    refused(&world.ask(&["read", "999", "--json"]), 1, "not_found");
    refused(&world.ask(&["status", "nobody", "--json"]), 1, "not_running");
}

#[test]
fn a_wrong_token_is_77_and_never_shown() {
    let world = World::without_relay();
    std::fs::write(world.path("token"), "right-token\n").unwrap();
    let file = text(&world.path("token"));
    let mut relay =
        world.start(&["relay", "--listen", "127.0.0.1:0", "--db", ":memory:", "--token-file", &file, "--json"], &[]);
    let said: serde_json::Value = serde_json::from_str(&relay.line()).unwrap();
    let url = said["url"].as_str().unwrap();
    let agent = world.script("agent", PATIENT);
    assert_eq!(world.ask(&["agents", "--relay", url, "--token-file", &file]).code, Some(0));
    let wrong = [("AGENT_RELAY_TOKEN", "wrong-token")];
    refused(&world.ask_with(&["agents", "--relay", url, "--json"], &wrong), 77, "credential_refused");
    let said = world.ask_with(&["run", "command", "--agent-id", "a1", "--relay", url, "--json", "--", &agent], &wrong);
    refused(&said, 77, "credential_refused");
    assert!(!said.err.contains("wrong-token"), "{said:?}");
    let journal = std::fs::read_to_string(world.state().join("journal/000001.jsonl")).unwrap();
    assert!(!journal.contains("wrong-token"));
}

/// Its message is held, and without a word it would be waited for in vain.
#[test]
fn whoever_waits_for_an_agent_that_is_parked_is_told_so() {
    let world = World::new();
    let codex = world.script("codex", "echo \"error: unrecognized subcommand 'app-server'\" >&2\nexit 2\n");
    let runner = world.start(&["run", "codex", "--agent-id", "a1", "--codex", &codex], &[]);
    eventually("it is parked", || (world.ask(&["ps", "--json"]).json()[0]["state"] == "parked").then_some(()));
    let said = world.ask(&["send", "a1", "work", "--task", "--wait", "--timeout", "5s"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let parked = "a1 is parked: this codex has no app-server that listens on a socket";
    assert!(said.err.contains(parked) && said.err.contains("`relay-runner restart a1` tries again"), "{}", said.err);
    assert_eq!(world.ask(&["stop", "a1"]).code, Some(0), "{}", world.log());
    assert_eq!(runner.ends(), Some(0), "{}", world.log());
}
