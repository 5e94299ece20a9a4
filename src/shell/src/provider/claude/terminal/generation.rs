//! One Claude Code in a terminal of the runner's, from its start to its exit.
//!
//! This task alone owns the process, its tmux server and its transcript's reader. It carries out what [`Session`] says, and the
//! steps of stopping, and reports the exit once, as the last of its reports.

use super::follow::Follower;
use super::record::At;
use super::screen;
use super::session::{Ask, In, OWN_HOOKS, Opening, Out, Session};
use super::tmux::{Dead, Launch, Tmux};
use crate::clock;
use crate::hooked::{Hook, Hooked};
use crate::monitor::{Line, Monitor};
use crate::provider::claude::Setting;
use crate::provider::claude::launch::{self, Conversation};
use crate::provider::held::{self, Held};
use crate::provider::leftover;
use crate::provider::living::{self, Halt, Told};
use crate::provider::reporter::Reporter;
use crate::provider::transcript::Recorder;
use crate::provider::{Adopt, Begin, Start, log, process, shown};
use relay_runner_core::event::{ExitClass, FailureKind};
use relay_runner_core::{OpId, OpResult, StopStep};
use serde_json::{Map, Value};
use std::ffi::OsStr;
use std::future::pending;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::time::Instant;

/// How long one that is of no use may take to end by itself.
const ENDS_WITHIN: Duration = Duration::from_secs(3);
/// How long tmux may take to see an end that the system has shown.
const SEEN_WITHIN: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Between two looks into the transcript while something is on its way.
const READ_EVERY: Duration = Duration::from_millis(200);
const SESSION: &str = "AGENT_RELAY_PROVIDER_SESSION_ID";

const NO_TMUX: &str = "its terminal is a person's";

/// Something to be asked of Claude Code, and the lines of it for the monitor.
#[derive(Debug)]
pub(crate) struct Say {
    pub(super) op: OpId,
    pub(super) ask: Ask,
    pub(super) lines: Vec<Line>,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) setting: Setting,
    pub(super) begin: Begin,
    pub(super) monitor: Monitor,
    pub(super) hooked: Hooked,
    pub(super) told: Told<Say>,
}

/// What happens next.
enum Next {
    Exit,
    Halt(Halt),
    Hook(Hook),
    Asked(Say),
    Due,
    Read,
    Late,
    Lingers,
}

/// A process that runs, with what its session is begun with.
struct Begun {
    op: OpId,
    held: Held,
    opening: Opening,
    follower: Follower,
}

impl Running {
    pub(super) async fn run(self) {
        let reporter = self.begin.reporter().clone();
        let (monitor, tmux) = (self.monitor.clone(), tmux_of(&self.setting));
        let clean_up = async {
            tmux.end().await;
            monitor.over(reporter.generation()).await;
        };
        living::guarded(reporter.clone(), Box::pin(self.live()), clean_up).await;
    }

