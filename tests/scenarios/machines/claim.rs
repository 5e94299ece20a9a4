//! A claim.

use relay_runner_core::event::{BusFrame, ExitClass, FailureKind, Incoming, RelayEvent};
use relay_runner_core::{Event, OpResult, TimerKey};

use super::{Case, Driver, answers, due, fails};
use crate::story::{Story, config, plain, task};

pub(super) const DRIVER: Driver = Driver {
    machine: "claim",
    brings,
    feeds,
    state: |story| {
        let view = story.core.view();
        view.claims.iter().find(|claim| claim.message == 5).map_or("none", |claim| claim.state).to_owned()
    },
    asks: &["claim,m5", "renew,m5", "release,m5"],
};

/// Seconds until the first renewal, and few enough for what is asked meanwhile to be still under way.
const LEASE: u64 = 10_000;
const ANSWERS: [&str; 3] = ["granted", "refused", "no answer"];
const RENEWALS: [&str; 4] = ["renewed", "not renewed", "renewal refused", "renewal expired"];

fn brings(case: &Case) -> Story {
    let mut story = Story::up();
    match case.state {
        "none" => is_none(&mut story, case),
        "asking" => is_asking(&mut story, case),
        "held" => is_held(&mut story, case),
        "renewing" => is_renewing(&mut story, case),
        "lapsed" => is_lapsed(&mut story, case),
        other => panic!("{other}?"),
    }
    story
}

/// Answers are those to what was asked for before the claim ended.
fn is_none(story: &mut Story, case: &Case) {
    if ANSWERS.contains(&case.event) {
        story.message(task(5, 50));
    } else if RENEWALS.contains(&case.event) {
        is_renewing(story, case);
    } else if case.event.starts_with("report") {
        is_held(story, case);
    } else {
        return;
    }
    deleted(story);
}

fn is_asking(story: &mut Story, case: &Case) {
    if RENEWALS.contains(&case.event) {
        is_renewing(story, case);
        oversleeps(story);
    } else if case.event.starts_with("report")
        || case.event == "settled"
        || case.note == "granted before"
        || case.note.starts_with("worked")
    {
        is_held(story, case);
        claimed_by_another(story);
        due(story, TimerKey::Claims);
    } else {
        story.message(task(5, 50));
    }
}

fn is_held(story: &mut Story, case: &Case) {
    if case.event == "settled" {
        story.message(Incoming { task: None, ..task(5, 50) });
        granted(story);
        story.works(5);
        return;
    }
    story.message(task(5, 50));
    granted(story);
    if case.note == "worked, kept for its report" {
        story.works(5);
    }
    if case.note.ends_with("asked again just now") {
        claimed_by_another(story);
        due(story, TimerKey::Claims);
        granted(story);
    }
}

fn is_renewing(story: &mut Story, case: &Case) {
    is_held(story, case);
    due(story, TimerKey::Claims);
}

fn is_lapsed(story: &mut Story, case: &Case) {
    if case.note == "never granted" {
        story.message(task(5, 50));
        fails(story, "claim,m5", FailureKind::TimedOut);
    } else if ANSWERS.contains(&case.event) {
        // The answer comes after its deadline.
        story.message(task(5, 50));
        story.after(16_000);
    } else if RENEWALS.contains(&case.event) {
        is_renewing(story, case);
        claimed_by_another(story);
    } else {
        is_held(story, case);
        claimed_by_another(story);
    }
}

fn granted(story: &mut Story) {
    answers(story, "claim,m5", OpResult::Granted { fence: 3, lease: Some(LEASE) });
}

fn deleted(story: &mut Story) {
    story.relay_says(RelayEvent::MessageDeleted { message: 5 });
}

fn claimed_by_another(story: &mut Story) {
    story.relay_says(RelayEvent::MessageClaimed { message: 5, by: Some("rival".into()) });
}

/// The wall clock says that the lease is over.
fn oversleeps(story: &mut Story) {
    story.sleeps(3_600_000).hears(Event::Wake);
}

fn feeds(story: &mut Story, case: &Case) {
    match case.event {
        "wanted" => drop(story.message(task(5, 50)).busy().idle()),
        "granted" => granted(story),
        "refused" => answers(story, "claim,m5", OpResult::Refused { by: Some("rival".into()) }),
        "no answer" => fails(story, "claim,m5", FailureKind::TimedOut),
        "due" if case.note == "half of the lease is over" || case.state == "lapsed" => due(story, TimerKey::Claims),
        "due" => oversleeps(story),
        "renewed" => answers(story, "renew,m5", OpResult::Renewed { lease: Some(LEASE) }),
        "not renewed" => fails(story, "renew,m5", FailureKind::TimedOut),
        "renewal refused" => answers(story, "renew,m5", OpResult::Refused { by: None }),
        "renewal expired" => fails(story, "renew,m5", FailureKind::Expired),
        "report refused" => fails(story, "task,t50", FailureKind::Conflict),
        "report expired" => fails(story, "task,t50", FailureKind::Expired),
        "claimed by another" => claimed_by_another(story),
        "taken over" => deleted(story),
        "settled" => answers(story, "read,m5", OpResult::Ok),
        "given back" => drop(story.exits(ExitClass::Refused)),
        "registered again" => registered(story),
        "another relay" => drop(story.meets_another_relay()),
        "runner restarted" => *story = Story::with(config(), story.core.facts()),
        other => panic!("{other}?"),
    }
}

fn registered(story: &mut Story) {
    let cursor = story.core.view().link.position;
    story.frame(BusFrame::Registered { epoch: 1, cursor, relay: None, heartbeat: None });
}

/// A plain message has no claim, whatever becomes of it.
#[test]
fn a_plain_message_is_never_claimed() {
    let mut story = Story::up();
    story.message(plain(5));
    story.works(5);
    story.never("claim,m5");
}
