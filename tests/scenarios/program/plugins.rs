//! `plugin`: what a provider's program is given to work with a runner, put where somebody says, and taken away again. And the
//! skills themselves: each command line that one shows does what it says.

use super::world::{PATIENT, PROGRAM, Process, Said, World, signal, text};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

const TAGS: &str = "skills/relay-tags/SKILL.md";
const RULES: &str = "rules/relay-runner.rules";

/// Without a runner, with a home of codex.
fn with_home() -> (World, PathBuf) {
    let world = World::without_relay();
    let home = world.path(".codex");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("config.toml"), "the user's").unwrap();
    (world, home)
}

fn plugin(world: &World, arguments: &[&str]) -> Said {
    world.ask(&[&["plugin"], arguments].concat())
}

/// What was done in the only home that was named.
#[track_caller]
fn done(said: &Said) -> Vec<(String, String)> {
    assert_eq!(said.code, Some(0), "{said:?}");
    let answer = said.json();
    let homes = answer["homes"].as_array().unwrap();
    assert_eq!((homes.len(), &answer["provider"]), (1, &json!("codex")), "{answer}");
    let word = |action: &Value, key: &str| action[key].as_str().unwrap().to_owned();
    let actions = homes[0]["actions"].as_array().unwrap();
    actions.iter().map(|action| (word(action, "what"), word(action, "path"))).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_plugin_is_put_there_once_and_taken_away_whole() {
    let (world, home) = with_home();
    let before = names(&home);
    let planned = done(&plugin(&world, &["install", "codex", "--user", "--dry-run", "--json"]));
    assert_eq!((planned.len(), names(&home)), (12, before.clone()), "nothing was written");
    assert_eq!(done(&plugin(&world, &["uninstall", "codex", "--user", "--json"])), []);
    let said = plugin(&world, &["install", "codex", "--user"]);
    assert!(said.code == Some(0) && said.out.contains("  write   skills/relay-reply/SKILL.md\n"), "{said:?}");
    let again = plugin(&world, &["install", "codex", "--user"]);
    assert_eq!(again.out, format!("{}: nothing to do\n", home.display()));
    let rules = fs::read_to_string(home.join(RULES)).unwrap();
    assert!(rules.contains(&format!("paths = [\"{PROGRAM}\"]")), "{rules}");
    let listed = plugin(&world, &["list", "--json"]).json();
    let expected = [json!("codex"), json!(home), json!("installed")];
    assert_eq!(["provider", "userHome", "userState"].map(|key| listed[0][key].clone()), expected);

    // Something of an older version, something that somebody changed, and something that is the user's own.
    let manifest = home.join(".relay-runner-plugin.json");
    let older = fs::read_to_string(&manifest).unwrap().replace("skills/relay-tags", "skills/relay-old");
    fs::write(&manifest, older).unwrap();
    fs::rename(home.join("skills/relay-tags"), home.join("skills/relay-old")).unwrap();
    fs::write(home.join(RULES), "mine").unwrap();
    fs::create_dir(home.join("skills/own")).unwrap();
    let pair = |what: &str, path: &str| (what.to_owned(), path.to_owned());
    let expected = [pair("write", TAGS), pair("keep", RULES), pair("remove", "skills/relay-old/SKILL.md")];
    let dry = plugin(&world, &["install", "codex", "--user", "--dry-run"]);
    assert!(dry.out.contains("nothing is written") && dry.out.contains("--force writes over it"), "{dry:?}");
    assert_eq!(done(&plugin(&world, &["install", "codex", "--user", "--json"])), expected);
    assert_eq!(fs::read_to_string(home.join(RULES)).unwrap(), "mine");
    let listed = plugin(&world, &["list"]).out;
    assert!(listed.contains("/.codex: in part, or of another version\n"), "{listed}");
    assert_eq!(done(&plugin(&world, &["uninstall", "codex", "--user", "--json"])).len(), 12);
    assert_eq!(
        (fs::read_to_string(home.join(RULES)).unwrap(), names(&home.join("skills"))),
        ("mine".into(), vec!["own".into()])
    );
    let forced = plugin(&world, &["uninstall", "codex", "--user", "--force", "--json"]);
    assert_eq!(done(&forced), [pair("remove", RULES)]);
    assert_eq!(names(&home), ["config.toml", "skills"]);
    fs::remove_dir(home.join("skills/own")).unwrap();
}

#[test]
fn claude_has_the_skills_in_a_home_and_the_rest_of_its_plugin_only_for_a_run() {
    let world = World::without_relay();
    let home = world.path(".claude");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("settings.json"), "{}").unwrap();
    let said = |arguments: &[&str]| plugin(&world, &[arguments, &["--user", "--json"]].concat()).json();
    let planned = said(&["install", "claude", "--dry-run"]);
    assert_eq!((planned["provider"].as_str(), names(&home).len()), (Some("claude"), 1), "{planned}");
    let actions = |said: &Value| said["homes"][0]["actions"].as_array().unwrap().clone();
    let done = said(&["install", "claude"]);
    assert_eq!(actions(&done), actions(&planned));
    assert!(
        actions(&done).iter().all(|action| action["path"].as_str().unwrap().starts_with("skills/relay-")),
        "{done}"
    );
    assert_eq!(names(&home), [".relay-runner-plugin.json", "settings.json", "skills"]);
    assert!(actions(&said(&["install", "claude"])).is_empty());
    let listed = plugin(&world, &["list", "claude", "--json"]).json();
    assert_eq!((&listed[0]["userState"], listed.as_array().unwrap().len()), (&json!("installed"), 1));
    assert_eq!(actions(&said(&["uninstall", "claude"])).len(), 11);
    assert_eq!(names(&home), ["settings.json"]);
    assert_eq!(plugin(&world, &["list", "--json"]).json()[1]["userState"], "not installed");
}

