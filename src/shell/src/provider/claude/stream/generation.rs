//! One Claude Code on pipes, from its start to its exit.
//!
//! This task alone owns the process. It carries out what [`Session`] says, and the steps of stopping, and reports the exit
//! once, as the last of its reports. What is said is written while it is listened to: neither waits for the other.

use super::session::{Ask, In, Opening, Out, Session};
use super::words;
use crate::clock;
use crate::provider::claude::Setting;
use crate::provider::claude::launch::{self, Conversation};
use crate::provider::held::{self, Held, Program};
use crate::provider::leftover;
use crate::provider::lines::{Line, Lines};
use crate::provider::living::{self, Halt, Told};
use crate::provider::overheard::{overhear, with};
use crate::provider::reporter::Reporter;
use crate::provider::transcript::Recorder;
use crate::provider::{Start, process};
use relay_runner_core::event::{ExitClass, Failure, FailureKind};
use relay_runner_core::{OpId, OpResult, StopStep};
use serde_json::Value;
use std::collections::VecDeque;
use std::future::pending;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// The longest line that is read, in bytes: it may hold a whole file that is to be written, or a picture.
const LINE_MOST: usize = 8 * 1024 * 1024;
/// Lines that were read and wait to be gone through.
const HEARD_MOST: usize = 8;
/// Lines that wait to be written; then nothing more is taken on.
const UNWRITTEN_MOST: usize = 16;
/// How long one that is asked may be silent.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// How long one that is of no use, or that has closed its pipes, may take to end by itself.
const ENDS_WITHIN: Duration = Duration::from_secs(2);
/// How long the rest of the output may take after the exit: something outside the group may hold the pipe open.
const REST_WITHIN: Duration = Duration::from_secs(1);
/// Lines of standard error that are kept for the exit's report.
const LAST_WORDS_MOST: usize = 8;
/// Why a Claude Code has no such print mode, in its own words.
const TOO_OLD: [&str; 3] = ["unknown option", "argument missing", "is invalid. Allowed choices"];
/// Why another try would end the same way, in its own words.
const WRONG: [&str; 2] = ["cannot be used with root", "Invalid MCP configuration"];

/// Something to be asked of Claude Code.
#[derive(Debug)]
pub(super) struct Say {
    pub(super) op: OpId,
    pub(super) ask: Ask,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) setting: Setting,
    pub(super) start: Start,
    pub(super) conversation: Conversation,
    pub(super) opening: Opening,
    pub(super) told: Told<Say>,
}

/// What came out of it.
#[derive(Debug)]
enum Came {
    Json(Value),
    Garbage(usize),
    End,
}

/// What happens next.
enum Next {
    Exit(std::io::Result<Option<ExitStatus>>),
    Halt(Halt),
    Wrote(Wrote),
    Came(Came),
    Asked(Say),
    /// All that it prints was read.
    Read,
    Late,
    Hung,
    Mute,
    Lingers,
}

type LastWords = Arc<Mutex<VecDeque<String>>>;

impl Running {
    pub(super) async fn run(self) {
        let reporter = self.start.reporter.clone();
        living::guarded(reporter, Box::pin(self.live()), async {}).await;
    }

