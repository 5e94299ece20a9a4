//! Claude Code in a terminal that the runner keeps: a tmux server of its own, which outlives the runner.
//!
//! [`session`] decides what is reported and typed, without any I/O; [`generation`] owns the process and the terminal.

pub(super) mod follow;
pub(super) mod generation;
pub mod record;
mod screen;
pub(super) mod session;
mod tmux;
mod transcript;

use super::Setting;
use crate::control::terminal;
use crate::hooked::Hooked;
use crate::input::Inputs;
use crate::monitor::{Line, Monitor};
use crate::provider::living::Living;
use crate::provider::{Adopt, Begin, Deed, Provider, Start, shown};
use crate::runner_dir::TMUX_SOCKET;
use generation::{Running, Say};
use relay_runner_core::{Generation, OpId, StopStep, format};
use session::Ask;
use std::pin::Pin;

pub(crate) use tmux::SESSION;

#[derive(Debug)]
pub(crate) struct Terminal {
    setting: Setting,
    monitor: Monitor,
    hooked: Hooked,
    living: Living<Say>,
}

impl Terminal {
    pub(super) const fn new(setting: Setting, inputs: Inputs, monitor: Monitor, hooked: Hooked) -> Self {
        Self { setting, monitor, hooked, living: Living::new(inputs) }
    }

    fn run(&mut self, begin: Begin) {
        let reporter = begin.reporter().clone();
        let (setting, monitor, hooked) = (self.setting.clone(), self.monitor.clone(), self.hooked.clone());
        self.living.begin(reporter, |told| Running { setting, begin, monitor, hooked, told }.run());
    }
}

impl Provider for Terminal {
    fn start(&mut self, start: Start) {
        self.run(Begin::Start(start));
    }

    fn adopt(&mut self, adopt: Adopt) {
        self.run(Begin::Adopt(adopt));
    }

    fn act(&mut self, generation: Generation, op: OpId, deed: Deed) {
        self.living.say(generation, op, Say::of(op, deed));
    }

    fn stop(&mut self, generation: Generation, step: StopStep) {
        self.living.stop(generation, step);
    }

    fn terminal(&self, _conversation: Option<&str>) -> Option<terminal::Terminal> {
        self.living.is_begun().then_some(())?;
        let program = self.setting.spec.tmux.as_ref()?.to_string_lossy().into_owned();
        let socket = self.setting.runner_dir.join(TMUX_SOCKET).to_string_lossy().into_owned();
        Some(terminal::Terminal::tmux(program, Some(socket), SESSION.to_owned()))
    }

    fn end(self: Box<Self>, leave_adoptable: bool) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let leave = leave_adoptable && self.setting.spec.way.adapter().adoptable;
        self.living.end(leave)
    }
}

/// A deed in the session's terms, and as lines of the monitor.
fn ask(deed: Deed) -> (Ask, Vec<Line>) {
    let ask = match deed {
        Deed::Offer(handed) => {
            let (text, lines) = (shown::batch(&handed), shown::monitored(&handed));
            return (Ask::Offer { offers: shown::named(handed.iter().map(|handed| &handed.offer)), text }, lines);
        }
        Deed::Prompt(text) => Ask::Prompt { text: text.to_string() },
        Deed::Inject(text) => Ask::Tell { text: text.to_string() },
        Deed::Tell { message, why } => Ask::Tell { text: format::withdrawn(message, &why) },
        Deed::Interrupt => Ask::Interrupt,
        Deed::Probe => Ask::Probe,
        Deed::Compact => Ask::Compact,
        Deed::Clear => Ask::Clear,
        Deed::Decide { .. } => Ask::Decide,
    };
    (ask, Vec::new())
}

impl Say {
    pub(super) fn of(op: OpId, deed: Deed) -> Self {
        let (ask, lines) = ask(deed);
        Self { op, ask, lines }
    }
}
