//! From a seed to a plan. A seed first draws a *swarm*: some kinds of faults are off, the others have wild weights; so
//! that a run is not a little of everything, but much of something.

mod couples;

use relay_runner_core::config::{Adapter, Delivery, MarkRead, Mode, OnGiveUp};

use crate::chance::Chance;
use crate::plan::{
    CallKind, Class, Fate, FrameFate, Noise, Offering, Plan, Report, Setup, Signal, Start, Step, To, Turn, Verb, Way,
    What,
};
pub use crate::profile::{Group, Profile};

const MINUTE: u64 = 60_000;
/// So many plans in a thousand have couples of things that would seldom meet by chance.
const COUPLED: u64 = 400;

/// The plan of a seed.
pub fn plan(seed: u64) -> Plan {
    plan_with(seed, &Profile::default())
}

/// The plan of a seed, but for what a profile says. What it does not say is drawn as ever.
pub fn plan_with(seed: u64, profile: &Profile) -> Plan {
    let mut chance = Chance::new(seed);
    let setup = setup(&mut chance);
    let drawn = span(&mut chance, 30_000, 120 * MINUTE);
    let calm = profile.calm().unwrap_or(drawn);
    let lossless = !setup.names_turns;
    let mut weights = Weights::draw(&mut chance, lossless);
    if let Some(set) = profile.weights() {
        weights.weights = set;
    }
    let mut steps = Vec::new();
    let drawn = span(&mut chance, 2, 60);
    let work = profile.work.map_or(drawn, |range| between(&mut chance, range));
    for _ in 0..work {
        let at = chance.below(calm);
        steps.push(Step { at, what: work_of(&mut chance) });
    }
    // Faults lie close together: many of those that matter need two.
    let drawn = if chance.permille(50) { 0 } else { span(&mut chance, 1, 60) };
    let faults = profile.faults.map_or(drawn, |range| between(&mut chance, range));
    let mut at = chance.below(calm);
    for _ in 0..faults {
        at = if chance.permille(600) { at + chance.below(5_000) } else { chance.below(calm) };
        if let Some(what) = weights.fault(&mut chance) {
            steps.push(Step { at: at % calm, what });
        }
    }
    let may_kill = profile.weights.is_none() || weights.weights[Group::KillsAndDisks as usize] > 0;
    let kills = if chance.permille(150) && may_kill {
        let mut kills: Vec<u64> = (0..=chance.below(4)).map(|_| span(&mut chance, 1, 2_000)).collect();
        kills.sort_unstable();
        kills
    } else {
        Vec::new()
    };
    // Last, so that the plans of other seeds stay what they are.
    if *profile == Profile::default() && chance.permille(COUPLED) {
        couples::add(&mut chance, &setup, calm, &mut steps);
    }
    steps.sort_by_key(|step| step.at);
    Plan { seed, setup, calm, kills, steps }
}

/// Within a range that a profile says, and as [`span`] where that can be.
fn between(chance: &mut Chance, [least, most]: [u64; 2]) -> u64 {
    span(chance, least + 1, most + 1) - 1
}

/// A number between these, with as many small ones as large ones by their order of magnitude.
fn span(chance: &mut Chance, least: u64, most: u64) -> u64 {
    let bits = u64::from(most.ilog2() - least.max(1).ilog2()) + 1;
    let top = least.max(1) << chance.below(bits);
    (top + chance.below(top)).clamp(least, most)
}

fn pick<T: Copy>(chance: &mut Chance, of: &[T]) -> T {
    let at = usize::try_from(chance.below(of.len() as u64)).unwrap_or(0);
    of[at]
}

