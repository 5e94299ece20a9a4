//! Everything that can happen to a runner: the inputs of [`Core::step`](crate::Core::step).
//!
//! Events are what the journal records, so they hold no secret, no body and no floating-point number. Every report of
//! the provider names its generation, every answer its operation, every frame its connection: what is stale is a note
//! and changes nothing.

mod context;

pub use context::{ContextConfidence, ContextReport, ContextSource};

use alloc::boxed::Box;
use alloc::vec::Vec;
use relay_runner_protocol::{ErrorCode, TaskStatus};
use serde::{Deserialize, Serialize};

use crate::body::BodyRef;
use crate::config::Settings;
use crate::ids::{Conn, Epoch, Fence, Generation, MessageId, Nonce, OpId, RequestId, TaskId, Text, TokenSlot};
use crate::matching::Given;
use crate::time::{Millis, Wall};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The first event of every process.
    Boot,
    /// The time that [`Core::next_deadline`](crate::Core::next_deadline) named has come.
    Wake,
    Link(Conn, LinkReport),
    Bus(Conn, BusFrame),
    Provider(Generation, ProviderReport),
    /// The answer to an operation.
    Done(OpId, OpResult),
    Order(Order),
}

/// What became of a connection attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkReport {
    Opened,
    Failed(Failure),
    Closed(Text),
}

/// A frame of the relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BusFrame {
    Registered {
        epoch: Epoch,
        cursor: u64,
        /// Which relay this is, where it says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        relay: Option<Text>,
        heartbeat: Option<Millis>,
    },
    Event {
        frame: Text,
        seq: u64,
        event: RelayEvent,
    },
    Command {
        frame: Text,
        command: Box<CommandOrder>,
    },
    Ack {
        frame: Text,
    },
    Replayed {
        from: u64,
        to: u64,
        gap: bool,
    },
    Error {
        code: ErrorCode,
        message: Text,
    },
    /// A frame type that this version does not know.
    Unknown {
        kind: Text,
    },
    /// Not a frame at all; the reason is the parser's.
    Malformed {
        reason: Text,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RelayEvent {
    MessageNew(Box<Incoming>),
    MessageClaimed {
        message: MessageId,
        by: Option<Text>,
    },
    ClaimReleased {
        message: MessageId,
    },
    MessageDeleted {
        message: MessageId,
    },
    Task {
        task: TaskId,
        message: MessageId,
        status: TaskStatus,
        cancelled: bool,
    },
    /// Somebody gave this agent another label or other tags.
    AgentUpdated(Box<Given>),
    /// An event that does not concern the runner, or whose data could not be read.
    Other {
        name: Text,
    },
}

/// A message as the core needs it: who and what, never the words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incoming {
    pub id: MessageId,
    pub from: Text,
    pub to: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Text>,
    pub kind: Text,
    #[serde(default, skip_serializing_if = "is_false")]
    pub claimable: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub urgent: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub reply_expected: bool,
    /// The message's `readBy` names us.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_by: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attachments: u32,
    pub body: BodyRef,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_false(b: &bool) -> bool {
    !*b
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// A command of the relay, read as far as the core needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandOrder {
    pub id: Text,
    /// The name on the wire, known or not.
    pub name: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Text>,
    #[serde(default)]
    pub params: Params,
}

/// The parameters of all commands. Those of the wrong type are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Params {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<BodyRef>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub memory_ids: Vec<Text>,
}

