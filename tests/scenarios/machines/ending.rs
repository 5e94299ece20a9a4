//! The end of a run.

use relay_runner_core::event::{BusFrame, ExitClass, FailureKind, Signal};
use relay_runner_core::{Event, OpResult, Order, TimerKey};
use relay_runner_protocol::ErrorCode;

use super::{Case, Driver, answers, due, fails};
use crate::story::{Story, config, task};

pub(super) const DRIVER: Driver = Driver {
    machine: "ending",
    brings,
    feeds,
    state: |story| story.core.view().ending_phase.to_owned(),
    asks: &["stop(", "delete-agent", "set-status,offline", "disconnect(", "finish("],
};

fn brings(case: &Case) -> Story {
    let mut config = config();
    // So that the probe of a drain's turn comes in time.
    config.timing.turn_probe = 10_000;
    if case.note == "given up, or interactive" {
        config.mode = relay_runner_core::config::Mode::Interactive;
    }
    config.adapter.adoptable = case.note.starts_with("the provider");
    let mut story = Story::up_with(config);
    // A claim is owed its release.
    if case.note == "claims or outcomes are owed" || case.state == "reporting" && case.note != "no release is owed" {
        story.message(task(5, 50));
        story.grants(5, 3);
        answers(&mut story, "in_progress", OpResult::Ok);
    }
    match case.state {
        "none" if case.note == "a turn runs" => drop(story.busy()),
        "none" if case.note.starts_with("no process lives") => drop(story.exits(ExitClass::Crash)),
        "none" => {}
        "draining" => drop(story.busy().signal(Signal::Term)),
        "stopping" if case.note.starts_with("superseded") => superseded(&mut story),
        "reporting" if case.note == "the provider was to be left" => {
            story.by_hand();
            story.command("c1", "agent.dance").signal(Signal::Usr2);
        }
        "reporting" if case.note == "no release is owed" => {
            story.command("c1", "agent.shutdown").exits(ExitClass::Clean);
            // It waits for its next try.
            fails(&mut story, "command,c1,succeeded", FailureKind::Unreachable);
        }
        "stopping" => drop(story.signal(Signal::Term)),
        _ => drop(story.signal(Signal::Term).exits(ExitClass::Clean)),
    }
    if case.state == "over" {
        answers(&mut story, "delete-agent", OpResult::Ok);
    }
    story.by_hand();
    story
}

fn superseded(story: &mut Story) {
    story.frame(BusFrame::Error { code: ErrorCode::Superseded, message: "a newer instance holds the agent".into() });
}

fn feeds(story: &mut Story, case: &Case) {
    match case.event {
        "term" => drop(story.signal(Signal::Term)),
        "quit" => drop(story.signal(Signal::Quit)),
        "shutdown" => drop(story.command("c2", "agent.shutdown")),
        "kill" => drop(story.command("c2", "agent.kill")),
        "superseded" => superseded(story),
        "step aside" => drop(story.signal(Signal::Usr2)),
        "fault" => drop(story.hears(Event::Order(Order::Fault { what: "a task panicked".into() }))),
        "turn ends" if case.state == "none" => drop(story.busy().idle()),
        "turn ends" => drop(story.idle()),
        "turn doubted" => {
            if case.state == "none" {
                story.busy();
            }
            due(story, TimerKey::TurnProbe);
            fails(story, ",probe)", FailureKind::Unsupported);
        }
        "drain over" => due(story, TimerKey::Drain),
        "exit" => drop(story.exits(ExitClass::Crash)),
        "stop failed" => {
            for _ in 0..3 {
                due(story, TimerKey::Stop);
            }
        }
        "accepted" => answers(story, "release,m5", OpResult::Ok),
        "time over" => due(story, TimerKey::Ending),
        "farewell said" => answers(story, "delete-agent", OpResult::Ok),
        "farewell failed" if case.note.starts_with("for good") => fails(story, "delete-agent", FailureKind::NotFound),
        "farewell failed" => fails(story, "delete-agent", FailureKind::Unreachable),
        other => panic!("{other}?"),
    }
}
