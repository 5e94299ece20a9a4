//! Everything that a core can ask of its shell.
//!
//! An effect never has a return value: what comes back comes as an [`Event`](crate::Event), and effects that expect
//! an answer carry an [`OpId`]. No effect arms a timer. Effects are small and own no words: what a status, a
//! registration or a message says is read off the core, or formatted by a pure function, when the effect is carried
//! out, before the next step.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::ops::Deref;
use core::slice;
use relay_runner_protocol::{AgentStatus, CommandStatus, Stage, TaskStatus};
use serde::{Deserialize, Serialize};

use crate::event::ProcessRef;
use crate::ids::{Conn, Epoch, Fence, Generation, MessageId, Nonce, OpId, RequestId, TaskId, Text, TokenSlot};
use crate::note::Note;
use crate::time::Millis;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start the control server. Answered `Ok` or `Failed`.
    StartControl { op: OpId },
    /// Write the info file (behaviour 4). Answered `Ok` or `Failed`.
    WriteInfo { op: OpId },
    /// Open the bus with the newest token. Answered by link reports of this connection.
    Connect { conn: Conn },
    /// Close it; it reports nothing any more.
    Disconnect { conn: Conn },
    /// A frame on the bus. Lost silently when the connection is; the core finds out by itself.
    Send { conn: Conn, frame: Frame },
    /// Read the configuration again. Answered `Settings` or `Failed`.
    ReadSettings { op: OpId },
    /// From now on everything is asked with the token in this slot; others may be forgotten. What was asked before goes
    /// on with the token that was in force then.
    UseToken { slot: TokenSlot },
    /// A call of the relay's HTTP API, answered within `deadline`. `key` is the idempotency key's operation: the same
    /// for every try.
    Http { op: OpId, key: OpId, epoch: Epoch, deadline: Millis, call: Call },
    /// Start a provider process, which goes on with this conversation of an earlier one where it can; where it cannot, it
    /// begins another and reports that. Answered `Spawned` or `Failed`.
    Spawn { op: OpId, generation: Generation, resume: Option<Text> },
    /// Take up the process of an earlier run, and ask it what became of these offers. Answered `Spawned` when it lives,
    /// else `Failed`, with nothing of it left. It is up once it has said what it knows. The conversation is the last that
    /// it was known to be in.
    Adopt { op: OpId, generation: Generation, process: ProcessRef, offers: Offers, conversation: Option<Text> },
    /// Fetch what this message has attached, each within `deadline`. Answered `Ok` once each is there or cannot be had:
    /// what became of them is said in the message.
    FetchAttachments { op: OpId, message: MessageId, deadline: Millis },
    /// Something to do for the adapter of the living provider.
    Provider { op: OpId, generation: Generation, act: Act },
    /// A step of stopping the provider, not answered: the exit is.
    Stop { generation: Generation, step: StopStep },
    /// The answer to somebody at the control server.
    Answer { request: RequestId, answer: Answer },
    /// The run is over: nothing follows.
    Finish { code: ExitCode },
}

/// What is said on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The words are [`wire::register`](crate::wire::register)'s.
    Register,
    /// The words are [`wire::heartbeat`](crate::wire::heartbeat)'s.
    Heartbeat {
        status: AgentStatus,
    },
    /// The words are [`wire::status`](crate::wire::status)'s.
    Status {
        seq: u64,
        status: AgentStatus,
        ready: bool,
    },
    Ack {
        frame: Text,
    },
    Resume {
        since: u64,
    },
}

/// A call of the relay's HTTP API; [`wire::request`](crate::wire::request) has the words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    Claim {
        message: MessageId,
    },
    Renew {
        message: MessageId,
        fence: Fence,
    },
    Release {
        message: MessageId,
        fence: Fence,
    },
    Read {
        message: MessageId,
    },
    Delivery {
        message: MessageId,
        stage: Stage,
        attempt: u32,
        reason: Option<Text>,
    },
    Task {
        task: TaskId,
        message: MessageId,
        status: TaskStatus,
        fence: Option<Fence>,
        why: Option<Reason>,
    },
    Command {
        id: Text,
        status: CommandStatus,
        outcome: Option<Arc<Outcome>>,
    },
    SetStatus {
        status: AgentStatus,
        seq: u64,
    },
    SetReady {
        ready: bool,
        seq: u64,
    },
    Heartbeat,
    Unread {
        after: MessageId,
        limit: u32,
    },
    /// The replies that the agent owes.
    Obligations,
    DeleteAgent,
    /// Renew the runtime token with this id.
    RenewToken {
        jti: Option<Text>,
    },
}

/// Why a task has the status that is reported: what the report says in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// A turn that had its message ended normally.
    Finished,
    Other(Text),
}

