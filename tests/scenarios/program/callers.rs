//! Who calls the control server, and with what: strangers are refused, and hooks of others change nothing.

use super::calling::{Answer, Call};
use super::world::{PATIENT, Process, World, eventually, signal};
use rustix::process::geteuid;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

/// A patient agent that notes what its hooks would know, and the way to its runner.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) world: World,
    runner: Process,
    folder: PathBuf,
}

impl Called {
    pub(super) fn new() -> Self {
        Self::with(&[])
    }

    pub(super) fn with(more: &[&str]) -> Self {
        let world = World::new();
        let knows = "echo \"$AGENT_RELAY_RUNNER_DIR\" >> folder\necho \"$AGENT_RELAY_PROVIDER_SESSION_ID\" >> sessions";
        let runner = world.agent(&format!("{knows}\n{PATIENT}"), more);
        let folder = PathBuf::from(&world.notes("folder", 1)[0]);
        Self { world, runner, folder }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("control.sock")
    }

    /// Over the socket, as hooks do.
    pub(super) fn call(&self, call: &Call<'_>) -> Answer {
        call.to_socket(&self.socket())
    }

    /// What a caller could change, and nothing that goes on by itself.
    fn state(&self) -> Value {
        let (status, state) = self.call(&Call::get("/state"));
        assert_eq!(status, 200);
        let told = ["status", "ready", "busyReasons", "process", "turn", "messages", "lifecycleAction", "ending"];
        told.into_iter().map(|key| (key.to_owned(), state[key].clone())).collect()
    }

    /// What a hook of this session and process reports.
    fn reports(&self, session: &str, pid: &str, report: Value) -> Answer {
        let mut body = report;
        body["providerSessionId"] = json!(session);
        body["pid"] = json!(pid.parse::<u32>().unwrap());
        self.call(&Call::post("/status", &body.to_string()))
    }

    /// The same, and it is refused as somebody else's.
    #[track_caller]
    fn is_ignored(&self, session: &str, pid: &str, report: Value) {
        let before = self.state();
        let (status, answer) = self.reports(session, pid, report);
        assert_eq!((status, &answer["error"]["code"]), (409, &json!("stale_session")), "{answer}");
        assert_eq!(self.state(), before);
    }

    pub(super) fn ends(self) {
        assert_eq!(self.world.ask(&["stop"]).code, Some(0));
        assert_eq!(self.runner.ends(), Some(0));
        self.world.no_process_is_left();
        self.world.replays_exactly(1);
    }
}

