//! What the real codex has said in these tests, kept: transcripts in `tests/providers/recorded`, which the adapter goes
//! through again wherever codex is not installed, and the runners' journals among those of `tests/scenarios/recorded`.
//! `RELAY_RUNNER_UPDATE=1 cargo test --test providers made_anew` does what it says.

use super::world::World;
use crate::installed::Installed;
use crate::recorded::{self, MOST, NEUTRAL};
use crate::world::eventually;
use libtest_mimic::Trial;
use relay_runner_shell::codex_transcript;
use serde_json::json;

type Story = fn(&World, &[&str]);

/// By their names.
const STORIES: [(&str, Story); 6] = [
    ("a-task", a_task),
    ("approved-and-denied", approved_and_denied),
    ("a-killed-codex", a_killed_codex),
    ("an-adopted-codex", an_adopted_codex),
    ("compacted-and-cleared", compacted_and_cleared),
    ("a-lost-steer", a_lost_steer),
];

fn a_task(world: &World, neutral: &[&str]) {
    let runner = world.codex(neutral);
    let (message, task) = world.task("RUN echo $((6 * 7))");
    world.task_is(task, "done");
    world.is_settled(message);
    world.ends(runner, 1);
}

fn approved_and_denied(world: &World, neutral: &[&str]) {
    let runner = world.codex(&[neutral, &["--approval", "guarded"]].concat());
    for decision in ["approve", "deny"] {
        let (message, task) = world.task("ASK echo done");
        world.decides(&[decision], &world.asks());
        world.task_is(task, "done");
        world.is_settled(message);
    }
    world.ends(runner, 1);
}

fn a_killed_codex(world: &World, neutral: &[&str]) {
    let runner = world.codex(neutral);
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

fn an_adopted_codex(world: &World, neutral: &[&str]) {
    let runner = world.codex(neutral);
    let (message, task) = world.task("HOLD one");
    world.model.holds("HOLD one");
    world.is(message, "taken");
    let lives = world.pid();
    assert!(runner.killed());
    let runner = world.starts(neutral);
    eventually("it is adopted", || {
        let listed = world.ask(&["ps", "--json"]).json();
        (listed[0]["state"] == "busy" && listed[0]["providerPid"] == lives).then_some(())
    });
    world.model.release("one");
    world.task_is(task, "done");
    world.is_settled(message);
    world.ends(runner, 2);
}

fn compacted_and_cleared(world: &World, neutral: &[&str]) {
    let runner = world.codex(neutral);
    let (message, _) = world.task("SAY the first words");
    world.is_settled(message);
    for command in ["agent.compact", "agent.clearContext"] {
        world.command_is(&world.command(command, &json!({})), "succeeded");
    }
    let (message, _) = world.task("SAY the next words");
    world.is_settled(message);
    world.ends(runner, 1);
}

fn a_lost_steer(world: &World, neutral: &[&str]) {
    let runner = world.codex(&[neutral, &["--deliver", "steer", "--approval", "guarded"]].concat());
    world.task("ASK echo done");
    let request = world.asks();
    let steered = world.message("SAY what must not be lost");
    world.is_accepted(steered);
    world.decides(&["deny", "--abort"], &request);
    let again = eventually("it asks again", || Some(world.asks()).filter(|again| *again != request));
    eventually("it is offered again", || (world.times(steered, "offered") == 2).then_some(()));
    world.decides(&["approve"], &again);
    world.is_settled(steered);
    world.ends(runner, 1);
}

/// Each story once more, with the real codex; kept when that is asked for.
pub(super) fn what_is_recorded_can_be_made_anew(codex: &Installed) {
    for (name, story) in STORIES {
        let world = World::new(codex);
        story(&world, &NEUTRAL);
        let transcript = recorded::neutral(&world, &recorded::read(&world.transcript()));
        let whole = recorded::headed("codex", codex, &transcript);
        goes_through(name, &whole);
        let journal = recorded::journal(&world);
        if recorded::is_updated() {
            recorded::replace(&recorded::transcript(name), &whole);
            recorded::replace(&recorded::journal_of(&format!("codex-{name}")), &journal);
        }
    }
}

/// Today's adapter says the same.
#[track_caller]
fn goes_through(name: &str, transcript: &str) {
    recorded::is_whole("codex", name, transcript);
    let replayed = codex_transcript::replay(transcript.as_bytes()).unwrap_or_else(|why| panic!("{name}: {why}"));
    assert!(replayed.processes > 0 && replayed.inputs > 20 && replayed.outputs > 10, "{name}: {replayed:?}");
}

/// What needs no codex.
pub(crate) fn trials() -> Vec<Trial> {
    let run = || {
        let mut bytes = 0;
        for (name, _) in STORIES {
            let transcript = recorded::read(&recorded::transcript(name));
            bytes += transcript.len();
            goes_through(name, &transcript);
        }
        assert!(bytes < MOST, "{bytes} bytes");
        recorded::all_are_known(|name| name.starts_with("claude-") || STORIES.iter().any(|(known, _)| *known == name));
        Ok(())
    };
    vec![Trial::test("codex::recording::every_recorded_transcript_is_gone_through_again", run)]
}
