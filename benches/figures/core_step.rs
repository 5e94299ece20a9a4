//! Nanoseconds and allocations of a core step, over a stated mix of events.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use relay_runner_core::event::{Event, ProviderReport};
use relay_runner_core::{Core, Effects, Stamp};
use relay_runner_sim::{Mood, Run};

/// What an event counts as in the table.
fn kind(event: &Event) -> &'static str {
    match event {
        Event::Boot | Event::Order(_) | Event::Link(..) => "other",
        Event::Wake => "wake",
        Event::Bus(..) => "bus frame",
        Event::Provider(_, ProviderReport::Status(_)) => "status report",
        Event::Provider(..) => "other provider report",
        Event::Done(..) => "answer",
    }
}

/// A core in the middle of a calm run, and what happens to it next.
pub(crate) fn mix(events: usize) -> (Core, Vec<(Stamp, Event)>) {
    let mut run = Run::new(2, Mood::CALM);
    for _ in 0..2_000 {
        run.step();
    }
    let core = run.core.clone();
    let events = (0..events).map(|_| run.step()).collect();
    (core, events)
}

/// Events of a round: few enough that reading them from memory does not count as work of the core.
const ROUND: usize = 8_192;

pub(crate) fn print(quick: bool) {
    let rounds = if quick { 2 } else { 200 };
    let (core, events) = mix(ROUND);

    let mut took = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let (mut core, events) = (core.clone(), events.clone());
        let mut fx = Effects::new();
        let begun = Instant::now();
        for (at, event) in events {
            fx.clear();
            core.step(at, event, &mut fx);
            black_box(&fx);
        }
        took.push(begun.elapsed().as_secs_f64() * 1e9 / ROUND as f64);
    }
    took.sort_by(f64::total_cmp);

    let mut table: BTreeMap<&'static str, (u64, u64, f64)> = BTreeMap::new();
    let mut core = core;
    let mut fx = Effects::new();
    for (at, event) in events {
        let kind = kind(&event);
        fx.clear();
        let mut nanos = 0.0;
        let info = allocation_counter::measure(|| {
            let begun = Instant::now();
            core.step(at, event, &mut fx);
            nanos = begun.elapsed().as_secs_f64() * 1e9;
        });
        let row = table.entry(kind).or_default();
        row.0 += 1;
        row.1 += info.count_total;
        row.2 += nanos;
    }

    println!(
        "core step: {:.0} ns on average, {:.0} in the best round ({rounds} rounds of the same {ROUND} events of a calm run)",
        took[rounds / 2],
        took[0]
    );
    println!("  {:<24} {:>7} {:>20} {:>22}", "event", "share", "allocations per step", "ns per step, clocked");
    for (kind, (number, allocations, nanos)) in table {
        println!(
            "  {kind:<24} {:>6.1}% {:>20.3} {:>22.0}",
            100.0 * number as f64 / ROUND as f64,
            allocations as f64 / number as f64,
            nanos / number as f64
        );
    }
}