    async fn live(self) {
        let Self { setting, start, conversation, opening, told: Told { mut said, mut stops } } = self;
        let Start { op, env, cwd, reporter, .. } = start;
        let (argv, env) = (launch::argv(&setting, &conversation), launch::environment(env, setting.spec.way, &cwd));
        let held = held::piped(Program { argv: &argv, env: &env, cwd: &cwd });
        let Held { process, pipes, mut exit, mut group, session, .. } = match held {
            Ok(held) => held,
            Err((kind, why)) => return reporter.fail(op, kind, &why).await,
        };
        living::spawned(&reporter, op, process, [&setting.runner_dir, &setting.state_dir]).await;

        let (tell, mut heard) = mpsc::channel(HEARD_MOST);
        let last_words = LastWords::default();
        let mut listening = Box::pin(listen(pipes.stdout, pipes.stderr, tell, reporter.clone(), last_words.clone()));
        let mut is_read = false;
        let mut talk = Talk::new(&setting, &opening, reporter.clone(), pipes.stdin);
        talk.step(In::Started).await;
        let status = loop {
            let [late, hangs, mute, lingers] = [talk.late, talk.hangs, talk.mute, talk.lingers];
            let takes_on = talk.writer.lines.len() < UNWRITTEN_MOST;
            let next = tokio::select! {
                biased;
                status = &mut exit => Next::Exit(status),
                Some(halt) = stops.recv() => Next::Halt(halt),
                wrote = talk.writer.write() => Next::Wrote(wrote),
                Some(came) = heard.recv() => Next::Came(came),
                Some(say) = said.recv(), if takes_on => Next::Asked(say),
                () = &mut listening, if !is_read => Next::Read,
                () = clock::until(late) => Next::Late,
                () = clock::until(hangs) => Next::Hung,
                () = clock::until(mute) => Next::Mute,
                () = clock::until(lingers) => Next::Lingers,
            };
            match next {
                Next::Exit(status) => break status,
                Next::Halt(Halt::Step(StopStep::Ask)) => talk.step(In::Stopping).await,
                Next::Halt(Halt::Step(StopStep::Terminate)) => group.terminate(),
                Next::Halt(Halt::Step(StopStep::Kill) | Halt::Leave) | Next::Lingers => {
                    talk.lingers = None;
                    group.kill();
                }
                Next::Wrote(wrote) => talk.wrote(wrote).await,
                Next::Came(came) => talk.came(came).await,
                Next::Asked(Say { op, ask }) => talk.step(In::Asked { op, ask }).await,
                Next::Read => is_read = true,
                Next::Late => talk.is_late(),
                Next::Hung => talk.is_hung(),
                Next::Mute => talk.is_mute(),
            }
            if talk.ending.is_some() && talk.lingers.is_none() && !std::mem::replace(&mut talk.ended, true) {
                group.terminate();
                talk.lingers = Some(clock::after(ENDS_WITHIN));
            }
        };
        // Whatever it left behind goes with it, and lets go of the pipes: each command has a session of its own.
        group.kill();
        group.release();
        if let Some(session) = &session {
            leftover::kill_rest(session, &setting.runner_dir);
        }
        let rest = async {
            loop {
                tokio::select! {
                    biased;
                    came = heard.recv() => match came {
                        Some(came) => talk.came(came).await,
                        None => return,
                    },
                    () = &mut listening, if !is_read => is_read = true,
                }
            }
        };
        if timeout(REST_WITHIN, rest).await.is_err() {
            tracing::debug!("claude's output is still held open by a process outside its group");
        }
        let waited_for = talk.session.waits_for();
        talk.wrote(Wrote::Broken("claude ended".to_owned())).await;
        talk.step(In::Over).await;
        said.close();
        while let Some(Say { op, ask }) = said.recv().await {
            talk.step(In::Asked { op, ask }).await;
        }
        let tail = last_words.lock().unwrap_or_else(PoisonError::into_inner).make_contiguous().join("\n");
        let (class, detail) = match talk.ending {
            // What it printed may say why.
            Some((class @ (ExitClass::StartTimeout | ExitClass::Crash | ExitClass::Hang), detail)) => {
                (class, with(&detail, &tail))
            }
            Some(ending) => ending,
            None => exited(status, waited_for, &tail),
        };
        reporter.exit(class, &detail).await;
    }
}

/// Reads all that it says and prints, until both are closed.
async fn listen(
    stdout: Option<impl AsyncRead + Unpin>,
    stderr: Option<impl AsyncRead + Unpin>,
    tell: mpsc::Sender<Came>,
    reporter: Reporter,
    last_words: LastWords,
) {
    let out = async move {
        let Some(stdout) = stdout else { return };
        let mut lines = Lines::new(stdout, LINE_MOST);
        loop {
            let came = match lines.next().await {
                Ok(Some(Line::Text(text))) if text.trim().is_empty() => continue,
                Ok(Some(Line::Text(text))) => match serde_json::from_str(text) {
                    Ok(value) => Came::Json(words::trimmed(value)),
                    Err(_) => Came::Garbage(text.len()),
                },
                Ok(Some(Line::TooLong(bytes))) => Came::Garbage(bytes),
                Ok(Some(Line::NotUtf8)) => Came::Garbage(0),
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!("claude's output broke: {error}");
                    break;
                }
            };
            if tell.send(came).await.is_err() {
                return;
            }
        }
        // Nobody listens any more once it is over.
        let _ = tell.send(Came::End).await;
    };
    let printed = async {
        let Some(stderr) = stderr else { return };
        let keep = |line| {
            let mut kept = last_words.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == LAST_WORDS_MOST {
                kept.pop_front();
            }
            kept.push_back(line);
        };
        overhear(stderr, &reporter, keep).await;
    };
    tokio::join!(out, printed);
}

