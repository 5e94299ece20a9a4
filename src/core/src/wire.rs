//! What effects say on the wire, and how answers and frames are read: pure functions between the core's words and
//! the protocol's, which the shell calls with the bytes.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use relay_runner_protocol::frame::{self, Ack, BusHeartbeat, BusStatus, CommandOrder as WireCommand, Event, Resume};
use relay_runner_protocol::reply::Obligation;
use relay_runner_protocol::token::{RecordGiven, TokenGiven};
use relay_runner_protocol::{
    ClientFrame, ErrorBody, ErrorCode, Message, Priority, ServerFrame, Session, agent, claim, command as wire_command,
    http, message, task,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::Core;
use crate::body::BodyRef;
use crate::effect::{Call, Frame, Outcome};
use crate::event::{BusFrame, CommandOrder, Failure, FailureKind, Incoming, OpResult, Params, RelayEvent, TokenRecord};
use crate::ids::{Epoch, OpId, Text, TokenSlot, idempotency_key, renewal_key};
use crate::matching::{Given, TAGS_MOST};
use crate::time::Millis;

/// A call as a request of HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    /// Path and query, to be put behind the relay's URL.
    pub path: String,
    /// JSON.
    pub body: Option<String>,
    /// Value of the `Idempotency-Key` header.
    pub idempotency_key: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Delete,
}

/// The text of a frame, as of now: called before the next step.
pub fn frame(core: &Core, frame: &Frame) -> String {
    let frame = match frame {
        Frame::Register => ClientFrame::Register { id: "register".to_string(), payload: core.registration() },
        Frame::Heartbeat { status } => {
            ClientFrame::Heartbeat { payload: BusHeartbeat { status: *status, meta: Some(core.heartbeat_meta()) } }
        }
        Frame::Status { seq, status, ready } => ClientFrame::Status {
            id: format!("status-{seq}"),
            payload: BusStatus {
                agent_status: *status,
                ready: Some(*ready),
                meta: Some(core.status_meta()),
                status_seq: *seq,
            },
        },
        Frame::Ack { frame } => ClientFrame::Ack { payload: Ack { frame_id: frame.to_string() } },
        Frame::Resume { since } => ClientFrame::Resume { id: "resume".to_string(), payload: Resume { since: *since } },
    };
    encode(&frame)
}

/// The request of a call. `key` names the operation whose idempotency key goes with every try of it.
pub fn request(core: &Core, key: OpId, epoch: Epoch, call: &Call) -> Request {
    let us = &*core.config().identity.agent_id;
    let agent_id = || us.to_string();
    let session = || Session { instance_id: core.instance_id().to_string(), epoch };
    let idempotency_key = || Some(idempotency_key(core.run_id(), key, epoch, call.fence()));
    let keyed = |path: String, body: String| Request {
        method: Method::Post,
        path,
        body: Some(body),
        idempotency_key: idempotency_key(),
    };
    let plain = |part: &str, body: String| Request {
        method: Method::Post,
        path: http::agent_part(us, part),
        body: Some(body),
        idempotency_key: None,
    };
    match call {
        Call::Claim { message } => keyed(
            http::message_part(*message, "claim"),
            encode(&claim::Claim { agent_id: agent_id(), session: session() }),
        ),
        Call::Renew { message, fence } => keyed(
            http::message_part(*message, "claim/renew"),
            encode(&claim::ClaimChange { agent_id: agent_id(), session: session(), fence: *fence }),
        ),
        Call::Release { message, fence } => keyed(
            http::message_part(*message, "claim/release"),
            encode(&claim::ClaimChange { agent_id: agent_id(), session: session(), fence: *fence }),
        ),
        Call::Read { message } => keyed(
            http::message_part(*message, "read"),
            encode(&message::MarkRead { agent_id: agent_id(), session: Some(session()) }),
        ),
        Call::Delivery { message, stage, attempt, reason } => keyed(
            http::message_part(*message, "delivery"),
            encode(&message::DeliveryReport {
                agent_id: agent_id(),
                session: session(),
                stage: *stage,
                attempt: *attempt,
                reason: reason.as_deref().map(ToString::to_string),
            }),
        ),
        Call::Task { task, message, status, fence, why } => keyed(
            http::task_status(*task),
            encode(&task::TaskReport {
                status: *status,
                agent_id: agent_id(),
                body: why.as_ref().map(|why| why.words(*message).to_string()),
                metadata: object(json!({"messageId": message, "completedBy": "runner"})),
                fence: *fence,
            }),
        ),
        Call::Command { id, status, outcome } => {
            let (result, error) = match outcome.as_deref() {
                None => (None, None),
                Some(Outcome::Failed { message }) => (None, Some(message.to_string())),
                Some(Outcome::Succeeded { action, reason, provider_result }) => {
                    (Some(core.command_result(action, reason.as_deref(), provider_result.as_deref())), None)
                }
            };
            keyed(http::command_status(id), encode(&wire_command::CommandReport { status: *status, result, error }))
        }
        Call::SetStatus { status, seq } => {
            plain("status", encode(&agent::SetStatus { status: *status, status_seq: *seq, session: session() }))
        }
        Call::SetReady { ready, seq } => {
            plain("ready", encode(&agent::SetReady { ready: *ready, status_seq: *seq, session: session() }))
        }
        Call::Heartbeat => plain("heartbeat", encode(&agent::Heartbeat { session: session() })),
        Call::Unread { after, limit } => {
            Request { method: Method::Get, path: http::unread(us, *after, *limit), body: None, idempotency_key: None }
        }
        Call::Obligations => Request {
            method: Method::Get,
            path: http::agent_part(us, "obligations"),
            body: None,
            idempotency_key: None,
        },
        Call::RenewToken { jti } => Request {
            method: Method::Post,
            path: http::TOKEN_RENEWAL.to_string(),
            body: Some("{}".to_string()),
            idempotency_key: match jti {
                Some(jti) => Some(renewal_key(core.run_id(), jti)),
                None => idempotency_key(),
            },
        },
        Call::DeleteAgent => Request {
            method: Method::Delete,
            path: http::agent_with_session(us, core.instance_id(), epoch),
            body: None,
            idempotency_key: idempotency_key(),
        },
    }
}

