//! The link.

use relay_runner_core::event::{BusFrame, ExitClass, Failure, FailureKind, LinkReport, Signal, TokenRecord};
use relay_runner_core::{Config, Effect, Event, OpResult, Order, TimerKey, TokenSlot};
use relay_runner_protocol::ErrorCode;

use super::{Case, Driver, answers, due, fails};
use crate::story::{EPOCH, Story, config, facts};

const HOUR: u64 = 3_600_000;

pub(super) const DRIVER: Driver = Driver {
    machine: "link",
    brings,
    feeds,
    state: |story| story.core.view().link.state.to_owned(),
    asks: &["connect(", ",register)", ",resume,"],
};

fn brings(case: &Case) -> Story {
    let mut story = Story::with(Config { credential: Some(renewable(HOUR)), ..config() }, facts());
    story.by_hand().boot();
    if case.state == "down" {
        return story;
    }
    answers(&mut story, "control(", OpResult::Ok);
    // The heartbeat whose answer may come late was asked for at the first registration.
    let before = case.note.starts_with("registered before") || case.event == "pruned";
    if before || ["up", "waiting", "closed"].contains(&case.state) {
        opens(&mut story);
        registered(&mut story);
        if before && ["connecting", "registering"].contains(&case.state) {
            bus(&mut story, LinkReport::Closed("reset".into()));
            due(&mut story, TimerKey::Reconnect);
        }
    }
    match case.state {
        "registering" => opens(&mut story),
        "waiting" => bus(&mut story, LinkReport::Closed("reset".into())),
        "closed" => error(&mut story, ErrorCode::Superseded),
        "connecting" | "up" => {}
        other => panic!("{other}?"),
    }
    if case.note == "its renewal is waited for" || case.event == "renewal failed" && case.state != "closed" {
        is_in_doubt(&mut story);
    }
    if case.note == "it was waited for" {
        due(&mut story, TimerKey::Reconnect);
    }
    story
}

/// A credential that can be renewed, and ends so long after the story began.
fn renewable(lives: u64) -> TokenRecord {
    let ends = Some((EPOCH + lives) / 1_000);
    TokenRecord { jti: Some("j".into()), profile: Some("provider-agent".into()), expires_at: ends }
}

/// A call was refused, and a renewal of the credential is to show whose fault that was.
fn is_in_doubt(story: &mut Story) {
    fails(story, "ms,heartbeat)", FailureKind::Unauthorized);
}

/// The newest connection.
fn conn(story: &Story) -> u64 {
    story.told.iter().filter(|text| text.starts_with("connect(")).count() as u64
}

fn bus(story: &mut Story, report: LinkReport) {
    let conn = conn(story);
    story.hears(Event::Link(conn, report));
}

fn opens(story: &mut Story) {
    bus(story, LinkReport::Opened);
}

fn frame(story: &mut Story, frame: BusFrame) {
    let conn = conn(story);
    story.hears(Event::Bus(conn, frame));
}

fn registered(story: &mut Story) {
    frame(story, BusFrame::Registered { epoch: 1, cursor: 0, relay: None, heartbeat: None });
}

fn error(story: &mut Story, code: ErrorCode) {
    frame(story, BusFrame::Error { code, message: "said by the relay".into() });
}

fn failed(story: &mut Story, kind: FailureKind) {
    bus(story, LinkReport::Failed(Failure { kind, text: "said by the system".into() }));
}

/// The whole end: the provider goes, and the relay accepts whatever is said.
fn ends(story: &mut Story) {
    story.signal(Signal::Quit);
    story.exits(ExitClass::Signal);
    while !story.core.view().over {
        let asked = story.open.iter().position(|effect| matches!(effect, Effect::Http { .. }));
        let Effect::Http { op, .. } = story.open.remove(asked.expect("something to answer")) else { unreachable!() };
        story.answers(op, OpResult::Ok);
    }
}

fn feeds(story: &mut Story, case: &Case) {
    match case.event {
        "control up" => answers(story, "control(", OpResult::Ok),
        "opened" => opens(story),
        "failed" => failed(story, FailureKind::Unreachable),
        "refused" if case.state == "connecting" => failed(story, FailureKind::Unauthorized),
        "refused" => error(story, ErrorCode::Unauthorized),
        "broke" => bus(story, LinkReport::Closed("reset".into())),
        "registered" => registered(story),
        "not registered" => error(story, ErrorCode::NotRegistered),
        "pruned" => answers(story, "ms,heartbeat)", OpResult::Pruned),
        "superseded" => error(story, ErrorCode::Superseded),
        "overdue" => due(story, TimerKey::Register),
        "retry" => due(story, TimerKey::Reconnect),
        "reconnect" => {
            story.local_command("agent.reconnect");
        }
        "new credential" => {
            let record = renewable(2 * HOUR);
            story.hears(Event::Order(Order::Token { request: None, slot: TokenSlot(9), record }));
        }
        "renewal failed" => fails(story, "renew-token", FailureKind::Unreachable),
        "end" if case.state == "closed" => {
            story.signal(Signal::Quit);
        }
        "end" => ends(story),
        other => panic!("{other}?"),
    }
}
