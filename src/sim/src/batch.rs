//! Many runs, one seed after the other, on several threads: with what they met, and the failure of the lowest seed,
//! however many threads there were.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::caught::caught;
use crate::coverage::Coverage;
use crate::crash;
use crate::plan::Plan;
use crate::watch::Broken;
use crate::world::{Ran, Runs, Wanted, run};

/// What to run. Run k of a batch has the plan of `seed` + k.
pub struct Batch<'a> {
    pub seed: u64,
    /// So many runs, unless one fails.
    pub runs: u64,
    /// How many run at a time.
    pub jobs: usize,
    pub plan: &'a (dyn Fn(u64) -> Plan + Sync),
    /// Asked before each run whether there is time for it.
    pub goes_on: &'a (dyn Fn() -> bool + Sync),
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, runs, jobs, .. } = self;
        f.debug_struct("Batch").field("seed", seed).field("runs", runs).field("jobs", jobs).finish_non_exhaustive()
    }
}

/// How a batch went: all runs up to the first that failed, in the order of their seeds.
#[derive(Debug, Default)]
pub struct Batched {
    pub runs: u64,
    /// Events that cores took in.
    pub events: u64,
    /// Virtual milliseconds.
    pub millis: u64,
    /// Runs of beginnings of plans: one without a kill each, and one for each place at which the runner was killed.
    pub crashes: u64,
    pub coverage: Coverage,
    pub failed: Option<Failed>,
}

/// A run that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub seed: u64,
    pub plan: Plan,
    pub broken: Broken,
}

/// Every so many seeds the beginning of the plan is run with a kill between any two effects.
const CRASHES: u64 = 128;
const CRASHED: u64 = 100;

/// How long a batch is quiet at most, so that whoever watches can say something.
const QUIET: Duration = Duration::from_millis(250);

/// Runs a batch. `tell` is called now and then with what is done so far.
pub fn batch(batch: &Batch<'_>, tell: &mut dyn FnMut(&Batched)) -> Batched {
    batch_of(batch, &run, tell)
}

/// Of one run: its number, and what came of it.
struct Done {
    k: u64,
    ran: Ran,
    crashes: u64,
    coverage: Coverage,
    /// Where it failed.
    plan: Option<Plan>,
}