/// An answer as the core takes it, and what came with it for the shell to keep.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    pub result: OpResult,
    /// The messages of an unread list, whole.
    pub messages: Vec<Message>,
    /// The new runtime token; the result names slot 0 until the shell has one for it.
    pub token: Option<Secret>,
}

/// A token on its way into its slot. It is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret")
    }
}

impl From<OpResult> for Answered {
    fn from(result: OpResult) -> Self {
        Self { result, messages: Vec::new(), token: None }
    }
}

/// Reads the answer to a call. `us` is the agent's id.
pub fn answer(call: &Call, us: &str, status: u16, retry_after: Option<Millis>, body: &[u8]) -> Answered {
    if !(200..300).contains(&status) {
        return OpResult::Failed(refusal(status, retry_after, body)).into();
    }
    let result = match call {
        Call::Claim { .. } => read::<claim::ClaimAnswer>(body).and_then(|answer| match (answer.ok, answer.fence) {
            (true, Some(fence)) => Ok(OpResult::Granted { fence, lease: answer.lease_ms }),
            (true, None) => Err("the relay granted a claim without a fence".to_string()),
            (false, _) => Ok(OpResult::Refused { by: answer.claimed_by.map(Text::from) }),
        }),
        Call::Renew { .. } => read::<claim::ClaimAnswer>(body).map(|answer| {
            if answer.ok { OpResult::Renewed { lease: answer.lease_ms } } else { OpResult::Refused { by: None } }
        }),
        Call::Heartbeat => {
            read::<agent::Ok>(body).map(|answer| if answer.ok { OpResult::Ok } else { OpResult::Pruned })
        }
        Call::Unread { limit, .. } => {
            return match read::<Vec<Message>>(body) {
                Ok(mut messages) => {
                    messages.sort_by_key(|m| m.id);
                    let full = messages.len() >= *limit as usize;
                    let list = messages.iter().map(|m| incoming(m, us)).collect();
                    Answered { result: OpResult::Unread { messages: list, full }, messages, token: None }
                }
                Err(reason) => unreadable(&reason).into(),
            };
        }
        Call::Obligations => read::<Vec<Obligation>>(body)
            .map(|owed| OpResult::Owed { messages: owed.iter().map(|owed| owed.message_id).collect() }),
        Call::RenewToken { .. } => {
            return match read::<TokenGiven>(body) {
                Ok(TokenGiven { token, .. }) if token.trim().is_empty() => unreadable("it holds no token").into(),
                Ok(TokenGiven { token, record }) => {
                    let record = token_record(record);
                    let result = OpResult::Token { slot: TokenSlot(0), record };
                    Answered { result, messages: Vec::new(), token: Some(Secret(token)) }
                }
                Err(reason) => unreadable(&reason).into(),
            };
        }
        Call::Release { .. }
        | Call::Read { .. }
        | Call::Delivery { .. }
        | Call::Task { .. }
        | Call::Command { .. }
        | Call::SetStatus { .. }
        | Call::SetReady { .. }
        | Call::DeleteAgent => Ok(OpResult::Ok),
    };
    result.unwrap_or_else(|reason| unreadable(&reason)).into()
}

