//! What the relay must accept: stages, read marks, task reports, releases, command reports. Each is sent again until
//! it is accepted or can never be (behaviour 6). In order within a lane; lanes are independent.

mod lanes;

use alloc::vec::Vec;
use relay_runner_protocol::{CommandStatus, Stage, TaskStatus};
use serde::{Deserialize, Serialize};

use crate::effect::{Call, Lane, Reason};
use crate::facts::ReportFact;
use crate::ids::{MessageId, OpId, Text};
use crate::time::Mono;
use lanes::Lanes;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) key: OpId,
    pub(crate) call: Call,
    pub(crate) tries: u32,
    /// The try that is under way.
    pub(crate) sent: Option<OpId>,
    /// Not to be tried before this.
    pub(crate) not_before: Mono,
    /// The first try of which the relay said that it does not know what is meant, by this registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) missing: Option<OpId>,
}

const fn message_of(lane: &Lane) -> Option<MessageId> {
    match lane {
        Lane::Message(id) => Some(*id),
        Lane::Agent | Lane::Credential | Lane::Command(_) | Lane::Fetch => None,
    }
}

/// A head that may be tried now. It holds as long as no report comes or goes.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) lane: Lane,
    at: usize,
}

/// Lanes of messages have an order and a row of their own: nearly all reports are in them, and their keys are numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Report>", into = "Vec<Report>")]
pub(crate) struct Reports {
    messages: Lanes<MessageId>,
    /// Behind those of messages, in the order of lanes.
    others: Lanes<Lane>,
}

impl From<Reports> for Vec<Report> {
    fn from(reports: Reports) -> Self {
        reports.messages.into_reports().chain(reports.others.into_reports()).collect()
    }
}

impl From<Vec<Report>> for Reports {
    fn from(list: Vec<Report>) -> Self {
        let mut reports = Self::default();
        for report in list {
            reports.put(report);
        }
        reports
    }
}

impl Reports {
    pub(crate) fn len(&self) -> usize {
        self.messages.len() + self.others.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A new one.
    pub(crate) fn owe(&mut self, key: OpId, call: Call) {
        self.put(Report { key, call, tries: 0, sent: None, not_before: 0, missing: None });
    }

    /// One that the run before owed. It may have been sent, so its key stands for this call and for no other.
    pub(crate) fn push(&mut self, key: OpId, call: Call) {
        self.put(Report { key, call, tries: 1, sent: None, not_before: 0, missing: None });
    }

    fn put(&mut self, report: Report) {
        let lane = report.call.lane();
        match message_of(&lane) {
            Some(id) => self.messages.put(id, report),
            None => self.others.put(lane, report),
        }
    }

    /// A stage that still waits in line is overtaken by a later one of the same message: who watches wants to know
    /// how far it has come. Doubts and reasons are never overtaken. It goes on under this key, or under the one that it has.
    pub(crate) fn overtake(&mut self, call: &Call, key: Option<OpId>) -> bool {
        let Call::Delivery { message, stage, attempt, reason: None } = call else { return false };
        let Some(last) = self.messages.last_mut(message) else { return false };
        match &last.call {
            Call::Delivery { stage: before, attempt: tried, reason: None, .. }
                if last.sent.is_none()
                    && last.tries == 0
                    && before < stage
                    && *stage <= Stage::Settled
                    && tried <= attempt =>
            {
                last.call = call.clone();
                last.key = key.unwrap_or(last.key);
                true
            }
            _ => false,
        }
    }

    /// How many are under way.
    pub(crate) const fn under_way(&self) -> usize {
        self.messages.under_way() + self.others.under_way()
    }

    /// The oldest report of a lane: the only one that may be under way.
    pub(crate) fn head(&self, lane: &Lane) -> Option<&Report> {
        match message_of(lane) {
            Some(id) => self.messages.head(&id),
            None => self.others.head(lane),
        }
    }

    /// The first head, in the order of lanes, that may be tried now.
    pub(crate) fn first_due(&mut self, now: Mono) -> Option<Due> {
        if let Some((id, at)) = self.messages.first_due(now) {
            return Some(Due { lane: Lane::Message(id), at });
        }
        self.others.first_due(now).map(|(lane, at)| Due { lane, at })
    }

    pub(crate) fn due(&self, due: &Due) -> Option<&Report> {
        match message_of(&due.lane) {
            Some(_) => self.messages.at(due.at),
            None => self.others.at(due.at),
        }
    }

    /// It goes out as this operation.
    pub(crate) fn send(&mut self, due: &Due, op: OpId) {
        match message_of(&due.lane) {
            Some(_) => self.messages.send(due.at, op),
            None => self.others.send(due.at, op),
        }
    }

    /// It is not to be tried before this.
    pub(crate) fn postpone(&mut self, due: &Due, until: Mono) {
        match message_of(&due.lane) {
            Some(_) => self.messages.postpone(due.at, until),
            None => self.others.postpone(due.at, until),
        }
    }

    /// The head of this lane is not under way any more, and was not accepted. `until` makes of the number of its tries
    /// when it may be tried again.
    pub(crate) fn came_back(&mut self, lane: &Lane, until: impl FnOnce(u32) -> Mono) -> Option<&Report> {
        match message_of(lane) {
            Some(id) => self.messages.came_back(&id, until),
            None => self.others.came_back(lane, until),
        }
    }

    /// What waits for this message's claim can be said now.
    pub(crate) fn hasten(&mut self, message: MessageId) {
        self.messages.hasten(&message);
    }

    pub(crate) fn pop(&mut self, lane: &Lane) -> Option<Report> {
        match message_of(lane) {
            Some(id) => self.messages.pop(&id),
            None => self.others.pop(lane),
        }
    }

    /// Takes out the head of a lane, if it is under way as this operation.
    pub(crate) fn pop_sent(&mut self, lane: &Lane, op: OpId) -> Option<Report> {
        let is_it = |report: &Report| report.sent == Some(op);
        match message_of(lane) {
            Some(id) => self.messages.pop_if(&id, is_it),
            None => self.others.pop_if(lane, is_it),
        }
    }

    /// Drops a report that can be done without and is not under way. False when there is none.
    pub(crate) fn make_room(&mut self) -> bool {
        self.messages.drop_one(is_dispensable) || self.others.drop_one(is_dispensable)
    }

    /// All that waits to be said, or is under way.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Call> {
        self.messages.iter().chain(self.others.iter()).map(|report| &report.call)
    }

