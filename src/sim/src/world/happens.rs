//! What a plan makes happen.

use std::sync::Arc;

use relay_runner_core::event::{self, ExitClass};
use relay_runner_core::event::{
    CommandOrder, ExitReport, OpResult, Order, Params, ProviderReport, StatusReport, TakenOffer, TimelineReport,
    TurnEnd,
};
use relay_runner_core::{BodyRef, Event, Generation, OpId, Text, TokenSlot};

use super::{Due, World};
use crate::plan::{Noise, Signal, To, Verb, What};
use crate::relay::{Command, message};

const fn name(verb: Verb) -> &'static str {
    match verb {
        Verb::Restart => "agent.restart",
        Verb::Reconnect => "agent.reconnect",
        Verb::Compact => "agent.compact",
        Verb::Clear => "agent.clearContext",
        Verb::Inject => "agent.injectContext",
        Verb::Shutdown => "agent.shutdown",
        Verb::Kill => "agent.kill",
        Verb::Dance | Verb::Foreign => "agent.dance",
    }
}

impl World<'_> {
    pub(super) fn happens(&mut self, what: &What) {
        if let Some(coverage) = &mut self.coverage {
            coverage.happened(what);
        }
        self.telling.happens(self.now, what);
        match *what {
            What::Message { to, claim, task, urgent, poison, attachments, count } => {
                for _ in 0..count.min(2_000) {
                    let id = self.relay.next_message();
                    let agent = &self.relay.agents[0].id;
                    let to: Arc<str> = match to {
                        To::Agent => agent.clone(),
                        To::Label => "label:dev".into(),
                        To::Everybody => "broadcast".into(),
                        To::Tag => "tag:rust".into(),
                        To::Nobody => "somebody".into(),
                    };
                    let task = task.map(|task| task + self.relay.number * 1_000);
                    let new = message(id, &to, claim, task, urgent, attachments);
                    self.relay.sends(new, poison, self.now);
                }
            }
            What::Command { name: verb, here, who } => self.command(verb, here, who),
            What::CommandAgain { nth } => {
                let count = self.relay.commands.len() as u64;
                if count > 0 {
                    self.relay.commands(usize::try_from(nth % count).unwrap_or(0));
                }
            }
            What::Decide { nth, approve, here } => self.decide(nth, approve, here),
            What::Signal { signal, who } => {
                let who = self.who(who);
                let signal = match signal {
                    Signal::Term => event::Signal::Term,
                    Signal::Quit => event::Signal::Quit,
                    Signal::Hup => event::Signal::Hup,
                    Signal::Usr2 => event::Signal::Usr2,
                };
                self.orders(who, 0, Order::Signal(signal));
            }
            What::Token { lives, who } => {
                let who = self.who(who);
                if self.plan.setup.token > 0 {
                    self.hands_in(who, lives);
                }
            }
            What::Start { fresh, who } => {
                let who = self.who(who);
                self.agenda.put(self.now, Due::Starts { who, fresh });
            }
            What::Rival => {
                if self.runners.len() < 4 {
                    self.adds_a_runner(0);
                }
            }
            What::Claims { nth } => {
                if let Some(id) = self.relay.nth_open(nth) {
                    self.relay.rival_claims(id, self.now);
                }
            }
            What::Releases { nth } => {
                if let Some(id) = self.relay.nth_open(nth) {
                    self.relay.rival_releases(id);
                }
            }
            What::Finishes { nth } => {
                if let Some(id) = self.relay.nth_open(nth) {
                    self.relay.rival_finishes(id, self.now);
                }
            }
            What::Deletes { nth } => {
                if let Some(id) = self.relay.nth_open(nth) {
                    self.relay.deletes(id);
                }
            }
            What::Cancels { nth } => {
                let task = self.relay.nth_open(nth).and_then(|id| self.relay.mail[&id].message.task);
                if let Some(task) = task {
                    self.relay.cancels(task);
                }
            }
            What::Relabels { who } => {
                let agent = self.runners[self.who(who)].agent;
                self.relay.relabels(agent);
            }
            What::RelayDown { millis } => {
                self.network.down_until = self.network.down_until.max(self.now + millis);
                for conn in self.relay.conns.clone() {
                    self.drops(conn, "the relay closed the connection");
                }
            }
            What::RelayBusy { millis, retry } => self.network.busy = (self.now + millis, retry),
            What::RelayErrs { millis } => self.network.errs_until = self.now + millis,
            What::Prunes => self.relay.prunes(),
            What::AnotherRelay => {
                for conn in self.relay.conns.clone() {
                    self.drops(conn, "the relay closed the connection");
                }
                self.relay.begins_anew();
            }
            What::ForgetsEvents => self.relay.forgets_events(),
            What::Revokes { who } => {
                if let Some(token) = self.runners[self.who(who)].token {
                    self.relay.tokens.revokes(token);
                    self.agenda.put(self.now, Due::TokenEnds);
                }
            }
            What::Refuses { millis } => {
                self.relay.tokens.refuses = true;
                self.network.refuses_until = self.now + millis;
                self.agenda.put(self.now, Due::TokenEnds);
                self.agenda.put(self.now + millis, Due::TokenEnds);
            }
            What::Breaks { who } => {
                if let Some(conn) = self.conn_of(self.who(who)) {
                    self.drops(conn, "reset");
                }
            }
            What::HalfOpen { who } => self.goes_silent(self.who(who), true),
            What::Cut { way, millis, who } => {
                let who = self.who(who);
                self.network.cuts(who, way, self.now + millis);
                if millis > 30_000 {
                    self.goes_silent(who, false);
                }
            }
            What::Slow { extra, millis } => self.network.slows(extra, self.now + millis),
            What::Calls { kind, fate, times } => self.network.meets(kind, fate, times),
            What::Frames { fate, times, who } => {
                let who = self.who(who);
                self.network.meets_frames(who, fate, times);
            }
            What::Dies { class, who } => {
                let who = self.who(who);
                let class = self.class(who, class);
                self.dies(who, class);
            }
            What::Starts { how, times } => self.coming.starts(how, times),
            What::Turns { how, times } => self.coming.turns(how, times),
            What::Offers { how, times } => self.coming.offers(how, times),
            What::Acts { hang, times } => self.coming.acts(hang, times),
            What::Loses { report, times } => self.coming.loses(report, times),
            What::Delays { report, millis, times } => self.coming.delays(report, millis, times),
            What::Asks { hook, who } => {
                let who = self.who(who);
                if let Some(process) = &mut self.runners[who].process {
                    process.will_ask = Some(hook);
                }
            }
            What::Answers { who } => self.is_answered_there(self.who(who)),
            What::Ignores { terminate, late, who } => {
                let who = self.who(who);
                if let Some(process) = &mut self.runners[who].process {
                    process.ignores = Some(terminate);
                    process.exit_late = late;
                }
            }
            What::Floods { count, who } => {
                let who = self.who(who);
                for _ in 0..count.min(5_000) {
                    self.reports(who, ProviderReport::SignOfLife, 0);
                }
            }
            What::Says { what, who } => self.noise(self.who(who), what),
            What::Killed { after, back, who } => {
                let who = self.who(who);
                self.runners[who].kill = Some((after, back));
            }
            What::PowerFails { kept, back, who } => self.loses_power(self.who(who), kept, back),
            What::DiskFull { who } => {
                let who = self.who(who);
                if self.runners[who].core.is_some() && !self.runners[who].disk.full {
                    self.runners[who].disk.full = true;
                    self.orders(who, 0, Order::JournalBroken { why: "no space left on device".into() });
                }
            }
            What::ControlFails { hang } => self.coming.control = Some(hang),
            What::ClockSet { by, who } => {
                let who = self.who(who);
                let now = self.now;
                self.runners[who].clock.is_set(now, by);
                // One that sleeps finds out when it wakes.
                let found = self.runners[who].clock.asleep_until().max(now);
                self.runners[who].watch.clock_is_set(found, by);
            }
            What::Drifts { ppm, who } => {
                let (who, now) = (self.who(who), self.now);
                self.runners[who].clock.drifts(now, ppm.clamp(-15_000, 15_000));
                self.wakes_at_another_time(who);
            }
            What::Jitters { most, who } => {
                let who = self.who(who);
                self.runners[who].clock.jitters(most);
            }
            What::Sleeps { millis, who } => {
                let (who, now) = (self.who(who), self.now);
                self.runners[who].clock.sleeps(now, millis);
                self.agenda.put(self.runners[who].clock.asleep_until(), Due::Wakes { who });
                let wakes = self.runners[who].clock.asleep_until();
                self.runners[who].watch.clock_jumps(wakes);
                self.wakes_at_another_time(who);
                self.goes_silent(who, false);
                if millis > 45_000
                    && let Some(wire) = &mut self.runners[who].wire
                {
                    wire.half_open = true;
                }
            }
        }
    }

    pub(super) fn wakes_at_another_time(&mut self, who: usize) {
        let runner = &mut self.runners[who];
        let next = runner.core.as_ref().and_then(|core| core.next_deadline());
        runner.wake = next.map_or(u64::MAX, |(mono, _)| runner.clock.when(mono).max(self.now));
    }

    pub(super) fn hands_in(&mut self, who: usize, lives: u64) {
        let time = self.relay.time(self.now);
        let token = self.relay.tokens.makes(lives.max(1), time);
        let record = self.relay.tokens.record(token);
        self.orders(who, 0, Order::Token { request: None, slot: TokenSlot(token), record });
    }

    fn command(&mut self, verb: Verb, here: bool, who: u64) {
        let who = self.who(who);
        let params =
            Params { content: (verb == Verb::Inject).then(|| BodyRef::of("remember this")), ..Params::default() };
        self.gives(who, name(verb).into(), params, here, verb == Verb::Foreign);
    }

    fn gives(&mut self, who: usize, name: Text, params: Params, here: bool, foreign: bool) {
        self.commands += 1;
        let id: Text = format!("c{}", self.commands).into();
        if here {
            let request = self.request();
            self.asked.insert((who, request), id.clone());
            let command = Box::new(CommandOrder { id, name, target: None, params });
            self.orders(who, 0, Order::Command { request, command });
            return;
        }
        let target = self.runners[who].agent;
        let command = Command {
            id,
            name,
            target,
            foreign,
            params,
            acked: false,
            by: None,
            status: None,
            outcome: None,
            sent: false,
        };
        self.relay.commands.push(command);
        self.relay.commands(self.relay.commands.len() - 1);
    }

    fn decide(&mut self, nth: u64, approve: bool, here: bool) {
        let asked: Option<(usize, Text)> = self
            .runners
            .iter()
            .enumerate()
            .find_map(|(who, runner)| Some((who, runner.process.as_ref()?.asking.as_ref()?.0.clone())));
        // The question that waits, or one of before, or one that never was.
        let (who, id) = match asked.filter(|_| nth.is_multiple_of(2)) {
            Some(asked) => asked,
            None => (0, format!("p{}", nth % (self.questions + 2)).into()),
        };
        let params = Params {
            approval: Some(id),
            decision: Some(if approve { "approve" } else { "deny" }.into()),
            ..Params::default()
        };
        self.gives(who, "agent.permissionDecision".into(), params, here, false);
    }

    fn noise(&mut self, who: usize, what: Noise) {
        let idle = |session: Text, pid: u32| {
            Box::new(StatusReport { session: Some(session), pid: Some(pid), ..StatusReport::default() })
        };
        let now = self.now;
        let life = self.runners[who].life;
        let before = self.runners[who].before.clone();
        let process = self.runners[who].process.as_ref().filter(|process| process.alive && process.heard);
        let living = process.map(|process| {
            (process.uid, process.session.clone(), process.pid(), process.running, process.generation.0)
        });
        match (what, before, living) {
            (Noise::LateHook, Some((_, session, pid, _)), _) => {
                // Not every hook knows its process; the session it always knows.
                let pid = Some(pid).filter(|_| self.draw(2) == 0);
                let request = self.request();
                self.orders(
                    who,
                    0,
                    Order::Report { request, report: Box::new(StatusReport { pid, ..*idle(session, 0) }) },
                );
            }
            (Noise::Nested, _, Some((_, session, pid, ..))) => {
                let request = self.request();
                self.orders(who, 0, Order::Report { request, report: idle(session, pid + 100_000) });
            }
            (Noise::LateExit, Some((.., generation)), living) if living.as_ref().is_none_or(|l| l.4 != generation) => {
                // One that begins anew counts from one: the exit would be that of a process to come.
                if !self.runners[who].watch.has_started(Generation(generation)) {
                    return;
                }
                let exit = ExitReport { class: ExitClass::Crash, detail: "late".into() };
                let event = Event::Provider(Generation(generation), ProviderReport::Exit(exit));
                self.agenda.put(now, Due::Event { who, life, event });
            }
            (Noise::SessionEnds, _, Some((_, session, pid, ..))) => {
                for status in ["session-end", "session-clear"] {
                    let timeline = TimelineReport { status: status.into(), id: None, timestamp: None };
                    let report = StatusReport { timeline: Some(timeline), ..*idle(session.clone(), pid) };
                    let request = self.request();
                    self.orders(who, 0, Order::Report { request, report: Box::new(report) });
                }
            }
            (Noise::Evidence, _, Some((uid, ..))) => {
                let message = 1 + self.draw(self.relay.next_message());
                let offers = vec![TakenOffer { message, nonce: Some(ids_nonce(self.draw(1 << 30))) }];
                let report = ProviderReport::Taken { offers, into_turn: false };
                self.agenda.put(now, Due::Report { who, life, uid, report });
            }
            (Noise::Babble, _, Some((uid, ..))) => {
                let report = ProviderReport::Malformed { reason: "made up".into() };
                self.agenda.put(now, Due::Report { who, life, uid, report });
            }
            (Noise::Alive, _, Some((uid, ..))) => {
                self.agenda.put(now, Due::Report { who, life, uid, report: ProviderReport::SignOfLife });
            }
            (Noise::OldAnswer, ..) => {
                let op = OpId(1 + self.draw(20));
                // An offer that hangs was not answered long ago: who says that it arrived would lie.
                if !self.runners[who].watch.is_offering(op) {
                    self.agenda.put(now, Due::Event { who, life, event: Event::Done(op, OpResult::Ok) });
                }
            }
            (Noise::OldFrame, ..) => self.old_frame(who),
            (Noise::IdleAgain, _, Some((_, _, _, None, _))) => {
                let process = self.runners[who].process.as_ref();
                let end = process.and_then(|process| process.turns.iter().rev().find_map(|turn| turn.end.clone()));
                self.reports(who, crate::process::idle(None, end.unwrap_or(TurnEnd::Normal)), 0);
            }
            _ => {}
        }
    }
}

fn ids_nonce(number: u64) -> relay_runner_core::ids::Nonce {
    relay_runner_core::ids::Nonce(u32::try_from(number).unwrap_or(0))
}
