//! How fast made-up worlds are run, on one core: all of a run counts, its plan and the watch over it as well.

use std::time::Instant;

use relay_runner_sim::{Wanted, run, swarm};

/// Seeds from 0 on: short runs and long ones, with many faults and with none.
const SEEDS: u64 = 1_000;

pub(crate) fn print(quick: bool) {
    let seeds = if quick { 5 } else { SEEDS };
    let (mut events, mut millis) = (0, 0);
    let begun = Instant::now();
    for seed in 0..seeds {
        let ran = run(&swarm::plan(seed), Wanted::default());
        events += ran.events;
        millis += ran.millis;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let hours = millis as f64 / 3.6e6;
    println!(
        "simulation, seeds 0 to {}: {:.2} million events/s on one core ({events} events, {hours:.0} simulated hours in {seconds:.2} s: {:.2} million times as fast as real time)",
        seeds - 1,
        events as f64 / seconds / 1e6,
        hours * 3_600.0 / seconds / 1e6,
    );
}
