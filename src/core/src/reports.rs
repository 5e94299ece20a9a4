//! What the relay must accept: stages, read marks, task reports, releases, command reports. Each is sent again until
//! it is accepted or can never be (behaviour 6). In order within a lane; lanes are independent.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use relay_runner_protocol::{CommandStatus, Stage, TaskStatus};
use serde::{Deserialize, Serialize};

use crate::effect::{Call, Lane};
use crate::facts::ReportFact;
use crate::ids::{MessageId, OpId, Text};
use crate::time::Mono;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) key: OpId,
    pub(crate) call: Call,
    pub(crate) tries: u32,
    /// The try that is under way.
    pub(crate) sent: Option<OpId>,
    /// Not to be tried before this.
    pub(crate) not_before: Mono,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Lane, VecDeque<Report>)>", into = "Vec<(Lane, VecDeque<Report>)>")]
pub(crate) struct Reports {
    lanes: BTreeMap<Lane, VecDeque<Report>>,
    waiting: usize,
    under_way: usize,
}

impl From<Reports> for Vec<(Lane, VecDeque<Report>)> {
    fn from(reports: Reports) -> Self {
        reports.lanes.into_iter().collect()
    }
}

impl From<Vec<(Lane, VecDeque<Report>)>> for Reports {
    fn from(lanes: Vec<(Lane, VecDeque<Report>)>) -> Self {
        let waiting = lanes.iter().map(|(_, reports)| reports.len()).sum();
        let under_way = lanes.iter().flat_map(|(_, reports)| reports).filter(|report| report.sent.is_some()).count();
        Self { lanes: lanes.into_iter().collect(), waiting, under_way }
    }
}

impl Reports {
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    pub(crate) fn push(&mut self, key: OpId, call: Call) -> Lane {
        let lane = call.lane();
        let report = Report { key, call, tries: 0, sent: None, not_before: 0 };
        self.lanes.entry(lane.clone()).or_default().push_back(report);
        self.waiting += 1;
        lane
    }

    /// A stage that still waits in line is overtaken by a later one of the same message: who watches wants to know
    /// how far it has come. Doubts and reasons are never overtaken.
    pub(crate) fn overtake(&mut self, call: &Call) -> bool {
        let Call::Delivery { stage, attempt, reason: None, .. } = call else { return false };
        let Some(last) = self.lanes.get_mut(&call.lane()).and_then(VecDeque::back_mut) else { return false };
        match &last.call {
            Call::Delivery { stage: before, attempt: tried, reason: None, .. }
                if last.sent.is_none()
                    && last.tries == 0
                    && before < stage
                    && *stage <= Stage::Settled
                    && tried <= attempt =>
            {
                last.call = call.clone();
                true
            }
            _ => false,
        }
    }

    /// How many are under way.
    pub(crate) const fn under_way(&self) -> usize {
        self.under_way
    }

    /// The head of this lane is under way as this operation, or is not any more.
    pub(crate) fn set_sent(&mut self, lane: &Lane, sent: Option<OpId>) {
        let Some(head) = self.lanes.get_mut(lane).and_then(VecDeque::front_mut) else { return };
        let before = core::mem::replace(&mut head.sent, sent);
        self.under_way += usize::from(sent.is_some());
        self.under_way -= usize::from(before.is_some());
    }

    /// The oldest report of a lane: the only one that may be under way.
    pub(crate) fn head(&mut self, lane: &Lane) -> Option<&mut Report> {
        self.lanes.get_mut(lane)?.front_mut()
    }

    /// Drops the first report that can be done without and is not under way. False when there is none.
    pub(crate) fn make_room(&mut self) -> bool {
        for queue in self.lanes.values_mut() {
            if let Some(at) = queue.iter().position(|report| report.sent.is_none() && is_dispensable(&report.call)) {
                queue.remove(at);
                self.waiting -= 1;
                self.lanes.retain(|_, queue| !queue.is_empty());
                return true;
            }
        }
        false
    }

