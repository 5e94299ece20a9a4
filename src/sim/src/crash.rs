//! Crash everywhere: the same plan again and again, each time with the first runner killed behind another of its effects.
//! It comes back from what it had written down by then, and everything must hold as if nothing had happened.

use crate::caught::caught;
use crate::plan::{Millis, Plan};
use crate::watch::Broken;
use crate::world::{Runs, Wanted};

/// What came of it.
#[derive(Debug, Default)]
pub struct Crashed {
    /// Runs: one without a kill, and one for each place that was tried.
    pub tried: u64,
    /// Events that cores took in, and virtual milliseconds, over all of them.
    pub events: u64,
    pub millis: u64,
    /// The first that did not hold: the plan with its kill.
    pub failed: Option<(Plan, Broken)>,
}

/// How much of a plan is small enough, and how many places there are at most.
const BEGINNING: Millis = 60_000;
const MOST: u64 = 250;

/// The first minute of a plan, in which nobody is killed.
pub fn beginning(plan: &Plan) -> Plan {
    let calm = plan.calm.min(BEGINNING);
    let steps = plan.steps.iter().filter(|step| step.at < calm).cloned().collect();
    Plan { calm, steps, kills: Vec::new(), ..plan.clone() }
}

/// Kills the first runner of a plan between any two of its effects before everything is mended, in as many runs.
pub fn everywhere(plan: &Plan, runs: Runs<'_>) -> Crashed {
    let mut crashed = Crashed::default();
    let mut places = MOST;
    let mut place = 0;
    while place < places {
        let plan = Plan { kills: if place == 0 { Vec::new() } else { vec![place] }, ..plan.clone() };
        let broken = match caught(|| runs(&plan, Wanted::default())) {
            Ok(ran) => {
                crashed.events += ran.events;
                crashed.millis += ran.millis;
                if place == 0 {
                    places = ran.effects_before_calm.min(MOST);
                }
                ran.broken
            }
            Err(words) => Some(Broken { invariant: 13, words, at: plan.calm, step: 0, who: 0 }),
        };
        crashed.tried += 1;
        if let Some(broken) = broken {
            crashed.failed = Some((plan, broken));
            break;
        }
        place += 1;
    }
    crashed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm;
    use crate::world::{Ran, run};

    #[test]
    fn every_place_is_tried_once_and_the_first_that_does_not_hold_is_told() {
        let plan = beginning(&swarm::plan(3));
        assert!(plan.calm <= BEGINNING && plan.kills.is_empty() && plan.steps.iter().all(|step| step.at < plan.calm));
        let tried = std::sync::Mutex::new(Vec::new());
        let crashed = everywhere(&plan, &|plan, _| {
            tried.lock().unwrap().push(plan.kills.clone());
            let broken =
                (plan.kills == [4]).then(|| Broken { invariant: 3, words: "lost".into(), at: 1, step: 1, who: 0 });
            Ran { effects_before_calm: 9, events: 10, broken, ..Ran::default() }
        });
        assert_eq!(*tried.lock().unwrap(), [vec![], vec![1], vec![2], vec![3], vec![4]]);
        assert_eq!((crashed.tried, crashed.events), (5, 50));
        assert_eq!(crashed.failed.unwrap().0.kills, [4]);
    }

    #[test]
    fn a_small_plan_holds_wherever_the_runner_is_killed() {
        let crashed = everywhere(&beginning(&swarm::plan(3)), &run);
        assert!(crashed.tried > 20, "{}", crashed.tried);
        assert_eq!(crashed.failed, None);
    }
}