/// Why it ended by itself.
fn exited(status: std::io::Result<Option<ExitStatus>>, waited_for: Option<&str>, tail: &str) -> (ExitClass, String) {
    let (class, detail) = match status {
        Ok(Some(status)) => process::exit_class(status),
        Ok(None) => (ExitClass::Crash, "it ended; with which code is not known".to_owned()),
        Err(error) => return (ExitClass::Crash, format!("its exit could not be seen: {error}")),
    };
    let Some(what) = waited_for else {
        return if class == ExitClass::Crash { (class, with(&detail, tail)) } else { (class, detail) };
    };
    let says = |words: &[&str]| words.iter().any(|words| tail.contains(words));
    if class == ExitClass::Crash && says(&TOO_OLD) {
        let why = "this claude does not know its print mode as it is needed here; install a newer one (npm install -g \
                   @anthropic-ai/claude-code), then `relay-runner restart`";
        return (ExitClass::Refused, with(why, tail));
    }
    let class = if class == ExitClass::Crash && says(&WRONG) { ExitClass::Refused } else { class };
    (class, with(&format!("{detail} (it {what})"), tail))
}

/// A line to be written, and what is answered once it is.
#[derive(Debug)]
struct Unwritten {
    bytes: Vec<u8>,
    answers: Vec<(OpId, OpResult)>,
}

#[derive(Debug)]
enum Wrote {
    Part,
    Whole(Vec<(OpId, OpResult)>),
    /// Nothing more is taken.
    Broken(String),
}

/// What is written to it. Its input is closed when all is, where that is wanted.
#[derive(Debug)]
struct Writer<W> {
    to: Option<W>,
    lines: VecDeque<Unwritten>,
    /// Of the first of them.
    written: usize,
    closes: bool,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    const fn new(to: Option<W>) -> Self {
        Self { to, lines: VecDeque::new(), written: 0, closes: false }
    }

    /// Writes on. May be broken off at any time, and loses nothing by it.
    async fn write(&mut self) -> Wrote {
        if self.closes && self.lines.is_empty() {
            self.to = None;
        }
        let (Some(to), Some(line)) = (&mut self.to, self.lines.front()) else { return pending().await };
        match to.write(&line.bytes[self.written..]).await {
            Ok(0) => Wrote::Broken("it takes nothing any more".to_owned()),
            Ok(bytes) => {
                self.written += bytes;
                if self.written < line.bytes.len() {
                    return Wrote::Part;
                }
                self.written = 0;
                Wrote::Whole(self.lines.pop_front().map(|line| line.answers).unwrap_or_default())
            }
            Err(error) => Wrote::Broken(error.to_string()),
        }
    }
}

/// The session, with its pipes.
struct Talk {
    session: Session,
    recorder: Option<Recorder>,
    reporter: Reporter,
    ready_within: Duration,
    writer: Writer<ChildStdin>,
    late: Option<Instant>,
    hangs: Option<Instant>,
    /// It has closed a pipe, and is to end by then.
    mute: Option<Instant>,
    lingers: Option<Instant>,
    ending: Option<(ExitClass, String)>,
    ended: bool,
}

impl Talk {
    fn new(setting: &Setting, opening: &Opening, reporter: Reporter, stdin: Option<ChildStdin>) -> Self {
        let recorder = setting.spec.transcript.as_ref().and_then(|path| {
            let opened = Recorder::open(path, reporter.clone());
            opened.map_err(|error| tracing::warn!("no transcript in {}: {error}", path.display())).ok()
        });
        let mut talk = Self {
            session: Session::new(opening.clone()),
            recorder,
            reporter,
            ready_within: setting.ready_within,
            writer: Writer::new(stdin),
            late: Some(clock::after(setting.ready_within)),
            hangs: None,
            mute: None,
            lingers: None,
            ending: None,
            ended: false,
        };
        if let Some(recorder) = &mut talk.recorder {
            recorder.begin::<Session>(opening);
        }
        talk
    }

