//! Whole runners with real processes, sockets and files, against a small relay of the test's own.

#![expect(clippy::unwrap_used, reason = "tests")]

mod relay;

use relay::Relay;
use relay_runner_core::config::{Adapter, Config, Identity};
use relay_runner_core::event::Signal;
use relay_runner_core::journal::KeptBodies;
use relay_runner_core::{Order, Outcome};
use relay_runner_shell::client::Client;
use relay_runner_shell::journal::replay_path;
use relay_runner_shell::{
    CommandSpec, EnvironmentPolicy, ExitCode, Handle, Options, Program, ProviderSpec, RelayUrl, RunError, Runner,
    StartError,
};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(20);

/// Takes messages one by one, and works on each for as long as it takes to say so.
const AGENT: &str = r#"
while read -r line; do
  echo "$line" >> lines
  case "$line" in
    *'"type":"message"'*)
      id=${line#*\"id\":}; id=${id%%,*}
      echo "{\"type\":\"taken\",\"ids\":[$id]}"
      echo '{"type":"busy","turn":"t"}'
      echo '{"type":"idle","turn":"t"}' ;;
    *'"type":"prompt"'*) echo '{"type":"busy"}'; echo '{"type":"idle"}' ;;
    *'"type":"shutdown"'*) exit 0 ;;
  esac
done
"#;

fn options(dir: &Path, relay: &str, argv: &[&str]) -> Options {
    let identity = Identity {
        agent_id: "agent-1".into(),
        runner_id: "runner-1".into(),
        provider: "command".into(),
        machine: "test".into(),
        ..Identity::default()
    };
    Options {
        config: Config::new(identity, Adapter::default(), 7),
        relay: RelayUrl::parse(relay).unwrap(),
        token: Some(SecretString::from("the-token-of-the-test")),
        token_file: None,
        state_dir: dir.join("state"),
        runner_dir: Some(dir.join("run")),
        provider: ProviderSpec::Command(CommandSpec::new(argv.iter().map(Into::into).collect(), false)),
        environment: EnvironmentPolicy::default(),
        cwd: dir.to_owned(),
        first_prompt: None,
        info_file: Some(dir.join("info.json")),
        program: Program { version: "0.0.0".to_owned(), commit: None },
        profile: None,
        settings: None,
        bodies: KeptBodies::Hash,
        fresh: false,
        signals: false,
    }
}

struct Run {
    handle: Handle,
    over: JoinHandle<Result<ExitCode, RunError>>,
}

impl Run {
    fn start(options: Options) -> Self {
        let (runner, handle) = Runner::prepare(options).unwrap();
        Self { handle, over: tokio::spawn(runner.run()) }
    }

    /// Waits until the state is like that.
    async fn until(&self, like: impl Fn(&Value) -> bool) -> Value {
        let mut states = self.handle.watch();
        let now = self.handle.state().await.unwrap();
        let now: Value = serde_json::from_str(&now).unwrap();
        if like(&now) {
            return now;
        }
        let found = states.wait_for(|state| serde_json::from_str(state).is_ok_and(|state| like(&state)));
        match tokio::time::timeout(LIMIT, found).await {
            Ok(state) => serde_json::from_str(&state.unwrap()).unwrap(),
            Err(late) => panic!("{late}: {:?}", self.handle.state().await),
        }
    }

    /// Waits until it is ready; the agent's process id.
    async fn ready(&self) -> u64 {
        self.until(|state| state["ready"] == true).await["process"]["process"]["pid"].as_u64().unwrap()
    }

    async fn code(self) -> ExitCode {
        tokio::time::timeout(LIMIT, self.over).await.expect("an end in time").unwrap().unwrap()
    }
}

fn message(id: u64) -> Value {
    json!({"id": id, "from": "alice", "to": "agent-1", "body": "Do it.", "createdAt": 1})
}

fn lives(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[tokio::test]
async fn a_message_goes_all_the_way_and_the_run_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start().await;
    let run = Run::start(options(dir.path(), &relay.url, &["sh", "-c", AGENT]));
    let register = relay.heard("bus register", 1).await;
    assert_eq!(register.body["agentId"], "agent-1");
    assert_eq!(register.token.as_deref(), Some("the-token-of-the-test"));
    let agent = run.ready().await;
    let info: Value = serde_json::from_slice(&std::fs::read(dir.path().join("info.json")).unwrap()).unwrap();
    assert_eq!(info["agentId"], "agent-1");

    relay.message(1, &message(7));
    let read = relay.heard("POST /api/messages/7/read", 1).await;
    assert_eq!(read.token.as_deref(), Some("the-token-of-the-test"));
    assert!(read.key.is_some());
    relay.heard("bus ack", 1).await;
    let lines = std::fs::read_to_string(dir.path().join("lines")).unwrap();
    assert!(lines.contains("[relay message 7"), "{lines}");

    let client = Client::new(run.handle.runner_dir()).unwrap();
    assert_eq!(client.status().await.unwrap()["agentId"], "agent-1");
    let outcome = client.command("shutdown", Map::new()).await.unwrap();
    assert_eq!(outcome["ok"], true);
    assert_eq!(run.code().await, ExitCode::Ok);

    assert!(!lives(agent), "the agent is gone");
    relay.heard("DELETE /api/agents/agent-1", 1).await;
    assert!(!dir.path().join("info.json").exists());
    assert!(!dir.path().join("run").exists(), "nothing is left behind");
    let journal = std::fs::read_to_string(dir.path().join("state/journal/000001.jsonl")).unwrap();
    assert!(!journal.contains("the-token-of-the-test") && !journal.contains("Do it."), "no secret, no words");
    let summary = replay_path(&dir.path().join("state")).unwrap();
    assert_eq!((summary.runs, summary.segments, summary.torn.len()), (1, 1, 0));

    // What was settled is not delivered again, and the next run knows the agent.
    let run = Run::start(options(dir.path(), &relay.url, &["sh", "-c", AGENT]));
    run.ready().await;
    relay.message(2, &message(7));
    relay.message(3, &message(8));
    relay.heard("POST /api/messages/8/read", 1).await;
    assert_eq!(relay.all().iter().filter(|what| *what == "POST /api/messages/7/read").count(), 1);
    assert!(run.handle.order(Order::Signal(Signal::Quit)).await);
    assert_eq!(run.code().await, ExitCode::Ok);
    assert_eq!(replay_path(&dir.path().join("state")).unwrap().runs, 2);
}

