//! The world of a plan: runners, their relay, what lies between them, and virtual time. Single-threaded; the same plan
//! gives the same run, step for step.

mod effects;
mod happens;
mod network;
mod provider;
mod rest;
mod runner;
mod telling;

use std::collections::BTreeMap;

use relay_runner_core::draw::{self, Stream};
use relay_runner_core::event::{BusFrame, OpResult, Order, ProviderReport};
use relay_runner_core::{Call, Event, Lane, OpId, RequestId, Text};

use crate::agenda::Agenda;
use crate::caught::caught;
use crate::coverage::Coverage;
use crate::plan::{Fate, Plan};
use crate::process::{Does, Uid};
use crate::relay::{Conn, Relay, TokenId, Up};
use crate::watch::Broken;
use network::Network;
use runner::Runner;
pub use telling::LEGEND;
use telling::Telling;

/// What runs a plan.
pub type Runs<'a> = &'a (dyn Fn(&Plan, Wanted<'_>) -> Ran + Sync);

/// How a run went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ran {
    /// Events that cores took in.
    pub events: u64,
    /// Effects that the first runner carried out, and how many of them before everything was mended.
    pub effects: u64,
    pub effects_before_calm: u64,
    /// Virtual milliseconds.
    pub millis: u64,
    /// What went wrong first.
    pub broken: Option<Broken>,
    /// Stands for every event and every effect, where that was asked for.
    pub chain: u64,
    /// What was told, where that was asked for.
    pub told: Vec<String>,
}

/// What is wanted of a run besides that nothing goes wrong.
#[derive(Debug, Default)]
pub struct Wanted<'a> {
    /// Tell every change, in one line.
    pub told: bool,
    /// A hash over every event and every effect, as of each step.
    pub chain: Option<&'a mut Vec<u64>>,
    /// Where to count what was met.
    pub coverage: Option<&'a mut Coverage>,
}

/// What comes at its time.
#[derive(Debug)]
enum Due {
    Step(usize),
    Calm,
    Starts {
        who: usize,
        fresh: bool,
    },
    Asks {
        who: usize,
        life: u32,
        job: Box<Job>,
        echo: bool,
        fate: Option<Fate>,
    },
    Answered {
        who: usize,
        life: u32,
        op: OpId,
        lane: Lane,
        result: OpResult,
    },
    Dials {
        conn: Conn,
    },
    Frame {
        conn: Conn,
        frame: BusFrame,
    },
    Up {
        conn: Conn,
        up: Up,
    },
    Hangs {
        conn: Conn,
    },
    Event {
        who: usize,
        life: u32,
        event: Event,
    },
    Does {
        who: usize,
        uid: Uid,
        does: Does,
    },
    Report {
        who: usize,
        life: u32,
        uid: Uid,
        report: ProviderReport,
    },
    Exit {
        who: usize,
        life: u32,
        uid: Uid,
        class: relay_runner_core::event::ExitClass,
    },
    Order {
        who: usize,
        life: u32,
        order: Order,
    },
    /// A machine wakes, unless it sleeps for longer by now.
    Wakes {
        who: usize,
    },
    Lapses,
    TokenEnds,
}

/// A call on its way.
#[derive(Debug, Clone)]
struct Job {
    op: OpId,
    key: OpId,
    epoch: u64,
    call: Call,
    token: Option<TokenId>,
    /// Nobody waits for the answer after this.
    deadline: u64,
    agent: usize,
    instance: usize,
}

#[derive(Debug)]
pub(crate) struct World<'a> {
    plan: &'a Plan,
    now: u64,
    agenda: Agenda<Due>,
    relay: Relay,
    runners: Vec<Runner>,
    network: Network,
    /// What is still to happen to provider starts, turns and so on.
    coming: provider::Coming,
    /// Everything is mended.
    calm: bool,
    end: u64,
    uids: Uid,
    turns: u64,
    questions: u64,
    requests: u64,
    commands: u64,
    instances: usize,
    draws: u64,
    steps: u64,
    effects: u64,
    effects_before_calm: u64,
    /// Every core has a twin that is restored from its mark now and then, and must decide the same.
    twins: bool,
    /// Steps in the present millisecond.
    at_once: u64,
    budget: u64,
    next_kill: usize,
    broken: Option<Broken>,
    telling: Telling<'a>,
    coverage: Option<&'a mut Coverage>,
    /// Open requests at control servers: whose, and what the question is.
    asked: BTreeMap<(usize, RequestId), Text>,
}

