use super::source::{CLAUDE, CODEX, SHARED};
use super::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

const PROGRAM: &str = "/opt/relay-runner";
const TAGS: &str = "skills/relay-tags/SKILL.md";

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("home")).unwrap();
        Self { folder }
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    fn install_with(&self, how: How) -> Vec<Action> {
        install(&self.home(), Provider::Codex, Path::new(PROGRAM), how).unwrap()
    }

    fn install(&self) -> Vec<Action> {
        self.install_with(How::default())
    }

    fn uninstall(&self, force: bool) -> Vec<Action> {
        uninstall(&self.home(), How { force, dry_run: false }).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.home())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// The manifest, changed as if an older version had written it.
    fn manifest(&self, change: impl FnOnce(&mut Value)) {
        let path = self.path(".relay-runner-plugin.json");
        let mut manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut manifest);
        fs::write(path, manifest.to_string()).unwrap();
    }

    /// A file of it, as an older version had it.
    fn older(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).unwrap();
        let hash = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(text.as_bytes()));
        self.manifest(|manifest| manifest["files"][path] = hash.into());
    }
}

fn shown(actions: &[Action]) -> Vec<(What, &str)> {
    actions.iter().map(|action| (action.what, action.path.as_str())).collect()
}

fn files_under(dir: &Path, prefix: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files_under(&entry.path(), &format!("{name}/"), found);
        } else {
            found.insert(name);
        }
    }
}

#[test]
fn what_is_in_the_program_is_what_lies_in_the_source() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    for (folder, prefix, table) in [("skills", "skills/", SHARED), ("codex", "", CODEX), ("claude", "", CLAUDE)] {
        let mut there = BTreeSet::new();
        files_under(&source.join(folder), prefix, &mut there);
        // It stands in the place of another one.
        there.remove("hooks/asking.json");
        assert_eq!(there, table.iter().map(|(path, _)| (*path).to_owned()).collect(), "{folder}");
    }
}

#[test]
fn each_skill_says_its_name_and_when_to_use_it() {
    for (path, text) in SHARED {
        let folder = path.split('/').nth(1).unwrap();
        let (front, body) = text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")).unwrap();
        let lines: Vec<&str> = front.lines().collect();
        assert_eq!(lines[0], format!("name: {folder}"), "{path}");
        let description = lines[1].strip_prefix("description: ").unwrap();
        // A plain scalar of YAML: what would end it, or begin something else, is not in it.
        assert!(!description.contains(": ") && !description.contains(" #"), "{path}: {description}");
        assert!(description.contains("Use ") && description.ends_with('.') && description.len() < 300, "{path}");
        assert_eq!(lines[2..], ["metadata:", "  source: relay-runner"], "{path}");
        assert!(body.contains("```sh\nrelay-runner ") && body.len() < 3_000, "{path}: it costs the model's context");
    }
}

#[test]
fn the_rules_name_this_very_program() {
    let rules = |program: &str| {
        let files = files(Provider::Codex, Path::new(program));
        files.into_iter().find(|file| file.path.starts_with("rules/")).unwrap().text.into_owned()
    };
    assert!(rules(PROGRAM).contains("paths = [\"/opt/relay-runner\"]"));
    assert!(rules("/a \"b\"/x").contains("paths = [\"/a \\\"b\\\"/x\"]"));
    assert_eq!(files(Provider::Command, Path::new(PROGRAM)), []);
}

