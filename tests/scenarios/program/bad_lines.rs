//! Hazards of the line between a runner and its relay, with a proxy in between that brings them about.

use super::proxy::{Fault, Proxy, Request};
use super::world::{PATIENT, STUBBORN, World, eventually, eventually_within, signal};
use serde_json::json;
use std::fs;
use std::time::Duration;

/// A patient agent whose runner reaches the relay over a line that can be made bad.
fn with_a_line(world: &World) -> (Proxy, super::world::Process) {
    let proxy = Proxy::to(world.url());
    let runner = world.agent(PATIENT, &["--relay", &proxy.url()]);
    (proxy, runner)
}

#[track_caller]
fn asked(proxy: &Proxy, what: &str, times: usize) -> Vec<Request> {
    eventually(&format!("{what} was asked for {times} times"), || {
        Some(proxy.requests(what)).filter(|requests| requests.len() >= times)
    })
}

/// Each try of a request is known as the same request.
#[track_caller]
fn have_one_key(requests: &[Request]) {
    let keys: Vec<_> = requests.iter().map(|request| request.header("idempotency-key")).collect();
    assert!(keys[0].is_some() && keys.windows(2).all(|pair| pair[0] == pair[1]), "{keys:?}");
}

fn stops(world: &World, runner: super::world::Process, runs: u64) {
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    world.no_process_is_left();
    world.replays_exactly(runs);
}

#[test]
fn mark_read_fails() {
    let world = World::new();
    let (proxy, runner) = with_a_line(&world);
    world.go();
    proxy.faults("/read ", Fault::Lost);
    let first = world.message("worked, and never marked");
    have_one_key(&asked(&proxy, "/read ", 2));
    // The next run fetches it as unread, and knows better.
    signal(runner.pid(), "KILL");
    assert_eq!(runner.ends(), None);
    assert_eq!(world.get(&format!("/messages/{first}"))["readBy"], json!([]));
    let runner = world.agent(PATIENT, &["--relay", &proxy.url()]);
    asked(&proxy, "/read ", 3);
    proxy.recovers();
    let second = world.message("another");
    world.is_settled(second);
    world.is_settled(first);
    assert_eq!(world.get(&format!("/messages/{first}"))["readBy"], json!(["a1"]));
    assert_eq!(world.heard(), [first, second]);
    stops(&world, runner, 2);
}

#[test]
fn claim_answer_lost() {
    let world = World::new();
    let (proxy, runner) = with_a_line(&world);
    world.go();
    proxy.faults("/claim ", Fault::AnswerLost);
    let (message, task) = world.task("claimed, but who knows");
    asked(&proxy, "/claim ", 1);
    assert!(world.heard().is_empty(), "nothing is handed over on a guess");
    proxy.recovers();
    have_one_key(&asked(&proxy, "/claim ", 2));
    world.task_is(task, "done");
    assert_eq!(world.heard(), [message]);
    stops(&world, runner, 1);
}

#[test]
fn done_report_fails() {
    let world = World::new();
    let (proxy, runner) = with_a_line(&world);
    let (message, task) = world.task("done, and nobody hears of it");
    world.notes("notes", 1);
    world.task_is(task, "in_progress");
    let started = proxy.requests("/tasks/").len();
    // Once it never arrives, once it does and its answer gets lost.
    proxy.faults("/tasks/", Fault::Lost);
    world.go();
    asked(&proxy, "/tasks/", started + 1);
    proxy.recovers();
    proxy.faults("/tasks/", Fault::AnswerLost);
    asked(&proxy, "/tasks/", started + 2);
    proxy.recovers();
    world.is_settled(message);
    have_one_key(&proxy.requests("/tasks/")[started..]);
    world.task_is(task, "done");
    assert_eq!(world.noted("notes"), [format!("began {message}"), format!("finished {message}")], "one turn");
    stops(&world, runner, 1);
}

