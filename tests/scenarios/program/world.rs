//! One test's world: a folder, a relay on a free port, runners, and agents made of a few lines of shell.

use super::calling::Call;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_relay-runner");
/// A slow machine under load gets there in this time; what is broken never does.
pub(super) const LIMIT: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Works on each message until the file `go` is there, and notes what it does. A shutdown ends it.
pub(super) const PATIENT: &str = r#"
echo $$ >> pids
while IFS= read -r line; do
    case $line in
    *'"type":"message"'*)
        id=${line%%,\"nonce\":*}
        id=${id##*\"id\":}
        printf '%s\n' "$line" >> heard
        echo "{\"type\":\"taken\",\"ids\":[$id]}"
        echo "{\"type\":\"busy\",\"turn\":\"m$id\"}"
        echo "began $id" >> notes
        while [ ! -e go ]; do sleep 0.02; done
        echo "finished $id" >> notes
        echo "{\"type\":\"idle\",\"turn\":\"m$id\"}"
        ;;
    *'"type":"shutdown"'*)
        exit 0
        ;;
    esac
done
"#;

/// Takes a message, never finishes it, ignores TERM, and has a child that does so as well.
pub(super) const STUBBORN: &str = r#"
trap '' TERM
(trap '' TERM; exec sleep 1000) &
echo $! >> pids
echo $$ >> pids
while IFS= read -r line; do
    case $line in
    *'"type":"message"'*)
        id=${line%%,\"nonce\":*}
        id=${id##*\"id\":}
        echo "{\"type\":\"taken\",\"ids\":[$id]}"
        echo "{\"type\":\"busy\",\"turn\":\"m$id\"}"
        echo "began $id" >> notes
        ;;
    esac
done
while :; do sleep 1; done
"#;

#[derive(Debug)]
pub(super) struct World {
    folder: TempDir,
    relay: Option<Process>,
    url: String,
}

impl World {
    /// With a relay.
    pub(super) fn new() -> Self {
        Self::with_relay(&[])
    }

    /// With a relay that has these variables.
    pub(super) fn with_relay(variables: &[(&str, &str)]) -> Self {
        let mut world = Self::without_relay();
        let db = world.path("relay.db");
        let mut relay = world.start(&["relay", "--listen", "127.0.0.1:0", "--json", "--db", &text(&db)], variables);
        let said: Value = serde_json::from_str(&relay.line()).unwrap();
        said["url"].as_str().unwrap().clone_into(&mut world.url);
        world.relay = Some(relay);
        world
    }

    /// The relay is killed, and started again on the same port and database.
    pub(super) fn relay_dies_and_comes_back(&mut self) {
        self.relay_is_killed();
        self.relay_comes_back();
    }

    pub(super) fn relay_is_killed(&mut self) {
        let relay = self.relay.take().unwrap();
        signal(relay.pid(), "KILL");
        assert_eq!(relay.ends(), None);
    }

    pub(super) fn relay_comes_back(&mut self) {
        let db = text(&self.path("relay.db"));
        let listen = self.url.strip_prefix("http://").unwrap().to_owned();
        let mut relay = self.start(&["relay", "--listen", &listen, "--json", "--db", &db], &[]);
        relay.line();
        self.relay = Some(relay);
    }

    pub(super) fn without_relay() -> Self {
        let folder = tempfile::Builder::new().prefix("rr-").tempdir().unwrap();
        fs::create_dir(folder.path().join("work")).unwrap();
        Self { folder, relay: None, url: String::new() }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The agent's state folder.
    pub(super) fn state(&self) -> PathBuf {
        self.path("state/relay-runner/a1")
    }

    /// The program, in an environment that has nothing of ours.
    pub(super) fn program(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        self.other_program(PROGRAM, arguments, variables)
    }

    pub(super) fn other_program(&self, program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("TMPDIR", self.folder.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("AGENT_RELAY_URL", &self.url)
            .envs(variables.iter().copied())
            .current_dir(self.path("work"))
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(super) fn ask(&self, arguments: &[&str]) -> Said {
        self.ask_with(arguments, &[])
    }

    pub(super) fn ask_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Said {
        let child = self.program(arguments, variables).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Said::of(child.wait_with_output().unwrap())
    }

    /// Runs it to its end under another program, which is given its command line.
    pub(super) fn ask_under(&self, under: &[&str], arguments: &[&str]) -> Said {
        let mut command = self.under(under, arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Said::of(child.wait_with_output().unwrap())
    }

    pub(super) fn start_under(&self, under: &[&str], arguments: &[&str]) -> Process {
        self.started(self.under(under, arguments))
    }

    fn under(&self, under: &[&str], arguments: &[&str]) -> Command {
        self.other_program(under[0], &[&under[1..], &[PROGRAM], arguments].concat(), &[])
    }

    pub(super) fn start(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Process {
        self.started(self.program(arguments, variables))
    }

    /// The program, started again whenever it steps aside: what a service manager does.
    pub(super) fn service(&self, arguments: &[&str]) -> Process {
        let again = "while :; do \"$@\"; code=$?; [ $code = 75 ] || exit $code; done";
        let script = self.script("service", again);
        let arguments: Vec<&str> = [&[PROGRAM], arguments].concat();
        self.started(self.other_program(&script, &arguments, &[]))
    }

    fn started(&self, mut command: Command) -> Process {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Process { child: Some(child), out, log: self.path("log") }
    }

    /// An agent of this script, kept by a runner that is ready for messages.
    pub(super) fn agent(&self, script: &str, more: &[&str]) -> Process {
        let runner = self.runner(script, more);
        self.is_ready();
        runner
    }

    pub(super) fn runner(&self, script: &str, more: &[&str]) -> Process {
        let script = self.script("agent", script);
        let mut arguments = vec!["run", "command", "--agent-id", "a1"];
        arguments.extend_from_slice(more);
        arguments.extend_from_slice(&["--", &script]);
        self.start(&arguments, &[])
    }

    pub(super) fn script(&self, name: &str, script: &str) -> String {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        text(&path)
    }

    /// What the processes of this world have logged.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(super) fn is_ready(&self) {
        eventually("the agent is ready on the relay", || {
            self.agents().iter().any(|a| a["ready"] == true).then_some(())
        });
    }

    pub(super) fn agents(&self) -> Vec<Value> {
        let Value::Array(agents) = self.ask(&["agents", "--json"]).json() else { panic!("a list") };
        agents
    }

    /// Sends a task; its message, and the task.
    pub(super) fn task(&self, words: &str) -> (u64, u64) {
        let sent = self.ask(&["send", "a1", words, "--task", "--json"]).json();
        (sent["messageId"].as_u64().unwrap(), sent["taskId"].as_u64().unwrap())
    }

    /// What the relay's HTTP API answers.
    pub(super) fn get(&self, path: &str) -> Value {
        let (status, answer) = self.call("GET", path, "");
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    pub(super) fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let path = &format!("/api{path}");
        let headers = &["Content-Type: application/json"];
        Call { method, path, headers, body }.to(self.url.strip_prefix("http://").unwrap())
    }

    /// Orders something of the agent through the relay; the command's id.
    pub(super) fn command(&self, name: &str, params: &Value) -> String {
        let body = json!({"type": name, "target": "a1", "params": params}).to_string();
        let (status, command) = self.call("POST", "/commands", &body);
        assert!((200..300).contains(&status), "{command}");
        command["id"].as_str().unwrap().to_owned()
    }

    pub(super) fn command_is(&self, id: &str, status: &str) -> Value {
        eventually(&format!("command {id} is {status}"), || {
            let command = self.get(&format!("/commands/{id}"));
            (command["status"] == status).then_some(command)
        })
    }

    /// The ids of the messages that the agent heard, in order; `heard` has them in full.
    pub(super) fn heard(&self) -> Vec<u64> {
        let id = |line: String| serde_json::from_str::<Value>(&line).unwrap()["id"].as_u64().unwrap();
        self.noted("heard").into_iter().map(id).collect()
    }

    /// Every process that the agent has noted is gone.
    pub(super) fn no_process_is_left(&self) {
        for pid in self.noted("pids") {
            eventually(&format!("process {pid} is gone"), || (!is_alive(&pid)).then_some(()));
        }
    }

    /// Sends a message; its id.
    pub(super) fn message(&self, words: &str) -> u64 {
        self.ask(&["send", "a1", words, "--json"]).json()["messageId"].as_u64().unwrap()
    }

    pub(super) fn is_settled(&self, message: u64) {
        eventually(&format!("message {message} is settled"), || {
            self.stages(message).iter().any(|(stage, _)| stage == "settled").then_some(())
        });
    }

    pub(super) fn task_is(&self, task: u64, status: &str) {
        eventually(&format!("task {task} is {status}"), || {
            (self.get(&format!("/tasks/{task}"))["status"] == status).then_some(())
        });
    }

    /// Stages of a message with their attempts, in the order in which the relay learnt of them.
    pub(super) fn stages(&self, message: u64) -> Vec<(String, u64)> {
        let Value::Array(all) = self.get(&format!("/messages/{message}/delivery")) else { panic!("a list") };
        all.iter().map(|d| (d["stage"].as_str().unwrap().to_owned(), d["attempt"].as_u64().unwrap())).collect()
    }

    /// Lines that the agent has written into one of its files.
    pub(super) fn noted(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path("work").join(file)).unwrap_or_default();
        // A last line without its end is still being written.
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
    }

    pub(super) fn notes(&self, file: &str, wanted: usize) -> Vec<String> {
        eventually(&format!("{wanted} lines in {file}"), || {
            let lines = self.noted(file);
            (lines.len() >= wanted).then_some(lines)
        })
    }

    /// The agent may finish what it works on, now and later.
    pub(super) fn go(&self) {
        fs::write(self.path("work/go"), "").unwrap();
    }

    /// From now on it works on each message until it may go on.
    pub(super) fn halt(&self) {
        fs::remove_file(self.path("work/go")).unwrap();
    }

    /// The journal says that it replays exactly, and of how many runs.
    pub(super) fn replays_exactly(&self, runs: u64) {
        let replayed = self.ask(&["replay", &text(&self.state()), "--json"]);
        assert_eq!(replayed.code, Some(0), "{replayed:?}");
        let replayed = replayed.json();
        assert_eq!((&replayed["replaysExactly"], &replayed["runs"]), (&Value::Bool(true), &Value::from(runs)));
    }
}

/// What a run of the program said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Said {
    pub(super) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("one value of JSON: {self:?}"))
    }

    /// The stable code of an error that was told as JSON.
    #[track_caller]
    pub(super) fn error_code(&self) -> String {
        let line = self.err.lines().last().unwrap_or_default();
        let error: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("an error as JSON: {self:?}"));
        error["error"]["code"].as_str().unwrap().to_owned()
    }
}

/// A process of ours, killed when it is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Option<Child>,
    out: BufReader<std::process::ChildStdout>,
    log: PathBuf,
}

