//! Carrying out what a core asks for, as its shell would.

use relay_runner_core::event::{Event, FailureKind, LinkReport, OpResult, Order};
use relay_runner_core::{Act, Answer, Effect, Frame, OpId, RequestId};

use super::{Due, Job, World};
use crate::plan::Offering;
use crate::process::Does;
use crate::relay::Up;

impl World<'_> {
    pub(super) fn carry_out(&mut self, who: usize, effect: Effect) {
        match effect {
            Effect::StartControl { op } => match self.coming.control.take() {
                Some(true) => {}
                Some(false) => self.fails(who, op, 1, FailureKind::Io),
                None => self.done(who, op, 1, OpResult::Ok),
            },
            Effect::WriteInfo { op } => self.done(who, op, 1, OpResult::Ok),
            Effect::Connect { conn } => self.connects(who, conn),
            Effect::Disconnect { conn } => {
                if self.runners[who].wire.as_ref().is_some_and(|wire| wire.conn.number == conn) {
                    self.hangs_up(who);
                }
            }
            Effect::Send { conn, frame } => {
                let up = match frame {
                    Frame::Register => Up::Register,
                    Frame::Heartbeat { .. } => Up::Heartbeat,
                    Frame::Status { seq, status, ready } => Up::Status { seq, status, ready },
                    Frame::Ack { frame } => Up::Ack { frame },
                    Frame::Resume { since } => Up::Resume { since },
                };
                self.says(who, conn, up);
            }
            Effect::ReadSettings { op } => {
                let core = self.runners[who].core.as_ref();
                let settings = core.map(|core| relay_runner_core::config::Settings::of(core.config()));
                match settings {
                    Some(settings) => self.done(who, op, 1, OpResult::Settings(Box::new(settings))),
                    None => self.fails(who, op, 1, FailureKind::Unsupported),
                }
            }
            Effect::UseToken { slot } => self.runners[who].token = Some(slot.0),
            Effect::Http { op, key, epoch, deadline, call } => {
                let runner = &self.runners[who];
                let deadline = self.now + deadline;
                let (agent, instance) = (runner.agent, runner.instance);
                self.calls(who, Job { op, key, epoch, call, token: None, deadline, agent, instance });
            }
            Effect::FetchAttachments { op, .. } => {
                let after = 1 + self.draw(2_000);
                self.done(who, op, after, OpResult::Ok);
            }
            Effect::Spawn { op, generation, resume } => self.spawns(who, op, generation, resume),
            Effect::Adopt { op, generation, offers, .. } => self.adopts(who, op, generation, &offers),
            Effect::Provider { op, generation, act } => self.acts(who, op, generation, act),
            Effect::Stop { generation, step } => self.stops(who, generation, step),
            Effect::Answer { request, answer } => self.answered(who, request, &answer),
            Effect::Finish { code } => self.finishes(who, code),
        }
    }

    /// Somebody at the control server has an answer.
    fn answered(&mut self, who: usize, request: RequestId, answer: &Answer) {
        let Some(question) = self.asked.remove(&(who, request)) else { return };
        if matches!(answer, Answer::Permission { .. } | Answer::Stale)
            && let Some(process) = &mut self.runners[who].process
            && process.asking.as_ref().is_some_and(|(id, hook)| *id == question && *hook)
        {
            process.asking = None;
            self.goes_on(who);
        }
    }

    /// A question to the control server that waits for its answer.
    pub(super) fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    pub(super) fn orders(&mut self, who: usize, after: u64, order: Order) {
        let life = self.runners[who].life;
        self.agenda.put(self.now + after, Due::Order { who, life, order });
    }

    /// Something for the adapter of the living process.
    fn acts(&mut self, who: usize, op: OpId, generation: relay_runner_core::Generation, act: Act) {
        let Some(process) = self.runners[who].process.as_mut().filter(|p| p.generation == generation && p.alive) else {
            // It is over, and the core does not know yet.
            return self.fails(who, op, 1, FailureKind::NotReady);
        };
        if !process.up {
            return self.fails(who, op, 1, FailureKind::NotReady);
        }
        let uid = process.uid;
        match act {
            Act::Offer { offers } => self.is_offered(who, op, uid, &offers),
            Act::Prompt => {
                process.prompted = true;
                self.done(who, op, 5, OpResult::Ok);
                self.begins_soon(who);
            }
            Act::Interrupt => {
                if process.running.is_some() {
                    // What was handed over while a decision is open goes with the turn.
                    let lost = if process.asking.is_some() { std::mem::take(&mut process.handed) } else { Vec::new() };
                    self.done(who, op, 5, OpResult::Ok);
                    let end = relay_runner_core::event::TurnEnd::Interrupted { by_person: false };
                    self.turn_ends(who, end);
                    if !lost.is_empty() {
                        let offers = lost.into_iter().map(|(offer, _)| offer).collect();
                        self.reports(who, relay_runner_core::ProviderReport::Missed { offers }, 10);
                    }
                } else {
                    self.fails(who, op, 5, FailureKind::Provider);
                }
            }
            Act::Probe => {
                let result = process.running.is_some();
                if result {
                    self.done(who, op, 5, OpResult::Ok);
                } else {
                    self.fails(who, op, 5, FailureKind::Provider);
                }
            }
            Act::Compact | Act::Clear | Act::Inject { .. } | Act::Tell { .. } => {
                let after = 5 + self.draw(3_000);
                match self.coming.act() {
                    Some(true) => {}
                    Some(false) => self.fails(who, op, after, FailureKind::Provider),
                    None => {
                        if act == Act::Clear
                            && let Some(process) = &mut self.runners[who].process
                        {
                            let another = process.begins_another_conversation();
                            self.says_of_itself(who, another, after);
                        }
                        self.done(who, op, after, OpResult::Ok);
                    }
                }
            }
            Act::Decide { approval, .. } => {
                let open = process.asking.as_ref().is_some_and(|(id, hook)| *id == approval && !*hook);
                if open {
                    process.asking = None;
                    self.done(who, op, 5, OpResult::Ok);
                    self.goes_on(who);
                } else {
                    self.fails(who, op, 5, FailureKind::NotFound);
                }
            }
        }
    }

    fn is_offered(&mut self, who: usize, op: OpId, uid: u64, offers: &[relay_runner_core::Offer]) {
        let poison = |offer: &relay_runner_core::Offer| {
            self.relay.mail.get(&offer.message).is_some_and(|mail| mail.poison && !self.calm)
        };
        if offers.iter().any(poison) {
            return self.fails(who, op, 5, FailureKind::Provider);
        }
        let how = self.coming.offer();
        // Whoever sees nothing of what the provider takes does not see what it missed either.
        let blind = !self.plan.setup.adapter.evidence;
        let how = how.filter(|how| !(blind && matches!(how, Offering::Missed | Offering::Silent)));
        let after = 1 + self.draw(20);
        let arrives =
            !matches!(how, Some(Offering::Fails | Offering::NotReady | Offering::HangsLost | Offering::Missed));
        let given = offers.iter().map(|offer| {
            let taken = relay_runner_core::event::TakenOffer { message: offer.message, nonce: Some(offer.nonce) };
            (taken, offer.repeat)
        });
        let given: Vec<_> = given.collect();
        if arrives && let Some(process) = &mut self.runners[who].process {
            process.silent = how == Some(Offering::Silent);
            process.handed.extend(given.iter().copied());
            // Without evidence, handed over is all there is to know: it is the process's own at once.
            let evidence = if self.plan.setup.adapter.evidence { 1 + self.draw(200) } else { 0 };
            self.agenda.put(self.now + after + evidence, Due::Does { who, uid, does: Does::Takes });
        }
        match how {
            Some(Offering::Fails) => self.fails(who, op, after, FailureKind::Provider),
            Some(Offering::NotReady) => self.fails(who, op, after, FailureKind::NotReady),
            Some(Offering::Broken) => self.fails(who, op, after, FailureKind::Unreachable),
            Some(Offering::Hangs | Offering::HangsLost) => {}
            Some(Offering::Missed) => {
                self.done(who, op, after, OpResult::Ok);
                let offers = given.into_iter().map(|(offer, _)| offer).collect();
                self.reports(who, relay_runner_core::ProviderReport::Missed { offers }, after + 500);
            }
            Some(Offering::Silent) | None => self.done(who, op, after, OpResult::Ok),
        }
    }

    /// A report of a connection that nobody has any more.
    pub(super) fn old_frame(&mut self, who: usize) {
        let life = self.runners[who].life;
        let event = Event::Link(0, LinkReport::Closed("late".into()));
        self.agenda.put(self.now, Due::Event { who, life, event });
    }
}
