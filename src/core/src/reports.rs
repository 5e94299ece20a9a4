//! What the relay must accept: stages, read marks, task reports, releases, command reports. Each is sent again until
//! it is accepted or can never be (behaviour 6). In order within a lane; lanes are independent.

use alloc::collections::btree_map::Entry;
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

/// The reports of one lane. Most lanes have one, which costs no queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Queue {
    /// The oldest: the only one that may be under way.
    head: Report,
    rest: VecDeque<Report>,
}

impl Queue {
    fn iter(&self) -> impl Iterator<Item = &Report> {
        core::iter::once(&self.head).chain(&self.rest)
    }

    fn last_mut(&mut self) -> &mut Report {
        self.rest.back_mut().unwrap_or(&mut self.head)
    }

    fn len(&self) -> usize {
        1 + self.rest.len()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Lane, Queue)>", into = "Vec<(Lane, Queue)>")]
pub(crate) struct Reports {
    lanes: BTreeMap<Lane, Queue>,
    /// Lanes whose head is not under way, in order.
    idle: Vec<Lane>,
    waiting: usize,
    under_way: usize,
}

impl From<Reports> for Vec<(Lane, Queue)> {
    fn from(reports: Reports) -> Self {
        reports.lanes.into_iter().collect()
    }
}

impl From<Vec<(Lane, Queue)>> for Reports {
    fn from(lanes: Vec<(Lane, Queue)>) -> Self {
        let mut reports = Self { lanes: lanes.into_iter().collect(), ..Self::default() };
        reports.count();
        reports
    }
}

impl Reports {
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Puts the index in step with the lanes.
    fn count(&mut self) {
        self.waiting = self.lanes.values().map(Queue::len).sum();
        let idle = self.lanes.iter().filter(|(_, queue)| queue.head.sent.is_none());
        self.idle = idle.map(|(lane, _)| lane.clone()).collect();
        self.under_way = self.lanes.len() - self.idle.len();
    }

    fn is_idle(&mut self, lane: &Lane, idle: bool) {
        match (self.idle.binary_search(lane), idle) {
            (Err(at), true) => self.idle.insert(at, lane.clone()),
            (Ok(at), false) => {
                self.idle.remove(at);
            }
            (Ok(_), true) | (Err(_), false) => {}
        }
    }

    pub(crate) fn push(&mut self, key: OpId, call: Call) {
        let lane = call.lane();
        let report = Report { key, call, tries: 0, sent: None, not_before: 0 };
        self.waiting += 1;
        match self.lanes.entry(lane) {
            Entry::Occupied(queue) => queue.into_mut().rest.push_back(report),
            Entry::Vacant(place) => {
                let lane = place.key().clone();
                place.insert(Queue { head: report, rest: VecDeque::new() });
                self.is_idle(&lane, true);
            }
        }
    }

    /// A stage that still waits in line is overtaken by a later one of the same message: who watches wants to know
    /// how far it has come. Doubts and reasons are never overtaken.
    pub(crate) fn overtake(&mut self, call: &Call) -> bool {
        let Call::Delivery { stage, attempt, reason: None, .. } = call else { return false };
        let Some(last) = self.lanes.get_mut(&call.lane()).map(Queue::last_mut) else { return false };
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
        let Some(queue) = self.lanes.get_mut(lane) else { return };
        let before = core::mem::replace(&mut queue.head.sent, sent);
        self.under_way += usize::from(sent.is_some());
        self.under_way -= usize::from(before.is_some());
        self.is_idle(lane, sent.is_none());
    }

    /// The oldest report of a lane: the only one that may be under way.
    pub(crate) fn head(&mut self, lane: &Lane) -> Option<&mut Report> {
        self.lanes.get_mut(lane).map(|queue| &mut queue.head)
    }

    /// Drops a report that can be done without and is not under way. False when there is none.
    pub(crate) fn make_room(&mut self) -> bool {
        let mut dropped = false;
        self.retain(|call| {
            let drop = !dropped && is_dispensable(call);
            dropped |= drop;
            !drop
        });
        dropped
    }

    pub(crate) fn pop(&mut self, lane: &Lane) -> Option<Report> {
        let queue = self.lanes.get_mut(lane)?;
        self.waiting -= 1;
        let report = if let Some(next) = queue.rest.pop_front() {
            core::mem::replace(&mut queue.head, next)
        } else {
            self.lanes.remove(lane)?.head
        };
        self.under_way -= usize::from(report.sent.is_some());
        let left = self.lanes.contains_key(lane);
        self.is_idle(lane, left);
        Some(report)
    }

    /// Drops what must no longer be said. What is under way stays: its answer is still to come.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Call) -> bool) {
        self.lanes.retain(|_, queue| Self::retain_lane(queue, &mut keep));
        self.count();
    }

    /// The same for one lane.
    pub(crate) fn retain_in(&mut self, lane: &Lane, mut keep: impl FnMut(&Call) -> bool) {
        let Some(queue) = self.lanes.get_mut(lane) else { return };
        let before = queue.len();
        if Self::retain_lane(queue, &mut keep) {
            self.waiting -= before - queue.len();
            let idle = queue.head.sent.is_none();
            self.is_idle(lane, idle);
        } else {
            self.waiting -= before;
            self.lanes.remove(lane);
            self.is_idle(lane, false);
        }
    }

    /// False when nothing of it is left.
    fn retain_lane(queue: &mut Queue, keep: &mut impl FnMut(&Call) -> bool) -> bool {
        queue.rest.retain(|report| keep(&report.call));
        if queue.head.sent.is_some() || keep(&queue.head.call) {
            return true;
        }
        match queue.rest.pop_front() {
            Some(next) => {
                queue.head = next;
                true
            }
            None => false,
        }
    }

    pub(crate) fn any(&self, mut test: impl FnMut(&Call) -> bool) -> bool {
        self.lanes.values().flat_map(Queue::iter).any(|report| test(&report.call))
    }

    pub(crate) fn lane(&self, lane: &Lane) -> impl Iterator<Item = &Report> {
        self.lanes.get(lane).into_iter().flat_map(Queue::iter)
    }

    /// Heads that are not under way.
    fn idle(&self) -> impl Iterator<Item = (&Lane, &Report)> {
        self.idle.iter().filter_map(|lane| Some((lane, &self.lanes.get(lane)?.head)))
    }

    /// The first lane whose head may be tried now.
    pub(crate) fn first_due(&self, now: Mono) -> Option<Lane> {
        self.idle().find(|(_, head)| head.not_before <= now).map(|(lane, _)| lane.clone())
    }

    /// When the next waiting head may be tried.
    pub(crate) fn next_try(&self) -> Option<Mono> {
        self.idle().map(|(_, head)| head.not_before).min()
    }

    pub(crate) fn facts(&self) -> Vec<ReportFact> {
        let mut facts: Vec<_> = self
            .lanes
            .values()
            .flat_map(Queue::iter)
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
            Call::Task { status, .. } => status.is_final() || *status == TaskStatus::Blocked,
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
