//! A message on its way into the provider.

use relay_runner_core::config::Delivery;
use relay_runner_core::event::{
    ExitClass, FailureKind, Incoming, ProviderReport, RelayEvent, ReportStatus, StatusReport, TakenOffer, TurnEnd,
};
use relay_runner_core::{OpResult, TimerKey};
use relay_runner_protocol::TaskStatus;

use super::{Case, Driver, answers, due, fails};
use crate::story::{Story, config, plain, task};

pub(super) const DRIVER: Driver =
    Driver { machine: "message", brings, feeds, state, asks: &["offer,m5", "delivery,m5", "read,m5", "task,t50"] };

fn state(story: &Story) -> String {
    let facts = story.core.facts();
    let over = || {
        if facts.settled.contains(&5) {
            "settled"
        } else if facts.set_aside.contains_key(&5) {
            "set aside"
        } else {
            "none"
        }
    };
    let stage = story.stage(5).unwrap_or_else(over);
    if stage == "setAside" { "set aside".to_owned() } else { stage.to_owned() }
}

fn brings(case: &Case) -> Story {
    let mut config = config();
    config.adapter.evidence = case.note != "handed over is all there is to know";
    if case.event == "turn doubted" {
        // Before anything that waits for an answer has its time.
        config.timing.turn_probe = 2_000;
    }
    if case.event == "makes way" {
        config.delivery = Delivery::Interrupt;
    }
    let mut story = Story::up_with(config);
    match case.state {
        "none" => is_none(&mut story, case),
        "held" if case.note == "offered before" => {
            story.message(plain(5));
            story.exits(ExitClass::Crash);
        }
        "held" if case.event == "turn doubted" => drop(story.busy().message(plain(5))),
        "claimed" if case.event == "turn doubted" => {
            story.message(task(5, 50));
            story.busy();
            granted(&mut story);
        }
        "held" | "claimed" => waits(&mut story, case),
        "offered" => is_offered(&mut story, case),
        "taken" => is_taken(&mut story, case),
        "ambiguous" if ["of the turn that has it", "another than the one that has it"].contains(&case.note) => {
            is_taken(&mut story, case);
            story.busy();
            if case.event == "makes way" {
                urgent_comes(&mut story);
            }
            doubted(&mut story);
        }
        "ambiguous" if case.note.starts_with("it was taken") => {
            is_taken(&mut story, case);
            due(&mut story, TimerKey::Turnless);
        }
        "ambiguous" => {
            is_offered(&mut story, case);
            answers(&mut story, "offer,m5", OpResult::Ok);
            due(&mut story, TimerKey::Take);
        }
        "worked" | "settled" => {
            is_taken(&mut story, case);
            story.busy().idle();
            if case.state == "settled" {
                answers(&mut story, "read,m5", OpResult::Ok);
            }
        }
        "set aside" => {
            is_taken(&mut story, case);
            story.busy();
            interrupted(&mut story);
        }
        other => panic!("{other}?"),
    }
    story
}

fn is_none(story: &mut Story, case: &Case) {
    match case.event {
        "arrives" if case.note.starts_with("a turn runs") => drop(story.busy()),
        // The answer is to a question that was asked while it was here.
        "granted" | "refused" => {
            story.message(task(5, 50));
            taken_over(story);
        }
        _ => {}
    }
}

/// Nothing is offered while an operation of the adapter runs.
fn waits(story: &mut Story, case: &Case) {
    let asked = case.state == "claimed" || ["granted", "refused"].contains(&case.event);
    let free = case.state == "held" && (case.note == "nothing else holds it up" || case.event == "refused");
    if asked {
        story.message(task(5, 50));
    }
    if !free {
        story.local_command("agent.compact");
    }
    if !asked {
        story.message(plain(5));
    }
    if case.state == "claimed" {
        granted(story);
    }
}

fn message(case: &Case) -> Incoming {
    let owed = [("worked", "end refused"), ("ambiguous", "long in doubt")].contains(&(case.state, case.event));
    let of_a_task = owed || case.note.ends_with("under a claim");
    if of_a_task { task(5, 50) } else { plain(5) }
}

fn is_offered(story: &mut Story, case: &Case) {
    story.message(message(case));
    if message(case).claimable {
        granted(story);
        answers(story, "in_progress", OpResult::Ok);
    }
    if case.note == "for the 8th time" {
        for _ in 1..8 {
            feeds(story, case);
            due(story, TimerKey::Inbox);
        }
    }
    if case.event == "not taken" && case.state == "offered" {
        answers(story, "offer,m5", OpResult::Ok);
    }
}

