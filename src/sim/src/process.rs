//! A provider process: what it was told, what it has of that, and what it shows. What it really did is the truth that
//! the watch holds the runner against.

use relay_runner_core::event::{
    ContextConfidence, ContextReport, ContextSource, ProviderReport, ReportStatus, StatusReport, TakenOffer, TurnEnd,
};
use relay_runner_core::{Generation, MessageId, Offer, Repeat, StopStep, Text};

/// Numbers every process of a run.
pub(crate) type Uid = u64;

/// What a process does by itself, at its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    ComesUp,
    /// The beginning of what it was handed.
    Takes,
    Begins,
    /// The end of this turn.
    Ends(usize),
    /// A sign of life of this turn.
    Lives(usize),
    Exits,
    /// An agent of its own, and a compaction: which, and whether it begins.
    Side {
        compaction: bool,
        begins: bool,
    },
}

/// What it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Had {
    pub(crate) offer: TakenOffer,
    pub(crate) repeat: Repeat,
    /// The turn that has it, or had it; none: it waits for one.
    pub(crate) turn: Option<usize>,
    /// It showed so.
    pub(crate) shown: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) number: u64,
    pub(crate) end: Option<TurnEnd>,
    /// The end that it will have.
    pub(crate) will: TurnEnd,
    /// It asks for a decision before it can end.
    pub(crate) asks: Option<Text>,
    /// Its beginning was told.
    pub(crate) told: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) uid: Uid,
    pub(crate) generation: Generation,
    pub(crate) alive: bool,
    /// It takes messages.
    pub(crate) up: bool,
    /// A runner hears what it says.
    pub(crate) heard: bool,
    pub(crate) told: Option<StopStep>,
    /// It does not end when it is asked to, nor on TERM where `stubborn` says so.
    pub(crate) ignores: Option<bool>,
    /// How late its exit shows.
    pub(crate) exit_late: u64,
    /// Handed over, and not taken yet.
    pub(crate) handed: Vec<(TakenOffer, Repeat)>,
    pub(crate) had: Vec<Had>,
    pub(crate) turns: Vec<Turn>,
    /// Which of them runs.
    pub(crate) running: Option<usize>,
    /// A beginning is on its way.
    pub(crate) begins: bool,
    /// The question that waits for its answer, and whether a hook asked it.
    pub(crate) asking: Option<(Text, bool)>,
    /// It will ask in its next turn: by a hook, or by the adapter.
    pub(crate) will_ask: Option<bool>,
    /// What it says arrives in this order.
    pub(crate) said: u64,
    /// The provider session, as its hooks name it.
    pub(crate) session: Text,
    /// Its own conversation.
    pub(crate) conversation: Text,
    /// How often it began another.
    cleared: u64,
    /// A prompt waits for its turn.
    pub(crate) prompted: bool,
    /// What it shows of taking is never seen.
    pub(crate) silent: bool,
    /// Turns begin late or never after something was taken.
    pub(crate) turnless: bool,
}

impl Process {
    /// It goes on with this conversation, if that can be found again.
    pub(crate) fn new(uid: Uid, generation: Generation, session: Text, resume: Option<Text>) -> Self {
        let resume = resume.filter(|_| !uid.is_multiple_of(5));
        Self {
            uid,
            generation,
            alive: true,
            up: false,
            heard: true,
            told: None,
            ignores: None,
            exit_late: 0,
            handed: Vec::new(),
            had: Vec::new(),
            turns: Vec::new(),
            running: None,
            begins: false,
            asking: None,
            will_ask: None,
            said: 0,
            session,
            conversation: resume.unwrap_or_else(|| format!("thread-{uid}").into()),
            cleared: 0,
            prompted: false,
            silent: false,
            turnless: false,
        }
    }

    /// What it says of its conversation.
    pub(crate) fn names_its_conversation(&self) -> ProviderReport {
        ProviderReport::Conversation { id: self.conversation.clone() }
    }

    pub(crate) fn begins_another_conversation(&mut self) -> ProviderReport {
        self.cleared += 1;
        self.conversation = format!("thread-{}-{}", self.uid, self.cleared).into();
        self.names_its_conversation()
    }

    /// How full its context is: fuller with each turn, until it is compacted.
    pub(crate) fn measures_its_context(&self) -> ProviderReport {
        let used = 10_000 * (self.turns.len() as u64 % 30);
        let (source, confidence) = (ContextSource::Api, ContextConfidence::Reported);
        ProviderReport::Context(ContextReport { used, window: 200_000, source, confidence })
    }

    pub(crate) fn pid(&self) -> u32 {
        u32::try_from(self.uid + 100).unwrap_or(u32::MAX)
    }

    /// Its runner is gone. What was on its way into the adapter is lost with it.
    pub(crate) fn is_left(&mut self) {
        self.heard = false;
    }

