//! Bytes from outside: no frame, no answer and no line of a journal can make the reading panic, and what was changed
//! on its way is read, unknown or malformed, and nothing else.

use proptest::prelude::*;
use relay_runner_core::event::{BusFrame, OpResult, RelayEvent};
use relay_runner_core::journal::{Damage, Reader, SCHEMA};
use relay_runner_core::{Call, wire};
use relay_runner_protocol::frame::SERVER_FRAME_TYPES;
use relay_runner_protocol::{CommandStatus, Stage, TaskStatus};

use crate::depth;
use crate::journal::record;

/// Valid frames, one of each type and event that a relay sends.
const FRAMES: [&str; 11] = [
    r#"{"type":"registered","id":"r","payload":{"agentId":"a1","epoch":3,"cursor":7,"relayId":"x","heartbeatIntervalMs":30000}}"#,
    r#"{"type":"event","id":"e1","payload":{"seq":1,"event":"message.new","timestamp":1,"data":{"id":5,"from":"alice","to":"a1","kind":"chat","body":"hello","createdAt":1,"readBy":[],"claimable":true,"payload":{"taskId":7}}}}"#,
    r#"{"type":"event","id":"e2","payload":{"seq":2,"event":"message.claimed","timestamp":1,"data":{"messageId":5,"agentId":"b"}}}"#,
    r#"{"type":"event","id":"e3","payload":{"seq":3,"event":"message.claim_released","timestamp":1,"data":{"messageId":5}}}"#,
    r#"{"type":"event","id":"e4","payload":{"seq":4,"event":"message.deleted","timestamp":1,"data":{"messageId":5}}}"#,
    r#"{"type":"event","id":"e5","payload":{"seq":5,"event":"task.cancelled","timestamp":1,"data":{"taskId":7,"messageId":5,"status":"failed"}}}"#,
    r#"{"type":"command","id":"c1","payload":{"commandId":"c1","commandType":"agent.shutdown","target":"a1","params":{"reason":"late","timeoutMs":500}}}"#,
    r#"{"type":"command","id":"c2","payload":{"commandId":"c2","commandType":"agent.injectContext","params":{"content":"hello","memoryIds":["m"]}}}"#,
    r#"{"type":"ack","payload":{"frameId":"status-4"}}"#,
    r#"{"type":"replayed","id":"r","payload":{"from":1,"to":9,"gap":true}}"#,
    r#"{"type":"error","payload":{"code":"superseded","message":"a newer instance"}}"#,
];

const ANSWERS: [&str; 5] = [
    r#"{"ok":true,"fence":3,"leaseMs":60000}"#,
    r#"{"ok":false,"claimedBy":"b"}"#,
    r#"{"ok":true}"#,
    r#"[{"id":5,"from":"alice","to":"a1","kind":"chat","body":"hello","readBy":["a1"],"createdAt":1},{"id":4,"from":"b","to":"a1","kind":"chat","body":"x","createdAt":2}]"#,
    r#"{"error":{"code":"superseded","message":"a newer instance"}}"#,
];

fn calls() -> Vec<Call> {
    vec![
        Call::Claim { message: 5 },
        Call::Renew { message: 5, fence: 3 },
        Call::Release { message: 5, fence: 3 },
        Call::Read { message: 5 },
        Call::Delivery { message: 5, stage: Stage::Taken, attempt: 1, reason: None },
        Call::Task { task: 7, message: 5, status: TaskStatus::Done, fence: Some(3), why: None },
        Call::Command { id: "c1".into(), status: CommandStatus::Running, outcome: None },
        Call::Heartbeat,
        Call::Unread { after: 0, limit: 2 },
        Call::DeleteAgent,
        Call::RenewToken { jti: None },
    ]
}

/// One way of spoiling a text.
#[derive(Debug, Clone, Copy)]
enum Spoil {
    Cut,
    Drop,
    Twice,
    Put(u8),
    /// Another value where a number or a text stood.
    Value(usize),
}

fn spoils() -> impl Strategy<Value = Vec<(prop::sample::Index, Spoil)>> {
    let spoil = prop_oneof![
        Just(Spoil::Drop),
        Just(Spoil::Twice),
        Just(Spoil::Cut),
        any::<u8>().prop_map(Spoil::Put),
        (0..VALUES.len()).prop_map(Spoil::Value),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), spoil), 1..4)
}

const VALUES: [&str; 10] =
    ["null", "-1", "0", "18446744073709551615", "18446744073709551616", "1e400", "\"\"", "[]", "{}", "\"\\ud800\""];

fn spoil(text: &str, spoils: &[(prop::sample::Index, Spoil)]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for (place, spoil) in spoils {
        if bytes.is_empty() {
            break;
        }
        let at = place.index(bytes.len());
        match spoil {
            Spoil::Cut => bytes.truncate(at),
            Spoil::Drop => {
                bytes.remove(at);
            }
            Spoil::Twice => bytes.insert(at, bytes[at]),
            Spoil::Put(byte) => bytes[at] = *byte,
            Spoil::Value(value) => put_value(&mut bytes, at, VALUES[*value]),
        }
    }
    bytes
}

