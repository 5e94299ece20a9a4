//! The transcript that Claude Code writes: a line of JSON for each thing that happens, of which few mean something here.
//!
//! It tells what no hook tells (an interrupt by a person), what a hook tells too late or not at all (when a usage limit ends), and
//! what happened while no runner was there.

use relay_runner_core::event::TakenOffer;
use relay_runner_core::format::offers_in;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How Claude Code says that a person interrupted it.
const INTERRUPTED: &str = "[Request interrupted by user";
/// What a model of which no more is known can hold, in tokens.
const WINDOW: u64 = 200_000;
/// The same, of those whose name says so.
const WIDE_WINDOW: u64 = 1_000_000;
const WIDE: &str = "[1m]";

/// Something that the transcript tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// A prompt is the model's now: the beginning of a turn, or a part of the one that runs.
    Prompt {
        turn: Option<String>,
        offers: Vec<TakenOffer>,
    },
    /// Claude Code has it, and will make a prompt of it.
    Queued {
        offers: Vec<TakenOffer>,
    },
    /// The model has spoken.
    Spoke {
        model: String,
        effort: Option<String>,
        used: u64,
        window: u64,
    },
    /// The turn is over, in order.
    Ended,
    Interrupted {
        turn: Option<String>,
    },
    /// A command of Claude Code itself has come to nothing, for this reason.
    Refused {
        words: String,
    },
    Failed(Failure),
}

/// Why a turn failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) class: String,
    pub(crate) words: String,
    pub(crate) limit: Option<Limit>,
}

/// The usage limit of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limit {
    /// Seconds since 1970, where it says so.
    pub(crate) ends: Option<u64>,
}

/// Whether a line may mean something: most are long, and mean nothing here.
pub(crate) fn is_worth_reading(line: &[u8]) -> bool {
    // Each of our lines names its type near its beginning or its end; the word itself is all that is looked for.
    const TYPES: [&[u8]; 4] =
        [b"\"type\":\"user\"", b"\"type\":\"assistant\"", b"\"type\":\"system\"", b"\"type\":\"queue-operation\""];
    TYPES.iter().any(|word| line.windows(word.len()).any(|part| part == *word))
}

/// What a line tells; nothing where it means nothing here, or cannot be read.
pub(crate) fn read(line: &[u8]) -> Option<Entry> {
    let line: Value = serde_json::from_slice(line).ok()?;
    // A subagent's own.
    if line["isSidechain"] == true {
        return None;
    }
    let turn = || line["promptId"].as_str().map(str::to_owned);
    match line["type"].as_str()? {
        "user" => {
            let text = text_of(&line["message"]["content"]);
            if text.trim_start().starts_with(INTERRUPTED) {
                return Some(Entry::Interrupted { turn: turn() });
            }
            let is_of_the_harness =
                line["isMeta"] == true || line["rowSource"] == "local" || line["isCompactSummary"] == true;
            let is_prompt = !is_of_the_harness && !has_results(&line["message"]["content"]);
            is_prompt.then(|| Entry::Prompt { turn: turn(), offers: offers(&text) })
        }
        "assistant" if line["isApiErrorMessage"] == true => Some(Entry::Failed(failure(&line))),
        "assistant" => {
            let message = &line["message"];
            let usage = &message["usage"];
            let model = message["model"].as_str()?.to_owned();
            let tokens = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"];
            let used = tokens.iter().filter_map(|name| usage[*name].as_u64()).sum();
            let window = if model.contains(WIDE) { WIDE_WINDOW } else { WINDOW };
            let effort = line["effort"].as_str().map(str::to_owned);
            Some(Entry::Spoke { model, effort, used, window })
        }
        "system" if line["subtype"] == "turn_duration" => Some(Entry::Ended),
        "system" if line["subtype"] == "local_command" => {
            let (_, rest) = line["content"].as_str()?.split_once("<local-command-stdout>")?;
            let words = rest.split("</local-command-stdout>").next().unwrap_or(rest).trim();
            (!words.is_empty()).then(|| Entry::Refused { words: words.to_owned() })
        }
        "queue-operation" if line["operation"] == "enqueue" => {
            let offers = offers(line["content"].as_str()?);
            (!offers.is_empty()).then_some(Entry::Queued { offers })
        }
        _ => None,
    }
}

fn offers(text: &str) -> Vec<TakenOffer> {
    offers_in(text).map(|(message, nonce)| TakenOffer { message, nonce: Some(nonce) }).collect()
}

/// The text of a message: a string, or blocks.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

fn has_results(content: &Value) -> bool {
    content.as_array().is_some_and(|blocks| blocks.iter().any(|block| block["type"] == "tool_result"))
}

