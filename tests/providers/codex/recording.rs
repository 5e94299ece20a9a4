//! What the real codex has said in these tests, kept: transcripts in `tests/providers/recorded`, which the adapter goes
//! through again wherever codex is not installed, and the runners' journals among those of `tests/scenarios/recorded`.
//! `RELAY_RUNNER_UPDATE=1 cargo test --test providers made_anew` does what it says.

use super::world::World;
use crate::installed::Installed;
use crate::world::{eventually, text};
use libtest_mimic::Trial;
use relay_runner_shell::codex_transcript;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use xxhash_rust::xxh3::xxh3_64;

/// What stands for the folder of a test in what is kept of it.
const FOLDER: &str = "/a-folder";
/// What is of this machine has no place in a journal.
const NEUTRAL: [&str; 4] = ["--cwd", "/", "--machine", "a-machine"];
/// All transcripts together, in bytes.
const MOST: u64 = 2 * 1024 * 1024;

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

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn transcripts() -> PathBuf {
    root().join("tests/providers/recorded")
}

fn journals() -> PathBuf {
    root().join("tests/scenarios/recorded")
}

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
    let update = std::env::var_os("RELAY_RUNNER_UPDATE").is_some();
    for (name, story) in STORIES {
        let world = World::new(codex);
        story(&world, &NEUTRAL);
        let transcript = read(&world.transcript()).replace(text(&world.path("")).trim_end_matches('/'), FOLDER);
        let machine = rustix::system::uname();
        let transcript = transcript.replace(&format!("\"{}\"", machine.nodename().to_string_lossy()), "\"a-machine\"");
        let whole = format!("# codex {}, xxh3 {:016x}\n{transcript}", version(codex), xxh3_64(transcript.as_bytes()));
        goes_through(name, &whole);
        let journal = journal(&world);
        if update {
            fs::create_dir_all(transcripts()).unwrap();
            replace(&transcripts().join(format!("{name}.jsonl")), &whole);
            replace(&journals().join(format!("codex-{name}.jsonl")), &journal);
        }
    }
}

/// Whoever reads it meanwhile has the old one.
fn replace(path: &Path, words: &str) {
    let new = path.with_extension("new");
    fs::write(&new, words).and_then(|()| fs::rename(&new, path)).unwrap();
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn version(codex: &Installed) -> String {
    let said = Command::new(&codex.program).arg("--version").env_clear().env("HOME", "/nowhere").output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    said.trim().rsplit(' ').next().unwrap().to_owned()
}

/// All segments, one behind the other; nothing of this machine is in them.
fn journal(world: &World) -> String {
    let mut files: Vec<_> =
        fs::read_dir(world.state().join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let journal: String = files.iter().map(|file| read(file)).collect();
    let machine = format!("\"{}\"", rustix::system::uname().nodename().to_string_lossy());
    for ours in [text(&world.path("")), text(root()), machine] {
        assert!(!journal.contains(ours.trim_end_matches('/')), "{ours} is of this machine: {journal}");
    }
    journal
}

/// Today's adapter says the same.
#[track_caller]
fn goes_through(name: &str, transcript: &str) {
    let (head, lines) = transcript.split_once('\n').unwrap();
    let sum = format!("xxh3 {:016x}", xxh3_64(lines.as_bytes()));
    assert!(head.starts_with("# codex ") && head.ends_with(&sum), "{name} was changed by hand: {head}, {sum}");
    let replayed = codex_transcript::replay(transcript.as_bytes()).unwrap_or_else(|why| panic!("{name}: {why}"));
    assert!(replayed.processes > 0 && replayed.inputs > 20 && replayed.outputs > 10, "{name}: {replayed:?}");
}

/// What needs no codex.
pub(crate) fn trials() -> Vec<Trial> {
    let run = || {
        let names: Vec<String> = STORIES.iter().map(|(name, _)| format!("{name}.jsonl")).collect();
        let mut bytes = 0;
        for name in &names {
            let transcript = read(&transcripts().join(name));
            bytes += transcript.len() as u64;
            goes_through(name, &transcript);
        }
        assert!(bytes < MOST, "{bytes} bytes");
        let there = fs::read_dir(transcripts()).unwrap().map(|entry| entry.unwrap().path());
        for path in there.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl")) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(names.contains(&name) || name.starts_with("claude-"), "nobody replays {name}");
        }
        Ok(())
    };
    vec![Trial::test("codex::recording::every_recorded_transcript_is_gone_through_again", run)]
}
