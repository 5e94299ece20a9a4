//! Hooks of a provider that are posted to the control server (behaviour 19). Reading one is a pure function of its own
//! JSON; what it says is taken in like any other report. Words of prompts and of tools stay outside: of them there is an
//! offer's id and nonce, or a digest.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use crate::Core;
use crate::effect::{Answer, Effect, Effects};
use crate::event::{
    ApprovalRequest, HookReport, PermissionAsk, ReportStatus, StatusReport, TakenOffer, TimelineReport, TurnEnd,
};
use crate::flags::Flag;
use crate::format::offers_in;
use crate::ids::{RequestId, Text};
use crate::note::Note;
use crate::wire::cut;

/// The hooks that mean something here, by the names that Claude Code gives them.
pub const HOOKS: [&str; 14] = [
    "SessionStart",
    "UserPromptSubmit",
    "PreToolUse",
    "PermissionRequest",
    "PostToolUse",
    "PostToolUseFailure",
    "PermissionDenied",
    "Notification",
    "Stop",
    "StopFailure",
    "SubagentStart",
    "SubagentStop",
    "PreCompact",
    "PostCompact",
];

/// The last one; what it says depends on why.
pub const SESSION_END: &str = "SessionEnd";

/// In a `Stop` that asks whether the end of the turn is held, and that says no end: the adapter says that by itself.
pub const ASKS_ONLY: &str = "asks_only";

/// What a hook posts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    Report(Box<HookReport>),
    /// It waits for a decision.
    Permission {
        ask: PermissionAsk,
        /// What the tool is called with, as text for whoever decides; not for the journal.
        input: Option<String>,
    },
}

/// Reads what a hook posts; none for a hook that is not known. What is of the wrong type counts as absent.
pub fn read(hook: &str, payload: &Map<String, Value>) -> Option<Posted> {
    let session = text(payload, "providerSessionId");
    let posted = HookReport { session, pids: pids(payload), ..HookReport::default() };
    let with = |report: StatusReport| HookReport { report: Some(report), ..posted.clone() };
    let read = match hook {
        "SessionStart" => {
            let source = text(payload, "source").unwrap_or_else(|| "startup".into());
            with(StatusReport { timeline: Some(entry(&format!("session-{source}"))), ..StatusReport::default() })
        }
        "UserPromptSubmit" => {
            let prompt = payload.get("prompt").and_then(Value::as_str).unwrap_or_default();
            let taken = offers_in(prompt).map(|(message, nonce)| TakenOffer { message, nonce: Some(nonce) }).collect();
            let report = StatusReport { status: ReportStatus::Busy, id: turn(payload), ..StatusReport::default() };
            HookReport { taken, ..with(report) }
        }
        "PermissionRequest" => {
            let approval = ApprovalRequest {
                id: approval_id(payload),
                kind: "tool".into(),
                tool: text(payload, "tool_name"),
                reason: text(payload, "reason"),
            };
            let input = payload.get("tool_input").filter(|input| !input.is_null()).map(Value::to_string);
            return Some(Posted::Permission {
                ask: PermissionAsk { approval, session: posted.session, pid: None, pids: posted.pids },
                input,
            });
        }
        "PostToolUse" | "PostToolUseFailure" | "PermissionDenied" => {
            HookReport { answered: Some(approval_id(payload)), ..posted }
        }
        "PreToolUse" | "Notification" => posted,
        "Stop" => {
            let still_running = running(payload);
            let last = payload.get("last_assistant_message").and_then(Value::as_str).map(digest_of);
            let last = last.or_else(|| digested(payload, LAST));
            let metadata = last.map(|last| format!("{{\"lastMessage\":\"{last}\"}}").into());
            let held = payload.get("stop_hook_active").and_then(Value::as_bool).unwrap_or(false);
            if payload.get(ASKS_ONLY).and_then(Value::as_bool).unwrap_or(false) {
                return Some(Posted::Report(Box::new(HookReport { held_before: Some(held), ..posted })));
            }
            let report = StatusReport { id: turn(payload), still_running, metadata, ..StatusReport::default() };
            HookReport { held_before: Some(held), ..with(report) }
        }
        "StopFailure" => {
            let error = text(payload, "error").unwrap_or_else(|| "the turn failed".into());
            let end = TurnEnd::Failed { error };
            with(StatusReport {
                id: turn(payload),
                end,
                timeline: Some(entry("turn-failed")),
                ..StatusReport::default()
            })
        }
        "SubagentStart" => with(subagent(ReportStatus::Busy, payload)),
        "SubagentStop" => with(subagent(ReportStatus::Idle, payload)),
        "PreCompact" => with(compaction(ReportStatus::Busy, "compacting")),
        "PostCompact" => with(compaction(ReportStatus::Idle, "compacted")),
        SESSION_END => {
            let reason = text(payload, "reason").unwrap_or_else(|| "other".into());
            // Offline changes nothing by itself: the process lives, and its exit is what says that it is over.
            let timeline = Some(entry(&format!("session-end-{reason}")));
            with(StatusReport { status: ReportStatus::Offline, timeline, ..StatusReport::default() })
        }
        _ => return None,
    };
    Some(Posted::Report(Box::new(read)))
}

