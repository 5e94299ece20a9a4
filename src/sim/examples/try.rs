use relay_runner_sim::{Wanted, run, swarm};
use std::collections::BTreeMap;
use std::time::Instant;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let from: u64 = args[1].parse().unwrap();
    let runs: u64 = args[2].parse().unwrap();
    if runs == 0 {
        let plan = swarm::plan(from);
        let plan = match relay_runner_sim::shrink::shrink(&plan, 3000) {
            Some(s) => {
                println!("shrunk in {} runs to {} faults", s.runs, s.plan.faults());
                s.plan
            }
            None => plan,
        };
        println!("{}", serde_json::to_string(&plan.setup).unwrap());
        let ran = run(&plan, Wanted { told: true, ..Wanted::default() });
        let n: usize = args.get(3).map_or(200, |n| n.parse().unwrap());
        if run(&plan, Wanted::default()).broken.is_none() {
            println!("does not fail");
            return;
        }
        for step in &plan.steps {
            println!("   {}", serde_json::to_string(step).unwrap());
        }
        println!("kills {:?} calm {}", plan.kills, plan.calm);
        for line in ran.told.iter().rev().take(n).rev() {
            println!("{}", line.chars().take(400).collect::<String>());
        }
        println!("{:?}", ran.broken);
        return;
    }
    let begin = Instant::now();
    let (mut events, mut millis) = (0, 0u64);
    let mut broken: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for seed in from..from + runs {
        let plan = swarm::plan(seed);
        let ran = std::panic::catch_unwind(|| run(&plan, Wanted::default()));
        let Ok(ran) = ran else {
            broken.entry("panic".into()).or_default().push(seed);
            continue;
        };
        events += ran.events;
        millis += ran.millis;
        if let Some(b) = ran.broken {
            let words: String = b.words.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).take(90).collect();
            let words = words.replace("##", "#").replace("##", "#").replace("##", "#");
            broken.entry(format!("{}: {}", b.invariant, words)).or_default().push(seed);
        }
    }
    let t = begin.elapsed().as_secs_f64();
    println!(
        "{runs} runs, {events} events, {:.2} M/s, {:.0} virtual hours, {} broken",
        events as f64 / t / 1e6,
        millis as f64 / 3.6e6,
        broken.values().map(Vec::len).sum::<usize>()
    );
    let mut all: Vec<_> = broken.into_iter().collect();
    all.sort_by_key(|(_, s)| std::cmp::Reverse(s.len()));
    for (words, seeds) in all.iter().take(40) {
        println!("{:5} {words}   {:?}", seeds.len(), &seeds[..seeds.len().min(6)]);
    }
}
