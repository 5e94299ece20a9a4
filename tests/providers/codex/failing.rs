//! What goes wrong, and whom it is told: each ends in a state that has a name, with what to do next.

use super::app_server::configuration;
use super::world::World;
use crate::installed::Installed;
use crate::world::{eventually, text};
use std::net::TcpListener;

/// The run goes on without codex, until it is mended: what its state says has all of these words.
#[track_caller]
fn is_parked_with(world: &World, words: &[&str]) {
    let said = eventually("it is parked", || {
        let said = world.ask(&["status", "a1"]).out;
        said.contains("parked").then_some(said)
    });
    for word in words {
        assert!(said.contains(word), "{word:?} is not said: {said}");
    }
    assert!(world.log().contains(words[0]), "{}", world.log());
    eventually("no process of codex is left", || world.codexes().is_empty().then_some(()));
}

/// Started again by the verb that the state names.
#[track_caller]
fn is_mended(world: &World) {
    let said = world.ask(&["restart", "a1"]);
    assert_eq!(said.code, Some(0), "{said:?}; {}", world.log());
    world.is_ready();
}

pub(super) fn who_is_not_logged_in_is_told_how(codex: &Installed) {
    // Codex's own provider of models wants a login.
    let world = World::with(&text(&codex.program), "[analytics]\nenabled = false\n");
    let runner = world.starts(&[]);
    is_parked_with(&world, &["not logged in", "codex login", "relay-runner restart"]);
    world.configure(&configuration(&world.model.url(), 0));
    is_mended(&world);
    let (_, task) = world.task("SAY well");
    world.task_is(task, "done");
    world.ends(runner, 1);
}

pub(super) fn a_broken_configuration_of_codex_is_named_with_its_line(codex: &Installed) {
    let world = World::with(&text(&codex.program), "model = \"x\n[");
    let runner = world.starts(&[]);
    is_parked_with(&world, &["config.toml:1:11", "relay-runner restart"]);
    world.configure(&configuration(&world.model.url(), 0));
    is_mended(&world);
    world.ends(runner, 1);
}

pub(super) fn a_key_that_was_not_let_through_is_named(codex: &Installed) {
    let world = World::new(codex);
    world.configure(&configuration(&world.model.url(), 0).replace("STAND_IN_KEY", "NOT_LET_THROUGH"));
    let runner = world.codex(&[]);
    let (_, task) = world.task("SAY well");
    is_parked_with(&world, &["NOT_LET_THROUGH", "relay-runner restart"]);
    world.configure(&configuration(&world.model.url(), 0));
    is_mended(&world);
    world.task_is(task, "done");
    world.ends(runner, 1);
}

pub(super) fn a_refused_key_parks_and_its_work_is_done_after_it_is_mended(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&[]);
    let (message, task) = world.task("FAIL 401");
    is_parked_with(&world, &["401", "codex login", "relay-runner restart"]);
    world.model.heals();
    is_mended(&world);
    world.task_is(task, "done");
    assert_eq!((world.model.asked().len(), world.times(message, "offered")), (2, 2), "{:?}", world.stages(message));
    world.ends(runner, 1);
}

pub(super) fn the_end_of_a_usage_limit_is_waited_for(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&[]);
    let (_, task) = world.task("FAIL 429 usage_limit_reached 4");
    let why = eventually("the limit is shown", || {
        let why = world.ask(&["why", "a1"]).out;
        why.contains("is cooling").then_some(why)
    });
    assert!(why.contains("usage limit") && why.contains("the provider is started again"), "{why}");
    world.model.heals();
    world.task_is(task, "done");
    assert_eq!(world.model.asked().len(), 2, "not before the limit's end, and then once");
    world.ends(runner, 1);
}

pub(super) fn a_model_that_fails_fails_the_task_after_its_tries(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&[]);
    let (_, task) = world.task("FAIL 500");
    world.task_is(task, "failed");
    let report = world.get(&format!("/tasks/{task}"))["report"].to_string();
    assert!(report.contains("internalServerError"), "{report}");
    let (_, task) = world.task("SAY well");
    world.task_is(task, "done");
    world.ends(runner, 1);
}

/// Codex waits by itself; a message is neither lost nor given twice.
pub(super) fn a_model_that_is_away_is_waited_for(codex: &Installed) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let world = World::with(&text(&codex.program), &configuration(&format!("http://127.0.0.1:{port}"), 0));
    let runner = world.codex(&[]);
    let (message, task) = world.task("SAY well");
    world.is(message, "taken");
    let model = crate::model::Model::at(port);
    world.task_is(task, "done");
    assert_eq!((model.asked().len(), world.times(message, "offered")), (1, 1), "{:?}", world.stages(message));
    world.ends(runner, 1);
}

/// A world whose codex is this script.
fn fake(script: &str) -> World {
    let mut world = World::with("", "");
    let program = world.script("codex", script);
    world.uses(program);
    world
}

pub(super) fn a_codex_that_is_not_there_is_told_where_to_get(_: &Installed) {
    let world = World::with("/nowhere/codex", "");
    let runner = world.starts(&[]);
    assert_eq!(runner.ends(), Some(2), "{}", world.log());
    let log = world.log();
    let words = ["/nowhere/codex` was not found", "npm install -g @openai/codex", "--codex"];
    assert!(words.iter().all(|words| log.contains(words)), "{log}");
}

pub(super) fn a_codex_without_an_app_server_is_too_old(_: &Installed) {
    let world = fake("echo \"error: unrecognized subcommand '$1'\" >&2; exit 2");
    let _runner = world.starts(&[]);
    is_parked_with(&world, &["unrecognized subcommand", "npm install -g @openai/codex", "relay-runner restart"]);
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
    eventually("no process is left", || world.codexes().is_empty().then_some(()));
}

pub(super) fn an_app_server_that_ends_at_once_is_given_up_with_its_words(_: &Installed) {
    is_given_up_with(&fake("echo 'it is full moon' >&2; exit 3"), &["exit code 3", "it is full moon"]);
}

/// It is alive, and its socket is not there.
pub(super) fn an_app_server_that_never_listens_is_given_up(_: &Installed) {
    let world = fake("echo garbage; exec sleep 1000");
    world.starts_within("500ms");
    is_given_up_with(&world, &["StartTimeout", "garbage"]);
}