    /// It was handed over, and not taken yet.
    pub(crate) fn handed(&self, message: MessageId) -> bool {
        self.handed.iter().any(|(offer, _)| offer.message == message)
    }

    /// An offer without a nonce is any of its message.
    pub(crate) fn took(&self, offer: &TakenOffer) -> bool {
        let is = |had: &Had| had.offer.message == offer.message && (offer.nonce.is_none() || had.offer == *offer);
        self.had.iter().any(is)
    }

    /// What was handed over becomes its own, in the turn that runs or the next.
    pub(crate) fn takes(&mut self) -> Vec<TakenOffer> {
        let handed = std::mem::take(&mut self.handed);
        let (turn, shown) = (self.running, !self.silent);
        let taken = handed.iter().map(|(offer, repeat)| Had { offer: *offer, repeat: *repeat, turn, shown });
        self.had.extend(taken);
        handed.into_iter().map(|(offer, _)| offer).collect()
    }

    pub(crate) fn begins_a_turn(&mut self, number: u64, will: TurnEnd) -> usize {
        let turn = self.turns.len();
        self.turns.push(Turn { number, end: None, will, asks: None, told: true });
        self.running = Some(turn);
        self.begins = false;
        self.prompted = false;
        for had in self.had.iter_mut().filter(|had| had.turn.is_none()) {
            had.turn = Some(turn);
        }
        turn
    }

    pub(crate) fn ends_the_turn(&mut self, end: TurnEnd) -> Option<usize> {
        let turn = self.running.take()?;
        self.turns[turn].end = Some(end);
        self.asking = None;
        Some(turn)
    }

    /// It is in the turn that runs, or waits for one.
    pub(crate) fn works_on(&self, message: MessageId) -> bool {
        let last = self.had.iter().rev().find(|had| had.offer.message == message);
        last.is_some_and(|had| had.turn.is_none() || had.turn == self.running)
    }

    pub(crate) fn has(&self, message: MessageId) -> bool {
        self.had.iter().any(|had| had.offer.message == message)
    }

    /// What it says to a runner that takes it up and asks about these, in the order in which it happened.
    pub(crate) fn is_taken_up(&mut self, asked: &[Offer], names: bool) -> Vec<ProviderReport> {
        let is = |one: &Offer, had: &TakenOffer| had.message == one.message && had.nonce == Some(one.nonce);
        let known = |one: &Offer| {
            self.had.iter().map(|had| &had.offer).chain(self.handed.iter().map(|(offer, _)| offer)).any(|o| is(one, o))
        };
        let missed: Vec<_> = asked
            .iter()
            .filter(|one| !known(one))
            .map(|one| TakenOffer { message: one.message, nonce: Some(one.nonce) })
            .collect();
        let mut says = vec![self.names_its_conversation()];
        if !missed.is_empty() {
            says.push(ProviderReport::Missed { offers: missed });
        }
        for turn in (0..self.turns.len()).map(Some).chain([None]) {
            let of_turn = self.had.iter().filter(|had| had.turn == turn && asked.iter().any(|one| is(one, &had.offer)));
            let offers: Vec<_> = of_turn.map(|had| had.offer).collect();
            let runs = turn.is_some() && turn == self.running;
            if !offers.is_empty() {
                says.push(ProviderReport::Taken { offers: offers.clone(), into_turn: false });
            }
            let Some(turn) = turn else { continue };
            let name = names.then(|| turn_name(self.turns[turn].number));
            if !offers.is_empty() || runs {
                says.push(busy(name.clone()));
            }
            if let Some(end) = self.turns[turn].end.clone()
                && !offers.is_empty()
            {
                says.push(idle(name, end));
            }
        }
        if let Some((id, false)) = &self.asking {
            says.push(asks(id));
        }
        says.push(ProviderReport::Ready);
        self.heard = true;
        self.up = true;
        says
    }

    /// Nothing is left that it would do by itself.
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.alive
            || (self.up
                && self.running.is_none()
                && !self.begins
                && self.told.is_none()
                && self.handed.is_empty()
                && !self.had.iter().any(|had| had.turn.is_none()))
    }
}

pub(crate) fn turn_name(number: u64) -> Text {
    format!("t{number}").into()
}

pub(crate) fn busy(name: Option<Text>) -> ProviderReport {
    let report = StatusReport { status: ReportStatus::Busy, id: name, ..StatusReport::default() };
    ProviderReport::Status(Box::new(report))
}

pub(crate) fn idle(name: Option<Text>, end: TurnEnd) -> ProviderReport {
    ProviderReport::Status(Box::new(StatusReport { id: name, end, ..StatusReport::default() }))
}

pub(crate) fn asks(id: &Text) -> ProviderReport {
    let request = relay_runner_core::event::ApprovalRequest {
        id: id.clone(),
        kind: "shell".into(),
        tool: Some("rm".into()),
        reason: None,
    };
    ProviderReport::ApprovalOpened(Box::new(request))
}
