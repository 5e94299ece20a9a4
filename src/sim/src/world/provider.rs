//! Provider processes: what they do by themselves, and how it shows.

use relay_runner_core::event::{
    ExitClass, ExitReport, FailureKind, OpResult, Order, PermissionAsk, ProcessRef, ProviderReport, ReportStatus,
    StatusReport, TurnEnd,
};
use relay_runner_core::{Event, Generation, Offer, OpId, StopStep, Text, ids};

use super::{Due, World};
use crate::clock::BEGIN;
use crate::plan::{Class, Offering, Report, Start, Turn};
use crate::process::{Does, Process, asks, busy, idle, turn_name};

/// What is still to happen to what comes next of each kind.
#[derive(Debug, Default)]
pub(super) struct Coming {
    starts: Vec<(Start, u64)>,
    turns: Vec<(Turn, u64)>,
    offers: Vec<(Offering, u64)>,
    acts: Vec<(bool, u64)>,
    loses: Vec<(Report, u64)>,
    delays: Vec<(Report, u64, u64)>,
    pub(super) control: Option<bool>,
}

fn next<T: Copy>(list: &mut Vec<(T, u64)>) -> Option<T> {
    let (what, times) = list.first_mut()?;
    let what = *what;
    *times = times.saturating_sub(1);
    if *times == 0 {
        list.remove(0);
    }
    Some(what)
}

impl Coming {
    pub(super) fn starts(&mut self, how: Start, times: u64) {
        self.starts.push((how, times));
    }

    pub(super) fn turns(&mut self, how: Turn, times: u64) {
        self.turns.push((how, times));
    }

    pub(super) fn offers(&mut self, how: Offering, times: u64) {
        self.offers.push((how, times));
    }

    pub(super) fn acts(&mut self, hang: bool, times: u64) {
        self.acts.push((hang, times));
    }

    pub(super) fn loses(&mut self, report: Report, times: u64) {
        self.loses.push((report, times));
    }

    pub(super) fn delays(&mut self, report: Report, millis: u64, times: u64) {
        self.delays.push((report, millis, times));
    }

    pub(super) fn offer(&mut self) -> Option<Offering> {
        next(&mut self.offers)
    }

    pub(super) fn act(&mut self) -> Option<bool> {
        next(&mut self.acts)
    }

    fn lost(&mut self, report: Report) -> bool {
        let Some(at) = self.loses.iter().position(|(of, _)| *of == report) else { return false };
        self.loses[at].1 = self.loses[at].1.saturating_sub(1);
        if self.loses[at].1 == 0 {
            self.loses.remove(at);
        }
        true
    }

    fn late(&mut self, report: Report) -> u64 {
        let Some(at) = self.delays.iter().position(|(of, ..)| *of == report) else { return 0 };
        let millis = self.delays[at].1;
        self.delays[at].2 = self.delays[at].2.saturating_sub(1);
        if self.delays[at].2 == 0 {
            self.delays.remove(at);
        }
        millis
    }
}

pub(super) fn reference(process: &Process) -> ProcessRef {
    ProcessRef { pid: process.pid(), started: process.uid, boot: "boot".into() }
}