/// What a provider process shows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProviderReport {
    /// It is up and takes messages.
    Ready,
    Status(Box<StatusReport>),
    /// Evidence that the provider has these offers (behaviour 6). With a turn, the adapter says that they belong to
    /// the turn that runs.
    Taken {
        offers: Vec<TakenOffer>,
        into_turn: bool,
    },
    /// The adapter knows that the provider is ready and did not get these offers.
    Missed {
        offers: Vec<TakenOffer>,
    },
    /// Anything that shows that a running turn is alive.
    SignOfLife,
    ApprovalOpened(Box<ApprovalRequest>),
    /// Answered elsewhere, or gone.
    ApprovalClosed {
        id: Text,
    },
    /// The provider's own conversation that it is in from now on (a thread, a session), which a later process can go on
    /// with. A new one takes the place of the last.
    Conversation {
        id: Text,
    },
    /// How full the context of that conversation is.
    Context(ContextReport),
    /// What it says itself that it uses.
    Model {
        model: Text,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        effort: Option<Text>,
    },
    /// The process is over. Always the last report of a generation.
    Exit(ExitReport),
    /// Something that the adapter could not read; the text is cut and holds no content.
    Malformed {
        reason: Text,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOffer {
    pub message: MessageId,
    /// Where the evidence echoes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<Nonce>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRequest {
    pub id: Text,
    pub kind: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitReport {
    pub class: ExitClass,
    /// For people: "exit code 1", "signal 9 (SIGKILL)", the last line of standard error.
    pub detail: Text,
}

/// A permission request held at the control server, as a hook posts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermissionAsk {
    pub approval: ApprovalRequest,
    /// The provider session that the hook echoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Further processes whose hook it may be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pids: Vec<u32>,
}

/// What a hook of the provider posts (behaviour 19); [`hooks::read`](crate::hooks::read) makes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HookReport {
    /// The provider session that the hook echoes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Text>,
    /// The process whose hook it is, or, where that is not known, those that may be it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pids: Vec<u32>,
    /// Offers whose headings stand in what was submitted to the provider.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<TakenOffer>,
    /// The approval that a person answered in the provider itself, if it was open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<Text>,
    /// None: no more than a sign of life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<StatusReport>,
    /// The provider asks whether its turn may end; whether that was refused before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_before: Option<bool>,
}

/// Why a provider process is over (behaviour 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ExitClass {
    /// By itself, with exit code 0.
    Clean,
    /// By itself, with another exit code.
    Crash,
    Signal,
    Hang,
    StartTimeout,
    /// It could not be started at all.
    SpawnFailed,
    /// Bad credentials or configuration, or its session is held by another: another try would end the same way.
    Refused,
    /// Until this time, when it is known.
    UsageLimit {
        until: Option<Wall>,
    },
}

/// A report on what the provider does (behaviour 8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusReport {
    pub status: ReportStatus,
    /// A kind of work; absent: `provider-turn`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    /// Absent: the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Text>,
    /// Canonical JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Text>,
    /// Canonical JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_state: Option<Text>,
    /// The provider session that a hook echoes. Absent in reports of the adapter, which name their generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<TimelineReport>,
    /// Kinds of work that end with this report; applied last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clear: Vec<Text>,
    /// How the turn ended, in an idle report.
    pub end: TurnEnd,
    /// Ids of subagents that outlive the turn, in an idle report.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub still_running: Vec<Text>,
}

