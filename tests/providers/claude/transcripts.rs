//! What the real Claude Code has said, in print mode and in a terminal, kept and gone through again wherever it is not installed.
//! `RELAY_RUNNER_UPDATE=1 cargo test --test providers made_anew` does what it says.

use super::runner::{self, STREAM, TERMINAL, World};
use crate::installed::Installed;
use crate::model::Phase;
use crate::recorded::{self, MOST, NEUTRAL};
use crate::world::eventually;
use libtest_mimic::Trial;
use serde_json::json;
use std::fs;

/// Where the runner's folder is meanwhile.
const RUNTIME: &str = "/tmp/relay-runner-recording";

type Story = fn(&World, &[&str]);

/// By their names, and the way in which Claude Code is run.
const STORIES: [(&str, &str, Story); 11] = [
    ("claude-stream-a-task", STREAM, a_task),
    ("claude-stream-approved-and-denied", STREAM, approved_and_denied),
    ("claude-stream-asked-meanwhile", STREAM, asked_meanwhile),
    ("claude-stream-a-killed-claude", STREAM, a_killed_claude),
    ("claude-stream-compacted-and-cleared", STREAM, compacted_and_cleared),
    ("claude-stream-a-subagent", STREAM, a_subagent),
    ("claude-terminal-a-task", TERMINAL, a_task),
    ("claude-terminal-approved-and-denied", TERMINAL, approved_and_denied),
    ("claude-terminal-a-killed-claude", TERMINAL, a_killed_claude),
    ("claude-terminal-an-adopted-claude", TERMINAL, an_adopted_claude),
    ("claude-terminal-compacted-and-cleared", TERMINAL, compacted_and_cleared),
];

fn a_task(world: &World, neutral: &[&str]) {
    let runner = world.claude(neutral);
    let (message, task) = world.task("RUN echo $((6 * 7))");
    world.task_is(task, "done");
    world.is_settled(message);
    world.ends(runner, 1);
}

fn approved_and_denied(world: &World, neutral: &[&str]) {
    let runner = world.claude(&[neutral, &["--approval", "guarded"]].concat());
    let told: [(&str, &[&str]); 3] = [
        ("ASK touch /dev/null/no", &["approve"]),
        ("ASK touch /dev/null/no", &["approve", "--session"]),
        ("ASK mkdir /dev/null/no", &["deny", "--reason", "not now"]),
    ];
    for (words, decision) in told {
        let (message, task) = world.task(words);
        world.decides(decision, &world.asks());
        world.task_is(task, "done");
        world.is_settled(message);
    }
    world.ends(runner, 1);
}

fn asked_meanwhile(world: &World, neutral: &[&str]) {
    let runner = world.claude(&[neutral, &["--deliver", "steer", "--approval", "guarded"]].concat());
    let (_, task) = world.task("ASK touch /dev/null/no");
    let request = world.asks();
    let message = world.message("SAY and this as well");
    world.is(message, "offered");
    eventually("it was handed over", || (world.status()["operations"] == 0).then_some(()));
    world.decides(&["approve"], &request);
    world.task_is(task, "done");
    world.is_settled(message);
    world.ends(runner, 1);
}

fn a_killed_claude(world: &World, neutral: &[&str]) {
    let runner = world.claude(neutral);
    let (message, task) = world.task("HOLD one");
    world.model.holds("HOLD one");
    world.is(message, "taken");
    World::kill(world.pid());
    world.model.holds("elivered again");
    world.model.release("one");
    world.task_is(task, "done");
    world.is_settled(message);
    world.ends(runner, 1);
}

fn an_adopted_claude(world: &World, neutral: &[&str]) {
    let runner = world.claude(neutral);
    let (message, task) = world.task("HOLD one");
    world.model.holds("HOLD one");
    world.is(message, "taken");
    assert!(runner.killed());
    let runner = world.claude(neutral);
    world.model.release("one");
    world.task_is(task, "done");
    world.is_settled(message);
    world.ends(runner, 2);
}

fn compacted_and_cleared(world: &World, neutral: &[&str]) {
    let runner = world.claude(neutral);
    let (message, _) = world.task("SAY the first words");
    world.is_settled(message);
    for command in ["agent.compact", "agent.clearContext"] {
        world.command_is(&world.command(command, &json!({})), "succeeded");
    }
    let (message, _) = world.task("SAY the next words");
    world.is_settled(message);
    world.ends(runner, 1);
}

fn a_subagent(world: &World, neutral: &[&str]) {
    let runner = world.claude(neutral);
    let task = json!({"description": "a part", "prompt": "RUN echo part", "subagent_type": "general-purpose"});
    let (message, _) = world.task(&format!("USE Task {task}"));
    world.is_settled(message);
    world.model.until("the end of the subagent was told", |asked| {
        let told = |asked: &crate::model::Asked| asked.body["messages"].to_string().contains("task-notification");
        asked.iter().any(|asked| told(asked) && asked.phase == Phase::Answered).then_some(())
    });
    eventually("it is idle", || (world.ask(&["ps", "--json"]).json()[0]["state"] == "idle").then_some(()));
    world.ends(runner, 1);
}

/// Each story once more, with the real Claude Code; kept when that is asked for.
pub(super) fn what_is_recorded_can_be_made_anew(claude: &Installed) {
    for (name, mode, story) in STORIES {
        let mut world = World::new(claude, mode);
        world.trusts("/");
        // One name, wherever it is recorded.
        let _ = fs::remove_dir_all(RUNTIME);
        fs::create_dir(RUNTIME).unwrap();
        world.runs_in(RUNTIME);
        story(&world, &NEUTRAL);
        let transcript = recorded::neutral(&world, &recorded::read(&world.transcript()));
        let whole = recorded::headed("claude", claude, &transcript);
        goes_through(name, mode, &whole);
        let journal = recorded::journal(&world);
        fs::remove_dir_all(RUNTIME).unwrap();
        if recorded::is_updated() {
            recorded::replace(&recorded::transcript(name), &whole);
            recorded::replace(&recorded::journal_of(name), &journal);
        }
    }
}

/// Today's adapter says the same.
#[track_caller]
fn goes_through(name: &str, mode: &str, transcript: &str) {
    recorded::is_whole("claude", name, transcript);
    let replayed = runner::goes_through(mode, transcript.as_bytes()).unwrap_or_else(|why| panic!("{name}: {why}"));
    assert!(replayed.processes > 0 && replayed.inputs > 5 && replayed.outputs > 5, "{name}: {replayed:?}");
}

/// What needs no Claude Code.
pub(crate) fn trials() -> Vec<Trial> {
    let run = || {
        let mut bytes = 0;
        for (name, mode, _) in STORIES {
            let transcript = recorded::read(&recorded::transcript(name));
            bytes += transcript.len();
            goes_through(name, mode, &transcript);
        }
        assert!(bytes < MOST, "{bytes} bytes");
        recorded::all_are_known(|name| {
            let is_ours = name.starts_with("claude-stream-") || name.starts_with("claude-terminal-");
            !is_ours || STORIES.iter().any(|(known, ..)| *known == name)
        });
        Ok(())
    };
    vec![Trial::test("claude::transcripts::every_recorded_transcript_is_gone_through_again", run)]
}