/// What a relay, or whoever hands a token in, says of it.
pub fn token_record(given: RecordGiven) -> TokenRecord {
    let text = |text: Option<String>| text.filter(|t| !t.is_empty()).map(|t| cut(&t));
    TokenRecord { jti: text(given.jti), profile: text(given.profile_id), expires_at: given.expires_at }
}

/// What a frame holds besides what the core takes in, for the shell to keep.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Words {
    pub message: Option<Box<Message>>,
    /// The content that a command carries.
    pub content: Option<Text>,
}

/// Reads a frame of the relay. `us` is the agent's id.
pub fn read_frame(text: &str, us: &str) -> (BusFrame, Words) {
    match serde_json::from_str::<ServerFrame>(text) {
        Ok(frame) => known_frame(frame, us),
        Err(error) => (odd_frame(text, &error), Words::default()),
    }
}

fn odd_frame(text: &str, error: &serde_json::Error) -> BusFrame {
    let kind = serde_json::from_str::<Value>(text)
        .ok()
        .and_then(|frame| frame.get("type").and_then(Value::as_str).map(ToString::to_string))
        .filter(|kind| !frame::SERVER_FRAME_TYPES.contains(&kind.as_str()));
    match kind {
        Some(kind) => BusFrame::Unknown { kind: cut(&kind) },
        // The parser's words may quote what it read; position and category say enough.
        None => {
            BusFrame::Malformed { reason: format!("{:?} error at column {}", error.classify(), error.column()).into() }
        }
    }
}

fn known_frame(frame: ServerFrame, us: &str) -> (BusFrame, Words) {
    let mut words = Words::default();
    let frame = match frame {
        ServerFrame::Registered { payload, .. } => BusFrame::Registered {
            epoch: payload.epoch,
            cursor: payload.cursor,
            relay: payload.relay_id.map(|id| cut(&id)),
            heartbeat: payload.heartbeat_interval_ms,
        },
        ServerFrame::Event { id, payload } => {
            let seq = payload.seq;
            let (event, message) = relay_event(payload, us);
            words.message = message.map(Box::new);
            BusFrame::Event { frame: id.into(), seq, event }
        }
        ServerFrame::Command { id, payload } => {
            let (command, content) = command(payload);
            words.content = content;
            BusFrame::Command { frame: id.into(), command: Box::new(command) }
        }
        ServerFrame::Ack { payload } => BusFrame::Ack { frame: payload.frame_id.into() },
        ServerFrame::Replayed { payload, .. } => {
            BusFrame::Replayed { from: payload.from, to: payload.to, gap: payload.gap }
        }
        ServerFrame::Error { payload, .. } => BusFrame::Error { code: payload.code, message: cut(&payload.message) },
    };
    (frame, words)
}

fn relay_event(wire: Event, us: &str) -> (RelayEvent, Option<Message>) {
    let name = cut(&wire.event);
    let message_event = |data: Value| serde_json::from_value::<frame::MessageEvent>(data).ok();
    let event = match wire.event.as_str() {
        frame::event::MESSAGE_NEW => {
            if let Ok(message) = serde_json::from_value::<Message>(wire.data) {
                let event = RelayEvent::MessageNew(Box::new(incoming(&message, us)));
                return (event, Some(message));
            }
            None
        }
        frame::event::MESSAGE_CLAIMED => message_event(wire.data)
            .map(|e| RelayEvent::MessageClaimed { message: e.message_id, by: e.agent_id.map(Text::from) }),
        frame::event::MESSAGE_CLAIM_RELEASED => {
            message_event(wire.data).map(|e| RelayEvent::ClaimReleased { message: e.message_id })
        }
        frame::event::MESSAGE_DELETED => {
            message_event(wire.data).map(|e| RelayEvent::MessageDeleted { message: e.message_id })
        }
        frame::event::AGENT_UPDATED => serde_json::from_value::<frame::AgentEvent>(wire.data)
            .ok()
            .filter(|e| e.agent_id == us)
            .map(|e| RelayEvent::AgentUpdated(Box::new(given(e)))),
        name if name.starts_with(frame::event::TASK_PREFIX) => {
            serde_json::from_value::<frame::TaskEvent>(wire.data).ok().map(|e| RelayEvent::Task {
                task: e.task_id,
                message: e.message_id,
                status: e.status,
                cancelled: name == frame::event::TASK_CANCELLED,
            })
        }
        _ => None,
    };
    (event.unwrap_or(RelayEvent::Other { name }), None)
}

