//! With real processes: what an adapter owes, held against shell scripts.

mod adopting;

use super::*;
use crate::input::{Input, Inputs};
use crate::provider::Provider;
use crate::provider::living::WAITING_MOST;
use crate::provider::reporter::Reporter;
use crate::provider::tested::{LIMIT, gone, message, written};
use crate::secret::Redactor;
use relay_runner_core::event::{ExitClass, ExitReport, Failure, FailureKind, ReportStatus};
use relay_runner_core::{Event, OpResult, ProviderReport};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc::Receiver;

const G1: Generation = Generation(1);

struct Stage {
    provider: Box<Command>,
    inputs: Inputs,
    events: Receiver<Input>,
    dir: tempfile::TempDir,
}

impl Stage {
    fn with(argv: &[&str], listen: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (inputs, events) = Inputs::channel();
        let spec = CommandSpec::new(argv.iter().map(Into::into).collect(), listen);
        let at = dir.path().to_owned();
        let (monitor, _) = Monitor::new(false);
        let provider = Box::new(Command::new(spec, at.clone(), at, inputs.clone(), monitor));
        Self { provider, inputs, events, dir }
    }

    fn script(script: &str) -> Self {
        Self::with(&["sh", "-c", script], false)
    }

    fn start(&mut self, generation: Generation) {
        let redactor = Redactor::new([SecretString::from("the-token")]);
        let reporter = Reporter::new(self.inputs.clone(), generation, redactor);
        let env =
            BTreeMap::from([("PATH".into(), std::env::var_os("PATH").unwrap()), ("GREETING".into(), "hello".into())]);
        let cwd = self.dir.path().to_owned();
        self.provider.start(Start { op: OpId(1), generation, env, cwd, resume: None, reporter });
    }

    async fn event(&mut self) -> Event {
        match tokio::time::timeout(LIMIT, self.events.recv()).await.expect("an event in time") {
            Some(Input::Event(event)) => event,
            other => panic!("{other:?}"),
        }
    }

    async fn report(&mut self) -> ProviderReport {
        match self.event().await {
            Event::Provider(_, report) => report,
            other => panic!("{other:?}"),
        }
    }

    /// Started, and up.
    async fn up(&mut self) -> u32 {
        self.start(G1);
        let Event::Done(OpId(1), OpResult::Spawned(process)) = self.event().await else { panic!("spawned") };
        assert_eq!(self.report().await, ProviderReport::Ready);
        process.pid
    }

    async fn exit(&mut self) -> ExitReport {
        loop {
            if let Event::Provider(_, ProviderReport::Exit(exit)) = self.event().await {
                return exit;
            }
        }
    }

    /// The next log file line is waited for by the process itself: it reports when it has got there.
    async fn busy(&mut self) {
        let ProviderReport::Status(report) = self.report().await else { panic!("a status") };
        assert_eq!(report.status, ReportStatus::Busy);
    }

