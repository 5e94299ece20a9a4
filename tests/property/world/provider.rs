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
}

impl Process {
    pub(crate) fn new(generation: Generation) -> Self {
        Self { generation, up: false, busy: false, told: None, handed: Vec::new(), waiting: BTreeSet::new() }
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
        if !into_turn {
            self.waiting.extend(offers.iter().map(|offer| offer.message));
        }
        Some(ProviderReport::Taken { offers, into_turn })
    }

    pub(crate) fn gets_busy(&mut self) -> Option<ProviderReport> {
        (self.up && !self.busy && !self.is_killed()).then(|| {
            self.busy = true;
            self.waiting.clear();
            ProviderReport::Status(Box::new(StatusReport { status: ReportStatus::Busy, ..StatusReport::default() }))
        })
    }

    pub(crate) fn gets_idle(&mut self, end: TurnEnd) -> Option<ProviderReport> {
        (self.busy && !self.is_killed()).then(|| {
            self.busy = false;
            ProviderReport::Status(Box::new(StatusReport { end, ..StatusReport::default() }))
        })
    }
}

pub(crate) fn exit(class: ExitClass) -> ProviderReport {
    ProviderReport::Exit(ExitReport { class, detail: "made up".into() })
}