    pub(crate) fn pop(&mut self, lane: &Lane) -> Option<Report> {
        let queue = self.lanes.get_mut(lane)?;
        let report = queue.pop_front();
        self.waiting -= usize::from(report.is_some());
        self.under_way -= usize::from(report.as_ref().is_some_and(|report| report.sent.is_some()));
        if queue.is_empty() {
            self.lanes.remove(lane);
        }
        report
    }

    /// Drops what must no longer be said. What is under way stays: its answer is still to come.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Call) -> bool) {
        for queue in self.lanes.values_mut() {
            queue.retain(|report| report.sent.is_some() || keep(&report.call));
        }
        self.lanes.retain(|_, queue| !queue.is_empty());
        self.waiting = self.lanes.values().map(VecDeque::len).sum();
    }

    pub(crate) fn any(&self, mut test: impl FnMut(&Call) -> bool) -> bool {
        self.lanes.values().flatten().any(|report| test(&report.call))
    }

    pub(crate) fn lane(&self, lane: &Lane) -> impl Iterator<Item = &Report> {
        self.lanes.get(lane).into_iter().flatten()
    }

    pub(crate) fn heads(&self) -> impl Iterator<Item = (&Lane, &Report)> {
        self.lanes.iter().filter_map(|(lane, queue)| Some((lane, queue.front()?)))
    }

    /// The first lane whose head may be tried now.
    pub(crate) fn first_due(&self, now: Mono) -> Option<Lane> {
        self.heads().find(|(_, head)| head.sent.is_none() && head.not_before <= now).map(|(lane, _)| lane.clone())
    }

    /// When the next waiting head may be tried.
    pub(crate) fn next_try(&self) -> Option<Mono> {
        self.heads().filter(|(_, report)| report.sent.is_none()).map(|(_, report)| report.not_before).min()
    }

    pub(crate) fn facts(&self) -> Vec<ReportFact> {
        let mut facts: Vec<_> = self
            .lanes
            .values()
            .flatten()
            .map(|report| ReportFact { key: report.key, call: report.call.clone() })
            .collect();
        facts.sort_by_key(|fact| fact.key);
        facts
    }

    /// Whether a release of this message's claim is still to be accepted.
    pub(crate) fn releases(&self, message: MessageId) -> bool {
        self.lane(&Lane::Message(message)).any(|report| matches!(report.call, Call::Release { .. }))
    }

    /// Whether a message still has something that the relay must accept before it is settled.
    pub(crate) fn owes(&self, message: MessageId) -> bool {
        self.lane(&Lane::Message(message)).any(|report| match &report.call {
            Call::Read { .. } => true,
            Call::Task { status, .. } => status.is_final(),
            _ => false,
        })
    }
}

/// Stages are for people who watch: they are not tried for ever.
pub(crate) const fn is_only_a_stage(call: &Call) -> bool {
    matches!(call, Call::Delivery { .. })
}

/// When there are too many reports, these are the ones to do without: what comes after them says more.
pub(crate) const fn is_dispensable(call: &Call) -> bool {
    match call {
        Call::Delivery { .. } => true,
        Call::Command { status, .. } => !status.is_final(),
        _ => false,
    }
}

/// Whether a call reports the end of this task.
pub(crate) fn ends_task(call: &Call, task: u64) -> bool {
    matches!(call, Call::Task { task: of, status, .. } if *of == task && status.is_final())
}

pub(crate) const fn stage(message: MessageId, stage: Stage, attempt: u32, reason: Option<Text>) -> Call {
    Call::Delivery { message, stage, attempt, reason }
}

pub(crate) const fn task(task: u64, message: MessageId, status: TaskStatus, why: Option<Text>) -> Call {
    // The fence is that of the claim at the moment of sending.
    Call::Task { task, message, status, fence: None, why }
}

pub(crate) const fn command(id: Text, status: CommandStatus) -> Call {
    Call::Command { id, status, outcome: None }
}
