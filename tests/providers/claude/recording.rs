//! What hooks of the real Claude Code were given, kept in `tests/providers/recorded/claude-hooks.jsonl` for who has no
//! Claude Code. `RELAY_RUNNER_UPDATE=1 cargo test --test providers recorded_anew` does what it says.

use super::tui::Scene;
use crate::installed::Installed;
use crate::world::text;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use xxhash_rust::xxh3::xxh3_64;

/// The hooks of one session that are in it.
const NAMES: [&str; 14] = [
    "PermissionRequest",
    "PostCompact",
    "PostToolBatch",
    "PostToolUse",
    "PostToolUseFailure",
    "PreCompact",
    "PreToolUse",
    "SessionEnd",
    "SessionStart",
    "Stop",
    "StopFailure",
    "SubagentStart",
    "SubagentStop",
    "UserPromptSubmit",
];

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/providers/recorded/claude-hooks.jsonl")
}

/// A session in which every hook of them occurs; what they were given, without what is of this machine.
fn record(claude: &Installed) -> String {
    let scene = Scene::answered(claude);
    scene.write("wait", "");
    let tui = scene.start("");
    tui.is_ready();
    let turn = |prompt: &str, end: &str| {
        let since = tui.hooks().len();
        tui.enter(prompt);
        tui.hook(since, end);
    };
    turn("SAY well\nsaid", "Stop");
    for behavior in ["allow", "deny"] {
        let since = tui.hooks().len();
        tui.enter("RUN touch here");
        tui.hook(since, "PermissionRequest");
        scene.decide(behavior);
        tui.hook(since, "Stop");
    }
    turn("RUN ls nothing", "Stop");
    let since = tui.hooks().len();
    tui.line("[message 4 from operator] read it");
    tui.hook(since, "Stop");
    turn("FAIL 400", "StopFailure");
    let task = json!({"description": "a part", "prompt": "RUN echo part", "subagent_type": "general-purpose"});
    let since = tui.hooks().len();
    tui.enter(&format!("USE Agent {task}"));
    tui.hook(since, "SubagentStop");
    // The turn that follows its end.
    tui.until(since, "its last Stop", |hooks| {
        let told = hooks.iter().position(|hook| hook["prompt"].to_string().contains("<status>completed</status>"))?;
        hooks[told..].iter().find(|hook| hook["hook_event_name"] == "Stop").cloned()
    });
    turn("/compact", "PostCompact");
    let since = tui.hooks().len();
    tui.enter("/clear");
    tui.hook(since, "SessionStart");
    turn("/exit", "SessionEnd");
    tui.shows("ENDED 0");
    let line = |hook: &Value| format!("{hook}\n");
    let hooks: String = tui.hooks().iter().map(line).collect();
    let folder = text(&scene.world.path(""));
    let folder = folder.trim_end_matches('/');
    // Claude Code names the folder of a project by its path.
    let dashed = folder.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let user = format!("claude-{}", rustix::process::getuid().as_raw());
    let hooks = hooks.replace(folder, "/a-folder").replace(&dashed, "-a-folder").replace(&user, "claude-0");
    for ours in [text(&claude.program), env!("CARGO_MANIFEST_DIR").to_owned()] {
        assert!(!hooks.contains(&ours), "{ours} is of this machine: {hooks}");
    }
    hooks
}

fn version(claude: &Installed) -> String {
    let said = Command::new(&claude.program).arg("--version").env_clear().env("HOME", "/nowhere").output().unwrap();
    String::from_utf8(said.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

pub(super) fn hooks_can_be_recorded_anew(claude: &Installed) {
    let hooks = record(claude);
    let whole = format!("# claude {}, xxh3 {:016x}\n{hooks}", version(claude), xxh3_64(hooks.as_bytes()));
    is_whole(&whole);
    if std::env::var_os("RELAY_RUNNER_UPDATE").is_some() {
        let new = path().with_extension("new");
        fs::write(&new, whole).and_then(|()| fs::rename(&new, path())).unwrap();
    }
}

#[track_caller]
fn is_whole(recorded: &str) {
    let (head, lines) = recorded.split_once('\n').unwrap();
    let sum = format!("xxh3 {:016x}", xxh3_64(lines.as_bytes()));
    assert!(head.starts_with("# claude ") && head.ends_with(&sum), "it was changed by hand: {head}, {sum}");
    let hooks: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: BTreeSet<_> = hooks.iter().map(|hook| hook["hook_event_name"].as_str().unwrap()).collect();
    assert_eq!(names, NAMES.into_iter().collect::<BTreeSet<_>>());
    for hook in &hooks {
        for common in ["session_id", "transcript_path", "cwd"] {
            assert!(hook[common].is_string(), "{common}: {hook}");
        }
        assert!(hook["transcript_path"].as_str().unwrap().starts_with("/a-folder/home/.claude/projects/"), "{hook}");
    }
}

/// What needs no Claude Code.
pub(crate) fn trials() -> Vec<Trial> {
    let run = || {
        is_whole(&fs::read_to_string(path()).unwrap_or_else(|error| panic!("{}: {error}", path().display())));
        Ok(())
    };
    vec![Trial::test("claude::recording::what_hooks_were_given_is_whole", run)]
}
