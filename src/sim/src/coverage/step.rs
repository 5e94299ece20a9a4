//! One step of a core that is looked at closely: what it heard, what was due, and what became of both.

mod heard;

use relay_runner_core::event::{BusFrame, CommandOrder, Event, FailureKind, OpResult, Order};
use relay_runner_core::{Act, Call, Core, Effect, Effects, Note, Offer, OpId, ProviderReport, Stamp, TimerKey};

use super::books::{Asked, Books};
use super::look::Look;

/// The answer to something that was asked for, or that there is none.
#[derive(Debug)]
pub(super) struct Answered<'a> {
    pub(super) op: OpId,
    pub(super) asked: &'a Asked,
    /// None: its deadline has passed.
    pub(super) result: Option<&'a OpResult>,
}

impl Answered<'_> {
    pub(super) fn failure(&self) -> Option<FailureKind> {
        match self.result {
            None => Some(FailureKind::TimedOut),
            Some(OpResult::Failed(failure)) => Some(failure.kind),
            Some(_) => None,
        }
    }

    pub(super) fn call(&self) -> Option<&Call> {
        if let Effect::Http { call, .. } = &self.asked.effect { Some(call) } else { None }
    }

    /// Whether something of the same kind was asked after it: then it is about nothing that stands here.
    pub(super) fn is_followed(&self, books: &Books) -> bool {
        let same = |effect: &Effect| match (self.call(), effect) {
            (Some(Call::Claim { message }), Effect::Http { call: Call::Claim { message: other }, .. })
            | (Some(Call::Renew { message, .. }), Effect::Http { call: Call::Renew { message: other, .. }, .. }) => {
                message == other
            }
            _ => false,
        };
        books.asked.range(self.op..).skip(1).any(|(_, asked)| same(&asked.effect))
    }

    pub(super) fn act(&self) -> Option<&Act> {
        if let Effect::Provider { act, .. } = &self.asked.effect { Some(act) } else { None }
    }

    pub(super) fn offers(&self) -> &[Offer] {
        if let Some(Act::Offer { offers }) = self.act() { offers } else { &[] }
    }
}

/// A command as it was heard.
#[derive(Debug)]
pub(super) struct Ordered<'a> {
    pub(super) order: &'a CommandOrder,
    /// It came from this machine.
    pub(super) here: bool,
    /// Its id was heard before.
    pub(super) known: bool,
}

impl Ordered<'_> {
    pub(super) fn is(&self, name: &str) -> bool {
        !self.known && &*self.order.name == name
    }

    pub(super) fn is_adapters(&self) -> bool {
        ["agent.compact", "agent.clearContext", "agent.injectContext"].into_iter().any(|name| self.is(name))
    }
}

#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) at: Stamp,
    pub(super) event: &'a Event,
    pub(super) before: &'a Look,
    pub(super) after: &'a Look,
    pub(super) fx: &'a Effects,
    pub(super) core: &'a Core,
    pub(super) books: &'a Books,
    /// The process really lives.
    pub(super) lives: bool,
    pub(super) due: Vec<TimerKey>,
    /// What was due, and an event besides: which of both changed something cannot be told.
    pub(super) mixed: bool,
    pub(super) jumped: bool,
    /// Answers that the core waited for.
    pub(super) answers: Vec<Answered<'a>>,
    /// Those that it did not wait for any more.
    pub(super) late: Vec<Answered<'a>>,
    pub(super) order: Option<Ordered<'a>>,
    /// The living process is over, or could not be started.
    pub(super) exits: bool,
    pub(super) comes_up: bool,
    pub(super) began: bool,
    /// How a turn ended.
    pub(super) ended: Option<&'static str>,
    /// The turn that runs could not be confirmed.
    pub(super) doubted: bool,
    pub(super) another_relay: bool,
    /// The agent parks, gives up or ends, and gives back its claims.
    pub(super) gives_back: bool,
}

