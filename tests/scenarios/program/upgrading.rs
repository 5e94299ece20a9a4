//! A runner that steps aside or is killed, and an agent that does not notice.

use super::world::{PATIENT, PROGRAM, Process, World, eventually, is_alive, signal};
use serde_json::Value;

/// A listening agent, which takes two seconds for a task; `notes` in its working folder says what it did.
const LISTENING: [&str; 10] =
    ["run", "command", "--agent-id", "a1", "--listen", "--", PROGRAM, "demo-agent", "--log", "notes"];

fn listening(world: &World) -> Process {
    world.start(&LISTENING, &[])
}

fn said(world: &World) -> Vec<Value> {
    world.noted("notes").iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn what(world: &World) -> Vec<String> {
    said(world).iter().map(|note| note["what"].as_str().unwrap().to_owned()).collect()
}

/// The process of the agent, as its runner knows it.
fn agent(world: &World) -> u64 {
    eventually("the runner knows its provider", || {
        let said = world.ask(&["status", "a1", "--json"]);
        let state: Value = serde_json::from_str(&said.out).ok()?;
        (state["ready"] == true).then(|| state["process"]["process"]["pid"].as_u64())?
    })
}

fn ends_in_order(world: &World, runner: Process, agent: u64) {
    assert_eq!(world.ask(&["stop", "a1"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0), "{}", world.log());
    eventually("the agent is gone", || (!is_alive(&agent.to_string())).then_some(()));
}

#[test]
fn an_agent_goes_on_while_its_runner_is_dead() {
    let world = World::new();
    let runner = listening(&world);
    world.is_ready();
    let before = agent(&world);
    let (message, task) = world.task("longer than its runner lives");
    world.notes("notes", 1);
    signal(runner.pid(), "KILL");
    assert_eq!(runner.ends(), None);
    // Its end is said to nobody.
    world.notes("notes", 3);
    let later = listening(&world);
    world.task_is(task, "done");
    world.is_settled(message);
    assert_eq!(agent(&world), before, "{}", world.log());
    assert_eq!(what(&world), ["began", "half done", "finished"]);
    let stages = world.stages(message);
    assert!(stages.iter().all(|(_, attempt)| *attempt <= 1), "it was offered once: {stages:?}");
    ends_in_order(&world, later, before);
    world.replays_exactly(2);
}

#[test]
fn an_upgrade_keeps_an_agent_in_mid_turn() {
    let world = World::new();
    let service = world.service(&LISTENING);
    world.is_ready();
    let before = agent(&world);
    let (message, task) = world.task("longer than its runner runs");
    world.notes("notes", 1);
    let upgraded = world.ask(&["upgrade", "a1", "--json"]);
    assert_eq!(upgraded.code, Some(0), "{upgraded:?} {}", world.log());
    let upgraded = upgraded.json();
    assert_eq!(upgraded["provider"], before);
    assert_ne!(upgraded["runner"], upgraded["successor"]);
    assert_eq!(agent(&world), before);
    assert!(what(&world).len() < 3, "it is in mid-turn");
    world.task_is(task, "done");
    world.is_settled(message);
    assert_eq!(what(&world), ["began", "half done", "finished"]);
    ends_in_order(&world, service, before);
    world.replays_exactly(2);
}

#[test]
fn an_agent_that_cannot_be_taken_up_ends_its_turn_first() {
    let world = World::new();
    let runner = world.agent(PATIENT, &[]);
    let (_, task) = world.task("before it steps aside");
    world.notes("notes", 1);
    signal(runner.pid(), "USR2");
    eventually("the run drains", || world.log().contains("draining").then_some(()));
    world.go();
    assert_eq!(runner.ends(), Some(75));
    world.no_process_is_left();
    let later = world.agent(PATIENT, &[]);
    world.task_is(task, "done");
    assert_eq!(world.heard().len(), 1, "and is not done again");
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(later.ends(), Some(0));
    world.replays_exactly(2);
}

#[test]
fn an_agent_that_died_with_its_runner_is_replaced_and_told_so() {
    let world = World::new();
    let runner = listening(&world);
    world.is_ready();
    let before = agent(&world);
    let (_, task) = world.task("for two of them");
    world.notes("notes", 1);
    signal(runner.pid(), "KILL");
    signal(u32::try_from(before).unwrap(), "KILL");
    assert_eq!(runner.ends(), None);
    let later = listening(&world);
    world.task_is(task, "done");
    let after = agent(&world);
    assert_ne!(after, before);
    let attempts: Vec<_> = said(&world).iter().map(|note| note["attempt"].as_u64().unwrap()).collect();
    assert_eq!((attempts.first(), attempts.last()), (Some(&1), Some(&2)));
    ends_in_order(&world, later, after);
    world.replays_exactly(2);
}

#[test]
fn a_runner_that_steps_aside_and_is_not_started_again_says_what_to_do() {
    let world = World::new();
    let runner = listening(&world);
    world.is_ready();
    let before = agent(&world);
    let upgrade = world.ask(&["upgrade", "--wait", "100ms", "--json"]);
    assert_eq!((upgrade.code, upgrade.error_code().as_str()), (Some(1), "not_started_again"), "{upgrade:?}");
    assert!(upgrade.err.contains("start it as before"), "{upgrade:?}");
    assert_eq!(runner.ends(), Some(75));
    assert!(is_alive(&before.to_string()));
    let nobody = world.ask(&["upgrade", "a1", "--json"]);
    assert_eq!((nobody.code, nobody.error_code().as_str()), (Some(1), "not_running"), "{nobody:?}");
    let later = listening(&world);
    world.is_ready();
    assert_eq!(agent(&world), before);
    ends_in_order(&world, later, before);
}

#[test]
fn a_start_that_forgets_everything_leaves_no_agent_behind() {
    let world = World::new();
    let runner = listening(&world);
    world.is_ready();
    let before = agent(&world);
    signal(runner.pid(), "KILL");
    assert_eq!(runner.ends(), None);
    let later = world.start(&[&LISTENING[..4], &["--fresh"], &LISTENING[4..]].concat(), &[]);
    eventually("the old agent is gone", || (!is_alive(&before.to_string())).then_some(()));
    let after = eventually("another agent is there", || Some(agent(&world)).filter(|pid| *pid != before));
    ends_in_order(&world, later, after);
}

#[test]
fn an_agent_that_was_started_with_other_settings_is_replaced_and_not_passed_off_as_one_with_these() {
    let world = World::new();
    let runner = listening(&world);
    world.is_ready();
    let before = agent(&world);
    signal(runner.pid(), "USR2");
    assert_eq!(runner.ends(), Some(75));
    let later = world.start(&[&LISTENING[..4], &["--approval", "read-only"], &LISTENING[4..]].concat(), &[]);
    eventually("the old agent is gone", || (!is_alive(&before.to_string())).then_some(()));
    let after = eventually("another agent is there", || Some(agent(&world)).filter(|pid| *pid != before));
    assert!(world.log().contains("it is replaced"), "{}", world.log());
    ends_in_order(&world, later, after);
    world.replays_exactly(2);
}
