//! What holds of Claude Code in whichever way it is run unattended: work that reaches it, what a person and the relay may do with it,
//! its deaths, and failures of its model.

use super::runner::{STREAM, World};
use crate::installed::Installed;
use crate::model::Phase;
use crate::world::eventually;
use serde_json::json;
use std::fs;

const GUARDED: [&str; 2] = ["--approval", "guarded"];
/// A message that comes again says so, in one line or on a line of its own.
pub(super) const AGAIN: &str = "elivered again";

pub(super) fn a_task_is_worked_and_done_and_nothing_is_left(claude: &Installed, mode: &'static str) {
    let world = World::new(claude, mode);
    let runner = world.claude(&[]);
    let said = world.ask(&["send", "a1", "SAY it is done", "--task", "--wait", "--timeout", "60s"]);
    assert_eq!(said.code, Some(0), "{said:?}; {}", world.log());
    let [asked] = &world.model.asked()[..] else { panic!("{:#?}", world.model.asked()) };
    assert!(asked.says("SAY it is done") == 1 && asked.prompt().starts_with("[relay message "), "{}", asked.prompt());
    // What an agent is to know of the relay is the developer's word, and no person's.
    assert!(asked.body["system"].to_string().contains("You are the agent a1 on a relay"), "{}", asked.body);
    assert_eq!(asked.says("You are the agent a1"), 0);
    // As the stand-in counts them; how much fits is counted in print mode, and known by the model's name in a terminal.
    let confidence = if mode == STREAM { "exact" } else { "reported" };
    let context = &eventually("its context is known", || {
        Some(world.status()["context"].clone()).filter(|context| context["used"].is_u64())
    });
    assert_eq!((&context["used"], &context["confidence"]), (&json!(130), &json!(confidence)), "{context}");
    assert!(context["window"].as_u64() > Some(100_000), "{context}");
    world.ends(runner, 1);
}

pub(super) fn the_first_prompt_is_said_once_and_before_any_message(claude: &Installed, mode: &'static str) {
    let world = World::new(claude, mode);
    let runner = world.claude(&["--prompt", "SAY good morning"]);
    let (_, task) = world.task("SAY after it");
    world.task_is(task, "done");
    let prompts: Vec<_> = world.model.asked().iter().map(|asked| asked.prompt().to_owned()).collect();
    let [first, second] = &prompts[..] else { panic!("{prompts:#?}") };
    assert!(first.contains("good morning") && second.contains("after it"), "{prompts:#?}");
    world.ends(runner, 1);
}

pub(super) fn the_model_is_that_of_the_options(claude: &Installed, mode: &'static str) {
    let world = World::new(claude, mode);
    let runner = world.claude(&["--model", "claude-sonnet-4-5"]);
    let (_, task) = world.task("SAY well");
    world.task_is(task, "done");
    assert_eq!(world.model.asked().pop().unwrap().body["model"], "claude-sonnet-4-5");
    world.shows("status", &["claude-sonnet-4-5"]);
    world.ends(runner, 1);
}

