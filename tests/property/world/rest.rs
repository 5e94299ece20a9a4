//! The world coming to rest: everything is answered, the provider does what it was given, and then the relay's view
//! must equal the runner's.

use relay_runner_core::event::ExitClass;
use relay_runner_core::view::MessageView;
use relay_runner_core::{MessageId, View};
use relay_runner_protocol::{Stage, TaskStatus};

use super::relay::Mail;
use super::{Command, Move, World};

/// Convergence is promised within this much time after the last trouble (invariant 8).
const CALM: u64 = 180_000;

impl World {
    /// What a world without trouble does next; none when only time is left.
    fn next_calm_move(&self) -> Option<Move> {
        if !self.open.is_empty() {
            return Some(Move::Answer(0));
        }
        let process = self.process.as_ref()?;
        if process.told.is_some() {
            Some(Move::Exits(ExitClass::Clean))
        } else if !process.up || !process.heard {
            Some(Move::ComesUp)
        } else if process.busy {
            Some(Move::Idle)
        } else if !process.handed.is_empty() {
            Some(Move::Takes)
        } else if !process.waiting.is_empty() {
            Some(Move::Busy)
        } else {
            None
        }
    }

    /// Lets everything come to its end, without any further trouble.
    pub(crate) fn calms_down(&mut self) -> Result<(), String> {
        self.routine = super::Routine { link: true, small: true };
        let end = self.now.mono + CALM;
        for _ in 0..20_000 {
            if let Some(broken) = &self.broken {
                return Err(broken.clone());
            }
            match self.next_calm_move() {
                Some(calm) => {
                    self.make(calm);
                }
                None if self.is_over() || self.now.mono >= end => return Ok(()),
                None => {
                    let next = self.core.next_deadline().map_or(end, |(at, _)| at.min(end));
                    self.goes_to(next);
                }
            }
        }
        Err("invariant 13: it never comes to rest".into())
    }

    /// What must hold when nothing is under way (invariants 3, 6, 8, 13).
    pub(crate) fn rests(&self) -> Result<(), String> {
        self.commands_have_outcomes()?;
        let view = self.core.view();
        if view.over {
            return self.nothing_is_kept();
        }
        if self.relay.shown.is_none_or(|(_, status, ready)| (status, ready) != (view.status, view.ready)) {
            return Err(format!("the relay shows {:?}, not {:?} {}", self.relay.shown, view.status, view.ready));
        }
        if !view.ready && view.lifecycle_action != Some("parked") {
            return Err(format!(
                "it rests as {} {:?}, neither ready nor parked",
                view.process.state, view.lifecycle_action
            ));
        }
        self.relay.mail.iter().try_for_each(|(id, mail)| self.message_rests(&view, *id, mail))
    }

    fn message_rests(&self, view: &View<'_>, id: MessageId, mail: &Mail) -> Result<(), String> {
        let stage = view.messages.iter().find(|message| message.id == id).map(|message| message.stage.as_str());
        let given_up = view.set_aside.iter().any(|aside| aside.id == id);
        let gone = mail.read || mail.deleted || mail.held_by_rival();
        let rests = match stage {
            // The provider has it, or may have it, and a person is to say.
            Some("ambiguous") => true,
            Some("held") => !view.ready || (!gone && self.may_wait(id)),
            // Its task is done once the rest of it is, which waits for a provider.
            Some("worked") => !view.ready && rest_of_task_waits(view, id, mail),
            Some(_) => false,
            None => gone || given_up || !view.ready,
        };
        if !rests {
            return Err(format!("invariant 3: message {id} rests as {stage:?}, and the relay has {mail:?}"));
        }
        let ours = mail.holder.and_then(|holder| holder.fence.filter(|_| holder.until > self.relay_time()));
        let known = view.claims.iter().find(|claim| claim.message == id).and_then(|claim| claim.fence);
        let status = mail.message.task.and_then(|task| self.relay.tasks.get(&task));
        if status == Some(&TaskStatus::InProgress) && !gone && ours.is_some() && stage.is_none() {
            return Err(format!("invariant 3: the task of message {id} is in progress, and nobody is at it"));
        }
        // The claim of what was worked or given up is left to lapse; so is one that was granted to who is parked, and
        // never heard of.
        if view.ready && !gone && !given_up && ours.is_some() && ours != known {
            return Err(format!("invariant 8: message {id} is claimed under {ours:?}, and known under {known:?}"));
        }
        Ok(())
    }

    /// The claims are all in use by what is ambiguous or waits for a person.
    fn may_wait(&self, id: MessageId) -> bool {
        let view = self.core.view();
        let claims = view.claims.iter().filter(|claim| claim.message != id).count();
        claims >= self.core.config().limits.claims
    }

    fn commands_have_outcomes(&self) -> Result<(), String> {
        let facts = self.core.facts();
        for (command, id) in &self.commands {
            let known = facts.commands.iter().any(|fact| *fact.id == **id && fact.outcome.is_some());
            let said = self.books.outcome(id).is_some() || (self.is_over() && self.cut_short);
            let accepted = self.relay.outcomes.contains_key(id) || self.is_over();
            let ours = *command != Command::Foreign && self.accepted.contains(id);
            if ours && !(known && said && accepted) {
                return Err(format!("invariant 6: {command:?} {id} has no outcome ({known} {said} {accepted})"));
            }
            if *command == Command::Foreign && (known || self.relay.outcomes.contains_key(id)) {
                return Err(format!("invariant 6: {id} was for another, and has an outcome"));
            }
        }
        Ok(())
    }

    /// After the end: no process, nothing held, nothing shown.
    fn nothing_is_kept(&self) -> Result<(), String> {
        if let Some(process) = &self.process {
            return Err(format!("invariant 1: {} outlived the run", process.generation));
        }
        let stays = matches!(self.core.view().ending, Some("step aside" | "gave up"));
        if !self.relay.deleted && !stays && !self.cut_short {
            return Err("the agent is still shown".into());
        }
        Ok(())
    }
}

fn rest_of_task_waits(view: &View<'_>, id: MessageId, mail: &Mail) -> bool {
    let held = |other: &MessageView| other.id != id && other.task == mail.message.task && other.stage == Stage::Held;
    mail.message.task.is_some() && view.messages.iter().any(held)
}
