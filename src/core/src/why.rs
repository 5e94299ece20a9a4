//! Why the agent is as it is, in words: read off the state, for `/why`. Nothing depends on it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use relay_runner_protocol::AgentStatus;
use serde::Serialize;

use crate::Core;
use crate::status::Action;

/// The few things by which an agent is known: cheap to make after each step, and to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Glance {
    pub status: AgentStatus,
    pub ready: bool,
    /// `shutting-down`, `killing`, `restarting` or `parked`.
    pub lifecycle_action: Option<&'static str>,
    /// The state of the provider's process.
    pub lifecycle: &'static str,
    /// The state of the connection to the relay.
    pub link: &'static str,
    /// Questions of the provider that wait for a decision.
    pub approvals: usize,
    /// Replies that the agent owes.
    pub owed: usize,
}

/// The reasons for each of them; none of the lists is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    pub status: Vec<String>,
    pub ready: Vec<String>,
    pub lifecycle: Vec<String>,
    pub link: Vec<String>,
}

impl Core {
    pub fn glance(&self) -> Glance {
        Glance {
            status: self.agent_status(),
            ready: self.is_ready(),
            lifecycle_action: self.action().map(Action::as_str),
            lifecycle: self.lifecycle.name(),
            link: self.link.name(),
            approvals: self.approvals.open().count(),
            owed: self.owed.len(),
        }
    }

    pub fn why(&self) -> Why {
        Why {
            status: self.why_status(),
            ready: self.why_ready(),
            lifecycle: self.why_lifecycle(),
            link: self.why_link(),
        }
    }

    fn why_status(&self) -> Vec<String> {
        match self.agent_status() {
            AgentStatus::Busy => {
                let open: Vec<String> = self.work.reasons().map(|kind| format!("open work: {kind}")).collect();
                if open.is_empty() { alloc::vec!["open work that nothing confirms".to_string()] } else { open }
            }
            AgentStatus::Offline => alloc::vec![self.why_ending(), "no process of the provider lives".to_string()],
            AgentStatus::Idle | AgentStatus::Online => alloc::vec!["no work is open".to_string()],
        }
    }

    fn why_ready(&self) -> Vec<String> {
        let mut against = Vec::new();
        if !self.lifecycle.is_up() {
            against.push(format!("the provider is not up: {}", self.lifecycle.name()));
        }
        if self.link.epoch.is_none() {
            against.push(format!("the agent is not registered on the relay: the connection is {}", self.link.name()));
        }
        match self.action() {
            Some(Action::Restarting) => against.push("the provider is being restarted".to_string()),
            Some(Action::Parked) => against.push("the provider is parked".to_string()),
            Some(Action::ShuttingDown | Action::Killing) | None => {}
        }
        if self.ending.is_begun() {
            against.push(self.why_ending());
        }
        if against.is_empty() {
            against.push("the provider is up, the agent is registered, and nothing speaks against it".to_string());
        }
        against
    }

    fn why_lifecycle(&self) -> Vec<String> {
        let generation = self.lifecycle.generation();
        let mut why = Vec::new();
        match self.lifecycle.parked() {
            Some(parked) => why.push(format!("it is not started again by itself: {parked}")),
            None => why.push(format!("generation {}, {}", generation.0, self.lifecycle.name())),
        }
        if let Some(turn) = self.turns.current() {
            why.push(format!("turn {turn} runs"));
        }
        let exits = self.lifecycle.window().exits().len();
        if let Some(last) = self.status.last_exit() {
            why.push(format!("the process before ended: {last} (exits of late: {exits})"));
        }
        if self.lifecycle.is_being_stopped() {
            let purpose = if self.lifecycle.is_restarting() { "to be started again" } else { "for good" };
            why.push(format!("it is being stopped, {purpose}"));
        }
        why
    }

    fn why_link(&self) -> Vec<String> {
        let mut why = Vec::new();
        let registered = self.link.epoch.map(|epoch| format!(", registered as epoch {epoch}")).unwrap_or_default();
        why.push(format!("the connection is {}{registered}", self.link.name()));
        let (state, standing) = (self.credential.state(self.now), self.credential.standing_name());
        if !matches!(state, "none" | "valid") || standing != "good" {
            why.push(format!("the relay's token: {state}, {standing}"));
        }
        why
    }

    fn why_ending(&self) -> String {
        let why = self.ending.name().unwrap_or("not asked for");
        let detail = self.ending.why().and_then(|why| why.detail()).map(|text| format!(": {text}"));
        format!("the run ends ({why}{}), and is {}", detail.unwrap_or_default(), self.ending.phase_name())
    }
}
