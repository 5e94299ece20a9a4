//! Work that reaches codex, and what a person and the relay may do with it.

use super::world::World;
use crate::installed::Installed;
use crate::model::Phase;
use crate::world::{eventually, text};
use serde_json::json;

pub(super) fn a_task_is_worked_and_done_and_nothing_is_left(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&[]);
    let said = world.ask(&["send", "a1", "SAY it is done", "--task", "--wait", "--timeout", "60s"]);
    assert_eq!(said.code, Some(0), "{said:?}; {}", world.log());
    let [asked] = &world.model.asked()[..] else { panic!("{:#?}", world.model.asked()) };
    assert_eq!(asked.says("SAY it is done"), 1);
    assert!(asked.prompt().starts_with("[relay message "), "{}", asked.prompt());
    // What an agent is to know of the relay is the developer's word, and no person's.
    assert!(asked.body.to_string().contains("You are the agent a1 on a relay"), "{}", asked.body);
    assert_eq!(asked.says("You are the agent a1"), 0);
    // As the stand-in counts them, and as much as codex thinks of a model that it does not know.
    let context = &world.status()["context"];
    assert_eq!((&context["used"], &context["confidence"]), (&json!(120), &json!("exact")), "{context}");
    assert!(context["window"].as_u64() > Some(100_000), "{context}");
    world.ends(runner, 1);
}

pub(super) fn the_first_prompt_is_said_once_and_before_any_message(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&["--prompt", "SAY good morning"]);
    let (_, task) = world.task("SAY after it");
    world.task_is(task, "done");
    let prompts: Vec<_> = world.model.asked().iter().map(|asked| asked.prompt().to_owned()).collect();
    let [first, second] = &prompts[..] else { panic!("{prompts:#?}") };
    assert!(first.contains("good morning") && second.contains("after it"), "{prompts:#?}");
    world.ends(runner, 1);
}

pub(super) fn the_model_and_the_effort_are_those_of_the_options(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&["--model", "another", "--effort", "low"]);
    let (_, task) = world.task("SAY well");
    world.task_is(task, "done");
    let asked = world.model.asked().pop().unwrap();
    assert_eq!((&asked.body["model"], &asked.body["reasoning"]["effort"]), (&json!("another"), &json!("low")));
    world.ends(runner, 1);
}

pub(super) fn a_command_that_asks_waits_until_it_is_approved(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&["--approval", "guarded"]);
    // Outside of what its sandbox would let it write.
    let made = world.path("made");
    let (_, task) = world.task(&format!("ASK touch {}", text(&made)));
    let request = world.asks();
    let words = world.ask(&["status", "a1"]).out;
    assert!(words.contains(&format!("approval  {request}")) && words.contains("touch"), "{words}");
    assert!(!made.exists());
    world.decides(&["approve"], &request);
    world.task_is(task, "done");
    assert!(made.exists());
    assert_eq!(world.status()["approvals"], json!([]));
    world.ends(runner, 1);
}

pub(super) fn a_command_that_is_denied_does_not_run_and_its_turn_goes_on(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&["--approval", "guarded"]);
    let made = world.path("made");
    let (_, task) = world.task(&format!("ASK touch {}", text(&made)));
    world.decides(&["deny", "--reason", "not now"], &world.asks());
    world.task_is(task, "done");
    assert!(!made.exists());
    assert_eq!(world.model.asked().len(), 2, "the model was told");
    world.ends(runner, 1);
}

pub(super) fn where_all_is_allowed_nobody_is_asked(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&["--approval", "open"]);
    let (_, task) = world.task("RUN touch made");
    world.task_is(task, "done");
    assert!(world.path("work/made").exists());
    world.ends(runner, 1);
}

pub(super) fn what_may_only_read_writes_nothing(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&["--approval", "read-only"]);
    let (_, task) = world.task("RUN touch made; echo tried");
    world.task_is(task, "done");
    let output = world.model.asked()[1].body["input"].as_array().unwrap().last().unwrap().to_string();
    assert!(output.contains("tried"), "{output}");
    assert!(!world.path("work/made").exists());
    world.ends(runner, 1);
}

