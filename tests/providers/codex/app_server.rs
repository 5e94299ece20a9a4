//! Codex's app-server, spoken to directly over its standard input and output: a line of JSON each.

use crate::model::Model;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;

/// A slow machine under load gets there in this time; what is broken never does.
const LIMIT: Duration = Duration::from_mins(1);

/// What it reads at its start: the stand-in as its model, and no word to anybody else.
pub(super) fn configuration(url: &str, retries: u32) -> String {
    format!(
        "model = \"stand-in\"\nmodel_provider = \"stand-in\"\n\
         [model_providers.stand-in]\nname = \"stand-in\"\nbase_url = \"{url}/v1\"\nenv_key = \"STAND_IN_KEY\"\n\
         wire_api = \"responses\"\nsupports_websockets = false\n\
         request_max_retries = {retries}\nstream_max_retries = {retries}\n\
         [analytics]\nenabled = false\n"
    )
}

#[derive(Debug)]
pub(super) struct AppServer {
    _home: TempDir,
    child: Child,
    input: ChildStdin,
    said: Receiver<Value>,
    /// All that it has said that is no answer to a call, in order.
    pub(super) heard: Vec<Value>,
    calls: u64,
    pub(super) thread: String,
}

impl AppServer {
    /// With a thread, in a home of its own.
    pub(super) fn start(program: &Path, model: &Model, retries: u32) -> Self {
        Self::with(program, &configuration(&model.url(), retries))
    }

    pub(super) fn with(program: &Path, configuration: &str) -> Self {
        let home = tempfile::Builder::new().prefix("rr-").tempdir().unwrap();
        let (codex, work, temp) = (home.path().join(".codex"), home.path().join("work"), home.path().join("tmp"));
        for folder in [&codex, &work, &temp] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(codex.join("config.toml"), configuration).unwrap();
        let mut command = Command::new(program);
        command.arg("app-server").env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", home.path()).env("CODEX_HOME", codex).env("TMPDIR", temp).env("STAND_IN_KEY", "a key");
        command.current_dir(&work).stdin(Stdio::piped()).stdout(Stdio::piped());
        let log = fs::File::create(home.path().join("log")).unwrap();
        let mut child = command.stderr(log).spawn().unwrap();
        let (input, out) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let (send, said) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if send.send(serde_json::from_str(&line).unwrap()).is_err() {
                    break;
                }
            }
        });
        let thread = String::new();
        let mut server = Self { _home: home, child, input, said, heard: Vec::new(), calls: 0, thread };
        let client = json!({"name": "relay-runner-tests", "version": "0"});
        server.call("initialize", &json!({"clientInfo": client, "capabilities": {"experimentalApi": true}})).unwrap();
        server.write(&json!({"method": "initialized"}));
        let started = server.call("thread/start", &json!({"cwd": work})).unwrap();
        started["thread"]["id"].as_str().unwrap().clone_into(&mut server.thread);
        server
    }

    fn write(&mut self, message: &Value) {
        writeln!(self.input, "{message}").unwrap();
    }

    fn next(&self) -> Value {
        self.said.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("it says nothing more after {:#?}", self.heard))
    }

    /// Its result, or its error.
    pub(super) fn call(&mut self, method: &str, params: &Value) -> Result<Value, Value> {
        self.calls += 1;
        // Its own requests count from 0: what has a method is no answer.
        let id = self.calls;
        self.write(&json!({"id": id, "method": method, "params": params}));
        loop {
            let mut said = self.next();
            if said["id"] == id && said.get("method").is_none() {
                return if said.get("error").is_some() { Err(said["error"].take()) } else { Ok(said["result"].take()) };
            }
            self.heard.push(said);
        }
    }

    pub(super) fn answer(&mut self, request: &Value, result: &Value) {
        self.write(&json!({"id": request["id"], "result": result}));
    }

    /// Begins a turn; its id.
    pub(super) fn begin(&mut self, words: &str) -> String {
        let input = json!([{"type": "text", "text": words}]);
        let params = json!({"threadId": self.thread, "input": input, "clientUserMessageId": words});
        self.call("turn/start", &params).unwrap()["turn"]["id"].as_str().unwrap().to_owned()
    }

    /// The first of this method, among what it has said and will say.
    pub(super) fn until(&mut self, method: &str) -> Value {
        let mut at = 0;
        loop {
            if let Some(said) = self.heard.get(at) {
                if said["method"] == method {
                    return said.clone();
                }
                at += 1;
            } else {
                let next = self.next();
                self.heard.push(next);
            }
        }
    }

    /// A whole turn; what it has said of it.
    pub(super) fn turn(&mut self, words: &str) -> Vec<Value> {
        self.heard.clear();
        self.begin(words);
        self.until("turn/completed");
        std::mem::take(&mut self.heard)
    }
}

impl Drop for AppServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
