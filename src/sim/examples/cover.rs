//! What a batch of runs meets: `cover FROM RUNS [ONE_IN]`.

#![expect(clippy::print_stdout, reason = "that is what it is for")]

use relay_runner_sim::{Coverage, Wanted, run, swarm};

fn main() {
    let args: Vec<u64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let (from, runs, one_in) = (args[0], args[1], args.get(2).copied().unwrap_or(8));
    let mut coverage = Coverage::close(one_in);
    for seed in from..from + runs {
        run(&swarm::plan(seed), Wanted { coverage: Some(&mut coverage), ..Wanted::default() });
    }
    let mut odd: Vec<_> = coverage.odd.iter().collect();
    odd.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    for (words, (count, seed)) in odd {
        println!("{count:8} {words}   seed {seed}");
    }
    let mut hazards: Vec<_> = coverage.hazards.iter().collect();
    hazards.sort_by_key(|(_, count)| **count);
    for (name, count) in hazards {
        println!("{count:8} {name}");
    }
    println!("{:#?}\n{:?}", coverage.summary(), coverage.exits);
}