    async fn live(self) {
        let Self { setting, begin, monitor, hooked, told: Told { mut said, mut stops } } = self;
        let reporter = begin.reporter().clone();
        let tmux = tmux_of(&setting);
        let Begun { op, held, opening, follower } = match begun(begin, &setting, &tmux).await {
            Ok(begun) => begun,
            Err((op, kind, why)) => {
                tmux.end().await;
                return reporter.fail(op, kind, &why).await;
            }
        };
        let Held { process, mut exit, mut group, log, session, .. } = held;
        let mut hooks = hooked.follow(session.as_deref().unwrap_or_default(), OWN_HOOKS);
        let pid = process.pid;
        living::spawned(&reporter, op, process, [&setting.runner_dir, &setting.state_dir]).await;

        let mut talk = Talk::new(&setting, opening, follower, reporter.clone(), Some(tmux), monitor.clone());
        let mut bounding = Box::pin(log::bound(log.as_ref().and_then(|file| file.try_clone().ok())));
        talk.step(In::Started).await;
        loop {
            let (due, read, late, lingers) = (talk.due(), talk.reads(), talk.late, talk.lingers);
            let next = tokio::select! {
                biased;
                _ = &mut exit => Next::Exit,
                Some(halt) = stops.recv() => Next::Halt(halt),
                Some(hook) = hooks.recv() => Next::Hook(hook),
                Some(say) = said.recv() => Next::Asked(say),
                () = clock::until(due) => Next::Due,
                () = clock::until(read) => Next::Read,
                () = clock::until(late) => Next::Late,
                () = clock::until(lingers) => Next::Lingers,
                never = &mut bounding => match never {},
            };
            match next {
                Next::Exit => break,
                Next::Halt(Halt::Step(StopStep::Ask)) => talk.step(In::Stopping).await,
                Next::Halt(Halt::Step(StopStep::Terminate)) => group.terminate(),
                Next::Halt(Halt::Step(StopStep::Kill)) | Next::Lingers => {
                    talk.lingers = None;
                    group.kill();
                }
                Next::Halt(Halt::Leave) => return group.release(),
                Next::Hook(Hook { event, payload, done }) => {
                    // A copy that the agent started has our session in its environment.
                    if is_of(&payload, pid) {
                        talk.hooked(event, payload).await;
                    }
                    drop(done);
                }
                Next::Asked(say) => talk.asked(say).await,
                Next::Due => talk.step(In::Due).await,
                Next::Read => talk.read().await,
                Next::Late => talk.is_late().await,
            }
            if std::mem::take(&mut talk.quiet) {
                group.terminate();
            }
            if talk.ending.is_some() && talk.lingers.is_none() && !std::mem::replace(&mut talk.ended, true) {
                group.terminate();
                talk.lingers = Some(clock::after(ENDS_WITHIN));
            }
        }
        let (class, detail) = talk.exited().await;
        // Whatever it left behind goes with it: each command has a session of its own.
        group.kill();
        group.release();
        if let Some(tmux) = &talk.tmux {
            tmux.end().await;
        }
        if let Some(session) = &session {
            leftover::kill_rest(session, &setting.runner_dir);
        }
        monitor.over(reporter.generation()).await;
        talk.step(In::Over).await;
        said.close();
        while let Some(say) = said.recv().await {
            talk.asked(say).await;
        }
        let (class, detail) = talk.ending.unwrap_or((class, detail));
        reporter.exit(class, &detail).await;
    }
}

fn tmux_of(setting: &Setting) -> Tmux {
    Tmux::new(setting.spec.tmux.clone().unwrap_or_else(|| "tmux".into()), setting.runner_dir.clone())
}

/// Whether a hook was posted by this process: each names the processes that it may be of.
pub(crate) fn is_of(payload: &Map<String, Value>, pid: u32) -> bool {
    let named = |name: &str| payload.get(name).and_then(Value::as_u64) == Some(pid.into());
    let listed = |pids: &Vec<Value>| pids.iter().any(|one| one.as_u64() == Some(pid.into()));
    named("pid") || payload.get("pids").and_then(Value::as_array).is_some_and(listed)
}

async fn begun(begin: Begin, setting: &Setting, tmux: &Tmux) -> Result<Begun, (OpId, FailureKind, String)> {
    let log_path = setting.state_dir.join(log::NAME);
    let home = launch::home(setting);
    let io = |op| move |why: String| (op, FailureKind::Io, why);
    match begin {
        Begin::Start(Start { op, env, cwd, resume, .. }) => {
            let conversation = Conversation::of(resume.as_deref(), setting).map_err(|e| io(op)(e.to_string()))?;
            if let Some(lost) = resume.as_deref().filter(|id| *id != conversation.id()) {
                tracing::warn!("Claude Code has no transcript of its conversation {lost}; another one is begun");
            }
            let argv = launch::argv(setting, &conversation);
            let mut env = launch::environment(env, setting.spec.way, &cwd);
            // Else tmux takes what is pasted for the letters of another alphabet.
            env.entry("LANG".into()).or_insert_with(|| "C.UTF-8".into());
            // Before it can write anything.
            let follower = Follower::at_end(&home, conversation.id());
            // Made here, for its owner only.
            log::open(&log_path).map_err(|e| io(op)(format!("cannot write {}: {e}", log_path.display())))?;
            let agent = env.get(OsStr::new("AGENT_RELAY_ID")).map(|id| id.to_string_lossy().into_owned());
            let title = agent.unwrap_or_else(|| "relay-runner".to_owned());
            let starting = Launch { argv: &argv, env: &env, cwd: &cwd, log: &log_path, title: &title };
            let pid = tmux.start(starting).await.map_err(io(op))?;
            let held = held::taken_up(leftover::reference(pid), &setting.runner_dir, &log_path);
            let session = env.get(OsStr::new(SESSION)).map(|session| session.to_string_lossy().into_owned());
            let held = held.map_err(|(kind, why)| (op, kind, why))?;
            let opening =
                Opening { conversation: conversation.id().to_owned(), typed: true, in_doubt: None, partly: false };
            Ok(Begun { op, held: Held { session, ..held }, opening, follower })
        }
        Begin::Adopt(Adopt { op, process, offers, conversation, .. }) => {
            let known = conversation.map(|id| id.to_string()).or_else(|| launch::started_in(&process));
            let held = held::taken_up(process, &setting.runner_dir, &log_path);
            let held = held.map_err(|(kind, why)| (op, kind, why))?;
            let Some(conversation) = known else {
                return Err((op, FailureKind::NotFound, "which conversation it is in is not known".to_owned()));
            };
            let follower = Follower::near_end(&home, &conversation);
            let in_doubt = shown::named(offers.iter());
            let partly = follower.is_partial();
            let opening = Opening { conversation, typed: true, in_doubt: Some(in_doubt), partly };
            Ok(Begun { op, held, opening, follower })
        }
    }
}