    /// Drops what must no longer be said. What is under way stays: its answer is still to come.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Call) -> bool) {
        self.messages.retain(&keep);
        self.others.retain(&keep);
    }

    /// Drops what waits for a message. What is under way stays: its answer is still to come.
    pub(crate) fn silence(&mut self, message: MessageId) {
        self.messages.silence(&message);
    }

    pub(crate) fn any(&self, mut test: impl FnMut(&Call) -> bool) -> bool {
        self.messages.iter().chain(self.others.iter()).any(|report| test(&report.call))
    }

    /// When the next waiting head may be tried; 0 is at any time.
    pub(crate) fn next_try(&self) -> Option<Mono> {
        self.messages.next_try().into_iter().chain(self.others.next_try()).min()
    }

    pub(crate) fn facts(&self) -> Vec<ReportFact> {
        let reports = self.messages.iter().chain(self.others.iter());
        let mut facts: Vec<_> =
            reports.map(|report| ReportFact { key: report.key, call: report.call.clone() }).collect();
        facts.sort_by_key(|fact| fact.key);
        facts
    }

    /// Whether the outcome of this command is still to be accepted.
    pub(crate) fn concludes(&self, command: &Text) -> bool {
        let lane = Lane::Command(command.clone());
        self.others.lane(&lane).any(|report| matches!(&report.call, Call::Command { status, .. } if status.is_final()))
    }

    /// The relay does not know what the head of a lane is about, which was tried as this operation.
    pub(crate) fn is_missing(&mut self, lane: &Lane, op: OpId) {
        match message_of(lane) {
            Some(id) => self.messages.is_missing(&id, op),
            None => self.others.is_missing(lane, op),
        }
    }

    /// Whether a release of this message's claim is still to be accepted.
    pub(crate) fn releases(&self, message: MessageId) -> bool {
        self.messages.lane(&message).any(|report| matches!(report.call, Call::Release { .. }))
    }

    /// Whether a message still has something that the relay must accept before it is settled.
    pub(crate) fn owes(&self, message: MessageId) -> bool {
        self.messages.lane(&message).any(|report| match &report.call {
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

pub(crate) const fn task(task: u64, message: MessageId, status: TaskStatus, why: Option<Reason>) -> Call {
    // The fence is that of the claim at the moment of sending.
    Call::Task { task, message, status, fence: None, why }
}

pub(crate) const fn command(id: Text, status: CommandStatus) -> Call {
    Call::Command { id, status, outcome: None }
}
