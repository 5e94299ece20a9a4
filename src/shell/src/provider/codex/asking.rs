//! What codex asks its client for: permissions, which a person decides, and other things, which are refused.

use super::words::ServerRequest;
use relay_runner_core::effect::Decision;
use relay_runner_core::event::ApprovalRequest;
use serde_json::{Map, Value, json};

/// The answer of JSON-RPC to a method that is not there.
const NO_SUCH_METHOD: i32 = -32601;

/// A permission that codex waits for.
#[derive(Debug, PartialEq)]
pub(super) struct Question {
    request: Value,
    /// Whose turn asks; none where it does not say.
    thread: Option<String>,
    kind: Kind,
}

#[derive(Debug, PartialEq)]
enum Kind {
    /// A command, or a change of files.
    Decision,
    /// What is wanted.
    Permissions(Value),
    /// Of versions before threads.
    Review,
}

#[derive(Debug, PartialEq)]
pub(super) enum Read {
    Question { id: String, request: ApprovalRequest, input: Option<String>, question: Question },
    Refused { answer: Value, why: String },
}

impl Question {
    /// The request's id, as codex gave it.
    pub(super) const fn request(&self) -> &Value {
        &self.request
    }

    pub(super) fn is_of(&self, thread: Option<&str>) -> bool {
        self.thread.is_none() || self.thread.as_deref() == thread
    }

    /// Whether the turn ends with the answer to abort.
    pub(super) const fn aborts_by_itself(&self) -> bool {
        !matches!(self.kind, Kind::Permissions(_))
    }

    pub(super) fn answer(&self, decision: Decision) -> Value {
        let word = |words: [&str; 4]| match decision {
            Decision::Approve => words[0].to_owned(),
            Decision::ApproveSession => words[1].to_owned(),
            Decision::Deny => words[2].to_owned(),
            Decision::Abort => words[3].to_owned(),
        };
        let result = match &self.kind {
            Kind::Decision => json!({"decision": word(["accept", "acceptForSession", "decline", "cancel"])}),
            Kind::Review => json!({"decision": word(["approved", "approved_for_session", "denied", "abort"])}),
            Kind::Permissions(wanted) => match decision {
                Decision::Approve => json!({"permissions": wanted, "scope": "turn"}),
                Decision::ApproveSession => json!({"permissions": wanted, "scope": "session"}),
                Decision::Deny | Decision::Abort => json!({"permissions": {}, "scope": "turn"}),
            },
        };
        json!({"id": self.request, "result": result})
    }
}

/// `generation` makes the ids of two processes different.
pub(super) fn read(generation: u64, asked: &ServerRequest) -> Read {
    let params = &asked.params;
    let command = || match &params["command"] {
        Value::Array(words) => Some(words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")),
        command => command.as_str().map(str::to_owned),
    };
    let (kind, tool, input, answered) = match asked.method.as_str() {
        "item/commandExecution/requestApproval" => ("command", "shell", command(), Kind::Decision),
        "item/fileChange/requestApproval" => {
            ("file-change", "apply_patch", params["grantRoot"].as_str().map(str::to_owned), Kind::Decision)
        }
        "item/permissions/requestApproval" => {
            let wanted = granted(&params["permissions"]);
            ("permissions", "request_permissions", Some(wanted.to_string()), Kind::Permissions(wanted))
        }
        "execCommandApproval" => ("command", "shell", command(), Kind::Review),
        "applyPatchApproval" => ("file-change", "apply_patch", None, Kind::Review),
        method => return refused(asked, method),
    };
    let id = match &asked.id {
        Value::String(text) => format!("g{generation}-{text}"),
        other => format!("g{generation}-{other}"),
    };
    let request = ApprovalRequest { id: id.as_str().into(), kind: kind.into(), tool: Some(tool.into()), reason: None };
    // The model's own words, which have no place in a journal.
    let reason = params["reason"].as_str().map(|reason| format!("({reason})"));
    let input = [input, reason].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let thread = params["threadId"].as_str().or_else(|| params["conversationId"].as_str()).map(str::to_owned);
    let question = Question { request: asked.id.clone(), thread, kind: answered };
    Read::Question { id, request, input: (!input.is_empty()).then_some(input), question }
}

/// What is wanted, without what is not.
fn granted(wanted: &Value) -> Value {
    let wanted: Map<String, Value> = wanted
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Value::Object(wanted)
}

fn refused(asked: &ServerRequest, method: &str) -> Read {
    let id = &asked.id;
    let (answer, why) = match method {
        "mcpServer/elicitation/request" => (
            json!({"id": id, "result": {"action": "decline", "content": null, "_meta": null}}),
            "codex passed on a question of an MCP server; nobody can fill in a form here, so it was declined",
        ),
        "item/tool/requestUserInput" => (
            error(id, "nobody can be asked here: decide by yourself, or say in the end what is to be known"),
            "codex asked a question of its own; nobody can be asked here, so it was told to decide by itself",
        ),
        _ => (
            error(id, &format!("relay-runner does not do `{method}`")),
            "codex asked for something that this program does not do; it was refused",
        ),
    };
    Read::Refused { answer, why: format!("{why} (`{method}`)") }
}

fn error(id: &Value, message: &str) -> Value {
    json!({"id": id, "error": {"code": NO_SUCH_METHOD, "message": message}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, params: Value) -> Read {
        read(3, &ServerRequest { id: json!(0), method: method.to_owned(), params })
    }

    #[test]
    fn decisions_are_codexs_own_words() {
        let Read::Question { id, request, input, question } =
            asked("item/commandExecution/requestApproval", json!({"command": "touch x", "reason": "wants to"}))
        else {
            panic!("a question")
        };
        assert_eq!((id.as_str(), &*request.kind, input.as_deref()), ("g3-0", "command", Some("touch x (wants to)")));
        assert_eq!(request.reason, None, "it would stand in the journal");
        let said = |decision| question.answer(decision)["result"]["decision"].clone();
        assert_eq!(said(Decision::Approve), "accept");
        assert_eq!(said(Decision::ApproveSession), "acceptForSession");
        assert_eq!(said(Decision::Deny), "decline");
        assert_eq!(said(Decision::Abort), "cancel");
    }

    #[test]
    fn permissions_are_granted_as_they_were_wanted_or_not_at_all() {
        let wanted = json!({"network": {"enabled": true}, "fileSystem": null});
        let Read::Question { question, .. } = asked("item/permissions/requestApproval", json!({"permissions": wanted}))
        else {
            panic!("a question")
        };
        let result = |decision| question.answer(decision)["result"].clone();
        let network = json!({"network": {"enabled": true}});
        assert_eq!(result(Decision::Approve), json!({"permissions": network, "scope": "turn"}));
        assert_eq!(result(Decision::ApproveSession), json!({"permissions": network, "scope": "session"}));
        assert_eq!(result(Decision::Deny), json!({"permissions": {}, "scope": "turn"}));
        assert!(!question.aborts_by_itself());
    }

    #[test]
    fn what_is_not_known_is_refused_clearly() {
        for method in ["item/tool/requestUserInput", "item/tool/call", "some/thing/new"] {
            let Read::Refused { answer, why } = asked(method, json!({})) else { panic!("{method} is no permission") };
            assert!(answer["error"]["message"].is_string() && why.contains(method), "{answer} {why}");
        }
        let Read::Refused { answer, .. } = asked("mcpServer/elicitation/request", json!({})) else { panic!() };
        assert_eq!(answer["result"]["action"], "decline");
    }
}
