//! `demo-agent`: the agent that is built into the program. It speaks the command protocol (docs/command-provider.md)
//! and works a little on each message: it waits, in steps. Where the runner names a socket, it listens there (`run demo
//! --listen`); else it uses its pipes.

use super::failure::{Done, Failure};
use super::{OK, say, span};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use tokio::time::Instant;

/// A listening agent whose runner went away ends when none comes for so long: nobody would ever end it otherwise.
const ALONE_MOST: Duration = Duration::from_mins(10);
/// Messages of which it remembers what it said.
const HAD_MOST: usize = 256;
/// A message is 0.4 s of work, a task 2 s, where a step takes 100 ms.
const MESSAGE_STEPS: u32 = 4;
const TASK_STEPS: u32 = 20;

/// The agent of the provider `demo`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to write down what was begun and what was finished
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// How long a step of work takes
    #[arg(long, value_name = "SPAN", value_parser = span::parse, default_value = "100ms")]
    step: Duration,
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
    let runner = if let Some(path) = std::env::var_os("AGENT_RELAY_COMMAND_SOCKET") {
        listen(Path::new(&path), lines)?;
        Runner::Awaited
    } else {
        std::thread::spawn(move || hear_out(io::stdin(), None, &lines));
        Runner::OnPipes
    };
    let mut agent =
        Agent { runner, heard, waiting: VecDeque::new(), log: args.log.clone(), step: args.step, had: VecDeque::new() };
    loop {
        let end = match agent.waiting.pop_front() {
            Some(message) => agent.work(&message)?,
            None => match agent.heard.recv() {
                Ok(line) => agent.hear(line)?,
                Err(_) => Some(End::Shutdown),
            },
        };
        if end == Some(End::Shutdown) {
            return Ok(OK);
        }
    }
}

/// A line, and with the first of a connection the way back to who said it.
type Line = (String, Option<UnixStream>);

/// Hands lines on until there are no more. A thread does this, so that work can be interrupted by what is said
/// meanwhile. False once nobody wants them.
fn hear_out(from: impl Read, mut back: Option<UnixStream>, lines: &Sender<Line>) -> bool {
    BufReader::new(from).lines().map_while(Result::ok).all(|line| lines.send((line, back.take())).is_ok())
}

/// Listens at the socket that the runner has named, to whoever connected last, as a runner that was killed is followed by
/// another. Ends with the process, or when no runner comes any more.
fn listen(path: &Path, lines: Sender<Line>) -> Result<(), Failure> {
    let failed = |e: &io::Error| unconnected(&format!("{}: {e}", path.display()));
    let listener = UnixListener::bind(path).map_err(|e| failed(&e))?;
    std::thread::spawn(move || {
        while let Some(stream) = accepted_within(&listener, ALONE_MOST) {
            let Ok(back) = stream.try_clone() else { continue };
            if !hear_out(&stream, Some(back), &lines) {
                return;
            }
        }
        // Nobody has come back: dropping the sender ends the work.
    });
    Ok(())
}

