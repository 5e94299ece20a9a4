//! The provider process.

use relay_runner_core::config::{Mode, OnGiveUp};
use relay_runner_core::event::{BusFrame, ExitClass, FailureKind, ProcessRef, ProviderReport};
use relay_runner_core::facts::ProviderFact;
use relay_runner_core::{DurableFacts, Event, Generation, OpResult, TimerKey};

use super::{Case, Driver, answers, due, fails};
use crate::story::{EPOCH, Story, config, facts};

pub(super) const DRIVER: Driver = Driver {
    machine: "lifecycle",
    brings,
    feeds,
    state: |story| story.core.view().process.state.to_owned(),
    asks: &["spawn(", "adopt(", "stop("],
};

fn brings(case: &Case) -> Story {
    if case.event == "adopt" && case.state == "idle" {
        return Story::with(config_for(case), left());
    }
    if case.state == "adopting" {
        return adopting(case);
    }
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

/// The facts of a run that left its process.
fn left() -> DurableFacts {
    let mut facts = facts();
    facts.generation = Generation(1);
    let process = ProcessRef { pid: 101, started: 1, boot: "boot".into() };
    facts.provider = Some(ProviderFact { generation: facts.generation, process: Some(process), launch: 0 });
    facts
}

fn adopting(case: &Case) -> Story {
    let mut facts = left();
    if case.note == "refused, or one exit too many" {
        facts.exits = vec![EPOCH; 3];
    }
    let mut story = Story::with(config_for(case), facts);
    story.boot();
    if case.note == "it said that its turn runs" {
        story.busy();
    }
    // An end needs no relay, and a start without one waits for it.
    if case.note == "it is gone, and there is a relay" || case.note == "by itself" {
        story.registers();
    }
    story
}

fn config_for(case: &Case) -> relay_runner_core::Config {
    let mut config = config();
    config.on_give_up = OnGiveUp::Park;
    config.adapter.adoptable = true;
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
        "adopt" if case.state == "idle" => story.boot(),
        "adopt" => drop(story.hears(Event::Boot)),
        "start" if case.state == "idle" => drop(story.registers()),
        "start" => drop(story.frame(BusFrame::Registered { epoch: 1, cursor: 0, relay: None, heartbeat: None })),
        "spawned" if case.state == "adopting" => answers(story, "adopt(", OpResult::Spawned(process())),
        "spawn failed" if case.state == "adopting" => fails(story, "adopt(", FailureKind::NotFound),
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
