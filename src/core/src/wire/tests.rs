//! The relay's words, as they stand in its protocol, and what the core makes of them.

use alloc::vec;

use super::*;

const US: &str = "a1";

fn event(name: &str, data: &str) -> RelayEvent {
    let text =
        format!(r#"{{"type":"event","id":"e1","payload":{{"seq":1,"event":"{name}","timestamp":1,"data":{data}}}}}"#);
    match read_frame(&text, US).0 {
        BusFrame::Event { event, .. } => event,
        other => panic!("{text} is {other:?}"),
    }
}

fn answer_to(call: &Call, status: u16, body: &str) -> OpResult {
    answer(call, US, status, Some(1_500), body.as_bytes()).result
}

fn message(more: &str) -> String {
    format!(r#"{{"id":5,"from":"alice","to":"a1","kind":"chat","body":"hello","createdAt":1{more}}}"#)
}

fn list_of(count: usize) -> String {
    format!("[{}]", vec![message(""); count].join(","))
}

#[test]
fn events_of_a_message_say_whom_they_concern() {
    let claimed = event("message.claimed", r#"{"messageId":5,"agentId":"b"}"#);
    assert_eq!(claimed, RelayEvent::MessageClaimed { message: 5, by: Some("b".into()) });
    let released = event("message.claim_released", r#"{"messageId":5}"#);
    assert_eq!(released, RelayEvent::ClaimReleased { message: 5 });
    assert_eq!(event("message.deleted", r#"{"messageId":5}"#), RelayEvent::MessageDeleted { message: 5 });
}

#[test]
fn only_a_task_that_is_cancelled_is_cancelled() {
    for (name, is_cancelled) in [("task.cancelled", true), ("task.updated", false)] {
        let RelayEvent::Task { task: 7, message: 5, cancelled, .. } =
            event(name, r#"{"taskId":7,"messageId":5,"status":"failed"}"#)
        else {
            panic!("{name} is an event of task 7 of message 5")
        };
        assert_eq!(cancelled, is_cancelled, "{name}");
    }
}

#[test]
fn an_event_that_is_not_known_or_not_readable_is_passed_on_by_its_name() {
    let other = |name: &str| RelayEvent::Other { name: name.into() };
    assert_eq!(event("pair.created", r#"{"taskId":7,"messageId":5,"status":"failed"}"#), other("pair.created"));
    assert_eq!(event("message.new", "{}"), other("message.new"));
    assert_eq!(event("task.updated", "{}"), other("task.updated"));
}

#[test]
fn an_agent_is_given_a_label_and_tags_by_an_event_that_names_it() {
    let updated = |agent: &str, label: &str| {
        event("agent.updated", &format!(r#"{{"agentId":"{agent}","label":"{label}","tags":["x","y"]}}"#))
    };
    let tags = vec!["x".into(), "y".into()];
    let given = Given { label: Some("dev".into()), tags: tags.clone(), epoch: None };
    assert_eq!(updated(US, "dev"), RelayEvent::AgentUpdated(Box::new(given)));
    // An empty one is none.
    assert_eq!(updated(US, ""), RelayEvent::AgentUpdated(Box::new(Given { label: None, tags, epoch: None })));
    assert_eq!(updated("b", "dev"), RelayEvent::Other { name: "agent.updated".into() });
}

#[test]
fn a_type_of_frame_that_is_known_is_malformed_and_another_is_unknown() {
    let known = read_frame(r#"{"type":"event","id":"e1","payload":{}}"#, US).0;
    assert!(matches!(known, BusFrame::Malformed { .. }), "{known:?}");
    assert_eq!(read_frame(r#"{"type":"weather"}"#, US).0, BusFrame::Unknown { kind: "weather".into() });
}

#[test]
fn a_message_is_read_when_its_readers_name_us_and_urgent_when_it_says_so() {
    let read = |more: &str| {
        let message: Message = serde_json::from_str(&message(more)).expect("a message");
        incoming(&message, US)
    };
    assert!(read(r#","readBy":["b","a1"]"#).read);
    assert!(!read(r#","readBy":["b"]"#).read);
    assert!(read(r#","priority":"urgent""#).urgent);
    assert!(!read("").urgent);
}

#[test]
fn a_list_of_unread_messages_is_full_when_it_is_as_long_as_was_asked_for() {
    let is_full = |count| match answer_to(&Call::Unread { after: 0, limit: 2 }, 200, &list_of(count)) {
        OpResult::Unread { messages, full } if messages.len() == count => full,
        other => panic!("{other:?}"),
    };
    assert_eq!([1, 2, 3].map(is_full), [false, true, true]);
}

#[test]
fn a_token_comes_with_what_is_said_of_it() {
    let renew = Call::RenewToken { jti: None };
    let given = |body: &str| answer(&renew, US, 200, None, body.as_bytes());
    let record = r#"{"jti":"j1","profileId":"","expiresAt":2000}"#;
    let whole = given(&format!(r#"{{"token":"planted-secret","record":{record}}}"#));
    // An empty text says nothing.
    let record = TokenRecord { jti: Some("j1".into()), profile: None, expires_at: Some(2_000) };
    assert_eq!(whole.result, OpResult::Token { slot: TokenSlot(0), record });
    assert_eq!(whole.token, Some(Secret("planted-secret".into())));
    let printed = format!("{whole:?}");
    assert!(printed.contains("Secret") && !printed.contains("planted-secret"), "{printed}");
    for blank in [r#"{"token":""}"#, r#"{"token":" "}"#] {
        let blank = given(blank);
        assert!(matches!(blank.result, OpResult::Failed(_)) && blank.token.is_none(), "{blank:?}");
    }
}

#[test]
fn what_a_refusal_means_follows_from_its_status() {
    let refused = |status, body: &str| match answer_to(&Call::Read { message: 5 }, status, body) {
        OpResult::Failed(failure) => (failure.kind, failure.text.to_string()),
        other => panic!("{status} is {other:?}"),
    };
    for (status, kind) in [
        (401, FailureKind::Unauthorized),
        (403, FailureKind::Unauthorized),
        (404, FailureKind::NotFound),
        (409, FailureKind::Conflict),
        (410, FailureKind::Expired),
        (400, FailureKind::Invalid),
        (422, FailureKind::Invalid),
        (429, FailureKind::Busy { retry_after: Some(1_500) }),
        (503, FailureKind::Busy { retry_after: Some(1_500) }),
        (500, FailureKind::Server),
        (302, FailureKind::Server),
    ] {
        assert_eq!(refused(status, "no JSON"), (kind, format!("HTTP {status}")));
    }
    let error = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"why"}}}}"#);
    let (kind, text) = refused(409, &error("superseded"));
    assert_eq!((kind, &*text), (FailureKind::Superseded, "HTTP 409 superseded: why"));
    assert_eq!(refused(409, &error("conflict")).0, FailureKind::Conflict);
    assert_eq!(refused(404, &error("superseded")).0, FailureKind::NotFound);
}

#[test]
fn words_of_others_are_cut_between_letters() {
    assert_eq!(&*cut("short"), "short");
    assert_eq!(&*cut(&"ä".repeat(300)), "ä".repeat(300));
    assert_eq!(&*cut(&"ä".repeat(301)), "ä".repeat(300));
}
