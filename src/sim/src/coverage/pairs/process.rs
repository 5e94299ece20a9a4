//! Coming up, the provider process, and the first prompt.

use relay_runner_core::event::{Event, OpResult, ReportStatus};
use relay_runner_core::{Act, Effect, ProviderReport, TimerKey};

use super::{Feed, Step};
use crate::coverage::step::Answered;

pub(super) fn feed(step: &Step<'_>, feed: &mut Feed) {
    boot(step, feed);
    lifecycle(step, feed);
    prompt(step, feed);
}

fn boot(step: &Step<'_>, feed: &mut Feed) {
    if *step.event == Event::Boot {
        feed.one("boot", "boot");
    }
    for answer in step.answers.iter().chain(&step.late) {
        if let Effect::StartControl { .. } = answer.asked.effect {
            let event = match answer.result {
                None => "overdue",
                Some(OpResult::Failed(_)) => "failed",
                Some(_) => "started",
            };
            feed.one("boot", event);
        }
    }
}

fn lifecycle(step: &Step<'_>, feed: &mut Feed) {
    let before = step.before;
    let lifecycle = "lifecycle";
    starts(step, feed);
    for answer in step.answers.iter().chain(&step.late) {
        let of = match &answer.asked.effect {
            Effect::Spawn { generation, .. } | Effect::Adopt { generation, .. } => *generation,
            _ => continue,
        };
        let about = of == before.generation || !before.is_alive();
        match answer.result {
            Some(OpResult::Spawned(_)) if about => feed.one(lifecycle, "spawned"),
            Some(OpResult::Failed(_)) if about => feed.one(lifecycle, "spawn failed"),
            _ => {}
        }
    }
    reports(step, feed);
    if step.orders("agent.restart") {
        feed.one(lifecycle, "restart");
    }
    let due = [(TimerKey::Start, "start overdue"), (TimerKey::Stop, "step overdue"), (TimerKey::Cooling, "cooled")];
    for (key, event) in due {
        if step.is_due(key) {
            feed.one(lifecycle, event);
        }
    }
    if step.is_due(TimerKey::Tick) && before.process == "cooling" && step.after.process == "starting" {
        // A usage limit that the machine slept over.
        feed.one(lifecycle, "cooled");
    }
    stops(step, feed);
}

fn starts(step: &Step<'_>, feed: &mut Feed) {
    let before = step.before;
    let first = step.registered() || step.is_due(TimerKey::StartWithoutRelay);
    if first && !before.ends() && before.boot == "running" {
        feed.one("lifecycle", "start");
    }
    if step.fx.effects.iter().any(|effect| matches!(effect, Effect::Adopt { .. })) {
        feed.one("lifecycle", "adopt");
        if before.ending != step.after.ending {
            // Taken up only to be stopped: two at once.
            feed.is_unclear("lifecycle", super::Which::One);
        }
    }
}

fn reports(step: &Step<'_>, feed: &mut Feed) {
    let before = step.before;
    let lifecycle = "lifecycle";
    if let Event::Provider(generation, report) = step.event {
        let about = *generation == before.generation || !before.is_alive();
        match report {
            ProviderReport::Ready if about => feed.one(lifecycle, "ready"),
            ProviderReport::Exit(_) if about => feed.one(lifecycle, "exit"),
            ProviderReport::Status(status) if !before.is_alive() && status.reason.is_none() => match status.status {
                ReportStatus::Busy => feed.one(lifecycle, "busy"),
                ReportStatus::Idle => feed.one(lifecycle, "idle"),
                ReportStatus::Offline | ReportStatus::Error => {}
            },
            _ => {}
        }
    }
    if step.turn_report(ReportStatus::Busy).is_some() {
        feed.one(lifecycle, "busy");
    }
    let idle = step.turn_report(ReportStatus::Idle).is_some();
    if (idle && before.turn.is_none()) || (step.ended.is_some() && !step.began && !step.exits) {
        feed.one(lifecycle, "idle");
    }
}

/// The run ends, and with it the provider.
fn stops(step: &Step<'_>, feed: &mut Feed) {
    let (before, after) = (step.before, step.after);
    let hard = step.is_hard() && !step.books.hard && matches!(before.ending, "none" | "draining" | "stopping");
    let begins = matches!(before.ending, "none" | "draining") && !matches!(after.ending, "none" | "draining");
    let after_all = before.ending == "reporting" && after.ending == "stopping";
    let left = after.why == Some("step aside") && before.is_alive() && after.process == before.process;
    if step.exits || (left && !hard) {
        return;
    }
    if hard || (after_all && step.is_hard()) {
        feed.one("lifecycle", "kill");
    } else if begins || after_all {
        feed.one("lifecycle", "end");
    }
}

fn prompt(step: &Step<'_>, feed: &mut Feed) {
    let ready = matches!(step.report(), Some(ProviderReport::Ready));
    if ready && !step.before.is_stopping() {
        feed.one("prompt", "provider up");
    }
    let prompts = |answer: &&Answered<'_>| matches!(answer.act(), Some(Act::Prompt));
    for answer in step.answers.iter().filter(prompts) {
        feed.one("prompt", if answer.failure().is_some() { "failed" } else { "handed over" });
    }
    if step.began {
        feed.one("prompt", "turn begins");
    }
    if step.is_due(TimerKey::FirstPrompt) {
        feed.one("prompt", "overdue");
    }
    if step.exits {
        feed.one("prompt", "exit");
    }
}
