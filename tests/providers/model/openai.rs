//! The Responses API: <https://platform.openai.com/docs/api-reference/responses>, as far as codex uses it.

use super::script::{self, Failure, Step};
use super::server::{Dialect, json_response};
use axum::body::Body;
use axum::http::{HeaderValue, Response};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) const DIALECT: Dialect = Dialect { prompts, next, events, failure };

fn items(body: &Value) -> &[Value] {
    body["input"].as_array().map_or(&[], Vec::as_slice)
}

/// The words of a person, where the item has such. What codex adds by itself stands in tags.
fn prompt(item: &Value) -> Option<String> {
    if item["role"] != "user" {
        return None;
    }
    let texts = item["content"].as_array()?.iter().filter_map(|part| part["text"].as_str());
    let text = texts.collect::<Vec<_>>().join("\n");
    (!text.is_empty() && !text.starts_with('<') && !text.starts_with("# AGENTS.md instructions")).then_some(text)
}

fn prompts(body: &Value) -> Vec<String> {
    items(body).iter().filter_map(prompt).collect()
}

fn next(body: &Value) -> Step {
    let (mut said, mut called) = (String::new(), 0);
    for item in items(body) {
        if let Some(prompt) = prompt(item) {
            (said, called) = (prompt, 0);
        } else if item["type"].as_str().is_some_and(|kind| kind.ends_with("_call")) {
            called += 1;
        }
    }
    script::next(&said, called)
}

fn events(number: usize, body: &Value, step: &Step) -> [Vec<Value>; 2] {
    let id = format!("resp_{number}");
    let created = json!({"type": "response.created", "response": {"id": id, "status": "in_progress"}});
    let words = match step {
        Step::Say(words) => words.as_str(),
        Step::Hold(_) => "A first word, and the last.",
        Step::Break => "A first word",
        Step::Fail(failure) => {
            let code = failure.code.as_deref().unwrap_or("server_error");
            let error = json!({"code": code, "message": message(failure)});
            let failed = json!({"id": id, "status": "failed", "error": error});
            return [vec![created], vec![json!({"type": "response.failed", "response": failed})]];
        }
        Step::Run(command) => return tool(number, created, &exec(body, command, false)),
        Step::Ask(command) => return tool(number, created, &exec(body, command, true)),
        Step::Use { tool: name, arguments } => {
            let called = if serde_json::from_str::<Value>(arguments).is_ok() {
                json!({"type": "function_call", "name": name, "arguments": arguments})
            } else {
                json!({"type": "custom_tool_call", "name": name, "input": arguments, "status": "completed"})
            };
            return tool(number, created, &called);
        }
    };
    let (first, rest) = words.split_at(words.find(" and").unwrap_or(words.len()));
    let message = format!("msg_{number}");
    let item = |status: &str, content: Value| {
        let (kind, role) = ("message", "assistant");
        json!({"type": kind, "id": message, "role": role, "status": status, "content": content})
    };
    let delta = |text: &str| {
        let kind = "response.output_text.delta";
        json!({"type": kind, "item_id": message, "output_index": 0, "content_index": 0, "delta": text})
    };
    let added =
        json!({"type": "response.output_item.added", "output_index": 0, "item": item("in_progress", json!([]))});
    let whole = item("completed", json!([{"type": "output_text", "text": words, "annotations": []}]));
    let done = json!({"type": "response.output_item.done", "output_index": 0, "item": whole});
    [vec![created, added, delta(first)], vec![delta(rest), done, completed(number, &whole)]]
}

/// A shell command by the tool that codex has offered for it.
fn exec(body: &Value, command: &str, asks: bool) -> Value {
    let offered = |name: &str| body["tools"].as_array().is_some_and(|all| all.iter().any(|tool| tool["name"] == name));
    let (name, mut arguments) = if offered("shell_command") && !offered("exec_command") {
        ("shell_command", json!({"command": command}))
    } else {
        ("exec_command", json!({"cmd": command}))
    };
    if asks {
        arguments["sandbox_permissions"] = "require_escalated".into();
        arguments["justification"] = "The stand-in was told to ask.".into();
    }
    json!({"type": "function_call", "name": name, "arguments": arguments.to_string()})
}

fn tool(number: usize, created: Value, called: &Value) -> [Vec<Value>; 2] {
    let mut item = called.clone();
    item["id"] = format!("fc_{number}").into();
    item["call_id"] = format!("call_{number}").into();
    let done = json!({"type": "response.output_item.done", "output_index": 0, "item": item});
    [vec![created], vec![done, completed(number, &item)]]
}

fn completed(number: usize, item: &Value) -> Value {
    let usage = json!({
        "input_tokens": 100, "input_tokens_details": {"cached_tokens": 10},
        "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 120,
    });
    let id = format!("resp_{number}");
    let response = json!({"id": id, "status": "completed", "output": [item], "usage": usage});
    json!({"type": "response.completed", "response": response})
}

fn message(failure: &Failure) -> &str {
    match failure.code.as_deref() {
        Some("usage_limit_reached") => "The usage limit has been reached",
        Some("context_length_exceeded") => "Your input exceeds the context window of this model.",
        Some("rate_limit_exceeded") => "Rate limit reached for requests. Please try again in 1s.",
        _ => "The stand-in was told to fail.",
    }
}

/// The end of a limit in seconds since 1970, with how long it still is, where the failure has a time.
pub(super) fn resets(failure: &Failure) -> Option<(u64, u64)> {
    let retry = failure.retry?;
    #[expect(clippy::disallowed_methods, reason = "the provider compares it with its own clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(((now + retry).as_secs(), retry.as_secs()))
}

fn failure(failure: &Failure) -> Response<Body> {
    let mut error = json!({"message": message(failure), "type": "error", "code": failure.code});
    let resets = resets(failure);
    if failure.code.as_deref() == Some("usage_limit_reached") {
        // As it is sent to who pays by a plan: the class is the type.
        error["type"] = "usage_limit_reached".into();
        error["plan_type"] = "plus".into();
        error["code"] = Value::Null;
        if let Some((at, seconds)) = resets {
            error["resets_at"] = at.into();
            error["resets_in_seconds"] = seconds.into();
        }
    }
    let mut response = json_response(failure.status, &json!({"error": error}));
    if let Some((at, seconds)) = resets {
        let mut set = |name: &'static str, value: String| {
            response.headers_mut().insert(name, HeaderValue::from_str(&value).unwrap());
        };
        if error["type"] == "usage_limit_reached" {
            set("x-codex-primary-used-percent", "100.0".to_owned());
            set("x-codex-primary-window-minutes", "300".to_owned());
            set("x-codex-primary-reset-at", at.to_string());
        } else {
            set("retry-after", seconds.to_string());
        }
    }
    response
}
