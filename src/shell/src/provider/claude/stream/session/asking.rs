//! What Claude Code asks its client for: permissions, which a person decides, and other things, which are refused.

use crate::provider::claude::stream::words;
use relay_runner_core::effect::Decision;
use relay_runner_core::event::ApprovalRequest;
use serde_json::{Value, json};

/// Why a call is denied, where nobody has said why.
const DENIED: &str = "This was denied by the person who oversees your work. Go on without it, or say why you cannot.";
/// What of a call's input is shown to whoever decides; of others, all of it.
const TELLING: [&str; 5] = ["command", "file_path", "notebook_path", "url", "query"];

/// A permission that Claude Code waits for.
#[derive(Debug, PartialEq)]
pub(super) struct Question {
    /// The request's id, as Claude Code gave it.
    request: String,
    tool: String,
    /// What it is about, for whoever decides.
    input: Option<String>,
    of_a_subagent: bool,
    /// What is allowed for the session with it, as rules of Claude Code.
    rules: Value,
}

#[derive(Debug, PartialEq)]
pub(super) enum Read {
    Question(Question),
    Answered { answer: Value, note: Option<(bool, String)> },
}

impl Question {
    pub(super) fn request(&self) -> &str {
        &self.request
    }

    /// As it is shown to whoever decides, under this name.
    pub(super) fn shown(&self, id: &str) -> (ApprovalRequest, Option<String>) {
        let tool = Some(self.tool.as_str().into());
        (ApprovalRequest { id: id.into(), kind: "tool".into(), tool, reason: None }, self.input.clone())
    }

    pub(super) const fn is_of_a_subagent(&self) -> bool {
        self.of_a_subagent
    }

    pub(super) fn answer(&self, decision: Decision, reason: Option<&str>) -> Value {
        let denial = |interrupt: bool| {
            let message = reason.map(str::trim).filter(|reason| !reason.is_empty()).unwrap_or(DENIED);
            json!({"behavior": "deny", "message": message, "interrupt": interrupt})
        };
        let answer = match decision {
            Decision::Approve => json!({"behavior": "allow"}),
            // In this process only: what Claude Code suggests would write into the project, and change the mode.
            Decision::ApproveSession => {
                let rules =
                    json!([{"type": "addRules", "rules": self.rules, "behavior": "allow", "destination": "session"}]);
                json!({"behavior": "allow", "updatedPermissions": rules})
            }
            Decision::Deny => denial(false),
            Decision::Abort => denial(true),
        };
        words::answer(&self.request, &answer)
    }
}

pub(super) fn read(request: String, asked: &Value, allows_all: bool) -> Read {
    if asked["subtype"] != "can_use_tool" {
        let what = asked["subtype"].as_str().unwrap_or("something without a name");
        let note = format!("claude asked for something that this program does not do; it was refused (`{what}`)");
        let answer = words::refusal(&request, &format!("relay-runner does not do `{what}`"));
        return Read::Answered { answer, note: Some((true, note)) };
    }
    let tool = asked["tool_name"].as_str().unwrap_or("unknown").to_owned();
    if tool == "AskUserQuestion" {
        let answer = json!({"behavior": "deny", "message": words::DECIDE_BY_YOURSELF});
        let note = "claude asked a question of its own; nobody can be asked here, so it was told to decide by itself";
        return Read::Answered { answer: words::answer(&request, &answer), note: Some((true, note.to_owned())) };
    }
    if allows_all {
        return Read::Answered { answer: words::answer(&request, &json!({"behavior": "allow"})), note: None };
    }
    let rules = rules(asked, &tool);
    let input = shown(asked);
    let of_a_subagent = asked["agent_id"].is_string();
    Read::Question(Question { request, tool, input, of_a_subagent, rules })
}