fn failure(line: &Value) -> Failure {
    let class = line["error"].as_str().unwrap_or("unknown").to_owned();
    let words = text_of(&line["message"]["content"]);
    let is_limit = line["apiError"] == "usage_limit_reached";
    let ends = &line["apiErrorParams"]["rate_limit_info"]["resetsAt"];
    Failure { class, words, limit: is_limit.then(|| Limit { ends: ends.as_u64() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_runner_core::ids::Nonce;
    use serde_json::json;

    fn entry(line: &Value) -> Option<Entry> {
        let line = line.to_string();
        assert!(is_worth_reading(line.as_bytes()));
        read(line.as_bytes())
    }

    fn offer() -> TakenOffer {
        TakenOffer { message: 7, nonce: Nonce::parse("zzzzzz") }
    }

    #[test]
    fn prompts_and_what_waits_name_their_offers() {
        let said = "[relay message 7 zzzzzz] from alice, chat";
        let prompt =
            |content: Value| json!({"type": "user", "promptId": "p", "message": {"role": "user", "content": content}});
        let expected = Entry::Prompt { turn: Some("p".to_owned()), offers: vec![offer()] };
        assert_eq!(entry(&prompt(json!(said))), Some(expected.clone()));
        assert_eq!(entry(&prompt(json!([{"type": "text", "text": said}]))), Some(expected));
        let queued =
            json!({"type": "queue-operation", "operation": "enqueue", "content": format!("<event>{said}</event>")});
        assert_eq!(entry(&queued), Some(Entry::Queued { offers: vec![offer()] }));
        assert_eq!(entry(&json!({"type": "queue-operation", "operation": "dequeue"})), None);
    }

    #[test]
    fn what_the_program_says_to_itself_is_no_prompt() {
        for more in [
            json!({"isMeta": true}),
            json!({"rowSource": "local"}),
            json!({"isCompactSummary": true}),
            json!({"isSidechain": true}),
        ] {
            let mut line = json!({"type": "user", "promptId": "p", "message": {"content": "words"}});
            line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert_eq!(entry(&line), None, "{line}");
        }
        let result =
            json!({"type": "user", "promptId": "p", "message": {"content": [{"type": "tool_result", "content": "x"}]}});
        assert_eq!(entry(&result), None);
        assert!(!is_worth_reading(br#"{"type":"api-request-blob","message":{"role":"user"}}"#));
    }

    #[test]
    fn an_interrupt_is_known_by_its_words() {
        for words in ["[Request interrupted by user]", "[Request interrupted by user for tool use]"] {
            let line =
                json!({"type": "user", "promptId": "p", "message": {"content": [{"type": "text", "text": words}]}});
            assert_eq!(entry(&line), Some(Entry::Interrupted { turn: Some("p".to_owned()) }));
        }
    }

    #[test]
    fn a_failed_turn_says_its_class_and_a_usage_limit_its_end() {
        let mut line = json!({"type": "assistant", "error": "rate_limit", "isApiErrorMessage": true,
            "message": {"model": "<synthetic>", "content": [{"type": "text", "text": "too much"}]}});
        let plain = Failure { class: "rate_limit".to_owned(), words: "too much".to_owned(), limit: None };
        assert_eq!(entry(&line), Some(Entry::Failed(plain.clone())));
        line["apiError"] = json!("usage_limit_reached");
        assert_eq!(entry(&line), Some(Entry::Failed(Failure { limit: Some(Limit { ends: None }), ..plain.clone() })));
        line["apiErrorParams"] = json!({"rate_limit_info": {"resetsAt": 1_800_000_000}});
        assert_eq!(
            entry(&line),
            Some(Entry::Failed(Failure { limit: Some(Limit { ends: Some(1_800_000_000) }), ..plain }))
        );
    }

    #[test]
    fn the_context_is_what_the_last_answer_took() {
        let usage = json!({"input_tokens": 1, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 300, "output_tokens": 4000});
        let line =
            |model: &str| json!({"type": "assistant", "effort": "low", "message": {"model": model, "usage": usage}});
        let Some(Entry::Spoke { model, effort, used, window }) = entry(&line("m")) else { panic!("it has spoken") };
        assert_eq!((model.as_str(), effort.as_deref(), used, window), ("m", Some("low"), 4321, 200_000));
        let said = |words: &str| {
            let content = format!("<local-command-stdout>{words}</local-command-stdout>");
            entry(&json!({"type": "system", "subtype": "local_command", "content": content}))
        };
        assert_eq!(said(""), None, "as after /clear");
        let words = "Not enough messages to compact.".to_owned();
        assert_eq!(said(&words), Some(Entry::Refused { words }));
        let Some(Entry::Spoke { window, .. }) = entry(&line("m[1m]")) else { panic!("it has spoken") };
        assert_eq!(window, 1_000_000);
        assert_eq!(entry(&json!({"type": "system", "subtype": "turn_duration"})), Some(Entry::Ended));
    }
}