fn setup(chance: &mut Chance) -> Setup {
    let adapter = Adapter {
        restartable: !chance.permille(50),
        adoptable: chance.permille(300),
        typed: chance.permille(200),
        evidence: !chance.permille(150),
        steer: chance.permille(500),
        interrupt: chance.permille(600),
        compact: chance.permille(700),
        clear: chance.permille(700),
        inject: chance.permille(700),
        // Without a draw of its own, which would make all seeds others.
        between_turns: false,
        // It changes words only.
        attach: false,
        live: false,
    };
    let adapter = Adapter { between_turns: adapter.adoptable && adapter.compact, ..adapter };
    Setup {
        adapter,
        delivery: pick(chance, &[Delivery::Queue, Delivery::Queue, Delivery::Steer, Delivery::Interrupt]),
        mark_read: if chance.permille(200) { MarkRead::Taken } else { MarkRead::Worked },
        on_give_up: if chance.permille(500) { OnGiveUp::Park } else { OnGiveUp::Exit },
        mode: if chance.permille(50) { Mode::Interactive } else { Mode::Headless },
        hooks: chance.permille(300),
        names_turns: chance.permille(700),
        first_prompt: chance.permille(300),
        fail_fast: chance.permille(50),
        held: if chance.permille(300) { usize::try_from(span(chance, 2, 20)).unwrap_or(2) } else { 1_000 },
        claims: usize::try_from(1 + chance.below(3)).unwrap_or(1),
        fetch: if chance.permille(300) { u32::try_from(span(chance, 1, 20)).unwrap_or(1) } else { 100 },
        lease: span(chance, 5_000, 20 * MINUTE),
        token: if chance.permille(400) { span(chance, 30, 8 * 3_600) } else { 0 },
        relay_ahead: i64::try_from(chance.below(4_000)).unwrap_or(0) - 2_000,
        relay_ppm: i64::try_from(chance.below(10_000)).unwrap_or(0) - 5_000,
        way: span(chance, 1, 2_000),
        turn: span(chance, 10, 10 * MINUTE),
        runners: if chance.permille(150) { 2 } else { 1 },
        #[cfg(feature = "mutants")]
        mutant: None,
    }
}

fn work_of(chance: &mut Chance) -> What {
    let who = chance.below(2);
    match chance.below(20) {
        0..=11 => message(chance),
        12 | 13 => What::Command {
            name: pick(
                chance,
                &[Verb::Restart, Verb::Reconnect, Verb::Compact, Verb::Clear, Verb::Inject, Verb::Dance, Verb::Foreign],
            ),
            here: chance.permille(300),
            who,
        },
        14 => What::Asks { hook: chance.permille(500), who },
        15 => What::Decide { nth: chance.below(6), approve: chance.permille(500), here: chance.permille(400) },
        16 => What::Signal { signal: Signal::Hup, who },
        17 => What::Token { lives: span(chance, 30, 3_600), who },
        18 => What::Turns { how: pick(chance, &[Turn::Short, Turn::Long, Turn::Busy]), times: 1 + chance.below(3) },
        _ => What::Start { fresh: chance.permille(100), who },
    }
}

fn message(chance: &mut Chance) -> What {
    let claim = chance.permille(500);
    let to = if claim {
        pick(chance, &[To::Agent, To::Label, To::Label, To::Tag])
    } else {
        pick(chance, &[To::Agent, To::Agent, To::Agent, To::Label, To::Everybody, To::Tag, To::Nobody])
    };
    What::Message {
        to,
        claim,
        task: (claim && chance.permille(800)).then(|| 1 + chance.below(12)),
        urgent: chance.permille(120),
        poison: false,
        attachments: u32::from(chance.permille(100)),
        count: if chance.permille(50) { span(chance, 2, 60) } else { 1 },
    }
}

/// The groups of faults that a swarm switches on and off.
const GROUPS: usize = Group::ALL.len();

/// How likely each group is, in this plan.
struct Weights {
    weights: [u64; GROUPS],
    lossless: bool,
}

impl Weights {
    fn draw(chance: &mut Chance, lossless: bool) -> Self {
        let mut weights = [0; GROUPS];
        for weight in &mut weights {
            if chance.permille(400) {
                *weight = 1 << chance.below(7);
            }
        }
        Self { weights, lossless }
    }

