//! The words of the app-server's protocol that the runner uses. What it does not know is passed over: the protocol grows
//! with every version.

use super::session::Opening;
use relay_runner_core::event::{TakenOffer, TurnEnd};
use relay_runner_core::ids::Nonce;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The id of the user message that holds the first prompt.
pub(super) const FIRST_PROMPT: &str = "relay:prompt";
const CLIENT: &str = "relay:";

/// Streamed parts of what is told whole in the end.
const NOT_WANTED: [&str; 12] = [
    "item/agentMessage/delta",
    "item/plan/delta",
    "item/reasoning/summaryTextDelta",
    "item/reasoning/summaryPartAdded",
    "item/reasoning/textDelta",
    "item/commandExecution/outputDelta",
    "item/fileChange/outputDelta",
    "item/fileChange/patchUpdated",
    "command/exec/outputDelta",
    "process/outputDelta",
    "turn/diff/updated",
    "thread/readState/changed",
];

/// How much codex may do by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Approval {
    Open,
    Guarded,
    ReadOnly,
}

impl Approval {
    const fn policy(self) -> &'static str {
        match self {
            Self::Open => "never",
            Self::Guarded | Self::ReadOnly => "on-request",
        }
    }

    const fn sandbox(self) -> &'static str {
        match self {
            Self::Open | Self::Guarded => "workspace-write",
            Self::ReadOnly => "read-only",
        }
    }
}

pub(super) fn initialize() -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "clientInfo": {"name": "relay-runner", "title": "relay-runner", "version": version},
        "capabilities": {"experimentalApi": true, "optOutNotificationMethods": NOT_WANTED},
    })
}

/// What a thread is started and resumed with.
pub(super) fn thread(opening: &Opening) -> Value {
    let mut params = json!({
        "cwd": opening.cwd,
        "approvalPolicy": opening.approval.policy(),
        "approvalsReviewer": "user",
        "sandbox": opening.approval.sandbox(),
    });
    let said = [("model", &opening.model), ("developerInstructions", &opening.instructions)];
    for (name, value) in said.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        params[name] = json!(value);
    }
    if let Some(effort) = &opening.effort {
        params["config"] = json!({"model_reasoning_effort": effort});
    }
    params
}

/// One user message under an id of ours.
pub(super) fn input(text: &str, client: &str) -> Value {
    json!({"clientUserMessageId": client, "input": [{"type": "text", "text": text, "text_elements": []}]})
}

/// Something that the agent is to know, and that begins no turn.
pub(super) fn injected(text: &str) -> Value {
    json!({"items": [{"type": "message", "role": "developer", "content": [{"type": "input_text", "text": text}]}]})
}

/// The id of the user message that holds these offers.
pub(super) fn client(offers: &[TakenOffer]) -> String {
    let mut id = CLIENT.to_owned();
    for (n, offer) in offers.iter().enumerate() {
        if n > 0 {
            id.push('+');
        }
        id.push_str(&offer.message.to_string());
        if let Some(nonce) = offer.nonce {
            id.push('.');
            id.push_str(&nonce.to_string());
        }
    }
    id
}

/// The offers that such an id names.
fn offers(client: &str) -> impl Iterator<Item = TakenOffer> {
    client.strip_prefix(CLIENT).into_iter().flat_map(|list| list.split('+')).filter_map(|one| {
        let (id, nonce) = one.split_once('.')?;
        Some(TakenOffer { message: id.parse().ok()?, nonce: Some(Nonce::parse(nonce)?) })
    })
}

/// Whether the message that is seen under an id holds what was handed over: under the same id, or, by an earlier run,
/// together with others.
pub(super) fn covers(seen: &str, client: &str, handed: &[TakenOffer]) -> bool {
    seen == client || !handed.is_empty() && handed.iter().all(|offer| offers(seen).any(|known| known == *offer))
}

/// Why codex refuses a steer or an interrupt: the turn that it is about is over.
pub(super) fn is_without_turn(why: &str) -> bool {
    why.contains("no active turn") || why.contains("expected active turn id")
}

