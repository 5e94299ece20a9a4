//! How it ends when something goes wrong.

use super::*;
use crate::provider::tested::written;
use relay_runner_core::event::{Failure, FailureKind};
use rustix::process::{Pid, Signal, kill_process};
use std::sync::Arc;

/// The operations that failed, and how, in order.
fn failures(events: &[Event]) -> Vec<(u64, FailureKind)> {
    let failed = events.iter().map(|event| match event {
        Event::Done(OpId(op), OpResult::Failed(Failure { kind, .. })) => (*op, *kind),
        other => panic!("{other:?}"),
    });
    failed.collect()
}

#[tokio::test]
async fn a_death_in_a_turn_answers_everything_and_gives_the_last_words() {
    let mut stage = Stage::script("echo 'no more of the-token' >&2; exec sleep 1000");
    let (_server, mut line, pid) = stage.busy().await;
    stage.act(2, Deed::Offer(vec![message(12)]));
    line.call("turn/steer").await;
    stage.act(3, Deed::Probe);
    line.call("thread/read").await;
    stage.act(4, Deed::Compact);
    written(&stage.dir.path().join("provider.log")).await;
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::SEGV).unwrap();
    let (before, exit) = stage.rest().await;
    let mut failed = failures(&before);
    failed.sort_unstable_by_key(|(op, _)| *op);
    assert_eq!(failed, [(2, FailureKind::Unreachable), (3, FailureKind::Unreachable), (4, FailureKind::NotReady)]);
    assert_eq!((exit.class, &*exit.detail), (ExitClass::Signal, "signal 11 (SIGSEGV): no more of [secret]"));
    stage.act(5, Deed::Interrupt);
    assert_eq!(failures(&[stage.event().await]), [(5, FailureKind::NotReady)]);
}

#[tokio::test]
async fn one_that_does_not_answer_is_ended_with_the_call_that_it_owes() {
    let mut stage = Stage::within(SHORT, WAITS);
    let (server, pid) = stage.begun(None).await;
    let mut line = server.accept().await;
    line.call("initialize").await;
    let why = "codex did not answer `initialize` within 2 s".to_owned();
    assert_eq!(stage.exit(pid).await, (ExitClass::StartTimeout, why));
}

#[tokio::test]
async fn one_that_does_not_speak_websocket_is_ended_with_this_reason() {
    let mut stage = Stage::within(SHORT, WAITS);
    let (server, pid) = stage.begun(None).await;
    let (class, why) = tokio::select! {
        exit = stage.exit(pid) => exit,
        never = server.talk_nonsense() => match never {},
    };
    assert_eq!(class, ExitClass::StartTimeout);
    assert!(why.contains("within 2 s (it does not speak websocket there: "), "{why}");
}

#[tokio::test]
async fn a_connection_that_never_lasts_is_not_waited_for_without_end() {
    let mut stage = Stage::within(SHORT, WAITS);
    let (server, pid) = stage.begun(None).await;
    let (class, why) = tokio::select! {
        exit = stage.exit(pid) => exit,
        never = server.hang_up() => match never {},
    };
    assert_eq!(class, ExitClass::StartTimeout);
    assert!(why.contains("within 2 s"), "{why}");
}

/// Says in a file when it is ready to be ended.
const ENDS_BY_TERM: &str = "trap 'echo term > ended; exit 0' TERM; echo > up; while :; do sleep 1000 & wait; done";
const IGNORES_TERM: &str = "trap '' TERM; echo > up; while :; do sleep 1000; done";

/// In turn `u`, and the signals are caught.
async fn catching(script: &str) -> (Stage, (Server, Line, u32)) {
    let mut stage = Stage::script(script);
    let up = stage.busy().await;
    written(&stage.dir.path().join("up")).await;
    (stage, up)
}

#[tokio::test]
async fn a_usage_limit_ends_it_by_term_and_is_no_failed_turn() {
    let (mut stage, (_server, mut line, pid)) = catching(ENDS_BY_TERM).await;
    let limits = json!({"primary": {"usedPercent": 100, "resetsAt": 1_900_000_000_u64}, "secondary": null});
    line.say(json!({"method": "account/rateLimits/updated", "params": {"rateLimits": limits}})).await;
    let error = json!({"message": "enough of the-token", "codexErrorInfo": "usageLimitExceeded"});
    line.end_turn("u", "failed", error).await;
    let until = Some(1_900_000_000_000);
    let why = "enough of [secret] (usageLimitExceeded)".to_owned();
    assert_eq!(stage.exit(pid).await, (ExitClass::UsageLimit { until }, why));
    assert_eq!(std::fs::read_to_string(stage.dir.path().join("ended")).unwrap(), "term\n");
}

#[tokio::test]
async fn one_that_is_refused_and_ignores_term_is_killed() {
    let (mut stage, (_server, mut line, pid)) = catching(IGNORES_TERM).await;
    line.end_turn("u", "failed", json!({"message": "who?", "codexErrorInfo": "unauthorized"})).await;
    let (class, why) = stage.exit(pid).await;
    assert_eq!(class, ExitClass::Refused);
    assert!(why.starts_with("who? (unauthorized)") && why.contains("codex login"), "{why}");
}

#[tokio::test]
async fn a_message_without_measure_breaks_the_connection_and_nothing_else() {
    let mut stage = Stage::script(WAITS);
    let (server, mut line, pid) = stage.busy().await;
    line.announce(64 * 1024 * 1024 + 1).await;
    let mut line = stage.goes_on(&server, "active", json!([turn("u", "inProgress", &[])])).await;
    line.end_turn("u", "completed", Value::Null).await;
    stage.reports([idle("u", TurnEnd::Normal)]).await;
    stage.provider.stop(G1, StopStep::Ask);
    assert_eq!(stage.exit(pid).await.0, ExitClass::Signal);
}

#[tokio::test]
async fn one_that_reads_nothing_can_be_stopped() {
    let mut stage = Stage::script(WAITS);
    let (_server, _line, pid) = stage.up().await;
    let big: Arc<str> = "x".repeat(8 * 1024 * 1024).into();
    stage.act(2, Deed::Prompt(big));
    stage.act(3, Deed::Interrupt);
    stage.provider.stop(G1, StopStep::Kill);
    let (before, exit) = stage.rest().await;
    let mut failed: Vec<_> = failures(&before).into_iter().map(|(op, _)| op).collect();
    failed.sort_unstable();
    assert_eq!(failed, [2, 3], "each is answered, before the exit");
    assert_eq!(exit.class, ExitClass::Signal);
    gone(i32::try_from(pid).unwrap()).await;
}
