//! What is seen of a run from outside, kept by the loop as it goes: how the present state began, counters, and the
//! newest notes for whoever listens. Nothing is decided by it, and nothing of it outlives the run.

mod ring;
mod steps;

pub(crate) use ring::{Entry, Listening, Resume, Told, What};
pub(crate) use steps::Steps;

use crate::control::terminal::Terminal;
use relay_runner_core::event::ExitClass;
use relay_runner_core::time::Wall;
use relay_runner_core::{Glance, Note, Stamp};
use relay_runner_protocol::Stage;
use ring::Ring;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::oneshot;

/// What somebody wants to know of the run.
#[derive(Debug)]
pub(crate) enum Ask {
    Why(oneshot::Sender<Value>),
    Metrics(oneshot::Sender<String>),
    /// To be told of everything from now on, or from where a connection before was left. None: too many listen.
    Listen(Resume, oneshot::Sender<Option<Listening>>),
    /// None: the provider has no terminal.
    Terminal(oneshot::Sender<Option<Terminal>>),
}

/// The event with which something began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Began {
    /// Its record in the journal of this run; 0: before the first.
    pub(crate) event: u64,
    pub(crate) words: &'static str,
    pub(crate) at: Stamp,
}

/// Since when each part of a glance is what it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Since {
    pub(crate) status: Began,
    pub(crate) ready: Began,
    pub(crate) action: Began,
    pub(crate) lifecycle: Began,
    pub(crate) link: Began,
}

/// Counted since the run began.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// By the place of a stage in [`STAGES`].
    reached: [u64; STAGES.len()],
    pub(crate) exits: BTreeMap<&'static str, u64>,
    pub(crate) connection_attempts: u64,
    /// Connections on which the agent was registered.
    pub(crate) connections: u64,
    /// The newest attempt is not counted as a connection yet.
    attempted: bool,
    pub(crate) token_renewals: u64,
}

/// Every stage, in the order in which a message goes through them.
pub(crate) const STAGES: [Stage; 8] = [
    Stage::Held,
    Stage::Claimed,
    Stage::Offered,
    Stage::Taken,
    Stage::Worked,
    Stage::Settled,
    Stage::SetAside,
    Stage::Ambiguous,
];

#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) newest: Began,
    pub(crate) since: Since,
    pub(crate) counts: Counts,
    pub(crate) steps: Steps,
    glance: Glance,
    ring: Ring,
}

impl Observed {
    /// `run` tells this run from others of the agent.
    pub(crate) fn new(at: Stamp, glance: Glance, run: Wall) -> Self {
        let newest = Began { event: 0, words: "the runner was started", at };
        let since = Since { status: newest, ready: newest, action: newest, lifecycle: newest, link: newest };
        let (counts, steps, ring) = (Counts::default(), Steps::default(), Ring::new(run));
        Self { newest, since, counts, steps, glance, ring }
    }

    /// After each step: what it was for, how long it took, and what came of it.
    pub(crate) fn stepped(&mut self, at: Stamp, words: &'static str, took: Duration, glance: Glance, notes: &[Note]) {
        let event = self.newest.event + 1;
        self.newest = Began { event, words, at };
        self.steps.took(took);
        for note in notes {
            self.counts.note(note);
            self.ring.push(at.wall, event, What::Note(note.clone()));
        }
        if glance != self.glance {
            self.changed(glance);
        }
    }

    fn changed(&mut self, now: Glance) {
        let (before, began) = (std::mem::replace(&mut self.glance, now), self.newest);
        let begins = |changed: bool, since: &mut Began| {
            if changed {
                *since = began;
            }
        };
        begins(before.status != now.status, &mut self.since.status);
        begins(before.ready != now.ready, &mut self.since.ready);
        begins(before.lifecycle_action != now.lifecycle_action, &mut self.since.action);
        begins(before.lifecycle != now.lifecycle, &mut self.since.lifecycle);
        begins(before.link != now.link, &mut self.since.link);
        self.ring.push(began.at.wall, began.event, What::Change { before, now });
    }

    pub(crate) fn listen(&mut self, resume: &Resume) -> Option<Listening> {
        self.ring.listen(resume)
    }

    pub(crate) fn listeners(&self) -> usize {
        self.ring.listeners()
    }

    /// Whoever listens is told that it is over.
    pub(crate) fn end(&mut self) {
        self.ring.end();
    }
}

impl Counts {
    fn note(&mut self, note: &Note) {
        match note {
            Note::Stage { stage, .. } => {
                if let Some(reached) = self.reached.get_mut(place(*stage)) {
                    *reached += 1;
                }
            }
            Note::Exited { class, .. } => *self.exits.entry(class_name(*class)).or_default() += 1,
            Note::Connecting { .. } => {
                self.connection_attempts += 1;
                self.attempted = true;
            }
            // The same connection may register again.
            Note::Registered { .. } => self.connections += u64::from(std::mem::take(&mut self.attempted)),
            Note::CredentialRenewed { .. } => self.token_renewals += 1,
            _ => {}
        }
    }

    /// How often a message reached this stage.
    pub(crate) fn reached(&self, stage: Stage) -> u64 {
        self.reached.get(place(stage)).copied().unwrap_or_default()
    }
}

fn place(stage: Stage) -> usize {
    STAGES.iter().position(|known| *known == stage).unwrap_or(STAGES.len())
}

const fn class_name(class: ExitClass) -> &'static str {
    match class {
        ExitClass::Clean => "clean",
        ExitClass::Crash => "crash",
        ExitClass::Signal => "signal",
        ExitClass::Hang => "hang",
        ExitClass::StartTimeout => "start timeout",
        ExitClass::SpawnFailed => "spawn failed",
        ExitClass::Refused => "refused",
        ExitClass::UsageLimit { .. } => "usage limit",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_runner_protocol::AgentStatus;

    fn glance(status: AgentStatus, ready: bool) -> Glance {
        Glance { status, ready, lifecycle_action: None, lifecycle: "waiting", link: "up", approvals: 0, owed: 0 }
    }

    #[test]
    fn a_state_is_known_by_the_event_with_which_it_began() {
        let idle = glance(AgentStatus::Idle, true);
        let mut observed = Observed::new(Stamp::new(0, 100), idle, 100);
        let mut step = |wall, glance| observed.stepped(Stamp::new(wall - 100, wall), "w", Duration::ZERO, glance, &[]);
        step(101, idle);
        step(102, glance(AgentStatus::Busy, true));
        step(103, glance(AgentStatus::Busy, true));
        step(104, glance(AgentStatus::Busy, false));
        let Since { status, ready, lifecycle, .. } = observed.since;
        assert_eq!((status.event, ready.event, lifecycle.event, observed.newest.event), (2, 4, 0, 4));
        assert_eq!(status.at.wall, 102);
    }

    #[test]
    fn a_connection_that_registers_twice_is_one() {
        let mut counts = Counts::default();
        for note in [
            Note::Connecting { conn: 1 },
            Note::Connecting { conn: 2 },
            Note::Registered { epoch: 1 },
            Note::Registered { epoch: 2 },
            Note::Connecting { conn: 3 },
            Note::Registered { epoch: 2 },
            Note::Stage { message: 1, stage: Stage::Taken, attempt: 1 },
            Note::Stage { message: 2, stage: Stage::Taken, attempt: 1 },
        ] {
            counts.note(&note);
        }
        assert_eq!((counts.connection_attempts, counts.connections), (3, 2));
        assert_eq!((counts.reached(Stage::Taken), counts.reached(Stage::Worked)), (2, 0));
    }
}
