//! A runner of the world: its core, and the stand-in for its shell.

use std::collections::VecDeque;

use relay_runner_core::config::{Config, Identity, Limits};
use relay_runner_core::event::TokenRecord;
use relay_runner_core::{BodyRef, Core, DurableFacts, Effects, Event, ExitCode, Lane, OpId, Stamp, Text};

use super::network::Wire;
use super::{Due, Job, World};
use crate::clock::Clock;
use crate::plan::Setup;
use crate::process::{Process, Uid};
use crate::relay::TokenId;
use crate::watch::{Watch, Watched, wrong};

#[derive(Debug)]
pub(super) struct Runner {
    pub(super) agent: usize,
    /// Changes when it is started without its facts.
    pub(super) instance: usize,
    pub(super) life: u32,
    /// None: it does not run.
    pub(super) core: Option<Box<Core>>,
    pub(super) fx: Effects,
    /// Another core that was restored from a mark of this one, and hears the same.
    pub(super) twin: Option<Box<(Core, Effects)>>,
    pub(super) clock: Clock,
    /// What it would be started with again.
    pub(super) facts: DurableFacts,
    pub(super) disk: Disk,
    /// The true time of its next deadline.
    pub(super) wake: u64,
    pub(super) wire: Option<Wire>,
    /// Lanes with a call on its way, and what waits for them.
    pub(super) lanes: Vec<(Lane, OpId)>,
    pub(super) waiting: VecDeque<(Lane, Job)>,
    /// The token in force.
    pub(super) token: Option<TokenId>,
    pub(super) process: Option<Process>,
    /// The process before: its session and pid.
    pub(super) before: Option<(Uid, Text, u32, u64)>,
    pub(super) watch: Watch,
    /// When it was to be started again, the last time.
    pub(super) back: u64,
    /// Killed within the next step that does something.
    pub(super) kill: Option<(u64, u64)>,
    pub(super) ended: Option<ExitCode>,
    /// What its machine has to hear once it wakes.
    pub(super) asleep: VecDeque<Due>,
}

/// What a failing power leaves of a runner.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// Only where the plan lets the power fail.
    pub(super) kept: bool,
    checkpoint: Option<Box<Core>>,
    records: Vec<(Stamp, Event)>,
    synced: usize,
    /// Nothing more is written.
    pub(super) full: bool,
}

/// Records behind a checkpoint.
const MARK: usize = 512;

impl Disk {
    fn begins(&mut self, core: &Core) {
        if self.kept {
            self.checkpoint = Some(Box::new(core.clone()));
            self.records.clear();
            self.synced = 0;
            self.full = false;
        }
    }

    fn record(&mut self, at: Stamp, event: &Event) {
        if self.kept && !self.full {
            self.records.push((at, event.clone()));
        }
    }

    fn stepped(&mut self, core: &Core, sync: bool) {
        if self.kept && !self.full && (sync || self.records.len() >= MARK) {
            self.synced = self.records.len();
            if self.synced >= MARK {
                self.begins(core);
            }
        }
    }

    /// The facts that a start finds, when so many records survive that were not forced to the disk.
    fn survives(&mut self, kept: u64) -> Option<DurableFacts> {
        let mut core = self.checkpoint.take()?;
        let kept = usize::try_from(kept).unwrap_or(usize::MAX).saturating_add(self.synced).min(self.records.len());
        let mut fx = Effects::new();
        for (at, event) in self.records.drain(..).take(kept) {
            fx.clear();
            core.step(at, event, &mut fx);
        }
        Some(core.facts())
    }
}

