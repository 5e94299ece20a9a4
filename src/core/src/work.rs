//! What keeps the agent busy: open items by kind and id (behaviour 7).

use alloc::collections::BTreeMap;
use serde::{Deserialize, Serialize};

use crate::event::StatusReport;
use crate::ids::Text;
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
    Number(u64),
    Text(Text),
}

impl Id {
    pub(crate) fn of(id: Option<&Text>) -> Self {
        id.map_or(Self::Kind, |id| Self::Text(id.clone()))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Open {
    pub(crate) since: Wall,
    pub(crate) label: Option<Text>,
    pub(crate) role: Option<Text>,
    pub(crate) parent: Option<Text>,
    pub(crate) metadata: Option<Text>,
    pub(crate) provider_state: Option<Text>,
    /// Opened by the provider session: it ends with that.
    pub(crate) of_session: bool,
    /// Without a sign of life for too long, and not confirmed by a probe.
    pub(crate) unverified: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Listed", into = "Listed")]
pub(crate) struct Work {
    open: BTreeMap<(Kind, Id), Open>,
    /// Counts changes, so that the status knows whether there is something new to say.
    version: u64,
}

/// The form in a mark: JSON has no keys but strings.
#[derive(Serialize, Deserialize)]
struct Listed {
    open: alloc::vec::Vec<(Kind, Id, Open)>,
    version: u64,
}

impl From<Work> for Listed {
    fn from(work: Work) -> Self {
        Self { open: work.open.into_iter().map(|((kind, id), open)| (kind, id, open)).collect(), version: work.version }
    }
}

impl From<Listed> for Work {
    fn from(listed: Listed) -> Self {
        let open = listed.open.into_iter().map(|(kind, id, open)| ((kind, id), open)).collect();
        Self { open, version: listed.version }
    }
}

impl Work {
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// What cannot be confirmed is shown, and is no fact.
    pub(crate) fn is_busy(&self) -> bool {
        self.open.values().any(|open| !open.unverified)
    }

    /// Whether the provider session has anything open.
    pub(crate) fn has_session_work(&self) -> bool {
        self.open.values().any(|open| open.of_session)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Kind, &Id, &Open)> {
        self.open.iter().map(|((kind, id), open)| (kind, id, open))
    }

    /// Distinct kinds, in a stable order.
    pub(crate) fn reasons(&self) -> impl Iterator<Item = &str> {
        let mut last = None;
        self.open.iter().filter(|(_, open)| !open.unverified).filter_map(move |((kind, _), _)| {
            let new = last != Some(kind);
            last = Some(kind);
            new.then(|| kind.as_str())
        })
    }

    /// Opens an item of the core's own (a message, a task, a command).
    pub(crate) fn open(&mut self, kind: Kind, number: u64, now: Wall) {
        let open = Open {
            since: now,
            label: None,
            role: None,
            parent: None,
            metadata: None,
            provider_state: None,
            of_session: false,
            unverified: false,
        };
        if self.open.insert((kind, Id::Number(number)), open).is_none() {
            self.version += 1;
        }
    }

    pub(crate) fn close(&mut self, kind: Kind, number: u64) {
        if self.open.remove(&(kind, Id::Number(number))).is_some() {
            self.version += 1;
        }
    }

    /// Opens what a report says, or renews it. Returns false when there is no room.
    pub(crate) fn report(&mut self, kind: Kind, id: Id, report: &StatusReport, now: Wall, most: usize) -> bool {
        let key = (kind, id);
        let since = self.open.get(&key).map(|open| open.since);
        if since.is_none() && self.open.len() >= most {
            return false;
        }
        let open = Open {
            since: since.unwrap_or(now),
            label: report.label.clone(),
            role: report.role.clone(),
            parent: report.parent.clone(),
            metadata: report.metadata.clone(),
            provider_state: report.provider_state.clone(),
            of_session: true,
            unverified: false,
        };
        if self.open.get(&key) != Some(&open) {
            self.open.insert(key, open);
            self.version += 1;
        }
        true
    }

    pub(crate) fn end(&mut self, kind: &Kind, id: &Id) -> bool {
        let ended = self.open.remove(&(kind.clone(), id.clone())).is_some();
        self.version += u64::from(ended);
        ended
    }

    /// Ends all items of a kind that the provider opened.
    pub(crate) fn end_kind(&mut self, kind: &Kind) {
        self.retain(|k, _, open| k != kind || !open.of_session);
    }

    /// The end of a turn ends the subagents that are not named as still running.
    pub(crate) fn end_subagents_but(&mut self, running: &[Text]) {
        self.retain(|kind, id, _| match (kind, id) {
            (Kind::Subagent, Id::Text(id)) => running.contains(id),
            (Kind::Subagent, Id::Kind | Id::Number(_)) => false,
            _ => true,
        });
    }

    /// The end of a provider session ends all that it opened.
    pub(crate) fn end_session(&mut self) {
        self.retain(|_, _, open| !open.of_session);
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
        for open in self.open.values_mut().filter(|open| open.of_session && open.unverified != unverified) {
            open.unverified = unverified;
            self.version += 1;
        }
    }

    fn retain(&mut self, mut keep: impl FnMut(&Kind, &Id, &Open) -> bool) {
        let before = self.open.len();
        self.open.retain(|(kind, id), open| keep(kind, id, open));
        if self.open.len() != before {
            self.version += 1;
        }
    }
}
