//! What keeps the agent busy: open items by kind and id (behaviour 7).

use serde::{Deserialize, Serialize};

use crate::event::StatusReport;
use crate::ids::{MessageId, TaskId, Text};
use crate::sorted::Sorted;
use crate::time::Wall;

/// Kinds of work, in the order in which they are shown as reasons.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Kind {
    ProviderTurn,
    Subagent,
    Compaction,
    Message,
    Task,
    Command,
    Other(Text),
}

impl Kind {
    pub(crate) fn of(name: Option<&Text>) -> Self {
        match name.map(|n| &**n) {
            None | Some("provider-turn") => Self::ProviderTurn,
            Some("subagent") => Self::Subagent,
            Some("compaction") => Self::Compaction,
            Some("message") => Self::Message,
            Some("task") => Self::Task,
            Some("command") => Self::Command,
            Some(other) => Self::Other(name.cloned().unwrap_or_else(|| other.into())),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::ProviderTurn => "provider-turn",
            Self::Subagent => "subagent",
            Self::Compaction => "compaction",
            Self::Message => "message",
            Self::Task => "task",
            Self::Command => "command",
            Self::Other(name) => name,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Id {
    /// The reason itself: no id was given.
    Kind,
    Text(Text),
}

impl Id {
    pub(crate) fn of(id: Option<&Text>) -> Self {
        id.map_or(Self::Kind, |id| Self::Text(id.clone()))
    }
}

/// Work that the provider reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Open {
    pub(crate) since: Wall,
    pub(crate) label: Option<Text>,
    pub(crate) role: Option<Text>,
    pub(crate) parent: Option<Text>,
    pub(crate) metadata: Option<Text>,
    pub(crate) provider_state: Option<Text>,
    /// Without a sign of life for too long, and not confirmed by a probe.
    pub(crate) unverified: bool,
}

/// Work that the core opens and closes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    Message(MessageId),
    Task(TaskId),
}

/// An open item, as others are told of it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shown<'a> {
    Reported(&'a Kind, &'a Id, &'a Open),
    Own(Own, Wall),
}

impl<'a> Shown<'a> {
    pub(crate) fn kind(self) -> &'a Kind {
        match self {
            Self::Reported(kind, ..) => kind,
            Self::Own(Own::Message(_), _) => &Kind::Message,
            Self::Own(Own::Task(_), _) => &Kind::Task,
        }
    }

