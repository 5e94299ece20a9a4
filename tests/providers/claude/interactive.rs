//! Claude Code in the terminal of the person who starts the runner: here a pane of tmux, with a shell in it.

use super::runner::{STREAM, World};
use crate::installed::Installed;
use crate::tmux::Person;
use crate::world::{PROGRAM, eventually, signal, text};
use serde_json::json;
use std::fs;

const DIALOG: &str = "Do you want to proceed?";
/// Claude Code's own, once it can be typed into.
const THERE: &str = "manual mode on";

/// The way of running it headless does not matter here.
fn world(claude: &Installed) -> World {
    World::new(claude, STREAM)
}

/// A person before a shell, and what starts a runner there.
fn begins<'w>(world: &'w World, claude: &Installed, more: &str) -> (Person<'w>, String) {
    let (temporary, model) = (text(&world.path("tmp")), world.model.url());
    let variables = [
        ("TMPDIR", temporary.as_str()),
        ("ANTHROPIC_BASE_URL", &model),
        ("ANTHROPIC_API_KEY", "a-key"),
        ("CLAUDE_CODE_MAX_RETRIES", "0"),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ];
    let person = Person::sits_down(world, &variables).unwrap();
    let program = claude.program.display();
    let run = format!("{PROGRAM} run claude --interactive --agent-id a1 --approval guarded --claude {program} {more}");
    person.resizes("100", "30");
    (person, format!("clear; {run}"))
}

/// It is up, and the person sees it.
fn is_there(world: &World, person: &Person<'_>) {
    world.is_ready();
    person.sees(THERE);
}

/// Types a prompt, and enters it once it is in the input.
fn prompts(person: &Person<'_>, words: &str) {
    person.keys(&["-l", words]);
    // Earlier prompts are above it, with the same mark.
    eventually(&format!("{words:?} in the input"), || {
        person.screen().rsplit('❯').next()?.contains(words).then_some(())
    });
    person.keys(&["Enter"]);
}

/// A key, until the screen has the dialog no more: in its first moment it passes keys over.
fn answers(person: &Person<'_>, key: &str) {
    let mut looks = 0;
    eventually(&format!("no dialog after {key}"), || {
        if !person.screen().contains(DIALOG) {
            return Some(());
        }
        if looks % 50 == 0 {
            person.keys(&[key]);
        }
        looks += 1;
        None
    });
}

/// Neither Claude Code nor one of its commands: only the person's shell is there.
fn is_gone(world: &World) {
    eventually("no process of Claude Code is left", || {
        world.claudes().iter().all(|process| process.contains("bash --norc")).then_some(())
    });
}

fn is_idle(world: &World) {
    eventually("the agent is idle, and nothing is asked", || {
        let status = world.status();
        (status["approvals"] == json!([]) && status["busyReasons"] == json!([])).then_some(())
    });
}

pub(super) fn a_person_looks_on_while_messages_are_worked(claude: &Installed) {
    let world = world(claude);
    let (person, run) = begins(&world, claude, "");
    person.types(&run);
    is_there(&world, &person);
    let (message, task) = world.task("SAY it is done");
    world.task_is(task, "done");
    world.is(message, "worked");
    person.sees("● it is done");

    // It fills a window of another size.
    let rule = |width: usize| "─".repeat(width);
    person.resizes("90", "30");
    eventually("it is as wide as its window", || {
        let shown = person.screen();
        (shown.contains(&rule(90)) && !shown.contains(&rule(91))).then_some(())
    });

    // A job of its shell: it comes back with its screen, and still has its messages.
    person.keys(&["C-z"]);
    person.sees("Stopped");
    person.asks_the_shell(&format!("echo cooked $({})", Person::COOKED), "cooked 1");
    person.types("clear; fg");
    person.sees(THERE);
    let (_, task) = world.task("SAY it is done again");
    world.task_is(task, "done");
    person.sees("● it is done again");
    let shown = person.all_that_was_shown();
    assert!(!shown.contains("INFO") && !shown.contains("WARN"), "{shown}");

    prompts(&person, "/exit");
    person.sees("now>");
    person.asks_the_shell(&format!("echo code $code cooked $({})", Person::COOKED), "code 0 cooked 1");
    assert!(world.agents().is_empty());
    let log = fs::read_to_string(world.path(".agent-relay/logs/runner-a1.log")).unwrap();
    assert!(log.contains("the provider is up") && log.contains("exit code 0"), "{log}");
    is_gone(&world);
    world.replays_exactly(1);
}