/// Replaces the value behind the first colon at or after this place.
fn put_value(bytes: &mut Vec<u8>, at: usize, value: &str) {
    let Some(colon) = bytes[at..].iter().position(|b| *b == b':').map(|n| at + n) else { return };
    let end = bytes[colon..].iter().position(|b| matches!(b, b',' | b'}' | b']')).map_or(bytes.len(), |n| colon + n);
    bytes.splice(colon + 1..end, value.bytes());
}

/// Whatever a frame is read as, its text is bounded, and a type that is known is never called unknown.
fn is_sound(frame: &BusFrame) -> bool {
    match frame {
        BusFrame::Unknown { kind } => kind.chars().count() <= 300 && !SERVER_FRAME_TYPES.contains(&&**kind),
        BusFrame::Malformed { reason } => !reason.is_empty() && reason.len() < 300,
        BusFrame::Error { message, .. } => message.chars().count() <= 300,
        BusFrame::Registered { .. }
        | BusFrame::Event { .. }
        | BusFrame::Command { .. }
        | BusFrame::Ack { .. }
        | BusFrame::Replayed { .. } => true,
    }
}

#[test]
fn the_frames_that_are_spoiled_here_are_valid() {
    for text in FRAMES {
        let (frame, _) = wire::read_frame(text, "a1");
        let spoiled = matches!(
            frame,
            BusFrame::Unknown { .. }
                | BusFrame::Malformed { .. }
                | BusFrame::Event { event: RelayEvent::Other { .. }, .. }
        );
        assert!(!spoiled, "{text}: {frame:?}");
    }
}

proptest! {
    #![proptest_config(depth(2_048))]

    #[test]
    fn any_text_as_a_frame_is_read_or_refused(text in any::<String>()) {
        let (frame, words) = wire::read_frame(&text, "a1");
        prop_assert!(is_sound(&frame), "{:?}", frame);
        prop_assert!(words.message.is_none() && words.content.is_none());
    }

    #[test]
    fn a_spoiled_frame_is_read_unknown_or_malformed(which in 0..FRAMES.len(), spoils in spoils()) {
        let bytes = spoil(FRAMES[which], &spoils);
        let (frame, _) = wire::read_frame(&String::from_utf8_lossy(&bytes), "a1");
        prop_assert!(is_sound(&frame), "{:?}", frame);
    }

    /// What cannot be read never counts as accepted, granted or renewed.
    #[test]
    fn any_bytes_as_an_answer_are_read_or_a_failure(
        call in prop::sample::select(calls()),
        status in prop_oneof![Just(200_u16), any::<u16>()],
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            (0..ANSWERS.len(), spoils()).prop_map(|(which, spoils)| spoil(ANSWERS[which], &spoils)),
        ],
    ) {
        let is_claim = matches!(call, Call::Claim { .. });
        let is_renewal = matches!(call, Call::Renew { .. });
        let wire::Answered { result, messages, token } = wire::answer(&call, "a1", status, None, &body);
        prop_assert!(token.is_none() || matches!(result, OpResult::Token { .. }), "a token that nobody asked for");
        prop_assert!((200..300).contains(&status) || matches!(result, OpResult::Failed(_)));
        match result {
            OpResult::Unread { messages: list, .. } => {
                prop_assert_eq!(list.len(), messages.len());
                prop_assert!(list.is_sorted_by_key(|m| m.id));
            }
            OpResult::Failed(failure) => prop_assert!(failure.text.chars().count() <= 300),
            OpResult::Granted { .. } => prop_assert!(is_claim, "a grant that was not asked for"),
            OpResult::Renewed { .. } => prop_assert!(is_renewal, "a renewal that was not asked for"),
            OpResult::Ok
            | OpResult::Said(_)
            | OpResult::Spawned(_)
            | OpResult::Token { .. }
            | OpResult::Settings(_)
            | OpResult::Owed { .. }
            | OpResult::Refused { .. }
            | OpResult::Pruned => {}
        }
    }

    #[test]
    fn any_text_as_a_line_of_a_journal_is_refused(text in any::<String>()) {
        prop_assert!(Reader::new().read(&text).is_err());
        prop_assert!(Reader::behind(7, SCHEMA).read(&text).is_err());
    }
}

proptest! {
    #![proptest_config(depth(128))]

    /// However a line was changed, it is refused, or it reads as what it was before.
    #[test]
    fn a_spoiled_line_of_a_journal_is_refused(
        seed in any::<u64>(), events in 1_usize..30, line in any::<prop::sample::Index>(), spoils in spoils(),
    ) {
        let journal = record(seed, events);
        let lines: Vec<_> = journal.lines().collect();
        let line = line.index(lines.len());
        let changed = spoil(lines[line], &spoils);
        let mut reader = Reader::new();
        for before in &lines[..line] {
            prop_assert!(reader.read(before).is_ok());
        }
        let Ok(changed) = String::from_utf8(changed) else { return Ok(()) };
        match reader.read(&changed) {
            Ok(_) => prop_assert_eq!(&*changed, lines[line]),
            Err(
                Damage::Unreadable { .. }
                | Damage::Changed { .. }
                | Damage::Newer { .. }
                | Damage::NewerFlag { .. }
                | Damage::OutOfOrder { .. },
            ) => {
                prop_assert_ne!(&*changed, lines[line]);
            }
        }
        // The reader has not moved: the right line is still the next one.
        if *changed != *lines[line] {
            prop_assert!(reader.read(lines[line]).is_ok());
        }
    }
}