fn given(event: frame::AgentEvent) -> Given {
    let tags = event.tags.iter().take(TAGS_MOST).map(|tag| cut(tag)).collect();
    Given { label: event.label.filter(|label| !label.is_empty()).map(|label| cut(&label)), tags, epoch: None }
}

/// A command as the core takes it, and the content that it carries. The same for a command of the relay and one of the
/// control server, so that both mean the same.
pub fn command(wire: WireCommand) -> (CommandOrder, Option<Text>) {
    let text = |key: &str| wire.params.get(key).and_then(Value::as_str).map(Text::from);
    let content = text("content");
    let params = Params {
        reason: text("reason").map(|r| cut(&r)),
        timeout: wire.params.get("timeoutMs").and_then(Value::as_u64),
        approval: text("approvalId"),
        decision: text("decision"),
        content: content.as_deref().map(BodyRef::of),
        memory_ids: wire
            .params
            .get("memoryIds")
            .and_then(Value::as_array)
            .map(|ids| ids.iter().filter_map(Value::as_str).map(Text::from).collect())
            .unwrap_or_default(),
    };
    let order = CommandOrder {
        id: wire.command_id.into(),
        name: wire.command_type.into(),
        target: wire.target.map(Text::from),
        params,
    };
    (order, content)
}

/// A message as the core needs it.
pub fn incoming(message: &Message, us: &str) -> Incoming {
    Incoming {
        id: message.id,
        from: message.from.as_str().into(),
        to: message.to.as_str().into(),
        resolved: message.resolved_to_agent.as_deref().map(Text::from),
        kind: message.kind.as_str().into(),
        claimable: message.claimable,
        urgent: message.priority == Priority::Urgent,
        reply_expected: message.reply_expected,
        read: message.read_by.iter().any(|reader| reader == us),
        claimed_by: message.claimed_by.as_deref().map(Text::from),
        // A task is tracked under a claim; what a plain message says of one is for the agent to read.
        task: message.task_id().filter(|_| message.claimable),
        attachments: u32::try_from(message.attachments.len()).unwrap_or(u32::MAX),
        body: BodyRef::of(&message.body),
    }
}

/// What an HTTP status that is not 2xx means.
fn refusal(status: u16, retry_after: Option<Millis>, body: &[u8]) -> Failure {
    let detail = serde_json::from_slice::<ErrorBody>(body).map(|body| body.error).ok();
    let superseded = detail.as_ref().is_some_and(|detail| detail.code == ErrorCode::Superseded.as_str());
    let kind = match status {
        401 | 403 => FailureKind::Unauthorized,
        404 => FailureKind::NotFound,
        409 if superseded => FailureKind::Superseded,
        409 => FailureKind::Conflict,
        410 => FailureKind::Expired,
        429 | 503 => FailureKind::Busy { retry_after },
        400..=499 => FailureKind::Invalid,
        _ => FailureKind::Server,
    };
    let text = match detail {
        Some(detail) => format!("HTTP {status} {}: {}", detail.code, detail.message),
        None => format!("HTTP {status}"),
    };
    Failure { kind, text: cut(&text) }
}

fn unreadable(reason: &str) -> OpResult {
    OpResult::Failed(Failure { kind: FailureKind::Server, text: reason.into() })
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|e| format!("the answer cannot be read ({:?} error)", e.classify()))
}

/// Others' text in events is bounded: it is for people, never decided upon.
pub(crate) fn cut(text: &str) -> Text {
    const MOST: usize = 300;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => text[..end].into(),
        None => text.into(),
    }
}

fn encode<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("the protocol's types have string keys only")
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

#[cfg(test)]
mod tests;
