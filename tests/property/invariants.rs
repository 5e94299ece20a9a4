//! The invariants hold in a world that misbehaves by a seed.

use proptest::prelude::*;
use relay_runner_sim::{Mood, Run};

use crate::books::Books;
use crate::depth;

fn watch(seed: u64, steps: usize, mood: Mood) -> Result<(), TestCaseError> {
    let mut run = Run::new(seed, mood);
    let mut books = Books::default();
    for step in 0..steps {
        let (at, event) = run.step();
        books.hears(at, &event);
        for effect in &run.fx.effects {
            if let Err(broken) = books.sees(at, effect) {
                return Err(TestCaseError::fail(format!("{broken} (seed {seed}, step {step}, {event:?})")));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(depth(256))]

    #[test]
    fn the_invariants_hold_whatever_happens(seed in any::<u64>()) {
        watch(seed, 2_000, Mood::ROUGH)?;
    }

    #[test]
    fn the_invariants_hold_in_a_long_run_that_nobody_ends(seed in any::<u64>()) {
        watch(seed, 10_000, Mood { ends: false, noise: 20, ..Mood::ROUGH })?;
    }
}
