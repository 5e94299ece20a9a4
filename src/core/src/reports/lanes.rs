//! Lanes of reports: one at a time within a lane, any number side by side.
//!
//! All stand in one row, in the order of their lanes and then of their coming, so that a lane is a stretch of the row
//! and needs no memory of its own. Its first is its head. Every lane whose head is not under way is in one of two
//! indexes: in `later`, by time, when its head is to wait (`not_before` is not 0), else in `ready`.

use alloc::collections::VecDeque;

use super::Report;
use crate::effect::Call;
use crate::ids::OpId;
use crate::sorted::Sorted;
use crate::time::Mono;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lanes<K> {
    row: VecDeque<(K, Report)>,
    ready: Sorted<K>,
    later: Sorted<(Mono, K)>,
    under_way: usize,
}

impl<K> Default for Lanes<K> {
    fn default() -> Self {
        Self { row: VecDeque::new(), ready: Sorted::default(), later: Sorted::default(), under_way: 0 }
    }
}

impl<K: Ord + Clone> Lanes<K> {
    pub(super) fn len(&self) -> usize {
        self.row.len()
    }

    pub(super) const fn under_way(&self) -> usize {
        self.under_way
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Report> {
        self.row.iter().map(|(_, report)| report)
    }

    pub(super) fn into_reports(self) -> impl Iterator<Item = Report> {
        self.row.into_iter().map(|(_, report)| report)
    }

    /// Where the head of a lane stands.
    fn head_at(&self, lane: &K) -> Option<usize> {
        let at = self.row.partition_point(|(other, _)| other < lane);
        self.is_at(at, lane).then_some(at)
    }

    /// Where the next report of a lane would stand.
    fn end_of(&self, lane: &K) -> usize {
        match self.row.back() {
            Some((last, _)) if last > lane => self.row.partition_point(|(other, _)| other <= lane),
            Some(_) | None => self.row.len(),
        }
    }

    fn is_at(&self, at: usize, lane: &K) -> bool {
        self.row.get(at).is_some_and(|(other, _)| other == lane)
    }

    /// Enters the head that stands here into its index.
    fn enter(&mut self, at: usize) {
        let Some((lane, head)) = self.row.get(at) else { return };
        if head.sent.is_some() {
            self.under_way += 1;
        } else if head.not_before == 0 {
            self.ready.insert(lane.clone(), ());
        } else {
            self.later.insert((head.not_before, lane.clone()), ());
        }
    }

    /// Takes it out again, before it changes.
    fn leave(&mut self, at: usize) {
        let Some((lane, head)) = self.row.get(at) else { return };
        if head.sent.is_some() {
            self.under_way -= 1;
        } else if head.not_before == 0 {
            self.ready.remove(lane);
        } else {
            self.later.remove(&(head.not_before, lane.clone()));
        }
    }

    /// Changes the head that stands here, and keeps the indexes in step with it.
    fn change(&mut self, at: usize, change: impl FnOnce(&mut Report)) {
        self.leave(at);
        if let Some((_, head)) = self.row.get_mut(at) {
            change(head);
        }
        self.enter(at);
    }

    pub(super) fn at(&self, at: usize) -> Option<&Report> {
        self.row.get(at).map(|(_, report)| report)
    }

    pub(super) fn put(&mut self, lane: K, report: Report) {
        let at = self.end_of(&lane);
        let is_head = at.checked_sub(1).is_none_or(|before| !self.is_at(before, &lane));
        self.row.insert(at, (lane, report));
        if is_head {
            self.enter(at);
        }
    }

    pub(super) fn head(&self, lane: &K) -> Option<&Report> {
        self.lane(lane).next()
    }

    pub(super) fn lane(&self, lane: &K) -> impl Iterator<Item = &Report> {
        let at = self.head_at(lane).unwrap_or(self.row.len());
        self.row.range(at..).take_while(move |(other, _)| other == lane).map(|(_, report)| report)
    }

    pub(super) fn last_mut(&mut self, lane: &K) -> Option<&mut Report> {
        let at = self.end_of(lane).checked_sub(1)?;
        self.row.get_mut(at).filter(|(other, _)| other == lane).map(|(_, report)| report)
    }

    /// The head that stands here, which is not under way, goes out as this operation.
    pub(super) fn send(&mut self, at: usize, op: OpId) {
        self.change(at, |head| head.sent = Some(op));
    }

    pub(super) fn came_back(&mut self, lane: &K, until: impl FnOnce(u32) -> Mono) -> Option<&Report> {
        let at = self.head_at(lane)?;
        self.change(at, |head| {
            head.sent = None;
            head.tries = head.tries.saturating_add(1);
            head.not_before = until(head.tries);
        });
        self.at(at)
    }

    pub(super) fn is_missing(&mut self, lane: &K, op: OpId) {
        if let Some(at) = self.head_at(lane) {
            self.row[at].1.missing = Some(op);
        }
    }

    pub(super) fn postpone(&mut self, at: usize, until: Mono) {
        self.change(at, |head| head.not_before = until);
    }

    /// The head of a lane need not wait any longer.
    pub(super) fn hasten(&mut self, lane: &K) {
        if let Some(at) = self.head_at(lane) {
            self.change(at, |head| head.not_before = 0);
        }
    }

    pub(super) fn pop(&mut self, lane: &K) -> Option<Report> {
        self.pop_if(lane, |_| true)
    }

    /// Takes out the head of a lane, if it is this one.
    pub(super) fn pop_if(&mut self, lane: &K, test: impl FnOnce(&Report) -> bool) -> Option<Report> {
        let at = self.head_at(lane)?;
        if self.at(at).is_some_and(test) { self.take_head(at) } else { None }
    }

    fn take_head(&mut self, at: usize) -> Option<Report> {
        self.leave(at);
        let (lane, report) = self.row.remove(at)?;
        if self.is_at(at, &lane) {
            self.enter(at);
        }
        Some(report)
    }

    /// Takes out the report that stands here.
    fn take(&mut self, at: usize) -> Option<Report> {
        match at.checked_sub(1) {
            Some(before) if self.row[before].0 == self.row[at].0 => self.row.remove(at).map(|(_, report)| report),
            Some(_) | None => self.take_head(at),
        }
    }

    /// Drops what fits and is not under way, one at most: of the first lane that has one, and there its head last.
    pub(super) fn drop_one(&mut self, fits: impl Fn(&Call) -> bool) -> bool {
        let mut head = 0;
        while let Some((lane, _)) = self.row.get(head) {
            let end = head + self.row.range(head..).take_while(|(other, _)| other == lane).count();
            let found = (head + 1..end).chain([head]).find(|at| {
                let (_, report) = &self.row[*at];
                report.sent.is_none() && fits(&report.call)
            });
            if let Some(at) = found {
                self.take(at);
                return true;
            }
            head = end;
        }
        false
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Call) -> bool) {
        let row = core::mem::take(&mut self.row);
        *self = Self::default();
        for (lane, report) in row.into_iter().filter(|(_, report)| report.sent.is_some() || keep(&report.call)) {
            self.put(lane, report);
        }
    }

