//! What goes wrong in print mode: deaths of Claude Code and of its runner, and failures of its model. Each ends in a state
//! that has a name, with what to do next.

use super::runner::{STREAM, World};
use crate::installed::Installed;
use crate::model::{Asked, Phase};
use crate::world::eventually;
use serde_json::json;
use std::fs;

const AGAIN: &str = "Delivered again";

fn answered(asked: &[Asked]) -> usize {
    asked.iter().filter(|asked| asked.phase == Phase::Answered).count()
}

pub(super) fn a_killed_claude_resumes_its_conversation_and_gets_the_message_again(claude: &Installed) {
    let world = World::new(claude, STREAM);
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
    assert_eq!(answered(&world.model.asked()), 2, "done once");
    assert_eq!(world.times(message, "settled"), 1, "{:?}", world.stages(message));
    world.ends(runner, 1);
}

/// Pipes go with the runner: what it left would go on by itself, and is ended before anything is done again.
pub(super) fn a_killed_runner_leaves_nothing_and_its_work_is_done_once(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&[]);
    let (_, before) = world.task("SAY known from before");
    world.task_is(before, "done");
    let (message, task) = world.task("HOLD one");
    world.model.holds("HOLD one");
    world.is(message, "taken");
    let left = world.pid();
    assert!(runner.killed());
    let runner = world.starts(&[]);
    World::is_gone(left);
    let again = world.model.holds(AGAIN);
    assert!(again.prompt().contains("HOLD one"), "{:#?}", again.prompts);
    assert_eq!(again.says("known from before"), 1, "the same conversation: {:#?}", again.prompts);
    world.model.release("one");
    world.task_is(task, "done");
    world.is_settled(message);
    assert_eq!(answered(&world.model.asked()), 2, "done once");
    world.ends(runner, 2);
}

pub(super) fn the_commands_of_a_killed_claude_end_with_it(claude: &Installed) {
    let world = World::new(claude, STREAM);
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

pub(super) fn a_kill_leaves_nothing(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&[]);
    world.task("RUN [ -e never ] || { sleep 1000 & sleep 1000; }");
    eventually("its command runs", || world.claudes().iter().any(|line| line.ends_with(": sleep 1000")).then_some(()));
    let stopped = world.ask(&["stop", "a1", "--now"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}; {}", world.log());
    assert_eq!(runner.ends(), Some(0), "{}", world.log());
    world.is_left_alone();
}

pub(super) fn a_stop_interrupts_what_runs_and_leaves_nothing(claude: &Installed) {
    let world = World::new(claude, STREAM);
    let runner = world.claude(&["--drain-timeout", "0"]);
    world.task("RUN [ -e never ] || sleep 1000");
    eventually("its command runs", || world.claudes().iter().any(|line| line.ends_with(": sleep 1000")).then_some(()));
    world.ends(runner, 1);
}

/// A conversation that Claude Code cannot find is no reason to end for good.
pub(super) fn where_the_conversation_is_gone_another_is_begun(claude: &Installed) {
    let world = World::new(claude, STREAM);
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

pub(super) fn a_model_that_refuses_fails_the_task_after_its_tries(claude: &Installed) {
    let world = World::new(claude, STREAM);
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

pub(super) fn the_end_of_a_usage_limit_is_waited_for(claude: &Installed) {
    let mut world = World::new(claude, STREAM);
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

pub(super) fn a_refused_key_parks_and_its_work_is_done_after_it_is_mended(claude: &Installed) {
    let world = World::new(claude, STREAM);
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

pub(super) fn who_is_not_logged_in_is_told_how(claude: &Installed) {
    let mut world = World::new(claude, STREAM);
    world.logs_in_with(None);
    let runner = world.starts(&[]);
    world.shows("status", &["parked", "not logged in", "/login", "relay-runner restart"]);
    world.is_left_alone();
    assert!(world.model.asked().is_empty());
    let stopped = world.ask(&["stop", "a1"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}; {}", world.log());
    assert_eq!(runner.ends(), Some(0), "{}", world.log());
}

/// It tries again by itself: a message is neither lost nor given twice, and the turn is not taken for dead.
pub(super) fn a_model_that_is_away_is_waited_for(claude: &Installed) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut world = World::new(claude, STREAM);
    world.has_its_model_at(format!("http://127.0.0.1:{port}"));
    world.tries_again(10);
    let runner = world.claude(&[]);
    let (message, task) = world.task("SAY well");
    world.is(message, "taken");
    eventually("it says that it tries again", || world.log().contains("it is asked again in").then_some(()));
    let model = crate::model::Model::at(port);
    world.task_is(task, "done");
    world.is_settled(message);
    assert_eq!(model.asked().len(), 1, "{:?}", world.stages(message));
    world.ends(runner, 1);
}

pub(super) fn a_claude_that_is_not_there_is_told_where_to_get(_: &Installed) {
    let world = World::with("/nowhere/claude", STREAM);
    let runner = world.starts(&[]);
    assert_eq!(runner.ends(), Some(2), "{}", world.log());
    let log = world.log();
    let words = ["/nowhere/claude` was not found", "npm install -g @anthropic-ai/claude-code", "--claude"];
    assert!(words.iter().all(|words| log.contains(words)), "{log}");
}

pub(super) fn a_claude_without_such_a_print_mode_is_too_old(_: &Installed) {
    let world = World::fake("echo \"error: unknown option '$1'\" >&2; exit 1", STREAM);
    let _runner = world.starts(&[]);
    world.shows("status", &["parked", "unknown option '-p'", "npm install -g @anthropic-ai/claude-code"]);
}

/// What only the real one says: it does not start as root in a mode that asks nobody.
pub(super) fn a_mode_that_it_refuses_is_named(claude: &Installed) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new(claude, STREAM);
    let _runner = world.starts(&["--", "--dangerously-skip-permissions"]);
    world.shows("status", &["parked", "cannot be used with root"]);
    world.is_left_alone();
}

/// It ends badly, with words that have all of these, and leaves nothing.
#[track_caller]
fn is_given_up_with(world: &World, words: &[&str]) {
    assert_eq!(world.starts(&[]).ends(), Some(70), "{}", world.log());
    let log = world.log();
    assert!(log.contains("gave up"), "{log}");
    for word in words {
        assert!(log.contains(word), "{word:?} is not said: {log}");
    }
    world.is_left_alone();
}

pub(super) fn a_claude_that_ends_at_once_is_given_up_with_its_words(_: &Installed) {
    is_given_up_with(&World::fake("echo 'it is full moon' >&2; exit 3", STREAM), &["exit code 3", "it is full moon"]);
}

pub(super) fn a_claude_that_never_answers_is_given_up(_: &Installed) {
    let world = World::fake("echo garbage >&2; exec sleep 1000", STREAM);
    world.starts_within("500ms");
    is_given_up_with(&world, &["StartTimeout", "garbage"]);
}

pub(super) fn a_restart_keeps_the_conversation(claude: &Installed) {
    let world = World::new(claude, STREAM);
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