/// Why codex cannot resume: the thread is not there, or was never written down because nothing was said in it.
pub(super) fn is_gone(why: &str) -> bool {
    why.contains("no rollout found") || why.contains("invalid session id") || why.contains("thread not found")
}

/// Why codex cannot resume: another process has the thread.
pub(super) fn is_locked(why: &str) -> bool {
    why.contains("already has an active writer")
}

/// Something that came over the connection. Ids of both sides share their numbers: only a request and a notice name a
/// method.
#[derive(Debug)]
pub(super) enum Heard {
    Answer {
        id: u64,
        result: Result<Value, String>,
    },
    Request(ServerRequest),
    Notice(Notice),
    /// The reason holds no content.
    Odd(String),
}

#[derive(Debug)]
pub(super) struct ServerRequest {
    pub(super) id: Value,
    pub(super) method: String,
    pub(super) params: Value,
}

#[derive(Debug)]
pub(super) struct Notice {
    /// None: it is about no thread.
    pub(super) thread: Option<String>,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    TurnStarted(Turn),
    TurnCompleted(Turn),
    Item {
        turn: String,
        item: Item,
        ended: bool,
    },
    Context {
        used: u64,
        window: u64,
    },
    /// Seconds since the epoch; none: no limit is reached.
    Limit {
        ends: Option<u64>,
    },
    Resolved {
        request: Value,
    },
    Settings {
        model: Value,
        effort: Value,
    },
    ThreadClosed,
    BrokenConfig(String),
    Trouble {
        warns: bool,
        text: String,
    },
    Nothing,
}

#[derive(Debug)]
pub(super) enum Item {
    UserMessage { client: Option<String> },
    Compaction { id: String },
    Subagent { id: String, label: Option<String>, over: bool },
    Other,
}

pub(super) fn heard(mut value: Value) -> Heard {
    let method = value.get("method").and_then(Value::as_str).map(str::to_owned);
    let id = value.get("id").cloned();
    match (method, id) {
        (Some(method), Some(id)) => Heard::Request(ServerRequest { id, method, params: value["params"].take() }),
        (Some(method), None) => notice(&method, value["params"].take()),
        (None, Some(id)) => {
            let Some(id) = id.as_u64() else { return Heard::Odd("an answer under an id of another's".to_owned()) };
            let result = match value.get_mut("error") {
                Some(error) => Err(error_text(error)),
                None => Ok(value["result"].take()),
            };
            Heard::Answer { id, result }
        }
        (None, None) => Heard::Odd("a message that is neither a request, a notice nor an answer".to_owned()),
    }
}

fn error_text(error: &Value) -> String {
    let message = error["message"].as_str().unwrap_or("an error without a text");
    match error["code"].as_i64() {
        Some(code) => format!("{message} ({code})"),
        None => message.to_owned(),
    }
}