impl<'a> Step<'a> {
    pub(super) fn new(
        (at, event): (Stamp, &'a Event),
        (before, after): (&'a Look, &'a Look),
        fx: &'a Effects,
        core: &'a Core,
        books: &'a Books,
        lives: bool,
    ) -> Self {
        let mut step = Self {
            at,
            event,
            before,
            after,
            fx,
            core,
            books,
            lives,
            due: Vec::new(),
            mixed: false,
            jumped: false,
            answers: Vec::new(),
            late: Vec::new(),
            order: None,
            exits: false,
            comes_up: false,
            began: false,
            ended: None,
            doubted: false,
            another_relay: false,
            gives_back: false,
        };
        step.jumped = fx.notes.iter().any(|note| matches!(note, Note::ClockJump { .. }));
        step.due = before.deadlines.iter().filter(|(due, _)| *due <= at.mono).map(|(_, what)| *what).collect();
        if step.jumped {
            step.due.extend([TimerKey::Claims, TimerKey::Tick]);
        }
        let harmless = [TimerKey::Heartbeat, TimerKey::Liveness, TimerKey::StatusAck];
        step.mixed = *event != Event::Wake && step.due.iter().any(|key| !harmless.contains(key));
        step.reads_answers();
        step.reads_notes();
        step.order = step.ordered();
        let spawn_failed = step.answers.iter().any(|answer| {
            let spawn = matches!(answer.asked.effect, Effect::Spawn { .. } | Effect::Adopt { .. });
            spawn && answer.result.is_some() && answer.failure().is_some_and(|kind| kind != FailureKind::TimedOut)
        });
        step.exits = spawn_failed || matches!(step.report(), Some(ProviderReport::Exit(_)));
        step.comes_up = before.is_starting() && matches!(step.report(), Some(ProviderReport::Ready));
        let parks = before.is_alive() && after.process == "parked";
        let ends = matches!(before.ending, "none" | "draining" | "stopping")
            && matches!(after.ending, "reporting" | "leaving" | "over")
            && after.why != Some("step aside");
        // Who was to step aside, and left its process, ends for good after all.
        let instead = before.why == Some("step aside")
            && after.why != before.why
            && matches!(before.ending, "reporting" | "leaving")
            && after.ending != "stopping";
        step.gives_back = parks || ends || instead;
        step
    }

    fn reads_answers(&mut self) {
        let books = self.books;
        let answered = |op: OpId, result| books.asked.get(&op).map(|asked| Answered { op, asked, result });
        if let Event::Done(op, result) = self.event
            && let Some(answer) = answered(*op, Some(result))
        {
            if answer.asked.open { &mut self.answers } else { &mut self.late }.push(answer);
        }
        for note in &self.fx.notes {
            if let Note::TimedOut { op, .. } = note {
                self.answers.extend(answered(*op, None));
            }
        }
    }

    fn reads_notes(&mut self) {
        for note in &self.fx.notes {
            match note {
                Note::TurnBegan { .. } => self.began = true,
                Note::TurnEnded { how, .. } => self.ended = Some(how),
                Note::OtherRelay => self.another_relay = true,
                _ => {}
            }
        }
        let probed = |answer: &Answered<'_>| matches!(answer.act(), Some(Act::Probe)) && answer.failure().is_some();
        self.doubted = self.answers.iter().any(probed) && self.before.turn.is_some() && !self.books.unverified;
    }

    fn ordered(&self) -> Option<Ordered<'a>> {
        match self.event {
            Event::Bus(..) => {
                let BusFrame::Command { command, .. } = self.frame()? else { return None };
                let us = &self.core.config().identity;
                let ours = command.target.as_ref().is_none_or(|to| *to == us.agent_id || *to == us.runner_id);
                let known = self.books.heard.contains_key(&command.id);
                let leaves = matches!(self.before.ending, "leaving" | "over");
                (ours && !leaves).then_some(Ordered { order: command, here: false, known })
            }
            Event::Order(Order::Command { command, .. }) => Some(Ordered { order: command, here: true, known: false }),
            _ => None,
        }
    }
}
