//! The Messages API: <https://docs.anthropic.com/en/api/messages>, as far as Claude Code uses it.

use super::openai;
use super::script::{self, Failure, Step};
use super::server::{Dialect, json_response};
use axum::body::Body;
use axum::http::{HeaderValue, Response};
use serde_json::{Value, json};

pub(super) const DIALECT: Dialect = Dialect { prompts, next, events, failure };

/// The code of a failure that is the limit of a plan.
const USAGE_LIMIT: &str = "usage_limit_reached";

fn turns(body: &Value) -> &[Value] {
    body["messages"].as_array().map_or(&[], Vec::as_slice)
}

/// The words of a person in one of them. What Claude Code adds by itself stands in tags.
fn words(turn: &Value) -> Vec<String> {
    if turn["role"] == "assistant" {
        return Vec::new();
    }
    let texts: Vec<&str> = match &turn["content"] {
        Value::String(text) => vec![text],
        Value::Array(parts) => {
            parts.iter().filter(|p| p["type"] == "text").filter_map(|p| p["text"].as_str()).collect()
        }
        _ => Vec::new(),
    };
    let is_user = turn["role"] == "user";
    let of_a_person = |text: &&str| is_user && !text.is_empty() && !text.trim_start().starts_with('<');
    let said =
        |text: &str| event(text).or_else(|| pasted(text)).or_else(|| of_a_person(&text).then(|| text.to_owned()));
    texts.into_iter().filter_map(said).collect()
}

/// Several lines that were pasted.
fn pasted(text: &str) -> Option<String> {
    let (_, rest) = text.trim_start().strip_prefix("<pasted_content")?.split_once('>')?;
    let lines = rest.split("</pasted_content>").next().unwrap_or(rest).lines();
    Some(lines.map(str::trim).collect::<Vec<_>>().join("\n"))
}

/// What a monitor said, as the program passes it on: with its parts and lines as lines of their own.
fn event(text: &str) -> Option<String> {
    let mut events = text.split("<event>").skip(1).filter_map(|rest| Some(rest.split_once("</event>")?.0)).peekable();
    events.peek()?;
    let lines = events.flat_map(str::lines).map(|line| line.split(" ... ").next().unwrap_or(line));
    let said = lines.collect::<Vec<_>>().join("\n").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    Some(said.replace(" | ", "\n").replace('\u{23ce}', "\n"))
}

fn prompts(body: &Value) -> Vec<String> {
    turns(body).iter().flat_map(words).collect()
}

fn next(body: &Value) -> Step {
    let (mut said, mut called) = (String::new(), 0);
    for turn in turns(body) {
        if let Some(prompt) = words(turn).pop() {
            (said, called) = (prompt, 0);
        }
        if turn["role"] == "assistant" {
            called +=
                turn["content"].as_array().map_or(0, |all| all.iter().filter(|p| p["type"] == "tool_use").count());
        }
    }
    script::next(&said, called)
}

fn events(number: usize, body: &Value, step: &Step) -> [Vec<Value>; 2] {
    let usage = json!({
        "input_tokens": 100, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 10, "output_tokens": 20,
    });
    let message = |content: Value, reason: Value| {
        let model = &body["model"];
        let id = format!("msg_{number}");
        json!({"id": id, "type": "message", "role": "assistant", "model": model, "content": content,
            "stop_reason": reason, "stop_sequence": null, "usage": usage})
    };
    let start = json!({"type": "message_start", "message": message(json!([]), Value::Null)});
    let block = |block: Value| json!({"type": "content_block_start", "index": 0, "content_block": block});
    let delta = |delta: Value| json!({"type": "content_block_delta", "index": 0, "delta": delta});
    let end = |content: Value, reason: &str| {
        vec![
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": usage}),
            json!({"type": "message_stop", "message": message(json!([content]), reason.into())}),
        ]
    };
    let tool = |name: &str, input: Value| {
        let called =
            |input: &Value| json!({"type": "tool_use", "id": format!("toolu_{number}"), "name": name, "input": input});
        let given = delta(json!({"type": "input_json_delta", "partial_json": input.to_string()}));
        [vec![start.clone(), block(called(&json!({}))), given], end(called(&input), "tool_use")]
    };
    let words = match step {
        Step::Say(words) => words.as_str(),
        Step::Hold(_) => "A first word, and the last.",
        Step::Break => "A first word",
        Step::Fail(failure) => return [vec![start], vec![error(failure)]],
        // Whether it asks is its permission mode's to say.
        Step::Run(command) | Step::Ask(command) => {
            return tool("Bash", json!({"command": command, "description": "The stand-in was told to."}));
        }
        Step::Use { tool: name, arguments } => {
            return tool(name, serde_json::from_str(arguments).unwrap_or_else(|_| json!({"input": arguments})));
        }
    };
    let (first, rest) = words.split_at(words.find(" and").unwrap_or(words.len()));
    let text = |text: &str| json!({"type": "text", "text": text});
    let said = |text: &str| delta(json!({"type": "text_delta", "text": text}));
    let mut then = vec![said(rest)];
    then.extend(end(text(words), "end_turn"));
    [vec![start, block(text("")), said(first)], then]
}

fn error(failure: &Failure) -> Value {
    let kind = match (failure.code.as_deref(), failure.status) {
        // What makes it a limit is in the headers.
        (Some(USAGE_LIMIT), _) | (None, 429) => "rate_limit_error",
        (Some(code), _) => code,
        (None, 400) => "invalid_request_error",
        (None, 401) => "authentication_error",
        (None, 403) => "permission_error",
        (None, 529) => "overloaded_error",
        _ => "api_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": "The stand-in was told to fail."}})
}

fn failure(failure: &Failure) -> Response<Body> {
    let mut response = json_response(failure.status, &error(failure));
    if let Some((at, seconds)) = openai::resets(failure) {
        let headers = response.headers_mut();
        headers.insert("retry-after", HeaderValue::from(seconds));
        if failure.code.as_deref() == Some(USAGE_LIMIT) {
            headers.insert("anthropic-ratelimit-unified-status", HeaderValue::from_static("rejected"));
            headers.insert("anthropic-ratelimit-unified-reset", HeaderValue::from(at));
            headers.insert("anthropic-ratelimit-unified-representative-claim", HeaderValue::from_static("five_hour"));
        }
    }
    response
}
