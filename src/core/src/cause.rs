//! Events in a few words: what began a state, for people.

use crate::event::{BusFrame, Event, LinkReport, OpResult, Order, ProviderReport, RelayEvent, ReportStatus, Signal};

impl Event {
    /// What happened, in a few words without any content. Stable enough to be searched for, not to be decided by.
    pub const fn words(&self) -> &'static str {
        match self {
            Self::Boot => "the runner started",
            Self::Wake => "a deadline came",
            Self::Link(_, LinkReport::Opened) => "the connection to the relay opened",
            Self::Link(_, LinkReport::Failed(_)) => "the relay could not be reached",
            Self::Link(_, LinkReport::Closed(_)) => "the connection to the relay ended",
            Self::Bus(_, frame) => frame.words(),
            Self::Provider(_, report) => report.words(),
            Self::Done(_, result) => result.words(),
            Self::Order(order) => order.words(),
        }
    }
}

impl BusFrame {
    const fn words(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "the relay confirmed the registration",
            Self::Event { event, .. } => match event {
                RelayEvent::MessageNew(_) => "a message came",
                RelayEvent::MessageClaimed { .. } => "a message was claimed on the relay",
                RelayEvent::ClaimReleased { .. } => "a claim was released on the relay",
                RelayEvent::MessageDeleted { .. } => "a message was deleted on the relay",
                RelayEvent::Task { .. } => "a task changed on the relay",
                RelayEvent::AgentUpdated(_) => "the agent was given another label or other tags",
                RelayEvent::Other { .. } => "an event of the relay came",
            },
            Self::Command { .. } => "a command of the relay came",
            Self::Ack { .. } => "the relay acknowledged something",
            Self::Replayed { .. } => "the relay said what it sends again",
            Self::Error { .. } => "the relay said that something is wrong",
            Self::Unknown { .. } | Self::Malformed { .. } => "a frame came that cannot be read",
        }
    }
}

impl ProviderReport {
    const fn words(&self) -> &'static str {
        match self {
            Self::Ready => "the provider is up",
            Self::Status(report) => match report.status {
                ReportStatus::Busy => "the provider is busy",
                ReportStatus::Idle => "the provider is idle",
                ReportStatus::Offline => "the provider said that it is offline",
                ReportStatus::Error => "the provider reported an error",
            },
            Self::Taken { .. } => "the provider took what it was offered",
            Self::Missed { .. } => "the provider did not get what it was offered",
            Self::SignOfLife => "the provider gave a sign of life",
            Self::ApprovalOpened(_) => "the provider asked for permission",
            Self::ApprovalClosed { .. } => "a permission request was answered elsewhere",
            Self::Conversation { .. } => "the provider said which conversation it is in",
            Self::Context(_) => "the provider said how full its context is",
            Self::Model { .. } => "the provider said which model it uses",
            Self::Exit(_) => "the provider's process ended",
            Self::Malformed { .. } => "the provider said something that cannot be read",
        }
    }
}

impl OpResult {
    const fn words(&self) -> &'static str {
        match self {
            Self::Ok | Self::Said(_) => "an operation was accepted",
            Self::Spawned(_) => "the provider's process was started",
            Self::Granted { .. } => "the relay granted a claim",
            Self::Refused { .. } => "the relay refused a claim",
            Self::Renewed { .. } => "the relay renewed a claim",
            Self::Pruned => "the relay had forgotten the agent",
            Self::Unread { .. } => "unread messages were fetched",
            Self::Token { .. } => "the relay gave a new token",
            Self::Owed { .. } => "the relay said which replies are owed",
            Self::Settings(_) => "the configuration was read",
            Self::Failed(_) => "an operation failed",
        }
    }
}

impl Order {
    const fn words(&self) -> &'static str {
        match self {
            Self::Signal(signal) => match signal {
                Signal::Term => "the signal TERM came",
                Signal::Int => "the signal INT came",
                Signal::Quit => "the signal QUIT came",
                Signal::Hup => "the signal HUP came",
                Signal::Usr2 => "the signal USR2 came",
            },
            Self::Command { .. } => "a command of this machine came",
            Self::Report { .. } => "a hook reported",
            Self::Permission { .. } => "a hook asked for permission",
            Self::Hook { .. } => "a hook of the provider called",
            Self::Replied { .. } => "the relay accepted a reply",
            Self::Token { .. } => "a token was handed in",
            Self::Fault { .. } => "a part of the runner failed",
            Self::JournalBroken { .. } => "the journal could not be written any more",
        }
    }
}
