//! With real processes, played by a few lines of shell.

use super::*;
use crate::input::Input;
use crate::provider::claude::{ClaudeSpec, ClaudeWay, READY_WITHIN};
use crate::provider::tested::{Agent, LIMIT, NONCE, gone, message};
use crate::secret::Redactor;
use relay_runner_core::event::{ExitClass, ExitReport, Failure, ProcessRef};
use relay_runner_core::{Event, OpResult, ProviderReport};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

const G1: Generation = Generation(1);
/// Answers what it is asked before it is ready; `say` is a line of JSON with `'` for `"`.
const UP: &str = r#"
say() { printf '%s\n' "$1" | tr "'" '"'; }
answer() { read -r line; say "{'type':'control_response','response':{'subtype':'success','request_id':'rr-$1','response':{}}}"; }
begin() {
    read -r line
    id=${line##*\"uuid\":\"}; id=${id%%\"*}
    say "{'type':'command_lifecycle','state':'started','command_uuid':'$id'}"
}
answer 1; answer 2
"#;

struct Stage {
    provider: Box<Stream>,
    inputs: Inputs,
    events: Receiver<Input>,
    dir: tempfile::TempDir,
}

impl Stage {
    fn new(script: &str) -> Self {
        Self::within(READY_WITHIN, script)
    }

    fn up(script: &str) -> Self {
        Self::new(&format!("{UP}{script}"))
    }

    fn within(ready_within: Duration, script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The program is `sh`, and reads the script as it reads what follows its name.
        let path = dir.path().join("claude");
        std::fs::write(&path, script).unwrap();
        let (inputs, events) = Inputs::channel();
        let [runner_dir, state_dir] = [(); 2].map(|()| dir.path().to_owned());
        let program = dir.path().join("program");
        std::fs::write(&program, format!("#!/bin/sh\nexec sh {}", path.display())).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, executable).unwrap();
        let setting = Setting {
            spec: ClaudeSpec { argv: vec![program.into()], way: ClaudeWay::Stream, tmux: None, transcript: None },
            model: None,
            effort: None,
            approval: Approval::Guarded,
            profile: None,
            home: Some(dir.path().to_owned()),
            runner_dir,
            state_dir,
            plugin: None,
            ready_within,
        };
        Self { provider: Box::new(Stream::new(setting, inputs.clone())), inputs, events, dir }
    }

    fn reporter(&self) -> Reporter {
        Reporter::new(self.inputs.clone(), G1, Redactor::new([SecretString::from("the-token")]))
    }

    async fn start(&mut self) -> i32 {
        let path = ("PATH".into(), std::env::var_os("PATH").unwrap());
        let env = BTreeMap::from([path, ("AGENT_RELAY_RUNNER_DIR".into(), self.dir.path().into())]);
        let (cwd, reporter) = (self.dir.path().to_owned(), self.reporter());
        self.provider.start(Start { op: OpId(1), generation: G1, env, cwd, resume: None, reporter });
        match self.event().await {
            Event::Done(OpId(1), OpResult::Spawned(ProcessRef { pid, .. })) => i32::try_from(pid).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Started, and ready.
    async fn ready(&mut self) -> i32 {
        let pid = self.start().await;
        assert!(matches!(self.report().await, ProviderReport::Conversation { .. }));
        assert_eq!(self.report().await, ProviderReport::Ready);
        pid
    }

    fn act(&mut self, op: u64, deed: Deed) {
        self.provider.act(G1, OpId(op), deed);
    }

    async fn event(&mut self) -> Event {
        match tokio::time::timeout(LIMIT, self.events.recv()).await.expect("an event in time").unwrap() {
            Input::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    async fn report(&mut self) -> ProviderReport {
        match self.event().await {
            Event::Provider(G1, report) => report,
            other => panic!("{other:?}"),
        }
    }

    async fn done(&mut self, op: u64) {
        assert_eq!(self.event().await, Event::Done(OpId(op), OpResult::Ok));
    }

    async fn failed(&mut self, op: u64) -> Failure {
        match self.event().await {
            Event::Done(id, OpResult::Failed(failure)) if id == OpId(op) => failure,
            other => panic!("{other:?}"),
        }
    }

    /// The exit is what is said next, and the last; nothing is left of the process.
    async fn exit(&mut self, pid: i32) -> (ExitClass, String) {
        let ProviderReport::Exit(ExitReport { class, detail }) = self.report().await else { panic!("no exit") };
        assert!(self.events.try_recv().is_err(), "nothing follows");
        gone(pid).await;
        (class, detail.to_string())
    }

    /// Ready, and in a turn that began with message 12.
    async fn busy(&mut self) -> i32 {
        let pid = self.ready().await;
        self.act(2, Deed::Offer(vec![message(12)]));
        self.done(2).await;
        assert!(matches!(self.report().await, ProviderReport::Status(_)));
        let offers = vec![relay_runner_core::event::TakenOffer { message: 12, nonce: Some(NONCE) }];
        assert_eq!(self.report().await, ProviderReport::Taken { offers, into_turn: true });
        pid
    }
}

#[tokio::test]
async fn it_ends_by_the_end_of_its_input() {
    let mut stage = Stage::up("cat > rest; exit 0");
    let pid = stage.ready().await;
    stage.provider.stop(G1, StopStep::Ask);
    assert_eq!(stage.exit(pid).await, (ExitClass::Clean, "exit code 0".to_owned()));
    assert_eq!(std::fs::read_to_string(stage.dir.path().join("rest")).unwrap(), "");
}

#[tokio::test]
async fn one_that_ends_in_its_turn_ends_with_its_last_words() {
    let mut stage = Stage::up("begin; echo 'a first line' >&2; echo 'the-token is lost' >&2; exit 3");
    let pid = stage.busy().await;
    let words = "exit code 3: a first line | [secret] is lost";
    assert_eq!(stage.exit(pid).await, (ExitClass::Crash, words.to_owned()));
}

#[tokio::test]
async fn one_that_closes_its_output_in_its_turn_is_ended() {
    let mut stage = Stage::up("begin; exec >&- 2>&-; exec sleep 1000");
    let pid = stage.busy().await;
    let (class, why) = stage.exit(pid).await;
    assert_eq!(class, ExitClass::Crash);
    assert!(why.contains("closed its input or its output"), "{why}");
}

#[tokio::test]
async fn one_that_closes_its_input_takes_nothing_and_is_ended() {
    let mut stage = Stage::up("exec <&-; : > closed; exec sleep 1000");
    let pid = stage.ready().await;
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    while !stage.dir.path().join("closed").exists() {
        looks.tick().await;
    }
    stage.act(2, Deed::Offer(vec![message(12)]));
    assert_eq!(stage.failed(2).await.kind, FailureKind::Unreachable);
    assert_eq!(stage.exit(pid).await.0, ExitClass::Crash);
}

#[tokio::test]
async fn one_that_never_answers_has_not_started() {
    let mut stage = Stage::within(Duration::from_millis(200), "echo 'it is full moon' >&2; exec sleep 1000");
    let pid = stage.start().await;
    let (class, why) = stage.exit(pid).await;
    assert_eq!(class, ExitClass::StartTimeout);
    assert!(why.contains("did not answer `initialize` within 0.2 s") && why.contains("full moon"), "{why}");
}

#[tokio::test]
async fn garbage_is_reported_and_passed_over() {
    let mut stage = Stage::up("echo '{'; printf '\\377\\n'; echo; echo 7; begin; exec sleep 1000");
    let pid = stage.ready().await;
    for _ in 0..3 {
        assert!(matches!(stage.report().await, ProviderReport::Malformed { .. }));
    }
    stage.act(2, Deed::Offer(vec![message(12)]));
    stage.done(2).await;
    assert!(matches!(stage.report().await, ProviderReport::Status(_)));
    assert!(matches!(stage.report().await, ProviderReport::Taken { .. }));
    stage.provider.stop(G1, StopStep::Kill);
    assert_eq!(stage.exit(pid).await.0, ExitClass::Signal);
}

/// What is written waits for nobody's reading, and what is read for nobody's writing.
#[tokio::test]
async fn one_that_floods_and_does_not_read_holds_up_nothing() {
    let mut stage = Stage::up("begin; exec yes '{\"type\":\"keep_alive\"}'");
    let pid = stage.busy().await;
    let long: Arc<str> = "x".repeat(300_000).into();
    stage.act(3, Deed::Prompt(long));
    stage.act(4, Deed::Interrupt);
    stage.provider.stop(G1, StopStep::Kill);
    let mut failed = [stage.failed_of_any().await, stage.failed_of_any().await];
    failed.sort_unstable();
    assert_eq!(failed, [3, 4]);
    assert_eq!(stage.exit(pid).await.0, ExitClass::Signal);
}

impl Stage {
    async fn failed_of_any(&mut self) -> u64 {
        match self.event().await {
            Event::Done(OpId(op), OpResult::Failed(_)) => op,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_it_said_last_counts_after_its_exit() {
    let mut stage = Stage::new(
        "echo '{\"type\":\"result\",\"is_error\":true,\"errors\":[\"No conversation found with session ID: x\"]}'; exit 1",
    );
    let pid = stage.start().await;
    assert!(matches!(stage.report().await, ProviderReport::Conversation { .. }));
    let (class, why) = stage.exit(pid).await;
    assert_eq!(class, ExitClass::Crash);
    assert!(why.contains("No conversation found"), "{why}");
}

#[tokio::test]
async fn one_that_cannot_be_started_says_so() {
    let mut stage = Stage::new("");
    std::fs::remove_file(stage.dir.path().join("program")).unwrap();
    let (cwd, reporter) = (stage.dir.path().to_owned(), stage.reporter());
    stage.provider.start(Start { op: OpId(1), generation: G1, env: BTreeMap::new(), cwd, resume: None, reporter });
    assert_eq!(stage.failed(1).await.kind, FailureKind::Io);
}

/// Its pipes are gone with the runner that had them.
#[tokio::test]
async fn what_an_earlier_run_left_is_never_taken_up() {
    let mut stage = Stage::new("");
    let left = Agent::start();
    let (reporter, process) = (stage.reporter(), left.is());
    let adopt = Adopt {
        op: OpId(1),
        generation: G1,
        process,
        offers: relay_runner_core::Offers::default(),
        conversation: None,
        reporter,
    };
    stage.provider.adopt(adopt);
    let failure = stage.failed(1).await;
    assert_eq!(failure.kind, FailureKind::NotFound);
    assert!(failure.text.contains("on pipes of the last run"), "{}", failure.text);
}
