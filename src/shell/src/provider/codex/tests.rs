//! With a real process and a real socket: the process only waits, and the test itself is the app-server that listens.

#[cfg(target_os = "linux")]
mod adopting;
mod ends;
mod server;

use super::*;
use crate::input::Input;
use crate::provider::reporter::Reporter;
use crate::provider::tested::{LIMIT, NONCE, gone, message};
use crate::secret::Redactor;
use relay_runner_core::effect::Decision;
use relay_runner_core::event::{
    ApprovalRequest, ExitClass, ExitReport, ProcessRef, ReportStatus, StatusReport, TurnEnd,
};
use relay_runner_core::{Event, OpResult, ProviderReport};
use secrecy::SecretString;
use serde_json::{Value, json};
use server::{Line, Server};
use tokio::sync::mpsc::Receiver;
use tokio_tungstenite::tungstenite::Message;

const G1: Generation = Generation(1);
const WAITS: &str = "exec sleep 1000";
/// Enough for what is done at once, and short for what is waited for in vain.
const SHORT: Duration = Duration::from_secs(2);

struct Stage {
    provider: Box<Codex>,
    inputs: Inputs,
    events: Receiver<Input>,
    dir: tempfile::TempDir,
}

impl Stage {
    fn script(script: &str) -> Self {
        Self::within(READY_WITHIN, script)
    }

    fn within(ready_within: Duration, script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The program is `sh`, and so its first argument names a script in the working directory.
        std::fs::write(dir.path().join("app-server"), script).unwrap();
        Self::over(dir, ready_within)
    }

    fn over(dir: tempfile::TempDir, ready_within: Duration) -> Self {
        let (inputs, events) = Inputs::channel();
        let [cwd, runner_dir, state_dir] = [(); 3].map(|()| dir.path().to_owned());
        let setting = Setting {
            spec: CodexSpec { argv: vec!["sh".into()], transcript: None },
            cwd,
            model: None,
            effort: None,
            approval: Approval::Guarded,
            home: None,
            runner_dir,
            state_dir,
            skills: None,
            ready_within,
        };
        Self { provider: Box::new(Codex::new(setting, inputs.clone())), inputs, events, dir }
    }

    fn reporter(&self) -> Reporter {
        Reporter::new(self.inputs.clone(), G1, Redactor::new([SecretString::from("the-token")]))
    }

    fn start(&mut self, resume: Option<&str>) {
        let dir = self.dir.path();
        let path = ("PATH".into(), std::env::var_os("PATH").unwrap());
        let env = BTreeMap::from([path, ("AGENT_RELAY_RUNNER_DIR".into(), dir.into())]);
        let (cwd, resume, reporter) = (dir.to_owned(), resume.map(Into::into), self.reporter());
        self.provider.start(Start { op: OpId(1), generation: G1, env, cwd, resume, reporter });
    }

    fn act(&mut self, op: u64, deed: Deed) {
        self.provider.act(G1, OpId(op), deed);
    }

    async fn input(&mut self) -> Input {
        tokio::time::timeout(LIMIT, self.events.recv()).await.expect("an event in time").unwrap()
    }

