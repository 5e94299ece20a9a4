//! Work that reaches Claude Code in print mode, and what a person and the relay may do with it.

use super::runner::{STREAM, World};
use crate::installed::Installed;
use serde_json::json;

pub(super) fn a_task_is_worked_and_done_and_nothing_is_left(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&[]);
    let said = world.ask(&["send", "a1", "SAY it is done", "--task", "--wait", "--timeout", "60s"]);
    assert_eq!(said.code, Some(0), "{said:?}; {}", world.log());
    let [asked] = &world.model.asked()[..] else { panic!("{:#?}", world.model.asked()) };
    assert_eq!(asked.says("SAY it is done"), 1);
    assert!(asked.prompt().starts_with("[relay message "), "{}", asked.prompt());
    // What an agent is to know of the relay is the developer's word, and no person's.
    assert!(asked.body["system"].to_string().contains("You are the agent a1 on a relay"), "{}", asked.body);
    assert_eq!(asked.says("You are the agent a1"), 0);
    // As the stand-in counts them, and as much as Claude Code thinks of its model.
    let context = &world.status()["context"];
    assert_eq!((&context["used"], &context["confidence"]), (&json!(130), &json!("exact")), "{context}");
    assert!(context["window"].as_u64() > Some(100_000), "{context}");
    world.ends(runner, 1);
}
