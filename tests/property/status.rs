//! What the relay shows of the agent: whatever was lost on the way, it equals the runner's own view once things are
//! quiet; numbers only grow, and nobody is ready on the way down (behaviour 8, invariant 8).

use proptest::prelude::*;

use crate::depth;
use crate::world::{Command, Move, Routine, World, anything, config, play};

fn losses() -> impl Strategy<Value = Move> {
    prop_oneof![
        Just(Move::LosesStatus),
        Just(Move::LinkBreaks),
        Just(Move::Busy),
        Just(Move::Idle),
        Just(Move::Says(Command::Restart)),
        Just(Move::Says(Command::Reconnect)),
        (0..5_usize).prop_map(Move::Answer),
        (0..5_usize).prop_map(Move::Hold),
        (0..40_000_u64).prop_map(Move::Pass),
    ]
}

proptest! {
    #![proptest_config(depth(256))]

    /// Also the small calls are answered by hand here: late, never, and in another order.
    #[test]
    fn the_relay_shows_what_is(history in prop::collection::vec(prop_oneof![3 => losses(), 2 => anything()], 0..60)) {
        let mut world = World::booted(config());
        world.routine = Routine { link: true, small: false };
        play(&mut world, &history)?;
        world.comes_to_rest()?;
    }

    #[test]
    fn nobody_is_ready_on_the_way_down(
        before in prop::collection::vec(anything(), 0..40),
        after in prop::collection::vec(prop_oneof![3 => losses(), 2 => anything()], 0..40),
        hard in any::<bool>(),
    ) {
        let mut world = World::booted(config());
        play(&mut world, &before)?;
        let command = if hard { Command::Kill } else { Command::Shutdown };
        if world.make(Move::Says(command)) {
            // The world looks at every status that is sent.
            play(&mut world, &after)?;
            prop_assert!(!world.core.view().ready);
        }
    }
}
