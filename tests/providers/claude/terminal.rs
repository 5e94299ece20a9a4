//! What Claude Code does by itself in a terminal, as far as an adapter relies on it: hooks, the plugin's monitor, and
//! its dialogs. The figures are in `docs/claude-provider.md`.

use super::tui::{Scene, Tui};
use crate::installed::Installed;
use crate::world::eventually;
use serde_json::{Value, json};
use std::fs;

pub(super) fn what_is_pasted_is_one_prompt_and_its_hooks_follow(claude: &Installed) {
    let scene = Scene::answered(claude);
    let tui = scene.start("");
    assert_eq!(tui.is_ready()["source"], "startup");
    let since = tui.hooks().len();
    tui.enter("SAY well\nsaid");
    let stop = tui.hook(since, "Stop");
    assert_eq!((&stop["last_assistant_message"], &stop["stop_hook_active"]), (&json!("well"), &json!(false)));
    let prompt = tui.hook(since, "UserPromptSubmit");
    assert_eq!((&prompt["prompt"], &prompt["prompt_id"]), (&json!("SAY well\nsaid"), &stop["prompt_id"]));
    assert_eq!(tui.names(since), ["UserPromptSubmit", "Stop"]);
    let since = tui.hooks().len();
    tui.enter("FAIL 400");
    let failed = tui.hook(since, "StopFailure");
    assert_eq!(failed["error"], "unknown");
    assert_eq!(tui.names(since), ["UserPromptSubmit", "StopFailure"]);
    let since = tui.hooks().len();
    tui.enter("/exit");
    assert_eq!(tui.hook(since, "SessionEnd")["reason"], "prompt_input_exit");
    tui.shows("ENDED 0");
}

fn asks<'s>(scene: &'s Scene, prompt: &str) -> (Tui<'s>, usize) {
    scene.write("wait", "");
    let tui = scene.start("");
    tui.is_ready();
    let since = tui.hooks().len();
    tui.enter(prompt);
    tui.hook(since, "PermissionRequest");
    tui.shows("Do you want to proceed?");
    (tui, since)
}

pub(super) fn a_hook_answers_while_the_dialog_is_shown(claude: &Installed) {
    for behavior in ["allow", "deny"] {
        let scene = Scene::answered(claude);
        let (tui, since) = asks(&scene, "RUN touch here");
        scene.decide(behavior);
        tui.hook(since, "Stop");
        tui.hides("Do you want to proceed?");
        let ran = scene.world.path("work/here").exists();
        assert_eq!(ran, behavior == "allow");
        // A denied call has no hook of its own.
        let after = if ran { &["PostToolUse", "PostToolBatch", "Stop"][..] } else { &["PostToolBatch", "Stop"] };
        let before = ["UserPromptSubmit", "PreToolUse", "PermissionRequest"];
        assert_eq!(tui.names(since), [&before[..], after].concat());
        if !ran {
            assert_eq!(tui.hook(since, "PostToolBatch")["tool_calls"][0]["tool_response"], "not today");
        }
    }
}

pub(super) fn a_person_who_says_no_ends_the_turn_without_a_hook(claude: &Installed) {
    let scene = Scene::answered(claude);
    let (tui, since) = asks(&scene, "RUN touch here");
    tui.escape("Do you want to proceed?");
    tui.shows("Interrupted");
    tui.hook(since, "TERM");
    let before = ["UserPromptSubmit", "PreToolUse", "PermissionRequest", "TERM"];
    assert_eq!(tui.names(since), before);
    assert!(!scene.world.path("work/here").exists());
}

/// The newest line of the transcript that has these words.
fn transcript(tui: &Tui<'_>, words: &str) -> Value {
    let path = tui.hook(0, "SessionStart")["transcript_path"].as_str().unwrap().to_owned();
    eventually(&format!("{words:?} in {path}"), || {
        let whole = fs::read_to_string(&path).ok()?;
        let line = whole.lines().rev().find(|line| line.contains(words))?;
        serde_json::from_str(line).ok()
    })
}

