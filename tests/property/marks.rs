//! A mark holds the whole core, and restoring one is inert.

use proptest::prelude::*;
use relay_runner_core::{Core, Effects};
use relay_runner_sim::{Mood, Run};

use crate::depth;

proptest! {
    #![proptest_config(depth(128))]

    /// Snapshot, restore and run on equals running on: at every step, effect for effect.
    #[test]
    fn restoring_a_mark_at_every_step_changes_nothing(seed in any::<u64>(), steps in 1_usize..400) {
        let mut run = Run::new(seed, Mood::ROUGH);
        let mut restored = run.core.clone();
        let mut fx = Effects::new();
        for _ in 0..steps {
            restored = Core::from_mark(&restored.to_mark()).expect("a mark can be read");
            let (at, event) = run.step();
            fx.clear();
            restored.step(at, event, &mut fx);
            prop_assert_eq!(&fx, &run.fx);
            prop_assert_eq!(restored.next_deadline(), run.core.next_deadline());
        }
        prop_assert_eq!(restored, run.core);
    }

    /// A clone and the original go the same way.
    #[test]
    fn a_clone_continues_identically(seed in any::<u64>(), before in 0_usize..300, after in 1_usize..300) {
        let mut run = Run::new(seed, Mood::ROUGH);
        for _ in 0..before {
            run.step();
        }
        let mut other = run.clone();
        for _ in 0..after {
            prop_assert_eq!(run.step(), other.step());
            prop_assert_eq!(&run.fx, &other.fx);
        }
    }
}
