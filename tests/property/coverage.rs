//! A batch of the simulator's runs, of the size that is stated, meets everything that it can meet: or it proves nothing
//! about what it has not met.

use relay_runner_sim::coverage::{CLOSE_IN_STATED, Coverage, STATED};
use relay_runner_sim::{Wanted, run, swarm};

/// Pairs of the machines' tables that the batch meets at least. The others that are not out of reach are rarer.
const PAIRS: usize = 440;

#[test]
fn a_batch_of_the_stated_size_meets_every_hazard_fault_and_exit() {
    let mut coverage = Coverage::close(CLOSE_IN_STATED);
    for seed in 0..STATED {
        run(&swarm::plan(seed), Wanted { coverage: Some(&mut coverage), ..Wanted::default() });
    }
    let met = coverage.summary();
    assert!(met.hazards.missing.is_empty(), "hazards that were not met: {:?}", met.hazards.missing);
    assert!(met.kinds.missing.is_empty(), "faults that did not happen: {:?}", met.kinds.missing);
    assert!(met.exits.missing.is_empty(), "exits that were not heard: {:?}", met.exits.missing);
    assert!(met.surprises.is_empty(), "met, and said to be out of reach: {:?}", met.surprises);
    assert!(met.pairs.met >= PAIRS, "{} pairs of {}; without {:?}", met.pairs.met, met.pairs.total, met.pairs.missing);
}

/// Whoever looks, looks on.
#[test]
fn looking_closely_changes_nothing() {
    for seed in 0..24 {
        let plan = swarm::plan(seed);
        let (mut alone, mut seen) = (Vec::new(), Vec::new());
        run(&plan, Wanted { chain: Some(&mut alone), ..Wanted::default() });
        let mut coverage = Coverage::close(1);
        run(&plan, Wanted { chain: Some(&mut seen), coverage: Some(&mut coverage), ..Wanted::default() });
        assert_eq!(alone, seen, "seed {seed}");
    }
}

/// So that a batch can be shared among threads.
#[test]
fn what_two_batches_have_met_can_be_added() {
    let batch = |seeds: std::ops::Range<u64>, coverage: &mut Coverage| {
        for seed in seeds {
            run(&swarm::plan(seed), Wanted { coverage: Some(coverage), ..Wanted::default() });
        }
    };
    let (mut whole, mut first, mut second) = (Coverage::close(4), Coverage::close(4), Coverage::close(4));
    batch(0..40, &mut whole);
    batch(0..17, &mut first);
    batch(17..40, &mut second);
    first.merge(&second);
    assert_eq!(first.summary(), whole.summary());
    assert_eq!((first.runs, first.close_runs), (whole.runs, whole.close_runs));
    assert_eq!((first.pairs, first.hazards), (whole.pairs, whole.hazards));
    assert_eq!((first.kinds, first.exits, first.odd), (whole.kinds, whole.exits, whole.odd));
}
