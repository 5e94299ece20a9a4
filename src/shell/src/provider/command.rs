//! Any program as a provider: JSON lines on its standard input and output, or, when it listens itself, over a socket
//! in the runner folder.
//!
//! One task per generation owns the process. It is reached through two queues: what is to be said (bounded: a program
//! that does not read must not hold up the loop), and the steps of stopping.

mod generation;
mod socket;
mod talk;
mod words;

use super::living::Living;
use super::{Adopt, Begin, Deed, Provider, Start, shown};
use crate::monitor::Monitor;
use crate::runner_dir::COMMAND_SOCKET;
use generation::Running;
use relay_runner_core::config::Adapter;
use relay_runner_core::{Generation, OpId, StopStep};
use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::Pin;

/// A program that speaks the command protocol.
#[derive(Debug, Clone)]
pub struct CommandSpec {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// The program listens on `AGENT_RELAY_COMMAND_SOCKET` instead of using its standard input and output.
    pub listen: bool,
    /// Messages go to whoever reads the runner's monitor (protocol 4) instead of to the program's input.
    pub monitor: bool,
    /// What the program can do.
    pub can: Adapter,
}

impl CommandSpec {
    /// With all that the command protocol has words for.
    pub fn new(argv: Vec<OsString>, listen: bool) -> Self {
        let can = Adapter {
            restartable: true,
            // Pipes go with the runner; and elsewhere nothing proves that a process is the same one.
            adoptable: listen && cfg!(target_os = "linux"),
            typed: false,
            evidence: true,
            steer: true,
            interrupt: true,
            compact: true,
            clear: true,
            inject: true,
            between_turns: false,
            attach: false,
            live: false,
        };
        Self { argv, listen, monitor: false, can }
    }
}

/// Something to be said to the program.
#[derive(Debug)]
struct Say {
    op: OpId,
    lines: String,
}

#[derive(Debug)]
pub(crate) struct Command {
    spec: CommandSpec,
    runner_dir: PathBuf,
    state_dir: PathBuf,
    monitor: Monitor,
    living: Living<Say>,
}

impl Command {
    pub(crate) fn new(
        spec: CommandSpec,
        runner_dir: PathBuf,
        state_dir: PathBuf,
        inputs: crate::input::Inputs,
        monitor: Monitor,
    ) -> Self {
        Self { spec, runner_dir, state_dir, monitor, living: Living::new(inputs) }
    }

    fn run(&mut self, begin: Begin) {
        let reporter = begin.reporter().clone();
        let running = |told| Running {
            monitor: self.monitor.clone(),
            spec: self.spec.clone(),
            runner_dir: self.runner_dir.clone(),
            socket: self.spec.listen.then(|| self.runner_dir.join(COMMAND_SOCKET)),
            state_dir: self.state_dir.clone(),
            begin,
            told,
        };
        self.living.begin(reporter, |told| running(told).run());
    }
}

impl Provider for Command {
    fn start(&mut self, start: Start) {
        self.run(Begin::Start(start));
    }

    fn adopt(&mut self, adopt: Adopt) {
        self.run(Begin::Adopt(adopt));
    }

    fn act(&mut self, generation: Generation, op: OpId, deed: Deed) {
        if let Deed::Offer(offers) = &deed
            && self.monitor.is_on()
            && let Some(reporter) = self.living.reporter(generation)
        {
            if self.monitor.offer(op, generation, shown::monitored(offers), reporter.clone()).is_err() {
                self.living.refuse(op, "the monitor takes nothing any more");
            }
            return;
        }
        self.living.say(generation, op, Say { op, lines: words::lines(&deed) });
    }

    fn stop(&mut self, generation: Generation, step: StopStep) {
        self.living.stop(generation, step);
    }

    fn end(self: Box<Self>, leave_adoptable: bool) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let leave = leave_adoptable && self.spec.can.adoptable;
        self.living.end(leave)
    }
}

#[cfg(test)]
mod tests;
