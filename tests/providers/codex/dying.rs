//! Deaths: of codex, of its runner, and of a turn.

use super::world::World;
use crate::installed::Installed;
use crate::world::{eventually, is_alive};
use serde_json::json;

const AGAIN: &str = "Delivered again";

pub(super) fn a_killed_codex_resumes_its_thread_and_gets_the_message_again(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&[]);
    let (_, before) = world.task("SAY known from before");
    world.task_is(before, "done");
    let (message, task) = world.task("HOLD one");
    world.model.holds("HOLD one");
    world.is(message, "taken");
    let killed = world.pid();
    World::kill(killed);
    let again = world.model.holds(AGAIN);
    assert!(again.prompt().contains("HOLD one"), "{:#?}", again.prompts);
    assert_eq!(again.says("known from before"), 1, "the same thread: {:#?}", again.prompts);
    assert_eq!(again.says("HOLD one"), 2, "what was interrupted, and what is delivered again");
    assert_ne!(world.pid(), killed);
    world.model.release("one");
    world.task_is(task, "done");
    world.is_settled(message);
    assert_eq!(world.model.answered(), 2, "done once");
    assert_eq!(world.times(message, "settled"), 1, "{:?}", world.stages(message));
    world.ends(runner, 1);
}

pub(super) fn a_codex_whose_runner_was_killed_is_adopted_with_its_turn(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&[]);
    let (message, task) = world.task("HOLD one");
    world.model.holds("HOLD one");
    world.is(message, "taken");
    let lives = world.pid();
    assert!(runner.killed());
    assert!(is_alive(&lives.to_string()));
    let runner = world.starts(&[]);
    eventually("it is adopted", || {
        let listed = world.ask(&["ps", "--json"]).json();
        (listed[0]["state"] == "busy" && listed[0]["providerPid"] == lives).then_some(())
    });
    world.model.release("one");
    world.task_is(task, "done");
    world.is_settled(message);
    let asked = world.model.asked();
    assert_eq!((asked.len(), world.model.answered()), (1, 1), "done once: {asked:#?}");
    assert_eq!(world.times(message, "settled"), 1, "{:?}", world.stages(message));
    world.ends(runner, 2);
}

/// The turn that ends while nobody looks has still ended.
pub(super) fn a_turn_that_ends_without_a_runner_is_done_once(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&[]);
    let (message, task) = world.task("HOLD one");
    world.model.holds("HOLD one");
    world.is(message, "taken");
    let lives = world.pid();
    assert!(runner.killed());
    world.model.release("one");
    eventually("it is answered", || (world.model.answered() == 1).then_some(()));
    let runner = world.starts(&[]);
    world.task_is(task, "done");
    assert_eq!(world.pid(), lives);
    assert_eq!(world.model.asked().len(), 1, "done once");
    world.ends(runner, 2);
}

pub(super) fn what_waits_for_a_decision_outlives_its_runner(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&["--approval", "guarded"]);
    let (_, task) = world.task("ASK touch made");
    world.asks();
    let lives = world.pid();
    assert!(runner.killed());
    let runner = world.starts(&["--approval", "guarded"]);
    let request = world.asks();
    assert_eq!(world.pid(), lives);
    world.decides(&["approve"], &request);
    world.task_is(task, "done");
    assert!(world.path("work/made").exists());
    world.ends(runner, 2);
}

pub(super) fn a_restart_keeps_the_thread(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&[]);
    let (_, task) = world.task("SAY known from before");
    world.task_is(task, "done");
    let first = world.pid();
    let restarted = world.command("agent.restart", &json!({}));
    world.command_is(&restarted, "succeeded");
    World::is_gone(first);
    let (_, task) = world.task("SAY after it");
    world.task_is(task, "done");
    let asked = world.model.asked().pop().unwrap();
    assert_eq!((asked.says("known from before"), asked.says("after it")), (1, 1), "{:#?}", asked.prompts);
    world.ends(runner, 1);
}

pub(super) fn a_new_run_resumes_the_agents_last_thread(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&[]);
    let (_, task) = world.task("SAY known from before");
    world.task_is(task, "done");
    world.ends(runner, 1);
    let runner = world.codex(&[]);
    let (_, task) = world.task("SAY after it");
    world.task_is(task, "done");
    let asked = world.model.asked().pop().unwrap();
    assert_eq!((asked.says("known from before"), asked.says("after it")), (1, 1), "{:#?}", asked.prompts);
    world.ends(runner, 2);
}

/// A command has a session of its own, where the end of codex does not reach it.
fn its_command_runs(world: &World) -> u32 {
    eventually("its command runs", || {
        let all = world.codexes();
        let line = all.iter().find_map(|line| line.strip_suffix(": sleep 1000"))?;
        line.strip_prefix("/proc/")?.parse().ok()
    })
}

pub(super) fn a_kill_leaves_nothing(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&[]);
    world.task("RUN sleep 1000 & sleep 1000");
    its_command_runs(&world);
    let stopped = world.ask(&["stop", "a1", "--now"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}; {}", world.log());
    assert_eq!(runner.ends(), Some(0), "{}", world.log());
    eventually("no process of codex is left", || world.codexes().is_empty().then_some(()));
}

/// Its sandbox is not up yet, and does not end with codex by itself.
pub(super) fn a_kill_while_a_command_starts_leaves_nothing(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&[]);
    world.task("RUN sleep 1000 & sleep 1000");
    eventually("its command starts", || world.codexes().iter().any(|line| line.ends_with("sleep 1000")).then_some(()));
    let stopped = world.ask(&["stop", "a1", "--now"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}; {}", world.log());
    assert_eq!(runner.ends(), Some(0), "{}", world.log());
    eventually("no process of codex is left", || world.codexes().is_empty().then_some(()));
}

/// The message is delivered again: what it had begun must not go on beside that.
pub(super) fn the_commands_of_a_killed_codex_end_with_it(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&[]);
    world.task("RUN [ -e once ] || { touch once; sleep 1000; }");
    let command = its_command_runs(&world);
    World::kill(world.pid());
    world
        .model
        .until("it is delivered again", |asked| asked.iter().any(|asked| asked.prompt().contains(AGAIN)).then_some(()));
    World::is_gone(command);
    world.ends(runner, 1);
}

/// It is not in the sandbox, which ends with codex by itself.
pub(super) fn an_approved_command_of_a_killed_codex_ends_with_it(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&["--approval", "guarded"]);
    world.task("ASK sleep 1000");
    world.decides(&["approve"], &world.asks());
    let command = its_command_runs(&world);
    World::kill(world.pid());
    world
        .model
        .until("it is delivered again", |asked| asked.iter().any(|asked| asked.prompt().contains(AGAIN)).then_some(()));
    World::is_gone(command);
    world.decides(&["deny", "--abort"], &world.asks());
    world.ends(runner, 1);
}

pub(super) fn an_approved_command_ends_with_a_stop(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&["--approval", "guarded", "--drain-timeout", "0"]);
    world.task("ASK sleep 1000");
    world.decides(&["approve"], &world.asks());
    its_command_runs(&world);
    world.ends(runner, 1);
}
