//! The words of print mode (`stream-json`) that the runner uses; what the real program says was measured
//! (`docs/claude-provider.md`). What it does not know is passed over: they grow with every version.

use crate::provider::claude::failures::{self, Meaning};
use relay_runner_core::event::TurnEnd;
use serde_json::{Value, json};

/// Our requests are told from its own by this.
const CALL: &str = "rr-";
/// What is said to the model where a person would be asked a question.
pub(super) const DECIDE_BY_YOURSELF: &str =
    "Nobody is here to answer a question. Decide by yourself, or say at the end of your work what is to be known.";

/// Of answers, what is not needed; the first two may hold secrets of the user's settings.
const NOT_WANTED_OF_ANSWERS: [&str; 6] =
    ["effective", "sources", "commands", "agents", "models", "available_output_styles"];
/// The same of what each turn begins with.
const NOT_WANTED_OF_INIT: [&str; 7] =
    ["tools", "slash_commands", "terminal_slash_commands", "agents", "skills", "plugins", "capabilities"];

/// Types of lines that say nothing that is needed.
const PASSED_OVER: [&str; 6] =
    ["keep_alive", "stream_event", "tool_progress", "tool_use_summary", "auth_status", "prompt_suggestion"];

pub(super) fn call(id: u64, request: &Value) -> Value {
    json!({"type": "control_request", "request_id": format!("{CALL}{id}"), "request": request})
}

/// One user message under an id of ours. One that only tells begins no turn of the model.
pub(super) fn message(uuid: &str, text: &str, tells: bool) -> Value {
    let message = json!({"role": "user", "content": text});
    let mut line = json!({"type": "user", "message": message, "parent_tool_use_id": null, "uuid": uuid});
    if tells {
        line["shouldQuery"] = json!(false);
    }
    line
}

/// What is only told is never a command of Claude Code's own.
pub(super) fn told(text: &str) -> String {
    if text.trim_start().starts_with('/') { format!("To be known:\n{text}") } else { text.to_owned() }
}

/// The id of the message of this number: of the form of a uuid, and never one of another process.
pub(super) fn uuid(seed: &str, number: u64) -> String {
    let fixed = seed.get(..24).unwrap_or(seed);
    format!("{fixed}{:012x}", number & 0xffff_ffff_ffff)
}

pub(super) fn answer(request: &str, answer: &Value) -> Value {
    let response = json!({"subtype": "success", "request_id": request, "response": answer});
    json!({"type": "control_response", "response": response})
}

pub(super) fn refusal(request: &str, why: &str) -> Value {
    let response = json!({"subtype": "error", "request_id": request, "error": why});
    json!({"type": "control_response", "response": response})
}

/// Without what is long, or has no place in a record of what was said.
pub(super) fn trimmed(mut value: Value) -> Value {
    let kind = |name: &str| value["type"] == name;
    let (at, names): (_, &[&str]) = if kind("control_response") {
        ("/response/response", &NOT_WANTED_OF_ANSWERS)
    } else if kind("system") && value["subtype"] == "init" {
        ("", &NOT_WANTED_OF_INIT)
    } else {
        return value;
    };
    if let Some(said) = value.pointer_mut(at).and_then(Value::as_object_mut) {
        for name in names {
            said.remove(*name);
        }
    }
    value
}

/// Why a conversation cannot be gone on with.
pub(super) fn is_gone(why: &str) -> bool {
    why.contains("No conversation found")
}

/// Something that Claude Code said.
#[derive(Debug)]
pub(super) enum Heard {
    Answer {
        id: u64,
        result: Result<Value, String>,
    },
    Request {
        id: String,
        request: Value,
    },
    /// A request is withdrawn.
    Withdrawn {
        request: String,
    },
    /// How far a message of ours got.
    Message {
        uuid: String,
        state: State,
    },
    /// A turn of the model begins.
    Init {
        turn: String,
        session: Option<String>,
        model: Option<String>,
    },
    Said {
        by_subagent: bool,
        failing: Option<Failing>,
        /// Tokens in the context with this answer.
        used: Option<u64>,
    },
    Compacting(bool),
    /// With how many tokens are left.
    Compacted(Option<u64>),
    Retry {
        attempt: u64,
        text: String,
    },
    TaskStarted {
        task: String,
        label: Option<String>,
        in_background: bool,
    },
    TaskMoved {
        task: String,
        in_background: bool,
    },
    TaskEnded {
        task: String,
    },
    /// All that work in the background.
    InBackground(Vec<String>),
    /// Seconds since the epoch at which a limit that is reached ends; none: none is reached.
    Limit {
        ends: Option<u64>,
    },
    Cleared,
    Ended(Box<Ended>),
    /// It shows that the turn is alive.
    Life,
    Nothing,
    /// The reason holds no content.
    Odd(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Queued,
    Started,
    Completed,
    /// It never gets there, or its turn was broken off.
    Dropped,
}

/// Why the model did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failing {
    class: String,
    /// More exactly, where it is said.
    kind: Option<String>,
}

