//! The decisions of fifty plans, to the last effect: the same on every machine, and in every run. A change that was not
//! meant is seen here; one that was is recorded by `RELAY_RUNNER_UPDATE=1 cargo test --test property golden`.

use std::fmt::Write;
use std::fs;

use relay_runner_sim::{Wanted, run, swarm};

const SEEDS: std::ops::Range<u64> = 0..50;
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/property/golden.txt");

#[test]
fn fifty_plans_are_decided_as_they_were() {
    let mut today = String::from("# seed, steps, effects, and the hash over all of them\n");
    for seed in SEEDS {
        let mut chain = Vec::new();
        let ran = run(&swarm::plan(seed), Wanted { chain: Some(&mut chain), ..Wanted::default() });
        writeln!(today, "{seed} {} {} {:016x}", ran.events, ran.effects, ran.chain).unwrap();
        // The same seed again is the same run, step by step.
        let mut again = Vec::new();
        run(&swarm::plan(seed), Wanted { chain: Some(&mut again), ..Wanted::default() });
        let differs = chain.iter().zip(&again).position(|(one, other)| one != other);
        assert_eq!((differs, chain.len()), (None, again.len()), "seed {seed} is not the same run twice");
    }
    if std::env::var_os("RELAY_RUNNER_UPDATE").is_some() {
        fs::write(FILE, &today).unwrap();
    }
    let recorded = fs::read_to_string(FILE).unwrap();
    for (one, other) in recorded.lines().zip(today.lines()) {
        assert_eq!(one, other, "recorded, and today: if it was meant, record it anew as the head of this file says");
    }
    assert_eq!(recorded.lines().count(), today.lines().count());
}