impl World<'_> {
    pub(super) fn spawns(&mut self, who: usize, op: OpId, generation: Generation, resume: Option<Text>) {
        let how = next(&mut self.coming.starts);
        if how == Some(Start::Fails) {
            return self.fails(who, op, 5, FailureKind::Io);
        }
        self.uids += 1;
        let uid = self.uids;
        let runner = &mut self.runners[who];
        let Some(core) = &runner.core else { return };
        let session = ids::provider_session(core.run_id(), generation).into();
        if let Some(before) = runner.process.take() {
            runner.before = Some((before.uid, before.session.clone(), before.pid(), before.generation.0));
        }
        let process = Process::new(uid, generation, session, resume);
        let reference = reference(&process);
        runner.process = Some(process);
        let answered = 1 + self.draw(50);
        let does = |does: Does| Due::Does { who, uid, does };
        let up = match how {
            Some(Start::Slow) => 5_000 + self.draw(60_000),
            _ => 1 + self.draw(1_000),
        };
        match how {
            // Nobody hears of it until it is killed.
            Some(Start::Hangs) => return,
            Some(Start::Stillborn) => {
                self.agenda.put(self.now, does(Does::Exits));
                self.done(who, op, 3_000, OpResult::Spawned(reference));
                return;
            }
            Some(Start::Early) => {
                self.agenda.put(self.now, does(Does::Begins));
                self.done(who, op, 500, OpResult::Spawned(reference));
                self.agenda.put(self.now + 500 + up, does(Does::ComesUp));
                return;
            }
            _ => {}
        }
        self.done(who, op, answered, OpResult::Spawned(reference));
        match how {
            Some(Start::Never) => {}
            Some(Start::Short) => {
                self.agenda.put(self.now + answered + up, does(Does::ComesUp));
                let lives = self.draw(20_000);
                self.agenda.put(self.now + answered + up + lives, does(Does::Exits));
            }
            _ => self.agenda.put(self.now + answered + up, does(Does::ComesUp)),
        }
    }

    pub(super) fn adopts(&mut self, who: usize, op: OpId, generation: Generation, offers: &[Offer]) {
        let names = self.plan.setup.names_turns;
        let lives = |process: &&mut Process| process.generation == generation && process.alive;
        let Some(process) = self.runners[who].process.as_mut().filter(lives) else {
            return self.fails(who, op, 5, FailureKind::NotFound);
        };
        let (uid, reference) = (process.uid, reference(process));
        let says = process.is_taken_up(offers, names);
        process.said = self.now + 5;
        for had in &mut process.had {
            had.shown = true;
        }
        self.done(who, op, 5, OpResult::Spawned(reference));
        let life = self.runners[who].life;
        for report in says {
            self.agenda.put(self.now + 6, Due::Report { who, life, uid, report });
        }
        self.agenda.put(self.now + 7, Due::Does { who, uid, does: Does::Takes });
        self.goes_on(who);
    }

    pub(super) fn stops(&mut self, who: usize, generation: Generation, step: StopStep) {
        let Some(process) = self.runners[who].process.as_mut().filter(|p| p.generation == generation && p.alive) else {
            return;
        };
        process.told = process.told.max(Some(step));
        let uid = process.uid;
        let ends = match step {
            StopStep::Ask => process.ignores.is_none() && process.up,
            StopStep::Terminate => process.ignores != Some(true),
            StopStep::Kill => true,
        };
        if ends {
            let after = if step == StopStep::Kill { 1 } else { 1 + self.draw(1_500) };
            self.agenda.put(self.now + after, Due::Does { who, uid, does: Does::Exits });
        }
    }

    /// Something that a process does by itself.
    pub(super) fn does(&mut self, who: usize, uid: u64, does: Does) {
        let Some(process) = self.runners[who].process.as_mut().filter(|process| process.uid == uid && process.alive)
        else {
            return;
        };
        match does {
            Does::ComesUp => {
                if process.told.is_none_or(|told| told < StopStep::Kill) && !process.up {
                    process.up = true;
                    let conversation = process.names_its_conversation();
                    self.says_of_itself(who, conversation, 0);
                    self.reports(who, ProviderReport::Ready, 0);
                }
            }
            Does::Takes => self.takes(who),
            Does::Begins => self.begins(who),
            Does::Ends(turn) => {
                if process.running == Some(turn) {
                    if process.asking.is_some() {
                        // It waits for the answer; what follows it ends the turn.
                        return;
                    }
                    let will = process.turns[turn].will.clone();
                    self.turn_ends(who, will);
                }
            }
            Does::Lives(turn) => {
                if process.running == Some(turn) && process.heard {
                    let life = self.runners[who].life;
                    self.agenda.put(self.now, Due::Report { who, life, uid, report: ProviderReport::SignOfLife });
                }
            }
            Does::Exits => {
                let class = if process.told.is_some() { ExitClass::Signal } else { ExitClass::Crash };
                self.dies(who, class);
            }
            Does::Side { compaction, begins } => {
                if process.running.is_some() || !begins {
                    self.side(who, compaction, begins);
                }
            }
        }
    }

    /// It takes what it was handed, unless something keeps it from that.
    fn takes(&mut self, who: usize) {
        let adapter = self.plan.setup.adapter;
        let steer = adapter.steer || !adapter.evidence;
        let Some(process) = self.runners[who].process.as_mut() else { return };
        let busy = process.running.is_some();
        // In a turn it takes what it can be steered with; not while it waits for a decision.
        if process.handed.is_empty() || !process.up || (busy && (!steer || process.asking.is_some())) {
            return;
        }
        let offers = process.takes();
        let (silent, heard) = (process.silent, process.heard);
        process.silent = false;
        let runner = &mut self.runners[who];
        if let Some(process) = &runner.process
            && let Err((invariant, words)) = runner.watch.took(process, &offers, adapter.evidence)
        {
            self.breaks(who, invariant, words);
        }
        if self.plan.setup.adapter.evidence && !silent && heard {
            self.reports(who, ProviderReport::Taken { offers, into_turn: busy }, 0);
        }
        if !busy {
            self.begins_soon(who);
        }
    }

    pub(super) fn begins_soon(&mut self, who: usize) {
        let after = 1 + self.draw(800);
        let never = self.coming.turns.first().is_some_and(|(how, _)| *how == Turn::Never);
        let Some(process) = self.runners[who].process.as_mut() else { return };
        if process.running.is_some() || process.begins {
            return;
        }
        if never {
            // The turn that never comes, or only long after.
            next(&mut self.coming.turns);
            process.turnless = true;
            return;
        }
        process.begins = true;
        let uid = process.uid;
        self.agenda.put(self.now + after, Due::Does { who, uid, does: Does::Begins });
    }

    fn begins(&mut self, who: usize) {
        let how = next(&mut self.coming.turns);
        let most = self.plan.setup.turn.max(2);
        let most = if self.calm { most.min(3_000) } else { most };
        let length = match how {
            Some(Turn::Long) => most + self.draw(20 * 60_000),
            Some(Turn::Hangs) => u64::MAX,
            Some(Turn::Short) => 1,
            _ => 1 + self.draw(most),
        };
        let will = match how {
            Some(Turn::Fails) => TurnEnd::Failed { error: "the model's service is down".into() },
            Some(Turn::Interrupted) => TurnEnd::Interrupted { by_person: true },
            _ => TurnEnd::Normal,
        };
        self.turns += 1;
        let number = self.turns;
        let names = self.plan.setup.names_turns;
        let Some(process) = self.runners[who].process.as_mut().filter(|p| p.alive && p.running.is_none()) else {
            return;
        };
        let uid = process.uid;
        let turn = process.begins_a_turn(number, will);
        let asks = process.will_ask.take();
        let told = self.says_status(who, Report::Busy, busy(names.then(|| turn_name(number))));
        if let Some(process) = &mut self.runners[who].process {
            process.turns[turn].told = told;
        }
        if length < u64::MAX {
            self.agenda.put(self.now + length, Due::Does { who, uid, does: Does::Ends(turn) });
            // A working provider gives signs of life.
            let every = 4 * 60_000;
            for n in 1..=(length / every).min(20) {
                self.agenda.put(self.now + n * every, Due::Does { who, uid, does: Does::Lives(turn) });
            }
        }
        if how == Some(Turn::Busy) {
            for (at, compaction, begins) in [(1, false, true), (2, true, true), (3, true, false), (4, false, false)] {
                let at = self.now + length.min(60_000) * at / 5;
                self.agenda.put(at, Due::Does { who, uid, does: Does::Side { compaction, begins } });
            }
        }
        if let Some(hook) = asks {
            self.asks_for_a_decision(who, hook);
        }
    }

    fn asks_for_a_decision(&mut self, who: usize, hook: bool) {
        self.questions += 1;
        let id: Text = format!("p{}", self.questions).into();
        let Some(process) = self.runners[who].process.as_mut() else { return };
        let ProviderReport::ApprovalOpened(request) = asks(&id) else { return };
        process.asking = Some((id.clone(), hook));
        if let Some(turn) = process.running {
            process.turns[turn].asks = Some(id.clone());
        }
        if hook {
            let ask = PermissionAsk {
                approval: *request,
                session: Some(process.session.clone()),
                pid: Some(process.pid()),
                pids: Vec::new(),
            };
            let request = self.request();
            self.asked.insert((who, request), id);
            self.orders(who, 5, Order::Permission { request, ask: Box::new(ask) });
        } else {
            self.reports(who, ProviderReport::ApprovalOpened(request), 5);
        }
    }

    /// A question was answered, or nobody waits for its answer any more: the turn goes on, and ends in time.
    pub(super) fn goes_on(&mut self, who: usize) {
        let after = 50 + self.draw(5_000);
        let Some(process) = self.runners[who].process.as_ref().filter(|p| p.alive && p.asking.is_none()) else {
            return;
        };
        let uid = process.uid;
        if let Some(turn) = process.running
            && process.turns[turn].asks.is_some()
        {
            self.agenda.put(self.now + after, Due::Does { who, uid, does: Does::Ends(turn) });
            self.agenda.put(self.now + 10, Due::Does { who, uid, does: Does::Takes });
        }
    }

    /// A person answers in the provider's own terminal.
    pub(super) fn is_answered_there(&mut self, who: usize) {
        let Some(process) = self.runners[who].process.as_mut().filter(|process| process.alive) else { return };
        if let Some((id, _)) = process.asking.take() {
            self.reports(who, ProviderReport::ApprovalClosed { id }, 5);
            self.goes_on(who);
        }
    }

    pub(super) fn turn_ends(&mut self, who: usize, end: TurnEnd) {
        let names = self.plan.setup.names_turns;
        let Some(process) = self.runners[who].process.as_mut().filter(|process| process.alive) else { return };
        let Some(turn) = process.ends_the_turn(end.clone()) else { return };
        let (uid, number) = (process.uid, process.turns[turn].number);
        let context = process.measures_its_context();
        let waits = !process.handed.is_empty();
        let told = self.says_status(who, Report::Idle, idle(names.then(|| turn_name(number)), end));
        let runner = &mut self.runners[who];
        if let Some(process) = &runner.process {
            runner.watch.turn_ended(process, turn, (told, names));
        }
        self.says_of_itself(who, context, 0);
        if waits {
            let after = 1 + self.draw(100);
            self.agenda.put(self.now + after, Due::Does { who, uid, does: Does::Takes });
        }
    }

    /// An agent of the agent, or a compaction.
    fn side(&mut self, who: usize, compaction: bool, begins: bool) {
        let (reason, report) =
            if compaction { ("compaction", Report::Compaction) } else { ("subagent", Report::Subagent) };
        let status = if begins { ReportStatus::Busy } else { ReportStatus::Idle };
        let said = StatusReport {
            status,
            reason: Some(reason.into()),
            id: Some(format!("{reason}-1").into()),
            ..StatusReport::default()
        };
        if !begins && self.coming.lost(report) {
            return;
        }
        self.says_status(who, report, ProviderReport::Status(Box::new(said)));
    }

    /// A report on what it does: by a hook, or by its adapter. It may be late, or lost: false.
    fn says_status(&mut self, who: usize, kind: Report, report: ProviderReport) -> bool {
        if matches!(kind, Report::Busy | Report::Idle) && self.coming.lost(kind) {
            return false;
        }
        let late = self.coming.late(kind);
        if !self.plan.setup.hooks {
            self.reports(who, report, late);
            return true;
        }
        let ProviderReport::Status(mut report) = report else { return true };
        let Some(process) = self.runners[who].process.as_ref().filter(|process| process.heard) else { return true };
        report.session = Some(process.session.clone());
        report.pid = Some(process.pid());
        let at = if late == 0 { process.said.max(self.now + 1) - self.now } else { late };
        if late == 0
            && let Some(process) = &mut self.runners[who].process
        {
            process.said = self.now + at;
        }
        let request = self.request();
        self.orders(who, at, Order::Report { request, report });
        true
    }

    /// What is neither lost nor late: its adapter tells it at once, or with the answer that it belongs to.
    pub(super) fn says_of_itself(&mut self, who: usize, report: ProviderReport, after: u64) {
        let life = self.runners[who].life;
        let Some(process) = self.runners[who].process.as_ref().filter(|process| process.heard) else { return };
        self.agenda.put(self.now + after, Due::Report { who, life, uid: process.uid, report });
    }

    /// A report of the adapter, in the order in which things were said unless it is late.
    pub(super) fn reports(&mut self, who: usize, report: ProviderReport, late: u64) {
        if let ProviderReport::Taken { .. } = report
            && self.coming.lost(Report::Taken)
        {
            return;
        }
        let late = match &report {
            ProviderReport::Taken { .. } => late + self.coming.late(Report::Taken),
            _ => late,
        };
        let way = 1 + self.draw(10);
        let life = self.runners[who].life;
        let Some(process) = self.runners[who].process.as_mut().filter(|process| process.heard) else { return };
        let at = (self.now + way).max(process.said) + late;
        if late == 0 {
            process.said = at;
        }
        let uid = process.uid;
        self.agenda.put(at, Due::Report { who, life, uid, report });
    }

    /// A process ends. Its exit shows in time.
    pub(super) fn dies(&mut self, who: usize, class: ExitClass) {
        let runner = &mut self.runners[who];
        let Some(process) = runner.process.as_mut().filter(|process| process.alive) else { return };
        process.alive = false;
        process.running = None;
        if !process.heard {
            // Nobody has taken it up: its end is seen once somebody tries to.
            return;
        }
        let (uid, life) = (process.uid, runner.life);
        let late = self.coming.late(Report::Exit);
        let at = (self.now + 1).max(process.said) + late + process.exit_late;
        self.agenda.put(at, Due::Exit { who, life, uid, class });
    }

    pub(super) fn exit_shows(&mut self, who: usize, life: u32, uid: u64, class: ExitClass) {
        let of = self.runners[who].process.as_ref().filter(|process| process.uid == uid);
        let generation = of.map(|process| process.generation);
        let before = self.runners[who].before.as_ref().filter(|(of, ..)| *of == uid).map(|before| Generation(before.3));
        if let Some(generation) = generation.or(before)
            && self.lives(who, life)
        {
            let exit = ExitReport { class, detail: "made up".into() };
            self.steps(who, Event::Provider(generation, ProviderReport::Exit(exit)));
        }
    }

    pub(super) fn class(&mut self, who: usize, class: Class) -> ExitClass {
        match class {
            Class::Clean => ExitClass::Clean,
            Class::Crash => ExitClass::Crash,
            Class::Signal => ExitClass::Signal,
            Class::Hang => ExitClass::Hang,
            Class::StartTimeout => ExitClass::StartTimeout,
            Class::Refused => ExitClass::Refused,
            Class::UsageLimit => {
                let wall = self.runners[who].clock.stamp(self.now, 0).wall.max(BEGIN);
                ExitClass::UsageLimit { until: Some(wall + 10_000 + self.draw(600_000)) }
            }
            Class::UsageLimitOpen => ExitClass::UsageLimit { until: None },
        }
    }
}