pub(super) fn heard(mut value: Value) -> Heard {
    let Some(kind) = value["type"].as_str().map(str::to_owned) else {
        return Heard::Odd("a line that has no type".to_owned());
    };
    match kind.as_str() {
        "control_response" => answered(&mut value["response"]),
        "control_request" => match value["request_id"].as_str().map(str::to_owned) {
            Some(id) => Heard::Request { id, request: value["request"].take() },
            None => Heard::Odd("a request without an id".to_owned()),
        },
        "control_cancel_request" => Heard::Withdrawn { request: text(&value["request_id"]) },
        "command_lifecycle" => {
            let state = match value["state"].as_str() {
                Some("queued") => State::Queued,
                Some("started") => State::Started,
                Some("completed") => State::Completed,
                Some("cancelled" | "discarded" | "refused") => State::Dropped,
                _ => return Heard::Odd("a state of a message that is not known".to_owned()),
            };
            Heard::Message { uuid: text(&value["command_uuid"]), state }
        }
        "system" => system(&value),
        "assistant" => said(&value),
        // A replay is none of the model's.
        "user" if value["isReplay"] == true => Heard::Nothing,
        "user" => Heard::Life,
        "rate_limit_event" => {
            let limit = &value["rate_limit_info"];
            let is_reached = limit["status"] == "rejected";
            Heard::Limit { ends: limit["resetsAt"].as_u64().filter(|_| is_reached) }
        }
        "conversation_reset" => Heard::Cleared,
        "result" => Heard::Ended(Box::new(Ended::of(&value))),
        kind if PASSED_OVER.contains(&kind) => Heard::Nothing,
        _ => Heard::Odd(format!("a line of the type `{kind}`, which is not known")),
    }
}

fn answered(response: &mut Value) -> Heard {
    // What is not ours is the echo of an answer of ours.
    let Some(id) = response["request_id"].as_str().and_then(|id| id.strip_prefix(CALL)?.parse().ok()) else {
        return Heard::Nothing;
    };
    let result = match response["subtype"].as_str() {
        Some("success") => Ok(response["response"].take()),
        _ => Err(response["error"].as_str().unwrap_or("an error without a text").to_owned()),
    };
    Heard::Answer { id, result }
}

fn system(value: &Value) -> Heard {
    let task = || text(&value["task_id"]);
    match value["subtype"].as_str() {
        Some("init") => Heard::Init {
            turn: text(&value["uuid"]),
            session: value["session_id"].as_str().map(str::to_owned),
            model: value["model"].as_str().map(str::to_owned),
        },
        Some("status") => Heard::Compacting(value["status"] == "compacting"),
        Some("compact_boundary") => Heard::Compacted(value["compact_metadata"]["post_tokens"].as_u64()),
        Some("api_retry") => {
            let number = |name: &str| value[name].as_u64().unwrap_or_default();
            let status = value["error_status"].as_u64().map(|status| format!(", {status}")).unwrap_or_default();
            let text = format!(
                "the model did not answer ({}{status}); it is asked again in {} ms, for the {}. time of {} at most",
                value["error"].as_str().unwrap_or("unknown"),
                number("retry_delay_ms"),
                number("attempt"),
                number("max_retries"),
            );
            Heard::Retry { attempt: number("attempt"), text }
        }
        // Commands in the background are tasks as well, and no subagents.
        Some("task_started") if value["task_type"] == "local_agent" || value["subagent_type"].is_string() => {
            let label = value["subagent_type"].as_str().map(str::to_owned);
            Heard::TaskStarted { task: task(), label, in_background: value["is_backgrounded"] == true }
        }
        Some("task_progress") => Heard::Life,
        Some("task_updated") => {
            let patch = &value["patch"];
            match (patch["status"].as_str(), patch["is_backgrounded"].as_bool()) {
                (Some("completed" | "failed" | "killed"), _) => Heard::TaskEnded { task: task() },
                (_, Some(in_background)) => Heard::TaskMoved { task: task(), in_background },
                _ => Heard::Life,
            }
        }
        Some("task_notification") => Heard::TaskEnded { task: task() },
        Some("background_tasks_changed") => {
            let tasks = value["tasks"].as_array().into_iter().flatten();
            Heard::InBackground(tasks.map(|task| text(&task["task_id"])).collect())
        }
        _ => Heard::Nothing,
    }
}

