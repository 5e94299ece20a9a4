//! One that outlived its runner: what became of what it was handed, and what it does now. The transcript tells of all that happened,
//! and the screen whether its last turn still runs.

use super::{Pending, Phase, Session, TOGETHER, Turn};
use crate::provider::claude::terminal::screen::Screen;
use crate::provider::claude::terminal::transcript::{Entry, Failure};
use relay_runner_core::ProviderReport;
use relay_runner_core::event::{TakenOffer, TurnEnd};

#[derive(Debug)]
pub(super) struct Adopted {
    in_doubt: Vec<TakenOffer>,
    turns: Vec<Past>,
    /// Claude Code has them, and makes a prompt of them by itself.
    queued: Vec<TakenOffer>,
    /// Whether its last turn runs; none until the screen was seen.
    works: Option<bool>,
    read: bool,
    /// Until then something may still be on its way.
    until: Option<u64>,
}

/// A turn, as the transcript has it.
#[derive(Debug)]
struct Past {
    id: Option<String>,
    offers: Vec<TakenOffer>,
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    Normal,
    Interrupted,
    Failed(Failure),
}

impl Adopted {
    pub(super) const fn new(in_doubt: Vec<TakenOffer>) -> Self {
        Self { in_doubt, turns: Vec::new(), queued: Vec::new(), works: None, read: false, until: None }
    }

    pub(super) const fn until(&self) -> Option<u64> {
        self.until
    }

    pub(super) fn queued(&mut self, offers: &[TakenOffer]) {
        self.queued.extend(offers);
    }

    fn read(&mut self, entry: &Entry) {
        match entry {
            Entry::Prompt { turn, offers } => match self.turns.last_mut() {
                Some(last) if last.end.is_none() && turn.is_some() && last.id == *turn => last.offers.extend(offers),
                _ => self.turns.push(Past { id: turn.clone(), offers: offers.clone(), end: None }),
            },
            Entry::Queued { offers } => self.queued(offers),
            Entry::Spoke { .. } | Entry::Refused { .. } => {}
            Entry::Ended => self.ends(End::Normal),
            Entry::Interrupted { .. } => self.ends(End::Interrupted),
            Entry::Failed(failure) => self.ends(End::Failed(failure.clone())),
        }
    }

    fn ends(&mut self, end: End) {
        if let Some(last) = self.turns.last_mut() {
            last.end.get_or_insert(end);
        }
    }

    /// What nobody saw arrive.
    fn missing(&self) -> Vec<TakenOffer> {
        let seen =
            |offer: &TakenOffer| self.queued.contains(offer) || self.turns.iter().any(|t| t.offers.contains(offer));
        self.in_doubt.iter().filter(|offer| !seen(offer)).copied().collect()
    }
}

impl Session {
    /// All that the transcript had; more of it may come while the screen is looked at.
    pub(super) fn history(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            if let Some(adopted) = &mut self.adopted {
                adopted.read(&entry);
            }
            if let Entry::Spoke { model, effort, used, window } = entry {
                self.spoke(model, effort, used, window);
            }
        }
        let Some(adopted) = &mut self.adopted else { return };
        if !std::mem::replace(&mut adopted.read, true) {
            if self.opening.typed {
                self.look();
            } else {
                adopted.works = Some(false);
                self.may_be_caught_up();
            }
        }
    }

    pub(super) fn adopted_screen(&mut self, screen: Screen) {
        let Some(adopted) = &mut self.adopted else { return };
        // A dialog is one of a turn.
        adopted.works = Some(!matches!(screen, Screen::Input { works: false, .. }));
        self.may_be_caught_up();
    }

    fn may_be_caught_up(&mut self) {
        let Some(adopted) = &mut self.adopted else { return };
        if adopted.missing().is_empty() {
            self.caught_up();
        } else {
            // A line of the monitor may be under way.
            adopted.until = Some(self.now + TOGETHER);
        }
    }

    /// What is known now is all that will be.
    pub(super) fn caught_up(&mut self) {
        let Some(adopted) = self.adopted.take() else { return };
        let missing = adopted.missing();
        let is_waiting = |offer: &TakenOffer| {
            adopted.in_doubt.contains(offer) && !adopted.turns.iter().any(|turn| turn.offers.contains(offer))
        };
        let waiting: Vec<TakenOffer> = adopted.queued.iter().filter(|offer| is_waiting(offer)).copied().collect();
        let runs = adopted.works == Some(true);
        let last = adopted.turns.len().saturating_sub(1);
        for (at, Past { id, offers, end }) in adopted.turns.into_iter().enumerate() {
            let had: Vec<TakenOffer> = offers.into_iter().filter(|offer| adopted.in_doubt.contains(offer)).collect();
            let still_runs = at == last && end.is_none() && runs;
            if had.is_empty() && !still_runs {
                continue;
            }
            self.begin(id);
            if !had.is_empty() {
                self.report(ProviderReport::Taken { offers: had, into_turn: true });
            }
            match end {
                _ if still_runs => {}
                Some(End::Normal) => self.turn_over(TurnEnd::Normal),
                // Whoever interrupted it is not known.
                Some(End::Interrupted) => self.turn_over(TurnEnd::Interrupted { by_person: false }),
                Some(End::Failed(failure)) => {
                    self.failure = Some(failure);
                    self.turn_failed();
                }
                None => {
                    let error = "the turn is over, and nobody saw how it ended".into();
                    self.turn_over(TurnEnd::Failed { error });
                }
            }
            if self.phase == Phase::Done {
                return;
            }
        }
        if runs && self.turn.is_none() {
            // Of a prompt that the transcript does not have yet.
            self.turn = Some(Turn::default());
        }
        self.pending.extend(waiting.into_iter().map(|offer| Pending { offer, lost_at: None }));
        if !missing.is_empty() && !self.opening.partly {
            self.report(ProviderReport::Missed { offers: missing });
        }
        self.is_ready();
    }
}
