//! Claude Code in print mode, spoken to directly over its standard input and output: a line of JSON each.

use crate::model::Model;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;

/// A slow machine under load gets there in this time; what is broken never does.
const LIMIT: Duration = Duration::from_mins(1);

/// Its session, of which it knows only the id that it was given.
pub(super) const SESSION: &str = "5a2d3f8e-1b1c-4d6e-9f00-000000000001";

/// The id of the message of this number, as who sends it gives it.
pub(super) fn uuid(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

#[derive(Debug)]
pub(super) struct Print {
    home: Arc<TempDir>,
    child: Child,
    input: Option<ChildStdin>,
    said: Receiver<Value>,
    /// All that it has said, in order.
    pub(super) heard: Vec<Value>,
    /// How many messages were sent to its session; their ids follow from it.
    pub(super) messages: u64,
    calls: u64,
}

/// How it is started.
#[derive(Debug)]
pub(super) struct Start<'a> {
    pub(super) claude: &'a Path,
    pub(super) url: String,
    /// Its session is given to it, or resumed.
    pub(super) session: [&'a str; 2],
    /// In whose home; its own one where nobody's is.
    pub(super) home: Option<Arc<TempDir>>,
    /// What it logs in with.
    pub(super) login: [&'a str; 2],
    pub(super) tries: u32,
}

impl<'a> Start<'a> {
    pub(super) fn new(claude: &'a Path, model: &Model) -> Self {
        let (session, login) = (["--session-id", SESSION], ["ANTHROPIC_API_KEY", "a-key"]);
        Self { claude, url: model.url(), session, home: None, login, tries: 0 }
    }

    /// Not yet told anything.
    pub(super) fn spawn(self) -> Print {
        let new = || Arc::new(tempfile::Builder::new().prefix("rr-").tempdir().unwrap());
        let home = self.home.unwrap_or_else(new);
        let (work, temporary) = (home.path().join("work"), home.path().join("tmp"));
        for folder in [&work, &temporary] {
            fs::create_dir_all(folder).unwrap();
        }
        let mut command = Command::new(self.claude);
        command.args(["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"]);
        command.args(["--replay-user-messages", "--permission-prompt-tool", "stdio", "--permission-mode", "manual"]);
        command.args(self.session).env_clear();
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .env("TMPDIR", &temporary);
        command.env("ANTHROPIC_BASE_URL", self.url).env(self.login[0], self.login[1]);
        command.env("CLAUDE_CODE_MAX_RETRIES", self.tries.to_string());
        command.env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1").env("DISABLE_AUTOUPDATER", "1");
        command.current_dir(&work).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (say, said) = channel();
        std::thread::spawn(move || {
            let lines = output.lines().map_while(Result::ok);
            let _ = lines.filter_map(|line| serde_json::from_str(&line).ok()).try_for_each(|said| say.send(said));
        });
        let input = child.stdin.take();
        Print { home, child, input, said, heard: Vec::new(), messages: 0, calls: 0 }
    }

    pub(super) fn print(self) -> Print {
        let mut print = self.spawn();
        print.call(&json!({"subtype": "initialize"})).unwrap();
        print
    }
}

impl Print {
    pub(super) fn start(claude: &Path, model: &Model) -> Self {
        Start::new(claude, model).print()
    }

    pub(super) fn home(&self) -> Arc<TempDir> {
        Arc::clone(&self.home)
    }

    pub(super) fn write(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Where what it says from now on begins.
    pub(super) fn now(&self) -> usize {
        self.heard.len()
    }

    /// The first that this finds, among what it has said since then and will say.
    #[track_caller]
    pub(super) fn until<T>(&mut self, since: usize, what: &str, look: impl Fn(&Value) -> Option<T>) -> T {
        let mut at = since;
        loop {
            if let Some(found) = self.heard.get(at).and_then(&look) {
                return found;
            }
            if at < self.heard.len() {
                at += 1;
                continue;
            }
            let next = self.said.recv_timeout(LIMIT);
            self.heard.push(next.unwrap_or_else(|_| panic!("{what}, in vain, after {:#?}", &self.heard[since..])));
        }
    }

    /// What it answers to a request of ours.
    #[track_caller]
    pub(super) fn call(&mut self, request: &Value) -> Result<Value, Value> {
        self.calls += 1;
        let (id, since) = (format!("r{}", self.calls), self.now());
        self.write(&json!({"type": "control_request", "request_id": id, "request": request}).to_string());
        let answer = self.until(since, &format!("the answer to {request}"), |said| {
            let answers = said["type"] == "control_response" && said["response"]["request_id"] == id;
            answers.then(|| said["response"].clone())
        });
        if answer["subtype"] == "success" { Ok(answer["response"].clone()) } else { Err(answer) }
    }

    /// Sends a message; its id.
    pub(super) fn send(&mut self, words: &str) -> String {
        self.messages += 1;
        let id = uuid(self.messages);
        self.send_as(&id, words);
        id
    }

    pub(super) fn send_as(&mut self, id: &str, words: &str) {
        let message = json!({"role": "user", "content": words});
        let line = json!({"type": "user", "message": message, "parent_tool_use_id": null, "uuid": id});
        self.write(&line.to_string());
    }

    /// Waits until the message has got this far.
    #[track_caller]
    pub(super) fn is(&mut self, id: &str, state: &str) {
        self.until(0, &format!("{id} is {state}"), |said| {
            let is = said["type"] == "command_lifecycle" && said["command_uuid"] == *id && said["state"] == state;
            is.then_some(())
        });
    }

    /// How far each message got, and how turns ended, in the order in which it was said.
    pub(super) fn told(&self, since: usize) -> Vec<String> {
        let number = |id: &Value| id.as_str().unwrap_or_default().trim_start_matches(&uuid(0)[..24]).parse::<u64>();
        let tell = |said: &Value| match said["type"].as_str()? {
            "command_lifecycle" => Some(format!("{} {}", number(&said["command_uuid"]).ok()?, said["state"].as_str()?)),
            "result" => Some(said["terminal_reason"].as_str()?.to_owned()),
            _ => None,
        };
        self.heard[since..].iter().filter_map(tell).collect()
    }

    #[track_caller]
    pub(super) fn result(&mut self, since: usize) -> Value {
        self.until(since, "a result", |said| (said["type"] == "result").then(|| said.clone()))
    }

    /// A whole turn; what it has said of it, and its result.
    #[track_caller]
    pub(super) fn turn(&mut self, words: &str) -> (Vec<Value>, Value) {
        let since = self.now();
        self.send(words);
        let result = self.result(since);
        (self.heard[since..].to_vec(), result)
    }

    /// The next request for a permission.
    #[track_caller]
    pub(super) fn asks(&mut self, since: usize) -> Value {
        self.until(since, "a request", |said| (said["type"] == "control_request").then(|| said.clone()))
    }

    pub(super) fn answer(&mut self, request: &Value, answer: &Value) {
        let response = json!({"subtype": "success", "request_id": request["request_id"], "response": answer});
        self.write(&json!({"type": "control_response", "response": response}).to_string());
    }

    /// No more is said to it; how it ends.
    pub(super) fn ends(&mut self) -> ExitStatus {
        self.input = None;
        self.child.wait().unwrap()
    }

    pub(super) fn signal(&mut self, signal: rustix::process::Signal) -> ExitStatus {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
        self.child.wait().unwrap()
    }

    /// Whether a command has left this in its working directory.
    pub(super) fn made(&self, file: &str) -> bool {
        self.home.path().join("work").join(file).exists()
    }
}

impl Drop for Print {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
