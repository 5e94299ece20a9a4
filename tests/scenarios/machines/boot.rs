//! Coming up.

use relay_runner_core::event::FailureKind;
use relay_runner_core::{Event, OpResult, TimerKey};

use super::{Case, Driver, answers, due, fails};
use crate::story::{Story, config, facts};

pub(super) const DRIVER: Driver = Driver {
    machine: "boot",
    brings,
    feeds,
    state: |story| story.core.view().boot.to_owned(),
    asks: &["control(", "connect(", "finish("],
};

fn brings(case: &Case) -> Story {
    let mut story = Story::with(config(), facts());
    story.by_hand();
    if case.state != "new" {
        story.boot();
    }
    if case.state == "running" {
        answers(&mut story, "control(", OpResult::Ok);
    }
    story
}

fn feeds(story: &mut Story, case: &Case) {
    match case.event {
        "boot" => {
            story.hears(Event::Boot);
        }
        "started" => answers(story, "control(", OpResult::Ok),
        "failed" => fails(story, "control(", FailureKind::Io),
        "overdue" => due(story, TimerKey::Operations),
        other => panic!("{other}?"),
    }
}