fn notice(method: &str, mut params: Value) -> Heard {
    let thread = params.get("threadId").and_then(Value::as_str).map(str::to_owned);
    let odd = |error: serde_json::Error| Heard::Odd(format!("a notice `{method}` that cannot be read: {error}"));
    let what = match method {
        "turn/started" | "turn/completed" => match serde_json::from_value(params["turn"].take()) {
            Ok(turn) if method == "turn/started" => What::TurnStarted(turn),
            Ok(turn) => What::TurnCompleted(turn),
            Err(error) => return odd(error),
        },
        "item/started" | "item/completed" => {
            What::Item { turn: text(&params["turnId"]), item: item(&params["item"]), ended: method == "item/completed" }
        }
        "thread/tokenUsage/updated" => {
            let usage = &params["tokenUsage"];
            match (usage["last"]["totalTokens"].as_u64(), usage["modelContextWindow"].as_u64()) {
                (Some(used), Some(window)) => What::Context { used, window },
                _ => What::Nothing,
            }
        }
        "account/rateLimits/updated" => What::Limit { ends: limit(&params["rateLimits"]) },
        "serverRequest/resolved" => What::Resolved { request: params["requestId"].take() },
        "thread/settings/updated" => {
            let settings = &mut params["threadSettings"];
            What::Settings { model: settings["model"].take(), effort: settings["effort"].take() }
        }
        "model/rerouted" => What::Settings { model: params["toModel"].take(), effort: Value::Null },
        "thread/closed" | "thread/deleted" | "thread/archived" => What::ThreadClosed,
        "configWarning" => {
            let summary = text(&params["summary"]);
            match summary.strip_prefix("Invalid configuration") {
                // It says what is wrong with which line of which file.
                Some(why) => {
                    let why = why.trim_start_matches("; using defaults.").trim();
                    let details = text(&params["details"]);
                    What::BrokenConfig(if why.is_empty() { details } else { why.to_owned() })
                }
                None => What::Trouble { warns: false, text: summary },
            }
        }
        "error" => {
            let retries = params["willRetry"] == true;
            What::Trouble { warns: !retries, text: said_of(&params["error"]) }
        }
        "warning" | "guardianWarning" => What::Trouble { warns: false, text: text(&params["message"]) },
        _ => What::Nothing,
    };
    Heard::Notice(Notice { thread, what })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn item(item: &Value) -> Item {
    match item["type"].as_str() {
        Some("userMessage") => Item::UserMessage { client: item["clientId"].as_str().map(str::to_owned) },
        Some("contextCompaction") => Item::Compaction { id: text(&item["id"]) },
        Some("subAgentActivity") => {
            let label = item["agentPath"].as_str().map(str::to_owned);
            let id = text(&item["agentThreadId"]);
            match item["kind"].as_str() {
                Some("started") => Item::Subagent { id, label, over: false },
                Some("completed" | "interrupted") => Item::Subagent { id, label, over: true },
                _ => Item::Other,
            }
        }
        _ => Item::Other,
    }
}

/// When the limits that are used up end: the latest of them.
fn limit(limits: &Value) -> Option<u64> {
    let windows = [&limits["primary"], &limits["secondary"]];
    let used_up = windows.into_iter().filter(|window| window["usedPercent"].as_f64().is_some_and(|used| used >= 100.0));
    used_up.filter_map(|window| window["resetsAt"].as_u64()).max()
}

/// Turns as a page lists them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    pub(super) data: Vec<Turn>,
    #[serde(default)]
    pub(super) next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Turn {
    pub(super) id: String,
    #[serde(default)]
    items: Vec<Value>,
    #[serde(default)]
    status: String,
    #[serde(default)]
    error: Value,
}

/// What the end of a turn means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Turn(TurnEnd),
    /// Nothing goes on before the usage limit ends.
    Limit {
        why: String,
    },
    /// The credentials are no good.
    Refused {
        why: String,
    },
}

impl Turn {
    pub(super) fn failed(id: String, error: Value) -> Self {
        Self { id, items: Vec::new(), status: "failed".to_owned(), error }
    }

    pub(super) fn is_running(&self) -> bool {
        self.status == "inProgress"
    }

    /// Whether one of its user messages holds what was handed over.
    pub(super) fn has(&self, handed: &[TakenOffer], client: &str) -> bool {
        let messages = self.items.iter().filter(|item| item["type"] == "userMessage");
        messages.filter_map(|item| item["clientId"].as_str()).any(|seen| covers(seen, client, handed))
    }

    pub(super) fn ended(&self, stopped_by_us: bool) -> Ended {
        let error = || said_of(&self.error);
        match self.status.as_str() {
            "completed" => Ended::Turn(TurnEnd::Normal),
            // Codex itself gives a reason.
            "interrupted" if self.error.is_null() => Ended::Turn(TurnEnd::Interrupted { by_person: !stopped_by_us }),
            "interrupted" | "failed" => match class(&self.error["codexErrorInfo"]) {
                Class::Limit => Ended::Limit { why: error() },
                Class::Refused => Ended::Refused { why: error() },
                Class::Other if is_without_variable(&self.error) => Ended::Refused { why: error() },
                Class::Other => Ended::Turn(TurnEnd::Failed { error: error().into() }),
            },
            other => Ended::Turn(TurnEnd::Failed { error: format!("its turn ended as `{other}`").into() }),
        }
    }
}

enum Class {
    Limit,
    Refused,
    Other,
}

