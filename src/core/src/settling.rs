//! What follows once a message was worked, or given up: reports that the relay must accept, and the end of its task
//! (behaviour 6, 7).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use relay_runner_protocol::{Stage, TaskStatus};

use crate::Core;
use crate::config::MarkRead;
use crate::effect::{Call, Effects, Reason};
use crate::ids::{MessageId, TaskId, Text};
use crate::inbox::Item;
use crate::mutant::Mutant;
use crate::note::Note;
use crate::reports;
use crate::work::Own;

/// Why a message is set aside whose turn a person broke off: its task is blocked, and not failed.
pub(crate) const BY_A_PERSON: &str = "interrupted by a person at the provider's terminal";

impl Core {
    /// Gives a message up, with the reason. Its task is reported; a plain one stays unread and is listed.
    pub(crate) fn set_aside(&mut self, id: MessageId, why: &Text, status: TaskStatus, fx: &mut Effects) {
        if self.gone_while_offered(id, fx) {
            return;
        }
        let Some(task) = self.inbox.update(id, |item| {
            item.stage = Stage::SetAside;
            item.turn = None;
            item.meta.task
        }) else {
            return;
        };
        let most = self.config.limits.settled;
        self.inbox.put_aside(id, why.clone(), most);
        self.say_stage(id, Stage::SetAside, Some(why.clone()), fx);
        match (task, self.claims.get(id).and_then(|claim| claim.fence)) {
            (Some(task), _) => {
                self.report(reports::task(task, id, status, Some(Reason::Other(why.clone()))), fx);
            }
            (None, Some(fence)) => {
                self.claims.remove(id, &mut self.inbox);
                self.touched.claims = true;
                self.report(Call::Release { message: id, fence }, fx);
            }
            (None, None) => {}
        }
        if !self.reports.owes(id) && !self.is_unsaid(id) {
            self.claims.remove(id, &mut self.inbox);
            self.touched.claims = true;
            self.forget_message(id, fx);
        }
        fx.sync = true;
    }

    /// What became of it may not be said any more: it is owed by the next run.
    fn is_unsaid(&self, id: MessageId) -> bool {
        let of = |item: &Item| match item.stage {
            Stage::Worked => true,
            Stage::SetAside => item.meta.task.is_some() && !item.task_ended,
            _ => false,
        };
        self.believes_less() && self.ending.is_silent(&Call::Read { message: id }) && self.inbox.get(id).is_some_and(of)
    }

    /// A turn that had it ended normally.
    pub(crate) fn worked(&mut self, id: MessageId, fx: &mut Effects) {
        let now = self.now.mono;
        let Some((task, attempt, taken_over)) = self.inbox.update(id, |item| {
            item.stage = Stage::Worked;
            item.since = now;
            (item.meta.task, item.attempt, item.taken_over)
        }) else {
            return;
        };
        fx.sync = true;
        if taken_over {
            self.forget_message(id, fx);
            return;
        }
        self.say_stage_at(id, Stage::Worked, attempt, None, fx);
        if let Some(task) = task {
            self.done_unless_more(task, id, fx);
        }
        if self.config.mark_read == MarkRead::Worked {
            self.report(Call::Read { message: id }, fx);
        }
        self.settle_message(id, fx);
    }

    /// What the run before worked or gave up and was not allowed to say, since another had taken the agent, is owed by the
    /// one that has it back.
    pub(crate) fn owe_what_is_over(&mut self) {
        self.owe_what_was_given_up();
        let worked = self.inbox.iter().filter(|(id, item)| item.stage == Stage::Worked && !self.reports.owes(*id));
        let unsaid: Vec<_> = worked.map(|(id, item)| (id, item.meta.task.filter(|_| !item.task_ended))).collect();
        for (id, task) in unsaid {
            // Without a claim nothing is said of its task; the read mark settles it all the same.
            if let Some(task) = task
                && !self.reports.any(|call| reports::ends_task(call, task))
                && !self.inbox.task_has_more(task, id)
            {
                let key = self.ops.number();
                self.reports.owe(key, reports::task(task, id, TaskStatus::Done, Some(Reason::Finished)));
            }
            let key = self.ops.number();
            self.reports.owe(key, Call::Read { message: id });
        }
    }

    fn owe_what_was_given_up(&mut self) {
        if !self.believes_less() {
            return;
        }
        let aside = self.inbox.iter().filter(|(_, item)| item.stage == Stage::SetAside && !item.task_ended);
        let aside = aside.filter(|(id, _)| !self.reports.owes(*id));
        let unsaid: Vec<_> = aside.filter_map(|(id, item)| Some((id, item.meta.task?))).collect();
        for (id, task) in unsaid {
            let why = self.inbox.set_aside().get(&id).cloned().unwrap_or_default();
            let status = if *why == *BY_A_PERSON { TaskStatus::Blocked } else { TaskStatus::Failed };
            let key = self.ops.number();
            self.reports.owe(key, reports::task(task, id, status, Some(Reason::Other(why))));
        }
    }