impl Reason {
    /// The words, about this message.
    pub fn words(&self, message: MessageId) -> Text {
        match self {
            Self::Finished => format!("The runner saw the provider finish message {message}.").into(),
            Self::Other(text) => text.clone(),
        }
    }
}

/// Calls in one lane are carried out in the order in which they were asked for; lanes are independent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Lane {
    Agent,
    Message(MessageId),
    Command(Text),
    Fetch,
    Credential,
}

impl Call {
    /// The fence that the call is made under.
    pub const fn fence(&self) -> Option<Fence> {
        match self {
            Self::Renew { fence, .. } | Self::Release { fence, .. } => Some(*fence),
            Self::Task { fence, .. } => *fence,
            Self::Claim { .. }
            | Self::Read { .. }
            | Self::Delivery { .. }
            | Self::Command { .. }
            | Self::SetStatus { .. }
            | Self::SetReady { .. }
            | Self::Heartbeat
            | Self::Unread { .. }
            | Self::Obligations
            | Self::DeleteAgent
            | Self::RenewToken { .. } => None,
        }
    }

    pub fn lane(&self) -> Lane {
        match self {
            Self::Claim { message }
            | Self::Renew { message, .. }
            | Self::Release { message, .. }
            | Self::Read { message }
            | Self::Delivery { message, .. }
            | Self::Task { message, .. } => Lane::Message(*message),
            Self::Command { id, .. } => Lane::Command(id.clone()),
            Self::SetStatus { .. } | Self::SetReady { .. } | Self::Heartbeat | Self::DeleteAgent => Lane::Agent,
            Self::Unread { .. } | Self::Obligations => Lane::Fetch,
            Self::RenewToken { .. } => Lane::Credential,
        }
    }
}

/// What the adapter of a living provider can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Hand over a batch. Answered `Ok` once it is handed over; that the provider has it is a report of its own.
    Offer {
        offers: Offers,
    },
    /// Say the first prompt. Answered `Ok` once it is handed over.
    Prompt,
    Interrupt,
    /// Find out whether the turn that runs is still alive. Answered `Ok` when it is.
    Probe,
    Compact,
    Clear,
    /// Give the provider the content of this command.
    Inject {
        command: Text,
    },
    /// Say that a message that the agent has is not its own any more, and why.
    Tell {
        message: MessageId,
        why: Text,
    },
    /// Pass on a person's decision.
    Decide {
        approval: Text,
        decision: Decision,
        reason: Option<Text>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    Approve,
    ApproveSession,
    Deny,
    Abort,
}

impl Decision {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::ApproveSession => "approve-session",
            Self::Deny => "deny",
            Self::Abort => "abort",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Approve, Self::ApproveSession, Self::Deny, Self::Abort].into_iter().find(|d| d.as_str() == word)
    }
}

/// One message of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    pub message: MessageId,
    /// Counted from 1.
    pub attempt: u32,
    pub nonce: Nonce,
    pub repeat: Repeat,
}

/// The offers of a batch. The core keeps the list as well, and uses its memory again once nobody else reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offers(Arc<Vec<Offer>>);

impl FromIterator<Offer> for Offers {
    fn from_iter<I: IntoIterator<Item = Offer>>(offers: I) -> Self {
        Self(Arc::new(offers.into_iter().collect()))
    }
}

impl Offers {
    /// The list, to be filled anew.
    pub(crate) fn anew(&mut self) -> &mut Vec<Offer> {
        let offers = Arc::make_mut(&mut self.0);
        offers.clear();
        offers
    }
}

impl Deref for Offers {
    type Target = [Offer];

    fn deref(&self) -> &[Offer] {
        &self.0
    }
}

impl<'a> IntoIterator for &'a Offers {
    type Item = &'a Offer;
    type IntoIter = slice::Iter<'a, Offer>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What the heading of an offer says about earlier ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Repeat {
    #[default]
    First,
    /// An earlier process, or an earlier turn that failed, had it.
    Redelivered,
    /// It was handed over before, and whether it arrived is not known.
    Ambiguous,
}

impl Repeat {
    /// The one of two that says more: a doubt is not undone by a later certainty.
    #[must_use]
    pub const fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Ambiguous, _) | (_, Self::Ambiguous) => Self::Ambiguous,
            (Self::Redelivered, _) | (_, Self::Redelivered) => Self::Redelivered,
            (Self::First, Self::First) => Self::First,
        }
    }
}

/// The steps of stopping a provider, each harder than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StopStep {
    /// In the provider's own words.
    Ask,
    /// TERM to its process group and its terminal session.
    Terminate,
    /// KILL to the same.
    Kill,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Succeeded {
        action: Text,
        reason: Option<Text>,
        /// What the provider said; canonical JSON text.
        provider_result: Option<Text>,
    },
    Failed {
        message: Text,
    },
}