pub(super) fn a_command_that_asks_waits_until_it_is_approved(claude: &Installed, mode: &'static str) {
    let world = World::new(claude, mode);
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

pub(super) fn a_denial_tells_the_model_why_and_its_turn_goes_on(claude: &Installed, mode: &'static str) {
    let world = World::new(claude, mode);
    let runner = world.claude(&GUARDED);
    let (_, task) = world.task("ASK touch made");
    world.decides(&["deny", "--reason", "not before noon"], &world.asks());
    world.task_is(task, "done");
    assert!(!world.path("work/made").exists());
    let told = world.model.asked().pop().unwrap().body["messages"].to_string();
    assert!(told.contains("not before noon"), "{told}");
    world.ends(runner, 1);
}

pub(super) fn where_all_is_allowed_nobody_is_asked(claude: &Installed, mode: &'static str) {
    let world = World::new(claude, mode);
    let runner = world.claude(&["--approval", "open"]);
    let write = json!({"file_path": world.path("outside"), "content": "words"});
    let (_, task) = world.task(&format!("RUN touch made\nUSE Write {write}"));
    world.task_is(task, "done");
    assert!(world.path("work/made").exists() && world.path("outside").exists());
    world.ends(runner, 1);
}

pub(super) fn what_may_only_read_writes_nothing(claude: &Installed, mode: &'static str) {
    let world = World::new(claude, mode);
    let runner = world.claude(&["--approval", "read-only"]);
    let write = json!({"file_path": world.path("work/file"), "content": "words"});
    let (_, task) = world.task(&format!("RUN touch made\nUSE Write {write}"));
    world.task_is(task, "done");
    assert!(!world.path("work/made").exists() && !world.path("work/file").exists());
    world.ends(runner, 1);
}

pub(super) fn the_context_is_compacted_and_cleared(claude: &Installed, mode: &'static str) {
    let world = World::new(claude, mode);
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

/// Another Claude Code, that the agent starts itself, is none of the runner's.
pub(super) fn a_nested_claude_ends_nothing(claude: &Installed, mode: &'static str) {
    let world = World::new(claude, mode);
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

pub(super) fn the_end_of_a_turn_is_held_once_while_a_reply_is_owed(claude: &Installed, mode: &'static str) {
    let world = World::new(claude, mode);
    let runner = world.claude(&[]);
    let body =
        json!({"from": "operator", "to": "a1", "kind": "chat", "body": "SAY no answer yet", "replyExpected": true});
    let (code, said) = world.call("POST", "/messages", &body.to_string());
    assert!(code < 300, "{said}");
    let message = said["id"].as_u64().unwrap_or_else(|| panic!("{said}"));
    world.is(message, "worked");
    let asked = world.model.until("the model is told what it owes", |all| {
        all.iter().rev().find(|asked| asked.body["messages"].to_string().contains("You owe a reply")).cloned()
    });
    assert_eq!(asked.body["messages"].to_string().matches("Stop hook blocking error").count(), 1);
    world.ends(runner, 1);
}

pub(super) fn a_killed_claude_resumes_its_conversation_and_gets_the_message_again(
    claude: &Installed,
    mode: &'static str,
) {
    let world = World::new(claude, mode);
    let runner = world.claude(&[]);
    let (_, before) = world.task("SAY known from before");
    world.task_is(before, "done");
    let (message, task) = world.task("HOLD one");
    world.model.holds("HOLD one");
    world.is(message, "taken");
    let killed = world.pid();
    World::kill(killed);
    let again = world.model.holds(AGAIN);
    assert!(again.prompt().contains("HOLD one"), "{:#?}", again.prompts);
    assert_eq!(again.says("known from before"), 1, "the same conversation: {:#?}", again.prompts);
    assert_ne!(world.pid(), killed);
    world.model.release("one");
    world.task_is(task, "done");
    world.is_settled(message);
    assert_eq!(world.model.answered(), 2, "done once");
    assert_eq!(world.times(message, "settled"), 1, "{:?}", world.stages(message));
    world.ends(runner, 1);
}

pub(super) fn the_commands_of_a_killed_claude_end_with_it(claude: &Installed, mode: &'static str) {
    let world = World::new(claude, mode);
    let runner = world.claude(&[]);
    world.task("RUN [ -e once ] || { touch once; sleep 1000; }");
    let runs = || world.claudes().iter().any(|line| line.ends_with(": sleep 1000"));
    eventually("its command runs", || runs().then_some(()));
    World::kill(world.pid());
    world
        .model
        .until("it is delivered again", |asked| asked.iter().any(|asked| asked.prompt().contains(AGAIN)).then_some(()));
    eventually("its command is gone", || (!runs()).then_some(()));
    world.ends(runner, 1);
}

pub(super) fn a_kill_leaves_nothing(claude: &Installed, mode: &'static str) {
    let world = World::new(claude, mode);
    let runner = world.claude(&[]);
    world.task("RUN [ -e never ] || { sleep 1000 & sleep 1000; }");
    eventually("its command runs", || world.claudes().iter().any(|line| line.ends_with(": sleep 1000")).then_some(()));
    let stopped = world.ask(&["stop", "a1", "--now"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}; {}", world.log());
    assert_eq!(runner.ends(), Some(0), "{}", world.log());
    world.is_left_alone();
}

pub(super) fn a_stop_interrupts_what_runs_and_leaves_nothing(claude: &Installed, mode: &'static str) {
    let world = World::new(claude, mode);
    let runner = world.claude(&["--drain-timeout", "0"]);
    world.task("RUN [ -e never ] || sleep 1000");
    eventually("its command runs", || world.claudes().iter().any(|line| line.ends_with(": sleep 1000")).then_some(()));
    world.ends(runner, 1);
}

/// A conversation that Claude Code cannot find is no reason to end for good.
pub(super) fn where_the_conversation_is_gone_another_is_begun(claude: &Installed, mode: &'static str) {
    let world = World::new(claude, mode);
    let runner = world.claude(&[]);
    let (_, task) = world.task("SAY known from before");
    world.task_is(task, "done");
    world.ends(runner, 1);
    let projects = fs::read_dir(world.path(".claude/projects")).unwrap();
    let files = projects.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    let transcripts =
        files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "jsonl"));
    assert!(transcripts.map(|path| fs::write(path, "").unwrap()).count() > 0);
    let runner = world.claude(&[]);
    let (_, task) = world.task("SAY after it");
    world.task_is(task, "done");
    let asked = world.model.asked().pop().unwrap();
    assert_eq!((asked.says("known from before"), asked.says("after it")), (0, 1), "{:#?}", asked.prompts);
    assert!(world.log().contains("another one is begun"), "{}", world.log());
    world.ends(runner, 2);
}

pub(super) fn a_model_that_refuses_fails_the_task_after_its_tries(claude: &Installed, mode: &'static str) {
    let world = World::new(claude, mode);
    let runner = world.claude(&[]);
    for (words, class) in [("FAIL 404", "model_not_found"), ("FAIL 500", "server_error")] {
        let (_, task) = world.task(words);
        world.task_is(task, "failed");
        let report = world.get(&format!("/tasks/{task}"))["report"].to_string();
        assert!(report.contains(class), "{report}");
    }
    let (_, task) = world.task("SAY well");
    world.task_is(task, "done");
    world.ends(runner, 1);
}

pub(super) fn the_end_of_a_usage_limit_is_waited_for(claude: &Installed, mode: &'static str) {
    let mut world = World::new(claude, mode);
    // An API key has no such limit.
    world.logs_in_with(Some(("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-a-token")));
    let runner = world.claude(&[]);
    let (_, task) = world.task("FAIL 429 usage_limit_reached 4");
    let why = world.shows("why", &["is cooling"]);
    assert!(why.contains("usage limit") && why.contains("the provider is started again"), "{why}");
    world.model.heals();
    world.task_is(task, "done");
    assert_eq!(world.model.asked().len(), 2, "not before the limit's end, and then once");
    world.ends(runner, 1);
}

pub(super) fn a_refused_key_parks_and_its_work_is_done_after_it_is_mended(claude: &Installed, mode: &'static str) {
    let world = World::new(claude, mode);
    let runner = world.claude(&[]);
    let (message, task) = world.task("FAIL 401");
    world.shows("status", &["parked", "authentication_failed", "/login", "relay-runner restart"]);
    world.is_left_alone();
    world.model.heals();
    let said = world.ask(&["restart", "a1"]);
    assert_eq!(said.code, Some(0), "{said:?}; {}", world.log());
    world.task_is(task, "done");
    world.is_settled(message);
    assert_eq!(world.model.asked().len(), 2, "{:?}", world.stages(message));
    world.ends(runner, 1);
}

pub(super) fn a_restart_keeps_the_conversation(claude: &Installed, mode: &'static str) {
    let world = World::new(claude, mode);
    let runner = world.claude(&[]);
    let (_, task) = world.task("SAY known from before");
    world.task_is(task, "done");
    let first = world.pid();
    world.command_is(&world.command("agent.restart", &json!({})), "succeeded");
    World::is_gone(first);
    let (_, task) = world.task("SAY after it");
    world.task_is(task, "done");
    let asked = world.model.asked().pop().unwrap();
    assert_eq!((asked.says("known from before"), asked.says("after it")), (1, 1), "{:#?}", asked.prompts);
    // What it was given is nobody else's business.
    let arguments = fs::read_to_string(format!("/proc/{}/cmdline", world.pid())).unwrap();
    assert!(arguments.contains("--resume") && !arguments.contains("a-key"), "{arguments}");
    world.ends(runner, 1);
}