    /// A task ends with the last of its messages.
    fn done_unless_more(&mut self, task: TaskId, id: MessageId, fx: &mut Effects) {
        if !self.inbox.task_has_more(task, id) || self.config.is_mutant(Mutant::EndsATaskWithEachMessage) {
            self.report(reports::task(task, id, TaskStatus::Done, Some(Reason::Finished)), fx);
        }
    }

    /// A message of this task left the inbox: a worked one that waited for it may be the last now.
    pub(crate) fn task_may_be_done(&mut self, task: TaskId, fx: &mut Effects) {
        let worked = self.inbox.of_task(task).filter(|(_, item)| item.stage == Stage::Worked && !item.task_ended);
        let Some((last, _)) = worked.last() else { return };
        if !self.reports.any(|call| reports::ends_task(call, task)) {
            self.done_unless_more(task, last, fx);
        }
    }

    /// All that is unread is known: a worked message whose task had more, in this run or the one before, may be the last
    /// that comes to us.
    pub(crate) fn tasks_may_be_done(&mut self, fx: &mut Effects) {
        let waits = |item: &Item| item.stage == Stage::Worked && !item.task_ended;
        let tasks = self.inbox.iter().filter(|(_, item)| waits(item)).filter_map(|(_, item)| item.meta.task);
        let tasks: BTreeSet<_> = tasks.collect();
        for task in tasks {
            self.task_may_be_done(task, fx);
        }
    }

    /// The end of a task was accepted: its worked messages have nothing more to wait for. Their claims ended with it: asked
    /// for again, or renewed, they would be refused, as if another had them.
    pub(crate) fn task_has_ended(&mut self, task: TaskId, fx: &mut Effects) {
        let mut last = None;
        while let Some(id) = self.inbox.next_of_task(task, last) {
            let worked = self.inbox.get(id).is_some_and(|item| item.stage == Stage::Worked);
            if worked {
                self.inbox.update(id, |item| item.task_ended = true);
                self.claims.remove(id, &mut self.inbox);
                self.touched.claims = true;
            }
            last = Some(id);
        }
        let mut last = None;
        while let Some(id) = self.inbox.next_of_task(task, last) {
            self.settle_message(id, fx);
            last = Some(id);
        }
    }

    /// We are refused our own claim: the end of its task was accepted, and the run that reported it did not hear of that.
    pub(crate) fn task_had_ended(&mut self, id: MessageId, fx: &mut Effects) {
        let Some(task) = self.inbox.get(id).and_then(|item| item.meta.task) else { return };
        let unread = self.reports.any(|call| matches!(call, Call::Read { message } if *message == id));
        self.silence(id);
        if unread && !self.reports.owes(id) {
            self.report(Call::Read { message: id }, fx);
        }
        fx.sync = true;
        self.task_has_ended(task, fx);
    }

    /// Once the relay has accepted all that is owed for a message, it is over; its claim is forgotten, never released.
    pub(crate) fn settle_message(&mut self, id: MessageId, fx: &mut Effects) {
        let Some(item) = self.inbox.get(id) else { return };
        let (stage, attempt) = (item.stage, item.attempt);
        let waits = stage == Stage::Worked && item.meta.task.is_some() && !item.task_ended;
        if waits || self.reports.owes(id) || self.is_unsaid(id) {
            return;
        }
        match stage {
            Stage::Worked => {
                self.say_stage_at(id, Stage::Settled, attempt, None, fx);
                self.inbox.settle(id, self.config.limits.settled);
            }
            Stage::SetAside => {}
            Stage::Held | Stage::Claimed | Stage::Offered | Stage::Taken | Stage::Ambiguous | Stage::Settled => return,
        }
        self.claims.remove(id, &mut self.inbox);
        self.touched.claims = true;
        self.forget_message(id, fx);
        fx.sync = true;
    }

    pub(crate) fn say_stage(&mut self, id: MessageId, stage: Stage, reason: Option<Text>, fx: &mut Effects) {
        let attempt = self.inbox.get(id).map_or(0, |item| item.attempt);
        self.say_stage_at(id, stage, attempt, reason, fx);
    }

    /// The same, where the number of its offers is known.
    pub(crate) fn say_stage_at(
        &mut self,
        id: MessageId,
        stage: Stage,
        attempt: u32,
        reason: Option<Text>,
        fx: &mut Effects,
    ) {
        fx.note(Note::Stage { message: id, stage, attempt });
        self.report(reports::stage(id, stage, attempt, reason), fx);
    }

    /// It keeps the agent busy, and so does its task.
    pub(crate) fn open_work_of(&mut self, id: MessageId) {
        self.work.open(Own::Message(id), self.now.wall);
        if let Some(task) = self.inbox.get(id).filter(|item| item.is_claimed()).and_then(|item| item.meta.task) {
            self.work.open(Own::Task(task), self.now.wall);
        }
    }

    pub(crate) fn close_work_of(&mut self, id: MessageId) {
        let task = self.inbox.get(id).and_then(|item| item.meta.task);
        self.close_work(id, task);
    }

    /// The same, where its task is known.
    pub(crate) fn close_work(&mut self, id: MessageId, task: Option<TaskId>) {
        self.work.close(Own::Message(id));
        if let Some(task) = task
            && !self.inbox.task_has_more(task, id)
        {
            self.work.close(Own::Task(task));
        }
    }
}