#[test]
fn nothing_is_put_anywhere_without_a_place_that_is_named_and_fits() {
    let (world, home) = with_home();
    let before = names(&home);
    let elsewhere = world.path("elsewhere");
    fs::create_dir_all(elsewhere.join("home")).unwrap();
    symlink(&elsewhere, elsewhere.join("home/skills")).unwrap();
    fs::create_dir(world.path("odd")).unwrap();
    fs::write(world.path("odd/.relay-runner-plugin.json"), "[").unwrap();
    let profiles = world.path(".config/relay-runner/profiles");
    fs::create_dir_all(&profiles).unwrap();
    fs::write(profiles.join("host.json"), r#"{"name": "host"}"#).unwrap();
    let without = r#"{"name": "without", "relay": {"skills": false}, "instructions": {"globalInstructions": false}}"#;
    fs::write(profiles.join("without.json"), without).unwrap();
    let isolated = r#"{"name": "isolated", "instructions": {"globalInstructions": false}}"#;
    fs::write(profiles.join("isolated.json"), isolated).unwrap();
    fs::write(profiles.join("claude.json"), r#"{"name": "claude", "provider": "claude"}"#).unwrap();
    let at = |name: &str| text(&world.path(name));
    let (linked, odd, none, file) = (at("elsewhere/home"), at("odd"), at("none"), at(".codex/config.toml"));
    for (arguments, code, words) in [
        (&["codex"][..], "plugin_place", "--user"),
        (&["codex", "--home", &none], "plugin_home", "there is no folder"),
        (&["codex", "--home", &file], "plugin_io", "it is not a folder"),
        (&["codex", "--home", &linked], "plugin_link", "skills is a link"),
        (&["codex", "--home", &odd], "plugin_manifest", "use --force"),
        (&["codex", "--profile", "none"], "unknown_profile", "there is no profile `none`"),
        (&["codex", "--profile", "host"], "plugin_profile", "use --user"),
        (&["codex", "--profile", "without"], "plugin_profile", "set relay.skills to true"),
        (&["codex", "--profile", "claude"], "profile", "it is for claude"),
        (&["claude", "--user"], "plugin_home", "there is no folder"),
        (&["claude", "--profile", "isolated"], "plugin_profile", "by themselves"),
        (&["acp", "--user"], "no_plugin", "only for codex and claude"),
        (&["gemini", "--user"], "unknown_provider", "`gemini`"),
        (&["codex", "--user", "--home", &none], "usage", "cannot be used with"),
        (&[], "usage", "PROVIDER"),
    ] {
        for verb in ["install", "uninstall"] {
            // Nothing of ours is behind the link: there is nothing to take away through it.
            if (verb, code) == ("uninstall", "plugin_link") {
                continue;
            }
            let said = plugin(&world, &[&[verb], arguments, &["--json"]].concat());
            assert_eq!((said.code, said.error_code().as_str()), (Some(2), code), "{verb} {arguments:?}: {said:?}");
            assert!(said.err.contains(words) && said.out.is_empty(), "{verb} {arguments:?}: {said:?}");
        }
    }
    assert_eq!((names(&home), names(&elsewhere)), (before, vec!["home".to_owned()]));
    // Root may write anywhere.
    if fs::metadata("/proc/self").is_ok_and(|is| std::os::unix::fs::MetadataExt::uid(&is) != 0) {
        fs::set_permissions(&home, fs::Permissions::from_mode(0o500)).unwrap();
        let said = plugin(&world, &["install", "codex", "--user", "--json"]);
        assert_eq!((said.code, said.error_code().as_str()), (Some(2), "plugin_io"), "{said:?}");
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn the_home_of_a_profile_has_the_plugin_by_itself_and_again_when_it_was_taken_away() {
    let (world, _) = with_home();
    let profiles = world.path(".config/relay-runner/profiles");
    fs::create_dir_all(&profiles).unwrap();
    fs::write(profiles.join("r.json"), r#"{"name": "r", "instructions": {"globalInstructions": false}}"#).unwrap();
    let nothing = plugin(&world, &["install", "codex", "--profile", "r"]);
    assert!(nothing.code == Some(0) && nothing.out.starts_with("nothing to do: no run of codex"), "{nothing:?}");
    // As a run makes it.
    let home = world.state().join("profile-home/codex");
    let shown = world.ask(&["profile", "show", "r", "--for", "codex", "--home", &text(&home)]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let row = shown.out.lines().find(|line| line.contains("relay.skills")).unwrap();
    assert!(row.contains("applied") && row.contains("skills/ and rules/ of CODEX_HOME"), "{row}");
    assert!(home.join(TAGS).is_file() && home.join(RULES).is_file());
    assert_eq!(done(&plugin(&world, &["install", "codex", "--profile", "r", "--json"])), []);
    assert_eq!(done(&plugin(&world, &["uninstall", "codex", "--profile", "r", "--json"])).len(), 12);
    assert!(!home.join("skills").exists() && home.join("config.toml").is_file());
    assert_eq!(done(&plugin(&world, &["install", "codex", "--profile", "r", "--json"])).len(), 12);
}

#[test]
fn a_run_of_codex_has_the_skills_in_a_folder_of_its_own_unless_its_home_has_them() {
    let world = World::new();
    let home = world.path(".codex");
    fs::create_dir(&home).unwrap();
    let profiles = world.path(".config/relay-runner/profiles");
    fs::create_dir_all(&profiles).unwrap();
    fs::write(profiles.join("without.json"), r#"{"name": "without", "relay": {"skills": false}}"#).unwrap();
    // It never listens: what is looked at lies there before.
    let codex = world.script("codex", "exec sleep 1000");
    let folder = world.state().join("run");
    let run = |more: &[&str], has_them: bool| {
        let runner = world.start(&[&["run", "codex", "--agent-id", "a1", "--codex", &codex], more].concat(), &[]);
        super::world::eventually("the runner is there", || folder.join("runner.json").exists().then_some(()));
        assert_eq!(folder.join("plugin").join(TAGS).is_file(), has_them, "{more:?}");
        end(&world, "a1", runner);
        assert!(!folder.join("plugin").exists(), "nobody reads them any more");
    };
    run(&[], true);
    run(&["--profile", "without"], false);
    assert_eq!(names(&home), Vec::<String>::new(), "the user's own home is left alone");
    assert_eq!(plugin(&world, &["install", "codex", "--user"]).code, Some(0));
    run(&[], false);
}

/// A command line as an agent has it carried out: by a shell, in the environment that its runner gave it.
fn carried_out(world: &World, folder: &Path, line: &str) -> Said {
    let own = Path::new(PROGRAM).parent().unwrap();
    let path = format!("{}:{}", own.display(), std::env::var("PATH").unwrap());
    let variables = [("PATH", path.as_str()), ("AGENT_RELAY_RUNNER_DIR", folder.to_str().unwrap())];
    let mut command = world.other_program("/bin/sh", &["-c", line], &variables);
    Said::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap())
}

fn end(world: &World, agent: &str, runner: Process) {
    assert_eq!(world.ask(&["stop", agent]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
}

#[test]
fn every_command_line_of_every_skill_does_what_it_says() {
    let world = World::new();
    let home = world.path("codex");
    fs::create_dir(&home).unwrap();
    assert_eq!(plugin(&world, &["install", "codex", "--home", &text(&home)]).code, Some(0));
    for file in ["answer.md", "report.md", "fix.patch", "news.txt", "request.md"] {
        fs::write(world.path("work").join(file), "words of the file").unwrap();
    }
    world.go();
    let runner = world.agent(PATIENT, &[]);
    let folder = world.state().join("run");
    // What goes wrong is said in the words that the skills have for it.
    for (line, words) in [
        ("relay-runner reply 12 \"x\"", "there is no message 12"),
        ("relay-runner reply 12 \"\"", "TEXT is empty"),
        ("relay-runner pair bob", "there is no agent bob"),
    ] {
        let said = carried_out(&world, &folder, line);
        assert!(said.code != Some(0) && said.err.contains(words), "{line}: {said:?}");
    }
    let bob = world.start(&["run", "command", "--agent-id", "bob", "--", &world.script("bob", PATIENT)], &[]);
    super::world::eventually("bob is there", || world.agents().iter().any(|a| a["id"] == "bob").then_some(()));
    for n in 1..=12 {
        assert_eq!(world.message(&format!("message {n}")), n);
    }
    let mut lines = 0;
    let mut skills = names(&home.join("skills"));
    // It ends the agent.
    skills.retain(|name| name != "relay-disconnect");
    skills.push("relay-disconnect".to_owned());
    for skill in skills {
        let skill = fs::read_to_string(home.join("skills").join(skill).join("SKILL.md")).unwrap();
        let shown = skill.split("```sh\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0));
        for line in shown.flat_map(str::lines) {
            let said = carried_out(&world, &folder, line);
            assert_eq!(said.code, Some(0), "{line}: {said:?}");
            assert!(!said.out.is_empty() && said.err.is_empty(), "{line}: {said:?}");
            lines += 1;
        }
    }
    assert!(lines > 30, "{lines}");
    assert_eq!(runner.ends(), Some(0), "it was disconnected");
    end(&world, "bob", bob);
}

#[test]
fn in_a_sandbox_the_runner_is_found_by_its_socket_and_not_taken_for_dead() {
    let world = World::new();
    let runner = world.agent(PATIENT, &[]);
    let folder = world.state().join("run");
    let known = fs::read_to_string(folder.join("runner.json")).unwrap();
    // A process that is over: from within another namespace of processes the runner's own looks no different.
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let pid = serde_json::from_str::<Value>(&known).unwrap()["pid"].to_string();
    fs::write(folder.join("runner.json"), known.replace(&pid, &gone.id().to_string())).unwrap();
    let said = carried_out(&world, &folder, "relay-runner whoami --json");
    assert_eq!((said.code, &said.json()["agentId"]), (Some(0), &json!("a1")), "{said:?}");
    // Root is refused nothing.
    if fs::metadata(&folder).is_ok_and(|is| std::os::unix::fs::MetadataExt::uid(&is) != 0) {
        let socket = folder.join("control.sock");
        for info in [&known, &fs::read_to_string(folder.join("runner.json")).unwrap()] {
            fs::write(folder.join("runner.json"), info).unwrap();
            fs::set_permissions(&socket, fs::Permissions::from_mode(0o000)).unwrap();
            let said = carried_out(&world, &folder, "relay-runner whoami --json");
            assert_eq!((said.code, said.error_code().as_str()), (Some(1), "sandboxed"), "{said:?}");
            fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    fs::write(folder.join("runner.json"), &known).unwrap();
    signal(runner.pid(), "KILL");
    assert_eq!(runner.ends(), None);
    let said = carried_out(&world, &folder, "relay-runner whoami --json");
    assert_eq!((said.code, said.error_code().as_str()), (Some(1), "runner_dead"), "{said:?}");
}
