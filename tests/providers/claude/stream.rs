//! Work that reaches Claude Code in print mode, and what a person and the relay may do with it.

use super::runner::{STREAM, World};
use crate::installed::Installed;
use crate::model::Phase;
use crate::world::eventually;
use serde_json::json;

const GUARDED: [&str; 2] = ["--approval", "guarded"];

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

pub(super) fn the_first_prompt_is_said_once_and_before_any_message(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&["--prompt", "SAY good morning"]);
    let (_, task) = world.task("SAY after it");
    world.task_is(task, "done");
    let prompts: Vec<_> = world.model.asked().iter().map(|asked| asked.prompt().to_owned()).collect();
    let [first, second] = &prompts[..] else { panic!("{prompts:#?}") };
    assert!(first.contains("good morning") && second.contains("after it"), "{prompts:#?}");
    world.ends(runner, 1);
}

pub(super) fn the_model_is_that_of_the_options(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&["--model", "claude-sonnet-4-5"]);
    let (_, task) = world.task("SAY well");
    world.task_is(task, "done");
    assert_eq!(world.model.asked().pop().unwrap().body["model"], "claude-sonnet-4-5");
    world.shows("status", &["claude-sonnet-4-5"]);
    world.ends(runner, 1);
}

pub(super) fn a_command_that_asks_waits_until_it_is_approved(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&GUARDED);
    let (_, task) = world.task("ASK touch made");
    let request = world.asks();
    let words = world.ask(&["status", "a1"]).out;
    assert!(words.contains(&format!("approval  {request}")) && words.contains("touch made"), "{words}");
    assert!(!world.path("work/made").exists());
    world.decides(&["approve"], &request);
    world.task_is(task, "done");
    assert!(world.path("work/made").exists());
    assert_eq!(world.status()["approvals"], json!([]));
    world.ends(runner, 1);
}

pub(super) fn a_denial_tells_the_model_why_and_its_turn_goes_on(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&GUARDED);
    let (_, task) = world.task("ASK touch made");
    world.decides(&["deny", "--reason", "not before noon"], &world.asks());
    world.task_is(task, "done");
    assert!(!world.path("work/made").exists());
    let told = world.model.asked().pop().unwrap().body["messages"].as_array().unwrap().last().unwrap().to_string();
    assert!(told.contains("not before noon"), "{told}");
    world.ends(runner, 1);
}

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

pub(super) fn where_all_is_allowed_nobody_is_asked(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&["--approval", "open"]);
    let write = json!({"file_path": world.path("outside"), "content": "words"});
    let (_, task) = world.task(&format!("RUN touch made\nUSE Write {write}"));
    world.task_is(task, "done");
    assert!(world.path("work/made").exists() && world.path("outside").exists());
    world.ends(runner, 1);
}

pub(super) fn what_may_only_read_writes_nothing(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&["--approval", "read-only"]);
    let write = json!({"file_path": world.path("work/file"), "content": "words"});
    let (_, task) = world.task(&format!("RUN touch made\nUSE Write {write}"));
    world.task_is(task, "done");
    assert!(!world.path("work/made").exists() && !world.path("work/file").exists());
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

pub(super) fn the_context_is_compacted_and_cleared(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&[]);
    let (_, task) = world.task("SAY the first words");
    world.task_is(task, "done");
    world.command_is(&world.command("agent.compact", &json!({})), "succeeded");
    let compaction = world.model.asked().pop().unwrap();
    assert_eq!(compaction.says("the first words"), 1, "{:#?}", compaction.prompts);
    world.command_is(&world.command("agent.clearContext", &json!({})), "succeeded");
    let (_, task) = world.task("SAY the next words");
    world.task_is(task, "done");
    let asked = world.model.asked().pop().unwrap();
    assert_eq!((asked.says("the next words"), asked.says("the first words")), (1, 0), "{:#?}", asked.prompts);
    assert!(asked.body.to_string().contains("You are the agent a1 on a relay"), "a new conversation is told as well");
    // The new conversation is the one that is gone on with.
    world.command_is(&world.command("agent.restart", &json!({})), "succeeded");
    let (_, task) = world.task("SAY the last words");
    world.task_is(task, "done");
    let asked = world.model.asked().pop().unwrap();
    let said = ["the next words", "the last words", "the first words"].map(|words| asked.says(words));
    assert_eq!(said, [1, 1, 0], "{:#?}", asked.prompts);
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

/// Another Claude Code, that the agent starts itself, is none of the runner's.
pub(super) fn a_nested_claude_ends_nothing(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&[]);
    let nested = format!("{} -p 'SAY from within' > nested", claude.program.display());
    let (message, task) = world.task(&format!("RUN {nested}\nRUN cat nested\nHOLD one"));
    world.model.until("the outer one goes on", |asked| {
        let last = asked.last()?;
        (last.phase == Phase::Held && last.body["messages"].to_string().contains("from within")).then_some(())
    });
    assert_eq!(world.noted("nested"), ["from within"]);
    let listed = world.ask(&["ps", "--json"]).json();
    assert_eq!(listed[0]["state"], "busy", "{listed}");
    assert_eq!(world.times(message, "settled"), 0);
    world.model.release("one");
    world.task_is(task, "done");
    world.is_settled(message);
    world.ends(runner, 1);
}

pub(super) fn the_end_of_a_turn_is_held_once_while_a_reply_is_owed(claude: &Installed) {
    super::headless::is_held_once_while_a_reply_is_owed(claude, STREAM);
}
