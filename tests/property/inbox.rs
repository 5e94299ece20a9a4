//! Messages coming in by the bus and by fetching, in any order and in any number: memory is bounded, the order is
//! kept, and none is lost (behaviour 5, hazard flood).

use std::collections::BTreeSet;

use proptest::prelude::*;
use relay_runner_core::config::{Config, Limits};

use crate::depth;
use crate::world::{Move, Routine, World, config, play, troubles, work};

fn small(held: usize, fetch: u32, batch: usize) -> Config {
    Config { limits: Limits { held, fetch, batch, ..Limits::default() }, ..config() }
}

fn floods() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => Just(Move::PublishNext),
        1 => (1..40_u64).prop_map(Move::Again),
        1 => Just(Move::LinkBreaks),
        2 => (0..6_usize).prop_map(Move::Answer),
        1 => (0..6_usize).prop_map(Move::Hold),
        1 => (0..30_000_u64).prop_map(Move::Pass),
    ]
}

proptest! {
    #![proptest_config(depth(256))]

    #[test]
    fn a_flood_loses_nothing(
        history in prop::collection::vec(prop_oneof![4 => floods(), 3 => work(), 1 => troubles()], 0..150),
        limits in (2..8_usize, 1..5_u32, 1..4_usize),
        by_hand in any::<bool>(),
    ) {
        let mut world = World::booted(small(limits.0, limits.1, limits.2));
        world.routine = Routine { link: true, small: !by_hand };
        play(&mut world, &history)?;
        world.comes_to_rest()?;
    }

    /// Messages that the relay got in the order of their ids are offered in it, each for the first time.
    #[test]
    fn messages_are_offered_in_the_order_of_their_ids(
        history in prop::collection::vec(prop_oneof![4 => floods(), 4 => work()], 0..200),
        limits in (2..8_usize, 1..5_u32, 1..4_usize),
        by_hand in any::<bool>(),
    ) {
        let mut world = World::booted(small(limits.0, limits.1, limits.2));
        world.routine = Routine { link: true, small: !by_hand };
        let mut offered = BTreeSet::new();
        for what in history {
            play(&mut world, &[what])?;
            for id in offers(&world.told) {
                if offered.insert(id) {
                    prop_assert_eq!(offered.last(), Some(&id), "offered after a later one");
                }
            }
        }
    }
}

/// The messages of the offers among these effects.
fn offers(told: &[String]) -> Vec<u64> {
    let offers = told.iter().filter(|effect| effect.contains(",offer,"));
    let messages = offers.flat_map(|effect| effect.split(",m").skip(1));
    messages.filter_map(|message| message.split('/').next()?.parse().ok()).collect()
}