    /// Drops all of a lane that is not under way.
    pub(super) fn silence(&mut self, lane: &K) {
        let Some(mut at) = self.head_at(lane) else { return };
        if self.row[at].1.sent.is_some() {
            at += 1;
        }
        while self.is_at(at, lane) {
            self.take(at);
        }
    }

    /// The first lane, in their order, whose head may be tried now, and where that stands.
    pub(super) fn first_due(&mut self, now: Mono) -> Option<(K, usize)> {
        while self.later.first().is_some_and(|(at, _)| *at <= now)
            && let Some(((_, lane), ())) = self.later.pop_first()
        {
            if let Some(at) = self.head_at(&lane) {
                self.row[at].1.not_before = 0;
                self.enter(at);
            }
        }
        let lane = self.ready.first()?;
        Some((lane.clone(), self.head_at(lane)?))
    }

    /// When the next head may be tried; 0 is at any time.
    pub(super) fn next_try(&self) -> Option<Mono> {
        if self.ready.is_empty() { self.later.first().map(|(at, _)| *at) } else { Some(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// What is done to the lane of this number.
    #[derive(Debug, Clone, Copy)]
    enum Change {
        Put(u64),
        Send(u64),
        ComeBack(u64, Mono),
        Pop(u64),
        Silence(u64),
        DropOne,
        /// Only those of this lane and the ones behind it are kept.
        Retain(u64),
        Pass(Mono),
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            4 => (0..6_u64).prop_map(Change::Put),
            3 => (0..6_u64).prop_map(Change::Send),
            2 => (0..6_u64, 1..60_u64).prop_map(|(lane, wait)| Change::ComeBack(lane, wait)),
            2 => (0..6_u64).prop_map(Change::Pop),
            1 => (0..6_u64).prop_map(Change::Silence),
            1 => Just(Change::DropOne),
            1 => (0..6_u64).prop_map(Change::Retain),
            1 => (0..40_u64).prop_map(Change::Pass),
        ]
    }

    type Model = BTreeMap<u64, Vec<Report>>;

    fn silence(model: &mut Model, lane: u64) {
        if let Some(reports) = model.get_mut(&lane) {
            reports.retain(|report| report.sent.is_some());
        }
    }

    /// The first lane with an idle report; there the oldest but the head, else the head.
    fn drop_one(model: &mut Model) {
        for reports in model.values_mut() {
            let idle: Vec<_> = (0..reports.len()).filter(|at| reports[*at].sent.is_none()).collect();
            if let Some(at) = idle.iter().find(|at| **at > 0).or(idle.first()) {
                reports.remove(*at);
                return;
            }
        }
    }

    proptest! {
        #[test]
        fn lanes_are_queues_side_by_side(changes in prop::collection::vec(change(), 0..120)) {
            let mut lanes = Lanes::default();
            let mut model = Model::new();
            let (mut now, mut next) = (0, 0);
            for change in changes {
                match change {
                    Change::Put(lane) => {
                        next += 1;
                        let call = Call::Read { message: lane };
                        let report = Report { key: OpId(next), call, tries: 0, sent: None, not_before: 0, missing: None };
                        lanes.put(lane, report.clone());
                        model.entry(lane).or_default().push(report);
                    }
                    Change::Send(lane) => {
                        if let Some(at) = lanes.head_at(&lane) {
                            lanes.send(at, OpId(next));
                        }
                        if let Some(head) = model.entry(lane).or_default().first_mut() {
                            head.sent = Some(OpId(next));
                        }
                    }
                    Change::ComeBack(lane, wait) => {
                        lanes.came_back(&lane, |_| now + wait);
                        if let Some(head) = model.entry(lane).or_default().first_mut() {
                            head.sent = None;
                            head.tries += 1;
                            head.not_before = now + wait;
                        }
                    }
                    Change::Pop(lane) => {
                        let reports = model.entry(lane).or_default();
                        let popped = (!reports.is_empty()).then(|| reports.remove(0).key);
                        prop_assert_eq!(lanes.pop(&lane).map(|report| report.key), popped);
                    }
                    Change::Silence(lane) => {
                        lanes.silence(&lane);
                        silence(&mut model, lane);
                    }
                    Change::DropOne => {
                        lanes.drop_one(|_| true);
                        drop_one(&mut model);
                    }
                    Change::Retain(least) => {
                        lanes.retain(|call| matches!(call, Call::Read { message } if *message >= least));
                        for (lane, reports) in &mut model {
                            reports.retain(|report| *lane >= least || report.sent.is_some());
                        }
                    }
                    Change::Pass(wait) => now += wait,
                }
                model.retain(|_, reports| !reports.is_empty());
                let idle = || model.iter().filter(|(_, reports)| reports[0].sent.is_none());
                prop_assert!(lanes.iter().map(|r| r.key).eq(model.values().flatten().map(|r| r.key)));
                prop_assert_eq!(lanes.under_way(), model.len() - idle().count());
                let due = idle().find(|(_, reports)| reports[0].not_before <= now).map(|(lane, _)| *lane);
                prop_assert_eq!(lanes.first_due(now).map(|(lane, _)| lane), due);
                let next = idle().map(|(_, reports)| reports[0].not_before).min();
                prop_assert_eq!(lanes.next_try().map(|at| at.max(now)), next.map(|at| at.max(now)));
                // What a mark restores has the same indexes.
                let mut again = Lanes::default();
                for (lane, report) in &lanes.row {
                    again.put(*lane, report.clone());
                }
                prop_assert_eq!(&again, &lanes);
            }
        }
    }
}
