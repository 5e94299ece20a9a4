//! Whatever happens, in whatever order: the core neither panics nor leaves its bounds, and an end is an end.

use proptest::prelude::*;
use relay_runner_core::{Call, Effect, Effects, Event};
use relay_runner_protocol::Stage;
use relay_runner_sim::{Mood, Run};
use std::collections::{BTreeMap, BTreeSet};

use crate::depth;

proptest! {
    #![proptest_config(depth(256))]

    #[test]
    fn a_rough_run_keeps_its_bounds(seed in any::<u64>()) {
        let mut run = Run::new(seed, Mood::ROUGH);
        let limits = run.core.config().limits.clone();
        let mut living = 0;
        for _ in 0..1_500 {
            let claimed: BTreeSet<_> = run.core.view().claims.iter().map(|claim| claim.message).collect();
            let (_, event) = run.step();
            let view = run.core.view();
            prop_assert!(view.messages.len() <= limits.held, "{} messages", view.messages.len());
            for effect in &run.fx.effects {
                // One more claim is asked for only while there is room: those of worked messages wait for the relay,
                // those of ambiguous ones for a person.
                if let Effect::Http { call: Call::Claim { message }, .. } = effect
                    && !claimed.contains(message)
                {
                    let waits = |id| {
                        view.messages.iter().any(|m| {
                            m.id == id && matches!(m.stage, Stage::Worked | Stage::Ambiguous | Stage::SetAside)
                        })
                    };
                    let claims = view.claims.iter().filter(|claim| !waits(claim.message)).count();
                    prop_assert!(claims <= limits.claims, "{claims} claims");
                }
                if let Effect::Spawn { generation, .. } = effect {
                    prop_assert!(generation.0 > living, "generations go up");
                    living = generation.0;
                }
            }
            if view.over {
                prop_assert_eq!(run.core.next_deadline(), None);
            } else {
                prop_assert!(
                    run.core.next_deadline().is_some_and(|(at, _)| at >= run.now.mono),
                    "a state with nothing armed, or something overdue, after {:?}", event
                );
            }
        }
    }

    /// The end of a task is reported once for a message: a try again is known as the same request.
    #[test]
    fn a_task_is_reported_as_done_once(seed in any::<u64>()) {
        let mut run = Run::new(seed, Mood { relay: 0, ..Mood::ROUGH });
        let mut done = BTreeMap::new();
        for _ in 0..1_500 {
            run.step();
            for effect in &run.fx.effects {
                let text = effect.to_string();
                if let Some(at) = text.find("task,t").filter(|_| text.contains(",done,")) {
                    // A try again has the same key; another report would not.
                    let key = text.split(',').find(|part| part.starts_with('k')).unwrap_or_default().to_owned();
                    let message = text[at..].split(',').nth(2).unwrap_or_default().to_owned();
                    let first = done.entry(message.clone()).or_insert_with(|| key.clone());
                    prop_assert_eq!(&*first, &key, "the task of {} done twice", message);
                }
            }
        }
    }

    /// After the end nothing is said and nothing is armed, whatever still arrives.
    #[test]
    fn an_end_is_an_end(seed in any::<u64>()) {
        let mut run = Run::new(seed, Mood { orders: 60, ..Mood::ROUGH });
        for _ in 0..4_000 {
            run.step();
            if run.is_over() {
                break;
            }
        }
        if run.is_over() {
            let mut fx = Effects::new();
            for _ in 0..200 {
                run.step();
                prop_assert!(run.fx.effects.is_empty(), "{:?}", run.fx.effects);
            }
            run.core.step(run.now, Event::Wake, &mut fx);
            prop_assert!(fx.effects.is_empty());
        }
    }
}
