//! What the real Claude Code has said in print mode, kept and gone through again wherever it is not installed.
//! `RELAY_RUNNER_UPDATE=1 cargo test --test providers made_anew` does what it says.

use super::runner::{STREAM, World};
use crate::installed::Installed;
use crate::model::Phase;
use crate::recorded::{self, MOST, NEUTRAL};
use crate::world::eventually;
use libtest_mimic::Trial;
use relay_runner_shell::claude_stream_transcript;
use serde_json::json;

type Story = fn(&World, &[&str]);

/// By their names.
const STORIES: [(&str, Story); 6] = [
    ("claude-stream-a-task", a_task),
    ("claude-stream-approved-and-denied", approved_and_denied),
    ("claude-stream-asked-meanwhile", asked_meanwhile),
    ("claude-stream-a-killed-claude", a_killed_claude),
    ("claude-stream-compacted-and-cleared", compacted_and_cleared),
    ("claude-stream-a-subagent", a_subagent),
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
    world.model.holds("Delivered again");
    world.model.release("one");
    world.task_is(task, "done");
    world.is_settled(message);
    world.ends(runner, 1);
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
    for (name, story) in STORIES {
        let world = World::new(claude, STREAM);
        story(&world, &NEUTRAL);
        let transcript = recorded::neutral(&world, &recorded::read(&world.transcript()));
        let whole = recorded::headed("claude", claude, &transcript);
        goes_through(name, &whole);
        let journal = recorded::journal(&world);
        if recorded::is_updated() {
            recorded::replace(&recorded::transcript(name), &whole);
            recorded::replace(&recorded::journal_of(name), &journal);
        }
    }
}

/// Today's adapter says the same.
#[track_caller]
fn goes_through(name: &str, transcript: &str) {
    recorded::is_whole("claude", name, transcript);
    let replayed =
        claude_stream_transcript::replay(transcript.as_bytes()).unwrap_or_else(|why| panic!("{name}: {why}"));
    assert!(replayed.processes > 0 && replayed.inputs > 10 && replayed.outputs > 10, "{name}: {replayed:?}");
}

/// What needs no Claude Code.
pub(crate) fn trials() -> Vec<Trial> {
    let run = || {
        let mut bytes = 0;
        for (name, _) in STORIES {
            let transcript = recorded::read(&recorded::transcript(name));
            bytes += transcript.len();
            goes_through(name, &transcript);
        }
        assert!(bytes < MOST, "{bytes} bytes");
        recorded::all_are_known(|name| {
            !name.starts_with("claude-stream-") || STORIES.iter().any(|(known, _)| *known == name)
        });
        Ok(())
    };
    vec![Trial::test("claude::stream_recording::every_recorded_transcript_is_gone_through_again", run)]
}
