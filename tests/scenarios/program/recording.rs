//! Stories of the real program whose journals are kept (`tests/scenarios/recorded`): what is of this machine, its name and
//! its folders, has no place in them.

use super::renewing;
use super::world::{PATIENT, Process, World, eventually, signal};
use serde_json::json;
use std::fs;

/// Runs it, and gives its journal back.
pub(crate) type Story = fn() -> String;

/// A journal by its name, and how it comes about.
pub(crate) const RECORDED: [(&str, Story); 9] = [
    ("a-plain-day", a_plain_day),
    ("a-crash-and-a-restart", a_crash_and_a_restart),
    ("a-crash-loop-given-up", a_crash_loop_given_up),
    ("an-approval", an_approval),
    ("more-approvals-than-may-be-open", more_approvals_than_may_be_open),
    ("a-renewed-credential", a_renewed_credential),
    ("a-killed-runner-that-goes-on", a_killed_runner_that_goes_on),
    ("a-stop-during-a-turn", a_stop_during_a_turn),
    ("without-digests", without_digests),
];

/// Where agents write their notes: the folder that they are started in is the same on every machine.
const HOME: &str = "cd \"$HOME/work\" || exit 1\n";
const NEUTRAL: [&str; 4] = ["--cwd", "/", "--machine", "a-machine"];

fn runner(world: &World, script: &str, more: &[&str]) -> Process {
    world.runner(&format!("{HOME}{script}"), &[&NEUTRAL, more].concat())
}

fn agent(world: &World, script: &str, more: &[&str]) -> Process {
    let runner = runner(world, script, more);
    world.is_ready();
    runner
}

fn stops(world: &World, runner: Process) {
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
}

/// All segments, one behind the other.
fn journal(world: &World) -> String {
    let folder = world.state().join("journal");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let journal: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let machine = rustix::system::uname();
    let machine = format!("\"{}\"", machine.nodename().to_string_lossy());
    let ours = [world.path("").to_string_lossy().into_owned(), env!("CARGO_MANIFEST_DIR").to_owned(), machine];
    for ours in &ours {
        assert!(!journal.contains(ours.trim_end_matches('/')), "{ours} is of this machine: {journal}");
    }
    journal
}

fn settled(world: &World, arguments: &[&str]) {
    let said = world.ask(&[&["send", "a1"], arguments, &["--wait", "--timeout", "20s"]].concat());
    assert_eq!(said.code, Some(0), "{said:?}; {}", world.log());
}

fn a_plain_day() -> String {
    let world = World::new();
    world.go();
    let runner = agent(&world, PATIENT, &[]);
    settled(&world, &["hello"]);
    settled(&world, &["work", "--task"]);
    settled(&world, &["hello again"]);
    stops(&world, runner);
    journal(&world)
}

fn without_digests() -> String {
    let world = World::new();
    world.go();
    let runner = agent(&world, PATIENT, &["--bodies", "none"]);
    settled(&world, &["hello"]);
    stops(&world, runner);
    journal(&world)
}

fn a_crash_and_a_restart() -> String {
    let world = World::new();
    let runner = agent(&world, PATIENT, &[]);
    let (_, task) = world.task("work that is interrupted");
    world.notes("notes", 1);
    signal(world.notes("pids", 1)[0].parse().unwrap(), "KILL");
    world.go();
    world.task_is(task, "done");
    stops(&world, runner);
    journal(&world)
}

fn a_crash_loop_given_up() -> String {
    let world = World::new();
    let runner = runner(&world, "echo 'no such thing' >&2\nexit 3", &[]);
    assert_eq!(runner.ends(), Some(70));
    journal(&world)
}

/// Asks as often as `questions` says before it works on a message, and goes on with the first answer.
fn asking(questions: u32) -> String {
    format!(
        r#"
while IFS= read -r line; do
    case $line in
    *'"type":"message"'*)
        id=${{line%%,\"nonce\":*}}
        id=${{id##*\"id\":}}
        echo "{{\"type\":\"taken\",\"ids\":[$id]}}"
        echo "{{\"type\":\"busy\",\"turn\":\"m$id\"}}"
        n=0
        while [ $((n += 1)) -le {questions} ]; do
            echo "{{\"type\":\"approval\",\"approvalId\":\"q$n\",\"kind\":\"tool\",\"tool\":\"rm\"}}"
        done
        ;;
    *'"type":"approval"'*)
        echo '{{"type":"idle"}}'
        ;;
    *'"type":"shutdown"'*)
        exit 0
        ;;
    esac
done
"#
    )
}

fn an_approval() -> String {
    let world = World::new();
    let runner = agent(&world, &asking(1), &[]);
    for decision in ["approve", "deny"] {
        let message = world.message("may I?");
        eventually("a question is open", || {
            let state = world.ask(&["status", "--json"]).json();
            state["approvals"].as_array().is_some_and(|open| !open.is_empty()).then_some(())
        });
        assert_eq!(world.ask(&[decision, "q1"]).code, Some(0));
        world.is_settled(message);
    }
    stops(&world, runner);
    journal(&world)
}

fn more_approvals_than_may_be_open() -> String {
    let world = World::new();
    let runner = agent(&world, &asking(65), &[]);
    // The one too many is denied, and with that the agent goes on.
    settled(&world, &["many questions"]);
    stops(&world, runner);
    journal(&world)
}

fn a_renewed_credential() -> String {
    let world = renewing::world();
    let runner = runner(&world, PATIENT, &["--token-file", &renewing::given(&world, 6)]);
    renewing::is_renewed(&world);
    signal(runner.pid(), "TERM");
    assert_eq!(runner.ends(), Some(0));
    journal(&world)
}

fn a_killed_runner_that_goes_on() -> String {
    let world = World::new();
    let first = agent(&world, PATIENT, &[]);
    let (_, task) = world.task("work that is interrupted");
    world.notes("notes", 1);
    signal(first.pid(), "KILL");
    assert_eq!(first.ends(), None);
    world.go();
    let second = runner(&world, PATIENT, &[]);
    world.task_is(task, "done");
    stops(&world, second);
    journal(&world)
}

fn a_stop_during_a_turn() -> String {
    let world = World::new();
    let runner = agent(&world, PATIENT, &[]);
    world.task("never done");
    world.notes("notes", 1);
    let stop = world.command("agent.shutdown", &json!({"reason": "enough", "timeoutMs": 1_000}));
    assert_eq!(runner.ends(), Some(0));
    world.command_is(&stop, "succeeded");
    journal(&world)
}