fn class(info: &Value) -> Class {
    let status = info.as_object().and_then(|info| info.values().next()).and_then(|of| of["httpStatusCode"].as_u64());
    match (info.as_str(), status) {
        (Some("usageLimitExceeded"), _) => Class::Limit,
        (Some("unauthorized"), _) | (_, Some(401 | 403)) => Class::Refused,
        _ => Class::Other,
    }
}

/// The variable that a model provider of the user's own takes its key from is not in codex's environment.
fn is_without_variable(error: &Value) -> bool {
    error["message"].as_str().is_some_and(|message| message.starts_with("Missing environment variable"))
}

/// An error's own words, with its class.
fn said_of(error: &Value) -> String {
    let message = error["message"].as_str().unwrap_or("an error without a text");
    let more = error["additionalDetails"].as_str().map(|more| format!(": {more}")).unwrap_or_default();
    let info = &error["codexErrorInfo"];
    let class = info.as_str().or_else(|| info.as_object()?.keys().next().map(String::as_str));
    let class = class.map(|class| format!(" ({class})")).unwrap_or_default();
    format!("{message}{more}{class}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(message: u64, nonce: u32) -> TakenOffer {
        TakenOffer { message, nonce: Some(Nonce(nonce)) }
    }

    #[test]
    fn an_id_names_its_offers() {
        let both = [offer(7, 1), offer(12, 99)];
        let id = client(&both);
        assert_eq!(offers(&id).collect::<Vec<_>>(), both);
        assert!(covers(&id, "relay:other", &[offer(12, 99)]), "one of a batch of an earlier run");
        assert!(!covers(&id, "relay:other", &[offer(12, 98)]), "another offer of the same message");
        assert!(!covers(FIRST_PROMPT, &id, &both) && covers(FIRST_PROMPT, FIRST_PROMPT, &[]));
    }

    #[test]
    fn ends_of_turns_have_classes() {
        let turn = |status: &str, error: Value| -> Turn {
            serde_json::from_value(json!({"id": "t", "status": status, "error": error})).unwrap()
        };
        let of = |info: Value| turn("failed", json!({"message": "no", "codexErrorInfo": info})).ended(false);
        assert_eq!(of(json!("usageLimitExceeded")), Ended::Limit { why: "no (usageLimitExceeded)".to_owned() });
        assert_eq!(of(json!("unauthorized")), Ended::Refused { why: "no (unauthorized)".to_owned() });
        assert!(matches!(of(json!({"httpConnectionFailed": {"httpStatusCode": 401}})), Ended::Refused { .. }));
        assert!(matches!(of(json!("internalServerError")), Ended::Turn(TurnEnd::Failed { .. })));
        assert!(matches!(of(json!({"new": 1})), Ended::Turn(TurnEnd::Failed { .. })), "one that is not known yet");
        assert_eq!(turn("completed", Value::Null).ended(true), Ended::Turn(TurnEnd::Normal));
        let by_person = |ours| turn("interrupted", Value::Null).ended(ours);
        assert_eq!(by_person(false), Ended::Turn(TurnEnd::Interrupted { by_person: true }));
        assert_eq!(by_person(true), Ended::Turn(TurnEnd::Interrupted { by_person: false }));
    }

    #[test]
    fn a_limit_ends_with_the_last_window_that_is_used_up() {
        let window = |used: u32, at: u64| json!({"usedPercent": used, "resetsAt": at});
        assert_eq!(limit(&json!({"primary": window(100, 5), "secondary": window(100, 9)})), Some(9));
        assert_eq!(limit(&json!({"primary": window(100, 5), "secondary": window(40, 9)})), Some(5));
        assert_eq!(limit(&json!({"primary": null, "secondary": null})), None);
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        assert!(matches!(heard(json!({"method": "new/thing", "params": {"x": 1}})), Heard::Notice(_)));
        assert!(matches!(heard(json!([1])), Heard::Odd(_)));
        assert!(matches!(heard(json!({"id": "x", "result": {}})), Heard::Odd(_)));
        assert!(matches!(heard(json!({"method": "turn/started", "params": {}})), Heard::Odd(_)));
    }
}
