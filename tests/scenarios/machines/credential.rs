//! The credential: its renewals, and its standing.

use relay_runner_core::event::{BusFrame, ExitClass, FailureKind, LinkReport, Signal, TokenRecord};
use relay_runner_core::{Config, Event, OpResult, Order, RequestId, TimerKey, TokenSlot};

use super::{Case, Driver, answers, due, fails};
use crate::story::{EPOCH, Story, config, facts, plain};

pub(super) const CREDENTIAL: Driver = Driver {
    machine: "credential",
    brings,
    feeds,
    state: |story| story.core.view().credential.renewal.to_owned(),
    asks: &["renew-token", "use-token("],
};

pub(super) const STANDING: Driver = Driver {
    machine: "standing",
    brings: brings_standing,
    feeds: feeds_standing,
    state: |story| story.core.view().credential.standing.to_owned(),
    asks: &["renew-token", "use-token("],
};

const HOUR: u64 = 3_600_000;
/// Of a profile that nobody renews.
const FIXED: TokenRecord = TokenRecord { jti: None, profile: None, expires_at: None };

/// A renewable one that ends so long after the story's time.
fn token(story: Option<&Story>, lives: u64) -> TokenRecord {
    let now = story.map_or(EPOCH + 1_000, |story| story.now.wall);
    let ends = Some((now + lives) / 1_000);
    TokenRecord { jti: Some("j".into()), profile: Some("provider-agent".into()), expires_at: ends }
}

fn with(credential: TokenRecord) -> Config {
    Config { credential: Some(credential), ..config() }
}

fn brings(case: &Case) -> Story {
    if case.event == "boot" && case.state == "fixed" {
        let record = if case.note == "it can be renewed" { token(None, HOUR) } else { FIXED };
        return Story::with(with(record), facts());
    }
    let record = if case.state == "fixed" { FIXED } else { token(None, HOUR) };
    let mut story = Story::up_with(with(record));
    // A call that can be refused.
    story.message(plain(7));
    story.works(7);
    match case.state {
        "planned" if case.note == "after a renewal was refused" => {
            fails(&mut story, "read,m7", FailureKind::Unauthorized);
            fails(&mut story, "renew-token", FailureKind::Unauthorized);
            // It is tried all the same.
            due(&mut story, TimerKey::Reports);
        }
        "renewing" => due(&mut story, TimerKey::Renewal),
        "expired" => expires(&mut story),
        _ => {}
    }
    if case.note == "refused after its end" {
        story.sleeps(2 * HOUR);
    }
    story
}

fn expires(story: &mut Story) {
    due(story, TimerKey::Renewal);
    story.sleeps(2 * HOUR);
    fails(story, "renew-token", FailureKind::Unauthorized);
}

fn feeds(story: &mut Story, case: &Case) {
    match case.event {
        "boot" => story.boot(),
        "due" => due(story, TimerKey::Renewal),
        "doubted" => fails(story, "read,m7", FailureKind::Unauthorized),
        "renewed" => {
            // The profile stays where none is named; so it is the end that is missing.
            let record = if case.note.starts_with("without") { FIXED } else { token(Some(story), HOUR) };
            answers(story, "renew-token", OpResult::Token { slot: TokenSlot(9), record });
        }
        "renewal failed" => fails(story, "renew-token", FailureKind::Unauthorized),
        "handed in" => hands_in(story, case),
        "run leaves" => {
            story.signal(Signal::Term).exits(ExitClass::Clean);
        }
        other => panic!("{other}?"),
    }
}

fn hands_in(story: &mut Story, case: &Case) {
    let record = match case.note {
        "it can be renewed" => token(Some(story), HOUR),
        "has ended, not taken" => token(Some(story), 0),
        _ => FIXED,
    };
    let token = Order::Token { request: Some(RequestId(9)), slot: TokenSlot(9), record };
    story.hears(Event::Order(token));
}

fn brings_standing(case: &Case) -> Story {
    let record = if case.note == "it cannot" { FIXED } else { token(None, HOUR) };
    let mut story = Story::up_with(with(record));
    story.message(plain(7));
    story.works(7);
    if case.event == "late refusal" {
        // The read mark stays under way under the old one.
        let record = token(Some(&story), HOUR);
        story.hears(Event::Order(Order::Token { request: None, slot: TokenSlot(8), record }));
        story.registers();
        story.message(plain(8));
        story.works(8);
    }
    let call = if case.event == "late refusal" { "read,m8" } else { "read,m7" };
    if case.state == "good" && case.event == "renewal failed" {
        due(&mut story, TimerKey::Renewal);
    }
    if case.state != "good" {
        fails(&mut story, call, FailureKind::Unauthorized);
    }
    if case.state == "refused" {
        fails(&mut story, "renew-token", FailureKind::Unauthorized);
        if case.event == "renewal failed" {
            due(&mut story, TimerKey::Renewal);
        }
    }
    story
}

fn feeds_standing(story: &mut Story, case: &Case) {
    match case.event {
        "doubted" if case.state == "good" => fails(story, "read,m7", FailureKind::Unauthorized),
        "late refusal" => fails(story, "read,m7", FailureKind::Unauthorized),
        // A connection that is refused says the same.
        "doubted" => {
            story.hears(Event::Link(
                1,
                LinkReport::Failed(relay_runner_core::Failure {
                    kind: FailureKind::Unauthorized,
                    text: "HTTP 401".into(),
                }),
            ));
        }
        "new credential" => {
            let record = token(Some(story), HOUR);
            story.hears(Event::Order(Order::Token { request: None, slot: TokenSlot(9), record }));
        }
        "renewal failed" => fails(story, "renew-token", FailureKind::Unreachable),
        "registered" => {
            let cursor = story.core.view().link.position;
            story.frame(BusFrame::Registered { epoch: 1, cursor, relay: None, heartbeat: None });
        }
        other => panic!("{other}?"),
    }
}
