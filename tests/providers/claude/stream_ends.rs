//! What goes wrong in print mode: deaths of Claude Code and of its runner, and failures of its model. Each ends in a state
//! that has a name, with what to do next.

use super::both::AGAIN;
use super::runner::{STREAM, World};
use crate::installed::Installed;
use crate::world::eventually;

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
    assert_eq!(world.model.answered(), 2, "done once");
    world.ends(runner, 2);
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