/// The same hook with no more than [`read`] looks at, so that it stays small whatever the provider puts into it: of a
/// prompt the headings, of what a tool is called with at most `most` bytes and its digest, of other words 300 characters, and
/// nothing of its answer.
pub fn slim(payload: &Map<String, Value>, most: usize) -> Map<String, Value> {
    const KEPT: [&str; 19] = [
        "providerSessionId",
        "pid",
        "pids",
        "session_id",
        "transcript_path",
        "model",
        "source",
        "prompt_id",
        "turn_id",
        "tool_name",
        "reason",
        "stop_hook_active",
        ASKS_ONLY,
        "error",
        "agent_id",
        "agent_type",
        "trigger",
        "hook_event_name",
        DIGEST,
    ];
    let mut slim: Map<String, Value> =
        KEPT.iter().filter_map(|key| Some(((*key).to_string(), plain(payload.get(*key)?)?))).collect();
    if let Some(prompt) = payload.get("prompt").and_then(Value::as_str) {
        let headings: Vec<String> = offers_in(prompt)
            .take(LIST_MOST)
            .map(|(message, nonce)| format!("[relay message {message} {nonce}]"))
            .collect();
        slim.insert("prompt".to_string(), Value::from(headings.join("\n")));
    }
    if let Some(input) = payload.get("tool_input").filter(|input| !input.is_null()) {
        slim.insert(DIGEST.to_string(), Value::from(digest(payload)));
        let whole = input.to_string();
        let shown = if whole.len() <= most { input.clone() } else { Value::from(cut_to(&whole, most)) };
        slim.insert("tool_input".to_string(), shown);
    }
    if let Some(last) = payload.get("last_assistant_message").and_then(Value::as_str) {
        slim.insert(LAST.to_string(), Value::from(digest_of(last)));
    }
    if payload.contains_key("background_tasks") {
        let ids: Vec<Value> = running(payload).iter().map(|id| Value::from(&**id)).collect();
        slim.insert("background_tasks".to_string(), Value::from(ids));
    }
    slim
}

/// Items of a list that are looked at.
const LIST_MOST: usize = 64;

/// A value that [`read`] looks at, bounded.
fn plain(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => Some(Value::from(&*cut(text))),
        Value::Bool(_) | Value::Number(_) => Some(value.clone()),
        Value::Array(items) => {
            Some(Value::from(items.iter().filter(|item| item.is_number()).take(LIST_MOST).cloned().collect::<Vec<_>>()))
        }
        Value::Null | Value::Object(_) => None,
    }
}

/// Of the last message, in a hook that was made slim.
const LAST: &str = "lastMessageDigest";

fn digest_of(text: &str) -> String {
    format!("{:016x}", xxh3_64(text.as_bytes()))
}

/// Of what a tool is called with, in a hook that was made slim.
const DIGEST: &str = "toolInputDigest";

