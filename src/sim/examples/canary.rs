use relay_runner_core::mutant::Mutant;
use relay_runner_sim::{Wanted, run, swarm};
fn main() {
    let most: u64 = std::env::args().nth(1).map_or(2000, |n| n.parse().unwrap());
    let only = std::env::args().nth(2);
    let begin = std::time::Instant::now();
    for mutant in Mutant::ALL {
        if only.as_ref().is_some_and(|o| *o != format!("{mutant:?}")) {
            continue;
        }
        let found = (0..most).find_map(|seed| {
            let mut plan = swarm::plan(seed);
            plan.setup.mutant = Some(mutant);
            let ran = std::panic::catch_unwind(|| run(&plan, Wanted::default()));
            match ran {
                Ok(ran) => ran.broken.map(|b| (seed, format!("{}: {}", b.invariant, b.words))),
                Err(_) => Some((seed, "panic".into())),
            }
        });
        match found {
            Some((seed, words)) => println!("{seed:5} {mutant:?}  {}", words.chars().take(100).collect::<String>()),
            None => println!("NEVER {mutant:?}"),
        }
    }
    eprintln!("{:?}", begin.elapsed());
}