impl Outcome {
    pub(crate) const fn status(&self) -> CommandStatus {
        match self {
            Self::Succeeded { .. } => CommandStatus::Succeeded,
            Self::Failed { .. } => CommandStatus::Failed,
        }
    }
}

/// The answer to somebody at the control server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Command(Arc<Outcome>),
    /// Why the agent is busy, after a report.
    Busy(Vec<Text>),
    /// The report was not of the living provider session.
    Stale,
    /// What was decided about a permission request that was held; none where nobody decided and the question stays
    /// open in the provider.
    Permission {
        decision: Option<Decision>,
        reason: Option<Text>,
    },
    /// Whether the token that was handed in is used from now on; not so when it has ended already.
    Token {
        accepted: bool,
    },
    /// To a hook: why the agent is busy, what it owes, and whether the end of its turn is held for that.
    Hook {
        busy: Vec<Text>,
        owed: Vec<OwedReply>,
        holds: bool,
    },
}

/// A reply that the agent owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedReply {
    pub message: MessageId,
    /// Who waits for it.
    pub from: Text,
}

/// Exit codes of the program (behaviour 18).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum ExitCode {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    /// With `--fail-fast`.
    RelayUnreachable = 69,
    GaveUp = 70,
    /// Stepped aside; the next start takes it all up again.
    Temporary = 75,
    /// A newer instance holds the agent.
    Superseded = 76,
    CredentialRefused = 77,
}

/// What one step asks for. Kept by the caller and cleared before each step, so that a step allocates nothing for it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Effects {
    pub effects: Vec<Effect>,
    pub notes: Vec<Note>,
    /// Something outward depends on this step being on disk: the journal is synced before the effects are carried
    /// out.
    pub sync: bool,
}

impl Effects {
    pub fn new() -> Self {
        Self { effects: Vec::with_capacity(32), notes: Vec::with_capacity(16), sync: false }
    }

    pub fn clear(&mut self) {
        self.effects.clear();
        self.notes.clear();
        self.sync = false;
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// The effects as short canonical text, one space-separated line: what the journal seals.
    pub fn canonical(&self, out: &mut String) {
        for (n, effect) in self.effects.iter().enumerate() {
            if n > 0 {
                out.push(' ');
            }
            // Writing to a String cannot fail.
            let _ = write!(out, "{effect}");
        }
    }
}

/// Text of others inside canonical text: no space and no quote gets through, so that the form stays unambiguous.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_ascii_alphanumeric() || "-_.:/".contains(c) {
                f.write_char(c)?;
            } else {
                write!(f, "%{:x};", c as u32)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartControl { op } => write!(f, "control({op})"),
            Self::WriteInfo { op } => write!(f, "info({op})"),
            Self::Connect { conn } => write!(f, "connect(c{conn})"),
            Self::Disconnect { conn } => write!(f, "disconnect(c{conn})"),
            Self::Send { conn, frame } => write!(f, "send(c{conn},{frame})"),
            Self::ReadSettings { op } => write!(f, "read-settings({op})"),
            Self::UseToken { slot } => write!(f, "use-token({slot})"),
            Self::Http { op, key, epoch, deadline, call } => {
                write!(f, "http({op},k{},e{epoch},{deadline}ms,{call})", key.0)
            }
            Self::FetchAttachments { op, message, deadline } => write!(f, "attachments({op},m{message},{deadline}ms)"),
            Self::Spawn { op, generation, resume } => {
                write!(f, "spawn({op},{generation}")?;
                conversation(f, resume.as_deref())?;
                f.write_char(')')
            }
            Self::Adopt { op, generation, process, offers, conversation: known } => {
                write!(f, "adopt({op},{generation},p{}", process.pid)?;
                offers.iter().try_for_each(|offer| write!(f, ",m{}.{}", offer.message, offer.nonce))?;
                conversation(f, known.as_deref())?;
                f.write_char(')')
            }
            Self::Provider { op, generation, act } => write!(f, "provider({op},{generation},{act})"),
            Self::Stop { generation, step } => write!(f, "stop({generation},{step:?})"),
            Self::Answer { request, answer } => match answer {
                Answer::Command(outcome) => write!(f, "answer(r{},{outcome})", request.0),
                Answer::Busy(reasons) => {
                    write!(f, "answer(r{},busy", request.0)?;
                    reasons.iter().try_for_each(|r| write!(f, ",{}", Quoted(r)))?;
                    f.write_char(')')
                }
                Answer::Stale => write!(f, "answer(r{},stale)", request.0),
                Answer::Permission { decision, reason } => {
                    let word = decision.map_or("none", Decision::as_str);
                    write!(f, "answer(r{},permission,{word}", request.0)?;
                    optional(f, reason.as_deref())?;
                    f.write_char(')')
                }
                Answer::Token { accepted } => write!(f, "answer(r{},token,{accepted})", request.0),
                Answer::Hook { busy, owed, holds } => {
                    write!(f, "answer(r{},hook", request.0)?;
                    busy.iter().try_for_each(|reason| write!(f, ",{}", Quoted(reason)))?;
                    owed.iter().try_for_each(|owed| write!(f, ",m{}", owed.message))?;
                    f.write_str(if *holds { ",holds)" } else { ")" })
                }
            },
            Self::Finish { code } => write!(f, "finish({})", *code as u8),
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register => f.write_str("register"),
            Self::Heartbeat { status } => write!(f, "heartbeat,{}", status.as_str()),
            Self::Status { seq, status, ready } => {
                write!(f, "status,{seq},{},{}", status.as_str(), if *ready { "ready" } else { "not-ready" })
            }
            Self::Ack { frame } => write!(f, "ack,{}", Quoted(frame)),
            Self::Resume { since } => write!(f, "resume,{since}"),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim { message } => write!(f, "claim,m{message}"),
            Self::Renew { message, fence } => write!(f, "renew,m{message},f{fence}"),
            Self::Release { message, fence } => write!(f, "release,m{message},f{fence}"),
            Self::Read { message } => write!(f, "read,m{message}"),
            Self::Delivery { message, stage, attempt, reason } => {
                write!(f, "delivery,m{message},{},{attempt}", stage.as_str())?;
                optional(f, reason.as_deref())
            }
            Self::Task { task, message, status, fence, why } => {
                write!(f, "task,t{task},m{message},{}", status.as_str())?;
                if let Some(fence) = fence {
                    write!(f, ",f{fence}")?;
                }
                optional(f, why.as_ref().map(|why| why.words(*message)).as_deref())
            }
            Self::Command { id, status, outcome } => match outcome {
                Some(outcome) => write!(f, "command,{},{outcome}", Quoted(id)),
                None => write!(f, "command,{},{}", Quoted(id), status.as_str()),
            },
            Self::SetStatus { status, seq } => write!(f, "set-status,{},{seq}", status.as_str()),
            Self::SetReady { ready, seq } => write!(f, "set-ready,{ready},{seq}"),
            Self::Heartbeat => f.write_str("heartbeat"),
            Self::Unread { after, limit } => write!(f, "unread,{after},{limit}"),
            Self::Obligations => f.write_str("obligations"),
            Self::DeleteAgent => f.write_str("delete-agent"),
            Self::RenewToken { jti } => {
                f.write_str("renew-token")?;
                optional(f, jti.as_deref())
            }
        }
    }
}

