//! `run claude --interactive`: the terminal of the person who starts it is the provider's, and theirs again. The provider
//! here is a few lines of shell that say by hooks what Claude Code says by them; the real one is in the tests of providers.

use super::tmux::Person;
use super::world::{PROGRAM, World, eventually, signal, text};
use serde_json::Value;
use std::fs;

/// Takes messages by the monitor, keys by the terminal, whose modes it changes; notes its size whenever it is told of another.
const SEEN: &str = r#"#!/bin/bash
rr=PROGRAM
echo $$ >> pids
trap 'stty size >> sizes' WINCH
trap 'echo interrupted' INT
stty -icanon -echo
echo '{"session_id":"c-1","source":"startup","model":"m-1"}' | $rr hook SessionStart > began
(
    trap '' INT
    $rr monitor --lines | while IFS= read -r line; do
        heading=$(printf '%s' "$line" | grep -o '\[relay message [0-9]* [^] ]*\]')
        printf '{"session_id":"c-1","prompt":"%s","prompt_id":"p"}' "$heading" | $rr hook UserPromptSubmit
        echo "works on ${heading#\[}"
        echo '{"session_id":"c-1","prompt_id":"p"}' | $rr hook Stop
    done
) &
echo "the agent is here"
while :; do
    IFS= read -r -n 1 key
    case $key in
    q)
        echo '{"session_id":"c-1","reason":"prompt_input_exit"}' | $rr hook SessionEnd
        exit 0
        ;;
    ?) echo "key $key" ;;
    esac
done
"#;

/// A person before a shell in which this starts a runner of the agent.
fn begins(world: &World) -> Option<(Person<'_>, String)> {
    let agent = world.script("agent", "");
    fs::write(&agent, SEEN.replace("PROGRAM", PROGRAM)).unwrap();
    let person = Person::sits_down(world, &[])?;
    Some((person, format!("{PROGRAM} run claude --interactive --agent-id a1 --claude {agent}")))
}

fn cooked() -> String {
    format!("echo code $code cooked $({})", Person::COOKED)
}

#[test]
fn the_terminal_is_the_providers_and_then_the_persons_again() {
    let world = World::new();
    let Some((person, run)) = begins(&world) else { return };
    person.types(&run);
    let shown = person.sees("the agent is here");
    assert!(shown.contains("relay-runner: agent a1 on http://"), "{shown}");
    world.is_ready();
    let message = world.message("hello");
    world.is_settled(message);
    person.sees(&format!("works on relay message {message} "));

    // Keys, an interrupt and the size of the window are its own.
    person.keys(&["x"]);
    person.sees("key x");
    person.keys(&["C-c"]);
    person.sees("interrupted");
    person.resizes("100", "30");
    eventually("it is told of the new size", || {
        // Its shell minds the signal after a key.
        person.keys(&["w"]);
        world.noted("sizes").pop().filter(|size| size == "30 100")
    });

    // It stops as any job of the shell, and goes on.
    person.keys(&["C-z"]);
    person.sees("Stopped");
    person.asks_the_shell(&cooked(), "cooked 1");
    person.types("clear; fg");
    person.keys(&["y"]);
    person.sees("key y");
    let again = world.message("still there?");
    world.is_settled(again);
    person.keys(&["C-z"]);
    person.sees("Stopped");
    // In the background it works on, until it wants to read.
    person.types("clear; bg");
    person.sees("[1]+ ");
    person.types("fg");
    person.keys(&["z"]);
    person.sees("key z");

    // Nothing of what the runner does was shown.
    let shown = person.all_that_was_shown();
    assert!(!shown.contains("INFO") && !shown.contains("WARN"), "{shown}");
    let log = fs::read_to_string(world.path(".agent-relay/logs/runner-a1.log")).unwrap();
    assert!(log.contains("INFO") && log.contains("agent a1 on http://") && !log.contains('\u{1b}'), "{log}");
    assert!(log.lines().all(|line| line.starts_with("20") && line[..24].contains('T')), "{log}");

    person.keys(&["q"]);
    person.sees("now>");
    person.asks_the_shell("echo code $code", "code 0");
    assert!(world.agents().iter().all(|agent| agent["ready"] != true));
    world.no_process_is_left();
    world.replays_exactly(1);
}

#[test]
fn a_provider_that_is_killed_leaves_a_terminal_that_can_be_used() {
    let world = World::new();
    let Some((person, run)) = begins(&world) else { return };
    person.types(&run);
    world.is_ready();
    person.sees("the agent is here");
    signal(world.noted("pids").pop().unwrap().parse().unwrap(), "KILL");
    let shown = person.sees("the run failed");
    assert!(shown.contains("runner-a1.log says how"), "{shown}");
    person.asks_the_shell(&cooked(), "code 1 cooked 1");
    let log = fs::read_to_string(world.path(".agent-relay/logs/runner-a1.log")).unwrap();
    assert!(log.contains("signal 9 (SIGKILL)"), "{log}");
    world.no_process_is_left();

    // A runner that is told to end ends it, and gives the terminal back.
    person.types(&format!("clear; {run}"));
    world.is_ready();
    person.sees("the agent is here");
    assert_eq!(world.ask(&["stop", "a1"]).code, Some(0));
    person.sees("now>");
    person.asks_the_shell(&cooked(), "code 0 cooked 1");
    world.no_process_is_left();
}

#[test]
fn a_runner_in_the_background_waits_for_its_terminal() {
    let world = World::new();
    let Some((person, run)) = begins(&world) else { return };
    person.types(&format!("{run} &"));
    // A shell says it before it asks for the next line.
    eventually("its shell says that it waits", || {
        person.keys(&["Enter"]);
        person.screen().contains("Stopped").then_some(())
    });
    assert!(!world.state().exists(), "nothing was begun");
    person.types("clear; fg");
    person.sees("the agent is here");
    world.is_ready();
    person.keys(&["q"]);
    person.sees("now>");
    person.asks_the_shell("echo code $code", "code 0");
}

#[test]
fn who_has_no_shell_to_come_back_to_is_not_stopped() {
    let world = World::new();
    let Some((person, run)) = begins(&world) else { return };
    // The shell is gone: nobody could go on with a job that was stopped.
    person.types(&format!("clear; exec {run}"));
    person.sees("the agent is here");
    world.is_ready();
    person.keys(&["C-z"]);
    person.keys(&["x"]);
    person.sees("key x");
    world.is_settled(world.message("hello"));
    person.keys(&["q"]);
    eventually("it is over", || person.screen().is_empty().then_some(()));
    world.no_process_is_left();
}

#[test]
fn without_a_terminal_nothing_begins() {
    let world = World::new();
    let agent = world.script("agent", "");
    for arguments in [&["run", "claude", "--interactive"][..], &["run", "claude"]] {
        let arguments = [arguments, &["--agent-id", "a1", "--claude", &agent, "--json"]].concat();
        let said = world.ask_with(&arguments, &[("AGENT_RELAY_INTERACTIVE", "1")]);
        assert_eq!((said.code, said.error_code().as_str()), (Some(2), "no_tty"), "{said:?}");
        assert!(said.err.contains("its standard input is no terminal") && said.err.contains("--headless"), "{said:?}");
    }
    assert!(!world.state().exists() && !world.path(".agent-relay").exists());
    // Its output elsewhere is as good as none.
    let Some((person, run)) = begins(&world) else { return };
    person.types(&format!("{} > {}", run, text(&world.path("out"))));
    person.sees("its standard output is no terminal");
    person.asks_the_shell("echo code $code", "code 2");
    let none: Vec<Value> = world.agents();
    assert!(none.is_empty(), "{none:?}");
}
