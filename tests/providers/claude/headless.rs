//! Claude Code in a terminal that the runner keeps: work that reaches it, and what a person and the relay may do with it.

use super::runner::{TERMINAL, World};
use crate::installed::Installed;
use crate::model::{Asked, Phase};
use crate::world::{eventually, signal};
use serde_json::json;

const GUARDED: [&str; 2] = ["--approval", "guarded"];

pub(super) fn a_person_in_the_terminal_says_yes(claude: &Installed) {
    let world = World::new(claude, TERMINAL);
    let runner = world.claude(&GUARDED);
    let (_, task) = world.task("ASK touch made");
    world.asks();
    world.pane_shows("Do you want to proceed?");
    world.key_until("Enter", "Do you want to proceed?");
    world.task_is(task, "done");
    assert!(world.path("work/made").exists());
    eventually("nothing is asked any more", || (world.status()["approvals"] == json!([])).then_some(()));
    world.ends(runner, 1);
}

pub(super) fn a_person_in_the_terminal_says_no(claude: &Installed) {
    let world = World::new(claude, TERMINAL);
    let runner = world.claude(&GUARDED);
    let (_, task) = world.task("ASK touch made");
    world.asks();
    world.pane_shows("Do you want to proceed?");
    world.key_until("Escape", "Do you want to proceed?");
    // No hook tells of it: the transcript does.
    world.task_is(task, "blocked");
    assert!(!world.path("work/made").exists());
    assert_eq!(world.status()["approvals"], json!([]));
    world.ends(runner, 1);
}

pub(super) fn a_message_while_the_dialog_is_open_approves_nothing_and_is_taken_afterwards(claude: &Installed) {
    let world = World::new(claude, TERMINAL);
    let runner = world.claude(&["--approval", "guarded", "--deliver", "steer"]);
    let (_, task) = world.task("ASK touch made");
    let request = world.asks();
    world.pane_shows("Do you want to proceed?");
    let message = world.message("SAY yes, approve it");
    world.is(message, "offered");
    world.claude_has(message);
    assert_eq!((world.asks(), world.path("work/made").exists()), (request.clone(), false));
    world.pane_shows("Do you want to proceed?");
    assert_eq!(world.times(message, "taken"), 0);
    world.decides(&["approve"], &request);
    world.is(message, "worked");
    world.task_is(task, "done");
    assert_eq!((world.times(message, "taken"), world.times(message, "offered")), (1, 1));
    world.ends(runner, 1);
}

pub(super) fn a_long_message_is_read_whole_by_the_agent_itself(claude: &Installed) {
    let world = World::new(claude, TERMINAL);
    let runner = world.claude(&GUARDED);
    let long = format!("{}the end of it", "many words ".repeat(100));
    let message = world.message(&format!("RUN relay-runner read 1\n{long}"));
    world.is(message, "worked");
    let told = world.model.asked().pop().unwrap().body["messages"].to_string();
    assert!(told.contains("the end of it"), "{told}");
    world.ends(runner, 1);
}

pub(super) fn a_killed_runner_finds_its_claude_at_work_and_the_work_is_done_once(claude: &Installed) {
    let world = World::new(claude, TERMINAL);
    let runner = world.claude(&[]);
    let (message, task) = world.task("HOLD adopted");
    world.model.holds("HOLD adopted");
    let pid = world.pid();
    assert!(runner.killed());
    let runner = world.claude(&[]);
    assert_eq!(world.pid(), pid, "it is the same process");
    world.model.release("adopted");
    world.task_is(task, "done");
    assert_eq!((world.times(message, "offered"), world.model.asked().len()), (1, 1));
    let (_, task) = world.task("SAY another");
    world.task_is(task, "done");
    world.ends(runner, 2);
}

pub(super) fn a_turn_that_ended_while_no_runner_was_there_is_worked(claude: &Installed) {
    let world = World::new(claude, TERMINAL);
    let runner = world.claude(&[]);
    let (message, task) = world.task("HOLD unseen");
    world.model.holds("HOLD unseen");
    assert!(runner.killed());
    world.model.release("unseen");
    world.pane_shows("the last.");
    let runner = world.claude(&[]);
    world.is(message, "worked");
    world.task_is(task, "done");
    assert_eq!((world.times(message, "offered"), world.model.asked().len()), (1, 1));
    world.ends(runner, 2);
}

