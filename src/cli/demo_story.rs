//! The demonstration's story as it is seen: from the relay's books and the runner's state, printed as it happens.

use super::ago::seconds;
use super::books::Books;
use super::failure::Failure;
use super::follow::{Follower, News};
use super::send::Sent;
use super::{say, span};
use relay_runner_protocol::{Stage, TaskStatus};
use relay_runner_shell::Handle;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, interval};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// What is told, to whom and since when.
#[derive(Debug)]
pub(crate) struct Story<'a> {
    began: Instant,
    json: bool,
    pub(crate) books: &'a Books,
    handle: &'a Handle,
    followed: Vec<(Sent, Follower)>,
    /// The runner's state at the last look.
    pub(crate) state: Value,
    /// Processes of the agent, in the order of their starts.
    pub(crate) pids: Vec<u64>,
    /// Messages that the runner has marked as delivered again.
    pub(crate) marked: BTreeSet<u64>,
    deadline: Instant,
}

impl<'a> Story<'a> {
    /// Begins now, and may take so long in all.
    pub(crate) fn begin(books: &'a Books, handle: &'a Handle, began: Instant, limit: Duration, json: bool) -> Self {
        Self {
            began,
            json,
            books,
            handle,
            followed: Vec::new(),
            state: Value::Null,
            pids: Vec::new(),
            marked: BTreeSet::new(),
            deadline: began + limit,
        }
    }

    pub(crate) fn follow(&mut self, sent: Sent) {
        self.followed.push((sent, Follower::new(sent.message, sent.task)));
    }

    pub(crate) fn tell(&self, who: &str, what: &str) -> Result<(), Failure> {
        tell(self.began, self.json, who, what)
    }

    /// Looks until the condition holds, telling what is new on the way.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let mut looks = interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            self.look().await?;
            if holds(self) {
                return Ok(());
            }
            if Instant::now() >= self.deadline {
                return Err(Failure::failed(
                    "demo_stuck",
                    format!("the demonstration waited for this in vain: {what}"),
                ));
            }
        }
    }

    async fn look(&mut self) -> Result<(), Failure> {
        let Some(state) = self.handle.state().await else {
            return Err(Failure::failed("demo_runner_ended", "the runner ended before the demonstration was over"));
        };
        let state: Value = serde_json::from_str(&state)
            .map_err(|e| Failure::failed("demo_state", format!("the runner's state cannot be read: {e}")))?;
        self.see_process(&state)?;
        self.see_marks(&state);
        self.state = state;
        for n in 0..self.followed.len() {
            let (sent, follower) = &mut self.followed[n];
            let sent = *sent;
            for news in follower.look(self.books).await? {
                self.tell_news(sent, &news)?;
            }
        }
        Ok(())
    }

    fn see_process(&mut self, state: &Value) -> Result<(), Failure> {
        let before = self.state["process"]["state"].as_str();
        let now = state["process"]["state"].as_str();
        if before != now && now == Some("cooling") {
            self.tell("runner", "sees that the agent is gone, and waits a moment before it starts it again")?;
        }
        if let Some(pid) = state["process"]["process"]["pid"].as_u64()
            && !self.pids.contains(&pid)
        {
            self.pids.push(pid);
            let which = if self.pids.len() == 1 { "" } else { " again" };
            self.tell("agent", &format!("is started{which}, as process {pid}"))?;
        }
        Ok(())
    }

    fn see_marks(&mut self, state: &Value) {
        let messages = state["messages"].as_array().into_iter().flatten();
        self.marked.extend(messages.filter(|m| m["repeat"] == "Redelivered").filter_map(|m| m["id"].as_u64()));
    }

    fn tell_news(&self, sent: Sent, news: &News) -> Result<(), Failure> {
        let what = match sent.task {
            Some(task) => format!("task {task}"),
            None => format!("message {}", sent.message),
        };
        match news {
            News::Stage(d) => match (d.stage, sent.task.is_some(), d.attempt) {
                (Stage::Claimed, true, _) => self.tell("runner", &format!("has claimed {what} on the relay")),
                (Stage::Taken, _, 1) => self.tell("agent", &format!("has taken {what} and works on it")),
                (Stage::Taken, _, _) => {
                    self.tell("agent", &format!("has taken {what} for a second time, marked as delivered again"))
                }
                (Stage::Worked, _, _) => self.tell("agent", &format!("has finished {what}")),
                (Stage::Settled, false, _) => self.tell("relay", &format!("{what} is read and settled")),
                (Stage::SetAside | Stage::Ambiguous, _, _) => {
                    self.tell("runner", &format!("{what} is {}", d.stage.as_str()))
                }
                _ => Ok(()),
            },
            News::Task(task) if task.status == TaskStatus::InProgress => Ok(()),
            News::Task(task) => self.tell("relay", &format!("{what} is {}", task.status.as_str())),
        }
    }

    /// Whether everything that was sent has come to its end.
    pub(crate) fn is_over(&self) -> bool {
        self.followed.iter().all(|(_, follower)| follower.outcome().is_some() && follower.is_settled())
    }

    /// The agent's process, while a turn runs in which it has this message.
    pub(crate) fn working_on(&self, message: u64) -> Option<u64> {
        let taken = self.state["messages"].as_array()?.iter().any(|m| m["id"] == message && m["stage"] == "taken");
        if !taken || self.state["turn"].is_null() {
            return None;
        }
        self.state["process"]["process"]["pid"].as_u64()
    }
}

/// A line of the story.
pub(crate) fn tell(began: Instant, json: bool, who: &str, what: &str) -> Result<(), Failure> {
    let at = span::millis(began.elapsed());
    if json {
        return say::json(&serde_json::json!({"at": at, "who": who, "what": what}));
    }
    say::line(format_args!("{:>6} s  {who:<7} {what}", seconds(at)))
}
