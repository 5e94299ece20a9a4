//! What earlier runs leave: a process to be taken up, and ghosts that hold a thread.

use super::*;
use crate::provider::tested::Agent;
use relay_runner_core::effect::Repeat;
use relay_runner_core::event::{Failure, FailureKind};
use relay_runner_core::{Offer, Offers};
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

const HELD: &str = "thread t already has an active writer";

fn adopt(stage: &mut Stage, process: ProcessRef) {
    let offer = |message| Offer { message, attempt: 2, nonce: NONCE, repeat: Repeat::Ambiguous };
    let offers: Offers = [offer(3), offer(4)].into_iter().collect();
    let (conversation, reporter) = (Some("t".into()), stage.reporter());
    stage.provider.adopt(Adopt { op: OpId(1), generation: G1, process, offers, conversation, reporter });
}

#[tokio::test]
async fn one_that_is_left_is_taken_up_with_what_became_of_its_offers() {
    let mut first = Stage::script(WAITS);
    first.start(None);
    let process = first.spawned().await;
    let server = Server::at(first.dir.path());
    let mut line = server.greeted().await;
    line.reply("thread/start", json!({"thread": {"id": "t"}, "model": "m"})).await;
    first.opened().await;
    first.reports([ProviderReport::Ready]).await;
    let Stage { provider, dir, events, .. } = first;
    provider.end(true).await;
    drop((events, line));

    let mut second = Stage::over(dir, READY_WITHIN);
    adopt(&mut second, process.clone());
    assert_eq!(second.spawned().await, process);
    let three = json!(words::client(&[offer(3)]));
    let _line = second.goes_on(&server, "idle", json!([turn("u", "completed", &[three])])).await;
    second.reports([busy("u"), taken(3), idle("u", TurnEnd::Normal)]).await;
    second.reports([ProviderReport::Missed { offers: vec![offer(4)] }, ProviderReport::Ready]).await;
    second.provider.stop(G1, StopStep::Ask);
    let (class, why) = second.exit(process.pid).await;
    assert!(class == ExitClass::Crash && why.contains("is not known"), "{why}");

    let mut third = Stage::over(second.dir, READY_WITHIN);
    adopt(&mut third, process);
    match third.event().await {
        Event::Done(OpId(1), OpResult::Failed(Failure { kind: FailureKind::NotFound, text })) => {
            assert!(text.contains("has ended"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_end_of_the_run_kills_one_that_is_not_left() {
    let mut stage = Stage::script(WAITS);
    let (_server, _line, pid) = stage.busy().await;
    let Stage { provider, events, .. } = stage;
    drop(events);
    provider.end(false).await;
    gone(i32::try_from(pid).unwrap()).await;
}

/// Listens at the address of the stage, as far as anyone can see, and was started from this folder.
fn ghost(stage: &Stage, of: &Path) -> Agent {
    let url = stage.provider.setting.url();
    let script = ["-c", "while :; do sleep 1000; done", "ghost"].map(OsStr::new);
    Agent::of(Command::new("sh").args(script).arg(url).env("AGENT_RELAY_RUNNER_DIR", of))
}

#[tokio::test]
async fn a_ghost_that_holds_the_thread_is_killed() {
    let mut stage = Stage::script(WAITS);
    let ghost = ghost(&stage, stage.dir.path());
    let (server, pid) = stage.begun(Some("t")).await;
    let mut line = server.greeted().await;
    line.refuse("thread/resume", HELD).await;
    gone(i32::try_from(ghost.is().pid).unwrap()).await;
    line.reply("thread/resume", resumed("idle", json!([]))).await;
    stage.opened().await;
    stage.reports([ProviderReport::Ready]).await;
    stage.provider.stop(G1, StopStep::Ask);
    assert_eq!(stage.exit(pid).await.0, ExitClass::Signal);
}

#[tokio::test]
async fn a_stranger_that_holds_the_thread_is_waited_for_and_left_alone() {
    let mut stage = Stage::script(WAITS);
    let mut stranger = ghost(&stage, Path::new("/run/theirs"));
    let (server, pid) = stage.begun(Some("t")).await;
    let mut line = server.greeted().await;
    let refused = async {
        loop {
            line.refuse("thread/resume", HELD).await;
        }
    };
    let (_, exit) = tokio::select! {
        biased;
        rest = stage.rest() => rest,
        () = refused => unreachable!(),
    };
    assert_eq!(exit.class, ExitClass::Refused);
    assert!(exit.detail.contains("held by another program"), "{}", exit.detail);
    gone(i32::try_from(pid).unwrap()).await;
    assert!(stranger.0.try_wait().unwrap().is_none(), "it lives");
}
