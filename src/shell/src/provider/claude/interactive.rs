//! Claude Code in the terminal of the person who started the runner. They have it for themselves: nothing is typed and nothing
//! is shown by the runner. Messages go to the monitor that Claude Code's plugin runs, and hooks tell what it does.

use super::Setting;
use super::launch::{self, Conversation};
use super::terminal::follow::Follower;
use super::terminal::generation::{Say, Talk, is_of};
use super::terminal::session::{In, OWN_HOOKS, Opening};
use crate::clock;
use crate::hooked::{Hook, Hooked};
use crate::input::Inputs;
use crate::monitor::Monitor;
use crate::provider::foreground::Foreground;
use crate::provider::held::{self, Held, NotHeld, Program};
use crate::provider::leftover;
use crate::provider::living::{self, Halt, Living, Told};
use crate::provider::{Adopt, Deed, Provider, Start, process};
use relay_runner_core::event::{ExitClass, FailureKind};
use relay_runner_core::{Generation, OpId, StopStep};
use std::pin::Pin;
use std::process::ExitStatus;

#[derive(Debug)]
pub(super) struct Interactive {
    setting: Setting,
    monitor: Monitor,
    hooked: Hooked,
    living: Living<Say>,
}

impl Interactive {
    pub(super) const fn new(setting: Setting, inputs: Inputs, monitor: Monitor, hooked: Hooked) -> Self {
        Self { setting, monitor, hooked, living: Living::new(inputs) }
    }
}

impl Provider for Interactive {
    fn start(&mut self, start: Start) {
        let (setting, monitor, hooked) = (self.setting.clone(), self.monitor.clone(), self.hooked.clone());
        let reporter = start.reporter.clone();
        self.living.begin(reporter, |told| Running { setting, monitor, hooked, start, told }.run());
    }

    /// It went with the runner that had its terminal.
    fn adopt(&mut self, Adopt { op, reporter, .. }: Adopt) {
        tokio::spawn(async move {
            reporter.fail(op, FailureKind::Unsupported, "it ran in a terminal, and went with its runner").await;
        });
    }

    fn act(&mut self, generation: Generation, op: OpId, deed: Deed) {
        self.living.say(generation, op, Say::of(op, deed));
    }

    fn stop(&mut self, generation: Generation, step: StopStep) {
        self.living.stop(generation, step);
    }

    fn end(self: Box<Self>, _leave_adoptable: bool) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.living.end(false)
    }
}

struct Running {
    setting: Setting,
    monitor: Monitor,
    hooked: Hooked,
    start: Start,
    told: Told<Say>,
}

/// What happens next.
enum Next {
    Exit(std::io::Result<Option<ExitStatus>>),
    Halt(Halt),
    Hook(Hook),
    Asked(Say),
    Due,
    Read,
}

impl Running {
    async fn run(self) {
        let (reporter, monitor) = (self.start.reporter.clone(), self.monitor.clone());
        // The terminal comes back when it is dropped.
        let over = monitor.over(reporter.generation());
        living::guarded(reporter.clone(), Box::pin(self.live()), over).await;
    }

    async fn live(self) {
        let Self { setting, monitor, hooked, start, told: Told { mut said, mut stops } } = self;
        let (reporter, op) = (start.reporter.clone(), start.op);
        let Begun { held, mut terminal, opening, follower } = match begun(start, &setting) {
            Ok(begun) => begun,
            Err((kind, why)) => return reporter.fail(op, kind, &why).await,
        };
        let Held { process, mut exit, mut group, session, .. } = held;
        let mut hooks = hooked.follow(session.as_deref().unwrap_or_default(), OWN_HOOKS);
        let pid = process.pid;
        living::spawned(&reporter, op, process, [&setting.runner_dir, &setting.state_dir]).await;

        let mut talk = Talk::new(&setting, opening, follower, reporter.clone(), None, monitor.clone());
        talk.step(In::Started).await;
        let status = loop {
            let (due, read) = (talk.due(), talk.reads());
            let next = tokio::select! {
                biased;
                status = &mut exit => Next::Exit(status),
                Some(halt) = stops.recv() => Next::Halt(halt),
                Some(hook) = hooks.recv() => Next::Hook(hook),
                Some(say) = said.recv() => Next::Asked(say),
                () = clock::until(due) => Next::Due,
                () = clock::until(read) => Next::Read,
                never = terminal.follow() => match never {},
            };
            match next {
                Next::Exit(status) => break status,
                Next::Halt(Halt::Step(StopStep::Ask)) => talk.step(In::Stopping).await,
                Next::Halt(Halt::Step(StopStep::Terminate)) => talk.quiet = true,
                Next::Halt(Halt::Step(StopStep::Kill) | Halt::Leave) => group.kill(),
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
            }
            if std::mem::take(&mut talk.quiet) {
                group.terminate();
                terminal.wake();
            }
        };
        // Whatever it left behind goes with it: each command has a session of its own.
        group.kill();
        group.release();
        if let Some(session) = &session {
            leftover::kill_rest(session, &setting.runner_dir);
        }
        let (class, detail) = exited(status);
        terminal.ended(class);
        drop(terminal);
        monitor.over(reporter.generation()).await;
        talk.step(In::Over).await;
        said.close();
        while let Some(say) = said.recv().await {
            talk.asked(say).await;
        }
        reporter.exit(class, &detail).await;
    }
}

/// A process that has the terminal, with what its session is begun with.
struct Begun {
    held: Held,
    terminal: Foreground,
    opening: Opening,
    follower: Follower,
}

fn begun(start: Start, setting: &Setting) -> Result<Begun, NotHeld> {
    let conversation = Conversation::of(start.resume.as_deref(), setting);
    let conversation = conversation.map_err(|error| (FailureKind::Io, error.to_string()))?;
    let argv = launch::argv(setting, &conversation);
    let env = launch::environment(start.env, setting.spec.way, &start.cwd);
    // Before it can write anything.
    let follower = Follower::at_end(&launch::home(setting), conversation.id());
    let (held, terminal) = held::in_front(Program { argv: &argv, env: &env, cwd: &start.cwd })?;
    let opening = Opening { conversation: conversation.id().to_owned(), typed: false, in_doubt: None, partly: false };
    Ok(Begun { held, terminal, opening, follower })
}

fn exited(status: std::io::Result<Option<ExitStatus>>) -> (ExitClass, String) {
    match status {
        Ok(Some(status)) => process::exit_class(status),
        Ok(None) => (ExitClass::Crash, "it ended".to_owned()),
        Err(error) => (ExitClass::Crash, format!("its exit could not be seen: {error}")),
    }
}
