//! The end of a run.

use relay_runner_core::event::ReportStatus;
use relay_runner_core::{Call, Effect, TimerKey};

use super::{Feed, Step};
use crate::coverage::step::Answered;

pub(super) fn feed(step: &Step<'_>, feed: &mut Feed) {
    let (before, after) = (step.before, step.after);
    let ending = "ending";
    if let Some(signal) = step.signal() {
        feed.one(ending, signal);
    }
    if step.orders("agent.shutdown") {
        feed.one(ending, "shutdown");
    }
    if step.orders("agent.kill") {
        feed.one(ending, "kill");
    }
    if step.superseded() {
        feed.one(ending, "superseded");
    }
    let control_failed = |answer: &Answered<'_>| {
        matches!(answer.asked.effect, Effect::StartControl { .. }) && answer.failure().is_some()
    };
    if step.answers.iter().any(control_failed) {
        feed.one(ending, "fault");
    }
    if step.ended.is_some() && !step.exits && step.turn_report(ReportStatus::Idle).is_some() {
        feed.one(ending, "turn ends");
    }
    if step.doubted {
        feed.one(ending, "turn doubted");
    }
    if step.is_due(TimerKey::Drain) {
        feed.one(ending, "drain over");
    }
    if step.exits {
        feed.one(ending, "exit");
    }
    if step.is_due(TimerKey::Stop) && before.process == "killing" {
        feed.one(ending, "stop failed");
    }
    if step.is_due(TimerKey::Ending) {
        feed.one(ending, "time over");
    }
    says_the_last_word(step, feed);
    let accepted = step.answers.iter().any(|answer| answer.call().is_some() && answer.failure().is_none());
    let all = before.reports > 0 && after.reports == 0 && before.ending != "reporting";
    if accepted && (all || before.ending == "reporting" && after.ending != "reporting") {
        feed.one(ending, "accepted");
    }
}

fn says_the_last_word(step: &Step<'_>, feed: &mut Feed) {
    for answer in &step.answers {
        let last = match answer.call() {
            Some(Call::DeleteAgent) => true,
            // The agent is left where it was given up, or is to be taken up again.
            Some(Call::SetStatus { .. }) => matches!(step.before.why, Some("gave up" | "step aside")),
            _ => false,
        };
        if last && step.before.ending == "leaving" && answer.asked.ending == "leaving" {
            feed.one("ending", if answer.failure().is_some() { "farewell failed" } else { "farewell said" });
        }
    }
}