/// The configuration of a plan's agents.
pub(super) fn config(setup: &Setup, seed: u64, agent: &Text) -> Config {
    let identity = Identity {
        agent_id: agent.clone(),
        runner_id: format!("{agent}-runner").into(),
        provider: "command".into(),
        label: Some(crate::relay::LABEL.into()),
        tags: vec!["rust".into()],
        capabilities: vec!["chat".into()],
        ..Identity::default()
    };
    #[cfg_attr(not(feature = "mutants"), expect(unused_mut, reason = "only tests choose a mutant"))]
    let mut config = Config {
        delivery: setup.delivery,
        mark_read: setup.mark_read,
        on_give_up: setup.on_give_up,
        mode: setup.mode,
        fail_fast: setup.fail_fast,
        first_prompt: setup.first_prompt.then(|| BodyRef::of("begin")),
        limits: Limits { held: setup.held, claims: setup.claims, fetch: setup.fetch, ..Limits::default() },
        ..Config::new(identity, setup.adapter, seed)
    };
    #[cfg(feature = "mutants")]
    {
        config.mutant = setup.mutant;
    }
    config
}

/// A twin is restored anew every so many steps of the world.
const RESTORED: u64 = 256;

/// A core that was restored from a mark, and heard the same since, asks for the same, and wants to be woken at the same time.
fn decides_the_same(twin: &mut (Core, Effects), at: Stamp, event: Event, core: &Core, fx: &Effects) -> Watched {
    let (other, others) = twin;
    others.clear();
    other.step(at, event, others);
    if others != fx || other.next_deadline() != core.next_deadline() {
        return wrong(10, "a core that was restored from its mark decides something else");
    }
    Ok(())
}

