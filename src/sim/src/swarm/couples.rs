//! Things that matter when they come together, and would seldom meet by chance: one follows the other within the time in
//! which the first still goes on.

use super::{MINUTE, pick, span};
use relay_runner_core::config::Delivery;

use crate::chance::Chance;
use crate::plan::{CallKind, Class, Fate, Millis, Noise, Offering, Report, Setup, Signal, Start, Step, To, Verb, What};

/// What happens how long after the couple's beginning.
type Couple = Vec<(Millis, What)>;

/// Adds some of them to the steps of a plan.
pub(super) fn add(chance: &mut Chance, setup: &Setup, calm: Millis, steps: &mut Vec<Step>) {
    for _ in 0..=chance.below(3) {
        let begin = chance.below(calm);
        let couple = couple(chance, setup).into_iter().map(|(after, what)| Step { at: begin + after, what });
        steps.extend(couple.filter(|step| step.at < calm));
    }
}

fn order(name: Verb, here: bool) -> What {
    What::Command { name, here, who: 0 }
}

const fn message(claim: bool, task: Option<u64>) -> What {
    let to = if claim { To::Label } else { To::Agent };
    What::Message { to, claim, task, urgent: false, poison: false, attachments: 0, count: 1 }
}

fn couple(chance: &mut Chance, setup: &Setup) -> Couple {
    match chance.below(13) {
        0..=4 => of_the_process(chance),
        5 | 6 => of_messages(chance, setup),
        7..=9 => of_claims(chance),
        10 | 11 => of_the_credential(chance),
        _ => of_approvals(chance, setup),
    }
}

fn of_the_process(chance: &mut Chance) -> Couple {
    let here = chance.permille(500);
    match chance.below(6) {
        // A kill while a shutdown goes on, and the process takes its time.
        0 => vec![
            (0, What::Ignores { terminate: true, late: 1, who: 0 }),
            (1, order(Verb::Shutdown, here)),
            (1_000 + chance.below(4_000), order(Verb::Kill, here)),
        ],
        // While the next process waits for its time, which is half a second after the first exit.
        1 => vec![
            (0, What::Dies { class: Class::Crash, who: 0 }),
            (20 + chance.below(400), order(pick(chance, &[Verb::Restart, Verb::Shutdown, Verb::Kill]), true)),
        ],
        // While a process starts.
        2 => vec![
            (0, What::Starts { how: pick(chance, &[Start::Slow, Start::Never, Start::Hangs]), times: 1 }),
            (1, order(Verb::Restart, true)),
            (2_000 + chance.below(6_000), order(pick(chance, &[Verb::Restart, Verb::Shutdown, Verb::Kill]), true)),
        ],
        3 => vec![
            (0, What::Starts { how: pick(chance, &[Start::Stillborn, Start::Fails, Start::Early]), times: 1 }),
            (1, order(Verb::Restart, here)),
        ],
        // What an older process has to say comes after the next has begun.
        4 => vec![
            (0, order(Verb::Restart, true)),
            (4_000, What::Says { what: pick(chance, &[Noise::LateHook, Noise::LateExit]), who: 0 }),
            (5_000, What::Says { what: Noise::LateHook, who: 0 }),
        ],
        // The end was asked for, and the relay does not hear what came of that.
        _ => {
            let fate = pick(chance, &[Fate::Lost, Fate::AnswerLost, Fate::Errs, Fate::Broken]);
            vec![(0, What::Calls { kind: CallKind::Command, fate, times: 8 }), (1, order(Verb::Shutdown, false))]
        }
    }
}

fn of_messages(chance: &mut Chance, setup: &Setup) -> Couple {
    // A lost idle of a turn without a name cannot be told from one that goes on.
    let loses = setup.names_turns && chance.permille(500);
    if loses {
        let again = || What::Says { what: Noise::IdleAgain, who: 0 };
        return vec![
            (0, What::Loses { report: Report::Idle, times: 1 }),
            (1, message(false, None)),
            (30_000, again()),
            (2 * MINUTE, again()),
            (9 * MINUTE, again()),
        ];
    }
    // An operation of the provider while an offer is handed over.
    vec![
        (0, What::Offers { how: pick(chance, &[Offering::Hangs, Offering::HangsLost]), times: 1 }),
        (1, message(false, None)),
        (5_000 + chance.below(10_000), order(pick(chance, &[Verb::Compact, Verb::Inject]), true)),
        (16_000 + chance.below(5_000), order(pick(chance, &[Verb::Inject, Verb::Compact]), true)),
    ]
}

fn of_claims(chance: &mut Chance) -> Couple {
    if chance.permille(500) {
        let fate = pick(chance, &[Fate::Lost, Fate::AnswerLost, Fate::Errs, Fate::Busy]);
        return vec![
            (0, What::Calls { kind: CallKind::Task, fate, times: span(chance, 2, 12) }),
            (1, message(true, Some(20 + chance.below(4)))),
        ];
    }
    // A claim ends while its renewal is on its way.
    let mut couple =
        vec![(0, What::Calls { kind: CallKind::Renew, fate: Fate::Slow, times: 20 }), (1, message(true, None))];
    for n in 1..24 {
        let nth = chance.below(6);
        let ends = if chance.permille(500) { What::Deletes { nth } } else { What::Finishes { nth } };
        couple.push((n * 5_000, ends));
    }
    couple
}

fn of_the_credential(chance: &mut Chance) -> Couple {
    match chance.below(3) {
        // It is renewed after a quarter of a minute at most, while a process that takes its time is stopped.
        0 => vec![
            (0, What::Token { lives: 30, who: 0 }),
            (1, What::Ignores { terminate: true, late: 1, who: 0 }),
            (1, What::Calls { kind: CallKind::Token, fate: Fate::Slow, times: 2 }),
            (
                11_000 + chance.below(6_000),
                What::Signal { signal: pick(chance, &[Signal::Term, Signal::Quit]), who: 0 },
            ),
        ],
        // What was asked under the old one is refused when there is a new one.
        1 => vec![
            (0, What::Calls { kind: CallKind::Any, fate: Fate::Slow, times: 6 }),
            (1, message(false, None)),
            (2, What::Revokes { who: 0 }),
            (20_500 + chance.below(3_000), What::Token { lives: 600, who: 0 }),
        ],
        _ => vec![
            (0, What::Token { lives: 60, who: 0 }),
            (1_000 + chance.below(20_000), What::Sleeps { millis: MINUTE + chance.below(10 * MINUTE), who: 0 }),
        ],
    }
}

fn of_approvals(chance: &mut Chance, setup: &Setup) -> Couple {
    // The turn that asks is broken off for an urgent message: nobody waits for the answer any more.
    if setup.delivery == Delivery::Interrupt && setup.adapter.interrupt {
        let urgent = What::Message {
            to: To::Agent,
            claim: false,
            task: None,
            urgent: true,
            poison: false,
            attachments: 0,
            count: 1,
        };
        let decide = |nth| What::Decide { nth, approve: true, here: true };
        return vec![
            (0, What::Asks { hook: false, who: 0 }),
            (1, message(false, None)),
            (4_000 + chance.below(4_000), urgent),
            (9_000, decide(1)),
            (9_001, decide(3)),
        ];
    }
    let hook = chance.permille(500);
    let here = chance.permille(500);
    let decide = |approve: bool| What::Decide { nth: 0, approve, here };
    vec![
        (0, What::Asks { hook, who: 0 }),
        (1, message(false, None)),
        (8_000, decide(true)),
        (8_001, decide(false)),
        (9_000 + chance.below(4_000), What::Answers { who: 0 }),
    ]
}
