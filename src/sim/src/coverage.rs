//! What a batch of runs has met: kinds of faults, classes of exits, hazards, and pairs of the machines' tables.

use std::collections::BTreeMap;

use relay_runner_core::event::ExitClass;
use relay_runner_core::{Core, Effects, Event};

use crate::plan::What;
use crate::process::Process;

/// How often each thing was met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    pub kinds: BTreeMap<String, u64>,
    pub exits: BTreeMap<&'static str, u64>,
    pub hazards: BTreeMap<&'static str, u64>,
    close: bool,
    pub runs: u64,
}

/// What was so before a step.
#[derive(Debug)]
pub(crate) struct Seen;

impl Seen {
    pub(crate) fn of(_core: &Core, _event: &Event, _process: Option<&Process>) -> Self {
        Self
    }
}

impl Coverage {
    pub(crate) const fn looks_close(&self) -> bool {
        self.close
    }

    /// Takes in what another batch has met.
    pub fn merge(&mut self, other: Self) {
        let Self { kinds, exits, hazards, close, runs } = other;
        add(&mut self.kinds, kinds);
        add(&mut self.exits, exits);
        add(&mut self.hazards, hazards);
        self.close |= close;
        self.runs += runs;
    }

    pub(crate) fn happened(&mut self, what: &What) {
        *self.kinds.entry(what.kind()).or_default() += 1;
    }

    pub(crate) fn exits(&mut self, class: ExitClass) {
        let name = match class {
            ExitClass::Clean => "clean",
            ExitClass::Crash => "crash",
            ExitClass::Signal => "signal",
            ExitClass::Hang => "hang",
            ExitClass::StartTimeout => "start time-out",
            ExitClass::SpawnFailed => "spawn failed",
            ExitClass::Refused => "refused",
            ExitClass::UsageLimit { .. } => "usage limit",
        };
        *self.exits.entry(name).or_default() += 1;
    }

    pub(crate) fn sees(&mut self, _before: &Seen, _core: &Core, _fx: &Effects) {}

    pub(crate) const fn ran(&mut self) {
        self.runs += 1;
    }
}

fn add<K: Ord>(to: &mut BTreeMap<K, u64>, from: BTreeMap<K, u64>) {
    for (name, times) in from {
        *to.entry(name).or_default() += times;
    }
}
