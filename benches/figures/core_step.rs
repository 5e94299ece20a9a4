//! Nanoseconds and allocations of a core step, over a stated mix of events, with little in the core and with much.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use relay_runner_core::config::{Config, Limits};
use relay_runner_core::effect::Repeat;
use relay_runner_core::event::{Event, Incoming, OpResult, ProviderReport};
use relay_runner_core::facts::MessageFact;
use relay_runner_core::ids::Nonce;
use relay_runner_core::{BodyRef, Core, DurableFacts, Effects, MessageId, Stamp};
use relay_runner_protocol::Stage;
use relay_runner_sim::{Mood, Run, config};

/// What an event counts as in the table.
fn kind(event: &Event) -> &'static str {
    match event {
        Event::Boot | Event::Order(_) | Event::Link(..) => "other",
        Event::Wake => "wake",
        Event::Bus(..) => "bus frame",
        Event::Provider(_, ProviderReport::Status(_)) => "status report",
        Event::Provider(..) => "other provider report",
        Event::Done(_, OpResult::Unread { .. }) => "batch of unread messages",
        Event::Done(..) => "answer",
    }
}

/// Steps before the first that is measured.
const BEFORE: usize = 4_000;
/// Events of a round: few enough that reading them from memory does not count as work of the core.
const ROUND: usize = 8_192;
/// What the full core holds besides what the run brings.
const HELD: u64 = 9_960;
const CLAIMED: u64 = 1_000;

/// A core in the middle of a run, and what happens to it next.
struct Mix {
    core: Core,
    events: Vec<(Stamp, Event)>,
}

impl Mix {
    fn of(mut run: Run, events: usize) -> Self {
        for _ in 0..BEFORE {
            run.step();
        }
        let copy = run.core.clone();
        // The one that ran keeps the memory that it has come to need.
        let core = std::mem::replace(&mut run.core, copy);
        Self { core, events: (0..events).map(|_| run.step()).collect() }
    }
}

/// The same run in a core that holds 10,000 messages already, 1,000 of them with a claim: those were worked, and wait
/// for the rest of their task. All have higher ids than those that the run brings, so they wait, and fill up batches.
fn full() -> Run {
    let limits = Limits { held: 10_000, claims: 1_000, ..config(2).limits };
    let config = Config { limits, ..config(2) };
    let mut run = Run::with(config.clone(), Mood::CALM);
    let mut facts = DurableFacts::new("run".into(), "instance".into());
    // Every task has another message behind those that were worked, which keeps it from ending.
    let task = |n| (n < 2 * CLAIMED).then_some(1_000_000 + n % CLAIMED);
    facts.messages = (0..HELD).map(|n| (1_000_000 + n, held(1_000_000 + n, n < CLAIMED, task(n)))).collect();
    run.core = Core::new(config, facts, run.now);
    while run.core.view().link.epoch.is_none() {
        run.step();
    }
    run.catch_up();
    run
}

fn held(id: MessageId, claimed: bool, task: Option<u64>) -> MessageFact {
    let meta = Incoming {
        id,
        from: "alice".into(),
        to: "a1".into(),
        resolved: None,
        kind: "chat".into(),
        claimable: claimed,
        urgent: false,
        reply_expected: false,
        read: false,
        claimed_by: None,
        task,
        attachments: 0,
        body: BodyRef { len: 400, trimmed: 400, digest: id },
    };
    MessageFact {
        meta,
        stage: if claimed { Stage::Worked } else { Stage::Held },
        attempt: u32::from(claimed),
        tries: 0,
        failed_turns: 0,
        nonce: Nonce(0),
        repeat: Repeat::First,
        task_ended: false,
        fence: claimed.then_some(1),
    }
}

/// Nanoseconds per step of each round, sorted.
fn rounds(mix: &Mix, number: usize) -> Vec<f64> {
    let mut took: Vec<_> = (0..number)
        .map(|_| {
            let (mut core, events) = (mix.core.clone(), mix.events.clone());
            let mut fx = Effects::new();
            let begun = Instant::now();
            for (at, event) in events {
                fx.clear();
                core.step(at, event, &mut fx);
                black_box(&fx);
            }
            begun.elapsed().as_secs_f64() * 1e9 / mix.events.len() as f64
        })
        .collect();
    took.sort_by(f64::total_cmp);
    took
}