    async fn event(&mut self) -> Event {
        match self.input().await {
            Input::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    async fn reports<const N: usize>(&mut self, expected: [ProviderReport; N]) {
        for report in expected {
            assert_eq!(self.event().await, Event::Provider(G1, report));
        }
    }

    async fn malformed(&mut self) -> String {
        match self.event().await {
            Event::Provider(G1, ProviderReport::Malformed { reason }) => reason.to_string(),
            other => panic!("{other:?}"),
        }
    }

    async fn done(&mut self, op: u64) {
        assert_eq!(self.event().await, Event::Done(OpId(op), OpResult::Ok));
    }

    async fn spawned(&mut self) -> ProcessRef {
        match self.event().await {
            Event::Done(OpId(1), OpResult::Spawned(process)) => process,
            other => panic!("{other:?}"),
        }
    }

    async fn opened(&mut self) {
        let model = ProviderReport::Model { model: "m".into(), effort: None };
        self.reports([ProviderReport::Conversation { id: "t".into() }, model]).await;
    }

    /// Started, and listening; nothing was said yet.
    async fn begun(&mut self, resume: Option<&str>) -> (Server, u32) {
        self.start(resume);
        let process = self.spawned().await;
        (Server::at(self.dir.path()), process.pid)
    }

    /// Ready, in thread `t`.
    async fn up(&mut self) -> (Server, Line, u32) {
        let (server, pid) = self.begun(None).await;
        let mut line = server.greeted().await;
        line.reply("thread/start", json!({"thread": {"id": "t"}, "model": "m"})).await;
        self.opened().await;
        self.reports([ProviderReport::Ready]).await;
        (server, line, pid)
    }

    /// Ready, and in turn `u`.
    async fn busy(&mut self) -> (Server, Line, u32) {
        let (server, mut line, pid) = self.up().await;
        line.begin_turn("u").await;
        self.reports([busy("u")]).await;
        (server, line, pid)
    }

    /// On a new connection it goes on with its thread.
    async fn goes_on(&mut self, server: &Server, status: &str, turns: Value) -> Line {
        let mut line = server.greeted().await;
        let params = line.reply("thread/resume", resumed(status, turns)).await;
        assert_eq!(params["threadId"], "t");
        self.opened().await;
        line
    }

    /// All that is said until the exit, and the exit, as the last.
    async fn rest(&mut self) -> (Vec<Event>, ExitReport) {
        let mut before = Vec::new();
        loop {
            match self.event().await {
                Event::Provider(G1, ProviderReport::Exit(exit)) => {
                    assert!(self.events.try_recv().is_err(), "nothing follows");
                    return (before, exit);
                }
                event => before.push(event),
            }
        }
    }

    /// The exit is what is said next, and nothing is left of the process.
    async fn exit(&mut self, pid: u32) -> (ExitClass, String) {
        let (before, exit) = self.rest().await;
        assert_eq!(before, []);
        gone(i32::try_from(pid).unwrap()).await;
        (exit.class, exit.detail.to_string())
    }
}

fn busy(turn: &str) -> ProviderReport {
    let report = StatusReport { status: ReportStatus::Busy, id: Some(turn.into()), ..StatusReport::default() };
    ProviderReport::Status(Box::new(report))
}

fn idle(turn: &str, end: TurnEnd) -> ProviderReport {
    ProviderReport::Status(Box::new(StatusReport { id: Some(turn.into()), end, ..StatusReport::default() }))
}

fn offer(message: u64) -> TakenOffer {
    TakenOffer { message, nonce: Some(NONCE) }
}

fn taken(message: u64) -> ProviderReport {
    ProviderReport::Taken { offers: vec![offer(message)], into_turn: true }
}

/// The answer to `thread/resume`; the newest turn comes first.
#[expect(clippy::needless_pass_by_value, reason = "it is made where it is handed over")]
fn resumed(status: &str, turns: Value) -> Value {
    let page = json!({"data": turns, "nextCursor": null});
    json!({"thread": {"id": "t", "status": {"type": status}}, "model": "m", "initialTurnsPage": page})
}

fn turn(id: &str, status: &str, clients: &[Value]) -> Value {
    let items: Vec<_> = clients.iter().map(|client| json!({"type": "userMessage", "clientId": client})).collect();
    json!({"id": id, "status": status, "items": items, "error": null})
}

#[tokio::test]
async fn a_life_from_the_start_to_the_stop() {
    let mut stage = Stage::script(WAITS);
    let (_server, mut line, pid) = stage.up().await;
    stage.act(2, Deed::Offer(vec![message(12)]));
    let params = line.reply("turn/start", json!({"turn": {"id": "u"}})).await;
    assert!(params["input"][0]["text"].as_str().unwrap().contains("Do it."), "{params}");
    stage.done(2).await;
    line.begin_turn("u").await;
    line.show("u", &params["clientUserMessageId"]).await;
    stage.reports([busy("u"), taken(12)]).await;
    line.end_turn("u", "completed", Value::Null).await;
    stage.reports([idle("u", TurnEnd::Normal)]).await;

    line.begin_turn("v").await;
    stage.reports([busy("v")]).await;
    stage.provider.stop(G1, StopStep::Ask);
    let params = line.reply("turn/interrupt", json!({})).await;
    assert_eq!(params, json!({"threadId": "t", "turnId": "v"}));
    line.end_turn("v", "interrupted", Value::Null).await;
    stage.reports([idle("v", TurnEnd::Interrupted { by_person: false })]).await;
    assert_eq!(stage.exit(pid).await, (ExitClass::Signal, "signal 15 (SIGTERM)".to_owned()));
}

#[tokio::test]
async fn garbage_is_reported_and_passed_over() {
    let mut stage = Stage::script(WAITS);
    let (server, pid) = stage.begun(None).await;
    let mut line = server.accept().await;
    let (id, _) = line.call("initialize").await;
    for garbage in [Message::text("not JSON"), Message::binary(vec![0xff; 9]), Message::text("7")] {
        line.send(garbage).await;
    }
    line.say(json!({"id": id, "result": {}})).await;
    assert_eq!(line.hear().await["method"], "initialized");
    line.reply("account/read", json!({})).await;
    line.reply("thread/start", json!({"thread": {"id": "t"}, "model": "m"})).await;
    assert_eq!(stage.malformed().await, "a message of 8 bytes that is no JSON");
    assert_eq!(stage.malformed().await, "a message of 9 bytes that is no JSON");
    assert!(stage.malformed().await.contains("neither a request"));
    stage.opened().await;
    stage.reports([ProviderReport::Ready]).await;

    line.send(Message::text("{")).await;
    line.send(Message::binary(Vec::new())).await;
    assert_eq!(stage.malformed().await, "a message of 1 bytes that is no JSON");
    assert_eq!(stage.malformed().await, "a message of 0 bytes that is no JSON");
    stage.act(2, Deed::Offer(vec![message(12)]));
    line.reply("turn/start", json!({"turn": {"id": "u"}})).await;
    stage.done(2).await;
    stage.provider.stop(G1, StopStep::Kill);
    assert_eq!(stage.exit(pid).await.0, ExitClass::Signal);
}

#[tokio::test]
async fn a_connection_that_closes_in_a_turn_loses_nothing_and_tells_nothing_twice() {
    let mut stage = Stage::script(WAITS);
    let (server, mut line, pid) = stage.busy().await;
    stage.act(2, Deed::Offer(vec![message(12)]));
    let (_, params) = line.call("turn/steer").await;
    let client = params["clientUserMessageId"].clone();
    drop(line);
    let mut line = stage.goes_on(&server, "idle", json!([turn("u", "completed", &[client])])).await;
    stage.done(2).await;
    stage.reports([taken(12), idle("u", TurnEnd::Normal)]).await;
    // Said while the thread was opened.
    line.end_turn("u", "completed", Value::Null).await;
    line.begin_turn("v").await;
    stage.reports([busy("v")]).await;
    stage.provider.stop(G1, StopStep::Terminate);
    assert_eq!(stage.exit(pid).await.0, ExitClass::Signal);
}

#[tokio::test]
async fn a_stop_outlives_its_connection() {
    let mut stage = Stage::script(WAITS);
    let (server, mut line, pid) = stage.busy().await;
    stage.provider.stop(G1, StopStep::Ask);
    line.call("turn/interrupt").await;
    drop(line);
    let mut line = stage.goes_on(&server, "active", json!([turn("u", "inProgress", &[])])).await;
    line.reply("turn/interrupt", json!({})).await;
    line.end_turn("u", "interrupted", Value::Null).await;
    stage.reports([idle("u", TurnEnd::Interrupted { by_person: false })]).await;
    assert_eq!(stage.exit(pid).await.0, ExitClass::Signal);
}

#[tokio::test]
async fn what_is_asked_and_not_known_is_refused() {
    let mut stage = Stage::script(WAITS);
    let (_server, mut line, pid) = stage.busy().await;
    line.say(json!({"id": "x", "method": "some/thing/new", "params": {}})).await;
    let answer = line.hear().await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("x"), &json!(-32601)), "{answer}");
    stage.provider.stop(G1, StopStep::Kill);
    assert_eq!(stage.exit(pid).await.0, ExitClass::Signal);
}