fn batch_of(batch: &Batch<'_>, runs: Runs<'_>, tell: &mut dyn FnMut(&Batched)) -> Batched {
    let next = AtomicU64::new(0);
    // Nobody begins a run behind one that failed; those before it have all begun, and go on to their ends.
    let end = AtomicU64::new(batch.runs);
    let mut batched = Batched::default();
    std::thread::scope(|scope| {
        let (done, all) = channel();
        for _ in 0..batch.jobs.max(1) {
            let done = done.clone();
            let (next, end) = (&next, &end);
            scope.spawn(move || works(batch, runs, next, end, &done));
        }
        drop(done);
        // What comes before its turn waits, so that the sum does not depend on which thread was faster.
        let mut early = BTreeMap::new();
        let mut turn = 0;
        loop {
            match all.recv_timeout(QUIET) {
                Ok(done) => {
                    let done: Done = done;
                    early.insert(done.k, done);
                    while batched.failed.is_none()
                        && let Some(done) = early.remove(&turn)
                    {
                        batched.takes_in(batch.seed, done);
                        turn += 1;
                    }
                    tell(&batched);
                }
                Err(RecvTimeoutError::Timeout) => tell(&batched),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    });
    batched
}

fn works(batch: &Batch<'_>, runs: Runs<'_>, next: &AtomicU64, end: &AtomicU64, done: &Sender<Done>) {
    while (batch.goes_on)() {
        let k = next.fetch_add(1, Ordering::SeqCst);
        if k >= end.load(Ordering::SeqCst) {
            return;
        }
        let mut plan = (batch.plan)(batch.seed.wrapping_add(k));
        let mut coverage = Coverage::default();
        let wanted = Wanted { coverage: Some(&mut coverage), ..Wanted::default() };
        let mut ran = caught(|| runs(&plan, wanted)).unwrap_or_else(|words| panicked(&plan, words));
        let mut crashes = 0;
        if ran.broken.is_none() && plan.seed % CRASHES == CRASHED {
            let killed = crash::everywhere(&crash::beginning(&plan), runs);
            crashes = killed.tried;
            ran.events += killed.events;
            ran.millis += killed.millis;
            if let Some((with_a_kill, broken)) = killed.failed {
                plan = with_a_kill;
                ran.broken = Some(broken);
            }
        }
        let failed = ran.broken.is_some();
        if failed {
            end.fetch_min(k, Ordering::SeqCst);
        }
        let plan = failed.then_some(plan);
        if done.send(Done { k, ran, crashes, coverage, plan }).is_err() {
            return;
        }
    }
}

/// Not even its world could say where it was.
fn panicked(plan: &Plan, words: String) -> Ran {
    let broken = Broken { invariant: 13, words, at: plan.calm, step: 0, who: 0 };
    Ran { broken: Some(broken), ..Ran::default() }
}

impl Batched {
    fn takes_in(&mut self, seed: u64, done: Done) {
        self.runs += 1;
        self.events += done.ran.events;
        self.millis += done.ran.millis;
        self.crashes += done.crashes;
        self.coverage.merge(&done.coverage);
        if let (Some(broken), Some(plan)) = (done.ran.broken, done.plan) {
            self.failed = Some(Failed { seed: seed.wrapping_add(done.k), plan, broken });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm;

    fn short(seed: u64) -> Plan {
        Plan { seed, steps: Vec::new(), kills: Vec::new(), calm: 1, ..swarm::plan(seed) }
    }

    fn ran(plan: &Plan, broken: Option<&str>) -> Ran {
        let broken =
            broken.map(|words| Broken { invariant: 3, words: words.to_owned(), at: 5, step: plan.seed, who: 0 });
        Ran { events: plan.seed, millis: 10, broken, ..Ran::default() }
    }

    fn of(runs: u64, jobs: usize, runner: Runs<'_>) -> Batched {
        batch_of(&Batch { seed: 300, runs, jobs, plan: &short, goes_on: &|| true }, runner, &mut |_| {})
    }

    #[test]
    fn every_seed_is_run_once_however_many_jobs_there_are() {
        for jobs in [1, 2, 7] {
            let batched = of(50, jobs, &|plan, _| ran(plan, None));
            assert_eq!((batched.runs, batched.millis, batched.failed), (50, 500, None));
            assert_eq!(batched.events, (300..350).sum::<u64>());
        }
    }

    #[test]
    fn the_lowest_seed_that_fails_is_reported_with_all_before_it_and_none_behind() {
        for jobs in [1, 2, 7] {
            // Seed 313 fails, and takes until one behind it has failed where there are several jobs.
            let behind = AtomicU64::new(0);
            let batched = of(1_000, jobs, &|plan, _| match plan.seed {
                313 => {
                    while jobs > 1 && behind.load(Ordering::SeqCst) == 0 {
                        std::thread::yield_now();
                    }
                    ran(plan, Some("first"))
                }
                314.. => {
                    behind.fetch_add(1, Ordering::SeqCst);
                    ran(plan, Some("behind"))
                }
                _ => ran(plan, None),
            });
            let failed = batched.failed.unwrap();
            assert_eq!((failed.seed, failed.broken.words.as_str(), failed.plan.seed), (313, "first", 313));
            assert_eq!((batched.runs, batched.events), (14, (300..=313).sum::<u64>()));
        }
    }

    #[test]
    fn a_panic_fails_its_run_and_ends_nothing_else() {
        let batched = of(20, 2, &|plan, _| if plan.seed == 307 { panic!("lost count") } else { ran(plan, None) });
        let failed = batched.failed.unwrap();
        assert_eq!((failed.seed, failed.broken.invariant, batched.runs), (307, 13, 8));
        assert!(failed.broken.words.starts_with("the core panicked (") && failed.broken.words.ends_with("lost count"));
    }

    #[test]
    fn it_ends_when_the_time_is_over_and_tells_how_far_it_is() {
        let left = AtomicU64::new(30);
        let goes_on = || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        let mut told = Vec::new();
        let asked = Batch { seed: u64::MAX, runs: u64::MAX, jobs: 3, plan: &short, goes_on: &goes_on };
        let batched = batch_of(&asked, &|plan, _| ran(&Plan { seed: 1, ..plan.clone() }, None), &mut |so_far| {
            told.push(so_far.runs);
        });
        assert_eq!((batched.runs, batched.events), (30, 30));
        assert!(told.is_sorted() && told.last() == Some(&30), "{told:?}");
    }

    #[test]
    fn what_several_jobs_met_is_what_one_meets() {
        let plan = |seed| Plan { calm: 20_000, ..swarm::plan(seed) };
        let with = |jobs| batch(&Batch { seed: 3, runs: 12, jobs, plan: &plan, goes_on: &|| true }, &mut |_| {});
        let (one, three) = (with(1), with(3));
        assert!(one.events > 0 && !one.coverage.kinds.is_empty());
        assert_eq!(
            (one.runs, one.events, one.millis, one.failed),
            (three.runs, three.events, three.millis, three.failed)
        );
        assert_eq!(one.coverage.summary(), three.coverage.summary());
    }
}
