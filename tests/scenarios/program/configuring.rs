//! The configuration file, with the real program: what it changes, how its faults are told, and HUP.

use super::world::{PATIENT, Process, World, eventually, is_alive, signal, text};
use serde_json::{Value, json};
use std::fs;

fn write(world: &World, text: &str) -> String {
    let folder = world.path(".config/relay-runner");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("config.toml");
    fs::write(&path, text).unwrap();
    super::world::text(&path)
}

fn over(world: &World, runner: Process) {
    assert_eq!(world.ask(&["stop", "a1"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    world.no_process_is_left();
}

const KNOWS: &str = "env | sort > environment\npwd > folder";

#[test]
fn a_run_is_given_what_the_file_says_and_later_wins() {
    let world = World::new();
    let script = world.script("agent", &format!("{KNOWS}\n{PATIENT}"));
    fs::create_dir(world.path("elsewhere")).unwrap();
    write(
        &world,
        &format!(
            r#"
            agent_id = "a1"
            label = "of-the-file"
            tags = ["filed"]
            caps = ["build"]
            model = "small"
            effort = "low"
            cwd = "{}"
            approval = "guarded"
            policy_name = "reviews"
            [environment]
            allow = ["LET_THROUGH"]
            export_token = false
            [environment.set]
            EDITOR = "secret-editor"
            [providers.command]
            command = ["{script}"]
            tags = ["kept"]
            caps = ["run"]
            [agents.a1]
            effort = "high"
            label = "of-a1"
            [agents.a2]
            label = "of-another"
            "#,
            text(&world.path("elsewhere"))
        ),
    );
    let variables = [
        ("AGENT_RELAY_LABEL", "of-the-variable"),
        ("AGENT_RELAY_TAGS", "varied"),
        ("LET_THROUGH", "yes"),
        ("KEPT_OUT", "no"),
    ];
    let runner = world.start(&["run", "command", "--label", "of-the-flag", "--tag", "flagged"], &variables);
    world.is_ready();
    let agent = world.get("/agents/a1");
    assert_eq!(agent["label"], "of-the-flag");
    assert_eq!(agent["tags"], json!(["command", "varied", "flagged", "filed", "kept", "headless"]));
    assert_eq!(agent["capabilities"], json!(["build", "run"]));
    let meta = &agent["meta"];
    let told = ["model", "effort", "approvalMode", "policyName"].map(|key| meta[key].as_str().unwrap());
    assert_eq!(told, ["small", "high", "guarded", "reviews"]);
    let at = |file: &str| fs::read_to_string(world.path("elsewhere").join(file)).unwrap();
    let environment = at("environment");
    for line in ["LET_THROUGH=yes", "EDITOR=secret-editor", "AGENT_RELAY_MODEL=small", "AGENT_RELAY_EFFORT=high"] {
        assert!(environment.lines().any(|known| known == line), "{line}: {environment}");
    }
    assert!(!environment.contains("KEPT_OUT"), "{environment}");
    assert!(at("folder").trim_end().ends_with("/elsewhere"));
    assert_eq!(world.ask(&["stop", "a1"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    world.replays_exactly(1);
}

/// Everything that can be wrong, each with the words that have to be told.
const FAULTS: [(&str, &str); 18] = [
    ("lable = \"x\"", "config.toml:1: `lable`: there is no such key or section; perhaps `label` is meant"),
    ("[timings]\ndrain = \"1s\"", "config.toml:1: `timings`"),
    (
        "\n[timing]\nheartbaet = \"1s\"",
        "config.toml:3: `timing.heartbaet`: [timing] has no such key; perhaps `timing.heartbeat`",
    ),
    ("tags = \"a,b\"", "config.toml:1: `tags`: it must be an array of strings, not a string"),
    ("label = 7", "config.toml:1: `label`: it must be a string, not an integer"),
    ("relay = \"ftp://x\"", "config.toml:1: `relay`"),
    ("relay = \"http://u:hush@x\"", "must not hold credentials"),
    ("token = \"hush\"", "config.toml:1: `token`: a token does not stand in the configuration"),
    ("[timing]\ndrain = 30", "`timing.drain`: it must be a span in quotes"),
    ("[timing]\ndrain = \"soon\"", "`timing.drain`: `soon` cannot be taken"),
    ("[timing]\nheartbeat = \"1ms\"", "`timing.heartbeat`: `1ms` cannot be taken: at least 1s"),
    ("[limits]\nheld = 0", "`limits.held`: `0` cannot be taken: at least 1"),
    ("[delivery]\ndeliver = \"fast\"", "`delivery.deliver`: `fast` cannot be taken: known are queue, steer, interrupt"),
    ("[providers.gemini]\ncommand = [\"x\"]", "`providers.gemini`"),
    ("[restart]\nexits = 50\nunit = \"10s\"", "config.toml:2: `restart.exits`"),
    ("[agents.\"a b\"]\nlabel = \"x\"", "`agents.\"a b\"`: an agent id has"),
    ("[agents.a1]\nagent_id = \"x\"", "`agents.a1.agent_id`"),
    ("label = \"x\nmode = ", "config.toml:1: this is not TOML"),
];

#[test]
fn a_fault_in_the_file_is_told_with_its_line_before_anything_starts() {
    let world = World::new();
    for (faulty, words) in FAULTS {
        write(&world, faulty);
        let check = world.ask(&["config", "check", "--json"]);
        assert_eq!((check.code, check.error_code().as_str()), (Some(2), "configuration"), "{faulty}: {check:?}");
        let error: Value = serde_json::from_str(check.err.lines().last().unwrap()).unwrap();
        let told = error["error"]["message"].as_str().unwrap();
        assert!(told.contains(words) && !told.contains("hush"), "{faulty}: {told}");
        let run = world.ask(&["run", "command", "--agent-id", "a1", "--", "true"]);
        assert_eq!(run.code, Some(2), "{faulty}: {run:?}");
        assert!(run.err.contains(words) && !run.err.contains("hush"), "{faulty}: {run:?}");
    }
    assert!(world.agents_of_a_sound_file().is_empty(), "nothing was started");
    assert!(!world.state().exists());
}

impl World {
    /// Without the broken file in the way.
    fn agents_of_a_sound_file(&self) -> Vec<Value> {
        write(self, "");
        self.agents()
    }
}

#[test]
fn check_tells_all_faults_at_once_and_says_what_it_found() {
    let world = World::without_relay();
    let broken = FAULTS.iter().filter(|(faulty, _)| faulty.contains("= ") && !faulty.contains('\n'));
    let text = broken.map(|(faulty, _)| *faulty).collect::<Vec<_>>().join("\n") + "\n";
    // The same key twice would be no TOML.
    let text = text.replacen("label = 7\n", "machine = 7\n", 1).replacen("relay = \"ftp://x\"\n", "", 1);
    write(&world, &text);
    let check = world.ask(&["config", "check"]);
    assert_eq!(check.code, Some(2), "{check:?}");
    assert_eq!(check.err.matches("config.toml:").count(), 5, "{check:?}");

    // Paths that lead nowhere are for this command to find: another agent's need not be on this machine for a run.
    let path = write(&world, "[agents.a9]\ncwd = \"/no/such/folder\"\ntoken_file = \"none.txt\"\nprofile = \"none\"\n");
    let check = world.ask(&["config", "check", &path]);
    assert_eq!(check.code, Some(2));
    for words in
        ["`agents.a9.cwd`: there is no folder /no/such/folder", "relay-runner/none.txt", "there is no profile `none`"]
    {
        assert!(check.err.contains(words), "{words}: {check:?}");
    }

    write(&world, "label = \"x\"\n[agents.a1]\ntags = [\"y\"]\n[agents.a1.timing]\ndrain = \"1s\"\n");
    let check = world.ask(&["config", "check"]);
    assert_eq!((check.code, check.err.as_str()), (Some(0), ""));
    assert!(check.out.ends_with("config.toml is in order: 3 keys are set; tables of a1\n"), "{check:?}");
    let check = world.ask(&["config", "check", "--json"]).json();
    assert_eq!((&check["exists"], &check["keys"], &check["agents"]), (&json!(true), &json!(3), &json!(["a1"])));

    let folder = world.ask(&["config", "check", &super::world::text(&world.path("work"))]);
    assert!(folder.code == Some(2) && folder.err.contains("it is a folder"), "{folder:?}");
    let nowhere = world.ask(&["config", "check", "/no/such/file.toml"]);
    assert_eq!(nowhere.code, Some(2));
    assert!(nowhere.err.contains("/no/such/file.toml"), "{nowhere:?}");
    let nowhere = world.ask_with(&["config", "show"], &[("AGENT_RELAY_CONFIG", "/no/such/file.toml")]);
    assert!(nowhere.code == Some(2) && nowhere.err.contains("AGENT_RELAY_CONFIG"), "{nowhere:?}");
}

#[test]
fn the_default_file_is_in_order_and_changes_nothing() {
    let world = World::without_relay();
    let before = world.ask(&["config", "show"]).out;
    let default = world.ask(&["config", "default"]);
    assert_eq!(default.code, Some(0));
    let path = write(&world, &default.out);
    assert_eq!(world.ask(&["config", "check"]).code, Some(0));
    assert_eq!(world.ask(&["config", "show"]).out, before);
    let shown = world.ask(&["config", "path", "--json"]).json();
    assert_eq!(shown, json!({"path": path, "exists": true}));
    assert_eq!(world.ask(&["config", "path"]).out, format!("{path}\n"));
    let other = world.ask_with(&["config", "path"], &[("XDG_CONFIG_HOME", "/x")]);
    assert_eq!(other.out, "/x/relay-runner/config.toml\n");
}

#[test]
fn show_says_what_is_in_force_and_from_where_and_hides_secrets() {
    let world = World::without_relay();
    let path = write(
        &world,
        "label = \"x\"\ntags = [\"filed\"]\n[timing]\ndrain = \"7s\"\n[environment.set]\nKEY = \"hush\"\n[agents.a1]\nlabel = \"y\"\n",
    );
    let variables = [("AGENT_RELAY_TOKEN", "hush"), ("AGENT_RELAY_TAGS", "varied"), ("AGENT_RELAY_URL", "http://r:1")];
    let show = |more: &[&str]| {
        let said = world.ask_with(&[&["config", "show"], more].concat(), &variables);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(!said.out.contains("hush"), "{said:?}");
        said.out
    };
    let all = show(&["--json", "--agent", "a1", "--deliver", "steer"]);
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!((&all["agent"], &all["file"]), (&json!("a1"), &json!(path)));
    let of = |key: &str| {
        let value = all["values"].as_array().unwrap().iter().find(|value| value["key"] == key).unwrap();
        (value["value"].clone(), value["sources"].clone())
    };
    let file = |line: u64| json!({"kind": "file", "file": path, "line": line});
    assert_eq!(of("label"), (json!("y"), json!([file(8)])));
    assert_eq!(of("timing.drain"), (json!("7s"), json!([file(4)])));
    let both = json!([{"kind": "variable", "name": "AGENT_RELAY_TAGS"}, file(2)]);
    assert_eq!(of("tags"), (json!(["varied", "filed"]), both));
    assert_eq!(of("delivery.deliver"), (json!("steer"), json!([{"kind": "flag", "name": "--deliver"}])));
    assert_eq!(of("limits.held"), (json!(1000), json!([{"kind": "built-in"}])));
    assert_eq!(of("environment.set"), (json!({"KEY": "(hidden)"}), json!([file(5)])));
    assert_eq!(of("model"), (Value::Null, json!([{"kind": "built-in"}])));
    assert_eq!(of("token"), (json!("(hidden)"), json!([{"kind": "variable", "name": "AGENT_RELAY_TOKEN"}])));

    let lines = show(&["--origin"]);
    let has = |words: &str| lines.lines().any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") == words);
    assert!(has(&format!("label = \"x\" # {path}:1")), "{lines}");
    assert!(has("limits.held = 1000 # built-in") && has("relay = \"http://r:1\" # AGENT_RELAY_URL"), "{lines}");
    assert!(show(&[]).contains("timing.drain = \"7s\"\n"));
}

/// What a runner's core decides with now.
fn log_has(world: &World, words: &str) {
    eventually(&format!("the log says `{words}`"), || world.log().contains(words).then_some(()));
}

#[test]
fn a_hangup_has_the_file_read_again() {
    let world = World::new();
    write(&world, "log = \"warn\"\n[delivery]\ndeliver = \"queue\"\n");
    let runner = world.agent(PATIENT, &[]);
    assert!(!world.log().contains("registered on the relay"), "{}", world.log());
    let (_, task) = world.task("over a hangup");
    world.notes("notes", 1);

    // What can take effect does; the rest is said to need a new start.
    let changed = "log = \"info\"\nlabel = \"new\"\n[delivery]\ndeliver = \"interrupt\"\n[timing]\nliveness = \"1s\"\ndrain = \"20s\"\n";
    let path = write(&world, changed);
    signal(runner.pid(), "HUP");
    log_has(&world, &format!("`label` was changed in {path}; it takes effect at the next start"));
    log_has(&world, "the configuration was read again");
    assert_eq!(world.agents()[0]["label"], Value::Null);

    // A broken one keeps what is in force, and says which line is wrong.
    write(&world, "log = \"error\"\n[delivery]\ndeliver = \"fast\"\n");
    signal(runner.pid(), "HUP");
    log_has(&world, &format!("{path}:3: `delivery.deliver`: `fast` cannot be taken"));
    log_has(&world, "all values stay as they were");
    fs::remove_file(&path).unwrap();
    signal(runner.pid(), "HUP");
    log_has(&world, &format!("the configuration {path} is gone"));

    // The interrupt that was read last is in force: an urgent message does not wait for the turn.
    let urgent = world.ask(&["send", "a1", "now", "--urgent", "--json"]).json()["messageId"].as_u64().unwrap();
    eventually("the turn is interrupted", || {
        let state = world.ask(&["status", "a1", "--json"]).json();
        let journal = fs::read_to_string(world.state().join("journal/000001.jsonl")).unwrap_or_default();
        (journal.contains("interrupt") && state["ready"] == true).then_some(())
    });
    world.go();
    world.task_is(task, "done");
    world.is_settled(urgent);
    assert_eq!(world.noted("pids").len(), 1, "the same process");
    assert!(is_alive(&runner.pid().to_string()));
    over(&world, runner);
    world.replays_exactly(1);
}

#[test]
fn a_hangup_without_a_file_leaves_a_headless_run_as_it_is() {
    let world = World::new();
    let runner = world.agent(PATIENT, &[]);
    let (_, task) = world.task("over a hangup");
    world.notes("notes", 1);
    signal(runner.pid(), "HUP");
    log_has(&world, "the configuration was read again");
    assert!(!world.log().contains("ERROR") && !world.log().contains("WARN"), "{}", world.log());
    world.go();
    world.task_is(task, "done");
    assert_eq!(world.noted("pids").len(), 1, "the same process");
    over(&world, runner);
    world.replays_exactly(1);
}

#[test]
fn the_file_names_the_relay_for_every_verb() {
    let world = World::new();
    let runner = world.agent(PATIENT, &[]);
    write(&world, &format!("relay = \"{}\"\n", world.url()));
    let listed = world.ask_with(&["agents", "--json"], &[("AGENT_RELAY_URL", "")]).json();
    assert_eq!(listed[0]["id"], "a1");
    over(&world, runner);
}
