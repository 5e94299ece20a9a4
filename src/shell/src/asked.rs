//! What the tools are called with for which an agent asks permission: shown to whoever decides, and in no journal.

use crate::secret::cut;
use relay_runner_core::{Text, View};
use serde::Serialize;
use std::collections::BTreeMap;

/// Characters that are kept of each.
const INPUT_MOST: usize = 8 * 1024;

/// By the request's id, of those that are open.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    open: BTreeMap<Text, String>,
    /// Of the request that is being asked: the core decides whether it is open.
    asking: Option<(Text, String)>,
}

/// The core's view, and what stands beside it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    #[serde(flatten)]
    view: View<'a>,
    /// What the tools of open approvals are called with.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    approval_inputs: BTreeMap<&'a str, &'a str>,
}

impl Asked {
    /// A request that is open already keeps its own.
    pub(crate) fn asking(&mut self, id: Text, input: String, view: &View<'_>) {
        self.asking = (!is_open(view, &id)).then_some((id, input));
    }

    pub(crate) const fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// After the step in which it was asked. Those whose requests are over make room.
    pub(crate) fn keep(&mut self, view: &View<'_>) {
        self.open.retain(|id, _| is_open(view, id));
        if let Some((id, input)) = self.asking.take()
            && is_open(view, &id)
        {
            self.open.insert(id, cut(&input, INPUT_MOST));
        }
    }

    /// The view as JSON.
    pub(crate) fn shown(&self, view: View<'_>) -> serde_json::Result<String> {
        let known = |id: &str| self.open.get_key_value(id).map(|(id, input)| (&**id, input.as_str()));
        let approval_inputs = view.approvals.iter().filter_map(|approval| known(approval.id)).collect();
        serde_json::to_string(&Shown { view, approval_inputs })
    }
}

fn is_open(view: &View<'_>, id: &str) -> bool {
    view.approvals.iter().any(|approval| approval.id == id)
}
