//! What a step says of itself to whoever counts.

use relay_runner_core::config::Mode;
use relay_runner_core::event::{
    BusFrame, Event, FailureKind, LinkReport, Order, RelayEvent, ReportStatus, Signal, StatusReport,
};
use relay_runner_core::{Act, Answer, Call, Effect, MessageId, Note, OpId, ProviderReport, TimerKey};

use super::{Answered, Step};

impl<'a> Step<'a> {
    /// A frame of the connection that is used.
    pub(in crate::coverage) fn frame(&self) -> Option<&'a BusFrame> {
        match self.event {
            Event::Bus(conn, frame) if *conn == self.books.conn && matches!(self.before.link, "registering" | "up") => {
                Some(frame)
            }
            _ => None,
        }
    }

    /// An event of the relay that was not heard before.
    pub(in crate::coverage) fn relay_event(&self) -> Option<&'a RelayEvent> {
        match self.frame()? {
            BusFrame::Event { seq, event, .. } if *seq > self.before.position => Some(event),
            _ => None,
        }
    }

    pub(in crate::coverage) fn registered(&self) -> bool {
        matches!(self.frame(), Some(BusFrame::Registered { .. }))
    }

    /// A report of the connection that is used.
    pub(in crate::coverage) fn link_report(&self) -> Option<&'a LinkReport> {
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
    pub(in crate::coverage) fn report(&self) -> Option<&'a ProviderReport> {
        match self.event {
            Event::Provider(generation, report) if *generation == self.before.generation && self.before.is_alive() => {
                Some(report)
            }
            _ => None,
        }
    }

    /// What the living process does, as its adapter or a hook says.
    pub(in crate::coverage) fn status(&self) -> Option<&'a StatusReport> {
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
    pub(in crate::coverage) fn turn_report(&self, status: ReportStatus) -> Option<&'a StatusReport> {
        self.status().filter(|report| report.status == status && report.reason.is_none())
    }

    /// A hook that was refused, as of another session.
    pub(in crate::coverage) fn is_stale(&self) -> bool {
        self.fx.effects.iter().any(|effect| matches!(effect, Effect::Answer { answer: Answer::Stale, .. }))
    }

    /// Something that shows that a turn lives.
    pub(in crate::coverage) fn shows_life(&self) -> bool {
        let probed = |answer: &Answered<'_>| matches!(answer.act(), Some(Act::Probe)) && answer.failure().is_none();
        let reported = matches!(
            self.report(),
            Some(
                ProviderReport::SignOfLife
                    | ProviderReport::Status(_)
                    | ProviderReport::Taken { .. }
                    | ProviderReport::ApprovalOpened(_)
                    | ProviderReport::ApprovalClosed { .. }
            )
        );
        let asks = matches!(self.event, Event::Order(Order::Permission { .. })) && !self.is_stale();
        reported || asks || self.status().is_some() || self.answers.iter().any(probed)
    }

    pub(in crate::coverage) fn is_due(&self, key: TimerKey) -> bool {
        self.due.contains(&key)
    }

    pub(in crate::coverage) fn orders(&self, name: &str) -> bool {
        self.order.as_ref().is_some_and(|ordered| ordered.is(name))
    }

    pub(in crate::coverage) fn acts(&self) -> impl Iterator<Item = (OpId, &'a Act)> {
        self.fx.effects.iter().filter_map(|effect| match effect {
            Effect::Provider { op, act, .. } => Some((*op, act)),
            _ => None,
        })
    }

    pub(in crate::coverage) fn calls(&self) -> impl Iterator<Item = (OpId, OpId, &'a Call)> {
        self.fx.effects.iter().filter_map(|effect| match effect {
            Effect::Http { op, key, call, .. } => Some((*op, *key, call)),
            _ => None,
        })
    }

    /// Messages that are offered in this step.
    pub(in crate::coverage) fn offered(&self) -> impl Iterator<Item = MessageId> {
        let offers =
            self.acts().filter_map(|(_, act)| if let Act::Offer { offers } = act { Some(offers) } else { None });
        offers.flat_map(|offers| offers.iter().map(|offer| offer.message))
    }

    pub(in crate::coverage) fn notes(&self, test: impl Fn(&Note) -> bool) -> bool {
        self.fx.notes.iter().any(test)
    }

    pub(in crate::coverage) fn uses_another_token(&self) -> bool {
        self.fx.effects.iter().any(|effect| matches!(effect, Effect::UseToken { .. }))
    }

    /// What a signal asks for, as the mode has it: `term`, `quit` or `step aside`.
    pub(in crate::coverage) fn signal(&self) -> Option<&'static str> {
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
    pub(in crate::coverage) fn is_hard(&self) -> bool {
        let signal = self.signal();
        signal == Some("quit") || (signal == Some("term") && self.before.ends()) || self.orders("agent.kill")
    }

    /// A newer instance holds the agent.
    pub(in crate::coverage) fn superseded(&self) -> bool {
        let frame =
            matches!(self.frame(), Some(BusFrame::Error { code: relay_runner_protocol::ErrorCode::Superseded, .. }));
        frame || self.answers.iter().any(|answer| answer.failure() == Some(FailureKind::Superseded))
    }

    /// The relay refuses what was asked, or connected, with the credential in force; or with an older one.
    pub(in crate::coverage) fn refusals(&self) -> impl Iterator<Item = bool> {
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