/// What reading the clock twice says has passed when nothing happens between: the middle of many times.
fn clock() -> f64 {
    let mut took: Vec<_> = (0..10_001).map(|_| Instant::now().elapsed().as_secs_f64() * 1e9).collect();
    took.sort_by(f64::total_cmp);
    took[took.len() / 2]
}

/// Nanoseconds of every single step: of the same step in several rounds the middle one, without the clock's own.
fn singly(mix: &Mix, number: usize) -> Vec<f64> {
    let clock = clock();
    let mut took = vec![Vec::with_capacity(number); mix.events.len()];
    for _ in 0..number {
        let (mut core, events) = (mix.core.clone(), mix.events.clone());
        let mut fx = Effects::new();
        for ((at, event), took) in events.into_iter().zip(&mut took) {
            fx.clear();
            let begun = Instant::now();
            core.step(at, event, &mut fx);
            took.push(begun.elapsed().as_secs_f64() * 1e9 - clock);
            black_box(&fx);
        }
    }
    took.into_iter()
        .map(|mut took| {
            took.sort_by(f64::total_cmp);
            took[took.len() / 2].max(0.0)
        })
        .collect()
}

/// The value below which so many in a hundred are.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

struct Row {
    steps: usize,
    allocations: u64,
    allocating: usize,
    nanos: f64,
}

/// By kind of event; allocations are counted in one more round, in the core that ran up to here.
fn table(mix: Mix, singly: &[f64]) -> BTreeMap<&'static str, Row> {
    let mut table: BTreeMap<&'static str, Row> = BTreeMap::new();
    let mut core = mix.core;
    let mut fx = Effects::new();
    for ((at, event), nanos) in mix.events.into_iter().zip(singly) {
        let kind = kind(&event);
        fx.clear();
        let info = allocation_counter::measure(|| core.step(at, event, &mut fx));
        let row = table.entry(kind).or_insert(Row { steps: 0, allocations: 0, allocating: 0, nanos: 0.0 });
        row.steps += 1;
        row.allocations += info.count_total;
        row.allocating += usize::from(info.count_total > 0);
        row.nanos += nanos;
    }
    table
}

pub(crate) fn print(quick: bool) {
    let (many, few) = if quick { (2, 1) } else { (200, 15) };
    let small = Mix::of(Run::new(2, Mood::CALM), ROUND);
    let big = Mix::of(full(), ROUND);
    let view = big.core.view();
    let (held, claims) = (view.messages.len(), view.claims.len());
    drop(view);

    let of_small = report("core step", small, many, few);
    let name = format!("core step with {held} messages and {claims} claims held");
    let of_big = report(&name, big, many, few);
    println!("core step, much held against little: {:.2} times as long", of_big / of_small);
}

/// Prints the figures of a mix. Returns the average.
fn report(name: &str, mix: Mix, many: usize, few: usize) -> f64 {
    let took = rounds(&mix, many);
    let singly = singly(&mix, few);
    let mut sorted: Vec<_> = singly
        .iter()
        .zip(&mix.events)
        .filter(|(_, (_, event))| !matches!(event, Event::Done(_, OpResult::Unread { .. })))
        .map(|(nanos, _)| *nanos)
        .collect();
    sorted.sort_by(f64::total_cmp);

    let average = took[took.len() / 2];
    println!(
        "{name}: {average:.0} ns on average, {:.0} in the best round ({many} rounds of the same {ROUND} events of a calm run)",
        took[0],
    );
    println!(
        "  p50 {:.0} ns, p99 {:.0} ns (every step clocked by itself {few} times, its middle time less the clock's own; without batches of unread messages)",
        percentile(&sorted, 50),
        percentile(&sorted, 99),
    );
    println!(
        "  {:<26} {:>6} {:>21} {:>18} {:>13}",
        "event", "share", "allocations per step", "steps that do", "ns per step"
    );
    for (kind, row) in table(mix, &singly) {
        println!(
            "  {kind:<26} {:>5.1}% {:>21.3} {:>17.2}% {:>13.0}",
            100.0 * row.steps as f64 / ROUND as f64,
            row.allocations as f64 / row.steps as f64,
            100.0 * row.allocating as f64 / row.steps as f64,
            row.nanos / row.steps as f64
        );
    }
    average
}
