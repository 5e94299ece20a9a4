//! The provider process.

use relay_runner_core::config::{Mode, OnGiveUp};
use relay_runner_core::event::{BusFrame, ExitClass, FailureKind, ProcessRef, ProviderReport};
use relay_runner_core::{OpResult, TimerKey};

use super::{Case, Driver, answers, due, fails};
use crate::story::{Story, config, facts};

pub(super) const DRIVER: Driver = Driver {
    machine: "lifecycle",
    brings,
    feeds,
    state: |story| story.core.view().process.state.to_owned(),
    asks: &["spawn(", "stop("],
};

fn brings(case: &Case) -> Story {
    let mut story = Story::with(config_for(case), facts());
    story.boot();
    if case.state == "idle" {
        return story;
    }
    story.registers();
    let exits = match (case.state, case.event, case.note) {
        (_, _, "refused, or one exit too many") => 3,
        // It is another matter if none was ever up.
        ("starting", "spawn failed", "by itself") => 1,
        _ => 0,
    };
    for _ in 0..exits {
        story.provider_comes_up();
        story.exits(ExitClass::Crash);
        due(&mut story, TimerKey::Cooling);
    }
    if !case.event.starts_with("spawn") {
        story.spawns();
    }
    comes_to(&mut story, case);
    story
}

fn config_for(case: &Case) -> relay_runner_core::Config {
    let mut config = config();
    config.on_give_up = OnGiveUp::Park;
    if case.note.starts_with("interactive") {
        config.mode = Mode::Interactive;
    }
    config
}

fn comes_to(story: &mut Story, case: &Case) {
    let start_overdue = case.note.starts_with("its start was overdue");
    let early = case.note == "its turn came first";
    match case.state {
        "starting" if early => {
            story.busy();
        }
        "starting" => {}
        "cooling" => {
            story.exits(ExitClass::Crash);
        }
        "parked" => {
            story.exits(ExitClass::Refused);
        }
        "killing" if start_overdue => due(story, TimerKey::Start),
        _ => {
            story.provider(ProviderReport::Ready);
            is_up(story, case);
        }
    }
}

fn is_up(story: &mut Story, case: &Case) {
    match case.state {
        "waiting" => {}
        "working" => {
            story.busy();
        }
        "draining" | "terminating" | "killing" => {
            let order = if case.note == "stopped for the end" { "agent.shutdown" } else { "agent.restart" };
            story.local_command(order);
            let steps = ["draining", "terminating", "killing"].iter().position(|state| *state == case.state);
            for _ in 0..steps.unwrap_or(0) {
                due(story, TimerKey::Stop);
            }
        }
        other => panic!("{other}?"),
    }
}

fn feeds(story: &mut Story, case: &Case) {
    let process = || ProcessRef { pid: 7, started: 1, boot: "boot".into() };
    match case.event {
        "start" if case.state == "idle" => drop(story.registers()),
        "start" => drop(story.frame(BusFrame::Registered { epoch: 1, cursor: 0, relay: None, heartbeat: None })),
        "spawned" => answers(story, "spawn(", OpResult::Spawned(process())),
        "spawn failed" => fails(story, "spawn(", FailureKind::Io),
        "ready" => drop(story.provider(ProviderReport::Ready)),
        "busy" => drop(story.busy()),
        "idle" => drop(story.idle()),
        "exit" => drop(story.exits(ExitClass::Crash)),
        "restart" => drop(story.local_command("agent.restart")),
        "end" => drop(story.local_command("agent.shutdown")),
        "kill" => drop(story.local_command("agent.kill")),
        "start overdue" => due(story, TimerKey::Start),
        "step overdue" => due(story, TimerKey::Stop),
        "cooled" => due(story, TimerKey::Cooling),
        other => panic!("{other}?"),
    }
}