impl StatusReport {
    /// The idle of a provider session that begins, with its `session-<source>` in the timeline (behaviour 19).
    pub fn begins_a_session(&self) -> bool {
        self.timeline.as_ref().is_some_and(|entry| entry.status.starts_with("session-"))
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReportStatus {
    Busy,
    #[default]
    Idle,
    Offline,
    Error,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TurnEnd {
    #[default]
    Normal,
    Failed {
        error: Text,
    },
    Interrupted {
        /// By a person at the provider's own terminal.
        by_person: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineReport {
    pub status: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Wall>,
}

/// A process, so that a stranger with the same pid is never mistaken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRef {
    pub pid: u32,
    /// Start time in the kernel's own unit (clock ticks since boot on Linux).
    pub started: u64,
    /// The machine's boot id.
    pub boot: Text,
}

/// What is known of a runtime token (behaviour 12). The token itself is a secret, and stays in the shell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenRecord {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Text>,
    /// In seconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

/// The answer to an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpResult {
    /// Accepted, and nothing more to say.
    Ok,
    /// Accepted, and this is the provider's own word about it (canonical JSON text).
    Said(Text),
    /// The process runs; it is up once it reports [`ProviderReport::Ready`].
    Spawned(ProcessRef),
    Granted {
        fence: Fence,
        lease: Option<Millis>,
    },
    /// Another holds the claim.
    Refused {
        by: Option<Text>,
    },
    Renewed {
        lease: Option<Millis>,
    },
    /// `ok: false` of a heartbeat: the relay has forgotten us.
    Pruned,
    /// In id order. `full` when the relay may have more.
    Unread {
        messages: Vec<Incoming>,
        full: bool,
    },
    /// A new runtime token, kept by the shell in this slot.
    Token {
        slot: TokenSlot,
        record: TokenRecord,
    },
    /// Messages to which the relay still expects a reply.
    Owed {
        messages: Vec<MessageId>,
    },
    /// What the configuration says now.
    Settings(Box<Settings>),
    Failed(Failure),
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// What was tried, and what came of it. Never holds content or a secret.
    pub text: Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FailureKind {
    /// No connection, or it broke before the answer: it may have been applied.
    Unreachable,
    /// No answer within the deadline: it may have been applied.
    TimedOut,
    /// 401 or 403.
    Unauthorized,
    /// 404.
    NotFound,
    /// 409 with the code `superseded`: a newer instance holds the agent.
    Superseded,
    /// Any other 409: a stale fence, or a claim of another.
    Conflict,
    /// 410: the lease has ended.
    Expired,
    /// Any other 4xx: the same request would fail again.
    Invalid,
    /// 429 or 503, and how long to wait.
    Busy { retry_after: Option<Millis> },
    /// Any other HTTP status, or an answer that cannot be read.
    Server,
    /// The provider is not ready for it; it did not get it.
    NotReady,
    /// The provider does not know how to.
    Unsupported,
    /// The program does not exist, is not executable, or the system refused.
    Io,
    /// The provider has it, and said no.
    Provider,
}

impl FailureKind {
    /// Whether the request may have been carried out although no answer came.
    pub const fn is_unknown(self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut | Self::Server)
    }

    /// Whether the same request can never succeed.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::NotFound | Self::Superseded | Self::Conflict | Self::Expired | Self::Invalid | Self::Unsupported
        )
    }
}

/// An order from this machine: the control server, or a signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    Signal(Signal),
    /// A command from the control server, answered by [`Effect::Answer`](crate::Effect::Answer).
    Command {
        request: RequestId,
        command: Box<CommandOrder>,
    },
    /// A report from the control server (a hook), answered with the busy reasons.
    Report {
        request: RequestId,
        report: Box<StatusReport>,
    },
    /// A permission request that waits at the control server for a decision.
    Permission {
        request: RequestId,
        ask: Box<PermissionAsk>,
    },
    /// What a hook of the provider posts, answered with what is owed and whether it is held.
    Hook {
        request: RequestId,
        hook: Box<HookReport>,
    },
    /// A reply to this message was accepted by the relay.
    Replied {
        message: MessageId,
    },
    /// A new runtime token: from the control server, which waits for an answer, or from the file that held the last.
    Token {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<RequestId>,
        slot: TokenSlot,
        record: TokenRecord,
    },
    /// A task of the shell panicked, or one of its parts failed for good.
    Fault {
        what: Text,
    },
    /// The journal cannot be written any more; the run goes on without.
    JournalBroken {
        why: Text,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Signal {
    /// Drain, then end; the second time: at once.
    Term,
    Int,
    /// End at once.
    Quit,
    Hup,
    /// Step aside for another program (upgrade).
    Usr2,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incoming(claimable: bool, attachments: u32) -> Incoming {
        Incoming {
            id: 1,
            from: "alice".into(),
            to: "a1".into(),
            resolved: None,
            kind: "chat".into(),
            claimable,
            urgent: false,
            reply_expected: false,
            read: false,
            claimed_by: None,
            task: None,
            attachments,
            body: BodyRef::of("hello"),
        }
    }

    /// There are many of them in every journal.
    #[test]
    fn what_is_usual_of_a_message_is_not_written_down_and_the_rest_is() {
        for (claimable, attachments) in [(false, 0), (true, 3)] {
            let message = incoming(claimable, attachments);
            let text = serde_json::to_string(&message).unwrap();
            assert_eq!(text.contains("claimable"), claimable, "{text}");
            assert_eq!(text.contains("attachments"), attachments > 0, "{text}");
            assert_eq!(serde_json::from_str::<Incoming>(&text).unwrap(), message);
        }
    }
}
