//! Claude Code in the terminal of the person who started the runner. They have it for themselves: nothing is typed and nothing
//! is shown by the runner. Messages go to the monitor that Claude Code's plugin runs, and hooks tell what it does.

use super::Setting;
use super::launch::{self, Conversation};
use crate::hooked::{Hook, Hooked};
use crate::input::{Inputs, caught};
use crate::monitor::Monitor;
use crate::provider::command::monitored;
use crate::provider::foreground::Foreground;
use crate::provider::held::{self, Held, NotHeld, Program};
use crate::provider::leftover::{self, Noted};
use crate::provider::living::{self, Halt, Living, Told};
use crate::provider::reporter::Reporter;
use crate::provider::{Adopt, Deed, Provider, Start, process};
use relay_runner_core::event::{ExitClass, FailureKind};
use relay_runner_core::{Generation, OpId, OpResult, ProviderReport, StopStep, Text};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::pin::Pin;
use std::process::ExitStatus;
use tokio::sync::mpsc;

#[derive(Debug)]
pub(super) struct Interactive {
    setting: Setting,
    inputs: Inputs,
    monitor: Monitor,
    hooked: Hooked,
    running: Option<Living<Say>>,
}

/// Something that only the process's own task can answer.
#[derive(Debug)]
struct Say {
    op: OpId,
    why_not: &'static str,
}

impl Interactive {
    pub(super) const fn new(setting: Setting, inputs: Inputs, monitor: Monitor, hooked: Hooked) -> Self {
        Self { setting, inputs, monitor, hooked, running: None }
    }
}

impl Provider for Interactive {
    fn start(&mut self, start: Start) {
        let (setting, monitor, hooked) = (self.setting.clone(), self.monitor.clone(), self.hooked.clone());
        let (generation, reporter) = (start.generation, start.reporter.clone());
        let running = |told| Running { setting, monitor, hooked, start, told };
        self.running = Some(Living::begin(generation, reporter, &self.inputs, |told| running(told).run()));
    }

    /// It went with the runner that had its terminal.
    fn adopt(&mut self, Adopt { op, reporter, .. }: Adopt) {
        tokio::spawn(async move {
            reporter.fail(op, FailureKind::Unsupported, "it ran in a terminal, and went with its runner").await;
        });
    }

    fn act(&mut self, generation: Generation, op: OpId, deed: Deed) {
        let Some(living) = self.running.as_ref().filter(|living| living.generation == generation) else {
            return living::refuse(op, living::UNAVAILABLE, &self.inputs);
        };
        let why_not = match deed {
            Deed::Offer(offers) => {
                if self.monitor.offer(op, generation, monitored(&offers), living.reporter.clone()).is_err() {
                    living::refuse(op, "the monitor takes nothing any more", &self.inputs);
                }
                return;
            }
            Deed::Prompt(_) | Deed::Inject(_) | Deed::Tell { .. } => "nothing but messages goes through the monitor",
            Deed::Interrupt | Deed::Compact | Deed::Clear => "it has a person's terminal, in which nothing is typed",
            Deed::Probe => "only the person at its terminal can see it",
            Deed::Decide { .. } => "a permission is asked for by its hook, or at its terminal",
        };
        living.say(op, Say { op, why_not }, &self.inputs);
    }

    fn stop(&mut self, generation: Generation, step: StopStep) {
        if let Some(living) = self.running.as_ref().filter(|living| living.generation == generation) {
            living.halt(Halt::Step(step));
        }
    }

    fn end(mut self: Box<Self>, _leave_adoptable: bool) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let living = self.running.take();
        Box::pin(async move {
            if let Some(living) = living {
                living.end(false).await;
            }
        })
    }
}

struct Running {
    setting: Setting,
    monitor: Monitor,
    hooked: Hooked,
    start: Start,
    told: Told<Say>,
}

impl Running {
    async fn run(self) {
        let (reporter, monitor) = (self.start.reporter.clone(), self.monitor.clone());
        // A panic drops the terminal and the process group: the one comes back, the other is killed.
        if let Err(what) = caught(self.live()).await {
            reporter.inputs().fault(format!("the task of the provider panicked: {what}")).await;
            monitor.over(reporter.generation()).await;
            reporter.exit(ExitClass::Crash, "it was killed after a fault of the runner").await;
        }
    }