/// The session, with its terminal.
pub(crate) struct Talk {
    session: Session,
    recorder: Option<Recorder>,
    began: Instant,
    reporter: Reporter,
    /// None: the terminal is a person's, in which nothing is looked at or typed.
    tmux: Option<Tmux>,
    monitor: Monitor,
    home: std::path::PathBuf,
    /// None while it reads.
    follower: Option<Follower>,
    ready_within: Duration,
    /// Where a person may be asked something first, it takes as long as it takes.
    late: Option<Instant>,
    lingers: Option<Instant>,
    read_at: Instant,
    /// It is to be asked to end, by a signal.
    pub(crate) quiet: bool,
    ending: Option<(ExitClass, String)>,
    ended: bool,
}

impl Talk {
    pub(crate) fn new(
        setting: &Setting,
        opening: Opening,
        follower: Follower,
        reporter: Reporter,
        tmux: Option<Tmux>,
        monitor: Monitor,
    ) -> Self {
        let mut recorder = setting.spec.transcript.as_ref().and_then(|path| {
            let opened = Recorder::open(path, reporter.clone());
            opened.map_err(|error| tracing::warn!("no transcript in {}: {error}", path.display())).ok()
        });
        if let Some(recorder) = &mut recorder {
            recorder.begin::<Session>(&opening);
        }
        Self {
            session: Session::new(opening),
            recorder,
            began: Instant::now(),
            reporter,
            monitor,
            home: launch::home(setting),
            follower: Some(follower),
            ready_within: setting.ready_within,
            late: tmux.is_some().then(|| clock::after(setting.ready_within)),
            lingers: None,
            read_at: Instant::now(),
            quiet: false,
            ending: None,
            ended: false,
            tmux,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.session.next_deadline().map(|at| self.began + Duration::from_millis(at))
    }

    pub(crate) fn reads(&self) -> Option<Instant> {
        self.session.is_watched().then_some(self.read_at)
    }

    pub(crate) async fn read(&mut self) {
        self.read_at = clock::after(READ_EVERY);
        let Some(mut follower) = self.follower.take() else { return };
        let read = tokio::task::spawn_blocking(move || {
            let entries = follower.read();
            (follower, entries)
        });
        match read.await {
            Ok((follower, entries)) => {
                self.follower = Some(follower);
                if !entries.is_empty() {
                    self.step(In::Read(entries)).await;
                }
            }
            Err(error) => tracing::warn!("the transcript is not read any more: {error}"),
        }
    }

    pub(crate) async fn asked(&mut self, Say { op, ask, mut lines }: Say) {
        let heard = self.monitor.is_connected();
        for output in self.hears(In::Asked { op, ask, heard }) {
            match output {
                Out::Monitor { op, .. } => self.say(op, std::mem::take(&mut lines)).await,
                other => self.carry_out(other).await,
            }
        }
    }

    async fn say(&self, op: OpId, lines: Vec<Line>) {
        let generation = self.reporter.generation();
        if self.monitor.offer(op, generation, lines, self.reporter.clone()).is_err() {
            self.reporter.fail(op, FailureKind::NotReady, "the monitor takes nothing any more").await;
        }
    }

    fn hears(&mut self, input: In) -> Vec<Out> {
        let now = self.now();
        let kept = self.recorder.is_some().then(|| At::new(now, input.clone()));
        let outputs = self.session.step(now, input);
        if let (Some(recorder), Some(input)) = (&mut self.recorder, kept) {
            recorder.step::<Session>(&input, &outputs);
        }
        outputs
    }

    /// What was written before it is read before it, and what stands at once behind it then.
    pub(crate) async fn hooked(&mut self, event: String, payload: Map<String, Value>) {
        self.read().await;
        self.step(In::Hook { event, payload }).await;
        self.read().await;
    }

    pub(crate) async fn step(&mut self, input: In) {
        for output in self.hears(input) {
            self.carry_out(output).await;
        }
        if self.session.is_up() {
            self.late = None;
        }
    }

    async fn shown(&self) -> Result<String, String> {
        match &self.tmux {
            Some(tmux) => tmux.screen().await,
            None => Err(NO_TMUX.to_owned()),
        }
    }

    /// What is seen comes back as a step of its own.
    fn look(&mut self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let input = match self.shown().await {
                Ok(shown) => In::Screen(screen::read(&shown)),
                Err(why) => In::NotTyped(why),
            };
            self.step(input).await;
        })
    }

    async fn carry_out(&mut self, output: Out) {
        match output {
            Out::Report(report) => self.reporter.report(self.reporter.cleaned(report)).await,
            Out::Answer(op, OpResult::Failed(failure)) => self.reporter.fail(op, failure.kind, &failure.text).await,
            Out::Answer(op, result) => self.reporter.answer(op, result).await,
            // Its lines are with what was asked.
            Out::Monitor { op, .. } => self.say(op, Vec::new()).await,
            Out::Say { op, text } => self.say(op, vec![shown::words_monitored(op, &text)]).await,
            Out::Look => self.look().await,
            Out::Type(keys) => {
                let typed = match &self.tmux {
                    Some(tmux) => tmux.types(&keys).await,
                    None => Err(NO_TMUX.to_owned()),
                };
                if let Err(why) = typed {
                    Box::pin(self.step(In::NotTyped(why))).await;
                }
            }
            Out::Follow(conversation) => {
                if self.follower.as_ref().is_none_or(|follower| !follower.is_of(&conversation)) {
                    self.follower = Some(Follower::of(&self.home, &conversation));
                }
                self.catch_up().await;
            }
            Out::Terminate => self.quiet = true,
            Out::End { class, detail } => self.ending = Some((class, detail)),
            Out::Note { warns, text } => self.reporter.note(warns, &text),
        }
    }

    /// Of one that is taken up, even an empty transcript tells something.
    async fn catch_up(&mut self) {
        if self.session.is_up() {
            return;
        }
        let Some(mut follower) = self.follower.take() else { return };
        let read = tokio::task::spawn_blocking(move || {
            let entries = follower.read();
            (follower, entries)
        });
        if let Ok((follower, entries)) = read.await {
            self.follower = Some(follower);
            Box::pin(self.step(In::Read(entries))).await;
        }
    }

    async fn is_late(&mut self) {
        self.late = None;
        if self.session.is_up() || self.ending.is_some() {
            return;
        }
        let shown = self.shown().await.map(|shown| screen::last_words(&shown)).unwrap_or_default();
        let within = self.ready_within.as_secs_f64();
        let why = format!("Claude Code did not begin its session within {within} s; its screen shows: {shown}");
        self.ending = Some((ExitClass::StartTimeout, why));
    }

    /// How it ended, as tmux saw it, with the last that it said.
    async fn exited(&self) -> (ExitClass, String) {
        let seen = async {
            let Some(tmux) = &self.tmux else { return pending().await };
            loop {
                if let Some(dead) = tmux.dead().await {
                    return dead;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let Ok(dead) = tokio::time::timeout(SEEN_WITHIN, seen).await else {
            return (ExitClass::Crash, "it ended, and how is not known to its terminal".to_owned());
        };
        let (status, by_itself) = match dead {
            Dead::Code(code) => (ExitStatus::from_raw(code << 8), code != 143),
            Dead::Signal(signal) => (ExitStatus::from_raw(signal), false),
        };
        let (class, detail) = process::exit_class(status);
        let words = self.shown().await.map(|shown| screen::last_words(&shown)).unwrap_or_default();
        if by_itself && class != ExitClass::Clean && !words.is_empty() {
            return (class, format!("{detail}: {words}"));
        }
        (class, detail)
    }
}
