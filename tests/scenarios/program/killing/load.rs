//! What is sent meanwhile: plain messages, urgent ones, several of one sender at once, and tasks.

use super::super::world::World;
use super::chance::Chance;
use serde_json::{Value, json};

#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) message: u64,
    pub(super) task: Option<u64>,
}

pub(super) fn send(world: &World, chance: &mut Chance) -> Vec<Sent> {
    let from = if chance.one_in(2) { "alice" } else { "bob" };
    match chance.below(8) {
        0..=2 => vec![message(world, from, "normal")],
        3 | 4 => vec![message(world, from, "urgent")],
        5 => (0..3).map(|_| message(world, from, "normal")).collect(),
        _ => vec![task(world, from)],
    }
}

fn message(world: &World, from: &str, priority: &str) -> Sent {
    let body = json!({"from": from, "to": "a1", "body": "are you there?", "priority": priority});
    Sent { message: posted(world, "/messages", &body)["id"].as_u64().unwrap(), task: None }
}

fn task(world: &World, from: &str) -> Sent {
    let task = posted(world, "/tasks", &json!({"from": from, "target": "a1", "title": "something long"}));
    Sent { message: task["messageId"].as_u64().unwrap(), task: task["id"].as_u64() }
}

fn posted(world: &World, path: &str, body: &Value) -> Value {
    let (status, answer) = world.call("POST", path, &body.to_string());
    assert!((200..300).contains(&status), "{path}: {answer}");
    answer
}
