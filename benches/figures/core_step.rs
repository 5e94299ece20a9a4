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

pub(crate) fn print(quick: bool) {
    let count = if quick { 2_000 } else { 400_000 };
    let (core, events) = mix(count);
    let rounds = if quick { 1 } else { 5 };

    let mut best = f64::MAX;
    for _ in 0..rounds {
        let (mut core, events) = (core.clone(), events.clone());
        let mut fx = Effects::new();
        let begun = Instant::now();
        for (at, event) in events {
            fx.clear();
            core.step(at, event, &mut fx);
            black_box(&fx);
        }
        best = best.min(begun.elapsed().as_secs_f64() * 1e9 / count as f64);
    }

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

    println!("core step: {best:.0} ns on average over {count} events of a calm run (best of {rounds})");
    println!("  {:<24} {:>7} {:>20} {:>22}", "event", "share", "allocations per step", "ns per step, clocked");
    for (kind, (number, allocations, nanos)) in table {
        println!(
            "  {kind:<24} {:>6.1}% {:>20.3} {:>22.0}",
            100.0 * number as f64 / count as f64,
            allocations as f64 / number as f64,
            nanos / number as f64
        );
    }
}