/// The next runner; none when there is none for so long.
fn accepted_within(listener: &UnixListener, span: Duration) -> Option<UnixStream> {
    let within = Timespec::try_from(span).ok()?;
    let mut wanted = [PollFd::new(listener, PollFlags::IN)];
    loop {
        match poll(&mut wanted, Some(&within)) {
            Ok(0) => return None,
            Ok(_) => return listener.accept().ok().map(|(stream, _)| stream),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

fn unconnected(why: &str) -> Failure {
    Failure::failed("demo_agent", format!("the demo agent cannot listen for its runner: {why}"))
}

/// Whom the agent speaks to.
enum Runner {
    OnPipes,
    /// There is none, or it has not said anything yet. What it is told before it asks to `resume` would come before what
    /// was said earlier, and is said again then.
    Awaited,
    Connected(UnixStream),
}

struct Agent {
    runner: Runner,
    heard: Receiver<Line>,
    /// Messages that came while another was worked on.
    waiting: VecDeque<Value>,
    log: Option<PathBuf>,
    step: Duration,
    /// The newest messages that it had, the running one last.
    had: VecDeque<Had>,
}

/// What was said of a message, to be said again to a runner that takes the agent up.
struct Had {
    /// None: a turn of its own, as that of a prompt.
    id: Option<u64>,
    nonce: Value,
    turn: String,
    /// The line that ended its turn.
    end: Option<Value>,
}

impl Agent {
    /// What a line means for the work at hand.
    fn hear(&mut self, (line, back): Line) -> Result<Option<End>, Failure> {
        if let Some(back) = back {
            self.runner = Runner::Connected(back);
        }
        let Ok(said) = serde_json::from_str::<Value>(&line) else { return Ok(None) };
        match said["type"].as_str() {
            Some("message" | "prompt") => self.waiting.push_back(said),
            Some("resume") => self.say_again(&said["messages"])?,
            Some("interrupt") => return Ok(Some(End::Interrupted)),
            Some("shutdown") => return Ok(Some(End::Shutdown)),
            // There is nothing to compact or to clear, and nothing to approve.
            _ => {}
        }
        Ok(None)
    }

    /// A runner that has not seen the end of these messages asks what became of them.
    fn say_again(&mut self, asked: &Value) -> Result<(), Failure> {
        let asked = asked.as_array().map_or(&[][..], Vec::as_slice);
        let is = |had: &Had, one: &Value| had.id.is_some_and(|id| one["id"] == id) && one["nonce"] == had.nonce;
        let mut lines = Vec::new();
        for one in asked {
            let waits = self.waiting.iter().any(|said| said["id"] == one["id"] && said["nonce"] == one["nonce"]);
            // One that waits is taken when its turn comes.
            if !waits && !self.had.iter().any(|had| is(had, one)) {
                lines.push(json!({"type": "missed", "ids": [one["id"]]}));
            }
        }
        for had in &self.had {
            let wanted = asked.iter().any(|one| is(had, one));
            if wanted {
                lines.push(json!({"type": "taken", "ids": [had.id]}));
            }
            if wanted || had.end.is_none() {
                lines.push(json!({"type": "busy", "turn": had.turn}));
                lines.extend(had.end.clone());
            }
        }
        lines.push(json!({"type": "resumed"}));
        for line in &lines {
            self.say(line)?;
        }
        Ok(())
    }

    fn work(&mut self, message: &Value) -> Result<Option<End>, Failure> {
        let id = message["id"].as_u64();
        let attempt = message["attempt"].as_u64().unwrap_or(1);
        let turn = id.map_or_else(|| "prompt".to_owned(), |id| format!("m{id}-{attempt}"));
        let steps = if message["payload"]["taskId"].is_u64() { TASK_STEPS } else { MESSAGE_STEPS };
        self.had.push_back(Had { id, nonce: message["nonce"].clone(), turn: turn.clone(), end: None });
        if self.had.len() > HAD_MOST {
            self.had.pop_front();
        }
        if let Some(id) = id {
            // Before `busy`: what is taken while idle belongs to the turn that begins next.
            self.say(&json!({"type": "taken", "ids": [id]}))?;
        }
        self.write_down(id, attempt, "began")?;
        self.say(&json!({"type": "busy", "turn": turn}))?;
        let mut end = self.take_steps(steps / 2)?;
        if end == End::Finished {
            self.write_down(id, attempt, "half done")?;
            end = self.take_steps(steps - steps / 2)?;
        }
        match end {
            End::Finished => {
                // First what was done, then the word that it is: a kill in between leads to a repeat, not to a loss.
                self.write_down(id, attempt, "finished")?;
                self.end(&turn, json!({"type": "idle", "turn": turn}))?;
            }
            End::Interrupted => self.end(&turn, json!({"type": "idle", "turn": turn, "interrupted": true}))?,
            End::Shutdown => {}
        }
        Ok(Some(end))
    }

    fn end(&mut self, turn: &str, line: Value) -> Result<(), Failure> {
        let said = self.say(&line);
        if let Some(had) = self.had.back_mut().filter(|had| had.turn == turn) {
            had.end = Some(line);
        }
        said
    }

    fn take_steps(&mut self, steps: u32) -> Result<End, Failure> {
        let done = Instant::now() + self.step * steps;
        loop {
            let rest = done.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(End::Finished);
            }
            match self.heard.recv_timeout(rest) {
                Ok(line) => {
                    if let Some(end) = self.hear(line)? {
                        return Ok(end);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(End::Shutdown),
            }
        }
    }

    fn say(&mut self, line: &Value) -> Result<(), Failure> {
        match &mut self.runner {
            Runner::OnPipes => return say::json(line),
            Runner::Awaited => {}
            // What a runner that is gone does not hear, the next one asks for.
            Runner::Connected(stream) => {
                if let Err(error) = stream.write_all(format!("{line}\n").as_bytes()) {
                    say::aside(format_args!("demo agent: the runner is gone: {error}"));
                    self.runner = Runner::Awaited;
                }
            }
        }
        Ok(())
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
