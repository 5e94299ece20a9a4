//! What goes wrong, and whom it is told: each ends in a state that has a name, with what to do next.

use super::app_server::configuration;
use super::world::World;
use crate::installed::Installed;
use crate::world::{LIMIT, eventually, eventually_within, text};
use serde_json::Value;
use std::net::TcpListener;

/// A run that cannot come up ends with words that have all of these.
#[track_caller]
fn fails_with(world: &World, words: &[&str]) {
    let runner = world.starts(&["--on-give-up", "exit", "--restart-exits", "1"]);
    let code = runner.ends();
    let log = world.log();
    assert!(code.is_some_and(|code| code != 0), "{code:?}: {log}");
    for word in words {
        assert!(log.contains(word), "{word:?} is not said: {log}");
    }
    let left = world.processes();
    assert!(left.is_empty(), "{left:?}");
}

pub(super) fn who_is_not_logged_in_is_told_how(codex: &Installed) {
    // Codex's own provider of models wants a login; nobody is asked before it is known.
    let world = World::with(&text(&codex.program), "[analytics]\nenabled = false\n");
    fails_with(&world, &["not logged in", "codex login"]);
}

pub(super) fn a_broken_configuration_of_codex_is_named_with_its_line(codex: &Installed) {
    let world = World::with(&text(&codex.program), "model = \"x\n[");
    fails_with(&world, &["config.toml:1:11"]);
}

pub(super) fn a_key_that_was_not_let_through_is_named(codex: &Installed) {
    let model = crate::model::Model::start();
    let configuration = configuration(&model.url(), 0).replace("STAND_IN_KEY", "NOT_LET_THROUGH");
    let world = World::with(&text(&codex.program), &configuration);
    let _runner = world.codex(&[]);
    let (_, task) = world.task("SAY well");
    world.task_is(task, "failed");
    let report = world.get(&format!("/tasks/{task}"))["report"].to_string();
    assert!(report.contains("NOT_LET_THROUGH"), "{report}");
}

pub(super) fn a_refused_key_is_told(codex: &Installed) {
    let world = World::new(codex);
    let _runner = world.codex(&[]);
    let (message, _) = world.task("FAIL 401");
    let why = eventually("it is refused", || {
        let Value::Array(all) = world.get(&format!("/messages/{message}/delivery")) else { panic!("a list") };
        all.into_iter().find_map(|d| d["reason"].as_str().map(str::to_owned))
    });
    assert!(why.contains("401"), "{why}");
}

pub(super) fn a_usage_limit_ends_and_the_work_is_done(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&[]);
    let (_, task) = world.task("FAIL 429 usage_limit_reached 3");
    let shown = eventually("the limit is shown", || {
        let status = world.status().to_string();
        status.to_lowercase().contains("limit").then_some(status)
    });
    assert!(shown.contains("until") || shown.contains("resets"), "{shown}");
    world.model.heals();
    eventually_within(LIMIT * 3, "the task is done", || {
        (world.get(&format!("/tasks/{task}"))["status"] == "done").then_some(())
    });
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
    fails_with(&world, &["/nowhere/codex", "npm install -g @openai/codex"]);
}

pub(super) fn a_codex_without_an_app_server_is_too_old(_: &Installed) {
    let world = fake(
        "case $1 in --version) echo codex-cli 0.1.2;; *) echo \"error: unrecognized subcommand '$1'\" >&2; exit 2;; esac",
    );
    fails_with(&world, &["0.1.2", "npm install -g @openai/codex"]);
}

/// The scripts cannot listen on a socket: one that speaks on its standard output is one that never answers there.
pub(super) fn an_app_server_that_never_answers_is_given_up(_: &Installed) {
    let world = fake("case $1 in --version) echo codex-cli 0.171.0;; *) echo garbage; exec sleep 1000;; esac");
    fails_with(&world, &["app-server", "answer"]);
}

pub(super) fn an_app_server_that_ends_at_once_is_given_up_with_its_words(_: &Installed) {
    let world = fake("case $1 in --version) echo codex-cli 0.171.0;; *) echo 'it is full moon' >&2; exit 3;; esac");
    fails_with(&world, &["app-server", "it is full moon"]);
}
