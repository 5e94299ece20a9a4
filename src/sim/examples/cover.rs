use relay_runner_sim::{Coverage, Wanted, run, swarm};
use relay_runner_core::machines::{ALL, Said};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (from, runs, what): (u64, u64, &str) = (args[1].parse().unwrap(), args[2].parse().unwrap(), &args[3]);
    let mut c = Coverage::close(args.get(4).map_or(8, |n| n.parse().unwrap()));
    let begin = std::time::Instant::now();
    let mut broken = 0;
    for seed in from..from + runs {
        let r = run(&swarm::plan(seed), Wanted { coverage: Some(&mut c), ..Wanted::default() });
        broken += u64::from(r.broken.is_some());
    }
    println!("{} runs, {} close, {broken} broken, {:?}", c.runs, c.close_runs, begin.elapsed());
    if what.contains('o') {
        let mut odd: Vec<_> = c.odd.iter().collect();
        odd.sort_by_key(|o| std::cmp::Reverse(o.1.0));
        for (k, (n, s)) in odd { println!("{n:6} {k}   seed {s}"); }
    }
    if what.contains('m') {
        for m in ALL { for p in m.pairs() {
            if !c.pairs.contains_key(&p) {
                let why = match m.says(p.state, p.event) { Said::Leads(_) => "LEADS", Said::Ignored(i) => i.why, _ => "?" };
                println!("missing {}   {why}", p.name());
            }
        }}
    }
    if what.contains('p') { for (p, n) in &c.pairs { println!("{n:8} {}", p.name()); } }
    if what.contains('h') { for p in relay_runner_sim::coverage::hazards::names() { println!("{:8} {p}", c.hazards.get(p).unwrap_or(&0)); } println!("{} of {}", c.hazards.len(), relay_runner_sim::coverage::hazards::names().count()); }
    println!("pairs {} of {}", c.pairs.len(), ALL.iter().map(|m| m.pairs().count()).sum::<usize>());
}
