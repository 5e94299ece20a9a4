//! The first prompt.

use relay_runner_core::event::{ExitClass, FailureKind, ProviderReport};
use relay_runner_core::{BodyRef, OpResult, TimerKey};

use super::{Case, Driver, answers, due, fails};
use crate::story::{Story, config, facts};

pub(super) const DRIVER: Driver = Driver {
    machine: "prompt",
    brings,
    feeds,
    state: |story| story.core.view().first_prompt.to_owned(),
    asks: &[",prompt)"],
};

fn brings(case: &Case) -> Story {
    let mut config = config();
    config.first_prompt = Some(BodyRef::of("begin"));
    let mut story = Story::with(config, facts());
    story.boot();
    story.registers();
    story.spawns();
    if case.state != "pending" {
        story.provider(ProviderReport::Ready);
    }
    if matches!(case.state, "said" | "done") {
        answers(&mut story, ",prompt)", OpResult::Ok);
    }
    if case.state == "done" {
        story.busy().idle();
    }
    story
}

fn feeds(story: &mut Story, case: &Case) {
    match case.event {
        "provider up" => {
            if case.state == "done" {
                story.exits(ExitClass::Crash);
                due(story, TimerKey::Cooling);
            }
            story.provider(ProviderReport::Ready);
        }
        "handed over" => {
            if case.note.starts_with("a turn began") {
                story.busy().idle();
            }
            answers(story, ",prompt)", OpResult::Ok);
        }
        "turn begins" => {
            story.busy();
        }
        "failed" => fails(story, ",prompt)", FailureKind::Provider),
        "overdue" => due(story, TimerKey::FirstPrompt),
        "exit" => {
            story.exits(ExitClass::Crash);
        }
        other => panic!("{other}?"),
    }
}
