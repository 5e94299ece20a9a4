//! Everything is mended, and the world comes to rest: then the relay's view must equal the runner's, and nothing may be
//! lost (invariants 3, 6, 8).

use relay_runner_core::view::{MessageView, View};
use relay_runner_core::{ExitCode, MessageId};
use relay_runner_protocol::{Stage, TaskStatus};

use super::{SILENCE, World};
use crate::plan::{Report, What};
use crate::process::Does;
use crate::relay::Mail;
use crate::watch::{Watch, Watched, wrong};

impl World<'_> {
    /// From now on nothing goes wrong any more, and what was broken is mended.
    pub(super) fn calms_down(&mut self) {
        self.calm = true;
        self.effects_before_calm = self.effects;
        self.telling.calms_down(self.now);
        self.network.is_mended();
        self.coming = super::provider::Coming::default();
        self.relay.tokens.refuses = false;
        self.relay.rivals_leave();
        if self.is_silent()
            || self.plan.setup.mark_read == relay_runner_core::config::MarkRead::Taken
            || !self.plan.kills.is_empty()
        {
            self.end += SILENCE;
        }
        for who in 0..self.runners.len() {
            self.calms_a_runner(who);
        }
        // A credential that was refused is tried again after five minutes.
        let refused = |what: &What| {
            matches!(
                what,
                What::Calls { fate: crate::plan::Fate::Unauthorized, .. } | What::Refuses { .. } | What::Revokes { .. }
            )
        };
        if self.plan.steps.iter().any(|step| refused(&step.what)) {
            self.end += 300_000;
        }
        // An operation of the provider may take its time.
        if self.plan.steps.iter().any(|step| matches!(step.what, What::Acts { hang: true, .. })) {
            self.end += 300_000;
        }
        // Who is still to be started needs the same time from then on.
        let back = self.runners.iter().map(|runner| runner.back).max().unwrap_or(0);
        self.end += back.saturating_sub(self.now);
        // What may not be asked again for a while, and what waits for a usage limit.
        let backoff = self.plan.steps.iter().map(|step| match step.what {
            What::RelayBusy { retry, .. } => retry.min(300_000),
            _ => 0,
        });
        self.end += backoff.max().unwrap_or(0);
    }

    fn calms_a_runner(&mut self, who: usize) {
        let now = self.now;
        let runner = &mut self.runners[who];
        runner.kill = None;
        runner.clock.jitters(0);
        runner.clock.is_woken(now);
        runner.clock.drifts(now, 0);
        self.wakes(who);
        self.wakes_at_another_time(who);
        if self.plan.setup.token > 0 {
            self.hands_in(who, 86_400);
        }
        self.is_answered_there(who);
        let Some(process) = self.runners[who].process.as_mut().filter(|process| process.alive) else { return };
        process.ignores = None;
        process.exit_late = 0;
        process.will_ask = None;
        process.asking = None;
        process.turnless = false;
        let uid = process.uid;
        let (up, told, waits) = (process.up, process.told, process.had.iter().any(|had| had.turn.is_none()));
        let running = process.running;
        let prompted = process.prompted;
        let does = |does| super::Due::Does { who, uid, does };
        if told.is_some() {
            self.agenda.put(now + 1_000, does(Does::Exits));
        } else if !up {
            self.agenda.put(now + 1_000, does(Does::ComesUp));
        }
        if let Some(turn) = running {
            self.agenda.put(now + 2_000, does(Does::Ends(turn)));
        }
        self.agenda.put(now + 2_500, does(Does::Takes));
        if running.is_none() && (waits || prompted) {
            self.begins_soon(who);
        }
    }

    /// What must hold when nothing is under way.
    pub(super) fn rests(&mut self) -> Result<(), crate::watch::Broken> {
        for who in 0..self.runners.len() {
            if let Err((invariant, words)) = self.runner_rests(who) {
                return Err(crate::watch::Broken { invariant, words, at: self.now, step: self.steps, who });
            }
        }
        Ok(())
    }

    fn runner_rests(&self, who: usize) -> Watched {
        let runner = &self.runners[who];
        let Some(core) = &runner.core else {
            return match runner.ended {
                // Left for the next start, or being started.
                None | Some(ExitCode::Temporary) => Ok(()),
                Some(_) if runner.process.as_ref().is_some_and(|process| process.alive) => {
                    wrong(1, "its process outlived the run")
                }
                Some(_) => Ok(()),
            };
        };
        Watch::sweeps(core)?;
        let view = core.view();
        let cools = view.process.state == "cooling" && runner.watch.waits_for_a_limit();
        if cools {
            // A usage limit is waited for.
            return Ok(());
        }
        let parked = view.process.parked.is_some() && view.process.state == "parked";
        runner.watch.rests(parked, self.plan.setup.adapter.restartable)?;
        if view.ending.is_some() {
            return wrong(13, format!("its end ({}) never comes", view.ending_phase));
        }
        self.is_shown(who, &view, parked)?;
        if self.is_refused_for_good() {
            // What the relay refuses for good is given up, whatever it would have been.
            return Ok(());
        }
        self.commands_have_outcomes(who, &view)?;
        let all = self.relay.mail.iter().filter(|(_, mail)| mail.meant & (1 << runner.agent) != 0);
        // A word about its label that was lost is not said again as long as the connection holds.
        let relabelled = self.plan.steps.iter().any(|step| matches!(step.what, What::Relabels { .. }))
            && self
                .plan
                .steps
                .iter()
                .any(|step| matches!(step.what, What::Frames { .. } | What::ForgetsEvents | What::Cut { .. }));
        for (id, mail) in all.filter(|(_, mail)| !(relabelled && &*mail.message.to == "label:dev")) {
            self.message_rests(who, &view, *id, mail, parked)?;
        }
        Ok(())
    }

    fn is_refused_for_good(&self) -> bool {
        use crate::plan::Fate;
        self.plan.steps.iter().any(|step| {
            matches!(
                step.what,
                What::Calls { fate: Fate::NotFound | Fate::Conflict | Fate::Expired | Fate::Invalid, .. }
            )
        })
    }

    /// The relay shows what the runner is.
    fn is_shown(&self, who: usize, view: &View<'_>, parked: bool) -> Watched {
        let runner = &self.runners[who];
        let agent = &self.relay.agents[runner.agent];
        if agent.instance != Some(runner.instance) || agent.gone {
            return wrong(8, format!("it is {} on the relay", if agent.gone { "gone" } else { "another" }));
        }
        if (agent.status, agent.ready) != (view.status, view.ready) {
            return wrong(
                8,
                format!(
                    "the relay shows {} {}, not {} {}",
                    agent.status.as_str(),
                    agent.ready,
                    view.status.as_str(),
                    view.ready
                ),
            );
        }
        if !view.ready && !parked {
            return wrong(13, format!("it rests as {}, neither ready nor parked", view.process.state));
        }
        if view.link.state != "up" {
            return wrong(13, format!("its link rests as {}", view.link.state));
        }
        if let Some(wire) = &runner.wire
            && wire.conn.token != runner.token
        {
            return wrong(8, "its connection was opened with another token than the newest");
        }
        if view.credential.standing != "good" {
            return wrong(13, format!("its credential rests as {}", view.credential.standing));
        }
        match runner.watch.last_heartbeat() {
            Some(at) if self.now < at + 60_000 => Ok(()),
            last => wrong(8, format!("nothing was heard of it since {last:?}")),
        }
    }

    fn commands_have_outcomes(&self, who: usize, view: &View<'_>) -> Watched {
        let runner = &self.runners[who];
        for id in runner.watch.open_commands() {
            if view.commands.iter().any(|command| command.id == Some(id)) && self.now < self.plan.calm + 400_000 {
                // An operation of the provider may take its five minutes.
                continue;
            }
            return wrong(6, format!("command {id} has no outcome"));
        }
        for command in &self.relay.commands {
            // Every runner registers anew when its token is one that is renewed, and the relay then says again what was not
            // acknowledged.
            let says_again = self.plan.setup.token > 0 && command.target == runner.agent;
            if says_again && !command.foreign && !command.acked {
                return wrong(6, format!("command {} was never taken in", command.id));
            }
            let ours = !command.foreign && command.by == Some(runner.instance) && !runner.watch.is_excused(&command.id);
            let open = view.commands.iter().any(|open| open.id == Some(&command.id));
            if ours && command.status.is_none_or(|status| !status.is_final()) && !open {
                return wrong(6, format!("the relay has no outcome of command {}", command.id));
            }
            if command.foreign
                && command.status.is_some_and(relay_runner_protocol::CommandStatus::is_final)
                && command.outcome.is_some()
            {
                return wrong(6, format!("command {} was for another, and has an outcome", command.id));
            }
        }
        Ok(())
    }

    fn message_rests(&self, who: usize, view: &View<'_>, id: MessageId, mail: &Mail, parked: bool) -> Watched {
        let runner = &self.runners[who];
        let bit = 1 << runner.agent;
        let stage = view.messages.iter().find(|message| message.id == id).map(|message| message.stage);
        let given_up = view.set_aside.iter().any(|aside| aside.id == id);
        let time = self.relay.time(self.now);
        let held = self.relay.held_by(id, runner.agent, time);
        let of_another = mail.claim.as_ref().is_some_and(|claim| claim.held && claim.until > time && held.is_none());
        let gone = mail.read & bit != 0 || mail.finished || mail.deleted || of_another;
        let full = view.messages.len() >= self.plan.setup.held.div_ceil(2);
        let rests = match stage {
            // A person is to say.
            Some(Stage::Ambiguous) => !runner.watch.is_missed(id),
            Some(Stage::Held | Stage::Claimed) => {
                let turn = view.turn.is_some() && !(self.is_silent() && self.is_quiet(who));
                !view.ready || turn || (!gone && self.may_wait(view, id)) || self.is_young(mail)
            }
            Some(Stage::Offered | Stage::Taken) => self.is_young(mail) || view.turn.is_some() || !self.is_quiet(who),
            // What is left of its task may not have room yet.
            Some(Stage::Worked) if full && mail.message.task.is_some() => true,
            Some(Stage::Worked) => !view.ready || rest_of_task_waits(view, id, mail) || self.is_young(mail),
            Some(_) => false,
            None => gone || given_up || !view.ready || full || parked,
        };
        if !rests {
            return wrong(3, format!("message {id} rests as {stage:?}: {}", words(mail)));
        }
        let known = view.claims.iter().find(|claim| claim.message == id).and_then(|claim| claim.fence);
        let status = mail.message.task.and_then(|task| self.relay.tasks.get(&task)).map(|task| task.status);
        if view.ready && !gone && !given_up && !self.is_young(mail) {
            if status == Some(TaskStatus::InProgress) && held.is_some() && stage.is_none() {
                return wrong(3, format!("the task of message {id} is in progress, and nobody is at it"));
            }
            if let Some(claim) = held
                && known != Some(claim.fence)
                && stage.is_none()
            {
                return wrong(8, format!("message {id} is claimed under {}, and known under {known:?}", claim.fence));
            }
        }
        Ok(())
    }

    /// A message that came a moment ago, as when a lease has ended just now.
    fn is_young(&self, mail: &Mail) -> bool {
        self.relay.time(self.now) < mail.since + 60_000
    }

    /// A turn whose end was never told is believed for as long as it may be silent: that is waited for.
    fn is_silent(&self) -> bool {
        self.plan.steps.iter().any(|step| match &step.what {
            What::Loses { report, .. } => *report != Report::Exit,
            What::Turns { how, .. } => *how == crate::plan::Turn::Never,
            _ => false,
        })
    }

    fn is_quiet(&self, who: usize) -> bool {
        self.runners[who].process.as_ref().is_none_or(crate::process::Process::is_at_rest)
    }

    /// The claims are all in use by what is ambiguous or waits for a person.
    fn may_wait(&self, view: &View<'_>, id: MessageId) -> bool {
        let claims = view.claims.iter().filter(|claim| claim.message != id).count();
        let claimable = self.relay.mail.get(&id).is_some_and(|mail| mail.message.claimable);
        claimable && claims >= self.plan.setup.claims
    }
}

fn words(mail: &Mail) -> String {
    format!(
        "to {}{}, read {:b}, finished {}, deleted {}, stage {:?}, claim {:?}",
        mail.message.to,
        if mail.message.claimable { ", to claim" } else { "" },
        mail.read,
        mail.finished,
        mail.deleted,
        mail.stage.map(Stage::as_str),
        mail.claim
    )
}

fn rest_of_task_waits(view: &View<'_>, id: MessageId, mail: &Mail) -> bool {
    let waits = |other: &MessageView| other.id != id && other.task == mail.message.task && other.stage != Stage::Worked;
    mail.message.task.is_some() && view.messages.iter().any(waits)
}