    async fn came(&mut self, came: Came) {
        self.hangs = None;
        match came {
            Came::Json(value) => self.step(In::Heard(value)).await,
            Came::Garbage(bytes) => self.step(In::Garbage { bytes }).await,
            Came::End => self.is_closing(),
        }
    }

    async fn wrote(&mut self, wrote: Wrote) {
        self.hangs = None;
        match wrote {
            Wrote::Part => {}
            Wrote::Whole(answers) => {
                for (op, result) in answers {
                    self.reporter.answer(op, result).await;
                }
            }
            Wrote::Broken(why) => {
                self.writer.to = None;
                for (op, _) in std::mem::take(&mut self.writer.lines).into_iter().flat_map(|line| line.answers) {
                    let why = format!("claude did not read it whole: {why}");
                    self.reporter.fail(op, FailureKind::Unreachable, &why).await;
                }
                self.is_closing();
            }
        }
        self.watch();
    }

    fn is_closing(&mut self) {
        self.mute.get_or_insert_with(|| clock::after(ENDS_WITHIN));
    }

    fn ends(&mut self, class: ExitClass, why: String) {
        self.ending.get_or_insert((class, why));
    }

    fn is_late(&mut self) {
        self.late = None;
        let Some(what) = self.session.waits_for() else { return };
        let why = format!("claude {what} within {} s", self.ready_within.as_secs_f64());
        self.ends(ExitClass::StartTimeout, why);
    }

    fn is_hung(&mut self) {
        self.hangs = None;
        let seconds = ANSWERS_WITHIN.as_secs();
        self.ends(
            ExitClass::Hang,
            format!("claude does not answer what it was asked {seconds} s ago, and says nothing else"),
        );
    }

    fn is_mute(&mut self) {
        self.mute = None;
        self.ends(ExitClass::Crash, "claude closed its input or its output, and did not end".to_owned());
    }

    /// How long it may be silent, while it is its turn to read or to answer.
    fn watch(&mut self) {
        let owes = self.writer.to.is_some() && (!self.writer.lines.is_empty() || self.session.awaits_an_answer());
        // Until it is ready there is another limit.
        if owes && self.late.is_none() {
            self.hangs.get_or_insert_with(|| clock::after(ANSWERS_WITHIN));
        } else {
            self.hangs = None;
        }
    }

    async fn step(&mut self, input: In) {
        let kept = self.recorder.is_some().then(|| input.clone());
        let outputs = self.session.step(input);
        if let (Some(recorder), Some(input)) = (&mut self.recorder, kept) {
            recorder.step::<Session>(&input, &outputs);
        }
        let mut said = false;
        for output in outputs {
            said |= matches!(output, Out::Say(_));
            self.carry_out(output, said).await;
        }
        if self.session.waits_for().is_none() {
            self.late = None;
        }
        self.watch();
    }

    async fn carry_out(&mut self, output: Out, said: bool) {
        match output {
            Out::Say(value) => {
                let mut bytes = value.to_string().into_bytes();
                bytes.push(b'\n');
                self.writer.lines.push_back(Unwritten { bytes, answers: Vec::new() });
            }
            Out::Answer(op, OpResult::Failed(failure)) => {
                self.reporter.fail(op, failure.kind, &failure.text).await;
            }
            Out::Answer(op, _) if said && self.writer.to.is_none() => {
                self.writer.lines.clear();
                let text = "claude takes nothing any more".into();
                let failure = OpResult::Failed(Failure { kind: FailureKind::NotReady, text });
                self.reporter.answer(op, failure).await;
            }
            Out::Answer(op, result) => match self.writer.lines.back_mut().filter(|_| said) {
                Some(line) => line.answers.push((op, result)),
                None => self.reporter.answer(op, result).await,
            },
            Out::Report(report) => self.reporter.report(self.reporter.cleaned(report)).await,
            Out::Opened { request, input } => self.reporter.open(request, input).await,
            Out::Quiet => self.writer.closes = true,
            Out::End { class, detail } => self.ends(class, detail),
            Out::Note { warns, text } => self.reporter.note(warns, &text),
        }
    }
}
