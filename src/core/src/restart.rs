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
    fn exits_leave_the_window() {
        let (timing, limits) = (Timing::default(), Limits::default());
        let mut window = Window::default();
        for n in 0..20 {
            let verdict = window.exited(n * 120_000, 0, &timing, &limits);
            assert_eq!(verdict, Verdict::Cool { wait: 500, exits: 1 });
        }
    }
}