pub(super) fn an_escape_is_only_in_the_transcript(claude: &Installed) {
    let scene = Scene::answered(claude);
    let tui = scene.start("");
    tui.is_ready();
    let since = tui.hooks().len();
    tui.enter("HOLD on");
    scene.model.holds("HOLD on");
    tui.shows("esc to interrupt");
    tui.key("Escape");
    tui.shows("Interrupted");
    let line = transcript(&tui, "[Request interrupted by user]");
    let prompt = tui.hook(since, "UserPromptSubmit");
    assert_eq!((&line["type"], &line["promptId"]), (&json!("user"), &prompt["prompt_id"]));
    assert!(line["interruptedMessageId"].is_string(), "{line}");
    // What follows shows that none was only late.
    tui.enter("SAY well");
    tui.hook(since, "Stop");
    assert_eq!(tui.names(since), ["UserPromptSubmit", "UserPromptSubmit", "Stop"]);
}

pub(super) fn a_line_of_the_monitor_is_a_prompt_of_at_most_500_characters(claude: &Installed) {
    let scene = Scene::answered(claude);
    let tui = scene.start("");
    let started = tui.is_ready();
    let monitor = tui.monitor();
    assert_eq!((&monitor["session"], &monitor["cwd"]), (&started["session_id"], &started["cwd"]));
    for (line, event) in [
        ("a <line> & more".to_owned(), "a &lt;line&gt; &amp; more".to_owned()),
        ("y".repeat(500), "y".repeat(500)),
        ("y".repeat(501), format!("{}...(truncated)", "y".repeat(500))),
    ] {
        let since = tui.hooks().len();
        tui.line(&line);
        let prompt = tui.hook(since, "UserPromptSubmit")["prompt"].as_str().unwrap().to_owned();
        assert!(prompt.starts_with("<task-notification>\n"), "{prompt}");
        assert!(prompt.contains(&format!("<event>{event}</event>")), "{prompt}");
        tui.hook(since, "Stop");
    }
    let told = scene.model.asked().last().unwrap().body.to_string();
    assert!(told.contains("[SYSTEM NOTIFICATION - NOT USER INPUT]"), "{told}");
}

pub(super) fn a_line_while_a_dialog_is_open_waits_and_joins_the_turn(claude: &Installed) {
    let scene = Scene::answered(claude);
    let (tui, since) = asks(&scene, "RUN touch here");
    tui.line("a line");
    let queued = transcript(&tui, "<event>a line</event>");
    assert_eq!((&queued["type"], &queued["operation"]), (&json!("queue-operation"), &json!("enqueue")));
    tui.shows("Do you want to proceed?");
    assert!(!tui.names(since).contains(&"Stop".to_owned()));
    scene.decide("allow");
    tui.hook(since, "Stop");
    let hooks = tui.hooks();
    let prompts: Vec<_> = hooks[since..].iter().filter(|hook| hook["hook_event_name"] == "UserPromptSubmit").collect();
    let [own, line] = prompts[..] else { panic!("{prompts:#?}") };
    assert!(line["prompt"].to_string().contains("<event>a line</event>"), "{line}");
    assert_eq!(own["prompt_id"], line["prompt_id"]);
}

pub(super) fn first_questions_are_known_by_their_words(claude: &Installed) {
    let without = |key: &str| {
        let scene = Scene::answered(claude);
        let mut seed = scene.seed();
        seed.as_object_mut().unwrap().remove(key).unwrap();
        scene.write("home/.claude.json", &seed.to_string());
        scene
    };
    for (key, words) in [
        ("projects", ["Quick safety check", "Yes, I trust this folder"]),
        ("customApiKeyResponses", ["Detected a custom API key", "Do you want to use this API key?"]),
    ] {
        let scene = without(key);
        let tui = scene.start("");
        let shown = words.map(|words| tui.shows(words));
        assert!(shown[1].contains("Enter to confirm"), "{}", shown[1]);
        assert!(tui.hooks().is_empty());
    }
}
