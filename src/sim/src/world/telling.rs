//! What is told of a run: a dense line for each change, and a hash over everything.

use relay_runner_core::event::{BusFrame, Event, LinkReport, OpResult, Order, ProviderReport, RelayEvent};
use relay_runner_core::{Core, Effects, Stamp};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::plan::What;

/// The columns of [`Wanted::told`](super::Wanted::told), explained.
pub const LEGEND: &str = "\
time        virtual, h:mm:ss.mmm
r           which runner
gen state   generation and state of its provider process
link        state of its connection
st          what it shows: status, and whether it is ready
inb         its inbox: h held, c claimed, o offered, t taken, a ambiguous, w worked; a dot is none
<           what it hears
>           what it asks for, as in the journal
!           what the plan makes happen";

#[derive(Debug)]
pub(super) struct Telling<'a> {
    told: Option<Vec<String>>,
    hash: u64,
    chain: Option<&'a mut Vec<u64>>,
    heard: String,
    text: String,
}

fn clock(now: u64) -> String {
    let (hours, minutes, seconds) = (now / 3_600_000, now / 60_000 % 60, now / 1_000 % 60);
    format!("{hours}:{minutes:02}:{seconds:02}.{:03}", now % 1_000)
}

impl<'a> Telling<'a> {
    pub(super) fn new(told: bool, chain: Option<&'a mut Vec<u64>>) -> Self {
        Self { told: told.then(Vec::new), hash: 0, chain, heard: String::new(), text: String::new() }
    }

    pub(super) fn happens(&mut self, now: u64, what: &What) {
        if let Some(told) = &mut self.told {
            let text = serde_json::to_string(what).unwrap_or_default();
            told.push(format!("{:<11} !  {text}", clock(now)));
        }
    }

    pub(super) fn calms_down(&mut self, now: u64) {
        if let Some(told) = &mut self.told {
            told.push(format!("{:<11} !  everything is mended", clock(now)));
        }
    }

    pub(super) fn hears(&mut self, who: usize, now: u64, at: Stamp, event: &Event) {
        if self.told.is_some() {
            self.heard = format!("{:<11} r{who} < {}", clock(now), short(event));
        }
        if self.chain.is_some() {
            let text = serde_json::to_string(event).unwrap_or_default();
            self.hash = xxh3_64_with_seed(text.as_bytes(), self.hash ^ at.mono ^ at.wall.rotate_left(32) ^ who as u64);
        }
    }

    pub(super) fn does(&mut self, who: usize, core: &Core, fx: &Effects) {
        if self.told.is_none() && self.chain.is_none() {
            return;
        }
        self.text.clear();
        fx.canonical(&mut self.text);
        if let Some(chain) = &mut self.chain {
            self.hash = xxh3_64_with_seed(self.text.as_bytes(), self.hash);
            chain.push(self.hash);
        }
        if let Some(told) = &mut self.told
            && !(self.text.is_empty() && self.heard.ends_with("wake"))
        {
            let view = core.view();
            let count = |name: &str| match view.stages.get(name) {
                None | Some(0) => '.',
                Some(n @ 1..=9) => char::from(b'0' + u8::try_from(*n).unwrap_or(0)),
                Some(_) => '+',
            };
            let inbox: String =
                ["held", "claimed", "offered", "taken", "ambiguous", "worked"].into_iter().map(count).collect();
            let (time, heard) = self.heard.split_once(" < ").unwrap_or(("", &self.heard));
            let ready = if view.ready { "+" } else { "-" };
            told.push(format!(
                "{time} g{} {:<11} {:<11} {:<7}{ready} {inbox} < {heard}{}{}",
                view.process.generation.0,
                view.process.state,
                view.link.state,
                view.status.as_str(),
                if self.text.is_empty() { "" } else { " > " },
                self.text
            ));
            debug_assert!(who < 9);
        }
    }

    pub(super) fn into_parts(self) -> (Vec<String>, u64) {
        (self.told.unwrap_or_default(), self.hash)
    }
}