    pub(crate) const fn is_unverified(self) -> bool {
        match self {
            Self::Reported(_, _, open) => open.unverified,
            Self::Own(..) => false,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Work {
    /// What the provider session opened: it ends with that.
    reported: Sorted<(Kind, Id), Open>,
    /// Since when.
    messages: Sorted<MessageId, Wall>,
    tasks: Sorted<TaskId, Wall>,
    /// Counts changes, so that the status knows whether there is something new to say.
    version: u64,
}

impl Work {
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// What cannot be confirmed is shown, and is no fact.
    pub(crate) fn is_busy(&self) -> bool {
        let confirmed = || self.reported.iter().any(|(_, open)| !open.unverified);
        !self.messages.is_empty() || !self.tasks.is_empty() || confirmed()
    }

    /// Whether the provider session has anything open.
    pub(crate) fn has_session_work(&self) -> bool {
        !self.reported.is_empty()
    }

    fn len(&self) -> usize {
        self.reported.len() + self.messages.len() + self.tasks.len()
    }

    /// All of it, in the order of kinds.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Shown<'_>> {
        self.first_of_each(usize::MAX)
    }

    /// At most so many of the messages and of the tasks.
    fn first_of_each(&self, most: usize) -> impl Iterator<Item = Shown<'_>> {
        // Within its kind, what was reported without an id stands before the numbers, and what has one behind them.
        let reported = |part| {
            self.reported.iter().map(|((kind, id), open)| Shown::Reported(kind, id, open)).filter(move |shown| {
                let Shown::Reported(kind, id, _) = shown else { return false };
                let before = |numbers| *kind < numbers || (*kind == numbers && **id == Id::Kind);
                let of = if before(&Kind::Message) { 0 } else { 1 + u8::from(!before(&Kind::Task)) };
                of == part
            })
        };
        let messages = self.messages.iter().map(|(id, since)| Shown::Own(Own::Message(*id), *since)).take(most);
        let tasks = self.tasks.iter().map(|(id, since)| Shown::Own(Own::Task(*id), *since)).take(most);
        reported(0).chain(messages).chain(reported(1)).chain(tasks).chain(reported(2))
    }

    /// Distinct kinds, in a stable order.
    pub(crate) fn reasons(&self) -> impl Iterator<Item = &str> {
        let mut last = None;
        self.first_of_each(1).filter(|shown| !shown.is_unverified()).filter_map(move |shown| {
            let kind = shown.kind();
            let new = last != Some(kind);
            last = Some(kind);
            new.then(|| kind.as_str())
        })
    }

    pub(crate) fn open(&mut self, own: Own, now: Wall) {
        let before = match own {
            Own::Message(id) => self.messages.insert(id, now),
            Own::Task(id) => self.tasks.insert(id, now),
        };
        self.version += u64::from(before.is_none());
    }

    pub(crate) fn close(&mut self, own: Own) {
        let before = match own {
            Own::Message(id) => self.messages.remove(&id),
            Own::Task(id) => self.tasks.remove(&id),
        };
        self.version += u64::from(before.is_some());
    }

    /// Opens what a report says, or renews it. Returns false when there is no room.
    pub(crate) fn report(&mut self, kind: Kind, id: Id, report: &StatusReport, now: Wall, most: usize) -> bool {
        let room = self.len() < most;
        let key = (kind, id);
        let known = self.reported.get_mut(&key);
        let open = Open {
            since: known.as_ref().map_or(now, |open| open.since),
            label: report.label.clone(),
            role: report.role.clone(),
            parent: report.parent.clone(),
            metadata: report.metadata.clone(),
            provider_state: report.provider_state.clone(),
            unverified: false,
        };
        match known {
            Some(known) if *known == open => return true,
            Some(known) => *known = open,
            None if room => {
                self.reported.insert(key, open);
            }
            None => return false,
        }
        self.version += 1;
        true
    }

    pub(crate) fn end(&mut self, kind: &Kind, id: &Id) -> bool {
        let ended = self.reported.remove(&(kind.clone(), id.clone())).is_some();
        self.version += u64::from(ended);
        ended
    }

    /// Ends all items of a kind that the provider opened.
    pub(crate) fn end_kind(&mut self, kind: &Kind) {
        self.retain(|k, _| k != kind);
    }

    /// The end of a turn ends the subagents that are not named as still running.
    pub(crate) fn end_subagents_but(&mut self, running: &[Text]) {
        self.retain(|kind, id| match (kind, id) {
            (Kind::Subagent, Id::Text(id)) => running.contains(id),
            (Kind::Subagent, Id::Kind) => false,
            _ => true,
        });
    }

    /// The end of a provider session ends all that it opened.
    pub(crate) fn end_session(&mut self) {
        self.retain(|_, _| false);
    }

    /// Nothing confirms what the session has open.
    pub(crate) fn mark_unverified(&mut self) {
        self.set_unverified(true);
    }

    /// The session lives.
    pub(crate) fn confirm(&mut self) {
        self.set_unverified(false);
    }

    fn set_unverified(&mut self, unverified: bool) {
        for (_, open) in self.reported.iter_mut().filter(|(_, open)| open.unverified != unverified) {
            open.unverified = unverified;
            self.version += 1;
        }
    }

    fn retain(&mut self, mut keep: impl FnMut(&Kind, &Id) -> bool) {
        let before = self.reported.len();
        self.reported.retain(|(kind, id), _| keep(kind, id));
        if self.reported.len() != before {
            self.version += 1;
        }
    }
}
