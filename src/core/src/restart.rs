//! Arithmetic of restarts (behaviour 10). Pure.

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::config::{Limits, Timing};
use crate::time::{Millis, Wall};

/// The exits within the restart window. Wall time, because the window survives a restart of the runner.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    exits: Vec<Wall>,
}

/// What follows an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Cool { wait: Millis, exits: usize },
    GiveUp { exits: usize },
}

/// Exits that are remembered at most; more in one window change no answer.
const MOST: usize = 64;

impl Window {
    pub fn from_facts(exits: Vec<Wall>) -> Self {
        Self { exits }
    }

    pub fn exits(&self) -> &[Wall] {
        &self.exits
    }

    /// Counts an exit now, of a provider that lived this long.
    pub fn exited(&mut self, now: Wall, lived: Millis, timing: &Timing, limits: &Limits) -> Verdict {
        // An exit "in the future" was recorded before the clock was set back; it is as old as can be told: new.
        self.exits.retain(|at| now.saturating_sub(*at) < timing.restart_window);
        if self.exits.len() == MOST {
            self.exits.remove(0);
        }
        self.exits.push(now);
        let exits = self.exits.len();
        if lived < timing.restart_stable && exits > limits.restart_exits {
            return Verdict::GiveUp { exits };
        }
        Verdict::Cool { wait: wait(exits, timing), exits }
    }
}

/// 500 ms times the exits in the window, this one counted; 500 ms to 10 s.
pub fn wait(exits: usize, timing: &Timing) -> Millis {
    let exits = u64::try_from(exits).unwrap_or(u64::MAX);
    within(timing.restart_unit.saturating_mul(exits), timing.restart_unit, timing.restart_max)
}

/// How long a usage limit is waited for whose end is not known, when it was met so many times in a row before.
pub fn retry_of_limit(before: u32, timing: &Timing) -> Millis {
    let times = 1_u64.checked_shl(before).unwrap_or(Millis::MAX);
    let most = timing.usage_limit_retry_max.min(timing.usage_limit_max);
    within(timing.usage_limit_retry_min.saturating_mul(times), timing.restart_unit, most)
}

/// Whether a provider that dies at once, over and over, is ever given up: not where its own waits are so long that too few
/// exits fall within the window (behaviour 1).
pub fn can_give_up(timing: &Timing, limits: &Limits) -> bool {
    // By then the window holds as many exits as it ever will, and only turns over.
    const ENOUGH: usize = 4 * MOST;
    let mut window = Window::default();
    let mut now = timing.restart_window;
    (0..ENOUGH).any(|_| match window.exited(now, 0, timing, limits) {
        Verdict::GiveUp { .. } => true,
        Verdict::Cool { wait, .. } => {
            now = now.saturating_add(wait);
            false
        }
    })
}

/// `least` wins where the figures contradict each other: no configuration makes a wait impossible.
pub(crate) fn within(wait: Millis, least: Millis, most: Millis) -> Millis {
    wait.min(most).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_lives_are_given_up_on_the_fourth_exit() {
        let (timing, limits) = (Timing::default(), Limits::default());
        let mut window = Window::default();
        for n in 1..=3 {
            let verdict = window.exited(n * 1_000, 100, &timing, &limits);
            assert_eq!(verdict, Verdict::Cool { wait: n * 500, exits: usize::try_from(n).unwrap() });
        }
        assert_eq!(window.exited(4_000, 100, &timing, &limits), Verdict::GiveUp { exits: 4 });
    }

    #[test]
    fn a_provider_that_lived_is_never_given_up() {
        let (timing, limits) = (Timing::default(), Limits::default());
        let mut window = Window::default();
        for n in 0..100 {
            let verdict = window.exited(n, 30_000, &timing, &limits);
            assert!(matches!(verdict, Verdict::Cool { wait: 500..=10_000, .. }));
        }
    }

    #[test]
    fn a_rule_that_its_own_waits_make_unreachable_is_known() {
        let (usual, limits) = (Timing::default(), Limits::default());
        assert!(can_give_up(&usual, &limits));
        // Waits of 500, 1,000 and 1,500 ms lie between the first exit and the fourth.
        assert!(can_give_up(&Timing { restart_window: 3_001, ..usual.clone() }, &limits));
        assert!(!can_give_up(&Timing { restart_window: 3_000, ..usual.clone() }, &limits));
        assert!(!can_give_up(&Timing { restart_stable: 0, ..usual.clone() }, &limits));
        assert!(!can_give_up(&usual, &Limits { restart_exits: MOST, ..limits.clone() }));
        let no_wait = Timing { restart_unit: 0, restart_max: 0, ..usual };
        assert!(can_give_up(&no_wait, &Limits { restart_exits: MOST - 1, ..limits }));
    }

    #[test]
    fn a_limit_without_an_end_is_waited_for_longer_each_time() {
        let timing = Timing::default();
        let minutes = [0, 1, 4, 5, 63, 64, u32::MAX].map(|before| retry_of_limit(before, &timing) / 60_000);
        assert_eq!(minutes, [1, 2, 16, 30, 30, 30, 30]);
        assert_eq!(retry_of_limit(9, &Timing { usage_limit_max: 5_000, ..timing.clone() }), 5_000);
        assert_eq!(retry_of_limit(0, &Timing { usage_limit_retry_min: 0, ..timing }), 500, "never at once");
    }

    #[test]
    fn exits_leave_the_window() {
        let (timing, limits) = (Timing::default(), Limits::default());
        let mut window = Window::default();
        for n in 0..20 {
            let verdict = window.exited(n * 120_000, 0, &timing, &limits);
            assert_eq!(verdict, Verdict::Cool { wait: 500, exits: 1 });
        }
    }
}
