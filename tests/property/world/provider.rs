//! The provider of the made-up world: a process that takes what it is handed, works in turns, and dies.

use std::collections::BTreeSet;

use relay_runner_core::event::{
    ExitClass, ExitReport, ProviderReport, ReportStatus, StatusReport, TakenOffer, TurnEnd,
};
use relay_runner_core::{Generation, MessageId, Offer, StopStep};
use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Process {
    pub(crate) generation: Generation,
    pub(crate) up: bool,
    pub(crate) busy: bool,
    /// How hard it was told to end.
    pub(crate) told: Option<StopStep>,
    /// Handed over and not taken yet.
    pub(crate) handed: Vec<TakenOffer>,
    /// Taken and waiting for a turn.
    pub(crate) waiting: BTreeSet<MessageId>,
    /// A runner hears what it says; not so while it waits for one to take it up.
    pub(crate) heard: bool,
    /// What that runner asked about.
    pub(crate) asked: Option<Vec<Offer>>,
    /// What it took, and the turn that has it or had it.
    had: Vec<(TakenOffer, Option<usize>)>,
    /// How each turn ended; none of the one that runs.
    turns: Vec<Option<TurnEnd>>,
}

impl Process {
    pub(crate) fn new(generation: Generation) -> Self {
        Self {
            generation,
            up: false,
            busy: false,
            told: None,
            handed: Vec::new(),
            waiting: BTreeSet::new(),
            heard: true,
            asked: None,
            had: Vec::new(),
            turns: Vec::new(),
        }
    }

    /// Its runner is gone.
    pub(crate) fn is_left(&mut self) {
        self.heard = false;
        self.asked = None;
    }

    /// What it says to a runner that takes it up, in the order in which it happened.
    pub(crate) fn is_taken_up(&mut self) -> Option<Vec<ProviderReport>> {
        let asked = self.asked.take()?;
        let is = |one: &Offer, had: &TakenOffer| had.message == one.message && had.nonce == Some(one.nonce);
        let known = |one: &Offer| self.had.iter().map(|(had, _)| had).chain(&self.handed).any(|had| is(one, had));
        let missed: Vec<_> = asked
            .iter()
            .filter(|one| !known(one))
            .map(|one| TakenOffer { message: one.message, nonce: Some(one.nonce) })
            .collect();
        let mut says = Vec::new();
        if !missed.is_empty() {
            says.push(ProviderReport::Missed { offers: missed });
        }
        for turn in (0..self.turns.len()).map(Some).chain([None]) {
            let of_turn = self.had.iter().filter(|(had, of)| *of == turn && asked.iter().any(|one| is(one, had)));
            let offers: Vec<_> = of_turn.map(|(had, _)| *had).collect();
            let end = turn.map(|turn| self.turns[turn].clone());
            let runs = end == Some(None);
            if !offers.is_empty() {
                says.push(ProviderReport::Taken { offers: offers.clone(), into_turn: false });
            }
            if turn.is_some() && !offers.is_empty() || runs {
                says.push(busy());
            }
            if let Some(Some(end)) = end
                && !offers.is_empty()
            {
                says.push(idle(end));
            }
        }
        says.push(ProviderReport::Ready);
        self.heard = true;
        self.up = true;
        Some(says)
    }

    /// Nothing is left that it would do by itself.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.up && !self.busy && self.told.is_none() && self.handed.is_empty() && self.waiting.is_empty()
    }

    fn is_killed(&self) -> bool {
        self.told == Some(StopStep::Kill)
    }

    pub(crate) fn is_handed(&mut self, offers: &[Offer]) {
        self.handed.extend(offers.iter().map(|offer| TakenOffer { message: offer.message, nonce: Some(offer.nonce) }));
    }

    pub(crate) fn comes_up(&mut self) -> Option<ProviderReport> {
        (!self.up && !self.is_killed()).then(|| {
            self.up = true;
            ProviderReport::Ready
        })
    }

    pub(crate) fn takes(&mut self, into_turn: bool) -> Option<ProviderReport> {
        if self.handed.is_empty() || self.is_killed() || (into_turn && !self.busy) {
            return None;
        }
        let offers = std::mem::take(&mut self.handed);
        let turn = into_turn.then(|| self.turns.len() - 1);
        self.had.extend(offers.iter().map(|offer| (*offer, turn)));
        if !into_turn {
            self.waiting.extend(offers.iter().map(|offer| offer.message));
        }
        Some(ProviderReport::Taken { offers, into_turn })
    }

    pub(crate) fn gets_busy(&mut self) -> Option<ProviderReport> {
        (self.up && !self.busy && !self.is_killed()).then(|| {
            self.busy = true;
            self.waiting.clear();
            let turn = self.turns.len();
            self.turns.push(None);
            self.had.iter_mut().for_each(|(_, of)| *of = of.or(Some(turn)));
            busy()
        })
    }

    pub(crate) fn gets_idle(&mut self, end: TurnEnd) -> Option<ProviderReport> {
        (self.busy && !self.is_killed()).then(|| {
            self.busy = false;
            if let Some(last) = self.turns.last_mut() {
                *last = Some(end.clone());
            }
            idle(end)
        })
    }
}

fn busy() -> ProviderReport {
    ProviderReport::Status(Box::new(StatusReport { status: ReportStatus::Busy, ..StatusReport::default() }))
}

fn idle(end: TurnEnd) -> ProviderReport {
    ProviderReport::Status(Box::new(StatusReport { end, ..StatusReport::default() }))
}

pub(crate) fn exit(class: ExitClass) -> ProviderReport {
    ProviderReport::Exit(ExitReport { class, detail: "made up".into() })
}