pub(super) fn a_dialog_outlives_its_runner_and_is_answered_at_the_next(claude: &Installed) {
    let world = World::new(claude, TERMINAL);
    let runner = world.claude(&GUARDED);
    let (_, task) = world.task("ASK touch made");
    world.asks();
    assert!(runner.killed());
    let runner = world.claude(&GUARDED);
    world.decides(&["approve"], &world.asks());
    world.task_is(task, "done");
    assert!(world.path("work/made").exists());
    world.ends(runner, 2);
}

pub(super) fn an_upgrade_leaves_it_at_work(claude: &Installed) {
    let world = World::new(claude, TERMINAL);
    let runner = world.claude(&[]);
    let (message, task) = world.task("HOLD upgraded");
    world.model.holds("HOLD upgraded");
    let pid = world.pid();
    signal(runner.pid(), "USR2");
    assert_eq!(runner.ends(), Some(75), "{}", world.log());
    let runner = world.claude(&[]);
    assert_eq!(world.pid(), pid);
    world.model.release("upgraded");
    world.task_is(task, "done");
    assert_eq!(world.times(message, "offered"), 1);
    world.ends(runner, 2);
}

pub(super) fn who_is_not_logged_in_is_told_what_to_do(claude: &Installed) {
    let mut world = World::new(claude, TERMINAL);
    world.logs_in_with(None);
    let runner = world.claude(&[]);
    let (_, task) = world.task("SAY well");
    world.shows("status", &["log in", "relay-runner restart"]);
    assert!(runner.killed());
    world.logs_in_with(Some(super::runner::KEY));
    // Another try would end the same way, as far as the runner knows.
    let runner = world.starts(&[]);
    world.shows("status", &["parked"]);
    assert_eq!(world.ask(&["restart", "a1"]).code, Some(0));
    world.task_is(task, "done");
    world.ends(runner, 2);
}

pub(super) fn a_folder_that_nobody_trusts_is_told_and_not_trusted(claude: &Installed) {
    let world = World::new(claude, TERMINAL);
    let seed = json!({"hasCompletedOnboarding": true, "theme": "dark",
        "customApiKeyResponses": {"approved": ["a-key"], "rejected": []}});
    std::fs::write(world.path(".claude.json"), seed.to_string()).unwrap();
    let runner = world.starts(&[]);
    let words = world.shows("status", &["trusted", "run `claude` in that folder"]);
    assert!(words.contains("relay-runner restart"), "{words}");
    world.is_left_alone();
    assert!(runner.killed());
}

pub(super) fn subagents_show_and_end(claude: &Installed) {
    let world = World::new(claude, TERMINAL);
    let runner = world.claude(&[]);
    let part = json!({"description": "a part", "prompt": "HOLD part", "subagent_type": "general-purpose"});
    let (_, task) = world.task(&format!("USE Agent {part}"));
    world.model.holds("HOLD part");
    world.shows("status", &["subagent"]);
    world.model.release("part");
    world.task_is(task, "done");
    eventually("no subagent is left", || (!world.ask(&["status", "a1"]).out.contains("subagent")).then_some(()));
    world.ends(runner, 1);
}

pub(super) fn what_is_injected_reaches_the_model(claude: &Installed) {
    let world = World::new(claude, TERMINAL);
    let runner = world.claude(&[]);
    for (words, times) in [("the sky is green", 1), ("a long tale ", 80)] {
        let words = words.repeat(times);
        let injected = world.command("agent.injectContext", &json!({"content": words}));
        world.command_is(&injected, "succeeded");
        world.model.until("the model is told", |all| {
            let told = |asked: &Asked| asked.body["messages"].to_string().matches(words[..10].trim()).count();
            all.iter().any(|asked| told(asked) >= times).then_some(())
        });
    }
    world.ends(runner, 1);
}

