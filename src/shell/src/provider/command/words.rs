//! The lines of the command protocol: what the program is told, and what it says.

use crate::provider::shown::attached;
use crate::provider::{Deed, Handed};
use relay_runner_core::event::{ApprovalRequest, ReportStatus, StatusReport, TakenOffer, TurnEnd};
use relay_runner_core::format::{self, Attached};
use relay_runner_core::{Offers, ProviderReport};
use relay_runner_protocol::message::Attachment;
use serde::Deserialize;
use serde_json::{Value, json};

/// What is told in a shutdown; the input is closed after it.
pub(super) const SHUTDOWN: &str = "{\"type\":\"shutdown\"}\n";

/// What a program that was taken up is asked.
pub(super) fn resume(offers: &Offers) -> String {
    let messages: Vec<_> = offers
        .iter()
        .map(|offer| json!({"id": offer.message, "nonce": offer.nonce.to_string(), "attempt": offer.attempt}))
        .collect();
    line(&json!({"type": "resume", "messages": messages}))
}

/// A deed as lines.
pub(super) fn lines(deed: &Deed) -> String {
    match deed {
        Deed::Offer(offers) => offers.iter().map(offered).collect(),
        Deed::Prompt(text) => line(&json!({"type": "prompt", "text": &**text})),
        Deed::Inject(text) => line(&json!({"type": "prompt", "text": &**text, "memoryInjection": true})),
        Deed::Interrupt => line(&json!({"type": "interrupt"})),
        Deed::Compact => line(&json!({"type": "compact"})),
        Deed::Clear => line(&json!({"type": "clear"})),
        Deed::Decide { approval, decision, reason } => {
            let mut said = json!({"type": "approval", "approvalId": &**approval, "decision": decision.as_str()});
            if let Some(reason) = reason {
                said["reason"] = json!(&**reason);
            }
            line(&said)
        }
        Deed::Tell { message, why } => line(&json!({
            "type": "withdrawn", "id": message, "reason": &**why, "text": format::withdrawn(*message, why),
        })),
        // Nothing has to be asked: no end of a turn is lost as long as the way holds. Where it did not, whoever speaks
        // knows.
        Deed::Probe => String::new(),
    }
}

fn offered(Handed { offer, message, files }: &Handed) -> String {
    let attached: Vec<_> = message.attachments.iter().map(|attachment| attached(attachment, files)).collect();
    let attachments: Vec<_> = message.attachments.iter().zip(&attached).map(|(said, is)| about(said, is)).collect();
    line(&json!({
        "type": "message",
        "id": message.id,
        "nonce": offer.nonce.to_string(),
        "attempt": offer.attempt,
        "from": message.from,
        "subject": message.subject,
        "body": message.body,
        "payload": message.payload,
        "attachments": attachments,
        "text": format::message(message, offer, &attached),
    }))
}

fn about(said: &Attachment, is: &Attached<'_>) -> Value {
    let mut about = json!(said);
    match is {
        Attached::At { path, .. } => about["path"] = json!(path),
        Attached::Missing { why, .. } => about["missing"] = json!(why),
    }
    about
}

fn line(value: &Value) -> String {
    let mut line = value.to_string();
    line.push('\n');
    line
}

/// What a program may say.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Said {
    Ready {},
    Taken {
        ids: Vec<u64>,
        #[serde(default)]
        turn: Value,
    },
    Missed {
        ids: Vec<u64>,
    },
    Resumed {},
    Busy {
        #[serde(default)]
        turn: Value,
    },
    Idle {
        #[serde(default)]
        turn: Value,
        #[serde(default)]
        failed: Value,
        #[serde(default)]
        interrupted: bool,
    },
    Approval {
        approval_id: String,
        #[serde(default)]
        kind: Option<String>,
        #[serde(default)]
        tool: Option<String>,
        #[serde(default)]
        reason: Option<String>,
    },
    ApprovalClosed {
        approval_id: String,
    },
    Log {
        message: String,
        #[serde(default)]
        level: Option<String>,
    },
}

const TYPES: [&str; 9] = ["ready", "taken", "missed", "resumed", "busy", "idle", "approval", "approvalClosed", "log"];