    async fn live(self) {
        let Self { setting, monitor, hooked, start, told: Told { mut said, mut stops } } = self;
        let (reporter, op) = (start.reporter.clone(), start.op);
        // Before it is started, so that none of its hooks is missed.
        let session = start.env.get(OsStr::new(held::SESSION)).cloned().unwrap_or_default();
        let mut hooks = hooked.follow(&session.to_string_lossy(), &[]);
        let (held, mut terminal) = match begun(start, &setting) {
            Ok(begun) => begun,
            Err((kind, why)) => return reporter.fail(op, kind, &why).await,
        };
        let Held { process, mut exit, mut group, session, .. } = held;
        let noted = Noted { process, runner_dir: setting.runner_dir.clone() };
        if let Err(error) = noted.write(&setting.state_dir) {
            tracing::warn!("a start without the journal will not know of the provider's process: {error}");
        }
        let mut talk = Talk { pid: noted.process.pid, reporter: reporter.clone(), is_ready: false };
        reporter.answer(op, OpResult::Spawned(noted.process)).await;

        let status = loop {
            tokio::select! {
                biased;
                status = &mut exit => break status,
                Some(halt) = stops.recv() => match halt {
                    // TERM is how it is asked: it ends in order, and says so by its hooks.
                    Halt::Step(StopStep::Ask | StopStep::Terminate) => {
                        group.terminate();
                        terminal.wake();
                    }
                    Halt::Step(StopStep::Kill) | Halt::Leave => group.kill(),
                },
                hook = next(&mut hooks) => talk.heard(&hook).await,
                Some(Say { op, why_not }) = said.recv() => {
                    reporter.fail(op, FailureKind::Unsupported, why_not).await;
                }
                never = terminal.follow() => match never {},
            }
        };
        // Whatever it left behind goes with it: it gives each command a session of its own.
        group.kill();
        group.release();
        if let Some(session) = &session {
            leftover::kill_rest(session, &setting.runner_dir);
        }
        let (class, detail) = exited(status);
        terminal.ended(class);
        drop(terminal);
        // Its last words.
        while let Ok(hook) = hooks.try_recv() {
            talk.heard(&hook).await;
        }
        said.close();
        while let Some(Say { op, .. }) = said.recv().await {
            reporter.fail(op, FailureKind::NotReady, "the provider has ended").await;
        }
        monitor.over(reporter.generation()).await;
        reporter.exit(class, &detail).await;
    }
}

fn begun(start: Start, setting: &Setting) -> Result<(Held, Foreground), NotHeld> {
    let conversation = Conversation::of(start.resume.as_deref(), setting);
    let conversation = conversation.map_err(|error| (FailureKind::Io, error.to_string()))?;
    let argv: Vec<OsString> = launch::argv(setting, &conversation);
    let env = launch::environment(start.env);
    held::in_front(Program { argv: &argv, env: &env, cwd: &start.cwd })
}

/// What its hooks mean to the run, besides what the core makes of them.
struct Talk {
    pid: u32,
    reporter: Reporter,
    is_ready: bool,
}

impl Talk {
    async fn heard(&mut self, Hook { event, payload }: &Hook) {
        let of_another = |pids: &Vec<Value>| !pids.iter().any(|pid| pid.as_u64() == Some(u64::from(self.pid)));
        // Of one that the agent has started itself, in the same environment.
        if event != "SessionStart" || payload.get("pids").and_then(Value::as_array).is_some_and(of_another) {
            return;
        }
        let text = |key: &str| payload.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(id) = text("session_id") {
            self.reporter.report(ProviderReport::Conversation { id: Text::from(self.reporter.text(id)) }).await;
        }
        if let Some(model) = text("model") {
            let model = Text::from(self.reporter.text(model));
            self.reporter.report(ProviderReport::Model { model, effort: None }).await;
        }
        if !std::mem::replace(&mut self.is_ready, true) {
            self.reporter.report(ProviderReport::Ready).await;
        }
    }
}

/// The queue is as long-lived as the run, unless another session is followed.
async fn next(hooks: &mut mpsc::Receiver<Hook>) -> Hook {
    match hooks.recv().await {
        Some(hook) => hook,
        None => std::future::pending().await,
    }
}

fn exited(status: std::io::Result<Option<ExitStatus>>) -> (ExitClass, String) {
    match status {
        Ok(Some(status)) => process::exit_class(status),
        Ok(None) => (ExitClass::Crash, "it ended".to_owned()),
        Err(error) => (ExitClass::Crash, format!("its exit could not be seen: {error}")),
    }
}