pub(super) fn a_killed_one_leaves_the_terminal_to_the_shell_and_is_resumed(claude: &Installed) {
    let world = world(claude);
    let (person, run) = begins(&world, claude, "");
    person.types(&run);
    is_there(&world, &person);
    let (_, task) = world.task("SAY it is done");
    world.task_is(task, "done");
    person.sees("● it is done");
    let conversation = world.status()["conversation"].clone();
    signal(world.pid(), "KILL");
    person.sees("the run failed");
    person.asks_the_shell(&format!("echo code $code cooked $({})", Person::COOKED), "code 1 cooked 1");
    // Its screen is gone, and the shell's is there again.
    assert_eq!(
        person.tmux.say(&["display-message", "-p", "-t", "p", "#{alternate_on}#{cursor_flag}"]).unwrap(),
        "01\n"
    );
    is_gone(&world);

    person.types(&run);
    is_there(&world, &person);
    // What was said before.
    person.sees("● it is done");
    assert_eq!(world.status()["conversation"], conversation);
    assert_eq!(world.ask(&["stop", "a1"]).code, Some(0));
    person.sees("now>");
    person.asks_the_shell(&format!("echo code $code cooked $({})", Person::COOKED), "code 0 cooked 1");
    is_gone(&world);
    world.replays_exactly(2);
}

pub(super) fn a_dialog_is_answered_by_a_verb_or_by_the_person(claude: &Installed) {
    let world = world(claude);
    let (person, run) = begins(&world, claude, "--deliver steer");
    person.types(&run);
    is_there(&world, &person);

    prompts(&person, "ASK touch one");
    let request = world.asks();
    person.sees(DIALOG);
    // Nothing that comes meanwhile touches the dialog.
    let message = world.message("SAY yes, approve it");
    world.is(message, "offered");
    assert!(person.sees(DIALOG).contains("touch one") && !world.path("work/one").exists());
    world.decides(&["approve"], &request);
    world.is(message, "worked");
    assert!(world.path("work/one").exists());
    is_idle(&world);

    let (_, task) = world.task("ASK touch two");
    world.asks();
    person.sees(DIALOG);
    answers(&person, "Enter");
    world.task_is(task, "done");
    assert!(world.path("work/two").exists());
    is_idle(&world);

    // No hook tells of it: the transcript does.
    let (_, task) = world.task("ASK touch three");
    world.asks();
    person.sees(DIALOG);
    answers(&person, "Escape");
    person.sees("Interrupted");
    world.task_is(task, "blocked");
    is_idle(&world);
    assert!(!world.path("work/three").exists());

    // Twice, as a person ends it.
    person.keys(&["C-c"]);
    person.sees("again to exit");
    person.keys(&["C-c"]);
    person.sees("now>");
    person.asks_the_shell("echo code $code", "code 0");
    is_gone(&world);
    world.replays_exactly(1);
}

pub(super) fn a_request_that_nobody_decides_is_left_to_the_person(claude: &Installed) {
    let world = world(claude);
    let (person, run) = begins(&world, claude, "--approval-timeout 1s");
    person.types(&run);
    is_there(&world, &person);
    let (_, task) = world.task("ASK touch one");
    world.asks();
    eventually("it waits for nobody any more", || (world.status()["approvals"] == json!([])).then_some(()));
    person.sees(DIALOG);
    assert!(!world.path("work/one").exists());
    answers(&person, "Enter");
    world.task_is(task, "done");
    assert!(world.path("work/one").exists());
    prompts(&person, "/exit");
    person.sees("now>");
    person.asks_the_shell("echo code $code", "code 0");
    is_gone(&world);
}