#[test]
fn hung_request() {
    let world = World::new();
    let (proxy, runner) = with_a_line(&world);
    world.go();
    proxy.faults("/messages/1/read ", Fault::Hangs);
    let first = world.message("its read mark hangs");
    assert_eq!(first, 1);
    asked(&proxy, "/messages/1/read ", 1);
    proxy.recovers();
    // Nothing else waits for it ...
    let (second, task) = world.task("nothing to do with that");
    world.task_is(task, "done");
    world.is_settled(second);
    assert_eq!(proxy.requests("/messages/1/read ").len(), 1);
    // ... and it meets its deadline of 15 s.
    eventually_within(Duration::from_secs(40), "the read mark is tried again", || {
        (proxy.requests("/messages/1/read ").len() == 2).then_some(())
    });
    world.is_settled(first);
    stops(&world, runner, 1);
}

#[test]
fn half_open_link() {
    let world = World::new();
    let (proxy, runner) = with_a_line(&world);
    world.go();
    let connected = asked(&proxy, "/api/bus", 1).len();
    proxy.falls_silent();
    let (message, task) = world.task("sent into the silence");
    // It is noticed after 45 s at the latest, and nothing that was said meanwhile is lost.
    eventually_within(Duration::from_mins(1), "the runner connects anew", || {
        (proxy.requests("/api/bus").len() > connected).then_some(())
    });
    world.task_is(task, "done");
    assert_eq!(world.heard(), [message]);
    stops(&world, runner, 1);
}

#[test]
fn flapping_link() {
    let world = World::new();
    let (proxy, runner) = with_a_line(&world);
    world.go();
    let connected = asked(&proxy, "/api/bus", 1).len();
    proxy.faults("/api/bus", Fault::Lost);
    proxy.breaks();
    let attempts = asked(&proxy, "/api/bus", connected + 4);
    let waits: Vec<_> = attempts[connected..].windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    // From half a second on, doubling, and by up to a half less.
    for (n, least) in [500, 1_000, 2_000].into_iter().enumerate() {
        assert!(waits[n] >= Duration::from_millis(least), "{waits:?}");
    }
    proxy.recovers();
    let (message, task) = world.task("when it holds again");
    world.task_is(task, "done");
    assert_eq!(world.heard(), [message]);
    assert_eq!(world.log().matches("ERROR").count(), 0, "{}", world.log());
    stops(&world, runner, 1);
}

#[test]
fn report_unreachable() {
    let world = World::new();
    let (proxy, runner) = with_a_line(&world);
    proxy.faults("/commands/", Fault::Lost);
    world.notes("pids", 1);
    let restart = world.command("agent.restart", &json!({}));
    world.notes("pids", 2);
    assert_eq!(world.get(&format!("/commands/{restart}"))["status"], "pending");
    proxy.recovers();
    world.command_is(&restart, "succeeded");
    stops(&world, runner, 1);
}

#[test]
fn shutdown_report_fails() {
    let world = World::new();
    let proxy = Proxy::to(world.url());
    let runner = world.agent(STUBBORN, &["--relay", &proxy.url()]);
    world.notes("pids", 2);
    proxy.faults("/commands/", Fault::Lost);
    world.command("agent.shutdown", &json!({"timeoutMs": 2_000}));
    assert_eq!(runner.ends(), Some(0));
    world.no_process_is_left();
    assert!(!proxy.requests("/commands/").is_empty());
    assert!(world.agents().is_empty());
    world.replays_exactly(1);
}

#[test]
fn command_replay() {
    let world = World::new();
    let (proxy, runner) = with_a_line(&world);
    world.notes("pids", 1);
    // The relay never learns that the command has arrived, nor what became of it ...
    proxy.swallows_what_is_said_on_the_bus();
    proxy.faults("/commands/", Fault::Lost);
    let restart = world.command("agent.restart", &json!({}));
    world.notes("pids", 2);
    // ... and sends it again on the next connection.
    proxy.breaks();
    let journal = world.state().join("journal/000001.jsonl");
    let came = format!("\"id\":\"{restart}\"");
    eventually("it has come twice", || {
        (fs::read_to_string(&journal).unwrap().matches(&came).count() >= 2).then_some(())
    });
    proxy.recovers();
    world.command_is(&restart, "succeeded");
    world.go();
    let (_, task) = world.task("for the second process");
    world.task_is(task, "done");
    assert_eq!(world.noted("pids").len(), 2, "it was carried out once");
    stops(&world, runner, 1);
}