impl World<'_> {
    pub(super) fn adds_a_runner(&mut self, agent: usize) -> usize {
        let who = self.runners.len();
        let (run, instance) = (format!("run-{who}").into(), format!("instance-{who}").into());
        let token = (self.plan.setup.token > 0).then(|| {
            let time = self.relay.time(self.now);
            self.relay.tokens.makes(self.plan.setup.token, time)
        });
        self.instances += 1;
        let has_disk = |step: &crate::plan::Step| {
            matches!(step.what, crate::plan::What::PowerFails { .. } | crate::plan::What::DiskFull { .. })
        };
        let skew = i64::try_from(self.draw(4_000)).unwrap_or(0) - 2_000;
        self.runners.push(Runner {
            agent,
            instance: self.instances,
            life: 0,
            core: None,
            fx: Effects::new(),
            twin: None,
            clock: Clock::new(self.now, skew),
            facts: DurableFacts::new(run, instance),
            disk: Disk { kept: self.plan.steps.iter().any(has_disk), ..Disk::default() },
            wake: u64::MAX,
            wire: None,
            lanes: Vec::new(),
            waiting: VecDeque::new(),
            token,
            process: None,
            before: None,
            watch: Watch::default(),
            back: 0,
            kill: None,
            ended: None,
            asleep: VecDeque::new(),
        });
        self.agenda.put(self.now, Due::Starts { who, fresh: false });
        who
    }

    /// A start, with what the run before has left.
    pub(super) fn starts(&mut self, who: usize, fresh: bool) {
        if self.runners[who].core.is_some() {
            return;
        }
        // A journal that ends in the middle of a run is not taken up.
        if fresh || self.runners[who].disk.full {
            self.instances += 1;
            let number = self.instances;
            let (run, instance) = (format!("run-{number}").into(), format!("instance-{number}").into());
            let runner = &mut self.runners[who];
            runner.instance = number;
            runner.facts = DurableFacts::new(run, instance);
            runner.watch.forgets();
            if let Some(coverage) = &mut self.coverage {
                coverage.is_torn(who);
            }
        }
        if self.calm && self.plan.setup.token > 0 {
            // Whoever starts it now gives it a token that is good.
            let time = self.relay.time(self.now);
            self.runners[who].token = Some(self.relay.tokens.makes(86_400, time));
        }
        let record: Option<TokenRecord> = self.runners[who].token.map(|token| self.relay.tokens.record(token));
        let runner = &mut self.runners[who];
        let id = &self.relay.agents[runner.agent].id;
        let seed = self.plan.seed ^ ((who as u64) << 32) ^ u64::from(runner.life);
        let config = Config { credential: record, ..config(&self.plan.setup, seed, id) };
        let facts = runner.facts.clone();
        // What cannot be taken up is ended before anything new begins.
        let left = facts.adoptable(&config).is_some();
        if let Some(process) = runner.process.as_mut().filter(|_| !left) {
            process.alive = false;
        }
        runner.life += 1;
        runner.ended = None;
        runner.kill = None;
        let at = runner.clock.stamp(self.now, 0);
        let core = Core::new(config, facts, at);
        runner.watch.starts(&core.facts(), left.then_some(runner.facts.generation));
        runner.disk.full = false;
        runner.disk.begins(&core);
        runner.core = Some(Box::new(core));
        runner.twin = None;
        self.steps(who, Event::Boot);
    }

    /// What came while its machine slept is heard now.
    pub(super) fn wakes(&mut self, who: usize) {
        if self.runners[who].clock.asleep_until() <= self.now {
            while let Some(due) = self.runners[who].asleep.pop_front() {
                self.agenda.put(self.now, due);
            }
        }
    }

    /// The process of the runner ends where it stands.
    pub(super) fn is_killed(&mut self, who: usize, back: u64) {
        let Some(core) = self.runners[who].core.take() else { return };
        let runner = &mut self.runners[who];
        if !runner.disk.full {
            runner.facts = core.facts();
        }
        self.is_gone(who);
        self.comes_back(who, back);
    }

    fn comes_back(&mut self, who: usize, back: u64) {
        let at = self.now + back.max(1);
        self.runners[who].back = at;
        self.agenda.put(at, Due::Starts { who, fresh: false });
    }

    /// The machine of the runner loses its power.
    pub(super) fn loses_power(&mut self, who: usize, kept: u64, back: u64) {
        let runner = &mut self.runners[who];
        if runner.core.take().is_none() {
            return;
        }
        if !runner.disk.full
            && let Some(facts) = runner.disk.survives(kept)
        {
            runner.facts = facts;
        }
        if let Some(process) = &mut runner.process {
            process.alive = false;
        }
        runner.watch.loses_power();
        if let Some(coverage) = &mut self.coverage {
            coverage.is_torn(who);
        }
        runner.clock.restarts(self.now);
        self.is_gone(who);
        self.comes_back(who, back);
    }

    /// What a process of the runner takes with it, however it ends.
    pub(super) fn is_gone(&mut self, who: usize) {
        self.hangs_up(who);
        let runner = &mut self.runners[who];
        runner.wake = u64::MAX;
        runner.lanes.clear();
        runner.waiting.clear();
        runner.core = None;
        if let Some(process) = &mut runner.process {
            process.is_left();
            // Nobody holds its question any more: the hook has ended with the control server.
            if process.asking.as_ref().is_some_and(|(_, hook)| *hook) {
                process.asking = None;
            }
        }
        self.asked.retain(|(of, _), _| *of != who);
        self.goes_on(who);
    }

    /// One event for a core, and all that it asks for.
    pub(super) fn steps(&mut self, who: usize, event: Event) {
        self.steps += 1;
        self.at_once += 1;
        if self.at_once > AT_ONCE || self.steps > self.budget {
            let words = format!("{} events by now, {} of them in this millisecond", self.steps, self.at_once);
            return self.breaks(who, 13, words);
        }
        let noise = if self.steps.is_multiple_of(7) { self.steps } else { 0 };
        let Self { runners, relay, plan, telling, coverage, now, twins, .. } = self;
        let runner = &mut runners[who];
        let Some(core) = runner.core.as_mut() else { return };
        let at = runner.clock.stamp(*now, noise);
        let truth = crate::watch::Truth {
            now: *now,
            relay,
            agent: runner.agent,
            process: runner.process.as_ref(),
            setup: &plan.setup,
        };
        runner.watch.hears(at, &event, &truth);
        runner.disk.record(at, &event);
        let twin = runner.twin.as_mut().map(|twin| (twin, event.clone()));
        let seen = coverage.as_ref().is_some_and(|coverage| coverage.looks_close());
        let before = seen.then(|| crate::coverage::Seen::of(who, at, core, &event, runner.process.as_ref()));
        telling.hears(who, *now, at, &event);
        runner.fx.clear();
        core.step(at, event, &mut runner.fx);
        let mut same = match twin {
            Some((twin, event)) => decides_the_same(twin, at, event, core, &runner.fx),
            None => Ok(()),
        };
        if *twins && self.steps.is_multiple_of(RESTORED) {
            match Core::from_mark(&core.to_mark()) {
                Ok(twin) => runner.twin = Some(Box::new((twin, Effects::new()))),
                Err(error) => same = wrong(10, format!("its mark cannot be restored: {error}")),
            }
        }
        telling.does(who, core, &runner.fx);
        if let Some(coverage) = coverage.as_mut() {
            coverage.hears(&runner.fx);
            if let Some(before) = before {
                coverage.sees(&before, core, &runner.fx);
            }
        }
        runner.disk.stepped(core, runner.fx.sync);
        let next = core.next_deadline();
        runner.wake = next.map_or(u64::MAX, |(mono, _)| runner.clock.when(mono).max(*now));
        let mut effects = std::mem::take(&mut runner.fx.effects);
        let mut wrong = same.and(runner.watch.steps(at, core, next, &effects));
        let kill = if effects.is_empty() { None } else { runner.kill.take() };
        let mut killed = None;
        for (n, effect) in effects.drain(..).enumerate() {
            let here = kill.filter(|(after, _)| *after == n as u64).map(|(_, back)| back);
            if let Some(back) = here.or_else(|| self.is_to_be_killed(who)) {
                killed = Some(back);
                break;
            }
            self.effects += u64::from(who == 0);
            let runner = &mut self.runners[who];
            let truth = crate::watch::Truth {
                now: self.now,
                relay: &self.relay,
                agent: runner.agent,
                process: runner.process.as_ref(),
                setup: &self.plan.setup,
            };
            if let Err(first) = runner.watch.sees(at, &effect, &truth) {
                wrong = wrong.and(Err(first));
            }
            self.carry_out(who, effect);
        }
        self.runners[who].fx.effects = effects;
        if let Err((invariant, words)) = wrong {
            self.breaks(who, invariant, words);
        }
        if let Some((_, back)) = kill.filter(|_| killed.is_none()) {
            killed = Some(back);
        }
        if let Some(back) = killed {
            self.is_killed(who, back);
        }
    }

    /// Whether the plan kills the first runner at this effect; and how long it takes to come back.
    fn is_to_be_killed(&mut self, who: usize) -> Option<u64> {
        if who != 0 || self.calm {
            return None;
        }
        let next = *self.plan.kills.get(self.next_kill)?;
        if next > self.effects {
            return None;
        }
        self.next_kill += 1;
        Some(100)
    }

    pub(super) fn finishes(&mut self, who: usize, code: ExitCode) {
        let runner = &mut self.runners[who];
        let Some(ended) = runner.core.take() else { return };
        runner.facts = ended.facts();
        runner.ended = Some(code);
        let leave = code == ExitCode::Temporary && self.plan.setup.adapter.adoptable && !runner.disk.full;
        if let Some(process) = runner.process.as_mut().filter(|_| !leave) {
            process.alive = false;
        }
        self.is_gone(who);
        // A service manager starts it again where that may help.
        if matches!(code, ExitCode::Failed | ExitCode::Temporary | ExitCode::RelayUnreachable) {
            self.agenda.put(self.now + 1_000, Due::Starts { who, fresh: false });
        }
    }
}

use super::AT_ONCE;