fn is_taken(story: &mut Story, case: &Case) {
    is_offered(story, case);
    if case.note == "it did not belong to this turn" {
        answers(story, "offer,m5", OpResult::Ok);
        story.busy();
        story.takes(5);
        return;
    }
    is_handed_over_and_taken(story);
    if case.note == "for the 3rd time" {
        for _ in 1..3 {
            story.busy();
            story.turn_fails("the model's service is down");
            is_handed_over_and_taken(story);
        }
    }
}

fn is_handed_over_and_taken(story: &mut Story) {
    answers(story, "offer,m5", OpResult::Ok);
    story.takes(5);
}

fn granted(story: &mut Story) {
    answers(story, "claim,m5", OpResult::Granted { fence: 3, lease: None });
}

fn deleted(story: &mut Story) {
    story.relay_says(RelayEvent::MessageDeleted { message: 5 });
}

fn taken_over(story: &mut Story) {
    let status = TaskStatus::Failed;
    story.relay_says(RelayEvent::Task { task: 50, message: 5, status, cancelled: true });
}

fn interrupted(story: &mut Story) {
    breaks_off(story, true);
}

fn breaks_off(story: &mut Story, by_person: bool) {
    let end = TurnEnd::Interrupted { by_person };
    story.report(StatusReport { status: ReportStatus::Idle, end, ..StatusReport::default() });
}

/// It interrupts the turn that runs.
fn urgent_comes(story: &mut Story) {
    story.message(Incoming { urgent: true, ..plain(9) });
}

fn doubted(story: &mut Story) {
    due(story, TimerKey::TurnProbe);
    fails(story, ",probe)", FailureKind::Unsupported);
}

fn feeds(story: &mut Story, case: &Case) {
    match case.event {
        "arrives" => drop(story.message(message(case))),
        "granted" => granted(story),
        "refused" => answers(story, "claim,m5", OpResult::Refused { by: Some("rival".into()) }),
        "gate opens" => answers(story, ",compact)", OpResult::Ok),
        "handed over" => answers(story, "offer,m5", OpResult::Ok),
        "not ready" => fails(story, "offer,m5", FailureKind::NotReady),
        "offer fails" => fails(story, "offer,m5", FailureKind::Provider),
        "missed" => {
            answers(story, "offer,m5", OpResult::Ok);
            let offers = vec![TakenOffer { message: 5, nonce: None }];
            story.provider(ProviderReport::Missed { offers });
        }
        "sign of life" => drop(story.provider(ProviderReport::SignOfLife)),
        "no answer" => fails(story, "offer,m5", FailureKind::TimedOut),
        "taken" => drop(story.takes(5)),
        "not taken" if case.state == "taken" => due(story, TimerKey::Turnless),
        "not taken" => due(story, TimerKey::Take),
        "accepted" => answers(story, "read,m5", OpResult::Ok),
        "end refused" => fails(story, ",done,", FailureKind::Invalid),
        "taken over" => taken_over(story),
        "deleted" => deleted(story),
        "long in doubt" => due(story, TimerKey::Ambiguous),
        "given back" => drop(story.exits(ExitClass::Refused)),
        "another relay" => drop(story.meets_another_relay()),
        "runner restarted" => *story = Story::with(config(), story.core.facts()),
        _ => a_turn(story, case),
    }
}

fn a_turn(story: &mut Story, case: &Case) {
    let way_is_made = case.event == "makes way" && case.state != "ambiguous";
    if case.note.starts_with("held up") && !way_is_made {
        story.local_command("agent.compact");
    }
    if story.core.view().turn.is_none() && case.event != "exit" {
        story.busy();
    }
    if way_is_made {
        urgent_comes(story);
        if case.note.starts_with("held up") {
            story.local_command("agent.compact");
        }
    }
    match case.event {
        "turn begins" if case.note.starts_with("another") => drop(story.busy()),
        "turn begins" => {}
        "makes way" => breaks_off(story, false),
        "turn doubted" => doubted(story),
        "turn ends" => drop(story.idle()),
        "turn fails" => drop(story.turn_fails("the model's service is down")),
        "interrupted" => interrupted(story),
        "exit" => drop(story.exits(ExitClass::Crash)),
        other => panic!("{other}?"),
    }
}
