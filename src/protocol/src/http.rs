//! Paths and headers of the relay's HTTP API.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

/// The websocket.
pub const BUS: &str = "/api/bus";
pub const HEALTH: &str = "/api/health";
/// The document of the API.
pub const SPEC: &str = "/api/spec";
pub const AGENTS: &str = "/api/agents";
pub const MESSAGES: &str = "/api/messages";
/// The newest message and event.
pub const MESSAGE_CURSOR: &str = "/api/messages/cursor";
pub const TASKS: &str = "/api/tasks";
pub const ARTIFACTS: &str = "/api/artifacts";
/// Server-sent events.
pub const EVENTS: &str = "/api/events";
pub const COMMANDS: &str = "/api/commands";
/// Where the relay makes runtime tokens (ours).
pub const TOKENS: &str = "/api/tokens/runtime";
/// Where a runtime token gets its successor.
pub const TOKEN_RENEWAL: &str = "/api/tokens/runtime/renew";

/// Carries the token, at the websocket's upgrade too.
pub const TOKEN_HEADER: &str = "x-agent-relay-token";
/// Same key and body within 24 h: the first answer again.
pub const IDEMPOTENCY_HEADER: &str = "idempotency-key";

/// The SHA-256 of a downloaded artifact, in lower-case hex.
pub const SHA256_HEADER: &str = "x-agent-relay-sha256";
/// Where a stream of events goes on.
pub const LAST_EVENT_HEADER: &str = "last-event-id";

/// The routes, as patterns in the `{name}` notation, for whoever serves them.
pub mod route {
    pub const AGENT: &str = "/api/agents/{id}";
    pub const AGENT_STATUS: &str = "/api/agents/{id}/status";
    pub const AGENT_READY: &str = "/api/agents/{id}/ready";
    pub const AGENT_HEARTBEAT: &str = "/api/agents/{id}/heartbeat";
    pub const AGENT_INBOX: &str = "/api/agents/{id}/inbox";
    pub const AGENT_OBLIGATIONS: &str = "/api/agents/{id}/obligations";
    pub const AGENT_LABEL: &str = "/api/agents/{id}/label";
    pub const AGENT_TAGS: &str = "/api/agents/{id}/tags";
    pub const MESSAGE: &str = "/api/messages/{id}";
    pub const CLAIM: &str = "/api/messages/{id}/claim";
    pub const CLAIM_RENEW: &str = "/api/messages/{id}/claim/renew";
    pub const CLAIM_RELEASE: &str = "/api/messages/{id}/claim/release";
    pub const DELIVERY: &str = "/api/messages/{id}/delivery";
    pub const READ: &str = "/api/messages/{id}/read";
    pub const REACTIONS: &str = "/api/messages/{id}/reactions";
    pub const THREAD: &str = "/api/messages/{id}/thread";
    pub const TASK: &str = "/api/tasks/{id}";
    pub const TASK_STATUS: &str = "/api/tasks/{id}/status";
    pub const ARTIFACT: &str = "/api/artifacts/{id}";
    pub const COMMAND: &str = "/api/commands/{id}";
    pub const COMMAND_STATUS: &str = "/api/commands/{id}/status";
}

/// A text as one segment of a path: everything but unreserved characters (RFC 3986, 2.3) is percent-encoded.
pub fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

pub fn agent(id: &str) -> String {
    format!("{AGENTS}/{}", segment(id))
}

pub fn agent_part(id: &str, part: &str) -> String {
    format!("{AGENTS}/{}/{part}", segment(id))
}

/// `DELETE /agents/{id}` with the session as query.
pub fn agent_with_session(id: &str, instance: &str, epoch: u64) -> String {
    format!("{AGENTS}/{}?instanceId={}&epoch={epoch}", segment(id), segment(instance))
}

/// `GET /agents/{id}/inbox`: unread messages with an id above `after`, in id order, at most `limit`.
pub fn unread(id: &str, after: u64, limit: u32) -> String {
    format!("{AGENTS}/{}/inbox?unread=true&after={after}&limit={limit}", segment(id))
}

pub fn message(id: u64) -> String {
    format!("{MESSAGES}/{id}")
}

pub fn message_part(id: u64, part: &str) -> String {
    format!("{MESSAGES}/{id}/{part}")
}

pub fn task(id: u64) -> String {
    format!("{TASKS}/{id}")
}

pub fn task_status(id: u64) -> String {
    format!("{TASKS}/{id}/status")
}

pub fn command(id: &str) -> String {
    format!("{COMMANDS}/{}", segment(id))
}

pub fn command_status(id: &str) -> String {
    format!("{COMMANDS}/{}/status", segment(id))
}

pub fn artifact(id: &str) -> String {
    format!("{ARTIFACTS}/{}", segment(id))
}

/// `POST /artifacts` for a file of this name; the body is its bytes, `Content-Type` its media type.
pub fn upload(name: &str) -> String {
    format!("{ARTIFACTS}?name={}", segment(name))
}

/// The same, and the relay checks that what came has this SHA-256 (hexadecimal).
pub fn checked_upload(name: &str, sha256: &str) -> String {
    format!("{}&sha256={}", upload(name), segment(sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_leave_its_segment() {
        assert_eq!(agent_part("a/b?c#d e", "status"), "/api/agents/a%2Fb%3Fc%23d%20e/status");
        assert_eq!(agent("ü"), "/api/agents/%C3%BC");
    }
}
