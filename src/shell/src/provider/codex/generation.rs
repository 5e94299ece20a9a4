//! One app-server, from its start to its exit.
//!
//! This task alone owns the process and the connection to it. It carries out what [`Session`] says, and the steps of
//! stopping, and reports the exit once, as the last of its reports.

use super::Setting;
use super::session::{Ask, In, Opening, Out, Session};
use super::socket::{self, Came, Socket};
use crate::clock;
use crate::provider::CONFINED;
use crate::provider::held::{self, Held, NotHeld, Program};
use crate::provider::leftover;
use crate::provider::living::{self, Halt, Told};
use crate::provider::overheard::with;
use crate::provider::reporter::Reporter;
use crate::provider::transcript::Recorder;
use crate::provider::{Adopt, Begin, Start, log, process};
use relay_runner_core::event::{ExitClass, Failure, FailureKind};
use relay_runner_core::{OpId, OpResult, StopStep};
use rustix::process::Signal;
use std::ffi::OsString;
use std::future::pending;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use tokio::time::Instant;

/// How long an app-server may take until it is ready, from its start or from the break of its connection.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(20);
/// How long one that is of no use may take to end by itself.
const ENDS_WITHIN: Duration = Duration::from_secs(2);
/// Why a codex is too old, in its own words.
const TOO_OLD: [&str; 3] = ["unrecognized subcommand", "unexpected argument", "invalid value 'unix:"];

/// Something to be asked of codex.
#[derive(Debug)]
pub(super) struct Say {
    pub(super) op: OpId,
    pub(super) ask: Ask,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) setting: Setting,
    pub(super) begin: Begin,
    pub(super) opening: Opening,
    pub(super) told: Told<Say>,
}

/// What happens next.
enum Next {
    Exit(std::io::Result<Option<ExitStatus>>),
    Halt(Halt),
    Connected(Box<Socket>),
    Came(Came),
    Asked(Say),
    Due,
    Late,
    Hung,
    Lingers,
}

impl Running {
    pub(super) async fn run(self) {
        let reporter = self.begin.reporter().clone();
        living::guarded(reporter, Box::pin(self.live()), async {}).await;
    }