/// What an approval for the session covers: what Claude Code would remember of this call; where it suggests nothing of
/// the kind, a command as it stands, and any other tool as a whole.
fn rules(asked: &Value, tool: &str) -> Value {
    let suggested: Vec<Value> = asked["permission_suggestions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|one| one["type"] == "addRules" && one["behavior"] == "allow")
        .flat_map(|one| one["rules"].as_array().into_iter().flatten().cloned())
        .collect();
    if !suggested.is_empty() {
        return Value::Array(suggested);
    }
    match asked["input"]["command"].as_str() {
        Some(command) => json!([{"toolName": tool, "ruleContent": command}]),
        None => json!([{"toolName": tool}]),
    }
}

/// What it is about, with the model's own words on it.
fn shown(asked: &Value) -> Option<String> {
    let input = &asked["input"];
    let telling = TELLING.iter().find_map(|name| input[*name].as_str()).map(str::to_owned);
    let all = || input.as_object().filter(|input| !input.is_empty()).map(|_| input.to_string());
    let about = input["description"].as_str().or_else(|| asked["description"].as_str());
    let about = about.filter(|about| !about.is_empty()).map(|about| format!("({about})"));
    let words = [telling.or_else(all), about].into_iter().flatten().collect::<Vec<_>>().join(" ");
    (!words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(tool: &str, input: &Value, suggestions: &Value) -> Value {
        json!({"subtype": "can_use_tool", "tool_name": tool, "input": input, "permission_suggestions": suggestions})
    }

    fn question(asked: &Value) -> (Option<String>, Question) {
        match read("r".to_owned(), asked, false) {
            Read::Question(question) => (question.shown("q").1, question),
            other @ Read::Answered { .. } => panic!("{other:?}"),
        }
    }

    #[test]
    fn decisions_are_its_own_words() {
        let input = json!({"command": "touch x", "description": "makes x"});
        let (shown, question) = question(&asked("Bash", &input, &json!([])));
        assert_eq!(shown.as_deref(), Some("touch x (makes x)"));
        let said = |decision, reason| {
            let answer = question.answer(decision, reason);
            assert_eq!((&answer["type"], &answer["response"]["request_id"]), (&json!("control_response"), &json!("r")));
            answer["response"]["response"].clone()
        };
        assert_eq!(said(Decision::Approve, None), json!({"behavior": "allow"}));
        let denied = json!({"behavior": "deny", "message": "not today", "interrupt": false});
        assert_eq!(said(Decision::Deny, Some("not today")), denied);
        assert_eq!(said(Decision::Deny, Some(" "))["message"], DENIED);
        assert_eq!(said(Decision::Abort, None)["interrupt"], true);
    }

    #[test]
    fn an_approval_for_the_session_writes_nothing_and_changes_no_mode() {
        let rule = json!({"toolName": "Bash", "ruleContent": "touch *"});
        let suggested = json!([
            {"type": "addRules", "rules": [rule], "behavior": "allow", "destination": "localSettings"},
            {"type": "addDirectories", "directories": ["/tmp"], "destination": "session"},
            {"type": "setMode", "mode": "acceptEdits", "destination": "session"},
        ]);
        let allowed = |asked: &Value| {
            let (_, question) = question(asked);
            let answer = question.answer(Decision::ApproveSession, None);
            answer["response"]["response"]["updatedPermissions"].clone()
        };
        let rules =
            |rules: Value| json!([{"type": "addRules", "rules": rules, "behavior": "allow", "destination": "session"}]);
        let input = json!({"command": "touch x"});
        assert_eq!(allowed(&asked("Bash", &input, &suggested)), rules(json!([rule])));
        let exactly = json!([{"toolName": "Bash", "ruleContent": "touch x"}]);
        assert_eq!(allowed(&asked("Bash", &input, &json!([suggested[2]]))), rules(exactly));
        assert_eq!(
            allowed(&asked("Write", &json!({"file_path": "/x"}), &Value::Null)),
            rules(json!([{"toolName": "Write"}]))
        );
    }

    #[test]
    fn what_nobody_can_answer_is_answered_at_once() {
        let asks = asked("AskUserQuestion", &json!({"questions": []}), &Value::Null);
        for allows_all in [false, true] {
            let Read::Answered { answer, note } = read("r".to_owned(), &asks, allows_all) else { panic!("a question") };
            assert_eq!(answer["response"]["response"]["behavior"], "deny");
            assert!(answer.to_string().contains("Decide by yourself") && note.is_some());
        }
        for what in [json!({"subtype": "request_user_dialog"}), json!({}), json!("x")] {
            let Read::Answered { answer, note } = read("r".to_owned(), &what, true) else { panic!("{what}") };
            assert_eq!(answer["response"]["subtype"], "error", "{answer}");
            assert!(note.is_some_and(|(warns, _)| warns));
        }
        let Read::Answered { answer, note } = read("r".to_owned(), &asked("Bash", &json!({}), &Value::Null), true)
        else {
            panic!("nobody is asked")
        };
        assert_eq!((&answer["response"]["response"]["behavior"], note), (&json!("allow"), None));
    }

    #[test]
    fn what_it_is_about_is_shown() {
        let shown = |input: Value| question(&asked("Tool", &input, &Value::Null)).0;
        assert_eq!(shown(json!({"file_path": "/a", "content": "long"})).as_deref(), Some("/a"));
        assert_eq!(shown(json!({"x": 1})).as_deref(), Some("{\"x\":1}"));
        assert_eq!(shown(json!({})), None);
    }
}
