//! Approvals: questions of the provider that wait for a person.

use alloc::collections::BTreeMap;
use serde::{Deserialize, Serialize};

use crate::Core;
use crate::effect::Effects;
use crate::event::ApprovalRequest;
use crate::ids::Text;
use crate::note::Note;
use crate::time::Wall;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Approval {
    pub(crate) request: ApprovalRequest,
    pub(crate) since: Wall,
    /// A decision was passed on, and its answer is awaited.
    pub(crate) decided: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Approvals {
    open: BTreeMap<Text, Approval>,
    version: u64,
}

impl Approvals {
    pub(crate) fn any_open(&self) -> bool {
        !self.open.is_empty()
    }

    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Text, &Approval)> {
        self.open.iter()
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Approval> {
        self.open.get_mut(id)
    }
}

impl Core {
    pub(crate) fn approval_opened(&mut self, request: ApprovalRequest, fx: &mut Effects) {
        let id = request.id.clone();
        if self.approvals.open.contains_key(&id) {
            return;
        }
        if self.approvals.open.len() >= self.config.limits.approvals {
            if !self.troubles.said("approvals are full", self.now.mono, &self.config) {
                fx.note(Note::Full { what: "approvals", dropped: 1 });
            }
            return;
        }
        self.approvals.open.insert(id, Approval { request, since: self.now.wall, decided: false });
        self.approvals.version += 1;
        self.wait_for_taking();
        self.sign_of_life();
    }

    pub(crate) fn approval_closed(&mut self, id: &Text) {
        if self.approvals.open.remove(id).is_some() {
            self.approvals.version += 1;
            self.touched.inbox = true;
            self.wait_for_taking();
            self.sign_of_life();
        }
    }

    /// The process that asked is gone; a decision reaches no later request.
    pub(crate) fn approvals_of_the_dead(&mut self) {
        if self.approvals.any_open() {
            self.approvals.open.clear();
            self.approvals.version += 1;
        }
    }
}
