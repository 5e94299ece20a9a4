//! A command.

use relay_runner_core::event::{ApprovalRequest, ExitClass, FailureKind, Params, PermissionAsk, ProviderReport};
use relay_runner_core::{Config, Event, OpResult, Order, RequestId, TimerKey};

use super::{Case, Driver, answers, due, fails};
use crate::story::{Story, config, facts, plain};

pub(super) const DRIVER: Driver =
    Driver { machine: "command", brings, feeds, state, asks: &["command,c1,", ",compact)"] };

fn state(story: &Story) -> String {
    let view = story.core.view();
    if let Some(open) = view.commands.iter().find(|command| command.id == Some("c1")) {
        return open.state.to_owned();
    }
    let known = story.core.facts().commands.into_iter().find(|command| &*command.id == "c1");
    known.map_or("new", |command| command.status.as_str()).to_owned()
}

/// What the command of this state is called on the wire.
fn name(case: &Case) -> &'static str {
    match (case.state, case.note) {
        ("for generation", _) | ("new", "restart") => "agent.restart",
        ("for registration", _) | ("new", "reconnect") => "agent.reconnect",
        ("for the end", _) | ("new", "shutdown or kill") => "agent.shutdown",
        ("new", note) if note.starts_with("a decision") => "agent.permissionDecision",
        ("new", note) if note.starts_with("unknown") => "agent.dance",
        _ => "agent.compact",
    }
}

fn brings(case: &Case) -> Story {
    let mut config = config();
    // Shorter than what else is under way.
    config.timing.shutdown = 4_000;
    let first = case.note.contains("the first process");
    let mut story = if first { starting(config) } else { Story::up_with(config) };
    if case.state == "queued" && !first || case.note.ends_with("handed over") {
        story.message(plain(9));
    }
    if case.note.starts_with("a decision") {
        let approval = ApprovalRequest { id: "p1".into(), kind: "tool".into(), tool: None, reason: None };
        let ask =
            Box::new(PermissionAsk { approval, session: Some(story.session().into()), pid: None, pids: Vec::new() });
        story.hears(Event::Order(Order::Permission { request: RequestId(7), ask }));
    }
    if case.note.ends_with("any more") {
        story.provider(ProviderReport::ApprovalClosed { id: "p1".into() });
    }
    if case.state == "new" {
        return story;
    }
    story.command("c1", name(case));
    match case.state {
        "succeeded" => answers(&mut story, ",compact)", OpResult::Ok),
        "failed" => fails(&mut story, ",compact)", FailureKind::Provider),
        "for generation" if case.event == "provider up" || case.note.starts_with("the new process") => {
            story.exits(ExitClass::Clean);
        }
        _ => {}
    }
    // The outcome is accepted: if it is said again, it is said anew.
    if ["succeeded", "failed"].contains(&case.state) {
        answers(&mut story, "command,c1,", OpResult::Ok);
    }
    story
}

/// Before the first process is up.
fn starting(config: Config) -> Story {
    let mut story = Story::with(config, facts());
    story.boot();
    story.registers();
    story.spawns();
    story
}

fn feeds(story: &mut Story, case: &Case) {
    match case.event {
        "arrives" => {
            let params = Params { approval: Some("p1".into()), decision: Some("deny".into()), ..Params::default() };
            story.command_with("c1", name(case), params);
        }
        "provider up" => drop(story.provider(ProviderReport::Ready)),
        "exit" => drop(story.exits(ExitClass::Crash)),
        "stop failed" => stop_fails(story),
        "registered" => is_registered(story),
        "turn free" => answers(story, "offer,m9", OpResult::Ok),
        "done" => answers(story, ",compact)", OpResult::Ok),
        "refused" => fails(story, ",compact)", FailureKind::Provider),
        "no answer" if case.state == "at provider" => drop(story.after(300_000)),
        "no answer" => fails(story, ",compact)", FailureKind::TimedOut),
        "restart comes" => drop(story.local_command("agent.restart")),
        "shutdown comes" => drop(story.local_command("agent.shutdown")),
        "kill comes" => drop(story.local_command("agent.kill")),
        "runner restarted" => {
            *story = Story::with(config(), story.core.facts());
            story.boot();
        }
        other => panic!("{other}?"),
    }
}

/// Every step of stopping is taken, and no exit comes.
fn stop_fails(story: &mut Story) {
    story.local_command("agent.restart");
    for _ in 0..3 {
        due(story, TimerKey::Stop);
    }
}

fn is_registered(story: &mut Story) {
    if story.core.view().link.state == "up" {
        story.link_breaks();
        due(story, TimerKey::Reconnect);
    }
    story.registers();
}