async fn asked_for_permission(stage: &mut Stage) -> (ApprovalRequest, Option<String>) {
    match stage.input().await {
        Input::Opened { generation: G1, request, input } => (*request, input),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_permission_is_opened_once_and_answered_on_whichever_connection_there_is() {
    let mut stage = Stage::script(WAITS);
    let (server, mut line, pid) = stage.busy().await;
    let asks = |id: u64, command: &str| {
        let params = json!({"threadId": "t", "command": command, "reason": "to be done"});
        json!({"id": id, "method": "item/commandExecution/requestApproval", "params": params})
    };
    line.say(asks(0, "curl -H the-token")).await;
    let (request, input) = asked_for_permission(&mut stage).await;
    assert_eq!((&*request.id, &*request.kind, request.reason.as_deref()), ("g1-0", "command", None));
    assert_eq!(input.as_deref(), Some("curl -H [secret] (to be done)"));

    drop(line);
    let mut line = stage.goes_on(&server, "active", json!([turn("u", "inProgress", &[])])).await;
    line.say(asks(0, "curl -H the-token")).await;
    line.say(asks(1, "rm x")).await;
    assert_eq!(&*asked_for_permission(&mut stage).await.0.id, "g1-1", "the first is known already");
    let decide = |approval: &str, decision| Deed::Decide { approval: approval.into(), decision, reason: None };
    stage.act(2, decide("g1-0", Decision::Approve));
    assert_eq!(line.hear().await, json!({"id": 0, "result": {"decision": "accept"}}));
    stage.act(3, decide("g1-1", Decision::Deny));
    assert_eq!(line.hear().await, json!({"id": 1, "result": {"decision": "decline"}}));
    stage.done(2).await;
    stage.done(3).await;
    stage.provider.stop(G1, StopStep::Kill);
    assert_eq!(stage.exit(pid).await.0, ExitClass::Signal);
}
