//! One step of a core that is looked at closely: what it heard, what was due, and what became of both.

use relay_runner_core::event::{
    BusFrame, CommandOrder, Event, FailureKind, LinkReport, OpResult, Order, ReportStatus, Signal, StatusReport,
};
use relay_runner_core::config::Mode;
use relay_runner_core::{
    Act, Answer, Call, Core, Effect, Effects, MessageId, Note, Offer, OpId, ProviderReport, Stamp, TimerKey,
};
use relay_runner_core::event::RelayEvent;

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
        step.gives_back = parks || ends;
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
        let probed = |answer: &Answered<'_>| {
            matches!(answer.act(), Some(Act::Probe)) && answer.failure().is_some()
        };
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

    /// A frame of the connection that is used.
    pub(super) fn frame(&self) -> Option<&'a BusFrame> {
        match self.event {
            Event::Bus(conn, frame)
                if *conn == self.books.conn && matches!(self.before.link, "registering" | "up") =>
            {
                Some(frame)
            }
            _ => None,
        }
    }

    /// An event of the relay that was not heard before.
    pub(super) fn relay_event(&self) -> Option<&'a RelayEvent> {
        match self.frame()? {
            BusFrame::Event { seq, event, .. } if *seq > self.before.position => Some(event),
            _ => None,
        }
    }

    pub(super) fn registered(&self) -> bool {
        matches!(self.frame(), Some(BusFrame::Registered { .. }))
    }

    /// A report of the connection that is used.
    pub(super) fn link_report(&self) -> Option<&'a LinkReport> {
        match self.event {
            Event::Link(conn, report)
                if *conn == self.books.conn && matches!(self.before.link, "connecting" | "registering" | "up") =>
            {
                Some(report)
            }
            _ => None,
        }
    }

    /// A report of the living process.
    pub(super) fn report(&self) -> Option<&'a ProviderReport> {
        match self.event {
            Event::Provider(generation, report)
                if *generation == self.before.generation && self.before.is_alive() =>
            {
                Some(report)
            }
            _ => None,
        }
    }

    /// What the living process does, as its adapter or a hook says.
    pub(super) fn status(&self) -> Option<&'a StatusReport> {
        match self.event {
            Event::Provider(..) => match self.report()? {
                ProviderReport::Status(report) => Some(report),
                _ => None,
            },
            Event::Order(Order::Report { report, .. }) => (!self.is_stale()).then_some(&**report),
            _ => None,
        }
    }

    /// A status of the turn itself.
    pub(super) fn turn_report(&self, status: ReportStatus) -> Option<&'a StatusReport> {
        self.status().filter(|report| report.status == status && report.reason.is_none())
    }

    /// A hook that was refused, as of another session.
    pub(super) fn is_stale(&self) -> bool {
        self.fx.effects.iter().any(|effect| matches!(effect, Effect::Answer { answer: Answer::Stale, .. }))
    }

    /// Something that shows that a turn lives, and nothing else.
    pub(super) fn shows_life(&self) -> bool {
        let probed = |answer: &Answered<'_>| {
            matches!(answer.act(), Some(Act::Probe)) && answer.failure().is_none()
        };
        let reported = matches!(
            self.report(),
            Some(ProviderReport::SignOfLife | ProviderReport::Status(_) | ProviderReport::Taken { .. })
        );
        reported || self.status().is_some() || self.answers.iter().any(probed)
    }

    pub(super) fn is_due(&self, key: TimerKey) -> bool {
        self.due.contains(&key)
    }

    pub(super) fn orders(&self, name: &str) -> bool {
        self.order.as_ref().is_some_and(|ordered| ordered.is(name))
    }

    pub(super) fn acts(&self) -> impl Iterator<Item = (OpId, &'a Act)> {
        self.fx.effects.iter().filter_map(|effect| match effect {
            Effect::Provider { op, act, .. } => Some((*op, act)),
            _ => None,
        })
    }

    pub(super) fn calls(&self) -> impl Iterator<Item = (OpId, OpId, &'a Call)> {
        self.fx.effects.iter().filter_map(|effect| match effect {
            Effect::Http { op, key, call, .. } => Some((*op, *key, call)),
            _ => None,
        })
    }

    /// Messages that are offered in this step.
    pub(super) fn offered(&self) -> impl Iterator<Item = MessageId> {
        let offers = self.acts().filter_map(|(_, act)| if let Act::Offer { offers } = act { Some(offers) } else { None });
        offers.flat_map(|offers| offers.iter().map(|offer| offer.message))
    }

    pub(super) fn notes(&self, test: impl Fn(&Note) -> bool) -> bool {
        self.fx.notes.iter().any(test)
    }

    pub(super) fn uses_another_token(&self) -> bool {
        self.fx.effects.iter().any(|effect| matches!(effect, Effect::UseToken { .. }))
    }

    /// What a signal asks for, as the mode has it: `term`, `quit` or `step aside`.
    pub(super) fn signal(&self) -> Option<&'static str> {
        let Event::Order(Order::Signal(signal)) = self.event else { return None };
        let interactive = self.core.config().mode == Mode::Interactive;
        match signal {
            Signal::Term | Signal::Int => Some("term"),
            Signal::Hup if interactive => Some("term"),
            Signal::Hup => None,
            Signal::Quit => Some("quit"),
            Signal::Usr2 => Some("step aside"),
        }
    }

    /// Whoever asks for the end asks for it at once.
    pub(super) fn is_hard(&self) -> bool {
        let signal = self.signal();
        signal == Some("quit") || (signal == Some("term") && self.before.ends()) || self.orders("agent.kill")
    }

    /// A newer instance holds the agent.
    pub(super) fn superseded(&self) -> bool {
        let frame = matches!(
            self.frame(),
            Some(BusFrame::Error { code: relay_runner_protocol::ErrorCode::Superseded, .. })
        );
        frame || self.answers.iter().any(|answer| answer.failure() == Some(FailureKind::Superseded))
    }

    /// The relay refuses what was asked, or connected, with the credential in force; or with an older one.
    pub(super) fn refusals(&self) -> impl Iterator<Item = bool> {
        let calls = self.answers.iter().filter_map(|answer| {
            let refused = answer.failure() == Some(FailureKind::Unauthorized);
            let call = answer.call().is_some_and(|call| !matches!(call, Call::RenewToken { .. }));
            (refused && call).then_some(answer.asked.credential == self.books.credential)
        });
        let connection = match self.link_report() {
            Some(LinkReport::Failed(failure))
                if failure.kind == FailureKind::Unauthorized && self.books.registered > 0 =>
            {
                Some(self.books.conn >= self.books.first_conn)
            }
            _ => None,
        };
        calls.chain(connection)
    }
}
