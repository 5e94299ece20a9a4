//! Arithmetic of restarts: when a provider is started again, and when it is given up (behaviour 10).

use proptest::prelude::*;
use relay_runner_core::config::{Limits, Timing};
use relay_runner_core::restart::{Verdict, Window, wait};

use crate::depth;

const MINUTES_2: u64 = 120_000;
const STABLE: u64 = 30_000;

/// The rule in the contract's own words, over the whole list of exits.
fn by_the_rule(exits: &[u64], lived: u64) -> Verdict {
    let now = *exits.last().expect("an exit has just happened");
    let recent = exits.iter().filter(|at| now.saturating_sub(**at) < MINUTES_2).count();
    if lived < STABLE && recent > 3 {
        Verdict::GiveUp { exits: recent }
    } else {
        Verdict::Cool { wait: (500 * recent as u64).clamp(500, 10_000), exits: recent }
    }
}

/// Every history of up to six exits, with every gap and span of life that lies at an edge of the rule.
#[test]
fn every_short_history_of_exits_follows_the_rule() {
    const GAPS: [u64; 5] = [0, 1, 40_000, MINUTES_2 - 1, MINUTES_2];
    const LIVES: [u64; 3] = [0, STABLE - 1, STABLE];
    let (timing, limits) = (Timing::default(), Limits::default());
    let each = GAPS.len() * LIVES.len();
    let mut histories = 0;
    for length in 1..=5_u32 {
        for mut code in 0..each.pow(length) {
            let mut window = Window::default();
            let (mut now, mut exits) = (1_000_000, Vec::new());
            for _ in 0..length {
                let (gap, lived) = (GAPS[code % GAPS.len()], LIVES[code / GAPS.len() % LIVES.len()]);
                code /= each;
                now += gap;
                exits.push(now);
                assert_eq!(window.exited(now, lived, &timing, &limits), by_the_rule(&exits, lived), "{exits:?}");
            }
            histories += 1;
        }
    }
    assert_eq!(histories, 15 + 225 + 3_375 + 50_625 + 759_375);
}

#[test]
fn every_wait_lies_between_its_bounds_and_none_is_shorter_than_the_one_before() {
    let timing = Timing::default();
    let waits: Vec<_> = (0..200).map(|exits| wait(exits, &timing)).collect();
    assert!(waits.iter().all(|wait| (500..=10_000).contains(wait)));
    assert!(waits.is_sorted());
    assert_eq!((waits[1], waits[2], waits[19], waits[20], waits[21]), (500, 1_000, 9_500, 10_000, 10_000));
    assert_eq!(wait(usize::MAX, &timing), 10_000);
}

/// What happens to a provider: how long after the last thing, and how long it lived.
fn exits() -> impl Strategy<Value = Vec<(i64, u64)>> {
    let gap = prop_oneof![0..1_000_i64, 0..200_000_i64, -400_000..0_i64];
    let lived = prop_oneof![0..STABLE, STABLE..=u64::MAX];
    prop::collection::vec((gap, lived), 0..200)
}

proptest! {
    #![proptest_config(depth(512))]

    /// The same rule for long histories, as long as the wall clock goes forward.
    #[test]
    fn a_long_history_follows_the_rule(history in exits()) {
        let (timing, limits) = (Timing::default(), Limits::default());
        let (mut window, mut now, mut all) = (Window::default(), 1_000_000, Vec::new());
        for (gap, lived) in history {
            now += gap.unsigned_abs();
            all.push(now);
            match (window.exited(now, lived, &timing, &limits), by_the_rule(&all, lived)) {
                // More than are remembered change no answer, only the number that is told.
                (Verdict::Cool { wait, exits }, Verdict::Cool { wait: ruled, exits: counted }) => {
                    prop_assert_eq!(wait, ruled);
                    prop_assert_eq!(exits, counted.min(64));
                }
                (Verdict::GiveUp { exits }, Verdict::GiveUp { exits: counted }) => {
                    prop_assert_eq!(exits, counted.min(64));
                }
                (said, ruled) => prop_assert!(false, "{:?}, but the rule says {:?}", said, ruled),
            }
        }
    }

    /// Whatever the clock does: the window stays small, a wait keeps its bounds, who lived is never given up, and a
    /// runner that starts again goes on where it was.
    #[test]
    fn no_clock_breaks_the_bounds(history in exits(), start in any::<u64>()) {
        let (timing, limits) = (Timing::default(), Limits::default());
        let (mut window, mut now) = (Window::default(), start);
        for (gap, lived) in history {
            now = now.saturating_add_signed(gap);
            window = Window::from_facts(window.exits().to_vec());
            match window.exited(now, lived, &timing, &limits) {
                Verdict::Cool { wait, exits } => {
                    prop_assert!((500..=10_000).contains(&wait));
                    prop_assert!(lived >= STABLE || exits <= 3);
                }
                Verdict::GiveUp { exits } => prop_assert!(lived < STABLE && exits > 3),
            }
            prop_assert!(window.exits().len() <= 64);
        }
    }

    /// Figures that contradict each other still give a wait: the core has no way to refuse them.
    #[test]
    fn no_figure_makes_the_arithmetic_panic(
        unit in any::<u64>(), most in any::<u64>(), span in any::<u64>(), stable in any::<u64>(), limit in any::<usize>(),
        exits in prop::collection::vec((any::<u64>(), any::<u64>()), 0..100),
    ) {
        let timing = Timing {
            restart_unit: unit, restart_max: most, restart_window: span, restart_stable: stable, ..Timing::default()
        };
        let limits = Limits { restart_exits: limit, ..Limits::default() };
        let mut window = Window::default();
        for (now, lived) in exits {
            if let Verdict::Cool { wait, .. } = window.exited(now, lived, &timing, &limits) {
                prop_assert!(wait <= most.max(unit));
            }
            prop_assert!(window.exits().len() <= 64);
        }
    }
}
