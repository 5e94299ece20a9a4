//! A message on its way, as the relay's books show it: its delivery stages, and the task that it may carry.

use super::books::Books;
use super::failure::Failure;
use relay_runner_protocol::message::Delivery;
use relay_runner_protocol::{Stage, Task, TaskStatus, http};
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two looks at the books.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Something that the relay has learnt.
#[derive(Debug, Clone)]
pub(crate) enum News {
    Stage(Delivery),
    /// The task has another status.
    Task(Box<Task>),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done(Option<String>),
    Failed(String),
}

/// What is known of a message so far.
#[derive(Debug)]
pub(crate) struct Follower {
    message: u64,
    task: Option<u64>,
    seen: u64,
    status: Option<TaskStatus>,
    report: Option<String>,
    stages: BTreeMap<String, Delivery>,
}

impl Follower {
    pub(crate) fn new(message: u64, task: Option<u64>) -> Self {
        Self { message, task, seen: 0, status: None, report: None, stages: BTreeMap::new() }
    }

    /// What is new in the books since the last look, oldest first.
    pub(crate) async fn look(&mut self, books: &Books) -> Result<Vec<News>, Failure> {
        // The task first: what its end follows from is then in the stages that are read after it.
        let task: Option<Task> = match self.task {
            Some(id) => Some(books.get(&http::task(id)).await?),
            None => None,
        };
        let deliveries: Vec<Delivery> = books.get(&http::message_part(self.message, "delivery")).await?;
        let mut news = Vec::new();
        for delivery in deliveries {
            if delivery.seq > self.seen {
                self.seen = delivery.seq;
                self.stages.insert(delivery.agent_id.clone(), delivery.clone());
                news.push(News::Stage(delivery));
            }
        }
        if let Some(task) = task.filter(|task| self.status != Some(task.status)) {
            let first = self.status.is_none() && task.status == TaskStatus::Open;
            self.status = Some(task.status);
            self.report.clone_from(&task.report);
            if !first {
                news.push(News::Task(Box::new(task)));
            }
        }
        news.sort_by_key(|news| match news {
            News::Stage(delivery) => delivery.at,
            News::Task(task) => task.updated_at,
        });
        Ok(news)
    }

    /// How it ended; none while it is on its way. A task decides for its message; a plain message has come to its end
    /// with the first agent that has settled it.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        if self.task.is_some() {
            return match self.status? {
                TaskStatus::Done => Some(Outcome::Done(self.report.clone())),
                TaskStatus::Failed => {
                    Some(Outcome::Failed(self.report.clone().unwrap_or_else(|| "the task failed".to_owned())))
                }
                TaskStatus::Open | TaskStatus::InProgress | TaskStatus::Blocked => None,
            };
        }
        if self.stages.values().any(|d| d.stage == Stage::Settled) {
            return Some(Outcome::Done(None));
        }
        let newest = self.stages.values().max_by_key(|d| d.seq)?;
        (newest.stage == Stage::SetAside).then(|| {
            let reason = newest.reason.clone().unwrap_or_else(|| "no reason was given".to_owned());
            Outcome::Failed(format!("{} has set the message aside: {reason}", newest.agent_id))
        })
    }

    /// Whether the books of a message that has come to its end say so in full.
    pub(crate) fn is_settled(&self) -> bool {
        self.stages.values().any(|d| matches!(d.stage, Stage::Settled | Stage::SetAside))
    }

    /// The agent that had to do with it last.
    pub(crate) fn agent(&self) -> Option<&str> {
        self.stages.values().max_by_key(|d| d.seq).map(|newest| newest.agent_id.as_str())
    }

    /// Where it is now, for somebody who waits.
    pub(crate) fn place(&self) -> String {
        let Some(newest) = self.stages.values().max_by_key(|d| d.seq) else {
            return "no agent has it yet".to_owned();
        };
        let blocked = if self.status == Some(TaskStatus::Blocked) { ", the task is blocked" } else { "" };
        format!("{} {}{blocked}", stage_words(newest.stage), newest.agent_id)
    }
}

/// A stage as the beginning of a sentence that ends with an agent.
pub(crate) fn stage_words(stage: Stage) -> &'static str {
    match stage {
        Stage::Held => "held by",
        Stage::Claimed => "claimed by",
        Stage::Offered => "offered to",
        Stage::Taken => "taken by",
        Stage::Worked => "worked by",
        Stage::Settled => "settled by",
        Stage::SetAside => "set aside by",
        Stage::Ambiguous => "ambiguous at",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(seq: u64, agent: &str, stage: Stage) -> Delivery {
        Delivery { seq, agent_id: agent.to_owned(), stage, attempt: 1, reason: None, at: seq }
    }

    fn follower(stages: &[Delivery]) -> Follower {
        let mut follower = Follower::new(1, None);
        follower.stages.extend(stages.iter().map(|d| (d.agent_id.clone(), d.clone())));
        follower
    }

    #[test]
    fn a_plain_message_ends_with_the_first_agent_that_settled_it() {
        assert_eq!(follower(&[]).outcome(), None);
        assert_eq!(follower(&[delivery(1, "a", Stage::Worked)]).outcome(), None);
        let both = [delivery(1, "a", Stage::Settled), delivery(2, "b", Stage::SetAside)];
        assert_eq!(follower(&both).outcome(), Some(Outcome::Done(None)));
        let failed = follower(&[delivery(1, "a", Stage::SetAside)]).outcome();
        assert!(matches!(failed, Some(Outcome::Failed(why)) if why.contains('a')));
    }

    #[test]
    fn a_task_decides_for_its_message() {
        let mut task = Follower::new(1, Some(2));
        task.stages.insert("a".to_owned(), delivery(1, "a", Stage::Settled));
        task.status = Some(TaskStatus::Blocked);
        assert_eq!(task.outcome(), None);
        assert!(task.place().contains("blocked"));
        task.status = Some(TaskStatus::Done);
        assert_eq!(task.outcome(), Some(Outcome::Done(None)));
    }
}
