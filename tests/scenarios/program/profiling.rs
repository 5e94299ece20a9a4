//! Agent profiles, with the real program: where they are found, what they change, and what a provider would get of them.

use super::world::{PATIENT, Process, World, text};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

fn write(world: &World, name: &str, text: &str) -> PathBuf {
    let folder = world.path(".config/relay-runner/profiles");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn legacy(world: &World, profiles: &Value) {
    let folder = world.path(".config/agent-relay");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("profiles.json"), profiles.to_string()).unwrap();
}

const KNOWS: &str = r#"env | sort > environment
[ -n "$AGENT_RELAY_INSTRUCTIONS_FILE" ] && cat "$AGENT_RELAY_INSTRUCTIONS_FILE" > instructions"#;

fn agent(world: &World, more: &[&str]) -> Process {
    world.agent(&format!("{KNOWS}\n{PATIENT}"), more)
}

fn over(world: &World, runner: Process) {
    assert_eq!(world.ask(&["stop", "a1"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
}

const REVIEWER: &str = r#"{
    "name": "reviewer", "base": "careful", "label": "r", "tags": ["review"], "capabilities": ["read"],
    "instructions": {"append": ["Be brief."], "globalInstructions": false},
    "relay": {"context": false},
    "mcp": {"servers": {"a": {"command": "a", "env": {"KEY": "hush"}}}}
}"#;

const CAREFUL: &str = r#"
name = "careful"
approval = "guarded"
[instructions]
system = "Ask first."
"#;

fn with_reviewer() -> World {
    let world = World::new();
    write(&world, "reviewer.json", REVIEWER);
    write(&world, "careful.toml", CAREFUL);
    world
}

#[test]
fn a_profile_changes_what_is_registered_what_is_heard_and_what_the_provider_finds() {
    let world = with_reviewer();
    fs::write(world.path(".config/relay-runner/config.toml"), "[environment.set]\nCONFIGURED = \"1\"\n").unwrap();
    let runner = agent(&world, &["--profile", "reviewer"]);
    let registered = world.get("/agents/a1");
    assert_eq!(registered["label"], "r");
    assert_eq!(registered["tags"], json!(["command", "review", "headless"]));
    assert_eq!(registered["capabilities"], json!(["read"]));
    let meta = &registered["meta"];
    assert_eq!((&meta["profile"], &meta["approvalMode"]), (&json!("reviewer"), &json!("guarded")));
    let applied = &meta["agentProfile"];
    assert_eq!(
        (&applied["name"], &applied["base"], &applied["provider"]),
        (&json!("reviewer"), &json!("careful"), &json!("any"))
    );
    assert_eq!((&applied["relay"]["context"], &applied["relay"]["monitor"]), (&json!(false), &json!(true)));
    assert_eq!(
        (&applied["instructions"]["appendCount"], &applied["instructions"]["hasSystem"]),
        (&json!(1), &json!(true))
    );
    assert!(applied["projection"].as_array().is_some_and(|all| all.len() == 14));
    assert!(!registered.to_string().contains("hush"));

    // Without the relay's context it hears nothing that is said to everybody, and is told nothing of the relay.
    world.go();
    for to in ["broadcast", "tag:review", "cap:read"] {
        let said = world.ask(&["send", to, "to all", "--json"]);
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    let message = world.message("to it alone");
    world.is_settled(message);
    assert_eq!(world.heard(), [message]);
    assert_eq!(fs::read_to_string(world.path("work/instructions")).unwrap(), "Ask first.\n\nBe brief.\n");

    // The host's globals are off: a home of the profile's, and no configured variable.
    let environment = fs::read_to_string(world.path("work/environment")).unwrap();
    assert!(!environment.contains("CONFIGURED"), "{environment}");
    let home = world.state().join("profile-home/command");
    assert!(environment.contains(&format!("AGENT_RELAY_PROFILE_HOME={}\n", text(&home))), "{environment}");
    assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
    let profile: Value = serde_json::from_slice(&fs::read(home.join("profile.json")).unwrap()).unwrap();
    assert_eq!(profile["approval"], "guarded", "with its base taken in");
    over(&world, runner);
    let journal = fs::read_to_string(world.state().join("journal/000001.jsonl")).unwrap();
    assert!(!journal.contains("hush") && !world.log().contains("hush"));
    world.replays_exactly(1);

    // The profile changes: the home is another one at the next start.
    write(&world, "reviewer.json", &REVIEWER.replace("Be brief.", "Be kind."));
    let runner = agent(&world, &["--profile", "reviewer"]);
    assert!(fs::read_to_string(home.join("INSTRUCTIONS.md")).unwrap().contains("Be kind."));
    over(&world, runner);
}

#[test]
fn without_a_profile_an_agent_is_told_about_the_relay() {
    let world = World::new();
    let runner = agent(&world, &["--label", "x"]);
    let told = fs::read_to_string(world.path("work/instructions")).unwrap();
    assert!(
        told.contains("You are the agent a1, label:x on a relay") && told.contains("relay-runner reply ID"),
        "{told}"
    );
    let environment = fs::read_to_string(world.path("work/environment")).unwrap();
    let file = environment.lines().find_map(|line| line.strip_prefix("AGENT_RELAY_INSTRUCTIONS_FILE=")).unwrap();
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!environment.contains("PROFILE_HOME"));
    assert_eq!(world.get("/agents/a1")["meta"]["agentProfile"], Value::Null);
    over(&world, runner);
}

#[test]
fn the_older_profiles_file_has_its_effect_on_the_registration() {
    let world = World::new();
    legacy(
        &world,
        &json!({"old": {"label": "o", "tags": ["t1", "t2"], "capabilities": "c1, c2", "channels": ["general"], "approval": "read-only", "color": "red"}}),
    );
    let runner = agent(&world, &["--profile", "old", "--tag", "mine"]);
    let registered = world.get("/agents/a1");
    assert_eq!((&registered["label"], &registered["meta"]["profile"]), (&json!("o"), &json!("old")));
    assert_eq!(registered["tags"], json!(["command", "mine", "t1", "t2", "headless"]));
    assert_eq!(registered["capabilities"], json!(["c1", "c2"]));
    assert_eq!(registered["meta"]["approvalMode"], "read-only");
    let environment = fs::read_to_string(world.path("work/environment")).unwrap();
    assert!(environment.contains("AGENT_RELAY_CHANNELS=general\n"), "{environment}");
    over(&world, runner);

    // One that was named elsewhere, and one that is in both: the document wins where it says something.
    let other = world.path("others.json");
    fs::write(&other, json!({"profiles": {"mine": {"label": "older", "approval": "read-only"}}}).to_string()).unwrap();
    write(&world, "mine.json", r#"{"name": "mine", "label": "newer"}"#);
    let variables = [("AGENT_RELAY_PROFILES_FILE", text(&other)), ("AGENT_RELAY_PROFILE", "mine".to_owned())];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let shown = world.ask_with(&["config", "show", "--origin"], &variables).out;
    let line = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap();
    assert!(line("label = ").contains("\"newer\"") && line("label = ").contains("# profile mine"), "{shown}");
    assert!(line("approval = ").contains("\"read-only\""), "{shown}");
    let listed = world.ask_with(&["profile", "list", "--json"], &variables).json();
    assert_eq!(listed[0]["files"].as_array().unwrap().len(), 2, "{listed}");
}

#[test]
fn profiles_are_listed_checked_and_shown() {
    let world = with_reviewer();
    write(&world, "broken.json", r#"{"name": "broken", "tags": "x"}"#);
    legacy(&world, &json!({"old": {"label": "o"}}));
    let list = world.ask(&["profile", "list"]);
    assert_eq!(list.code, Some(0));
    let names: Vec<&str> = list.out.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(names, ["broken", "careful", "old", "reviewer"]);
    assert!(list.out.contains("broken  cannot be used: "), "{list:?}");

    let check = world.ask(&["profile", "check", "reviewer"]);
    assert_eq!((check.code, check.out.as_str()), (Some(0), "profile reviewer is in order, made from careful\n"));
    let shown = world.ask(&["profile", "show", "reviewer", "--for", "codex"]);
    assert_eq!(shown.code, Some(0));
    let row = shown.out.lines().find(|line| line.contains("instructions.append")).unwrap();
    assert!(row.contains("applied") && row.contains("AGENTS.md of CODEX_HOME"), "{shown:?}");
    let row = shown.out.lines().find(|line| line.contains("relay.monitor")).unwrap();
    assert!(row.contains("unsupported") && row.contains("it has no monitors"), "{shown:?}");

    // The home that claude would have, to look at.
    fs::create_dir_all(world.path(".claude")).unwrap();
    fs::write(world.path(".claude/.credentials.json"), "the credential").unwrap();
    let home = text(&world.path("home"));
    let shown = world.ask(&["profile", "show", "reviewer", "--for", "claude", "--home", &home, "--json"]);
    let shown = shown.json();
    assert_eq!((&shown["home"], &shown["profile"]["name"]), (&json!(home), &json!("reviewer")));
    let link = fs::read_link(world.path("home/.credentials.json")).unwrap();
    assert_eq!(link, world.path(".claude/.credentials.json"));
    assert_eq!(fs::read_to_string(world.path("home/CLAUDE.md")).unwrap(), "Be brief.\n");

    let schema = world.ask(&["profile", "schema"]).json();
    assert_eq!(schema["title"], "Agent profile");
}

#[test]
fn what_is_wrong_with_a_profile_is_told_with_its_place_before_anything_starts() {
    let world = with_reviewer();
    write(&world, "broken.json", r#"{"name": "broken", "relay": {"contxt": false}}"#);
    write(&world, "text.json", "{");
    write(&world, "text2.toml", "name = ");
    write(&world, "named.json", r#"{"name": "another"}"#);
    write(&world, "a.json", r#"{"name": "a", "base": "b"}"#);
    write(&world, "b.json", r#"{"name": "b", "base": "a"}"#);
    write(&world, "orphan.json", r#"{"name": "orphan", "base": "none"}"#);
    write(&world, "codex.json", r#"{"name": "codex", "provider": "codex"}"#);
    write(
        &world,
        "skilled.json",
        r#"{"name": "skilled", "instructions": {"globalInstructions": false}, "skills": [{"name": "s", "source": "none"}]}"#,
    );
    legacy(&world, &json!({"old": {"approval": "always"}, "older": 7}));
    for (name, code, words) in [
        ("broken", "profile", "relay.contxt: unknown field"),
        ("text", "profile", "text.json: it is not JSON"),
        ("text2", "profile", "text2.toml: it is not TOML"),
        ("named", "profile", "name: it says `another`"),
        ("a", "profile", "a -> b -> a leads back to itself"),
        ("orphan", "profile", "base: `none`: there is none"),
        ("codex", "profile", "it is for codex, and the run is of command"),
        ("skilled", "profile_home", "skills[0].source: there is no folder"),
        ("old", "profile", "old.approval: `always` is not known"),
        ("older", "profile", "older: a profile is an object"),
        ("none", "unknown_profile", "there is no profile `none`"),
        ("./no/such.json", "profile", "no/such.json: it cannot be read"),
    ] {
        let said = world.ask(&["run", "command", "--agent-id", "a1", "--profile", name, "--json", "--", "true"]);
        assert_eq!((said.code, said.error_code().as_str()), (Some(2), code), "{name}: {said:?}");
        assert!(said.err.contains(words), "{name}: {said:?}");
        if !["codex", "skilled"].contains(&name) {
            let check = world.ask(&["profile", "check", name, "--json"]);
            assert_eq!((check.code, check.error_code().as_str()), (Some(2), code), "{name}: {check:?}");
            let show = world.ask(&["profile", "show", name, "--for", "codex", "--json"]);
            assert_eq!((show.code, show.error_code().as_str()), (Some(2), code), "{name}: {show:?}");
        }
    }
    let wrong = world.ask(&["profile", "show", "codex", "--for", "claude", "--json"]);
    assert_eq!((wrong.code, wrong.error_code().as_str()), (Some(2), "profile"), "{wrong:?}");
    let unknown = world.ask(&["profile", "show", "codex", "--for", "gemini", "--json"]);
    assert_eq!((unknown.code, unknown.error_code().as_str()), (Some(2), "unknown_provider"), "{unknown:?}");
    assert!(world.agents().is_empty());
}