/// An event in a few words.
fn short(event: &Event) -> String {
    match event {
        Event::Boot => "boot".into(),
        Event::Wake => "wake".into(),
        Event::Link(conn, LinkReport::Opened) => format!("c{conn} opened"),
        Event::Link(conn, LinkReport::Failed(failure)) => format!("c{conn} failed: {:?}", failure.kind),
        Event::Link(conn, LinkReport::Closed(why)) => format!("c{conn} closed: {why}"),
        Event::Bus(_, frame) => match frame {
            BusFrame::Registered { epoch, .. } => format!("registered, epoch {epoch}"),
            BusFrame::Event { seq, event, .. } => format!("#{seq} {}", relay_event(event)),
            BusFrame::Command { command, .. } => format!("command {} {}", command.id, command.name),
            BusFrame::Ack { frame } => format!("ack {frame}"),
            BusFrame::Replayed { from, to, gap } => format!("replayed {from}..{to}{}", if *gap { " gap" } else { "" }),
            BusFrame::Error { code, .. } => format!("error {}", code.as_str()),
            BusFrame::Unknown { .. } => "an unknown frame".into(),
            BusFrame::Malformed { .. } => "no frame at all".into(),
        },
        Event::Provider(generation, report) => format!("{generation} {}", provider(report)),
        Event::Done(op, result) => format!("{op} {}", answer(result)),
        Event::Order(order) => match order {
            Order::Signal(signal) => format!("signal {signal:?}"),
            Order::Command { request, command } => format!("r{} {} here", request.0, command.name),
            Order::Report { report, .. } => format!("hook: {}", provider(&ProviderReport::Status(report.clone()))),
            Order::Permission { ask, .. } => format!("hook asks {}", ask.approval.id),
            Order::Hook { request, .. } => format!("r{} hook", request.0),
            Order::Replied { message } => format!("m{message} is replied to"),
            Order::Token { slot, .. } => format!("token {slot} handed in"),
            Order::Fault { what } => format!("fault: {what}"),
            Order::JournalBroken { why } => format!("journal broken: {why}"),
        },
    }
}

fn relay_event(event: &RelayEvent) -> String {
    match event {
        RelayEvent::MessageNew(message) => {
            let task = message.task.map(|task| format!(" task {task}")).unwrap_or_default();
            let claim = if message.claimable { " to claim" } else { "" };
            format!("m{} for {}{claim}{task}", message.id, message.to)
        }
        RelayEvent::MessageClaimed { message, by } => format!("m{message} claimed by {}", by.as_deref().unwrap_or("?")),
        RelayEvent::ClaimReleased { message } => format!("m{message} released"),
        RelayEvent::MessageDeleted { message } => format!("m{message} deleted"),
        RelayEvent::Task { task, message, status, cancelled } => {
            format!("task {task} of m{message} {}{}", status.as_str(), if *cancelled { " cancelled" } else { "" })
        }
        RelayEvent::AgentUpdated(given) => format!("the label is {}", given.label.as_deref().unwrap_or("gone")),
        RelayEvent::Other { name } => name.to_string(),
    }
}

fn provider(report: &ProviderReport) -> String {
    match report {
        ProviderReport::Ready => "ready".into(),
        ProviderReport::Status(report) => {
            let kind = report.reason.as_deref().unwrap_or("turn");
            let id = report.id.as_deref().map(|id| format!(" {id}")).unwrap_or_default();
            format!("{:?} {kind}{id} {:?}", report.status, report.end)
        }
        ProviderReport::Taken { offers, into_turn } => {
            let ids: Vec<String> = offers.iter().map(|offer| format!("m{}", offer.message)).collect();
            format!("took {}{}", ids.join(" "), if *into_turn { " into its turn" } else { "" })
        }
        ProviderReport::Missed { offers } => {
            let ids: Vec<String> = offers.iter().map(|offer| format!("m{}", offer.message)).collect();
            format!("missed {}", ids.join(" "))
        }
        ProviderReport::SignOfLife => "lives".into(),
        ProviderReport::ApprovalOpened(request) => format!("asks {}", request.id),
        ProviderReport::ApprovalClosed { id } => format!("{id} was answered there"),
        ProviderReport::Conversation { id } => format!("is in the conversation {id}"),
        ProviderReport::Context(report) => format!("has {} of {} tokens in its context", report.used, report.window),
        ProviderReport::Model { model, .. } => format!("uses {model}"),
        ProviderReport::Exit(exit) => format!("exit {:?}", exit.class),
        ProviderReport::Malformed { .. } => "babbles".into(),
    }
}

fn answer(result: &OpResult) -> String {
    match result {
        OpResult::Ok => "ok".into(),
        OpResult::Said(_) => "said".into(),
        OpResult::Spawned(process) => format!("spawned {}", process.pid),
        OpResult::Granted { fence, lease } => format!("granted f{fence} for {} ms", lease.unwrap_or(0)),
        OpResult::Refused { .. } => "refused".into(),
        OpResult::Renewed { lease } => format!("renewed for {} ms", lease.unwrap_or(0)),
        OpResult::Pruned => "pruned".into(),
        OpResult::Unread { messages, full } => {
            let ids: Vec<String> = messages.iter().map(|message| format!("m{}", message.id)).collect();
            format!("unread [{}]{}", ids.join(" "), if *full { " and more" } else { "" })
        }
        OpResult::Owed { messages } => format!("{} owed", messages.len()),
        OpResult::Token { slot, .. } => format!("token {slot}"),
        OpResult::Settings(_) => "settings".into(),
        OpResult::Failed(failure) => format!("{:?}", failure.kind),
    }
}