fn cut_to(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn text(payload: &Map<String, Value>, key: &str) -> Option<Text> {
    payload.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(cut)
}

fn pids(payload: &Map<String, Value>) -> Vec<u32> {
    const MOST: usize = 16;
    let several = payload.get("pids").and_then(Value::as_array).into_iter().flatten();
    let numbers = payload.get("pid").into_iter().chain(several).filter_map(Value::as_u64);
    numbers.filter_map(|pid| u32::try_from(pid).ok()).take(MOST).collect()
}

/// The provider's own name of the turn: Claude Code says `prompt_id`, codex `turn_id`.
fn turn(payload: &Map<String, Value>) -> Option<Text> {
    text(payload, "prompt_id").or_else(|| text(payload, "turn_id"))
}

fn entry(status: &str) -> TimelineReport {
    TimelineReport { status: cut(status), id: None, timestamp: None }
}

fn subagent(status: ReportStatus, payload: &Map<String, Value>) -> StatusReport {
    let (id, label) = (text(payload, "agent_id"), text(payload, "agent_type"));
    StatusReport { status, reason: Some("subagent".into()), id, label, ..StatusReport::default() }
}

fn compaction(status: ReportStatus, name: &str) -> StatusReport {
    StatusReport { status, reason: Some("compaction".into()), timeline: Some(entry(name)), ..StatusReport::default() }
}

/// Subagents that go on behind the turn.
fn running(payload: &Map<String, Value>) -> Vec<Text> {
    let tasks = payload.get("background_tasks").and_then(Value::as_array);
    let id = |task: &Value| {
        let named = || ["agent_id", "id", "task_id"].iter().find_map(|key| task.get(*key).and_then(Value::as_str));
        task.as_str().or_else(named).map(cut)
    };
    tasks.into_iter().flatten().filter_map(id).take(LIST_MOST).collect()
}

/// A permission request has no id of its own: the tool and what it is called with are what the hook of its end has as
/// well.
fn approval_id(payload: &Map<String, Value>) -> Text {
    let tool = text(payload, "tool_name").unwrap_or_else(|| "tool".into());
    format!("{tool}-{}", digest(payload)).into()
}

fn digest(payload: &Map<String, Value>) -> String {
    digested(payload, DIGEST)
        .unwrap_or_else(|| digest_of(&payload.get("tool_input").map(Value::to_string).unwrap_or_default()))
}

/// A digest that was made already.
fn digested(payload: &Map<String, Value>, key: &str) -> Option<String> {
    let given = payload.get(key).and_then(Value::as_str)?;
    (given.len() == 16 && given.bytes().all(|b| b.is_ascii_hexdigit())).then(|| given.to_string())
}

impl Core {
    /// A hook of the living provider session, answered with what is owed and whether the end of its turn is held.
    pub(crate) fn hook(&mut self, request: RequestId, hook: &HookReport, fx: &mut Effects) {
        if !self.is_of_living_session(hook.session.as_deref(), &hook.pids) {
            fx.note(Note::Stale { what: "hook of another session", number: 0 });
            fx.push(Effect::Answer { request, answer: Answer::Stale });
            return;
        }
        // Else taken before the turn begins that has them.
        let turn = hook.report.as_ref().and_then(|report| report.id.as_ref());
        let joins = self.turns.is_current(turn) && self.config.flags.has(Flag::JoinsTheTurnOfItsHook);
        self.taken(&hook.taken, joins, fx);
        if let Some(approval) = &hook.answered {
            self.approval_answered_elsewhere(approval, fx);
        }
        let holds = hook.held_before.is_some_and(|before| self.holds_the_end(before));
        match &hook.report {
            Some(report) if !holds => self.status_report(report, fx),
            Some(_) | None => self.sign_of_life(fx),
        }
        let busy = self.work.reasons().map(Text::from).collect();
        let answer = Answer::Hook { busy, owed: self.owed_replies(), holds };
        fx.push(Effect::Answer { request, answer });
    }
}

#[cfg(test)]
mod tests;
