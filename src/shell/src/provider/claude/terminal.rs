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
use crate::provider::living::{self, Halt, Living};
use crate::provider::{Adopt, Deed, Provider, Start, shown};
use crate::runner_dir::TMUX_SOCKET;
use generation::{Begin, Running, Say};
use relay_runner_core::event::TakenOffer;
use relay_runner_core::{Generation, Offer, OpId, StopStep, format};
use session::Ask;
use std::pin::Pin;

pub(crate) use tmux::SESSION;

#[derive(Debug)]
pub(crate) struct Terminal {
    setting: Setting,
    inputs: Inputs,
    monitor: Monitor,
    hooked: Hooked,
    running: Option<Living<Say>>,
}

impl Terminal {
    pub(super) const fn new(setting: Setting, inputs: Inputs, monitor: Monitor, hooked: Hooked) -> Self {
        Self { setting, inputs, monitor, hooked, running: None }
    }

    fn run(&mut self, generation: Generation, begin: Begin) {
        let reporter = begin.reporter().clone();
        let (setting, monitor, hooked) = (self.setting.clone(), self.monitor.clone(), self.hooked.clone());
        let running = |told| Running { setting, begin, monitor, hooked, told };
        self.running = Some(Living::begin(generation, reporter, &self.inputs, |told| running(told).run()));
    }
}

impl Provider for Terminal {
    fn start(&mut self, start: Start) {
        self.run(start.generation, Begin::Start(start));
    }

    fn adopt(&mut self, adopt: Adopt) {
        self.run(adopt.generation, Begin::Adopt(adopt));
    }

    fn act(&mut self, generation: Generation, op: OpId, deed: Deed) {
        match self.running.as_ref().filter(|living| living.generation == generation) {
            Some(living) => {
                living.say(op, Say::of(op, deed), &self.inputs);
            }
            None => living::refuse(op, living::UNAVAILABLE, &self.inputs),
        }
    }

    fn stop(&mut self, generation: Generation, step: StopStep) {
        if let Some(living) = self.running.as_ref().filter(|living| living.generation == generation) {
            living.halt(Halt::Step(step));
        }
    }

    fn terminal(&self, _conversation: Option<&str>) -> Option<terminal::Terminal> {
        self.running.as_ref()?;
        let program = self.setting.spec.tmux.as_ref()?.to_string_lossy().into_owned();
        let socket = self.setting.runner_dir.join(TMUX_SOCKET).to_string_lossy().into_owned();
        Some(terminal::Terminal::tmux(program, Some(socket), SESSION.to_owned()))
    }

    fn end(mut self: Box<Self>, leave_adoptable: bool) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (living, leave) = (self.running.take(), leave_adoptable && self.setting.spec.way.adapter().adoptable);
        Box::pin(async move {
            if let Some(living) = living {
                living.end(leave).await;
            }
        })
    }
}

/// A deed in the session's terms, and as lines of the monitor.
fn ask(deed: Deed) -> (Ask, Vec<Line>) {
    let ask = match deed {
        Deed::Offer(handed) => {
            let (text, lines) = (shown::batch(&handed), shown::monitored(&handed));
            return (Ask::Offer { offers: offers(handed.iter().map(|handed| &handed.offer)), text }, lines);
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

fn offers<'a>(offers: impl Iterator<Item = &'a Offer>) -> Vec<TakenOffer> {
    offers.map(|offer| TakenOffer { message: offer.message, nonce: Some(offer.nonce) }).collect()
}