/// How long everything may take to come to rest.
const CALM: u64 = 180_000;
/// Cores have twins where the plan's seed is a multiple of this.
const TWINS: u64 = 16;
/// How often, and after how long, a world is looked at again in which the same has not come to rest; and how often at most.
const LOOKS: usize = 3;
const MOST_LOOKS: usize = 30;
const AGAIN: u64 = 20_000;
/// What a lost report of a turn's end costs: the silence that is waited for, and the probe.
const SILENCE: u64 = 12 * 60_000;
/// Steps in one millisecond of virtual time beyond which something spins.
const AT_ONCE: u64 = 20_000;

/// Runs a plan to its end, or to the first thing that is wrong; a panic is one as well.
pub fn run(plan: &Plan, wanted: Wanted<'_>) -> Ran {
    let mut world = World::new(plan, wanted);
    // It is only asked what it told so far, after that.
    if let Err(words) = caught(|| world.runs_to_rest()) {
        world.breaks(0, 13, words);
    }
    world.ends()
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan, wanted: Wanted<'a>) -> Self {
        let ids: Vec<Text> = (0..plan.setup.runners.clamp(1, 3)).map(|n| format!("a{}", n + 1).into()).collect();
        let relay = Relay::new(&plan.setup, &ids);
        let minutes = plan.calm / 60_000 + 20;
        let mut world = Self {
            plan,
            now: 0,
            agenda: Agenda::new(),
            relay,
            runners: Vec::new(),
            network: Network::new(plan.setup.way),
            coming: provider::Coming::default(),
            calm: false,
            end: plan.calm + CALM,
            uids: 0,
            turns: 0,
            questions: 0,
            requests: 0,
            commands: 0,
            instances: 0,
            draws: 0,
            steps: 0,
            effects: 0,
            effects_before_calm: 0,
            twins: plan.seed.is_multiple_of(TWINS),
            at_once: 0,
            budget: ids.len() as u64 * (20_000 + minutes * 2_000) + plan.steps.len() as u64 * 2_000,
            next_kill: 0,
            broken: None,
            telling: Telling::new(wanted.told, wanted.chain),
            coverage: wanted.coverage,
            asked: BTreeMap::new(),
        };
        if let Some(coverage) = &mut world.coverage {
            coverage.begins(plan.seed);
        }
        for agent in 0..ids.len() {
            world.adds_a_runner(agent);
        }
        for (n, step) in plan.steps.iter().enumerate().filter(|(_, step)| step.at < plan.calm) {
            world.agenda.put(step.at, Due::Step(n));
        }
        world.agenda.put(plan.calm, Due::Calm);
        world
    }

    fn runs(&mut self) {
        while self.broken.is_none() {
            let due = self.agenda.next().unwrap_or(u64::MAX);
            let (wake, who) =
                self.runners.iter().enumerate().map(|(who, runner)| (runner.wake, who)).min().unwrap_or((u64::MAX, 0));
            let next = due.min(wake);
            if next > self.end {
                break;
            }
            if next > self.now {
                self.now = next;
                self.at_once = 0;
            }
            if due <= wake {
                if let Some((_, due)) = self.agenda.take() {
                    self.comes(due);
                }
            } else {
                self.steps(who, Event::Wake);
            }
            self.flushes();
        }
    }

    /// What has just changed is on its way: it is looked at again, a little later.
    fn comes_to_rest(&mut self) -> Result<(), Broken> {
        let (mut before, mut looks) = (None::<String>, 0);
        for _ in 0..MOST_LOOKS {
            let Err(broken) = self.rests() else { return Ok(()) };
            // While something else is the matter at each look, it goes on.
            let matter = broken.words.split(':').next().map(str::to_owned);
            looks = if before == matter { looks + 1 } else { 0 };
            if looks == LOOKS {
                return Err(broken);
            }
            before = matter;
            self.end += AGAIN;
            self.runs();
            if let Some(broken) = self.broken.take() {
                return Err(broken);
            }
            self.now = self.end;
        }
        self.rests()
    }

    fn runs_to_rest(&mut self) {
        self.runs();
        if self.broken.is_none() {
            self.now = self.end;
            self.broken = self.comes_to_rest().err();
        }
    }

    fn ends(self) -> Ran {
        let (told, chain) = self.telling.into_parts();
        Ran {
            events: self.steps,
            effects: self.effects,
            effects_before_calm: self.effects_before_calm,
            millis: self.now,
            broken: self.broken,
            chain,
            told,
        }
    }

    /// A number that depends on the plan's seed, and on how much was drawn for this kind of thing before.
    fn draw(&mut self, bound: u64) -> u64 {
        self.draws += 1;
        draw::draw_below(self.plan.seed, Stream::Nonce, self.draws, 0, bound)
    }

    fn breaks(&mut self, who: usize, invariant: u8, words: impl Into<String>) {
        let words = words.into();
        self.broken.get_or_insert(Broken { invariant, words, at: self.now, step: self.steps, who });
    }

    /// Which runner a number of the plan means.
    fn who(&self, who: u64) -> usize {
        usize::try_from(who).unwrap_or(0) % self.runners.len()
    }

    fn lives(&self, who: usize, life: u32) -> bool {
        self.runners[who].life == life && self.runners[who].core.is_some()
    }

    fn comes(&mut self, due: Due) {
        // A machine that sleeps hears nothing until it wakes.
        if let Some(who) = due.is_for() {
            let runner = &mut self.runners[who];
            if runner.clock.asleep_until() > self.now {
                runner.asleep.push_back(due);
                return;
            }
        }
        match due {
            Due::Step(n) => {
                let plan = self.plan;
                self.happens(&plan.steps[n].what);
            }
            Due::Calm => self.calms_down(),
            Due::Starts { who, fresh } => self.starts(who, fresh),
            Due::Asks { who, life, job, echo, fate } => self.asks(who, life, &job, echo, fate),
            Due::Answered { who, life, op, lane, result } => {
                if self.lives(who, life) {
                    self.next_in_lane(who, &lane);
                    self.steps(who, Event::Done(op, result));
                }
            }
            Due::Dials { conn } => self.dials(conn),
            Due::Frame { conn, frame } => {
                let open = self.runners[conn.who].wire.as_ref().is_some_and(|wire| wire.is(&conn) && !wire.dead);
                if self.lives(conn.who, conn.life) && open {
                    self.steps(conn.who, Event::Bus(conn.number, frame));
                }
            }
            Due::Up { conn, up } => {
                if !self.network.is_down(self.now) {
                    self.relay.hears(conn, up, self.now);
                }
            }
            Due::Hangs { conn } => self.hangs(conn),
            Due::Event { who, life, event } => {
                if self.lives(who, life) {
                    self.steps(who, event);
                }
            }
            Due::Does { who, uid, does } => self.does(who, uid, does),
            Due::Report { who, life, uid, report } => {
                let of = self.runners[who].process.as_ref().filter(|process| process.uid == uid);
                if let Some(generation) = of.map(|process| process.generation)
                    && self.lives(who, life)
                {
                    self.steps(who, Event::Provider(generation, report));
                }
            }
            Due::Exit { who, life, uid, class } => self.exit_shows(who, life, uid, class),
            Due::Order { who, life, order } => {
                if self.lives(who, life) {
                    self.steps(who, Event::Order(order));
                }
            }
            Due::Wakes { who } => self.wakes(who),
            Due::Lapses => {
                let time = self.relay.time(self.now);
                self.relay.lapses(time);
            }
            Due::TokenEnds => {
                if self.now >= self.network.refuses_until {
                    self.relay.tokens.refuses = false;
                }
                for conn in self.relay.ends_connections(self.now) {
                    self.drops(conn, "the token has ended");
                }
            }
        }
    }
}

impl Due {
    /// Whose machine has to be awake for it.
    const fn is_for(&self) -> Option<usize> {
        match self {
            Self::Starts { who, .. }
            | Self::Answered { who, .. }
            | Self::Event { who, .. }
            | Self::Does { who, .. }
            | Self::Report { who, .. }
            | Self::Exit { who, .. }
            | Self::Order { who, .. } => Some(*who),
            Self::Frame { conn, .. } | Self::Hangs { conn } => Some(conn.who),
            Self::Step(_)
            | Self::Calm
            | Self::Asks { .. }
            | Self::Dials { .. }
            | Self::Up { .. }
            | Self::Wakes { .. }
            | Self::Lapses
            | Self::TokenEnds => None,
        }
    }
}