#[tokio::test]
async fn several_runners_live_in_one_process() {
    let relay = Relay::start().await;
    let mut runs = Vec::new();
    for n in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options(dir.path(), &relay.url, &["sh", "-c", AGENT]);
        options.config.identity.agent_id = format!("agent-{n}").into();
        runs.push((Run::start(options), dir));
    }
    for (run, _) in &runs {
        run.ready().await;
    }
    for (run, _dir) in runs {
        run.handle.order(Order::Signal(Signal::Term)).await;
        assert_eq!(run.code().await, ExitCode::Ok);
    }
}

#[tokio::test]
async fn the_environment_of_the_agent_leads_it_back_to_the_runner() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start().await;
    let script = format!("env | sort > environment; {AGENT}");
    let run = Run::start(options(dir.path(), &relay.url, &["sh", "-c", &script]));
    run.ready().await;
    // Once it has read its first line, its first deed is done.
    relay.message(1, &message(7));
    relay.heard("POST /api/messages/7/read", 1).await;
    let environment = std::fs::read_to_string(dir.path().join("environment")).unwrap();
    let port = {
        let info: Value = serde_json::from_slice(&std::fs::read(dir.path().join("info.json")).unwrap()).unwrap();
        info["controlUrl"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned()
    };
    for line in [
        "AGENT_RELAY_ID=agent-1".to_owned(),
        "AGENT_RELAY_RUNNER_ID=runner-1".to_owned(),
        "AGENT_RELAY_TOKEN=the-token-of-the-test".to_owned(),
        format!("AGENT_RELAY_URL={}", relay.url),
        format!("AGENT_RELAY_RUNNER_PORT={port}"),
        format!("AGENT_RELAY_RUNNER_DIR={}", run.handle.runner_dir().display()),
    ] {
        assert!(environment.lines().any(|l| l == line), "{line} in {environment}");
    }
    assert!(!environment.contains("CARGO_"), "only what is listed is inherited");
    run.handle.order(Order::Signal(Signal::Quit)).await;
    run.code().await;
}

#[tokio::test]
async fn a_program_that_does_not_exist_ends_the_run_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start().await;
    let run = Run::start(options(dir.path(), &relay.url, &["/nowhere/agent"]));
    assert_ne!(run.code().await, ExitCode::Ok);
    let journal = std::fs::read_to_string(dir.path().join("state/journal/000001.jsonl")).unwrap();
    assert!(journal.contains("cannot start `/nowhere/agent`: No such file or directory"), "{journal}");
}

#[tokio::test]
async fn an_unknown_command_fails_and_a_known_one_has_an_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start().await;
    let run = Run::start(options(dir.path(), &relay.url, &["sh", "-c", AGENT]));
    let before = run.ready().await;
    assert!(run.handle.command("dance", Map::new()).await.is_none());
    let outcome = run.handle.command("agent.restart", Map::new()).await.unwrap();
    assert!(matches!(&*outcome, Outcome::Succeeded { .. }), "{outcome}");
    run.ready().await;
    assert!(!lives(before));
    run.handle.order(Order::Signal(Signal::Quit)).await;
    let handle = run.handle.clone();
    assert_eq!(run.code().await, ExitCode::Ok);
    assert!(handle.state().await.is_none(), "nobody answers after the end");
}

#[tokio::test]
async fn dropping_a_run_leaves_no_process() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start().await;
    let run = Run::start(options(dir.path(), &relay.url, &["sh", "-c", AGENT]));
    let agent = run.ready().await;
    run.over.abort();
    assert!(run.over.await.unwrap_err().is_cancelled());
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    tokio::time::timeout(LIMIT, async {
        while lives(agent) {
            looks.tick().await;
        }
    })
    .await
    .expect("the agent goes with the runner");
}

#[tokio::test]
async fn a_run_that_cannot_begin_says_why_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = "http://127.0.0.1:9";
    let again = || options(dir.path(), nobody, &["sh", "-c", AGENT]);
    let (first, _handle) = Runner::prepare(again()).unwrap();
    let refused = Runner::prepare(again()).unwrap_err();
    assert!(matches!(&refused, StartError::Locked { owner: Some(pid), .. } if *pid == std::process::id()), "{refused}");
    assert!(refused.to_string().contains("relay-runner stop"));
    drop(first);

    let segment = dir.path().join("state/journal/000001.jsonl");
    let text = std::fs::read_to_string(&segment).unwrap();
    std::fs::write(&segment, text.replace("agent-1", "agent-2")).unwrap();
    let damaged = Runner::prepare(again()).unwrap_err().to_string();
    assert!(damaged.contains("000001.jsonl, line 1") && damaged.contains("--fresh"), "{damaged}");
    Runner::prepare(Options { fresh: true, ..again() }).unwrap();
    assert!(dir.path().join("state/journal.old-1").exists());

    let nothing = Runner::prepare(options(dir.path(), nobody, &[])).unwrap_err();
    assert!(matches!(nothing, StartError::NoCommand));
}