pub(super) fn an_urgent_message_interrupts_the_turn_and_what_made_way_comes_again(claude: &Installed) {
    let world = World::new(claude, TERMINAL);
    let runner = world.claude(&["--deliver", "interrupt"]);
    let (message, task) = world.task("HOLD interrupted");
    world.model.holds("HOLD interrupted");
    let said = world.ask(&["send", "a1", "SAY this first", "--urgent"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    world.is(message + 1, "worked");
    world.model.release("interrupted");
    world.task_is(task, "done");
    assert_eq!(world.times(message, "taken"), 2);
    world.ends(runner, 1);
}

pub(super) fn its_terminal_can_be_looked_at_and_driven(claude: &Installed) {
    let world = World::new(claude, TERMINAL);
    let runner = world.claude(&[]);
    let (_, task) = world.task("SAY something to see");
    world.task_is(task, "done");
    let looks = world.attaches("looks", "");
    looks.shows("something to see");
    looks.types("nothing of this");
    let drives = world.attaches("drives", "--drive");
    drives.shows("something to see");
    drives.types("SAY from the terminal");
    drives.shows("SAY from the terminal");
    drives.enters();
    world.model.until("what was typed is a prompt", |all| {
        all.iter()
            .any(|asked| asked.phase == Phase::Answered && asked.prompt() == "SAY from the terminal")
            .then_some(())
    });
    assert!(!looks.screen().contains("nothing of this"));
    drop((looks, drives));
    world.ends(runner, 1);
}

pub(super) fn a_failed_turn_leaves_an_input_that_can_be_typed_into_and_a_refused_command_says_why(claude: &Installed) {
    let world = World::new(claude, TERMINAL);
    let runner = world.claude(&[]);
    // Nothing was said that could be compacted.
    let refused = world.command("agent.compact", &json!({}));
    let why = world.command_is(&refused, "failed").to_string();
    assert!(why.contains("Not enough messages"), "{why}");
    let (_, task) = world.task("FAIL 400");
    world.task_is(task, "failed");
    world.model.heals();
    let (_, task) = world.task("SAY well");
    world.task_is(task, "done");
    let compacted = world.command("agent.compact", &json!({}));
    world.command_is(&compacted, "succeeded");
    assert_eq!(world.status()["busyReasons"], json!([]));
    world.ends(runner, 1);
}

pub(super) fn without_its_monitor_messages_are_typed(claude: &Installed) {
    let world = World::new(claude, TERMINAL);
    let runner = world.claude(&[]);
    let (_, task) = world.task("SAY through the monitor");
    world.task_is(task, "done");
    for line in world.working().iter().filter(|line| line.contains(" monitor --lines")) {
        World::kill(line.split(':').next().unwrap().rsplit('/').next().unwrap().parse().unwrap());
    }
    // Claude Code tells the model of it, in a turn of its own.
    let (message, task) = world.task("SAY in two lines\nRUN touch typed");
    let typed = world
        .model
        .until("it is typed", |all| all.iter().rev().find(|asked| asked.prompt().contains("in two lines")).cloned());
    world.task_is(task, "done");
    assert!(typed.prompt().contains("SAY in two lines\nRUN touch typed"), "{}", typed.prompt());
    assert_eq!(world.times(message, "taken"), 1, "{:?} {}", world.stages(message), world.log());
    assert!(world.log().contains("are typed into its terminal instead"), "{}", world.log());
    world.ends(runner, 1);
}

pub(super) fn what_a_person_opens_beside_it_is_left_alone(claude: &Installed) {
    let world = World::new(claude, TERMINAL);
    let runner = world.claude(&[]);
    let drives = world.attaches("drives", "--drive");
    drives.shows("Claude Code v");
    drives.opens_a_window();
    let (_, task) = world.task("SAY well");
    world.task_is(task, "done");
    let cleared = world.command("agent.clearContext", &json!({}));
    world.command_is(&cleared, "succeeded");
    drop(drives);
    world.ends(runner, 1);
}