fn optional(f: &mut fmt::Formatter<'_>, text: Option<&str>) -> fmt::Result {
    text.map_or(Ok(()), |text| write!(f, ",{}", Quoted(text)))
}

/// An id of the provider's may look like anything; behind the sign it cannot be taken for something else.
fn conversation(f: &mut fmt::Formatter<'_>, id: Option<&str>) -> fmt::Result {
    id.map_or(Ok(()), |id| write!(f, ",conversation={}", Quoted(id)))
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offer { offers } => {
                f.write_str("offer")?;
                offers.iter().try_for_each(|o| {
                    write!(f, ",m{}/{}/{}", o.message, o.attempt, o.nonce)?;
                    match o.repeat {
                        Repeat::First => Ok(()),
                        Repeat::Redelivered => f.write_str("/redelivered"),
                        Repeat::Ambiguous => f.write_str("/ambiguous"),
                    }
                })
            }
            Self::Prompt => f.write_str("prompt"),
            Self::Interrupt => f.write_str("interrupt"),
            Self::Probe => f.write_str("probe"),
            Self::Compact => f.write_str("compact"),
            Self::Clear => f.write_str("clear"),
            Self::Inject { command } => write!(f, "inject,{}", Quoted(command)),
            Self::Tell { message, why } => write!(f, "tell,m{message},{}", Quoted(why)),
            Self::Decide { approval, decision, reason } => {
                write!(f, "decide,{},{decision:?}", Quoted(approval))?;
                optional(f, reason.as_deref())
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded { action, reason, provider_result } => {
                write!(f, "succeeded,{}", Quoted(action))?;
                optional(f, reason.as_deref())?;
                optional(f, provider_result.as_deref())
            }
            Self::Failed { message } => write!(f, "failed,{}", Quoted(message)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_are_sealed_as_one_line_and_cleared_whole() {
        let mut fx = Effects::new();
        fx.push(Effect::Connect { conn: 1 });
        fx.push(Effect::Disconnect { conn: 1 });
        fx.note(Note::OtherRelay);
        fx.sync = true;
        let mut line = String::new();
        fx.canonical(&mut line);
        assert_eq!(line, "connect(c1) disconnect(c1)");
        fx.clear();
        assert_eq!(fx, Effects::default());
    }
}
