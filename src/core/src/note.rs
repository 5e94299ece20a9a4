//! What the core would have logged. The shell turns notes into log lines, counters and timeline entries; they are not
//! effects, and nothing depends on them.

use crate::event::{ExitClass, Failure};
use crate::ids::{Conn, Fence, Generation, MessageId, OpId, TaskId, Text};
use crate::time::Millis;
use relay_runner_protocol::Stage;
use serde::Serialize;

/// As JSON, `kind` says which one it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Note {
    /// An input that came too late, or belongs to nothing: it changed nothing.
    Stale {
        what: &'static str,
        number: u64,
    },
    /// An input that a state neither handles nor expects.
    Unexpected {
        state: &'static str,
        event: &'static str,
    },
    Malformed {
        what: &'static str,
        reason: Text,
    },
    Ignored {
        what: &'static str,
        name: Text,
    },

    Connecting {
        conn: Conn,
    },
    LinkFailed {
        failure: Failure,
        retry_in: Millis,
        said_before: bool,
    },
    LinkClosed {
        reason: Text,
        retry_in: Millis,
        said_before: bool,
    },
    /// An error frame that changes nothing here.
    RelaySays {
        code: &'static str,
        message: Text,
    },
    Registered {
        epoch: u64,
    },
    /// The relay is another one than before, or began anew.
    OtherRelay,

    /// The process of the run before is being taken up.
    Adopting {
        generation: Generation,
    },
    Spawning {
        generation: Generation,
    },
    Up {
        generation: Generation,
    },
    /// The provider is in another conversation of its own than before.
    Conversation {
        id: Text,
    },
    Exited {
        generation: Generation,
        class: ExitClass,
        detail: Text,
    },
    Cooling {
        wait: Millis,
        exits: usize,
    },
    Parked {
        why: Text,
    },
    Stopping {
        generation: Generation,
        step: &'static str,
    },
    TurnBegan {
        turn: u64,
    },
    TurnEnded {
        turn: u64,
        how: &'static str,
    },

    Stage {
        message: MessageId,
        stage: Stage,
        attempt: u32,
    },
    NotOurs {
        message: MessageId,
    },
    TakenOver {
        message: MessageId,
        why: &'static str,
    },
    Full {
        what: &'static str,
        dropped: u64,
    },
    ClaimGranted {
        message: MessageId,
        fence: Fence,
    },
    ClaimRefused {
        message: MessageId,
    },
    ClaimLapsed {
        message: MessageId,
    },
    ClaimLost {
        message: MessageId,
    },
    TaskReported {
        task: TaskId,
        status: &'static str,
    },

    /// The configuration was read again.
    SettingsRead {
        changed: bool,
    },
    /// There is another credential.
    CredentialRenewed {
        number: u64,
    },
    /// It ends, and nothing can be done about that but handing in another.
    NotRenewable,
    /// The credential has ended.
    CredentialExpired,

    Command {
        id: Text,
        name: Text,
        what: &'static str,
    },
    Ending {
        why: &'static str,
    },
    /// An operation failed. `said_before`: the same was said in the last minutes, and need not be said again.
    Failed {
        op: OpId,
        what: &'static str,
        failure: Failure,
        said_before: bool,
    },
    TimedOut {
        op: OpId,
        what: &'static str,
    },
    ClockJump {
        millis: i64,
    },
}