/// A line of the program, understood.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    Report(ProviderReport),
    Log {
        level: Level,
        message: String,
    },
    /// It has said all that it was asked about when it was taken up.
    Resumed,
    /// Known, and nothing to be done about.
    Nothing,
    /// The reason holds no content.
    Malformed(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

pub(super) fn hear(text: &str, cut: impl Fn(&str) -> String) -> Heard {
    if text.trim().is_empty() {
        return Heard::Nothing;
    }
    let said = match serde_json::from_str::<Said>(text) {
        Ok(said) => said,
        Err(error) => return Heard::Malformed(odd(text, &error, cut)),
    };
    Heard::Report(match said {
        Said::Ready {} => return Heard::Nothing,
        Said::Resumed {} => return Heard::Resumed,
        Said::Missed { ids } => ProviderReport::Missed { offers: offers(ids) },
        Said::Taken { ids, turn } => {
            ProviderReport::Taken { offers: offers(ids), into_turn: !matches!(turn, Value::Null | Value::Bool(false)) }
        }
        Said::Busy { turn } => status(ReportStatus::Busy, &turn, TurnEnd::Normal, cut),
        Said::Idle { turn, failed, interrupted } => {
            let end = match failed {
                Value::String(error) => TurnEnd::Failed { error: cut(&error).into() },
                Value::Null | Value::Bool(false) if interrupted => TurnEnd::Interrupted { by_person: false },
                Value::Null | Value::Bool(false) => TurnEnd::Normal,
                _ => TurnEnd::Failed { error: "the turn failed".into() },
            };
            status(ReportStatus::Idle, &turn, end, cut)
        }
        // The id comes back in the decision, so it cannot be cut: one that would be is left out.
        Said::Approval { approval_id, .. } | Said::ApprovalClosed { approval_id }
            if cut(&approval_id) != approval_id =>
        {
            return Heard::Malformed("an approvalId that is too long, or not plain text".to_owned());
        }
        Said::Approval { approval_id, kind, tool, reason } => {
            ProviderReport::ApprovalOpened(Box::new(ApprovalRequest {
                id: approval_id.into(),
                kind: cut(kind.as_deref().unwrap_or("tool")).into(),
                tool: tool.map(|t| cut(&t).into()),
                reason: reason.map(|r| cut(&r).into()),
            }))
        }
        Said::ApprovalClosed { approval_id } => ProviderReport::ApprovalClosed { id: approval_id.into() },
        Said::Log { message, level } => {
            let level = match level.as_deref() {
                Some("debug" | "trace") => Level::Debug,
                Some("warn" | "warning") => Level::Warn,
                Some("error") => Level::Error,
                Some(_) | None => Level::Info,
            };
            return Heard::Log { level, message: cut(&message) };
        }
    })
}

fn offers(ids: Vec<u64>) -> Vec<TakenOffer> {
    ids.into_iter().map(|message| TakenOffer { message, nonce: None }).collect()
}

fn status(status: ReportStatus, turn: &Value, end: TurnEnd, cut: impl Fn(&str) -> String) -> ProviderReport {
    let id = match turn {
        Value::String(id) => Some(cut(id).into()),
        Value::Number(id) => Some(id.to_string().into()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    ProviderReport::Status(Box::new(StatusReport { status, id, end, ..StatusReport::default() }))
}

fn odd(text: &str, error: &serde_json::Error, cut: impl Fn(&str) -> String) -> String {
    #[derive(Deserialize)]
    struct Type {
        #[serde(rename = "type")]
        kind: String,
    }
    match serde_json::from_str::<Type>(text) {
        Ok(Type { kind }) if !TYPES.contains(&kind.as_str()) => format!("unknown type `{}`", cut(&kind)),
        Ok(Type { kind }) => format!("a `{kind}` whose fields cannot be read"),
        // The parser's words may quote what it read.
        Err(_) => format!("{:?} error at column {}", error.classify(), error.column()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attachments::AttachedFile;
    use crate::attachments::{Files, Kept, Place};
    use relay_runner_core::Offer;
    use relay_runner_core::effect::Decision;
    use relay_runner_core::effect::Repeat;
    use relay_runner_core::ids::Nonce;
    use std::sync::Arc;

    fn heard(text: &str) -> Heard {
        hear(text, str::to_owned)
    }

    #[test]
    fn a_batch_is_one_line_each_in_order() {
        let offers = [7_u64, 9].map(|id| {
            let message =
                json!({"id": id, "from": "alice", "to": "a1", "subject": "s", "body": "two\nlines", "createdAt": 0});
            let offer = Offer { message: id, attempt: 1, nonce: Nonce(31), repeat: Repeat::First };
            Handed { offer, message: Arc::new(serde_json::from_value(message).unwrap()), files: Files::default() }
        });
        let text = lines(&Deed::Offer(offers.into()));
        let said: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(said.len(), 2);
        assert_eq!((&said[0]["id"], &said[1]["id"]), (&json!(7), &json!(9)));
        assert_eq!(said[0]["nonce"], "00000z");
        assert_eq!(said[0]["body"], "two\nlines");
        assert!(said[0]["text"].as_str().unwrap().starts_with("[relay message 7 00000z] from alice"));
    }

    #[test]
    fn attachments_come_with_their_paths_or_with_what_is_wrong() {
        let attachments: Vec<_> = ["f1", "f2", "f3"].map(|id| json!({"id": id, "name": format!("{id}.txt")})).into();
        let message = json!({"id": 7, "from": "alice", "to": "a1", "attachments": attachments, "createdAt": 0});
        let place = Place { sha256: "00".repeat(32), name: "f1.txt".to_owned() };
        let files = [
            // By id, not by position.
            AttachedFile { id: "f2".to_owned(), kept: Err("the relay does not have it".to_owned()) },
            AttachedFile { id: "f1".to_owned(), kept: Ok(Kept { place, path: "/x/f1.txt".to_owned(), bytes: 3 }) },
        ];
        let offer = Offer { message: 7, attempt: 1, nonce: Nonce(31), repeat: Repeat::First };
        let message = Arc::new(serde_json::from_value(message).unwrap());
        let said = lines(&Deed::Offer(vec![Handed { offer, message, files: Arc::new(files) }]));
        let said: Value = serde_json::from_str(&said).unwrap();
        let of = |n: usize| (said["attachments"][n]["path"].as_str(), said["attachments"][n]["missing"].as_str());
        assert_eq!(of(0), (Some("/x/f1.txt"), None));
        assert_eq!(of(1), (None, Some("the relay does not have it")));
        assert_eq!(of(2), (None, Some("it was not fetched")));
        let text = said["text"].as_str().unwrap();
        assert!(text.contains("Attachment f1.txt: /x/f1.txt\nAttachment f2.txt could not be had: the relay"), "{text}");
    }

    #[test]
    fn a_decision_is_told_in_the_relays_words() {
        let deed = Deed::Decide { approval: "ap".into(), decision: Decision::ApproveSession, reason: None };
        assert_eq!(lines(&deed), "{\"approvalId\":\"ap\",\"decision\":\"approve-session\",\"type\":\"approval\"}\n");
        assert_eq!(lines(&Deed::Probe), "");
        let told = lines(&Deed::Tell { message: 7, why: "it was deleted".into() });
        assert!(
            told.starts_with("{\"id\":7,\"reason\":\"it was deleted\"") && told.contains("Stop working on it"),
            "{told}"
        );
    }

    #[test]
    fn what_a_program_says_becomes_reports() {
        assert_eq!(
            heard(r#"{"type":"taken","ids":[3],"turn":true}"#),
            Heard::Report(ProviderReport::Taken {
                offers: vec![TakenOffer { message: 3, nonce: None }],
                into_turn: true
            })
        );
        let Heard::Report(ProviderReport::Status(idle)) = heard(r#"{"type":"idle","turn":"t1","failed":"boom"}"#)
        else {
            panic!("a status")
        };
        assert_eq!(idle.id.as_deref(), Some("t1"));
        assert_eq!(idle.end, TurnEnd::Failed { error: "boom".into() });
        let Heard::Report(ProviderReport::Status(idle)) = heard(r#"{"type":"idle","interrupted":true}"#) else {
            panic!("a status")
        };
        assert_eq!(idle.end, TurnEnd::Interrupted { by_person: false });
        assert!(matches!(heard(r#"{"type":"approval","approvalId":"a","kind":"tool"}"#), Heard::Report(_)));
        assert!(matches!(
            heard(r#"{"type":"log","message":"m","level":"warn"}"#),
            Heard::Log { level: Level::Warn, .. }
        ));
        assert_eq!(heard("  "), Heard::Nothing);
        assert_eq!(heard(r#"{"type":"ready"}"#), Heard::Nothing);
    }

    #[test]
    fn an_approval_id_that_cannot_be_kept_as_it_is_is_left_out() {
        let cut = |text: &str| text.replace("the-token", "[secret]");
        for kind in ["approval", "approvalClosed"] {
            let said = format!(r#"{{"type":"{kind}","approvalId":"x-the-token"}}"#);
            let Heard::Malformed(reason) = hear(&said, cut) else { panic!("{kind}") };
            assert!(!reason.contains("the-token"), "{reason}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_without_its_content() {
        for odd in ["secret words", "{\"secret\":1}", "[1]", "{\"type\":7}", "{\"type\":\"taken\",\"ids\":\"secret\"}"]
        {
            let Heard::Malformed(reason) = heard(odd) else { panic!("{odd}") };
            assert!(!reason.contains("secret"), "{reason}");
        }
        assert_eq!(heard(r#"{"type":"dance"}"#), Heard::Malformed("unknown type `dance`".to_owned()));
    }
}
