//! Histories of commands: each that was accepted gets exactly one outcome, restarts join, kill pre-empts, and an end
//! is an end (behaviour 9, invariants 6 and 7).

use proptest::prelude::*;
use relay_runner_core::StopStep;
use relay_runner_core::event::Signal;

use crate::depth;
use crate::world::{Command, Move, World, anything, config, play, troubles, work};

const COMMANDS: [Command; 7] = [
    Command::Shutdown,
    Command::Kill,
    Command::Restart,
    Command::Reconnect,
    Command::Compact,
    Command::Unknown,
    Command::Foreign,
];

fn orders() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => prop::sample::select(&COMMANDS[..]).prop_map(Move::Says),
        2 => (0..8_usize).prop_map(Move::SaysAgain),
        1 => prop::sample::select(vec![Signal::Term, Signal::Quit, Signal::Usr2]).prop_map(Move::Gets),
    ]
}

fn histories() -> impl Strategy<Value = Vec<Move>> {
    prop::collection::vec(prop_oneof![3 => orders(), 4 => work(), 4 => troubles(), 2 => anything()], 0..60)
}

proptest! {
    #![proptest_config(depth(512))]

    #[test]
    fn every_command_gets_one_outcome_whatever_happens(history in histories()) {
        let mut world = World::booted(config());
        play(&mut world, &history)?;
        world.comes_to_rest()?;
    }

    #[test]
    fn a_kill_pre_empts_everything(history in histories()) {
        let mut world = World::booted(config());
        play(&mut world, &history)?;
        let lives = world.process.as_ref().is_some_and(|process| process.told != Some(StopStep::Kill));
        let heard = world.make(Move::Says(Command::Kill)) && world.accepted.contains(&world.commands.last().unwrap().1);
        if lives && heard {
            prop_assert_eq!(world.process.as_ref().and_then(|process| process.told), Some(StopStep::Kill));
        }
        world.comes_to_rest()?;
        prop_assert!(!heard || world.is_over());
    }

    /// However many restarts are asked for while one is under way: one new generation, and all of them succeed.
    #[test]
    fn restarts_join(history in prop::collection::vec(anything(), 0..40), more in 1..6_usize, pause in 0..2_000_u64) {
        let mut world = World::booted(config());
        play(&mut world, &history)?;
        world.comes_to_rest()?;
        if world.is_over() {
            return Ok(());
        }
        let before = world.core.view().process.generation.0;
        let first = world.commands.len();
        for _ in 0..more {
            prop_assert!(world.make(Move::Says(Command::Restart)));
            world.make(Move::Pass(pause));
        }
        world.comes_to_rest()?;
        prop_assert_eq!(world.core.view().process.generation.0, before + 1);
        for (_, id) in &world.commands[first..] {
            prop_assert_eq!(world.relay.outcomes.get(id).map(String::as_str), Some("succeeded"));
        }
    }
}