    async fn live(self) {
        let Self { setting, begin, opening, told: Told { mut said, mut stops } } = self;
        let reporter = begin.reporter().clone();
        let (op, held) = begun(begin, &setting);
        let Held { process, mut exit, mut group, log, printed, session, .. } = match held {
            Ok(held) => held,
            Err((kind, why)) => return reporter.fail(op, kind, &why).await,
        };
        let pid = process.pid;
        living::spawned(&reporter, op, process, [&setting.runner_dir, &setting.state_dir]).await;

        let path = setting.socket();
        let mut talk = Talk::new(&setting, &opening, reporter.clone(), pid);
        let mut bounding = Box::pin(log::bound(log.as_ref().and_then(|file| file.try_clone().ok())));
        let status = loop {
            let (wait, late, hangs, lingers) = (talk.wait, talk.late, talk.hangs, talk.lingers);
            let next = tokio::select! {
                biased;
                status = &mut exit => Next::Exit(status),
                Some(halt) = stops.recv() => Next::Halt(halt),
                next = talk.line(&path) => next,
                Some(say) = said.recv() => Next::Asked(say),
                () = clock::until(wait) => Next::Due,
                () = clock::until(late) => Next::Late,
                () = clock::until(hangs) => Next::Hung,
                () = clock::until(lingers) => Next::Lingers,
                never = &mut bounding => match never {},
            };
            match next {
                Next::Exit(status) => break status,
                Next::Halt(Halt::Step(StopStep::Ask)) => talk.step(In::Stopping).await,
                Next::Halt(Halt::Step(StopStep::Terminate)) => group.terminate(),
                Next::Halt(Halt::Step(StopStep::Kill)) | Next::Lingers => {
                    talk.lingers = None;
                    group.kill();
                }
                Next::Halt(Halt::Leave) => return group.release(),
                Next::Connected(socket) => {
                    talk.socket = Some(*socket);
                    talk.step(In::Connected).await;
                }
                Next::Came(Came::Json(value)) => talk.step(In::Heard(value)).await,
                Next::Came(Came::Garbage(bytes)) => talk.step(In::Garbage { bytes }).await,
                Next::Came(Came::End(why)) => talk.broke(why).await,
                Next::Asked(Say { op, ask }) => talk.step(In::Asked { op, ask }).await,
                Next::Due => {
                    talk.wait = None;
                    talk.step(In::Due).await;
                }
                Next::Late => talk.is_late(),
                Next::Hung => talk.is_hung(),
            }
            if std::mem::take(&mut talk.quiet) {
                // Its own word for a clean end.
                group.terminate();
            }
            if talk.ending.is_some() && talk.lingers.is_none() && !std::mem::replace(&mut talk.ended, true) {
                group.terminate();
                talk.lingers = Some(clock::after(ENDS_WITHIN));
            }
        };
        // Whatever it left behind goes with it: codex gives each command a session of its own.
        group.kill();
        group.release();
        if let Some(session) = &session {
            leftover::kill_rest(session, &setting.runner_dir);
        }
        let waited_for = talk.session.waits_for().filter(|_| !talk.session.was_ready());
        talk.step(In::Over).await;
        said.close();
        while let Some(Say { op, ask }) = said.recv().await {
            talk.step(In::Asked { op, ask }).await;
        }
        let tail = log.as_ref().and_then(|file| log::since(file, printed).ok()).unwrap_or_default();
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

fn begun(begin: Begin, setting: &Setting) -> (OpId, Result<Held, NotHeld>) {
    let log = setting.state_dir.join(log::NAME);
    match begin {
        Begin::Start(Start { op, mut env, cwd, .. }) => {
            env.insert(CONFINED.into(), cwd.as_os_str().to_owned());
            let argv = setting.argv();
            (op, held::listening(Program { argv: &argv, env: &env, cwd: &cwd }, &setting.socket(), &log))
        }
        Begin::Adopt(Adopt { op, process, .. }) => (op, held::taken_up(process, &setting.runner_dir, &log)),
    }
}

/// An operation whose words were not taken by the connection.
fn undelivered(output: Out) -> Out {
    match output {
        Out::Answer(op, OpResult::Ok | OpResult::Said(_)) => {
            let text = "the connection to codex broke before it was said".into();
            Out::Answer(op, OpResult::Failed(Failure { kind: FailureKind::Unreachable, text }))
        }
        other => other,
    }
}

/// Why it ended by itself.
fn exited(status: std::io::Result<Option<ExitStatus>>, waited_for: Option<&str>, tail: &str) -> (ExitClass, String) {
    let ((class, detail), was_ended) = match status {
        Ok(Some(status)) => {
            let by_others = [Signal::KILL, Signal::TERM].map(|signal| Some(signal.as_raw()));
            (process::exit_class(status), status.success() || by_others.contains(&status.signal()))
        }
        Ok(None) => {
            let why = "it ended; with which code is not known, as it was started by an earlier run";
            return (ExitClass::Crash, why.to_owned());
        }
        Err(error) => return (ExitClass::Crash, format!("its exit could not be seen: {error}")),
    };
    if class == ExitClass::Crash && waited_for.is_some() && TOO_OLD.iter().any(|words| tail.contains(words)) {
        let why = "this codex has no app-server that listens on a socket; install a newer one (npm install -g \
                   @openai/codex), then `relay-runner restart`";
        return (ExitClass::Refused, with(why, tail));
    }
    let detail = waited_for.map_or_else(|| detail.clone(), |what| format!("{detail} (it {what})"));
    // What it printed last says nothing about an end by others.
    if !was_ended || waited_for.is_some() { (class, with(&detail, tail)) } else { (class, detail) }
}

/// How long one that is asked may be silent.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// A connection that held this long is one.
const STEADY: Duration = Duration::from_secs(10);
/// How often it may break before it held that long.
const BREAKS_MOST: u32 = 8;
/// Before a connection is tried again, doubling with every one that did not hold.
const CONNECT_AFTER: Duration = Duration::from_millis(20);
const CONNECT_AFTER_MOST: Duration = Duration::from_secs(1);

/// The session, with its connection.
struct Talk {
    session: Session,
    recorder: Option<Recorder>,
    reporter: Reporter,
    /// Where it listens, and by which a ghost of it is known.
    url: OsString,
    runner_dir: PathBuf,
    pid: u32,
    ready_within: Duration,
    socket: Option<Socket>,
    /// Why the last attempt to connect failed.
    why: String,
    /// Since when the connection is of use.
    live: Option<Instant>,
    /// Connections that broke one after the other.
    breaks: u32,
    wait: Option<Instant>,
    late: Option<Instant>,
    hangs: Option<Instant>,
    lingers: Option<Instant>,
    quiet: bool,
    ending: Option<(ExitClass, String)>,
    ended: bool,
}

impl Talk {
    fn new(setting: &Setting, opening: &Opening, reporter: Reporter, pid: u32) -> Self {
        let recorder = setting.spec.transcript.as_ref().and_then(|path| {
            let opened = Recorder::open(path, reporter.clone());
            opened.map_err(|error| tracing::warn!("no transcript in {}: {error}", path.display())).ok()
        });
        let mut talk = Self {
            session: Session::new(opening.clone()),
            recorder,
            reporter,
            url: setting.url(),
            runner_dir: setting.runner_dir.clone(),
            pid,
            ready_within: setting.ready_within,
            socket: None,
            why: String::new(),
            live: None,
            breaks: 0,
            wait: None,
            late: Some(clock::after(setting.ready_within)),
            hangs: None,
            lingers: None,
            quiet: false,
            ending: None,
            ended: false,
        };
        if let Some(recorder) = &mut talk.recorder {
            recorder.begin::<Session>(opening);
        }
        talk
    }

    /// What comes over the connection, or a new one where there is none.
    async fn line(&mut self, path: &Path) -> Next {
        match &mut self.socket {
            Some(socket) => Next::Came(socket.next().await),
            None if self.ending.is_none() => {
                let after = (CONNECT_AFTER * 2_u32.pow(self.breaks.min(BREAKS_MOST))).min(CONNECT_AFTER_MOST);
                let after = if self.breaks == 0 { Duration::ZERO } else { after };
                Next::Connected(Box::new(socket::connect(path, after, &mut self.why).await))
            }
            None => pending().await,
        }
    }

    /// The connection is gone.
    fn breaks(&mut self, why: String) {
        tracing::debug!("the connection to codex broke: {why}");
        self.socket = None;
        self.why = why;
        self.hangs = None;
        let held = self.live.take().is_some_and(|since| since.elapsed() >= STEADY);
        self.breaks = if held { 1 } else { self.breaks + 1 };
        // One that never came to be of use has no more time than it had.
        self.late.get_or_insert(clock::after(self.ready_within));
        if self.breaks > BREAKS_MOST && self.ending.is_none() {
            let why = format!("its connection broke {} times one after the other ({})", self.breaks, self.why);
            self.ending = Some((ExitClass::Crash, why));
        }
    }

    async fn broke(&mut self, why: String) {
        self.breaks(why);
        self.step(In::Broken).await;
    }

    fn is_late(&mut self) {
        self.late = None;
        let Some(what) = self.session.waits_for() else { return };
        let why =
            if self.socket.is_none() && !self.why.is_empty() { format!(" ({})", self.why) } else { String::new() };
        let why = format!("codex {what} within {} s{why}", self.ready_within.as_secs_f64());
        self.ending = Some((ExitClass::StartTimeout, why));
    }

    fn is_hung(&mut self) {
        self.hangs = None;
        let why = format!(
            "codex does not answer what it was asked {} s ago, and says nothing else",
            ANSWERS_WITHIN.as_secs()
        );
        self.ending = Some((ExitClass::Hang, why));
    }

    async fn step(&mut self, input: In) {
        if matches!(input, In::Heard(_)) {
            self.hangs = None;
        }
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let kept = self.recorder.is_some().then(|| input.clone());
            let outputs = self.session.step(input);
            if let (Some(recorder), Some(input)) = (&mut self.recorder, kept) {
                recorder.step::<Session>(&input, &outputs);
            }
            for output in outputs {
                // What was said with it has not arrived.
                let output = if next.is_some() { undelivered(output) } else { output };
                if let Some(broken) = self.carry_out(output).await {
                    next = Some(broken);
                }
            }
        }
        if self.session.waits_for().is_none() && self.socket.is_some() {
            self.late = None;
            self.live.get_or_insert_with(Instant::now);
        }
        if self.socket.is_some() && self.session.awaits_an_answer() {
            self.hangs.get_or_insert_with(|| clock::after(ANSWERS_WITHIN));
        } else {
            self.hangs = None;
        }
    }

    /// Broken, when the connection does not take it.
    async fn carry_out(&mut self, output: Out) -> Option<In> {
        match output {
            Out::Say(value) => {
                let socket = self.socket.as_mut()?;
                if let Err(why) = socket.say(&value).await {
                    self.breaks(why);
                    return Some(In::Broken);
                }
            }
            Out::Report(report) => self.reporter.report(self.reporter.cleaned(report)).await,
            Out::Opened { request, input } => self.reporter.open(request, input).await,
            Out::Answer(op, OpResult::Failed(failure)) => {
                self.reporter.fail(op, failure.kind, &failure.text).await;
            }
            Out::Answer(op, result) => self.reporter.answer(op, result).await,
            Out::Locked(ms) => {
                if let Some(ghost) = leftover::kill_listener(&self.url, &self.runner_dir, self.pid) {
                    tracing::warn!(
                        "an app-server of an earlier run (process {ghost}) still held the thread; it was killed"
                    );
                }
                self.wait = Some(clock::after(Duration::from_millis(ms)));
            }
            Out::Quiet => self.quiet = true,
            Out::End { class, detail } => self.ending = Some((class, detail)),
            Out::Note { warns, text } => self.reporter.note(warns, &text),
        }
        None
    }
}