impl Process {
    pub(super) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// The next line of its standard output.
    pub(super) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "it ended: {}", fs::read_to_string(&self.log).unwrap_or_default());
        line
    }

    /// Killed at once. False when it had ended before.
    pub(super) fn killed(mut self) -> bool {
        let mut child = self.child.take().unwrap();
        let lived = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();
        lived
    }

    /// Its exit code. A process that does not end is a failure.
    #[track_caller]
    pub(super) fn ends(mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let log = self.log.clone();
        let ended = within(LIMIT, || child.try_wait().unwrap());
        let Some(status) = ended else {
            let _ = child.kill();
            panic!("it does not end; its log: {}", fs::read_to_string(log).unwrap_or_default());
        };
        status.code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // In order first, so that a runner takes its agent with it.
            signal(child.id(), "TERM");
            signal(child.id(), "QUIT");
            if within(Duration::from_secs(5), || child.try_wait().ok().flatten()).is_none() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

pub(super) fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status();
}

pub(super) fn is_alive(pid: &str) -> bool {
    // A process that nobody has waited for yet does nothing any more.
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')))
}

pub(super) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Waits for something that other processes bring about, and that can only be looked at.
#[track_caller]
pub(super) fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    eventually_within(LIMIT, what, look)
}

/// The same, where it takes its time by design.
#[track_caller]
pub(super) fn eventually_within<T>(limit: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(limit, look).unwrap_or_else(|| panic!("waited for this in vain: {what}"))
}

#[expect(clippy::disallowed_methods, reason = "other processes cannot be awaited, only looked at")]
fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
