//! The demonstration: it is the first thing that a newcomer runs.

use super::world::World;
use std::fs;

#[test]
fn the_demonstration_shows_all_of_it_and_leaves_nothing() {
    let world = World::without_relay();
    let said = world.ask(&["demo"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    for words in
        ["kill process", "marked as delivered again", "task 1 is done", "replays exactly", "no process is left"]
    {
        assert!(said.out.contains(words), "{words}: {said:?}");
    }
    assert!(!said.out.contains("NO "), "{said:?}");
    let left: Vec<_> = fs::read_dir(world.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["work"], "its folder is gone");
}

#[test]
fn a_demonstration_that_stays_can_be_used_until_it_is_ended() {
    let world = World::without_relay();
    let mut demo = world.start(&["demo", "--stay", "--json"], &[]);
    let staying = loop {
        let line: serde_json::Value = serde_json::from_str(&demo.line()).unwrap();
        if line["event"] == "staying" {
            break line;
        }
    };
    let relay = staying["relay"].as_str().unwrap();
    let said = world.ask(&["send", "demo", "one more", "--task", "--wait", "--relay", relay]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let state = staying["stateDir"].as_str().unwrap();
    let said = world.ask(&["status", "--state-dir", state]);
    assert!(said.out.starts_with("demo: "), "{said:?}");
    super::world::signal(demo.pid(), "INT");
    assert_eq!(demo.ends(), Some(0));
}

#[test]
fn an_interrupted_demonstration_leaves_nothing() {
    let world = World::without_relay();
    let mut demo = world.start(&["demo", "--json"], &[]);
    let pid = loop {
        let line: serde_json::Value = serde_json::from_str(&demo.line()).unwrap();
        if let Some((_, pid)) = line["what"].as_str().and_then(|what| what.split_once("is started, as process ")) {
            break pid.to_owned();
        }
    };
    super::world::signal(demo.pid(), "INT");
    assert_eq!(demo.ends(), Some(1));
    super::world::eventually("the agent is gone", || (!super::world::is_alive(&pid)).then_some(()));
    let left: Vec<_> = fs::read_dir(world.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "its folder is gone; work and log are the test's own: {left:?}");
}
