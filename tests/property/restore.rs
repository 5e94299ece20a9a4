//! A runner that is killed at any step and starts again from its durable facts: nothing is done twice unmarked,
//! nothing is lost, and no number is used again (behaviour 17).

use proptest::prelude::*;
use relay_runner_core::{Config, DurableFacts};

use crate::depth;
use crate::world::{Move, World, anything, config, play};

/// The facts, as they come back from a journal.
fn facts(world: &World) -> DurableFacts {
    let text = serde_json::to_string(&world.core.facts()).expect("facts are JSON");
    serde_json::from_str(&text).expect("what was written can be read")
}

fn adoptable() -> Config {
    let mut config = config();
    config.adapter.adoptable = true;
    config
}

proptest! {
    #![proptest_config(depth(384))]

    /// The world's books go on across the restart: what was offered, settled and answered before counts.
    #[test]
    fn a_killed_runner_goes_on_where_it_was(
        lives in prop::collection::vec(prop::collection::vec(anything(), 0..50), 1..4),
        again in prop::collection::vec((0..6_usize).prop_map(Move::SaysAgain), 0..6),
    ) {
        let mut world = World::booted(config());
        for life in lives {
            play(&mut world, &life)?;
            let before = facts(&world);
            world.restarts(before.clone());
            let after = facts(&world);
            prop_assert!(after.next_op > before.next_op || world.told.is_empty());
            prop_assert!(after.generation >= before.generation && after.next_turn >= before.next_turn);
            prop_assert!(after.status_seq >= before.status_seq && after.bus_position >= before.bus_position);
            prop_assert!(after.settled.is_superset(&before.settled));
            prop_assert!(before.set_aside.keys().all(|id| after.set_aside.contains_key(id)));
            prop_assert!(before.commands.len() <= after.commands.len());
            prop_assert!(after.commands.iter().all(|command| command.outcome.is_some()), "an open command");
        }
        play(&mut world, &again)?;
        world.comes_to_rest()?;
    }

    /// The same where the process outlives its runner, goes on unheard, and is taken up.
    #[test]
    fn a_runner_takes_up_the_process_that_it_left(
        lives in prop::collection::vec(prop::collection::vec(anything(), 0..50), 2..5),
    ) {
        let mut world = World::booted(adoptable());
        for (n, life) in lives.iter().enumerate() {
            if n > 0 {
                let before = facts(&world);
                world.restarts(before.clone());
                if before.adoptable(&adoptable()).is_some() {
                    prop_assert_eq!(facts(&world).provider, before.provider, "it is not forgotten, and not replaced");
                }
            }
            play(&mut world, life)?;
        }
        world.comes_to_rest()?;
    }

    /// Facts are taken up whole: a runner that is killed before it did anything hands on what it was given.
    #[test]
    fn facts_survive_a_run_that_did_nothing(history in prop::collection::vec(anything(), 0..80)) {
        let mut world = World::booted(config());
        play(&mut world, &history)?;
        let before = facts(&world);
        let core = relay_runner_core::Core::new(world.core.config().clone(), before.clone(), world.now);
        let after = core.facts();
        prop_assert_eq!(after.messages.keys().collect::<Vec<_>>(), before.messages.keys().collect::<Vec<_>>());
        for (id, fact) in &after.messages {
            let was = &before.messages[id];
            prop_assert_eq!((fact.attempt, fact.tries, fact.failed_turns), (was.attempt, was.tries, was.failed_turns));
            prop_assert_eq!((fact.fence, fact.task_ended), (was.fence, was.task_ended));
        }
        prop_assert_eq!(&after.reports[..before.reports.len().min(after.reports.len())], &before.reports[..]);
        // What a superseded run worked and could not say is owed by the next (docs/decisions/0019), and nothing else.
        for owed in &after.reports[before.reports.len()..] {
            let (relay_runner_core::Call::Read { message } | relay_runner_core::Call::Task { message, .. }) = &owed.call else {
                return Err(TestCaseError::fail(format!("{owed:?} is owed by nobody")));
            };
            let worked = before.messages.get(message).is_some_and(|fact| fact.stage == relay_runner_protocol::Stage::Worked);
            prop_assert!(worked, "{:?} is owed for what was not worked", owed);
        }
        prop_assert_eq!(after.commands, before.commands);
        prop_assert_eq!((after.settled, after.set_aside, after.had), (before.settled, before.set_aside, before.had));
        prop_assert_eq!((after.generation, after.next_turn), (before.generation, before.next_turn));
        prop_assert_eq!(after.bus_position, before.bus_position);
        // A gap is left, for what a run said after its facts were last on the disk.
        prop_assert_eq!(after.status_seq, before.status_seq + (1 << 20));
        prop_assert_eq!((after.exits, after.parked), (before.exits, before.parked));
        prop_assert!(after.next_op >= before.next_op);
    }
}
