//! A question of the provider.

use relay_runner_core::event::{ApprovalRequest, ExitClass, FailureKind, Params, PermissionAsk, ProviderReport};
use relay_runner_core::{Event, OpResult, Order, RequestId, TimerKey};

use super::{Case, Driver, answers, due, fails};
use crate::story::{Story, config};

/// Its name is `p1`; what is asked for is an answer to its caller, a word to the adapter, or a command's outcome.
pub(super) const DRIVER: Driver = Driver {
    machine: "approval",
    brings,
    feeds,
    state,
    asks: &["answer(r1", "answer(r2", "decide,p1", "command,c1,failed", "command,c2,"],
};

fn state(story: &Story) -> String {
    let view = story.core.view();
    let open = view.approvals.iter().find(|open| open.id == "p1").map(|open| open.state);
    let over = || view.approvals_over.iter().rev().find(|over| over.id == "p1").map(|over| over.how);
    open.or_else(over).unwrap_or("new").to_owned()
}

fn brings(case: &Case) -> Story {
    let mut story = Story::up();
    story.busy();
    match case.state {
        "new" => {}
        "held" => hook_asks(&mut story, 1),
        "asked" => adapter_asks(&mut story),
        "late" => {
            hook_asks(&mut story, 1);
            due(&mut story, TimerKey::Approvals);
        }
        state => {
            is_deciding(&mut story);
            match state {
                "deciding" => {}
                "decided" => answers(&mut story, "decide,p1", OpResult::Ok),
                "elsewhere" => elsewhere(&mut story),
                "turn ended" => drop(story.idle()),
                "process ended" => exits(&mut story),
                other => panic!("{other}?"),
            }
        }
    }
    story
}

fn is_deciding(story: &mut Story) {
    adapter_asks(story);
    decides(story, "c1");
}

fn request() -> ApprovalRequest {
    ApprovalRequest { id: "p1".into(), kind: "tool".into(), tool: Some("rm".into()), reason: None }
}

fn adapter_asks(story: &mut Story) {
    story.provider(ProviderReport::ApprovalOpened(Box::new(request())));
}

fn hook_asks(story: &mut Story, number: u64) {
    let session = story.session();
    asks_in(story, session, number);
}

fn asks_in(story: &mut Story, session: String, number: u64) {
    let ask =
        Box::new(PermissionAsk { approval: request(), session: Some(session.into()), pid: None, pids: Vec::new() });
    story.hears(Event::Order(Order::Permission { request: RequestId(number), ask }));
}

fn decides(story: &mut Story, command: &str) {
    let params = Params { approval: Some("p1".into()), decision: Some("approve".into()), ..Params::default() };
    story.command_with(command, "agent.permissionDecision", params);
}

fn elsewhere(story: &mut Story) {
    story.provider(ProviderReport::ApprovalClosed { id: "p1".into() });
}

/// The next process is there at once: what is asked of it is asked of a living one.
fn exits(story: &mut Story) {
    story.exits(ExitClass::Crash);
    due(story, TimerKey::Cooling);
    story.provider_comes_up();
}

fn feeds(story: &mut Story, case: &Case) {
    match case.event {
        "is asked" if case.note.starts_with("by a hook of another") => asks_in(story, "another".into(), 2),
        "is asked" if case.note.contains("adapter") => adapter_asks(story),
        "is asked" => hook_asks(story, 2),
        "decision" => decides(story, "c2"),
        "confirmed" => answers(story, "decide,p1", OpResult::Ok),
        "not confirmed" => fails(story, "decide,p1", FailureKind::TimedOut),
        "answered elsewhere" => elsewhere(story),
        "turn ends" => drop(story.idle()),
        "exit" => drop(story.exits(ExitClass::Crash)),
        "time over" => due(story, TimerKey::Approvals),
        "runner restarted" => *story = Story::with(config(), story.core.facts()),
        other => panic!("{other}?"),
    }
}