pub(super) fn the_context_is_compacted_and_cleared(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&[]);
    let (_, task) = world.task("SAY the first words");
    world.task_is(task, "done");
    let compacted = world.command("agent.compact", &json!({}));
    world.command_is(&compacted, "succeeded");
    let compaction = world.model.asked().pop().unwrap();
    assert!(compaction.says("the first words") == 1 && !compaction.prompt().contains("the first words"));

    let cleared = world.command("agent.clearContext", &json!({}));
    world.command_is(&cleared, "succeeded");
    let (_, task) = world.task("SAY the next words");
    world.task_is(task, "done");
    let asked = world.model.asked().pop().unwrap();
    assert_eq!((asked.says("the next words"), asked.says("the first words")), (1, 0), "{:#?}", asked.prompts);
    assert!(asked.body.to_string().contains("You are the agent a1 on a relay"), "a new thread is told as well");
    world.ends(runner, 1);
}

pub(super) fn what_is_injected_reaches_the_model(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&[]);
    let injected = world.command("agent.injectContext", &json!({"content": "the sky is green"}));
    world.command_is(&injected, "succeeded");
    let (_, task) = world.task("SAY well");
    world.task_is(task, "done");
    let asked = world.model.asked().pop().unwrap();
    assert_eq!(asked.body.to_string().matches("the sky is green").count(), 1, "{:#?}", asked.body["input"]);
    world.ends(runner, 1);
}

pub(super) fn a_message_during_a_turn_is_steered_into_it(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&["--deliver", "steer"]);
    let (first, task) = world.task("HOLD one");
    world.model.holds("HOLD one");
    world.is(first, "taken");
    let second = world.message("SAY and this as well");
    world.is_settled(second);
    world.task_is(task, "done");
    let asked = world.model.asked();
    assert_eq!(asked.last().unwrap().says("and this as well"), 1, "{asked:#?}");
    // The answer that was under way is cut.
    assert_eq!(asked[0].phase, Phase::Gone);
    world.ends(runner, 1);
}

/// Codex takes what is steered during a question, and forgets it when the turn is interrupted.
pub(super) fn what_codex_loses_is_offered_again_and_reaches_the_model_once(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&["--deliver", "steer", "--approval", "guarded"]);
    let (_, task) = world.task("ASK echo done");
    let request = world.asks();
    let steered = world.message("SAY what must not be lost");
    world.is_accepted(steered);
    world.decides(&["deny", "--abort"], &request);
    // The task itself was interrupted as well: it is given again, and asks again.
    let again = eventually("it asks again", || Some(world.asks()).filter(|again| *again != request));
    eventually("it is offered again", || (world.times(steered, "offered") == 2).then_some(()));
    world.decides(&["approve"], &again);
    world.task_is(task, "done");
    world.is_settled(steered);
    assert_eq!(world.times(steered, "taken"), 1, "{:?}", world.stages(steered));
    assert_eq!(world.times(steered, "offered"), 2, "{:?}", world.stages(steered));
    let asked = world.model.asked();
    assert_eq!(asked.last().unwrap().says("what must not be lost"), 1, "{asked:#?}");
    world.ends(runner, 1);
}

pub(super) fn an_urgent_message_interrupts_the_turn(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&["--deliver", "interrupt"]);
    world.task("HOLD one");
    world.model.holds("HOLD one");
    let urgent = json!({"from": "operator", "to": "a1", "body": "SAY at once", "priority": "urgent"});
    let (status, message) = world.call("POST", "/messages", &urgent.to_string());
    assert!((200..300).contains(&status), "{message}");
    world.model.until("the first answer is cut", |asked| (asked[0].phase == Phase::Gone).then_some(()));
    world.is_settled(message["id"].as_u64().unwrap());
    world.model.release("one");
    eventually("it is idle", || (world.ask(&["ps", "--json"]).json()[0]["state"] == "idle").then_some(()));
    world.ends(runner, 1);
}