fn said(value: &Value) -> Heard {
    let by_subagent = value["parent_tool_use_id"].is_string();
    let class = value["error"].as_str().filter(|_| value["is_api_error_message"] == true);
    let failing = class.map(|class| Failing { class: class.to_owned(), kind: word(&value["api_error"]) });
    let usage = &value["message"]["usage"];
    let tokens = |name: &str| usage[name].as_u64().unwrap_or_default();
    let parts = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"];
    let used = parts.into_iter().map(tokens).fold(0_u64, u64::saturating_add);
    Heard::Said { by_subagent, failing, used: (used > 0).then_some(used) }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn word(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// How a turn ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) session: Option<String>,
    is_error: bool,
    reason: Option<String>,
    kind: Option<String>,
    words: String,
    /// How many tokens fit into the context of each model.
    windows: Vec<(String, u64)>,
}

impl Ended {
    fn of(value: &Value) -> Self {
        let errors: Vec<&str> = value["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let words = if errors.is_empty() { text(&value["result"]) } else { errors.join("; ") };
        let subtype = value["subtype"].as_str().unwrap_or("no reason");
        let words = if words.trim().is_empty() { format!("it ended with `{subtype}`") } else { words };
        let models = value["modelUsage"].as_object().into_iter().flatten();
        Self {
            session: word(&value["session_id"]),
            is_error: value["is_error"] == true,
            reason: word(&value["terminal_reason"]),
            kind: word(&value["api_error"]),
            words,
            windows: models.filter_map(|(model, of)| Some((model.clone(), of["contextWindow"].as_u64()?))).collect(),
        }
    }

    pub(super) const fn is_error(&self) -> bool {
        self.is_error
    }

    /// Its own words.
    pub(super) fn words(&self) -> &str {
        &self.words
    }

    /// How much fits into the context of this model.
    pub(super) fn window(&self, model: Option<&str>) -> Option<u64> {
        let of_it = self.windows.iter().find(|(name, _)| Some(name.as_str()) == model).map(|(_, window)| *window);
        of_it.or_else(|| self.windows.iter().map(|(_, window)| *window).max())
    }

    pub(super) fn meaning(&self, failing: Option<&Failing>, stopped_by_us: bool) -> Meaning {
        if !self.is_error {
            return Meaning::Turn(TurnEnd::Normal);
        }
        if self.reason.as_deref().is_some_and(|reason| reason.starts_with("aborted")) {
            return Meaning::Turn(TurnEnd::Interrupted { by_person: !stopped_by_us });
        }
        let class = failing.map(|failing| failing.class.as_str());
        let kind = failing.and_then(|failing| failing.kind.as_deref()).or(self.kind.as_deref());
        failures::meaning(&self.words, class, kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_messages_are_uuids_and_differ() {
        let seed = "0b5d1f9c-2b1c-4d6e-9f00-aaaaaaaaaaaa";
        assert_eq!(uuid(seed, 1), "0b5d1f9c-2b1c-4d6e-9f00-000000000001");
        assert_eq!(uuid(seed, u64::MAX).len(), 36);
        assert_ne!(uuid(seed, 1), uuid(seed, 17));
    }

    #[test]
    fn what_is_told_is_no_command() {
        assert_eq!(told("the sky is green"), "the sky is green");
        assert!(told(" /clear").starts_with("To be known:\n"));
    }

    #[test]
    fn settings_of_the_user_are_not_kept() {
        let said = json!({"type": "control_response", "response": {"subtype": "success", "request_id": "rr-2",
            "response": {"effective": {"env": {"KEY": "a secret"}}, "sources": [1], "applied": {"model": "m"}}}});
        assert!(!trimmed(said.clone()).to_string().contains("a secret"));
        assert_eq!(trimmed(said)["response"]["response"], json!({"applied": {"model": "m"}}));
        let init = json!({"type": "system", "subtype": "init", "tools": ["Bash"], "model": "m"});
        assert_eq!(trimmed(init), json!({"type": "system", "subtype": "init", "model": "m"}));
        assert_eq!(trimmed(json!("x")), json!("x"));
    }

    #[test]
    fn ends_of_turns_have_classes() {
        let of = |result: Value, class: &str, kind: Option<&str>| {
            let failing = Failing { class: class.to_owned(), kind: kind.map(str::to_owned) };
            Ended::of(&result).meaning(Some(&failing), false)
        };
        let failed = json!({"type": "result", "is_error": true, "result": "no", "terminal_reason": "api_error"});
        let turn = |why: &str| Meaning::Turn(TurnEnd::Failed { error: why.into() });
        assert_eq!(of(failed.clone(), "server_error", None), turn("no (server_error)"));
        assert_eq!(of(failed.clone(), "rate_limit", None), turn("no (rate_limit)"), "an ordinary 429");
        let limit = of(failed.clone(), "rate_limit", Some("usage_limit_reached"));
        assert_eq!(limit, Meaning::Limit { why: "the usage limit is reached: no (usage_limit_reached)".to_owned() });
        for class in ["authentication_failed", "billing_error"] {
            let Meaning::Refused { why } = of(failed.clone(), class, None) else { panic!("{class}") };
            assert!(why.contains(class) && why.contains("relay-runner restart"), "{why}");
        }
        assert_eq!(of(json!({"is_error": false}), "server_error", None), Meaning::Turn(TurnEnd::Normal));

        let aborted =
            json!({"is_error": true, "subtype": "error_during_execution", "terminal_reason": "aborted_tools"});
        let by = |ours| Ended::of(&aborted).meaning(None, ours);
        assert_eq!(by(true), Meaning::Turn(TurnEnd::Interrupted { by_person: false }));
        assert_eq!(by(false), Meaning::Turn(TurnEnd::Interrupted { by_person: true }));
        let Meaning::Turn(TurnEnd::Failed { error }) =
            Ended::of(&json!({"is_error": true, "subtype": "error_max_turns"})).meaning(None, false)
        else {
            panic!("it failed")
        };
        assert_eq!(&*error, "it ended with `error_max_turns`");
    }

    #[test]
    fn a_window_is_that_of_its_model() {
        let usage = json!({"small": {"contextWindow": 10}, "large": {"contextWindow": 20}});
        let ended = Ended::of(&json!({"modelUsage": usage}));
        assert_eq!(ended.window(Some("small")), Some(10));
        assert_eq!(ended.window(Some("another")), Some(20));
        assert_eq!(Ended::of(&json!({})).window(None), None);
    }

    #[test]
    fn what_is_not_known_is_odd_and_never_more_than_that() {
        for odd in [
            json!([1]),
            json!(7),
            json!({}),
            json!({"type": 3}),
            json!({"type": "something/new"}),
            json!({"type": "control_request"}),
            json!({"type": "command_lifecycle", "state": "pondered"}),
        ] {
            assert!(matches!(heard(odd.clone()), Heard::Odd(_)), "{odd}");
        }
        for empty in ["system", "assistant", "user", "result", "rate_limit_event", "control_response", "keep_alive"] {
            assert!(!matches!(heard(json!({"type": empty})), Heard::Odd(_)), "{empty}");
        }
        // The echo of an answer of ours.
        let echo = json!({"type": "control_response", "response": {"subtype": "success", "request_id": "x"}});
        assert!(matches!(heard(echo), Heard::Nothing));
        let limit = |status: &str| {
            heard(json!({"type": "rate_limit_event",
            "rate_limit_info": {"status": status, "resetsAt": 5}}))
        };
        assert!(matches!(limit("rejected"), Heard::Limit { ends: Some(5) }));
        assert!(matches!(limit("allowed_warning"), Heard::Limit { ends: None }));
    }
}