    async fn spawn_failure(&mut self) -> String {
        self.start(G1);
        match self.event().await {
            Event::Done(OpId(1), OpResult::Failed(Failure { kind: FailureKind::Io, text })) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

fn pid_in(stage: &Stage, file: &str) -> i32 {
    std::fs::read_to_string(stage.dir.path().join(file)).unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn messages_go_in_and_reports_come_out_in_order() {
    let mut stage = Stage::script(
        r#"while read -r line; do
             case "$line" in
               *'"type":"message"'*) echo '{"type":"taken","ids":[12],"turn":true}'; echo '{"type":"busy","turn":"t1"}' ;;
               *'"type":"prompt"'*) echo "{\"type\":\"log\",\"message\":\"$GREETING\"}"; echo '{"type":"idle","turn":"t1"}' ;;
               *'"type":"shutdown"'*) exit 0 ;;
             esac
           done"#,
    );
    stage.up().await;
    stage.provider.act(G1, OpId(2), Deed::Offer(vec![message(12)]));
    assert_eq!(stage.event().await, Event::Done(OpId(2), OpResult::Ok));
    let ProviderReport::Taken { offers, into_turn: true } = stage.report().await else { panic!("taken") };
    assert_eq!(offers[0].message, 12);
    stage.busy().await;
    stage.provider.act(G1, OpId(3), Deed::Prompt("go on".into()));
    assert_eq!(stage.event().await, Event::Done(OpId(3), OpResult::Ok));
    let ProviderReport::Status(idle) = stage.report().await else { panic!("a status") };
    assert_eq!((idle.status, idle.id.as_deref()), (ReportStatus::Idle, Some("t1")));
    stage.provider.stop(G1, StopStep::Ask);
    assert_eq!(stage.exit().await.class, ExitClass::Clean);
}

#[tokio::test]
async fn an_ask_ends_a_program_that_only_waits_for_the_end_of_its_input() {
    let mut stage = Stage::script("cat > got");
    stage.up().await;
    stage.provider.stop(G1, StopStep::Ask);
    assert_eq!(stage.exit().await.class, ExitClass::Clean);
    assert_eq!(std::fs::read_to_string(stage.dir.path().join("got")).unwrap(), "{\"type\":\"shutdown\"}\n");
}

#[tokio::test]
async fn odd_lines_are_reported_and_skipped() {
    let mut stage = Stage::script(
        r#"echo 'not json'; echo '{"type":"dance"}'; head -c 2000000 /dev/zero | tr '\0' x; echo; echo '{"type":"busy"}'; read -r x"#,
    );
    stage.up().await;
    for expected in ["error at column", "unknown type `dance`", "a line of 2000000 bytes"] {
        let ProviderReport::Malformed { reason } = stage.report().await else { panic!("malformed") };
        assert!(reason.contains(expected), "{reason}");
    }
    stage.busy().await;
}

#[tokio::test]
async fn an_exit_is_the_last_report_and_says_why() {
    let mut stage = Stage::script(r#"echo '{"type":"busy"}'; echo "no key the-token here" >&2; exit 3"#);
    stage.up().await;
    stage.busy().await;
    let exit = stage.exit().await;
    assert_eq!(exit.class, ExitClass::Crash);
    assert_eq!(&*exit.detail, "exit code 3: no key [secret] here");
    stage.provider.act(G1, OpId(5), Deed::Interrupt);
    assert!(matches!(
        stage.event().await,
        Event::Done(OpId(5), OpResult::Failed(Failure { kind: FailureKind::NotReady, .. }))
    ));
    assert!(stage.events.try_recv().is_err(), "nothing follows");
}

#[tokio::test]
async fn a_grandchild_goes_with_the_group_after_any_exit() {
    let mut stage = Stage::script(r#"sleep 1000 & echo $! > grandchild; echo '{"type":"busy"}'; read -r x; exit 0"#);
    stage.up().await;
    stage.busy().await;
    let grandchild = pid_in(&stage, "grandchild");
    stage.provider.stop(G1, StopStep::Ask);
    // The grandchild holds the output open: only its death lets the exit be reported at once.
    assert_eq!(stage.exit().await.class, ExitClass::Clean);
    gone(grandchild).await;
}

#[tokio::test]
async fn an_agent_that_ignores_term_is_killed_with_its_group() {
    let mut stage = Stage::script(
        r#"trap '' TERM; sh -c 'trap "" TERM; while :; do sleep 1000; done' & echo $! > child; echo '{"type":"busy"}'; while :; do sleep 1000; done"#,
    );
    let pid = stage.up().await;
    stage.busy().await;
    let child = pid_in(&stage, "child");
    stage.provider.stop(G1, StopStep::Ask);
    stage.provider.stop(G1, StopStep::Terminate);
    stage.provider.stop(G1, StopStep::Kill);
    let exit = stage.exit().await;
    assert_eq!((exit.class, &*exit.detail), (ExitClass::Signal, "signal 9 (SIGKILL)"));
    gone(child).await;
    gone(i32::try_from(pid).unwrap()).await;
}

#[tokio::test]
async fn a_step_for_another_generation_means_nothing() {
    let mut stage = Stage::script(r#"read -r x; echo '{"type":"busy"}'; read -r x"#);
    stage.up().await;
    stage.provider.stop(Generation(2), StopStep::Kill);
    stage.provider.act(G1, OpId(2), Deed::Interrupt);
    assert_eq!(stage.event().await, Event::Done(OpId(2), OpResult::Ok));
    stage.busy().await;
}

#[tokio::test]
async fn a_stop_right_after_the_start_orphans_nothing() {
    let mut stage = Stage::script("while :; do sleep 1000; done");
    stage.start(G1);
    stage.provider.stop(G1, StopStep::Kill);
    let Event::Done(_, OpResult::Spawned(process)) = stage.event().await else { panic!("spawned") };
    assert_eq!(stage.exit().await.class, ExitClass::Signal);
    gone(i32::try_from(process.pid).unwrap()).await;
}

#[tokio::test]
async fn dropping_the_adapter_kills_the_group() {
    let mut stage =
        Stage::script(r#"sleep 1000 & echo $! > grandchild; echo '{"type":"busy"}'; while :; do sleep 1000; done"#);
    let pid = stage.up().await;
    stage.busy().await;
    let grandchild = pid_in(&stage, "grandchild");
    let Stage { provider, .. } = stage;
    drop(provider);
    gone(grandchild).await;
    gone(i32::try_from(pid).unwrap()).await;
}

#[tokio::test]
async fn the_end_of_the_run_kills_what_lives() {
    let mut stage = Stage::script("trap '' TERM; while :; do sleep 1000; done");
    let pid = stage.up().await;
    let Stage { provider, events, .. } = stage;
    drop(events);
    provider.end(false).await;
    gone(i32::try_from(pid).unwrap()).await;
}

#[tokio::test]
async fn a_process_outside_the_group_that_holds_the_output_does_not_hold_up_the_exit() {
    let mut stage = Stage::script(
        r#"setsid sh -c 'echo $$ > outsider; echo "{\"type\":\"busy\"}"; exec sleep 1000' & read -r x; exit 4"#,
    );
    stage.up().await;
    stage.busy().await;
    let outsider = pid_in(&stage, "outsider");
    stage.provider.stop(G1, StopStep::Ask);
    let exit = stage.exit().await;
    // Not ours to kill, in use; but ours to clean up, in a test.
    rustix::process::kill_process(rustix::process::Pid::from_raw(outsider).unwrap(), rustix::process::Signal::KILL)
        .unwrap();
    assert_eq!(&*exit.detail, "exit code 4");
}

#[tokio::test]
async fn a_program_that_reads_nothing_holds_up_nobody() {
    let mut stage = Stage::script("while :; do sleep 1000; done");
    stage.up().await;
    let big: Arc<str> = "x".repeat(1024 * 1024).into();
    let deeds = 2 * WAITING_MOST as u64;
    for op in 0..deeds {
        stage.provider.act(G1, OpId(10 + op), Deed::Prompt(Arc::clone(&big)));
    }
    // Those that found no room are refused at once.
    let Event::Done(_, OpResult::Failed(failure)) = stage.event().await else { panic!("refused") };
    assert_eq!(failure.kind, FailureKind::NotReady);
    stage.provider.stop(G1, StopStep::Kill);
    let mut answered = 1;
    loop {
        match stage.event().await {
            Event::Done(_, OpResult::Failed(_)) => answered += 1,
            Event::Provider(_, ProviderReport::Exit(_)) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(answered, deeds, "each is answered, before the exit");
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_named_with_the_reason() {
    let missing = Stage::with(&["/nowhere/agent"], false).spawn_failure().await;
    assert_eq!(missing, "cannot start `/nowhere/agent`: No such file or directory; check the command after --");
    let by_name = Stage::with(&["surely-no-such-program"], false).spawn_failure().await;
    assert!(by_name.contains("No such file or directory"), "{by_name}");
    let mut plain = Stage::with(&["./plain"], false);
    std::fs::write(plain.dir.path().join("plain"), "text").unwrap();
    let plain = plain.spawn_failure().await;
    assert!(plain.contains("it is not executable"), "{plain}");
    let mut homeless = Stage::script("exit 0");
    let dir = std::mem::replace(&mut homeless.dir, tempfile::tempdir().unwrap());
    let cwd = homeless.dir.path().join("gone");
    drop(dir);
    let reporter = Reporter::new(homeless.inputs.clone(), G1, Redactor::default());
    homeless.provider.start(Start { op: OpId(1), generation: G1, env: BTreeMap::new(), cwd, resume: None, reporter });
    let Event::Done(_, OpResult::Failed(failure)) = homeless.event().await else { panic!("refused") };
    assert!(failure.text.contains("working directory") && failure.text.contains("gone"), "{}", failure.text);
}

/// A program that listens, played by the test itself: the process only waits.
#[tokio::test]
async fn a_listening_program_is_connected_to_again_and_again() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let mut stage = Stage::with(&["sh", "-c", "echo \"$AGENT_RELAY_COMMAND_SOCKET\" > socket; exec sleep 1000"], true);
    stage.start(G1);
    assert!(matches!(stage.event().await, Event::Done(OpId(1), OpResult::Spawned(_))));
    stage.provider.act(G1, OpId(2), Deed::Interrupt);
    let Event::Done(OpId(2), OpResult::Failed(early)) = stage.event().await else { panic!("refused") };
    assert_eq!(early.kind, FailureKind::NotReady, "nobody listens yet");

    let told = written(&stage.dir.path().join("socket")).await;
    assert_eq!(told.trim(), stage.dir.path().join("command.sock").to_str().unwrap());
    let listener = tokio::net::UnixListener::bind(stage.dir.path().join("command.sock")).unwrap();
    let (first, _) = listener.accept().await.unwrap();
    assert_eq!(stage.report().await, ProviderReport::Ready);
    drop(first);

    let (second, _) = listener.accept().await.unwrap();
    let mut second = BufReader::new(second);
    // It says so once it has seen that it is connected.
    loop {
        stage.provider.act(G1, OpId(3), Deed::Interrupt);
        match stage.event().await {
            Event::Done(OpId(3), OpResult::Ok) => break,
            Event::Done(OpId(3), OpResult::Failed(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    // The end of its turn may have been lost with the first.
    stage.provider.act(G1, OpId(4), Deed::Probe);
    let Event::Done(OpId(4), OpResult::Failed(unsure)) = stage.event().await else { panic!("refused") };
    assert!(unsure.text.contains("nothing was heard since"), "{}", unsure.text);
    second.write_all(b"{\"type\":\"busy\"}\n").await.unwrap();
    stage.busy().await;
    stage.provider.act(G1, OpId(5), Deed::Probe);
    assert_eq!(stage.event().await, Event::Done(OpId(5), OpResult::Ok));
    let mut line = String::new();
    second.read_line(&mut line).await.unwrap();
    assert_eq!(line, "{\"type\":\"interrupt\"}\n");

    stage.provider.stop(G1, StopStep::Ask);
    line.clear();
    second.read_line(&mut line).await.unwrap();
    assert_eq!(line, "{\"type\":\"shutdown\"}\n");
    second.write_all(b"{\"type\":\"busy\"}\n").await.unwrap();
    stage.busy().await;
    stage.provider.stop(G1, StopStep::Terminate);
    assert_eq!(stage.exit().await.class, ExitClass::Signal);
}
