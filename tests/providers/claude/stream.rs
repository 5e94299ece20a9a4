//! Work that reaches Claude Code in print mode, and what a person and the relay may do with it.

use super::runner::{STREAM, World};
use crate::installed::Installed;
use crate::model::Phase;
use crate::world::eventually;
use serde_json::json;

const GUARDED: [&str; 2] = ["--approval", "guarded"];

/// A second command of the same kind, or a second file, is not asked for, and the project has no new settings.
pub(super) fn what_is_approved_for_the_session_is_not_asked_for_again(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&GUARDED);
    let write = |name: &str| {
        let file = world.path("work").join(name);
        format!("USE Write {}", json!({"file_path": file, "content": "words"}))
    };
    for two in [["ASK touch one".to_owned(), "ASK touch one two".to_owned()], [write("three"), write("four")]] {
        let (_, task) = world.task(&two.join("\n"));
        world.decides(&["approve", "--session"], &world.asks());
        world.task_is(task, "done");
    }
    for file in ["one", "two", "three", "four"] {
        assert!(world.path("work").join(file).exists(), "{file}");
    }
    assert!(!world.path("work/.claude").exists());
    world.ends(runner, 1);
}

pub(super) fn an_abort_ends_the_turn(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&GUARDED);
    world.task("ASK touch made");
    let request = world.asks();
    world.decides(&["deny", "--abort"], &request);
    // What was interrupted is given again, and asks again.
    let again = eventually("it asks again", || Some(world.asks()).filter(|again| *again != request));
    world.decides(&["approve"], &again);
    eventually("it is made", || world.path("work/made").exists().then_some(()));
    world.ends(runner, 1);
}

/// A question of the model's own cannot be answered here: it is told so, and goes on.
pub(super) fn a_question_of_the_models_own_is_sent_back(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&GUARDED);
    let option = |label: &str| json!({"label": label, "description": "one of two"});
    let question = json!({"question": "Which one?", "header": "One", "multiSelect": false,
        "options": [option("a"), option("b")]});
    let (_, task) = world.task(&format!("USE AskUserQuestion {}", json!({"questions": [question]})));
    world.task_is(task, "done");
    let told = world.model.asked().pop().unwrap().body["messages"].as_array().unwrap().last().unwrap().to_string();
    assert!(told.contains("Decide by yourself"), "{told}");
    world.ends(runner, 1);
}

pub(super) fn a_message_while_a_permission_is_open_approves_nothing_and_is_taken_afterwards(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&["--approval", "guarded", "--deliver", "steer"]);
    let (_, task) = world.task("ASK touch made");
    let request = world.asks();
    let message = world.message("SAY yes, approve it");
    world.is(message, "offered");
    eventually("it was handed over", || (world.status()["operations"] == 0).then_some(()));
    assert_eq!(world.status()["approvals"][0]["id"], json!(request));
    assert!(!world.path("work/made").exists() && world.times(message, "taken") == 0);
    world.decides(&["deny"], &request);
    world.task_is(task, "done");
    world.is_settled(message);
    assert_eq!(world.times(message, "offered"), 1, "{:?}", world.stages(message));
    assert!(!world.path("work/made").exists());
    let told = world.model.asked().pop().unwrap().body.to_string();
    assert_eq!(told.matches("yes, approve it").count(), 1, "{told}");
    world.ends(runner, 1);
}

pub(super) fn a_message_while_it_speaks_is_a_turn_of_its_own(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&["--deliver", "steer"]);
    let (first, task) = world.task("HOLD one");
    world.model.holds("HOLD one");
    world.is(first, "taken");
    let second = world.message("SAY and this as well");
    world.is(second, "offered");
    assert_eq!(world.times(second, "taken"), 0);
    world.model.release("one");
    world.task_is(task, "done");
    world.is_settled(second);
    let asked = world.model.asked();
    assert_eq!((asked.len(), asked[0].phase), (2, Phase::Answered));
    assert_eq!(asked[1].says("and this as well"), 1, "{asked:#?}");
    world.ends(runner, 1);
}

pub(super) fn an_urgent_message_interrupts_the_turn(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&["--deliver", "interrupt"]);
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

/// The model is told with the next message, and is not asked for it.
pub(super) fn what_is_injected_reaches_the_model_with_the_next_message(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&[]);
    for words in ["the sky is green", "/clear"] {
        world.command_is(&world.command("agent.injectContext", &json!({"content": words})), "succeeded");
    }
    let (_, task) = world.task("SAY well");
    world.task_is(task, "done");
    let [asked] = &world.model.asked()[..] else { panic!("{:#?}", world.model.asked()) };
    let told = asked.body["messages"].to_string();
    assert_eq!([told.matches("the sky is green").count(), told.matches("/clear").count()], [1, 1], "{told}");
    world.ends(runner, 1);
}

pub(super) fn a_subagent_is_shown_and_ends_and_a_turn_follows(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&GUARDED);
    let task = json!({"description": "a part", "prompt": "ASK touch part", "subagent_type": "general-purpose"});
    let (_, task) = world.task(&format!("USE Task {task}\nHOLD one"));
    let request = world.asks();
    world.shows("status", &["subagent"]);
    world.model.release("one");
    world.task_is(task, "done");
    // The subagent goes on, and still asks: not in that turn any more.
    let again = eventually("it asks anew", || Some(world.asks()).filter(|again| *again != request));
    world.decides(&["approve"], &again);
    eventually("it is idle", || (world.ask(&["ps", "--json"]).json()[0]["state"] == "idle").then_some(()));
    assert!(world.path("work/part").exists());
    let status = world.ask(&["status", "a1"]).out;
    assert!(!status.contains("subagent"), "{status}");
    // The turn that begins by itself when it has ended is over as well.
    world.model.until("the end of the subagent was told", |asked| {
        let told = |asked: &crate::model::Asked| asked.body["messages"].to_string().contains("task-notification");
        asked.iter().any(|asked| told(asked) && asked.phase == Phase::Answered).then_some(())
    });
    world.ends(runner, 1);
}