#[test]
fn foreign_caller() {
    let called = Called::new();
    let info = fs::read_to_string(called.folder.join("runner.json")).unwrap();
    let info: Value = serde_json::from_str(&info).unwrap();
    let port = info["controlUrl"].as_str().unwrap().strip_prefix("http://").unwrap();
    let secret = format!("Authorization: Bearer {}", info["secret"].as_str().unwrap());
    let ask = |headers: &[&str]| {
        let (status, answer) = Call { method: "GET", path: "/state", headers, body: "" }.to(port);
        (status, answer["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    let refused = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(ask(&[&secret]).0, 200);
    assert_eq!(ask(&[]), refused(401, "unauthorized"));
    assert_eq!(ask(&["Authorization: Bearer wrong"]), refused(401, "unauthorized"));
    assert_eq!(ask(&[&secret, "Host: relay.example"]), refused(403, "foreign_host"));
    assert_eq!(ask(&[&secret, "Origin: http://localhost"]), refused(403, "foreign_origin"));
    assert_eq!(ask(&[&secret, "Origin: null"]), refused(403, "foreign_origin"));
    // Nor may they order anything.
    let stop = Call { method: "POST", path: "/command", headers: &[], body: r#"{"type":"shutdown"}"# };
    assert_eq!(stop.to(port).0, 401);
    assert_eq!(called.state()["ready"], true);

    // Files and socket are where other users cannot reach them.
    let mode = |path: &str| fs::metadata(called.folder.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("runner.json")), (0o700, 0o600));
    // Should they all the same, they are known. Only root can try that.
    if geteuid().is_root() {
        let said = asks_as_another_user(&called);
        assert!(said.contains("foreign_user"), "{said}");
    }
    called.ends();
}

/// What somebody else is told for whom every door on the way was opened.
fn asks_as_another_user(called: &Called) -> String {
    let opened = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let ours = called.world.path("");
    for folder in called.folder.ancestors().take_while(|folder| folder.starts_with(&ours)) {
        opened(folder, 0o755);
    }
    opened(&called.folder.join("runner.json"), 0o644);
    opened(&called.folder.join("control.sock"), 0o666);
    let mut ask = called.world.program(&["status", "--json"], &[]);
    let said = ask.current_dir("/").uid(65_534).gid(65_534).output().unwrap();
    opened(&called.folder, 0o700);
    String::from_utf8_lossy(&said.stderr).into_owned()
}

#[test]
fn bad_body() {
    let called = Called::new();
    let before = called.state();
    let large = format!("{{\"status\":\"busy\",\"label\":\"{}\"}}", "x".repeat(70_000));
    let cases = [
        ("/status", "not json", 400, "bad_body"),
        ("/status", "", 400, "bad_body"),
        ("/status", "[]", 422, "bad_body"),
        ("/status", "{}", 422, "bad_body"),
        ("/status", r#"{"status":"dancing"}"#, 422, "bad_body"),
        ("/status", r#"{"status":"busy","pid":"seven"}"#, 422, "bad_body"),
        ("/status", r#"{"status":"busy","clear":"compaction"}"#, 422, "bad_body"),
        ("/status", &large, 413, "too_large"),
        ("/command", r#"{"params":{}}"#, 422, "bad_body"),
        ("/command", r#"{"type":"dance"}"#, 422, "unknown_command"),
        ("/command", r#"{"type":"restart","params":[]}"#, 422, "bad_body"),
        ("/nowhere", "{}", 404, "not_found"),
        ("/state", "{}", 405, "method_not_allowed"),
    ];
    for (path, body, status, code) in cases {
        let (given, answer) = called.call(&Call::post(path, body));
        assert_eq!((given, &answer["error"]["code"]), (status, &json!(code)), "{path} {body:.100}: {answer}");
        assert!(answer["error"]["message"].as_str().is_some_and(|why| why.len() > 10), "it says why: {answer}");
    }
    assert_eq!(called.state(), before, "nothing has changed");
    called.ends();
}

fn busy(turn: &str) -> Value {
    json!({"status": "busy", "id": turn})
}

#[test]
fn nested_provider() {
    let called = Called::new();
    let world = &called.world;
    let session = world.notes("sessions", 1)[0].clone();
    let ours = world.notes("pids", 1)[0].clone();
    let (_, task) = world.task("with a copy of the agent at work in it");
    world.notes("notes", 1);
    // The copy has inherited all that the agent knows of its runner; only the process is another.
    let nested = called.runner.pid().to_string();
    called.is_ignored(&session, &nested, json!({"status": "idle"}));
    called.is_ignored(&session, &nested, json!({"status": "offline"}));
    called.is_ignored(&session, &nested, busy("t2"));
    world.task_is(task, "in_progress");
    // The agent's own hooks are heard.
    let (status, answer) = called.reports(&session, &ours, json!({"status": "busy", "reason": "subagent", "id": "s1"}));
    assert_eq!((status, answer["busyReasons"].as_array().unwrap().contains(&json!("subagent"))), (200, true));
    world.go();
    world.task_is(task, "done");
    called.ends();
}

#[test]
fn late_hook() {
    let called = Called::new();
    let world = &called.world;
    let (first, pid) = (world.notes("sessions", 1)[0].clone(), world.notes("pids", 1)[0].clone());
    signal(pid.parse().unwrap(), "KILL");
    let second = world.notes("sessions", 2)[1].clone();
    assert_ne!(first, second);
    eventually("the second process is up", || (called.state()["ready"] == true).then_some(()));
    called.is_ignored(&first, &pid, busy("t1"));
    called.is_ignored(&first, &pid, json!({"status": "idle"}));
    // A turn of the second one is not ended by what the first one's hooks still say.
    let ours = world.notes("pids", 2)[1].clone();
    assert_eq!(called.reports(&second, &ours, busy("t2")).0, 200);
    called.is_ignored(&first, &ours, json!({"status": "idle"}));
    assert_eq!(called.state()["busyReasons"], json!(["provider-turn"]));
    assert_eq!(called.reports(&second, &ours, json!({"status": "idle"})).0, 200);
    assert_eq!(called.state()["busyReasons"], json!([]));
    called.ends();
}

#[test]
fn session_end_is_not_exit() {
    let called = Called::new();
    let world = &called.world;
    let (session, pid) = (world.notes("sessions", 1)[0].clone(), world.notes("pids", 1)[0].clone());
    let ends = json!({"status": "offline", "timeline": {"status": "session-end"}});
    let begins = json!({"status": "idle", "timeline": {"status": "session-clear"}});
    for report in [ends, begins] {
        let (status, answer) = called.reports(&session, &pid, report);
        assert_eq!((status, &answer["busyReasons"]), (200, &json!([])), "{answer}");
    }
    world.go();
    let (_, task) = world.task("in the next session of the same process");
    world.task_is(task, "done");
    assert_eq!(world.noted("pids"), [pid]);
    called.ends();
}