fn for_claude(dir: &Path, home: Option<&Path>, program: &str, run: ClaudeRun) -> bool {
    write_for_claude(dir, home, Path::new(program), run).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

const WHOLE: ClaudeRun =
    ClaudeRun { skills: true, hooks: true, monitor: true, approval: Duration::from_millis(594_500) };

#[test]
fn the_hooks_of_claude_call_this_program_and_have_time_outs_of_their_own() {
    let place = Place::new();
    let dir = place.folder.path().join("runner/plugin");
    assert!(for_claude(&dir, None, "/a b/it's \"x\"", WHOLE));
    let hooks = json(&dir.join("hooks/hooks.json"));
    let hooks = hooks["hooks"].as_object().unwrap();
    for (event, groups) in hooks {
        let hook = &groups[0]["hooks"][0];
        assert_eq!(hook["command"], format!("'/a b/it'\\''s \"x\"' hook {event}"));
        let known = relay_runner_core::hooks::read(event, &serde_json::Map::new());
        assert!(known.is_some(), "{event}");
        assert_eq!(hook["timeout"], if event == "PermissionRequest" { 600 } else { 10 }, "{event}");
    }
    assert_eq!(hooks.len(), 12);
    let monitors = json(&dir.join("monitors/monitors.json"));
    assert_eq!(monitors[0]["command"], "'/a b/it'\\''s \"x\"' monitor --lines");
    let manifest = json(&dir.join(".claude-plugin/plugin.json"));
    assert_eq!(manifest["agentRelayContracts"], serde_json::json!({"providerPluginProtocol": 1}));
    assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"));
    assert!(!for_claude(&dir, None, "/a b/it's \"x\"", WHOLE), "it stands");
}

#[test]
fn what_a_run_of_claude_does_not_want_is_left_out_and_its_home_has_only_skills() {
    let place = Place::new();
    let dir = place.folder.path().join("plugin");
    let home = place.home();
    let parts = |run| {
        for_claude(&dir, Some(&home), PROGRAM, run);
        ["skills", "monitors", "hooks"].map(|part| dir.join(part).exists())
    };
    assert_eq!(parts(WHOLE), [true; 3]);
    assert_eq!(parts(ClaudeRun { skills: false, ..WHOLE }), [false, true, true]);
    assert_eq!(parts(ClaudeRun { monitor: false, ..WHOLE }), [true, false, true]);
    assert_eq!(parts(ClaudeRun { monitor: false, hooks: false, ..WHOLE }), [true, false, true]);
    let asking: Value = serde_json::from_str(&fs::read_to_string(dir.join("hooks/hooks.json")).unwrap()).unwrap();
    let names: Vec<&String> = asking["hooks"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["Stop"], "its adapter hears the rest, and asks for permissions, by itself");
    // Hooks and monitor are of a run; a home that has the skills is not told of them twice.
    let installed = install(&home, Provider::Claude, Path::new(PROGRAM), How::default()).unwrap();
    assert_eq!(installed.len(), SHARED.len());
    assert_eq!(place.names(), [".relay-runner-plugin.json", "skills"]);
    assert_eq!(parts(WHOLE), [false, true, true]);
    place.uninstall(false);
    assert_eq!(parts(WHOLE), [true; 3]);
}

#[test]
fn it_is_put_there_once_and_taken_away_whole() {
    let place = Place::new();
    fs::create_dir(place.path("skills")).unwrap();
    fs::write(place.path("config.toml"), "the user's").unwrap();
    let all = SHARED.len() + CODEX.len();
    let would = place.install_with(How { force: false, dry_run: true });
    assert_eq!((would.len(), place.names()), (all, vec!["config.toml".to_owned(), "skills".to_owned()]));
    let done = place.install();
    assert_eq!(done, would);
    assert!(done.iter().all(|action| action.what == What::Write));
    assert_eq!(fs::metadata(place.path(TAGS)).unwrap().mode() & 0o777, 0o600);
    assert_eq!(place.install(), [], "all of it stands");

    fs::write(place.path("rules/default.rules"), "the user's").unwrap();
    assert_eq!(place.uninstall(false).len(), all);
    assert_eq!(place.names(), ["config.toml", "rules", "skills"]);
    assert_eq!(fs::read_dir(place.path("skills")).unwrap().count(), 0, "the user's own folder stays");
    assert_eq!(fs::read_dir(place.path("rules")).unwrap().count(), 1, "and what holds something of the user's");
    assert_eq!(place.uninstall(false), []);
}

#[test]
fn what_an_older_version_wrote_is_replaced_and_what_it_alone_had_goes() {
    let place = Place::new();
    place.install();
    fs::create_dir(place.path("skills/relay-old")).unwrap();
    place.older("skills/relay-old/SKILL.md", "gone");
    place.older(TAGS, "older");
    place.manifest(|manifest| manifest["folders"].as_array_mut().unwrap().push("skills/relay-old".into()));
    let done = place.install();
    assert_eq!(shown(&done), [(What::Replace, TAGS), (What::Remove, "skills/relay-old/SKILL.md")]);
    assert!(!place.path("skills/relay-old").exists());
    assert_eq!(place.install(), []);
}

#[test]
fn what_somebody_changed_is_kept_and_named_unless_it_is_forced() {
    let place = Place::new();
    place.install();
    fs::write(place.path(TAGS), "mine").unwrap();
    assert_eq!(shown(&place.install()), [(What::Keep, TAGS)]);
    let removed = place.uninstall(false);
    assert_eq!(removed.iter().filter(|action| action.what == What::Keep).count(), 1);
    assert_eq!(fs::read_to_string(place.path(TAGS)).unwrap(), "mine");
    assert_eq!(place.names(), [".relay-runner-plugin.json", "skills"]);
    // It is known to be in the way of the next one, and goes when that is wanted.
    assert_eq!(place.install().iter().filter(|action| action.what == What::Keep).count(), 1);
    assert_eq!(shown(&place.install_with(How { force: true, dry_run: false })), [(What::Replace, TAGS)]);
    fs::write(place.path(TAGS), "mine again").unwrap();
    place.uninstall(true);
    assert_eq!(place.names(), Vec::<String>::new());
}

#[test]
fn a_file_that_was_there_first_is_not_ours() {
    let place = Place::new();
    fs::create_dir_all(place.path("skills/relay-tags")).unwrap();
    fs::write(place.path(TAGS), "theirs").unwrap();
    assert!(place.install().iter().any(|action| action.what == What::Keep && action.path == TAGS));
    place.uninstall(true);
    assert_eq!(fs::read_to_string(place.path(TAGS)).unwrap(), "theirs");
}

#[test]
fn nothing_is_written_or_removed_through_a_link() {
    let place = Place::new();
    let elsewhere = place.folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, place.path("skills")).unwrap();
    let how = How { force: true, dry_run: false };
    let error = install(&place.home(), Provider::Codex, Path::new(PROGRAM), how).unwrap_err();
    assert!(matches!(&error, PluginError::Link { path } if *path == place.path("skills")), "{error}");
    assert_eq!(place.names(), ["skills"], "nothing at all was done");

    // The folder of one skill is somebody's own of that name; a file that is a link is only replaced when that is wanted.
    fs::remove_file(place.path("skills")).unwrap();
    fs::create_dir_all(place.path("skills/relay-pair")).unwrap();
    symlink(&elsewhere, place.path("skills/relay-tags")).unwrap();
    fs::write(elsewhere.join("file"), "theirs").unwrap();
    symlink(elsewhere.join("file"), place.path("skills/relay-pair/SKILL.md")).unwrap();
    let kept: Vec<Action> = place.install().into_iter().filter(|action| action.what == What::Keep).collect();
    assert_eq!(shown(&kept), [(What::Keep, TAGS), (What::Keep, "skills/relay-pair/SKILL.md")]);
    let forced = place.install_with(how);
    assert_eq!(shown(&forced), [(What::Keep, TAGS), (What::Replace, "skills/relay-pair/SKILL.md")]);
    assert_eq!(fs::read_to_string(elsewhere.join("file")).unwrap(), "theirs");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
    // And a manifest that says otherwise.
    place.manifest(|manifest| {
        manifest["files"] = serde_json::json!({"../elsewhere/file": "", TAGS: ""});
        manifest["folders"] = serde_json::json!(["../elsewhere"]);
    });
    fs::write(elsewhere.join("SKILL.md"), "theirs").unwrap();
    assert_eq!(shown(&place.uninstall(true)), [(What::Keep, TAGS)]);
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 2);
}

