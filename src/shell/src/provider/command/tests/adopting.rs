//! Taking up a process that an earlier run started: here the test itself is that run.

use super::*;
use crate::provider::Adopt;
use crate::provider::tested::{Agent, NONCE};
use relay_runner_core::effect::Repeat;
use relay_runner_core::event::{ProcessRef, TakenOffer};
use relay_runner_core::{Offer, Offers};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

fn adopt(stage: &mut Stage, process: ProcessRef) {
    let reporter = Reporter::new(stage.inputs.clone(), G1, Redactor::default());
    let offer = |message| Offer { message, attempt: 2, nonce: NONCE, repeat: Repeat::Ambiguous };
    let offers: Offers = [offer(3), offer(4)].into_iter().collect();
    stage.provider.adopt(Adopt { op: OpId(1), generation: G1, process, offers, conversation: None, reporter });
}

async fn asked(stage: &mut Stage, listener: &UnixListener) -> (BufReader<UnixStream>, String) {
    let accepted = tokio::time::timeout(LIMIT, listener.accept());
    let mut connection = BufReader::new(accepted.await.expect("a connection in time").unwrap().0);
    let mut line = String::new();
    connection.read_line(&mut line).await.unwrap();
    assert!(stage.events.try_recv().is_err(), "it is not ready before it has answered");
    (connection, line)
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_process_of_an_earlier_run_is_asked_what_it_knows_before_it_is_ready() {
    let mut agent = Agent::start();
    let mut stage = Stage::with(&["unused"], true);
    let listener = UnixListener::bind(stage.dir.path().join("command.sock")).unwrap();
    adopt(&mut stage, agent.is());
    assert_eq!(stage.event().await, Event::Done(OpId(1), OpResult::Spawned(agent.is())));

    let (mut first, resume) = asked(&mut stage, &listener).await;
    let wanted =
        r#"{"messages":[{"attempt":2,"id":3,"nonce":"000007"},{"attempt":2,"id":4,"nonce":"000007"}],"type":"resume"}"#;
    assert_eq!(resume.trim(), wanted);
    // The connection breaks in the middle of the answer: it is asked again, and the half counts for nothing.
    let half = "{\"type\":\"taken\",\"ids\":[3]}\n{\"type\":\"busy\"}\n{\"type\":\"idle\"}\n";
    first.write_all(half.as_bytes()).await.unwrap();
    drop(first);
    let (mut second, again) = asked(&mut stage, &listener).await;
    assert_eq!(again, resume);
    let said = "{\"type\":\"taken\",\"ids\":[3]}\n{\"type\":\"missed\",\"ids\":[4]}\n{\"type\":\"resumed\"}\n";
    second.write_all(said.as_bytes()).await.unwrap();
    let of = |message| vec![TakenOffer { message, nonce: None }];
    assert_eq!(stage.report().await, ProviderReport::Taken { offers: of(3), into_turn: false });
    assert_eq!(stage.report().await, ProviderReport::Missed { offers: of(4) });
    assert_eq!(stage.report().await, ProviderReport::Ready);

    stage.provider.stop(G1, StopStep::Terminate);
    let exit = stage.exit().await;
    assert_eq!(exit.class, ExitClass::Crash);
    assert!(exit.detail.contains("not known"), "{}", exit.detail);
    agent.0.wait().unwrap();
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_stranger_under_the_same_number_is_not_touched() {
    let mut agent = Agent::start();
    for stranger in [
        ProcessRef { started: agent.is().started + 1, ..agent.is() },
        ProcessRef { boot: "another".into(), ..agent.is() },
        ProcessRef { started: 0, ..agent.is() },
    ] {
        let mut stage = Stage::with(&["unused"], true);
        adopt(&mut stage, stranger);
        let Event::Done(OpId(1), OpResult::Failed(failure)) = stage.event().await else { panic!("it is gone") };
        assert_eq!(failure.kind, FailureKind::NotFound);
        assert!(failure.text.contains("has ended"), "{}", failure.text);
        stage.provider.stop(G1, StopStep::Kill);
        stage.provider.end(false).await;
    }
    assert!(agent.0.try_wait().unwrap().is_none(), "it lives");
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn one_that_is_left_lives_on_and_one_that_is_not_goes() {
    let mut agent = Agent::start();
    for left in [true, false] {
        let mut stage = Stage::with(&["unused"], true);
        adopt(&mut stage, agent.is());
        assert!(matches!(stage.event().await, Event::Done(OpId(1), OpResult::Spawned(_))));
        // A parent has to ask before its child is gone for good.
        let ended = tokio::task::spawn_blocking(move || {
            let status = if left { agent.0.try_wait().unwrap() } else { Some(agent.0.wait().unwrap()) };
            (agent, status)
        });
        stage.provider.end(left).await;
        let (same, status) = ended.await.unwrap();
        agent = same;
        assert_eq!(status.is_none(), left);
    }
}
