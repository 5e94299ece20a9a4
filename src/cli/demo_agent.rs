//! `demo-agent`: the agent that is built into the program. It speaks the command protocol (docs/command-provider.md)
//! and works a little on each message: it waits, in steps. Where the runner names a socket, it listens there (`run demo
//! --listen`); else it uses its pipes.

use super::failure::{Done, Failure};
use super::{OK, say};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::BufReader;
use std::io::{BufRead, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use tokio::time::Instant;

const STEP: Duration = Duration::from_millis(100);
/// A message is 0.4 s of work, a task 2 s.
const MESSAGE_STEPS: u32 = 4;
const TASK_STEPS: u32 = 20;

/// The agent of the provider `demo`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to write down what was begun and what was finished
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// Why work ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Finished,
    Interrupted,
    /// The runner wants it to end, or is gone.
    Shutdown,
}

pub(crate) fn run(args: &Args) -> Done {
    let (lines, heard) = channel();
    let runner = connected()?;
    let input: Box<dyn Read + Send> = match &runner {
        Some(stream) => Box::new(stream.try_clone().map_err(|e| unconnected(&e.to_string()))?),
        None => Box::new(std::io::stdin()),
    };
    // A thread, so that work can be interrupted by what is said meanwhile. It ends with the input, or with the process.
    std::thread::spawn(move || {
        for line in BufReader::new(input).lines() {
            let Ok(line) = line else { return };
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    let mut agent = Agent { runner, heard, waiting: VecDeque::new(), log: args.log.clone() };
    loop {
        let end = match agent.waiting.pop_front() {
            Some(message) => agent.work(&message)?,
            None => match agent.heard.recv() {
                Ok(line) => agent.hear(&line),
                Err(_) => Some(End::Shutdown),
            },
        };
        if end == Some(End::Shutdown) {
            return Ok(OK);
        }
    }
}

/// The runner at the other end of the socket that it has named; none where it has named none.
fn connected() -> Result<Option<UnixStream>, Failure> {
    let Some(path) = std::env::var_os("AGENT_RELAY_COMMAND_SOCKET") else { return Ok(None) };
    let accepted = UnixListener::bind(&path).and_then(|listener| listener.accept());
    accepted.map(|(stream, _)| Some(stream)).map_err(|e| unconnected(&format!("{}: {e}", path.display())))
}

fn unconnected(why: &str) -> Failure {
    Failure::failed("demo_agent", format!("the demo agent cannot listen for its runner: {why}"))
}

struct Agent {
    /// None: over the pipes.
    runner: Option<UnixStream>,
    heard: Receiver<String>,
    /// Messages that came while another was worked on.
    waiting: VecDeque<Value>,
    log: Option<PathBuf>,
}

impl Agent {
    /// What a line means for the work at hand.
    fn hear(&mut self, line: &str) -> Option<End> {
        let said: Value = serde_json::from_str(line).ok()?;
        match said["type"].as_str() {
            Some("message" | "prompt") => self.waiting.push_back(said),
            Some("interrupt") => return Some(End::Interrupted),
            Some("shutdown") => return Some(End::Shutdown),
            // There is nothing to compact or to clear, and nothing to approve.
            _ => {}
        }
        None
    }

    fn work(&mut self, message: &Value) -> Result<Option<End>, Failure> {
        let id = message["id"].as_u64();
        let attempt = message["attempt"].as_u64().unwrap_or(1);
        let turn = id.map_or_else(|| "prompt".to_owned(), |id| format!("m{id}-{attempt}"));
        let steps = if message["payload"]["taskId"].is_u64() { TASK_STEPS } else { MESSAGE_STEPS };
        if let Some(id) = id {
            // Before `busy`: what is taken while idle belongs to the turn that begins next.
            self.say(&json!({"type": "taken", "ids": [id]}))?;
        }
        self.write_down(id, attempt, "began")?;
        self.say(&json!({"type": "busy", "turn": turn}))?;
        let mut end = self.take_steps(steps / 2);
        if end == End::Finished {
            self.write_down(id, attempt, "half done")?;
            end = self.take_steps(steps - steps / 2);
        }
        match end {
            End::Finished => {
                // First what was done, then the word that it is: a kill in between leads to a repeat, not to a loss.
                self.write_down(id, attempt, "finished")?;
                self.say(&json!({"type": "idle", "turn": turn}))?;
            }
            End::Interrupted => self.say(&json!({"type": "idle", "turn": turn, "interrupted": true}))?,
            End::Shutdown => {}
        }
        Ok(Some(end))
    }

    fn take_steps(&mut self, steps: u32) -> End {
        let done = Instant::now() + STEP * steps;
        loop {
            let rest = done.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return End::Finished;
            }
            match self.heard.recv_timeout(rest.min(STEP)) {
                Ok(line) => {
                    if let Some(end) = self.hear(&line) {
                        return end;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return End::Shutdown,
            }
        }
    }

    fn say(&mut self, line: &Value) -> Result<(), Failure> {
        match &mut self.runner {
            None => say::json(line),
            Some(stream) => writeln!(stream, "{line}").map_err(|e| unconnected(&e.to_string())),
        }
    }

    fn write_down(&self, message: Option<u64>, attempt: u64, what: &str) -> Result<(), Failure> {
        let Some(path) = &self.log else { return Ok(()) };
        let entry = json!({"message": message, "attempt": attempt, "what": what, "pid": std::process::id()});
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(format!("{entry}\n").as_bytes()))
            .map_err(|e| Failure::failed("log", format!("cannot write {}: {e}", path.display())))
    }
}