    fn fault(&self, chance: &mut Chance) -> Option<What> {
        let total: u64 = self.weights.iter().sum();
        let mut at = chance.below(total);
        let group = self.weights.iter().position(|weight| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        })?;
        Some(self.of_group(group, chance))
    }

    fn of_group(&self, group: usize, chance: &mut Chance) -> What {
        let who = chance.below(2);
        let nth = chance.below(6);
        let times = 1 + chance.below(3);
        match group {
            0 => What::Message {
                to: To::Agent,
                claim: chance.permille(500),
                task: Some(50 + nth),
                urgent: false,
                poison: true,
                attachments: 0,
                count: 1,
            },
            1 => match chance.below(4) {
                0 | 1 => What::Claims { nth },
                2 => What::Releases { nth },
                _ => What::Finishes { nth },
            },
            2 => {
                if chance.permille(500) {
                    What::Deletes { nth }
                } else {
                    What::Cancels { nth }
                }
            }
            3 => What::Relabels { who },
            4 => match chance.below(3) {
                0 => What::RelayDown { millis: span(chance, 100, 10 * MINUTE) },
                1 => What::RelayBusy { millis: span(chance, 100, 5 * MINUTE), retry: span(chance, 100, 60_000) },
                _ => What::RelayErrs { millis: span(chance, 100, 5 * MINUTE) },
            },
            5 => match chance.below(4) {
                0 | 1 => What::Prunes,
                2 => What::ForgetsEvents,
                _ => What::AnotherRelay,
            },
            6 => {
                if chance.permille(500) {
                    What::Revokes { who }
                } else {
                    What::Refuses { millis: span(chance, 100, 5 * MINUTE) }
                }
            }
            7 => What::Breaks { who },
            8 => What::HalfOpen { who },
            9 => What::Cut {
                way: pick(chance, &[Way::Up, Way::Down, Way::Both]),
                millis: span(chance, 100, 10 * MINUTE),
                who,
            },
            10 => What::Slow { extra: span(chance, 100, 20_000), millis: span(chance, 1_000, 10 * MINUTE) },
            11 => What::Calls {
                kind: pick(
                    chance,
                    &[
                        CallKind::Any,
                        CallKind::Claim,
                        CallKind::Renew,
                        CallKind::Release,
                        CallKind::Task,
                        CallKind::Read,
                        CallKind::Stage,
                        CallKind::Command,
                        CallKind::Liveness,
                        CallKind::Token,
                        CallKind::Farewell,
                    ],
                ),
                fate: pick(
                    chance,
                    &[
                        Fate::Lost,
                        Fate::AnswerLost,
                        Fate::Broken,
                        Fate::Twice,
                        Fate::TooLate,
                        Fate::Slow,
                        Fate::Busy,
                        Fate::Errs,
                        Fate::Unauthorized,
                        Fate::NotFound,
                        Fate::Conflict,
                        Fate::Expired,
                        Fate::Invalid,
                    ],
                ),
                times: span(chance, 1, 20),
            },
            12 => What::Frames {
                fate: pick(
                    chance,
                    &[FrameFate::Lost, FrameFate::Twice, FrameFate::Late, FrameFate::Garbled, FrameFate::Unknown],
                ),
                times: span(chance, 1, 10),
                who,
            },
            13 => What::Dies {
                class: pick(
                    chance,
                    &[
                        Class::Clean,
                        Class::Crash,
                        Class::Signal,
                        Class::Hang,
                        Class::StartTimeout,
                        Class::Refused,
                        Class::UsageLimit,
                        Class::UsageLimitOpen,
                        Class::Crash,
                        Class::Crash,
                    ],
                ),
                who,
            },
            14 => What::Starts {
                how: pick(
                    chance,
                    &[
                        Start::Fails,
                        Start::Hangs,
                        Start::Slow,
                        Start::Never,
                        Start::Stillborn,
                        Start::Early,
                        Start::Short,
                    ],
                ),
                times,
            },
            15 => What::Turns {
                how: pick(
                    chance,
                    &[Turn::Fails, Turn::Interrupted, Turn::Long, Turn::Hangs, Turn::Short, Turn::Busy, Turn::Never],
                ),
                times,
            },
            16 => What::Offers {
                how: pick(
                    chance,
                    &[
                        Offering::Fails,
                        Offering::NotReady,
                        Offering::Broken,
                        Offering::Hangs,
                        Offering::HangsLost,
                        Offering::Missed,
                        Offering::Silent,
                    ],
                ),
                times: span(chance, 1, 10),
            },
            17 => What::Acts { hang: chance.permille(500), times },
            18 => {
                let all =
                    [Report::Busy, Report::Idle, Report::Taken, Report::Subagent, Report::Compaction, Report::Exit];
                let few = [Report::Taken, Report::Subagent, Report::Compaction];
                let report = if self.lossless { pick(chance, &few) } else { pick(chance, &all) };
                if report == Report::Exit || chance.permille(300) && matches!(report, Report::Subagent) {
                    What::Delays { report, millis: span(chance, 10, 60_000), times }
                } else {
                    What::Loses { report, times }
                }
            }
            19 => match chance.below(3) {
                0 => What::Ignores { terminate: chance.permille(500), late: span(chance, 1, 90_000), who },
                1 => What::Answers { who },
                _ => What::Floods { count: span(chance, 10, 500), who },
            },
            20 => What::Says {
                what: pick(
                    chance,
                    &[
                        Noise::LateHook,
                        Noise::Nested,
                        Noise::LateExit,
                        Noise::SessionEnds,
                        Noise::Evidence,
                        Noise::Babble,
                        Noise::Alive,
                        Noise::OldAnswer,
                        Noise::OldFrame,
                        Noise::IdleAgain,
                    ],
                ),
                who,
            },
            21 => match chance.below(10) {
                0..=5 => What::Killed { after: chance.below(6), back: span(chance, 10, 5 * MINUTE), who },
                6 | 7 => What::PowerFails { kept: chance.below(20), back: span(chance, 1_000, 5 * MINUTE), who },
                8 => What::DiskFull { who },
                _ => What::ControlFails { hang: chance.permille(500) },
            },
            22 => match chance.below(5) {
                0 => What::ClockSet {
                    by: i64::try_from(span(chance, 100, 120 * MINUTE)).unwrap_or(0)
                        * if chance.permille(500) { 1 } else { -1 },
                    who,
                },
                1 => What::Drifts { ppm: i64::try_from(chance.below(30_000)).unwrap_or(0) - 15_000, who },
                2 => What::Jitters { most: span(chance, 2, 1_500), who },
                _ => What::Sleeps { millis: span(chance, 100, 120 * MINUTE), who },
            },
            _ => match chance.below(8) {
                0 => What::Signal { signal: pick(chance, &[Signal::Term, Signal::Quit, Signal::Usr2]), who },
                1 => {
                    What::Command { name: pick(chance, &[Verb::Shutdown, Verb::Kill]), here: chance.permille(400), who }
                }
                2 => What::Rival,
                3 => What::Start { fresh: chance.permille(200), who },
                4 => What::CommandAgain { nth },
                _ => What::Command { name: Verb::Restart, here: chance.permille(400), who },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_changes_what_it_says_and_nothing_else() {
        let profile = Profile::parse(r#"{"weights": {"breaks": 3}, "hours": 0.5, "work": [4, 4], "faults": [7, 9]}"#);
        let profile = profile.unwrap();
        for seed in 0..200 {
            let (drawn, set) = (plan(seed), plan_with(seed, &profile));
            assert_eq!(drawn.setup, set.setup);
            assert_eq!((set.calm, set.kills.len()), (30 * MINUTE, 0));
            let faults = set.steps.iter().filter(|step| matches!(step.what, What::Breaks { .. })).count();
            assert!((7..=9).contains(&faults) && set.steps.len() == faults + 4, "{seed}: {faults}");
        }
        let nothing = Profile { work: Some([0, 0]), faults: Some([0, 0]), ..Profile::default() };
        assert!((0..50).all(|seed| plan_with(seed, &nothing).steps.is_empty()));
        assert_eq!(plan(7), plan_with(7, &Profile::default()));
    }
}