#[test]
fn what_cannot_be_done_is_said_with_the_place() {
    let place = Place::new();
    let install = |dir: &Path| install(dir, Provider::Codex, Path::new(PROGRAM), How::default());
    assert!(matches!(install(&place.path("none")), Err(PluginError::NoHome { .. })));
    assert!(matches!(uninstall(&place.path("none"), How::default()), Err(PluginError::NoHome { .. })));
    fs::write(place.path("file"), "").unwrap();
    assert!(install(&place.path("file")).unwrap_err().to_string().contains("it is not a folder"));
    fs::write(place.path("rules"), "").unwrap();
    assert!(install(&place.home()).unwrap_err().to_string().contains("home/rules"));
    fs::remove_file(place.path("rules")).unwrap();
    fs::write(place.path(".relay-runner-plugin.json"), "{").unwrap();
    assert!(matches!(install(&place.home()), Err(PluginError::Manifest { .. })));
    let done = place.install_with(How { force: true, dry_run: false });
    assert_eq!(done.len(), SHARED.len() + CODEX.len(), "nothing was done before");
}

#[test]
fn a_run_names_a_folder_of_its_own_unless_the_home_has_the_skills() {
    let place = Place::new();
    let own = place.folder.path().join("runner/plugin");
    let asked = || for_run(&own, Some(&place.home()), Provider::Codex, Path::new(PROGRAM)).unwrap();
    assert_eq!(asked(), Some(own.join("skills")));
    assert!(own.join(TAGS).is_file());
    assert_eq!(fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(place.names(), Vec::<String>::new(), "the home is left alone");
    assert!(!write(&own, Provider::Codex, Path::new(PROGRAM)).unwrap());
    fs::write(own.join(TAGS), "changed").unwrap();
    assert!(write(&own, Provider::Codex, Path::new(PROGRAM)).unwrap(), "a folder of our own is as we want it");
    place.install();
    assert_eq!(asked(), None);
    place.older(TAGS, "older");
    assert_eq!(asked(), None, "each of them would be listed twice");
}
